/* The mean of a Gaussian process at many rows: a weighted sum of one bump about each row it knows.

   Four rows and two vectors of knots at a time; a block of knots lies in the first cache while many
   rows pass it. In double precision, since shares of both signs may be much larger than their sum;
   in single precision, twice as many numbers a vector, where the caller knows that they are not.

   Plain C on raw numbers, as `_kernel.c`, with which it makes one library. The file includes itself
   once for each precision. */

#ifndef REAL

#include <math.h>
#include <stdint.h>

typedef struct {
    const void *knot;   /* (features, knots), of which there are a multiple of 16 */
    const void *square; /* (knots): their squared length */
    const double *share; /* (knots): what each adds; 0 for those that fill up */
    int64_t knots, features, single; /* single: whether knots, squares and rows are floats */
} Process;

enum { ROWS = 4, KNOTS_AT_ONCE = 128, ROWS_AT_ONCE = 64 };

typedef double quad __attribute__((vector_size(32), aligned(8), may_alias));

#define INLINE static inline __attribute__((always_inline))
#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(f) JOIN(f, REAL)
#define wide NAME(wide)
#define whole NAME(whole)
#define some NAME(some)
#define fall_of NAME(fall_of)
#define four_rows NAME(four_rows)
#define all_rows NAME(all_rows)
#define narrow_rows NAME(narrow_rows)
#define wide_rows NAME(wide_rows)

#define REAL double
#define WHOLE int64_t
#define ROOT sqrt
#define LANES 4
#include "_bumps.c"
#undef REAL
#undef WHOLE
#undef ROOT
#undef LANES

#define REAL float
#define WHOLE int32_t
#define ROOT sqrtf
#define LANES 8
#include "_bumps.c"

/* The mean at rows `(rows, features)`. Rows and knots are in units of their features' lengths, times
   √3: the bump at a distance of r is (1 + r) exp(-r). */
void hunch_process(const Process *p, const void *x, int64_t rows, int64_t lanes, double *found) {
#if defined(__x86_64__)
    if (lanes >= 8) {
        if (p->single) wide_rows_float(p, x, rows, found);
        else wide_rows_double(p, x, rows, found);
        return;
    }
#endif
    (void)lanes;
    if (p->single) narrow_rows_float(p, x, rows, found);
    else narrow_rows_double(p, x, rows, found);
}

#else /* once for each precision */

typedef REAL wide __attribute__((vector_size(32), aligned(sizeof(REAL)), may_alias));
typedef WHOLE whole __attribute__((vector_size(32), aligned(sizeof(REAL)), may_alias));

typedef REAL some __attribute__((vector_size(4 * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));

enum { NAME(KNOTS) = 2 * LANES };
#undef DOUBLES
#define DOUBLES(from) __builtin_convertvector(*(const some *)(from), quad)

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
INLINE void four_rows(const Process *p, const REAL *const *row, const REAL *square, int64_t first,
                      int64_t last, double *found) {
    quad sum[ROWS] = {{0}, {0}, {0}, {0}};
    for (int64_t k = first; k < last; k += NAME(KNOTS)) {
        wide inner[ROWS][2] = {{{0}, {0}}, {{0}, {0}}, {{0}, {0}}, {{0}, {0}}};
        const REAL *knot = (const REAL *)p->knot + k;
        for (int64_t f = 0; f < p->features; f++, knot += p->knots) {
            wide a = *(const wide *)knot, b = *(const wide *)(knot + LANES);
#pragma GCC unroll 4
            for (int i = 0; i < ROWS; i++) {
                inner[i][0] += a * row[i][f];
                inner[i][1] += b * row[i][f];
            }
        }
        REAL away[ROWS * NAME(KNOTS)], power[NAME(KNOTS)], more[NAME(KNOTS)];
#pragma GCC unroll 4
        for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 2
            for (int v = 0; v < 2; v++) {
                wide own = *(const wide *)((const REAL *)p->square + k + LANES * v);
                wide d = own + square[i] - (REAL)2.0 * inner[i][v];
                whole above = d > (REAL)0.0;
                *(wide *)(away + i * NAME(KNOTS) + LANES * v) = (wide)(above & (whole)d);
            }
        for (int i = 0; i < ROWS * NAME(KNOTS); i++) away[i] = ROOT(away[i]);
#pragma GCC unroll 4
        for (int i = 0; i < ROWS; i++) {
            const REAL *r = away + i * NAME(KNOTS);
#pragma GCC unroll 2
            for (int v = 0; v < NAME(KNOTS); v += LANES) {
                wide rest;
                *(wide *)(power + v) = fall_of(*(const wide *)(r + v), &rest);
                *(wide *)(more + v) = rest;
            }
#pragma GCC unroll 4
            for (int j = 0; j < NAME(KNOTS); j += 4) { /* from here on in doubles: shares cancel */
                quad fall = DOUBLES(power + j) + DOUBLES(more + j);
                sum[i] += *(const quad *)(p->share + k + j) * (fall + DOUBLES(r + j) * fall);
            }
        }
    }
    for (int i = 0; i < ROWS; i++) {
        found[i] = 0;
        for (int j = 0; j < 4; j++) found[i] += sum[i][j];
    }
}

INLINE void all_rows(const Process *p, const REAL *x, int64_t rows, double *found) {
    for (int64_t i = 0; i < rows; i++) found[i] = 0;
    for (int64_t from = 0; from < rows; from += ROWS_AT_ONCE) {
        int64_t to = from + ROWS_AT_ONCE < rows ? from + ROWS_AT_ONCE : rows;
        for (int64_t first = 0; first < p->knots; first += KNOTS_AT_ONCE) {
            int64_t last = first + KNOTS_AT_ONCE < p->knots ? first + KNOTS_AT_ONCE : p->knots;
            for (int64_t i = from; i < to; i += ROWS) {
                const REAL *row[ROWS];
                REAL square[ROWS] = {0};
                double own[ROWS];
                for (int j = 0; j < ROWS; j++) { /* of fewer the last one is asked again */
                    row[j] = x + (i + j < to ? i + j : to - 1) * p->features;
                    for (int64_t f = 0; f < p->features; f++) square[j] += row[j][f] * row[j][f];
                }
                four_rows(p, row, square, first, last, own);
                for (int j = 0; j < ROWS && i + j < to; j++) found[i + j] += own[j];
            }
        }
    }
}

static void narrow_rows(const Process *p, const void *x, int64_t rows, double *found) {
    all_rows(p, x, rows, found);
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static void wide_rows(const Process *p, const void *x,
                                                          int64_t rows, double *found) {
    all_rows(p, x, rows, found);
}
#endif

#endif
