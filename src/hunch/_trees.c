/* What boosted trees say of rows.

   A row that goes down a tree waits at every step for the one before. Here none goes down: each of
   a tree's choices is made for many rows at once, from the last to the first, and each takes over
   the leaf that the side chosen has found. A tree of 31 leaves takes some 30 operations that way,
   for 16 rows together. Numbers are compared by their ranks among the thresholds of their feature,
   which says the same of them, in a quarter of their size.

   Plain C on raw numbers, as `_kernel.c`, with which it makes one library. */

#include <stdint.h>

typedef struct {
    uint16_t feature;
    int16_t threshold;    /* its rank: rows of a higher one go to the right */
    uint16_t left, right; /* a leaf's number, or LEAVES and the number of a later choice */
} Choice;

typedef struct {
    const double *edge;    /* thresholds of each feature, rising */
    const int64_t *first;  /* (features + 1): where each one's begin */
    const Choice *choice;  /* of all trees, each one's first choice first */
    const double *value;   /* of all leaves */
    const int64_t *choices, *count, *leaves; /* (trees): its first choice, how many, its first leaf */
    const int64_t *place;  /* (trees): which sum it adds to */
    int64_t trees, features, most; /* most: leaves of one tree, at most LEAVES */
} Trees;

enum { LEAVES = 256, ROWS = 64, ABREAST = 16, VECTORS = ROWS / ABREAST, STEPS = 8 };

typedef int16_t sixteen __attribute__((vector_size(2 * ABREAST), aligned(2), may_alias));

#define INLINE static inline __attribute__((always_inline))

/* Ranks of a feature of some rows: how many thresholds are below, by bisection for rows abreast. */
INLINE void ranks_of(const double *edge, int64_t edges, const double *x, int64_t width,
                     int64_t count, int16_t *rank) {
    for (int64_t i = 0; i < ROWS; i += STEPS) {
        double value[STEPS];
        const double *from[STEPS];
        for (int j = 0; j < STEPS; j++) {
            value[j] = i + j < count ? x[(i + j) * width] : 0;
            from[j] = edge;
        }
        for (int64_t left = edges; left > 1; left -= left / 2)
            for (int j = 0; j < STEPS; j++) from[j] += value[j] > from[j][left / 2 - 1] ? left / 2 : 0;
        for (int j = 0; j < STEPS; j++) rank[i + j] = from[j] - edge + (value[j] > *from[j]);
    }
}

INLINE void all_rows(const Trees *t, const double *x, int64_t rows, int64_t width, int16_t *rank,
                     double *found) {
    sixteen leaf[2 * LEAVES][VECTORS]; /* by its number, then what each choice has found */
    for (int64_t k = 0; k < t->most; k++)
        for (int v = 0; v < VECTORS; v++) leaf[k][v] = (int16_t)k - (sixteen){0};
    for (int64_t at = 0; at < rows; at += ROWS) {
        int64_t count = rows - at < ROWS ? rows - at : ROWS;
        for (int64_t f = 0; f < t->features; f++) {
            int64_t edges = t->first[f + 1] - t->first[f];
            if (edges)
                ranks_of(t->edge + t->first[f], edges, x + at * width + f, width, count,
                         rank + f * ROWS);
        }
        for (int64_t k = 0; k < t->trees; k++) {
            const Choice *choice = t->choice + t->choices[k];
            for (int64_t c = t->count[k] - 1; c >= 0; c--) {
                const sixteen *own = (const sixteen *)(rank + choice[c].feature * ROWS);
                const sixteen *left = leaf[choice[c].left], *right = leaf[choice[c].right];
                sixteen threshold = choice[c].threshold - (sixteen){0};
                for (int v = 0; v < VECTORS; v++) {
                    sixteen beyond = own[v] > threshold;
                    leaf[LEAVES + c][v] = (beyond & right[v]) | (~beyond & left[v]);
                }
            }
            const int16_t *end = (const int16_t *)leaf[t->count[k] ? LEAVES : 0];
            const double *value = t->value + t->leaves[k];
            double *sum = found + t->place[k] * rows + at;
            for (int64_t i = 0; i < count; i++) sum[i] += value[end[i]];
        }
    }
}

static void narrow_rows(const Trees *t, const double *x, int64_t rows, int64_t width, int16_t *rank,
                        double *found) {
    all_rows(t, x, rows, width, rank, found);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void wide_rows(const Trees *t, const double *x, int64_t rows,
                                                      int64_t width, int16_t *rank, double *found) {
    all_rows(t, x, rows, width, rank, found);
}
#endif

/* Add what all trees say of rows `(rows, width)` to `found`, `(places, rows)`, tree by tree; `rank`
   is room for `(features, ROWS)`. */
void hunch_trees(const Trees *t, const double *x, int64_t rows, int64_t width, int64_t lanes,
                 int16_t *rank, double *found) {
#if defined(__x86_64__)
    if (lanes >= 8) {
        wide_rows(t, x, rows, width, rank, found);
        return;
    }
#endif
    (void)lanes;
    narrow_rows(t, x, rows, width, rank, found);
}
