/* Many optimizer steps of an ensemble of small networks in one call.

   Each member goes through its steps by itself: forward, loss, backward, Adam, all of it in the
   cache. Numbers of a batch lie feature by feature, `(features, rows)`, so that vectors run along
   the rows and weights are read as torch keeps them, one number at a time. A batch is taken in
   parts that the first cache holds; their gradients add up.

   Plain C on raw numbers: no Python, no torch, no libraries. Threads are the caller's: calls about
   different members of one training may run at once. NaN goes through every operation.

   The file includes itself once for each width of vectors, and the widest that the processor has
   is taken when it runs. */

#ifndef LANES

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { INTERFACE = 14 }; /* changes with the structures here and in the other files; kernel.py has it too */

enum Activation { IDENTITY, RELU, TANH, SIGMOID, SILU, ELU, SELU, GELU };
enum Loss { SQUARED_ERROR, CROSS_ENTROPY };

typedef struct {
    float *weight; /* (members, out, in) */
    float *bias;   /* (members, out), or NULL */
    int64_t in, out, activation;
} Layer;

typedef struct {
    const Layer *layer;
    int64_t layers, data, parameters, loss;
    const float *x;           /* (data, in) */
    const void *y;            /* (data, out) of float; int64 class numbers (data) */
    int64_t y_apart;          /* from a member's targets to the next one's; 0 if they share them */
    const float *prior;       /* (members, data, out), or NULL */
    const float *importance;  /* (data), or NULL */
    const float *evidence;    /* (data), or NULL */
    float *mean, *square;     /* of Adam, (members, parameters) */
    const float *rate, *pull; /* (members) */
    double beta1, beta2, epsilon;
    double longest; /* a gradient may be; infinite if any may */
} Training;

typedef struct {
    const int64_t *rows;  /* (count), or NULL for all of them */
    int64_t count;
    const float *weights; /* (members, data) */
    float *kept;          /* (members, parameters) as they were before the step, or NULL */
} Step;

typedef struct {
    int64_t first, last, members; /* those of this call; how many there are */
    int64_t steps, done;          /* of this call; before it */
    float *loss, *unseen_loss, *unseen; /* (steps, members) */
    float *scratch;
} Task;

typedef struct {
    float *first;  /* of the first member, or NULL */
    int64_t apart; /* from a member's to the next one's */
} Own;

typedef struct {
    Own weight, bias;          /* (out, in) and (out); NULL for a layer that only adds a bias */
    Own spread, bias_spread;   /* of noisy layers, otherwise NULL */
    Own rows, columns;         /* their noise: (in) and (out), whose product it is, or NULL */
    Own noise, bias_noise;     /* or (out, in) and (out), or NULL */
    Own slope[4];              /* where gradients of the first four go, or NULL */
    int64_t in, out, activation;
} Link;

typedef struct Chain {
    const Link *link;
    int64_t links, members, rows;
    int64_t draws;  /* so many members in a row are one network, each under noise of its own: their
                       gradients add up */
    const float *x; /* (members, rows, in), members `x_apart` from each other, rows side by side */
    int64_t x_apart;
    float *y;        /* (members, rows, out), with `y_width` from a row to the next */
    const float *dy; /* likewise */
    int64_t y_width;
    float *dx; /* (members, rows, in), or NULL */
    float *tape; /* (members, hunch_tape); NULL for a few rows that no backward follows */
    float *scratch;
    const int64_t *member; /* whose outputs are asked of each of a few rows: x and y are then (rows, …);
                              or NULL */
} Chain;

typedef struct {
    float *value, *mean, *square; /* (count) */
    const float *gradient;        /* (count) */
    int64_t count;
    double beta1, beta2, epsilon, rate;
    double factor; /* of the gradient */
    int64_t done; /* steps, this one included */
    const int64_t *row; /* those of `value`, `mean` and `square` that move, `width` apart; or NULL */
    int64_t width;      /* of a row; `count` is how many there are */
} Moved;

enum { AT_ONCE = 4096 }; /* numbers of the widest layer that are in work at one time: 16 kB */
enum { IN_CHAIN = 16384 }; /* likewise, of a chain */
enum { STRIP = 48 };       /* of which rows a layer is computed at one time there */
enum { AHEAD = 16 };     /* rows that are fetched before they are needed */

typedef float quad __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t four __attribute__((vector_size(16)));
#if defined(__clang__)
#define FOUR(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define FOUR(a, b, ...) __builtin_shuffle(a, b, (four){__VA_ARGS__})
#endif

#define INLINE static inline __attribute__((always_inline))

