/* The mean of a Gaussian process at many rows: a weighted sum of one bump about each row it knows.

   Four rows and eight knots at a time; a block of knots lies in the first cache while many rows
   pass it. In double precision, since shares of both signs may be much larger than their sum.

   Plain C on raw numbers, as `_kernel.c`, with which it makes one library. */

#include <math.h>
#include <stdint.h>

typedef struct {
    const double *knot;   /* (features, knots), of which there are a multiple of 8 */
    const double *square; /* (knots): their squared length */
    const double *share;  /* (knots): what each adds; 0 for those that fill up */
    int64_t knots, features;
} Process;

enum { ROWS = 4, KNOTS = 8, KNOTS_AT_ONCE = 128, ROWS_AT_ONCE = 64 };

typedef double wide __attribute__((vector_size(32), aligned(8), may_alias));
typedef int64_t whole __attribute__((vector_size(32), aligned(8), may_alias));

#define INLINE static inline __attribute__((always_inline))

/* exp(-r) of r from 0 on: 2ⁿ times a Taylor series, whose rest is below a unit in the last place. */
INLINE wide fall_of(wide r) {
    whole far = r > 708.0;
    r = (wide)((far & (whole)((wide){} + 708.0)) | (~far & (whole)r));
    wide shifted = r * -1.4426950408889634074 + 0x1.8p52; /* n stands in the lowest bits */
    wide n = shifted - 0x1.8p52;
    wide x = -r - n * 6.93145751953125e-1 - n * 1.42860682030941723212e-6;
    wide p = x * (1.0 / 6227020800.0) + 1.0 / 479001600.0;
    p = p * x + 1.0 / 39916800.0;
    p = p * x + 1.0 / 3628800.0;
    p = p * x + 1.0 / 362880.0;
    p = p * x + 1.0 / 40320.0;
    p = p * x + 1.0 / 5040.0;
    p = p * x + 1.0 / 720.0;
    p = p * x + 1.0 / 120.0;
    p = p * x + 1.0 / 24.0;
    p = p * x + 1.0 / 6.0;
    p = p * x + 0.5;
    p = p * x + 1.0;
    p = p * x + 1.0;
    return p * (wide)(((whole)shifted + 1023) << 52);
}

/* What knots from `first` to `last` add to rows, `found (ROWS)`. */
INLINE void four_rows(const Process *p, const double *const *row, const double *square,
                      int64_t first, int64_t last, double *found) {
    wide sum[ROWS] = {{0}, {0}, {0}, {0}};
    for (int64_t k = first; k < last; k += KNOTS) {
        wide inner[ROWS][2] = {{{0}, {0}}, {{0}, {0}}, {{0}, {0}}, {{0}, {0}}};
        const double *knot = p->knot + k;
        for (int64_t f = 0; f < p->features; f++, knot += p->knots) {
            wide a = *(const wide *)knot, b = *(const wide *)(knot + 4);
#pragma GCC unroll 4
            for (int i = 0; i < ROWS; i++) {
                inner[i][0] += a * row[i][f];
                inner[i][1] += b * row[i][f];
            }
        }
        double distance[ROWS * KNOTS];
#pragma GCC unroll 4
        for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 2
            for (int v = 0; v < 2; v++) {
                wide d = *(const wide *)(p->square + k + 4 * v) + square[i] - 2.0 * inner[i][v];
                whole above = d > 0.0;
                *(wide *)(distance + i * KNOTS + 4 * v) = (wide)(above & (whole)d);
            }
        for (int i = 0; i < ROWS * KNOTS; i++) distance[i] = 1.7320508075688772935 * sqrt(distance[i]);
#pragma GCC unroll 4
        for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 2
            for (int v = 0; v < 2; v++) {
                wide r = *(const wide *)(distance + i * KNOTS + 4 * v);
                sum[i] += *(const wide *)(p->share + k + 4 * v) * ((1.0 + r) * fall_of(r));
            }
    }
    for (int i = 0; i < ROWS; i++) found[i] = sum[i][0] + sum[i][1] + sum[i][2] + sum[i][3];
}

INLINE void all_rows(const Process *p, const double *x, int64_t rows, double *found) {
    for (int64_t i = 0; i < rows; i++) found[i] = 0;
    for (int64_t from = 0; from < rows; from += ROWS_AT_ONCE) {
        int64_t to = from + ROWS_AT_ONCE < rows ? from + ROWS_AT_ONCE : rows;
        for (int64_t first = 0; first < p->knots; first += KNOTS_AT_ONCE) {
            int64_t last = first + KNOTS_AT_ONCE < p->knots ? first + KNOTS_AT_ONCE : p->knots;
            for (int64_t i = from; i < to; i += ROWS) {
                const double *row[ROWS];
                double square[ROWS] = {0}, own[ROWS];
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

static void narrow_rows(const Process *p, const double *x, int64_t rows, double *found) {
    all_rows(p, x, rows, found);
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static void wide_rows(const Process *p, const double *x,
                                                          int64_t rows, double *found) {
    all_rows(p, x, rows, found);
}
#endif

/* The mean at rows `(rows, features)`, each in units of its features' lengths. */
void hunch_process(const Process *p, const double *x, int64_t rows, int64_t lanes, double *found) {
#if defined(__x86_64__)
    if (lanes >= 8) {
        wide_rows(p, x, rows, found);
        return;
    }
#endif
    (void)lanes;
    narrow_rows(p, x, rows, found);
}
