/* Rows of a table that is the first layer of several networks: looked up, and summed by row; and
   images in the order that convolutions want.

   A row `(members * width)` has a column of each member's weight; there is one for each input of each
   replica. Plain C on raw numbers, as `_kernel.c`. */

#include <stdint.h>
#include <string.h>

/* From rows (replicas, batch) of a table to (replicas, members, batch, width). */
void hunch_look_up(const float *table, const int64_t *row, int64_t replicas, int64_t members,
                   int64_t batch, int64_t width, float *to) {
    for (int64_t r = 0; r < replicas; r++, row += batch)
        for (int64_t k = 0; k < members; k++)
            for (int64_t i = 0; i < batch; i++, to += width)
                memcpy(to, table + (row[i] * members + k) * width, width * sizeof *to);
}

/* From (replicas, members, batch, width) to sums (count, members * width) over what belongs to the
   same row, whose number is at `place` (replicas, batch). */
void hunch_sum_rows(const float *from, const int64_t *place, int64_t replicas, int64_t members,
                    int64_t batch, int64_t width, int64_t count, float *sums) {
    memset(sums, 0, count * members * width * sizeof *sums);
    for (int64_t r = 0; r < replicas; r++, place += batch)
        for (int64_t k = 0; k < members; k++)
            for (int64_t i = 0; i < batch; i++, from += width) {
                float *to = sums + (place[i] * members + k) * width;
                for (int64_t j = 0; j < width; j++) to[j] += from[j];
            }
}

static inline __attribute__((always_inline)) void of_channels(const float *from, int64_t channels,
                                                              int64_t pixels, float divisor,
                                                              float *to) {
    for (int64_t p = 0; p < pixels; p++)
        for (int64_t c = 0; c < channels; c++) to[p * channels + c] = from[c * pixels + p] / divisor;
}

/* From images (batch, channels, pixels) to their numbers / divisor, (batch, pixels, channels). */
void hunch_images(const float *from, int64_t batch, int64_t channels, int64_t pixels, float divisor,
                  float *to) {
    for (int64_t i = 0; i < batch; i++, from += channels * pixels, to += channels * pixels)
        switch (channels) { /* what is compiled for a number runs along the pixels in vectors */
        case 1: of_channels(from, 1, pixels, divisor, to); break;
        case 3: of_channels(from, 3, pixels, divisor, to); break;
        case 4: of_channels(from, 4, pixels, divisor, to); break;
        default: of_channels(from, channels, pixels, divisor, to);
        }
}

static inline __attribute__((always_inline)) void of_bytes(const uint8_t *from, int64_t channels,
                                                           int64_t pixels, const float *number,
                                                           float *to) {
    for (int64_t p = 0; p < pixels; p++)
        for (int64_t c = 0; c < channels; c++) to[p * channels + c] = number[from[c * pixels + p]];
}

/* The same from bytes, each of whose quotients is found once. */
void hunch_images_of_bytes(const uint8_t *from, int64_t batch, int64_t channels, int64_t pixels,
                           float divisor, float *to) {
    float number[256];
    for (int i = 0; i < 256; i++) number[i] = i / divisor;
    for (int64_t i = 0; i < batch; i++, from += channels * pixels, to += channels * pixels)
        switch (channels) {
        case 1: of_bytes(from, 1, pixels, number, to); break;
        case 3: of_bytes(from, 3, pixels, number, to); break;
        case 4: of_bytes(from, 4, pixels, number, to); break;
        default: of_bytes(from, channels, pixels, number, to);
        }
}