INLINE int64_t least_of(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t most_of(int64_t a, int64_t b) { return a > b ? a : b; }

/* Not `pow`, which ties the library to the C library of 2019 and later. */
INLINE double power(double base, int64_t exponent) {
    double result = 1;
    for (; exponent; exponent /= 2, base *= base)
        if (exponent % 2) result *= base;
    return result;
}

/* Rows of numbers begin at a cache line, and at another place in the cache than the row before. */
INLINE int64_t padded(int64_t rows) { return ((rows + 15) / 16 | 1) * 16; }

/* A weight's gradient and then the bias's, in whole vectors of any width. */
INLINE int64_t side_by_side(int64_t in) { return (in + 16) / 16 * 16; }

typedef struct {
    int64_t whole, part, rows; /* floats in a row of the batch, of a part; rows in a part */
    int64_t hidden;            /* floats of a part in all layers */
    int64_t wide;              /* floats of all gradients */
    int64_t widest, total;
} Sizes;

static Sizes sizes_of(const Training *t, int64_t count) {
    Sizes s = {padded(count), 0, 0, 0, 0, t->layer[0].in, 0};
    for (int64_t l = 0; l < t->layers; l++) {
        s.hidden += t->layer[l].out;
        s.wide += t->layer[l].out * side_by_side(t->layer[l].in);
        s.widest = most_of(s.widest, t->layer[l].out);
    }
    int64_t rows = most_of(AT_ONCE / s.widest / 48, 1) * 48;
    int64_t parts = (count + rows - 1) / rows;
    s.rows = least_of(((count + parts - 1) / parts + 15) / 16 * 16, rows);
    s.part = padded(s.rows);
    int64_t out = t->layer[t->layers - 1].out;
    /* Fewer rows may come in larger parts, so room is made for the largest. */
    s.total = (t->layer[0].in + side_by_side(t->layer[0].in) + out + 3) * s.whole +
              (2 * s.hidden + 2 * s.widest + side_by_side(s.widest)) * padded(rows) + s.wide +
              t->parameters + 32;
    return s;
}

/* How many floats of scratch a call needs, for steps of at most so many rows. */
int64_t hunch_scratch(const Training *t, int64_t count) { return sizes_of(t, count).total; }

/* Rows of a chain that are in work at one time: as many as the second cache holds. */
static int64_t rows_in_part(const Link *link, int64_t links, int64_t rows) {
    int64_t widest = link[0].in;
    for (int64_t l = 0; l < links; l++) widest = most_of(widest, link[l].out);
    int64_t most = most_of(IN_CHAIN / widest, 128) / 48 * 48 + 48;
    int64_t parts = (rows + most - 1) / most;
    return parts <= 1 ? most_of(rows, 1) : ((rows + parts - 1) / parts + 15) / 16 * 16;
}

/* On the tape: a noisy layer's weights and biases; a layer's outputs and slopes of some rows. */
INLINE int64_t noisy_of(const Link *l) {
    return l->spread.first ? l->out * l->in + padded(l->out) : 0;
}
INLINE int has_slopes(const Link *l) {
    return l->activation != IDENTITY && l->activation != RELU && l->activation != TANH;
}
INLINE int64_t outputs_of(const Link *l, int64_t whole) {
    return l->out * whole * (has_slopes(l) ? 2 : 1);
}

/* Floats that a forward of so many rows leaves to its backward, for each member. */
int64_t hunch_tape(const Link *link, int64_t links, int64_t rows) {
    int64_t part = rows_in_part(link, links, rows), parts = (rows + part - 1) / part, floats = 0;
    for (int64_t l = 0; l < links; l++)
        floats += noisy_of(link + l) + parts * outputs_of(link + l, padded(part));
    return padded(floats);
}

/* Floats of scratch that a forward or a backward needs. */
int64_t hunch_chain_scratch(const Link *link, int64_t links, int64_t rows) {
    int64_t part = rows_in_part(link, links, rows), widest = link[0].in, wide = 0, all = 0;
    for (int64_t l = 0; l < links; l++) {
        int64_t own = link[l].out * side_by_side(link[l].in);
        widest = most_of(widest, link[l].out);
        wide = most_of(wide, own), all += own;
    }
    /* Inputs and three of the widest rows; and what is above in vectors that begin at a cache line. */
    return (2 * widest + side_by_side(widest) + side_by_side(link[0].in)) * padded(part) +
           (part < rows ? all : wide) + 4 * padded(widest) + 64;
}

/* Rows of which outputs alone are asked at a time: activations in the second cache, and weights, which
   pass by once for all of them. */
static int64_t rows_at_once(const Link *link, int64_t links, int64_t *widest) {
    *widest = 1;
    for (int64_t l = 0; l < links; l++) *widest = most_of(*widest, link[l].out);
    return most_of(4 * AT_ONCE / *widest / 48, 1) * 48;
}

/* Floats of scratch that outputs alone need. */
int64_t hunch_outputs_scratch(const Link *link, int64_t links) {
    int64_t widest, rows = rows_at_once(link, links, &widest);
    return (link[0].in + 2 * widest) * padded(rows) + 16;
}

int64_t hunch_interface(void) { return INTERFACE; }

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(f) JOIN(f, LANES)

typedef struct {
    const float *w; /* number (r, k) at w[r * by_row + k * by_inner] */
    int64_t by_row, by_inner;
    const float *a; /* (inner, n) */
    int64_t a_apart, inner;
    const float *bias;  /* (rows), or NULL for 0 */
    const float *slope; /* (rows, n) by which the product is multiplied, or NULL */
    float *c;           /* (rows, n) */
    int64_t c_apart;
    int add;         /* to what stands there */
    int64_t after;   /* of which activation `slope` holds the outputs instead; IDENTITY for none */
} Product;

typedef struct {
    float *input, *target, *class, *share, *unseen; /* of the whole batch, feature by feature */
    float *rows; /* inputs, row by row, with a 1 behind each for the bias */
    float *hidden, *slope, *delta, *other, *turned; /* of a part */
    float *wide, *gradient; /* of weight and bias side by side, padded; as the moments lie */
    float loss, unseen_loss, unseen_count;
} Bench;

typedef struct {
    float forget1, forget2, epsilon; /* 1 − β₁, 1 − β₂ */
    float factor, step, root;               /* of the gradient; step size; 1 / √(1 − β₂ᵗ) */
} Move;

/* What depends on the width of vectors carries it in its name. */
#define vec NAME(vec)
#define ints NAME(ints)
#define load NAME(load)
#define store NAME(store)
#define splat NAME(splat)
#define sum NAME(sum)
#define where NAME(where)
#define exp_of NAME(exp_of)
#define sigmoid NAME(sigmoid)
#define tanh_of NAME(tanh_of)
#define normal NAME(normal)
#define activate NAME(activate)
#define sloped NAME(sloped)
#define each_of NAME(each_of)
#define block NAME(block)
#define panel NAME(panel)
#define product NAME(product)
#define corner NAME(corner)
#define transpose NAME(transpose)
#define turn NAME(turn)
#define narrow NAME(narrow)
#define laid_out NAME(laid_out)
#define gather_inputs NAME(gather_inputs)
#define gather_targets NAME(gather_targets)
#define squared_error NAME(squared_error)
#define cross_entropy NAME(cross_entropy)
#define part_of NAME(part_of)
#define squares NAME(squares)
#define adam NAME(adam)
#define move_of NAME(move_of)
#define update NAME(update)
#define train NAME(train)
#define effective NAME(effective)
#define across_rows NAME(across_rows)
#define few_rows NAME(few_rows)
#define shifted NAME(shifted)
#define total NAME(total)
#define forward NAME(forward)
#define outputs NAME(outputs)
#define backward NAME(backward)
#define spread_out NAME(spread_out)
#define beside_one NAME(beside_one)
#define is_learned NAME(is_learned)
#define dot NAME(dot)
#define one_row NAME(one_row)
#define move NAME(move)

#define LANES 4
#include "_kernel.c"
#undef LANES

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
#define LANES 8
#include "_kernel.c"
#undef LANES
FOR_ALL

FOR("avx2,fma,avx512f,avx512dq")
#define LANES 16
#include "_kernel.c"
#undef LANES
FOR_ALL
#endif

/* The widest vectors, in floats, that this processor has. */
int64_t hunch_lanes(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") ? 16 : 8;
#endif
    return 4;
}

#if defined(__x86_64__)
#define CHOSEN(f) (lanes == 16 ? f##_16 : lanes == 8 ? f##_8 : f##_4)
#else
#define CHOSEN(f) ((void)lanes, f##_4) /* of which there is one kind here */
#endif

/* Make the steps of some members; `lanes` is at most what `hunch_lanes` says, here and below. */
void hunch_train(const Training *t, const Step *steps, const Task *task, int64_t lanes) {
    CHOSEN(train)(t, steps, task);
}

/* The outputs of all members, and on the tape what a backward needs. */
void hunch_forward(const Chain *c, int64_t lanes) { CHOSEN(forward)(c); }

/* The outputs of all members and nothing else, of layers without noise. Those of a row do not depend
   on the rows beside it, to the bit. */
void hunch_outputs(const Chain *c, int64_t lanes) { CHOSEN(outputs)(c); }

/* The gradients of all parameters, and of the inputs if `dx` has a place for them. */
void hunch_backward(const Chain *c, int64_t lanes) { CHOSEN(backward)(c); }

/* One step of Adam. */
void hunch_adam(const Moved *m, int64_t lanes) { CHOSEN(move)(m); }

#else /* once for each width */

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ints __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

INLINE vec load(const float *from) { return *(const vec *)from; }
INLINE void store(float *to, vec x) { *(vec *)to = x; }
INLINE vec splat(float x) { return x - (vec){0}; }

INLINE float sum(vec x) {
    float all = 0;
    for (int j = 0; j < LANES; j++) all += x[j];
    return all;
}

INLINE vec where(ints mask, vec yes, vec no) {
    return (vec)((mask & (ints)yes) | (~mask & (ints)no));
}

/* ---- functions of numbers; coefficients of exp and tanh as in Moshier's Cephes ---- */

INLINE vec exp_of(vec x) {
    x = where(x > 88.0f, splat(88.0f), x);
    x = where(x < -87.0f, splat(-87.0f), x);
    vec shifted = x * 1.44269504f + 0x1.8p23f; /* whole numbers stand in the lowest bits */
    vec n = shifted - 0x1.8p23f;
    vec r = x - n * 0.693359375f - n * -2.12194440e-4f;
    vec p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    return p * (vec)(((ints)shifted + 127) << 23);
}

INLINE vec sigmoid(vec x) { return 1.0f / (1.0f + exp_of(-x)); }

INLINE vec tanh_of(vec x) {
    vec size = where(x < 0.0f, -x, x), z = x * x;
    vec p = splat(-5.70498872745e-3f);
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    vec far = 1.0f - 2.0f / (exp_of(2.0f * size) + 1.0f);
    return where(size < 0.625f, p * z * x + x, where(x < 0.0f, -far, far));
}

/* Φ(x) and the density; erf by Abramowitz & Stegun 7.1.26, as torch has it. */
INLINE vec normal(vec x, vec *density) {
    vec size = where(x < 0.0f, -x, x) * 0.70710678f;
    vec t = 1.0f / (1.0f + 0.3275911f * size), e = exp_of(-size * size);
    vec p = splat(1.061405429f);
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    vec tail = 0.5f * p * t * e;
    *density = 0.39894228f * e;
    return where(x < 0.0f, tail, 1.0f - tail);
}

/* An activation in place, and its derivative unless its place is NULL; vectors of all rows, one
   feature after another. */
INLINE void each_of(int kind, float *h, float *slope, int64_t n) {
    for (int64_t i = 0; i < n; i += LANES) {
        vec x = load(h + i), y = x, d = splat(1.0f), s;
        ints below = x < 0.0f;
        switch (kind) {
        case RELU:
            y = where(x <= 0.0f, splat(0.0f), x), d = where(x <= 0.0f, splat(0.0f), d);
            break;
        case TANH: y = tanh_of(x), d = 1.0f - y * y; break;
        case SIGMOID: y = sigmoid(x), d = y * (1.0f - y); break;
        case SILU: s = sigmoid(x), y = x * s, d = s + y * (1.0f - s); break;
        case ELU: s = exp_of(x), y = where(below, s - 1.0f, x), d = where(below, s, d); break;
        case SELU:
            s = exp_of(x) * 1.7580993f;
            y = where(below, s - 1.7580993f, 1.05070099f * x);
            d = where(below, s, splat(1.05070099f));
            break;
        case GELU: s = normal(x, &d), y = x * s, d = s + x * d; break;
        }
        store(h + i, y);
        if (slope) store(slope + i, d);
    }
}

static void activate(int64_t kind, float *h, float *slope, int64_t features, int64_t apart,
                     int64_t n) {
    for (int64_t f = 0; f < features; f++, h += apart, slope = slope ? slope + apart : NULL)
        switch (kind) {
        case RELU: each_of(RELU, h, slope, n); break;
        case TANH: each_of(TANH, h, slope, n); break;
        case SIGMOID: each_of(SIGMOID, h, slope, n); break;
        case SILU: each_of(SILU, h, slope, n); break;
        case ELU: each_of(ELU, h, slope, n); break;
        case SELU: each_of(SELU, h, slope, n); break;
        case GELU: each_of(GELU, h, slope, n); break;
        }
}

/* Times the derivative of an activation, or of RELU and TANH given their outputs. */
INLINE vec sloped(int64_t after, vec x, vec y) {
    if (after == RELU) return where(y > 0.0f, x, splat(0.0f));
    if (after == TANH) return x * (1.0f - y * y);
    return x * y;
}

/* ---- products ---- */

/* `R` rows of a product and `V` vectors. */
INLINE void block(const int R, const int V, const Product *m, int64_t r, int64_t at) {
    vec acc[8][3];
#pragma GCC unroll 8
    for (int i = 0; i < R; i++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++)
            acc[i][v] = m->add ? load(m->c + (r + i) * m->c_apart + at + v * LANES)
                               : splat(m->bias ? m->bias[r + i] : 0.0f);
    const float *w = m->w + r * m->by_row, *a = m->a + at;
    for (int64_t k = 0; k < m->inner; k++, w += m->by_inner, a += m->a_apart) {
        vec part[3];
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) part[v] = load(a + v * LANES);
#pragma GCC unroll 8
        for (int i = 0; i < R; i++) {
            vec weight = splat(w[i * m->by_row]);
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) acc[i][v] += weight * part[v];
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < R; i++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) {
            int64_t to = (r + i) * m->c_apart + at + v * LANES;
            if (m->slope) acc[i][v] = sloped(m->after, acc[i][v], load(m->slope + to));
            store(m->c + to, acc[i][v]);
        }
}

