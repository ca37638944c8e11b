/* The mean of a Gaussian process at many rows: a weighted sum of one bump about each row it knows.

   Four rows and two vectors of knots at a time; a block of knots lies in the first cache while many
   rows pass it. In double precision, since shares of both signs may be much larger than their sum;
   in single precision, twice as many numbers a vector, where the caller knows that they are not.

   Plain C on raw numbers, as `_kernel.c`, with which it makes one library. The file includes itself
   once for each precision and width of vectors. */

#ifndef KIND

#include <math.h>
#include <stdint.h>

typedef struct {
    const void *knot;   /* (features, knots), of which there are a multiple of 32 */
    const void *square; /* (knots): their squared length */
    const double *share; /* (knots): what each adds; 0 for those that fill up */
    int64_t knots, features, single; /* single: whether knots, squares and rows are floats */
} Process;

enum { KNOTS_AT_ONCE = 128, ROWS_AT_ONCE = 64 };

typedef double quad __attribute__((vector_size(32), aligned(8), may_alias));

#define INLINE static inline __attribute__((always_inline))
#define JOIN_(a, b, c) a##_##b##_##c
#define JOIN(a, b, c) JOIN_(a, b, c)
#define NAME(f) JOIN(f, REAL, KIND)
#define wide NAME(wide)
#define whole NAME(whole)
#define fall_of NAME(fall_of)
#define some_rows NAME(some_rows)
#define all_rows NAME(all_rows)

/* Numbers that no compiler may look into, and so round later than they are there. */
#define KEPT(x) __asm__ volatile("" : "+m"(x))

#define KIND any
#define BYTES 32
#define ROWS 4
#include "_bumps.c"
#undef KIND

#if defined(__x86_64__)
#define PRAGMA(...) _Pragma(#__VA_ARGS__)
#if defined(__clang__)
#define FOR(set) PRAGMA(clang attribute push(__attribute__((target(set))), apply_to = function))
#define FOR_ALL PRAGMA(clang attribute pop)
#else
#define FOR(set) PRAGMA(GCC push_options) PRAGMA(GCC target(set))
#define FOR_ALL PRAGMA(GCC pop_options)
#endif

FOR("avx2,fma")
#define KIND avx2
#include "_bumps.c"
#undef KIND
#undef BYTES
#undef ROWS
FOR_ALL

FOR("avx2,fma,avx512f,avx512dq")
#define KIND avx512
#define BYTES 64
#define ROWS 8
#include "_bumps.c"
#undef KIND
FOR_ALL
#define CHOSEN(f, ...)                                       \
    if (lanes >= 16) f##_avx512(__VA_ARGS__);                \
    else if (lanes >= 8) f##_avx2(__VA_ARGS__);              \
    else f##_any(__VA_ARGS__)
#else
#define CHOSEN(f, ...) ((void)lanes, f##_any(__VA_ARGS__))
#endif

/* The mean at rows `(rows, features)`. Rows and knots are in units of their features' lengths, times
   √3: the bump at a distance of r is (1 + r) exp(-r). */
void hunch_process(const Process *p, const void *x, int64_t rows, int64_t lanes, double *found) {
    if (p->single) {
        CHOSEN(all_rows_float, p, x, rows, found);
    } else {
        CHOSEN(all_rows_double, p, x, rows, found);
    }
}

#elif !defined(REAL) /* once for each kind of processor */

#define REAL double
#define WHOLE int64_t
#define ROOT sqrt
#include "_bumps.c"
#undef REAL
#undef WHOLE
#undef ROOT

#define REAL float
#define WHOLE int32_t
#define ROOT sqrtf
#include "_bumps.c"
#undef REAL
#undef WHOLE
#undef ROOT

#else /* and once for each precision */

typedef REAL wide __attribute__((vector_size(BYTES), aligned(sizeof(REAL)), may_alias));
typedef WHOLE whole __attribute__((vector_size(BYTES), aligned(sizeof(REAL)), may_alias));

enum {
    NAME(LANES) = BYTES / sizeof(REAL),
    NAME(KNOTS) = 2 * NAME(LANES),
};

/* exp(-r) of r from 0 on, as a power of two and what is added to it: a Taylor series, whose rest is
   below a unit in the last place. Their sum is more exact than a number of this precision. */
INLINE wide fall_of(wide r, wide *more) {
    const int twice = sizeof(REAL) == 8;
    const REAL furthest = twice ? 708 : 87, shift = twice ? 0x1.8p52 : 0x1.8p23f;
    whole far = r > furthest;
    r = (wide)((far & (whole)((wide){0} + furthest)) | (~far & (whole)r));
    wide shifted = r * (REAL)-1.4426950408889634074 + shift; /* n stands in the lowest bits */
    wide n = shifted - shift;
    wide x = -r - n * (REAL)(twice ? 6.93145751953125e-1 : 0.693359375) -
             n * (REAL)(twice ? 1.42860682030941723212e-6 : -2.12194440054690583e-4);
    wide p = x * (REAL)(1.0 / 5040.0) + (REAL)(1.0 / 720.0);
    if (twice) {
        p = x * (REAL)(1.0 / 6227020800.0) + (REAL)(1.0 / 479001600.0);
        p = p * x + (REAL)(1.0 / 39916800.0);
        p = p * x + (REAL)(1.0 / 3628800.0);
        p = p * x + (REAL)(1.0 / 362880.0);
        p = p * x + (REAL)(1.0 / 40320.0);
        p = p * x + (REAL)(1.0 / 5040.0);
        p = p * x + (REAL)(1.0 / 720.0);
    }
    p = p * x + (REAL)(1.0 / 120.0);
    p = p * x + (REAL)(1.0 / 24.0);
    p = p * x + (REAL)(1.0 / 6.0);
    p = p * x + (REAL)0.5;
    p = p * (x * x) + x;
    wide power = (wide)(((whole)shifted + (twice ? 1023 : 127)) << (twice ? 52 : 23));
    *more = p * power;
    return power;
}

