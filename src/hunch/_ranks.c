/* Scores of the values of columns, on a rising line through some knots of each; beyond the outermost
   ones it goes on with the slope 1.

   As `hunch.sklearn.ranks` has it in numpy, to the bit. Plain C on raw numbers, as `_kernel.c`. */

#include <stdint.h>

/* A product and a sum rounded together would give other bits than numpy's. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

enum { ABREAST = 8 };

/* The line between a knot and the next one; what has no end on one side is seen from the other. */
static inline double between(const double *value, const double *score, double x) {
    double slope = (score[1] - score[0]) / (value[1] - value[0]);
    double found = slope * (x - value[0]) + score[0];
    if (found == found) return found;
    found = slope * (x - value[1]) + score[1];
    return found != found && score[0] == score[1] ? score[0] : found;
}

/* From `x (rows, columns)` to scores, likewise; `value` and `score` are (columns, knots). */
void hunch_ranks(const double *x, int64_t rows, int64_t columns, const double *value,
                 const double *score, int64_t knots, double *to) {
    for (int64_t c = 0; c < columns; c++, value += knots, score += knots) {
        double least = value[0], most = value[knots - 1];
        for (int64_t at = 0; at < rows; at += ABREAST) {
            int64_t count = rows - at < ABREAST ? rows - at : ABREAST, place[ABREAST] = {0};
            double own[ABREAST];
            for (int j = 0; j < ABREAST; j++) own[j] = x[(at + (j < count ? j : 0)) * columns + c];
            /* The last knot that is not above, by bisection for rows abreast, without a branch. */
            for (int64_t left = knots; left > 1; left -= left / 2)
                for (int j = 0; j < ABREAST; j++)
                    place[j] += left / 2 & -(int64_t)(own[j] >= value[place[j] + left / 2]);
            for (int64_t j = 0; j < count; j++) {
                int64_t k = place[j];
                double below = own[j] - least, above = own[j] - most, found = own[j];
                if (found == found) {
                    int on = own[j] <= least || k == knots - 1 || own[j] == value[k];
                    found = on ? score[k] : between(value + k, score + k, own[j]);
                }
                to[(at + j) * columns + c] = found + ((below < 0 ? below : 0) + (above > 0 ? above : 0));
            }
        }
    }
}