INLINE void panel(const int V, const Product *m, int64_t rows, int64_t at) {
    int64_t r = 0;
    /* Four single sums would wait for each other; and of 32 registers 24 may hold sums. */
    if (V == 1 || (V == 3 && LANES == 16))
        for (; r + 8 <= rows; r += 8) block(8, V, m, r, at);
    for (; r + 4 <= rows; r += 4) block(4, V, m, r, at);
    if (rows - r == 3) block(3, V, m, r, at);
    else if (rows - r == 2) block(2, V, m, r, at);
    else if (rows - r == 1) block(1, V, m, r, at);
}

static void product(const Product *m, int64_t rows, int64_t n) {
    int64_t at = 0, vectors = n / LANES;
    for (; vectors >= 3 && vectors != 4; vectors -= 3, at += 3 * LANES) panel(3, m, rows, at);
    for (; vectors >= 2; vectors -= 2, at += 2 * LANES) panel(2, m, rows, at);
    if (vectors) panel(1, m, rows, at);
}

/* Four rows of four numbers, `apart` from each other, as four columns. */
INLINE void corner(const float *from, int64_t apart, float *to, int64_t to_apart) {
    quad a = *(const quad *)from, b = *(const quad *)(from + apart);
    quad c = *(const quad *)(from + 2 * apart), d = *(const quad *)(from + 3 * apart);
    quad ac = FOUR(a, c, 0, 4, 1, 5), bd = FOUR(b, d, 0, 4, 1, 5);
    quad ac2 = FOUR(a, c, 2, 6, 3, 7), bd2 = FOUR(b, d, 2, 6, 3, 7);
    *(quad *)to = FOUR(ac, bd, 0, 4, 1, 5);
    *(quad *)(to + to_apart) = FOUR(ac, bd, 2, 6, 3, 7);
    *(quad *)(to + 2 * to_apart) = FOUR(ac2, bd2, 0, 4, 1, 5);
    *(quad *)(to + 3 * to_apart) = FOUR(ac2, bd2, 2, 6, 3, 7);
}