/* What knots from `first` to `last` add to rows, `found (ROWS)`. */
INLINE void some_rows(const Process *p, const REAL *const *row, const REAL *square, int64_t first,
                      int64_t last, double *found) {
    quad sum[ROWS] = {{0}};
    for (int64_t k = first; k < last; k += NAME(KNOTS)) {
        wide inner[ROWS][2] = {{{0}}};
        const REAL *knot = (const REAL *)p->knot + k;
        for (int64_t f = 0; f < p->features; f++, knot += p->knots) {
            wide a = *(const wide *)knot, b = *(const wide *)(knot + NAME(LANES));
#pragma GCC unroll 8
            for (int i = 0; i < ROWS; i++) {
                inner[i][0] += a * row[i][f];
                inner[i][1] += b * row[i][f];
            }
        }
        REAL away[ROWS * NAME(KNOTS)], power[NAME(KNOTS)], more[NAME(KNOTS)];
#pragma GCC unroll 8
        for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 2
            for (int v = 0; v < 2; v++) {
                wide own = *(const wide *)((const REAL *)p->square + k + NAME(LANES) * v);
                wide d = own + square[i] - (REAL)2.0 * inner[i][v];
                whole above = d > (REAL)0.0;
                *(wide *)(away + i * NAME(KNOTS) + NAME(LANES) * v) = (wide)(above & (whole)d);
            }
        for (int i = 0; i < ROWS * NAME(KNOTS); i++) away[i] = ROOT(away[i]);
#pragma GCC unroll 8
        for (int i = 0; i < ROWS; i++) {
            const REAL *r = away + i * NAME(KNOTS);
#pragma GCC unroll 2
            for (int v = 0; v < NAME(KNOTS); v += NAME(LANES)) {
                wide rest;
                *(wide *)(power + v) = fall_of(*(const wide *)(r + v), &rest);
                *(wide *)(more + v) = rest;
            }
            double bump[NAME(KNOTS)]; /* in doubles: shares cancel */
            for (int j = 0; j < NAME(KNOTS); j++) {
                double fall = (double)power[j] + (double)more[j];
                bump[j] = fall + (double)r[j] * fall;
            }
            /* By fours on every processor, so that all of them round alike. */
#pragma GCC unroll 8
            for (int j = 0; j < NAME(KNOTS); j += 4)
                sum[i] += *(const quad *)(p->share + k + j) * *(const quad *)(bump + j);
        }
    }
    for (int i = 0; i < ROWS; i++) {
        found[i] = 0;
        for (int j = 0; j < 4; j++) found[i] += sum[i][j];
    }
}

static void all_rows(const Process *p, const REAL *x, int64_t rows, double *found) {
    int64_t features = p->features;
    for (int64_t from = 0; from < rows; from += ROWS_AT_ONCE) {
        int64_t count = rows - from < ROWS_AT_ONCE ? rows - from : ROWS_AT_ONCE;
        REAL square[ROWS_AT_ONCE] = {0};
        for (int64_t i = 0; i < count; i++) {
            const REAL *row = x + (from + i) * features;
            /* Fours of products are rounded before they are added, on every processor. */
            int64_t f = 0;
            for (; f + 4 <= features; f += 4) {
                REAL own[4];
                for (int j = 0; j < 4; j++) own[j] = row[f + j] * row[f + j];
                KEPT(own);
                for (int j = 0; j < 4; j++) square[i] += own[j];
            }
            for (; f < features; f++) square[i] += row[f] * row[f];
            found[from + i] = 0;
        }
        for (int64_t first = 0; first < p->knots; first += KNOTS_AT_ONCE) {
            int64_t last = first + KNOTS_AT_ONCE < p->knots ? first + KNOTS_AT_ONCE : p->knots;
            for (int64_t i = 0; i < count; i += ROWS) {
                const REAL *row[ROWS];
                REAL own_square[ROWS];
                double own[ROWS];
                for (int j = 0; j < ROWS; j++) { /* of fewer the last one is asked again */
                    int64_t at = i + j < count ? i + j : count - 1;
                    row[j] = x + (from + at) * features, own_square[j] = square[at];
                }
                some_rows(p, row, own_square, first, last, own);
                for (int j = 0; j < ROWS && i + j < count; j++) found[from + i + j] += own[j];
            }
        }
    }
}

#endif
