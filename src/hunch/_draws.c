/* Bootstrap weights of all members: counts of what each drew with replacement, or Poisson numbers.

   Each number is a hash of a start, a member and a datum, to the bit as in
   `hunch.inference.bootstrap`, which says what the weights mean.

   Plain C on raw numbers, as `_kernel.c`, with which it makes one library. */

#include <stdint.h>
#include <string.h>

#define WEYL 0x9E3779B97F4A7C15u

static inline uint64_t scattered(uint64_t x) {
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

/* Between 0 and 1, neither of which occurs. */
static inline double uniform(uint64_t x) { return ((double)(int64_t)(x >> 11) + 0.5) * 0x1p-53; }

/* `counts (starts, members, n)`: how often each of n data came in n draws. */
void hunch_multinomial(const uint64_t *start, int64_t starts, int64_t members, int64_t n,
                       float *counts) {
    memset(counts, 0, starts * members * n * sizeof *counts);
    for (int64_t s = 0; s < starts; s++)
        for (int64_t k = 0; k < members; k++, counts += n) {
            uint64_t own = scattered(start[s] + k * WEYL);
            for (int64_t i = 0; i < n; i++) {
                int64_t drawn = (int64_t)(uniform(scattered(own + i * WEYL)) * n);
                counts[drawn < n ? drawn : n - 1] += 1;
            }
        }
}

enum { USUAL = 8 }; /* one number in a million is greater */

/* `counts (starts, members, n)`: how many of the `steps` of a distribution lie below a datum's
   number, which its key decides. There are at least USUAL of them. */
void hunch_poisson(const uint64_t *start, int64_t starts, int64_t members, const uint64_t *key,
                   int64_t n, const double *step, int64_t steps, float *counts) {
    for (int64_t s = 0; s < starts; s++)
        for (int64_t k = 0; k < members; k++, counts += n) {
            uint64_t own = scattered(start[s] + k * WEYL);
            for (int64_t i = 0; i < n; i++) {
                double u = uniform(scattered(own + key[i] * WEYL));
                int64_t below = 0;
                for (int64_t j = 0; j < USUAL; j++) below += step[j] < u;
                if (below == USUAL)
                    while (below < steps && step[below] < u) below++;
                counts[i] = below;
            }
        }
}