/* From (rows, columns) to (columns, rows). */
static void transpose(const float *from, int64_t apart, int64_t rows, int64_t columns, float *to,
                      int64_t to_apart) {
    int64_t i = 0;
    for (; i + 4 <= rows; i += 4) {
        int64_t f = 0;
        for (; f + 4 <= columns; f += 4)
            corner(from + i * apart + f, apart, to + f * to_apart + i, to_apart);
        for (; f < columns; f++)
            for (int64_t j = i; j < i + 4; j++) to[f * to_apart + j] = from[j * apart + f];
    }
    for (; i < rows; i++)
        for (int64_t f = 0; f < columns; f++) to[f * to_apart + i] = from[i * apart + f];
}

/* From (features, n) to (n, features); `width` floats from a row to the next, the first of which
   that are left over is 1, for the bias, and the others 0. */
static void turn(const float *from, int64_t apart, int64_t features, float *to, int64_t width,
                 int64_t n) {
    transpose(from, apart, features, n, to, width);
    for (int64_t i = 0; i < n; i++)
        for (int64_t g = features; g < width; g++) to[i * width + g] = g == features;
}

/* ---- one member ---- */

static Bench laid_out(float *scratch, const Training *t, const Sizes *s) {
    Bench b = {0};
    b.input = scratch;
    b.target = b.input + t->layer[0].in * s->whole;
    b.class = b.target + t->layer[t->layers - 1].out * s->whole;
    b.share = b.class + s->whole;
    b.unseen = b.share + s->whole;
    b.hidden = b.unseen + s->whole;
    b.slope = b.hidden + s->hidden * s->part;
    b.delta = b.slope + s->hidden * s->part;
    b.other = b.delta + s->widest * s->part;
    b.turned = b.other + s->widest * s->part;
    b.rows = b.turned + side_by_side(s->widest) * s->part;
    b.wide = b.rows + side_by_side(t->layer[0].in) * s->whole;
    b.gradient = b.wide + s->wide;
    return b;
}

/* Bring the inputs of a batch together; what fills up the last vectors is 0. */
static void gather_inputs(Bench *b, const Training *t, const Step *step, const Sizes *s) {
    int64_t in = t->layer[0].in, width = side_by_side(in), n = step->count;
    for (int64_t i = 0; i < n; i++) {
        const float *row = t->x + (step->rows ? step->rows[i] : i) * in;
        float *to = b->rows + i * width;
        if (step->rows && i + AHEAD < n)
            for (int64_t f = 0; f < in; f += 16)
                __builtin_prefetch(t->x + step->rows[i + AHEAD] * in + f);
        for (int64_t f = 0; f < in; f++) b->input[f * s->whole + i] = to[f] = row[f];
        for (int64_t f = in; f < width; f++) to[f] = f == in;
    }
    int64_t spare = (s->whole - n) * sizeof(float);
    for (int64_t f = 0; f < in; f++) memset(b->input + f * s->whole + n, 0, spare);
    memset(b->rows + n * width, 0, spare * width);
}

/* Bring together what a member is to say about a batch, and how much each row counts for it. */
static void gather_targets(Bench *b, const Training *t, const Step *step, const Sizes *s,
                           int64_t k) {
    int64_t out = t->layer[t->layers - 1].out, n = step->count, spare = s->whole - n;
    const float *weights = step->weights + k * t->data, part = 1.0f / n;
    const int64_t *rows = step->rows;
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t row = rows ? rows[i] : i;
        float weight = weights[row];
        count += weight == 0;
        b->unseen[i] = weight != 0 ? 0 : t->evidence ? t->evidence[row] : 1;
        b->share[i] = part * (t->importance ? weight * t->importance[row] : weight);
    }
    b->unseen_count = count;
    memset(b->unseen + n, 0, spare * sizeof(float));
    memset(b->share + n, 0, spare * sizeof(float));
    for (int64_t o = 0; o < out; o++) {
        const float *prior = t->prior ? t->prior + k * t->data * out + o : NULL;
        const float *y = t->loss == SQUARED_ERROR ? (const float *)t->y + k * t->y_apart + o : NULL;
        float *to = b->target + o * s->whole;
        for (int64_t i = 0; i < n; i++) {
            int64_t row = rows ? rows[i] : i;
            float given = prior ? prior[row * out] : 0;
            to[i] = y ? y[row * out] - given : given;
        }
        memset(to + n, 0, spare * sizeof(float));
    }
    if (t->loss != CROSS_ENTROPY) return;
    const int64_t *class = (const int64_t *)t->y + k * t->y_apart;
    for (int64_t i = 0; i < n; i++) b->class[i] = class[rows ? rows[i] : i];
    memset(b->class + n, 0, spare * sizeof(float));
}

