/* What boosted trees say of rows.

   A row goes down a tree node by node, and each step waits for the one before. Rows go down side by
   side, so that they wait together; a block of them and a tree at a time lie in the first cache.

   Plain C on raw numbers, as `_kernel.c`, with which it makes one library. */

#include <stdint.h>

typedef struct {
    const int32_t *feature; /* (nodes): which one each looks at */
    const int32_t *side;    /* (nodes, 2): where rows go on, up to the threshold and beyond it; a
                               leaf is its own child on both sides */
    const double *threshold, *value; /* (nodes) */
    const int32_t *root, *place;     /* (trees): its first node, and which sum it adds to */
    int64_t trees, depth;            /* how many; steps of the longest way down */
} Trees;

enum { ABREAST = 16, BLOCK = 64 };

/* Leaves of `count` rows in a tree; of fewer than ABREAST the last one goes down again. */
static void leaves_of(const Trees *t, int32_t root, const double *x, int64_t width, int64_t count,
                      int32_t *node) {
    const double *row[ABREAST];
    for (int i = 0; i < ABREAST; i++) {
        node[i] = root;
        row[i] = x + (i < count ? i : count - 1) * width;
    }
    int32_t moved = 1;
    for (int64_t step = 0; moved && step < t->depth; step++) {
        moved = 0;
        for (int i = 0; i < ABREAST; i++) {
            int32_t at = node[i], beyond = row[i][t->feature[at]] > t->threshold[at];
            node[i] = t->side[2 * at + beyond];
            moved |= node[i] ^ at;
        }
    }
}

/* Add what all trees say of rows `(rows, width)` to `found`, `(places, rows)`, tree by tree. */
void hunch_trees(const Trees *t, const double *x, int64_t rows, int64_t width, double *found) {
    for (int64_t first = 0; first < rows; first += BLOCK) {
        int64_t last = first + BLOCK < rows ? first + BLOCK : rows;
        for (int64_t k = 0; k < t->trees; k++) {
            double *own = found + t->place[k] * rows;
            for (int64_t i = first; i < last; i += ABREAST) {
                int64_t count = last - i < ABREAST ? last - i : ABREAST;
                int32_t node[ABREAST];
                leaves_of(t, t->root[k], x + i * width, width, count, node);
                for (int64_t j = 0; j < count; j++) own[i + j] += t->value[node[j]];
            }
        }
    }
}
