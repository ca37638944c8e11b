/* What boosted trees say of rows.

   A row that goes down a tree waits at every step for the one before. Here none goes down: each of
   a tree's choices is made for many rows at once, from the last to the first, and each takes over
   the leaf that the side chosen has found. A tree of 31 leaves takes some 30 operations that way,
   for 16 or 32 rows together. Numbers are compared by their ranks among the thresholds of their feature,
   which says the same of them, in a quarter of their size.

   Plain C on raw numbers, as `_kernel.c`, with which it makes one library. The file includes itself
   once for each kind of processor. */

#ifndef KIND

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

enum { LEAVES = 256, ROWS = 64, STEPS = 8 };

#define INLINE static inline __attribute__((always_inline))
#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(f) JOIN(f, KIND)
#define ranks NAME(ranks)
#define ranks_of NAME(ranks_of)
#define all_rows NAME(all_rows)

#define KIND any
#define BYTES 32
#include "_trees.c"
#undef KIND

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif
#define KIND avx2
#include "_trees.c"
#undef KIND
#undef BYTES
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx2,avx512f,avx512bw"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,avx512f,avx512bw")
#endif
#define KIND avx512
#define BYTES 64
#include "_trees.c"
#undef KIND
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

/* Add what all trees say of rows `(rows, width)` to `found`, `(places, rows)`, tree by tree; `rank`
   is room for `(features, ROWS)`. */
void hunch_trees(const Trees *t, const double *x, int64_t rows, int64_t width, int64_t lanes,
                 int16_t *rank, double *found) {
#if defined(__x86_64__)
    if (lanes >= 16 && __builtin_cpu_supports("avx512bw")) {
        all_rows_avx512(t, x, rows, width, rank, found);
        return;
    }
    if (lanes >= 8) {
        all_rows_avx2(t, x, rows, width, rank, found);
        return;
    }
#endif
    (void)lanes;
    all_rows_any(t, x, rows, width, rank, found);
}

#else /* once for each kind */

typedef int16_t ranks __attribute__((vector_size(BYTES), aligned(2), may_alias));

enum { NAME(VECTORS) = 2 * ROWS / BYTES };

/* Ranks of a feature of some rows: how many thresholds are below, by bisection for rows abreast. */
INLINE void ranks_of(const double *edge, int64_t edges, const double *x, int64_t width,
                     int64_t count, int16_t *rank) {
    for (int64_t i = 0; i < ROWS; i += STEPS) {
        double value[STEPS];
        int64_t below[STEPS] = {0};
        for (int j = 0; j < STEPS; j++) value[j] = i + j < count ? x[(i + j) * width] : 0;
        for (int64_t left = edges; left > 1; left -= left / 2)
            for (int j = 0; j < STEPS; j++) /* without a branch, which nobody could foretell */
                below[j] += left / 2 & -(int64_t)(value[j] > edge[below[j] + left / 2 - 1]);
        for (int j = 0; j < STEPS; j++) rank[i + j] = below[j] + (value[j] > edge[below[j]]);
    }
}

static void all_rows(const Trees *t, const double *x, int64_t rows, int64_t width,
                     int16_t *rank, double *found) {
    /* By its number, then what each choice has found. */
    _Alignas(64) ranks leaf[2 * LEAVES][NAME(VECTORS)];
    for (int64_t k = 0; k < t->most; k++)
        for (int v = 0; v < NAME(VECTORS); v++) leaf[k][v] = (int16_t)k - (ranks){0};
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
                const ranks *own = (const ranks *)(rank + choice[c].feature * ROWS);
                const ranks *left = leaf[choice[c].left], *right = leaf[choice[c].right];
                ranks threshold = choice[c].threshold - (ranks){0};
                for (int v = 0; v < NAME(VECTORS); v++) {
                    ranks beyond = own[v] > threshold;
                    leaf[LEAVES + c][v] = (beyond & right[v]) | (~beyond & left[v]);
                }
            }
            const int16_t *end = (const int16_t *)leaf[t->count[k] ? LEAVES : 0];
            const double *value = t->value + t->leaves[k];
            double *sum = found + t->place[k] * rows + at;
#pragma GCC unroll 8
            for (int64_t i = 0; i < count; i++) sum[i] += value[end[i]];
        }
    }
}

#endif