/* From outputs to losses and to the gradient at the outputs, of one part. */
static void squared_error(Bench *b, const Sizes *s, const float *f, int64_t out, int64_t at,
                          int64_t n) {
    vec loss = splat(0), unseen_loss = splat(0);
    for (int64_t i = 0; i < n; i += LANES) {
        vec share = load(b->share + at + i), unseen = load(b->unseen + at + i), each = splat(0);
        for (int64_t o = 0; o < out; o++) {
            vec error = load(f + o * s->part + i) - load(b->target + o * s->whole + at + i);
            each += error * error;
            store(b->delta + o * s->part + i, 2.0f * share * error);
        }
        loss += share * each;
        unseen_loss += where(unseen != 0.0f, unseen * each, splat(0));
    }
    b->loss += sum(loss), b->unseen_loss += sum(unseen_loss);
}

static void cross_entropy(Bench *b, const Sizes *s, const float *f, int64_t out, int64_t at,
                          int64_t n) {
    vec loss = splat(0), unseen_loss = splat(0);
    for (int64_t i = 0; i < n; i += LANES) {
        vec share = load(b->share + at + i), unseen = load(b->unseen + at + i);
        vec class = load(b->class + at + i), most = splat(-INFINITY);
        vec all = splat(0), own = splat(0);
        for (int64_t o = 0; o < out; o++) {
            vec logit = load(f + o * s->part + i) + load(b->target + o * s->whole + at + i);
            most = where(logit > most, logit, most);
            store(b->delta + o * s->part + i, logit);
        }
        for (int64_t o = 0; o < out; o++) {
            vec logit = load(b->delta + o * s->part + i) - most, e = exp_of(logit);
            own += where(class == (float)o, logit, splat(0));
            all += e;
            store(b->delta + o * s->part + i, e);
        }
        vec logarithm;
        for (int j = 0; j < LANES; j++) logarithm[j] = logf(all[j]);
        vec each = logarithm - own;
        for (int64_t o = 0; o < out; o++) {
            vec p = load(b->delta + o * s->part + i) / all;
            p -= where(class == (float)o, splat(1), splat(0));
            store(b->delta + o * s->part + i, share * p);
        }
        loss += share * each;
        unseen_loss += where(unseen != 0.0f, unseen * each, splat(0));
    }
    b->loss += sum(loss), b->unseen_loss += sum(unseen_loss);
}

/* The losses of a part of a batch of `rows`, and its gradient; `add` it to that of parts before. */
static void part_of(Bench *b, const Training *t, const Sizes *s, int64_t k, int64_t at,
                    int64_t rows, int add) {
    int64_t n = (rows + LANES - 1) / LANES * LANES;
    const float *h = b->input + at;
    int64_t apart = s->whole, before = 0;
    for (int64_t l = 0; l < t->layers; l++) {
        const Layer *layer = t->layer + l;
        float *next = b->hidden + before * s->part;
        const float *bias = layer->bias ? layer->bias + k * layer->out : NULL;
        Product forward = {layer->weight + k * layer->out * layer->in, layer->in, 1, h, apart,
                           layer->in, bias, NULL, next, s->part, 0, 0};
        product(&forward, layer->out, n);
        if (layer->activation != IDENTITY)
            activate(layer->activation, next, b->slope + before * s->part, layer->out, s->part, n);
        h = next, apart = s->part, before += layer->out;
    }
    const Layer *last = t->layer + t->layers - 1;
    before -= last->out;
    if (t->loss == SQUARED_ERROR) squared_error(b, s, h, last->out, at, n);
    else cross_entropy(b, s, h, last->out, at, n);
    if (last->activation != IDENTITY)
        for (int64_t o = 0; o < last->out; o++)
            for (int64_t i = 0; i < n; i++)
                b->delta[o * s->part + i] *= b->slope[(before + o) * s->part + i];

    float *gradient = b->wide + s->wide, *delta = b->delta, *other = b->other;
    for (int64_t l = t->layers - 1; l >= 0; l--) {
        const Layer *layer = t->layer + l;
        int64_t in = layer->in, out = layer->out, width = side_by_side(in);
        before -= l ? in : 0;
        gradient -= out * width;
        if (l) turn(b->hidden + before * s->part, s->part, in, b->turned, width, rows);
        Product across = {delta, s->part, 1, l ? b->turned : b->rows + at * width, width, rows,
                          NULL, NULL, gradient, width, add, 0};
        product(&across, out, (in + LANES) / LANES * LANES);
        if (!l) break;
        const float *slope = layer[-1].activation == IDENTITY ? NULL : b->slope + before * s->part;
        Product back = {layer->weight + k * out * in, 1, in, delta, s->part, out, NULL, slope,
                        other, s->part, 0, 0};
        product(&back, in, n);
        float *swapped = delta;
        delta = other, other = swapped;
    }
}

/* Gradients as the moments lie: each layer's weight, then its bias. */
static void narrow(Bench *b, const Training *t) {
    const float *from = b->wide;
    float *to = b->gradient;
    for (int64_t l = 0; l < t->layers; l++) {
        int64_t in = t->layer[l].in, out = t->layer[l].out, width = side_by_side(in);
        /* What a vector writes beyond its row is written over by the next, or is spare room. */
        for (int64_t o = 0; o < out; o++, to += in)
            for (int64_t i = 0; i < in; i += LANES) store(to + i, load(from + o * width + i));
        if (t->layer[l].bias)
            for (int64_t o = 0; o < out; o++) *to++ = from[o * width + in];
        from += out * width;
    }
}

static float squares(const float *x, int64_t n) {
    vec all = splat(0);
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) all += load(x + i) * load(x + i);
    float rest = sum(all);
    for (; i < n; i++) rest += x[i] * x[i];
    return rest;
}

static void adam(const Move how, float *restrict p, const float *restrict gradient,
                 float *restrict mean, float *restrict square, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float g = gradient[i] * how.factor;
        mean[i] += how.forget1 * (g - mean[i]);
        float s = g * g, big = s > square[i] ? s : square[i];
        s = square[i] + how.forget2 * (s - square[i]);
        square[i] = big > FLT_MAX ? big : s; /* what has no end stays so, and is no NaN */
        p[i] -= how.step * mean[i] / (sqrtf(square[i]) * how.root + how.epsilon);
    }
}

static Move move_of(double beta1, double beta2, double epsilon, double rate, int64_t done) {
    return (Move){.forget1 = 1 - beta1,
                  .forget2 = 1 - beta2,
                  .epsilon = epsilon,
                  .factor = 1,
                  .step = rate / (1 - power(beta1, done)),
                  .root = 1 / sqrt(1 - power(beta2, done))};
}

static void move(const Moved *m) {
    Move how = move_of(m->beta1, m->beta2, m->epsilon, m->rate, m->done);
    how.factor = m->factor;
    if (!m->row) {
        adam(how, m->value, m->gradient, m->mean, m->square, m->count);
        return;
    }
    for (int64_t j = 0; j < m->count; j++) {
        int64_t at = m->row[j] * m->width;
        adam(how, m->value + at, m->gradient + j * m->width, m->mean + at, m->square + at,
             m->width);
    }
}

/* Pull, shorten and go along the gradient; what is pulled adds to the loss. */
static void update(Bench *b, const Training *t, int64_t k, int64_t done, float *kept) {
    float pull = t->pull[k];
    Move how = move_of(t->beta1, t->beta2, t->epsilon, t->rate[k], done);
    float all = 0;
    for (int go = 0; go < 2; go++) { /* first pull and measure all of it, then move */
        int64_t at = 0;
        for (int64_t l = 0; l < t->layers; l++)
            for (int which = 0; which < 2; which++) {
                const Layer *layer = t->layer + l;
                float *tensor = which ? layer->bias : layer->weight;
                int64_t n = which ? layer->out : layer->out * layer->in;
                if (!tensor) continue;
                float *p = tensor + k * n, *gradient = b->gradient + at;
                int64_t moment = k * t->parameters + at;
                at += n;
                if (go) {
                    adam(how, p, gradient, t->mean + moment, t->square + moment, n);
                    continue;
                }
                if (kept) memcpy(kept + moment, p, n * sizeof *p);
                if (pull == 0) continue;
                all += squares(p, n);
                for (int64_t i = 0; i < n; i++) gradient[i] += 2 * pull * p[i];
            }
        if (!go && t->longest < INFINITY) {
            float factor = (float)t->longest / sqrtf(squares(b->gradient, t->parameters));
            how.factor = factor > 1 ? 1 : factor;
        }
    }
    if (pull != 0) b->loss += pull * all;
}

static void train(const Training *t, const Step *steps, const Task *task) {
    float *scratch = (float *)(((uintptr_t)task->scratch + 63) / 64 * 64);
    for (int64_t k = task->first; k < task->last; k++) {
        const Step *before = NULL;
        Bench b = {0};
        Sizes s = {0};
        for (int64_t j = 0; j < task->steps; j++) {
            const Step *step = steps + j;
            /* All rows again need not be gathered again. */
            int same = before && !before->rows && !step->rows;
            if (!before || before->count != step->count) {
                s = sizes_of(t, step->count);
                b = laid_out(scratch, t, &s);
            }
            if (!same) gather_inputs(&b, t, step, &s);
            if (!same || before->weights != step->weights) gather_targets(&b, t, step, &s, k);
            b.loss = b.unseen_loss = 0;
            for (int64_t at = 0; at < step->count; at += s.rows) {
                part_of(&b, t, &s, k, at, least_of(s.rows, step->count - at), at > 0);
            }
            narrow(&b, t);
            update(&b, t, k, task->done + j + 1, step->kept);
            int64_t cell = j * task->members + k;
            task->loss[cell] = b.loss;
            task->unseen_loss[cell] = b.unseen_loss;
            task->unseen[cell] = b.unseen_count;
            before = step;
        }
    }
}

/* ---- a chain of layers, forwards and backwards; the tape has for each its outputs, slopes and,
   of a noisy one, the weights and biases that it had ---- */

#define OF(own, k) ((own).first ? (own).first + (k) * (own).apart : NULL)

/* Weights of a network, and behind them biases, under a member's noise. */
static void effective(const Link *l, int64_t k, int64_t network, float *weight, float *bias) {
    const float *w = OF(l->weight, network), *s = OF(l->spread, network), *e = OF(l->noise, k);
    const float *rows = OF(l->rows, k), *columns = OF(l->columns, k);
    for (int64_t o = 0; o < l->out; o++, w += l->in, s += l->in, weight += l->in)
        if (e) {
            for (int64_t i = 0; i < l->in; i++) weight[i] = w[i] + s[i] * e[i];
            e += l->in;
        } else {
            for (int64_t i = 0; i < l->in; i++) weight[i] = w[i] + s[i] * (columns[o] * rows[i]);
        }
    if (!l->bias.first) return;
    const float *b = OF(l->bias, network), *bs = OF(l->bias_spread, network);
    const float *be = l->noise.first ? OF(l->bias_noise, k) : columns;
    for (int64_t o = 0; o < l->out; o++) bias[o] = b[o] + bs[o] * be[o];
}

/* From (n, features) to (features, whole), the rest of it 0. */
static void across_rows(const float *from, int64_t width, int64_t features, float *to,
                        int64_t whole, int64_t n) {
    transpose(from, width, n, features, to, whole);
    for (int64_t f = 0; f < features; f++) memset(to + f * whole + n, 0, (whole - n) * sizeof *to);
}

INLINE float dot(const float *a, const float *b, int64_t n) {
    vec all = splat(0), more = splat(0);
    int64_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        all += load(a + i) * load(b + i);
        more += load(a + i + LANES) * load(b + i + LANES);
    }
    float rest = sum(all + more);
    for (; i < n; i++) rest += a[i] * b[i];
    return rest;
}

/* Where rows are few, weights are read once as they are, and noise is applied to the rows. */
static void one_row(const Chain *c, int64_t k, const float *x, float *y, float *room,
                    int64_t apart) {
    float *next = room, *other = room + apart, *scaled = other + apart, *slope = scaled + apart;
    const float *h = x;
    int64_t network = k / c->draws;
    for (int64_t j = 0; j < c->links; j++) {
        const Link *l = c->link + j;
        const float *w = OF(l->weight, network), *b = OF(l->bias, network);
        const float *s = OF(l->spread, network), *bs = OF(l->bias_spread, network);
        const float *e = OF(l->noise, k), *be = OF(l->bias_noise, k);
        const float *rows = OF(l->rows, k), *columns = OF(l->columns, k);
        if (s && !e)
            for (int64_t i = 0; i < l->in; i++) scaled[i] = h[i] * rows[i];
        for (int64_t o = 0; o < l->out; o++, w += l->in) {
            next[o] = (l->weight.first ? dot(w, h, l->in) : h[o]) + (b ? b[o] : 0);
            if (!s) continue;
            if (e) {
                for (int64_t i = 0; i < l->in; i++) scaled[i] = h[i] * e[i];
                e += l->in;
            }
            float noise = dot(s, scaled, l->in);
            if (l->noise.first) next[o] += noise + (b ? bs[o] * be[o] : 0);
            else next[o] += columns[o] * (noise + (b ? bs[o] : 0));
            s += l->in;
        }
        if (l->activation != IDENTITY)
            activate(l->activation, next, slope, 1, 0, (l->out + LANES - 1) / LANES * LANES);
        h = next;
        next = other, other = (float *)h;
    }
    memcpy(y, h, c->link[c->links - 1].out * sizeof *y);
}

/* Of all features some rows, and a bias. */
static void shifted(const float *from, const float *bias, float *to, int64_t features,
                    int64_t whole, int64_t n) {
    for (int64_t f = 0; f < features; f++, from += whole, to += whole)
        for (int64_t i = 0; i < n; i += LANES) store(to + i, load(from + i) + bias[f]);
}

static void few_rows(const Chain *c) {
    int64_t in = c->link[0].in, widest = in;
    float *room = (float *)(((uintptr_t)c->scratch + 63) / 64 * 64);
    for (int64_t j = 0; j < c->links; j++) widest = most_of(widest, c->link[j].out);
    for (int64_t k = 0; k < (c->member ? 1 : c->members); k++)
        for (int64_t i = 0; i < c->rows; i++)
            one_row(c, c->member ? c->member[i] : k, c->x + k * c->x_apart + i * in,
                    c->y + (k * c->rows + i) * c->y_width, room, padded(widest));
}

static void forward(const Chain *c) {
    if (!c->tape) {
        few_rows(c);
        return;
    }
    int64_t in = c->link[0].in, part = rows_in_part(c->link, c->links, c->rows);
    int64_t whole = padded(part), each = hunch_tape(c->link, c->links, c->rows);
    float *input = (float *)(((uintptr_t)c->scratch + 63) / 64 * 64);
    for (int64_t k = 0; k < c->members; k++) {
        float *weights = c->tape + k * each, *tape = weights;
        for (int64_t j = 0; j < c->links; tape += noisy_of(c->link + j), j++)
            if (c->link[j].spread.first)
                effective(c->link + j, k, k / c->draws, tape, tape + c->link[j].out * c->link[j].in);
        for (int64_t at = 0; at < c->rows; at += part) {
            int64_t n = least_of(part, c->rows - at), up = (n + LANES - 1) / LANES * LANES;
            if (!k || c->x_apart || part < c->rows)
                across_rows(c->x + k * c->x_apart + at * in, in, in, input, whole, n);
            const float *h = input, *own = weights;
            for (int64_t j = 0; j < c->links; j++) {
                const Link *l = c->link + j;
                float *next = tape, *slope = has_slopes(l) ? tape + l->out * whole : NULL;
                tape += outputs_of(l, whole);
                const float *weight = OF(l->weight, k / c->draws);
                const float *bias = OF(l->bias, k / c->draws);
                if (l->spread.first) {
                    weight = own, bias = bias ? own + l->out * l->in : NULL;
                    own += noisy_of(l);
                }
                Product of = {weight, l->in, 1, h, whole, l->in, bias, NULL, next, whole, 0, 0};
                /* Strip by strip, so that an activation finds its numbers in the first cache. */
                for (int64_t to = 0; to < up; to += STRIP) {
                    int64_t strip = least_of(STRIP, up - to);
                    of.a = h + to, of.c = next + to;
                    if (weight) product(&of, l->out, strip);
                    else shifted(h + to, bias, next + to, l->out, whole, strip);
                    if (l->activation != IDENTITY)
                        activate(l->activation, next + to, slope ? slope + to : NULL, l->out, whole,
                                 strip);
                }
                h = next;
            }
            int64_t out = c->link[c->links - 1].out;
            transpose(h, whole, out, n, c->y + (k * c->rows + at) * c->y_width, c->y_width);
        }
    }
}

static void outputs(const Chain *c) {
    int64_t n = c->rows, in = c->link[0].in, out = c->link[c->links - 1].out, widest;
    int64_t rows = rows_at_once(c->link, c->links, &widest), apart = padded(rows);
    float *input = (float *)(((uintptr_t)c->scratch + 63) / 64 * 64);
    float *hidden[2] = {input + in * apart, input + (in + widest) * apart};
    for (int64_t at = 0; at < n; at += rows) {
        int64_t count = least_of(rows, n - at), up = (count + LANES - 1) / LANES * LANES;
        for (int64_t k = 0; k < c->members; k++) {
            if (!k || c->x_apart)
                across_rows(c->x + k * c->x_apart + at * in, in, in, input, apart, count);
            const float *h = input;
            for (int64_t j = 0; j < c->links; j++) {
                const Link *l = c->link + j;
                float *next = hidden[j % 2];
                Product product_of = {OF(l->weight, k), l->in, 1, h, apart, l->in, OF(l->bias, k),
                                      NULL, next, apart, 0, 0};
                product(&product_of, l->out, up);
                if (l->activation != IDENTITY) activate(l->activation, next, NULL, l->out, apart, up);
                h = next;
            }
            transpose(h, apart, out, count, c->y + (k * n + at) * c->y_width, c->y_width);
        }
    }
}

/* A layer's gradients, from those of weights and biases side by side: those of a network's first
   member, to which those of the others are added. */
static void spread_out(const Link *l, int64_t k, int64_t draws, const float *from) {
    int64_t in = l->in, width = side_by_side(in);
    float *w = OF(l->slope[0], k / draws), *b = OF(l->slope[1], k / draws);
    float *s = OF(l->slope[2], k / draws), *bs = OF(l->slope[3], k / draws);
    const float *e = OF(l->noise, k), *be = OF(l->bias_noise, k);
    const float *rows = OF(l->rows, k), *columns = OF(l->columns, k);
    if (k % draws == 0) { /* what the other draws add to */
        if (w) memset(w, 0, l->out * in * sizeof *w);
        if (s) memset(s, 0, l->out * in * sizeof *s);
        if (b) memset(b, 0, l->out * sizeof *b);
        if (bs) memset(bs, 0, l->out * sizeof *bs);
    }
    for (int64_t o = 0; o < l->out; o++, from += width) {
        if (w)
            for (int64_t i = 0; i < in; i++) w[o * in + i] += from[i];
        if (s && e)
            for (int64_t i = 0; i < in; i++) s[o * in + i] += from[i] * e[o * in + i];
        else if (s)
            for (int64_t i = 0; i < in; i++) s[o * in + i] += from[i] * (columns[o] * rows[i]);
        if (b) b[o] += from[in];
        if (bs) bs[o] += from[in] * (e ? be[o] : columns[o]);
    }
}

/* Turn rows of inputs, with a 1 behind each for the bias, and what fills a vector up. */
static void beside_one(const float *x, int64_t in, float *to, int64_t width, int64_t n) {
    for (int64_t i = 0; i < n; i++, x += in, to += width) {
        memcpy(to, x, in * sizeof *to);
        for (int64_t f = in; f < width; f++) to[f] = f == in;
    }
}

INLINE int is_learned(const Link *l) {
    return l->slope[0].first || l->slope[1].first || l->slope[2].first || l->slope[3].first;
}

/* The sum over rows of each feature, one every `apart` numbers. */
static void total(const float *from, int64_t features, int64_t whole, int64_t n, float *to,
                  int64_t apart, int add) {
    for (int64_t f = 0; f < features; f++, from += whole, to += apart) {
        vec all = splat(0);
        int64_t i = 0;
        for (; i + LANES <= n; i += LANES) all += load(from + i);
        float rest = sum(all);
        for (; i < n; i++) rest += from[i];
        *to = rest + (add ? *to : 0);
    }
}

static void backward(const Chain *c) {
    int64_t part = rows_in_part(c->link, c->links, c->rows), whole = padded(part);
    int64_t each = hunch_tape(c->link, c->links, c->rows), first = c->link[0].in, widest = first;
    int64_t noisy = 0, kept = 0, all = 0;
    for (int64_t j = 0; j < c->links; j++) {
        widest = most_of(widest, c->link[j].out);
        noisy += noisy_of(c->link + j), kept += outputs_of(c->link + j, whole);
        all += c->link[j].out * side_by_side(c->link[j].in);
    }
    float *delta = (float *)(((uintptr_t)c->scratch + 63) / 64 * 64);
    float *other = delta + widest * whole, *turned = other + widest * whole;
    float *inputs = turned + side_by_side(widest) * whole;
    float *wide = inputs + side_by_side(first) * whole;
    const Link *last = c->link + c->links - 1;
    for (int64_t k = 0; k < c->members; k++) {
        const float *tape = c->tape + k * each + noisy;
        /* Once for no rows at all: their gradients are 0. */
        for (int64_t at = 0; !at || at < c->rows; at += part, tape += kept) {
            int64_t n = least_of(part, c->rows - at), up = (n + LANES - 1) / LANES * LANES;
            const float *x = c->x + k * c->x_apart + at * first;
            const float *dy = c->dy + (k * c->rows + at) * c->y_width;
            across_rows(dy, c->y_width, last->out, delta, whole, n);
            const float *own = tape + kept, *weights = c->tape + k * each + noisy;
            float *gradient = wide + (part < c->rows ? all : 0);
            for (int64_t j = c->links - 1; j >= 0; j--) {
                const Link *l = c->link + j;
                own -= outputs_of(l, whole), weights -= noisy_of(l);
                if (j == c->links - 1 && l->activation != IDENTITY) {
                    const float *y = own + (has_slopes(l) ? l->out * whole : 0);
                    int64_t kind = has_slopes(l) ? IDENTITY : l->activation;
                    for (int64_t i = 0; i < l->out * whole; i += LANES)
                        store(delta + i, sloped(kind, load(delta + i), load(y + i)));
                }
                const float *before = NULL, *before_slope = NULL;
                int64_t kind = IDENTITY;
                if (j) {
                    before = before_slope = own - outputs_of(l - 1, whole);
                    kind = l[-1].activation;
                    if (kind == IDENTITY) before_slope = NULL;
                    if (has_slopes(l - 1)) before_slope += l->in * whole, kind = IDENTITY;
                }
                int64_t width = side_by_side(l->in);
                /* Of several parts the gradients of all layers are kept and add up. */
                if (part < c->rows) gradient -= l->out * width;
                if (!l->weight.first) {
                    total(delta, l->out, whole, n, gradient + l->in, width, at > 0);
                } else if (is_learned(l)) {
                    if (j) turn(before, whole, l->in, turned, width, n);
                    else if (!k || c->x_apart || part < c->rows) /* members may share them */
                        beside_one(x, l->in, inputs, width, n);
                    Product across = {delta, whole,    1,     j ? turned : inputs, width, n, NULL,
                                      NULL,  gradient, width, at > 0, 0};
                    product(&across, l->out, (l->in + LANES) / LANES * LANES);
                }
                if (at + part >= c->rows && is_learned(l)) spread_out(l, k, c->draws, gradient);
                if (!j && (!c->dx || !l->weight.first)) break;
                const float *weight = l->spread.first ? weights : OF(l->weight, k / c->draws);
                Product back = {weight, 1, l->in, delta, whole, l->out, NULL, before_slope, other,
                                whole, 0, kind};
                product(&back, l->in, up);
                float *swapped = delta;
                delta = other, other = swapped;
            }
            if (c->dx)
                transpose(delta, whole, first, n, c->dx + (k * c->rows + at) * first, first);
        }
    }
}

#undef OF

#endif
