/* A noisy layer of many weights, W + S ∘ (c rᵀ), forwards and backwards.

   A tile of a few outputs and a chunk of inputs lies in the first cache from its noise to its
   products, while the next one is fetched. Nothing passes through memory but W, S and their
   gradients, once each.

   Plain C on raw numbers, as `_kernel.c`, with which it makes one library. The file includes itself
   once for each kind of processor, and the best is taken when it runs. */

#ifndef KIND

#include <stdint.h>
#include <string.h>

typedef struct {
    const float *weight, *sigma; /* (out, in) */
    const float *rows, *columns; /* r (in), c (out) */
    const float *bias;           /* (out), as it is under noise; or NULL */
    const float *x;              /* (batch, in) */
    float *y;                    /* (batch, out) */
    const float *dy;             /* (batch, out), of a backward */
    float *of_weight, *of_sigma; /* (out, in): gradients; or NULL */
    float *dx;                   /* (batch, in), or NULL */
    float *scratch;
    int64_t batch, in, out; /* `in` is a multiple of 8 */
} Wide;

typedef struct {
    float *value, *mean, *square;
    const float *gradient;
    int64_t count;
    double beta1, beta2, epsilon, rate, factor;
    int64_t done;
    const int64_t *row;
    int64_t width;
} Moved; /* of _kernel.c */

void hunch_adam(const Moved *m, int64_t lanes);

/* FEW rows share what is made of a weight without a tile; GROUP of them at a time. */
enum { TILE = 24, CHUNK = 128, AT_ONCE = 6, LINE = 16, WIDEST = 16, FEW = 8, GROUP = 4 };

#define INLINE static inline __attribute__((always_inline))

INLINE int64_t least_of(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t up_to(int64_t n, int64_t of) { return (n + of - 1) / of * of; }

/* What is compiled for a kind of processor carries it in its name. */
#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(f) JOIN(f, KIND)
#define vec NAME(vec)
#define load NAME(load)
#define store NAME(store)
#define splat NAME(splat)
#define sum_of NAME(sum_of)
#define under_noise NAME(under_noise)
#define add_outputs NAME(add_outputs)
#define weights_slope NAME(weights_slope)
#define add_inputs NAME(add_inputs)
#define rows_outputs NAME(rows_outputs)
#define few NAME(few)
#define forward NAME(forward)
#define rows_gradient NAME(rows_gradient)
#define weights_gradient NAME(weights_gradient)
#define likeness NAME(likeness)
#define squares NAME(squares)
#define step NAME(step)
#define inputs_gradient NAME(inputs_gradient)
#define backward NAME(backward)

#define KIND any
#define LANES 8
#include "_wide.c"
#undef KIND

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define KIND avx2
#include "_wide.c"
#undef KIND
#undef LANES
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512dq"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512dq")
#endif
#define KIND avx512
#define LANES 16
#include "_wide.c"
#undef KIND
#undef LANES
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#define CHOSEN(f) (lanes >= 16 && l->in % 16 == 0 ? f##_avx512 : lanes >= 8 ? f##_avx2 : f##_any)
#else
#undef LANES
#define CHOSEN(f) ((void)lanes, f##_any)
#endif

/* How many floats of scratch a call needs. */
int64_t hunch_wide_scratch(int64_t in, int64_t batch) {
    int64_t apart = up_to(batch, 2 * WIDEST);
    return in * apart + TILE * (CHUNK + apart);
}

/* x (W + S ∘ (c rᵀ))ᵀ + bias; `lanes` is at most what `hunch_lanes` says, here and below. */
void hunch_wide_forward(const Wide *l, int64_t lanes) { CHOSEN(forward)(l); }

/* The gradients of W, S and x, of those that have a place. */
void hunch_wide_backward(const Wide *l, int64_t lanes) { CHOSEN(backward)(l); }

/* The sum of the squares of the gradients of W and S, which are not made for it. */
double hunch_wide_squares(const Wide *l, int64_t lanes) { return CHOSEN(squares)(l); }

/* One step of Adam for W and S. Their gradients are made a few rows at a time and kept nowhere; values and
   moments are as `w` and `s` have them. */
void hunch_wide_step(const Wide *l, const Moved *w, const Moved *s, int64_t lanes) {
    CHOSEN(step)(l, w, s, lanes);
}

#else /* once for each kind */

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

INLINE vec load(const float *from) { return *(const vec *)from; }
INLINE void store(float *to, vec x) { *(vec *)to = x; }
INLINE vec splat(float x) { return x - (vec){0}; }

INLINE float sum_of(vec x) {
    float all = 0;
    for (int j = 0; j < LANES; j++) all += x[j];
    return all;
}

/* W + S ∘ (c rᵀ) of `outs` outputs from `o` on and `n` inputs from `k` on, `(outs, CHUNK)`. */
INLINE void under_noise(const Wide *l, int64_t o, int64_t outs, int64_t k, int64_t n, float *to) {
    for (int64_t j = 0; j < outs; j++, to += CHUNK) {
        const float *w = l->weight + (o + j) * l->in + k, *s = l->sigma + (o + j) * l->in + k;
        vec c = splat(l->columns[o + j]);
        for (int64_t i = 0; i < CHUNK; i += LINE) { /* beyond the end nothing is read by it */
            __builtin_prefetch(w + CHUNK + i);
            __builtin_prefetch(s + CHUNK + i);
        }
        for (int64_t i = 0; i < n; i += LANES)
            store(to + i, load(w + i) + load(s + i) * (c * load(l->rows + k + i)));
    }
}

/* Add the products of `R` outputs with a chunk of inputs, `(n, apart)`, to `sum (R, apart)`. */
INLINE void add_outputs(const int R, const float *own, const float *x, int64_t n, int64_t apart,
                        float *sum) {
    for (int64_t b = 0; b < apart; b += 2 * LANES) {
        vec a[AT_ONCE][2];
#pragma GCC unroll 6
        for (int r = 0; r < R; r++)
            a[r][0] = load(sum + r * apart + b), a[r][1] = load(sum + r * apart + b + LANES);
        const float *from = x + b;
        for (int64_t i = 0; i < n; i++, from += apart) {
            vec first = load(from), second = load(from + LANES);
#pragma GCC unroll 6
            for (int r = 0; r < R; r++) {
                vec w = splat(own[r * CHUNK + i]);
                a[r][0] += w * first, a[r][1] += w * second;
            }
        }
#pragma GCC unroll 6
        for (int r = 0; r < R; r++)
            store(sum + r * apart + b, a[r][0]), store(sum + r * apart + b + LANES, a[r][1]);
    }
}

/* The gradients of the weights of `R` outputs from `o` on and of `V` vectors of inputs from `k` on. */
INLINE void weights_slope(const int R, const int V, const Wide *l, int64_t o, int64_t k) {
    vec a[AT_ONCE][2] = {{{0}}};
    const float *x = l->x + k, *dy = l->dy + o;
    for (int64_t b = 0; b < l->batch; b++, x += l->in, dy += l->out) {
        vec part[2];
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) part[v] = load(x + v * LANES);
#pragma GCC unroll 6
        for (int r = 0; r < R; r++) {
            vec d = splat(dy[r]);
#pragma GCC unroll 2
            for (int v = 0; v < V; v++) a[r][v] += d * part[v];
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) {
            int64_t at = (o + r) * l->in + k + v * LANES;
            if (l->of_weight) store(l->of_weight + at, a[r][v]);
            if (l->of_sigma)
                store(l->of_sigma + at,
                      a[r][v] * (splat(l->columns[o + r]) * load(l->rows + k + v * LANES)));
        }
}

/* Add the gradients of `B` rows from `b` on that come from a tile to theirs, of `V` vectors. */
INLINE void add_inputs(const int B, const int V, const Wide *l, int64_t b, int64_t o, int64_t outs,
                       int64_t k, const float *own) {
    vec a[4][2];
    float *to = l->dx + b * l->in + k;
#pragma GCC unroll 4
    for (int i = 0; i < B; i++)
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) a[i][v] = load(to + i * l->in + v * LANES);
    const float *dy = l->dy + b * l->out + o;
    for (int64_t j = 0; j < outs; j++, own += CHUNK) {
        vec part[2];
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) part[v] = load(own + v * LANES);
#pragma GCC unroll 4
        for (int i = 0; i < B; i++) {
            vec d = splat(dy[i * l->out + j]);
#pragma GCC unroll 2
            for (int v = 0; v < V; v++) a[i][v] += d * part[v];
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < B; i++)
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) store(to + i * l->in + v * LANES, a[i][v]);
}

/* The outputs of `B` rows from `b` on, straight from the weights, which are read once. */
INLINE void rows_outputs(const int B, const Wide *l, int64_t o, int64_t b) {
    const float *w = l->weight + o * l->in, *s = l->sigma + o * l->in, *x = l->x + b * l->in;
    vec c = splat(l->columns[o]), a[GROUP] = {{0}}, more[GROUP] = {{0}};
    int64_t k = 0;
    for (; k + 2 * LANES <= l->in; k += 2 * LANES) {
        vec own = load(w + k) + load(s + k) * (c * load(l->rows + k));
        int64_t n = k + LANES;
        vec next = load(w + n) + load(s + n) * (c * load(l->rows + n));
#pragma GCC unroll 4
        for (int i = 0; i < B; i++) {
            a[i] += own * load(x + i * l->in + k);
            more[i] += next * load(x + i * l->in + n);
        }
    }
    if (k < l->in) {
        vec own = load(w + k) + load(s + k) * (c * load(l->rows + k));
#pragma GCC unroll 4
        for (int i = 0; i < B; i++) a[i] += own * load(x + i * l->in + k);
    }
#pragma GCC unroll 4
    for (int i = 0; i < B; i++)
        l->y[(b + i) * l->out + o] = sum_of(a[i] + more[i]) + (l->bias ? l->bias[o] : 0);
}

static void few(const Wide *l) {
    for (int64_t o = 0; o < l->out; o++) {
        int64_t b = 0;
        for (; b + GROUP <= l->batch; b += GROUP) rows_outputs(GROUP, l, o, b);
        for (; b < l->batch; b++) rows_outputs(1, l, o, b);
    }
}

static void forward(const Wide *l) {
    if (l->batch <= FEW) {
        few(l);
        return;
    }
    int64_t apart = up_to(l->batch, 2 * LANES);
    float *turned = l->scratch, *own = turned + l->in * apart, *sum = own + TILE * CHUNK;
    for (int64_t k = 0; k < l->in; k++) {
        float *to = turned + k * apart;
        for (int64_t b = 0; b < l->batch; b++) to[b] = l->x[b * l->in + k];
        for (int64_t b = l->batch; b < apart; b++) to[b] = 0;
    }
    for (int64_t o = 0; o < l->out; o += TILE) {
        int64_t outs = least_of(TILE, l->out - o);
        memset(sum, 0, outs * apart * sizeof *sum);
        for (int64_t k = 0; k < l->in; k += CHUNK) {
            int64_t n = least_of(CHUNK, l->in - k), j = 0;
            under_noise(l, o, outs, k, n, own);
            for (; j + AT_ONCE <= outs; j += AT_ONCE)
                add_outputs(AT_ONCE, own + j * CHUNK, turned + k * apart, n, apart, sum + j * apart);
            for (; j < outs; j++)
                add_outputs(1, own + j * CHUNK, turned + k * apart, n, apart, sum + j * apart);
        }
        for (int64_t b = 0; b < l->batch; b++)
            for (int64_t j = 0; j < outs; j++)
                l->y[b * l->out + o + j] = sum[j * apart + b] + (l->bias ? l->bias[o + j] : 0);
    }
}

/* The gradients of W and S of `outs` outputs from `o` on, at most AT_ONCE. */
INLINE void rows_gradient(const Wide *l, int64_t o, int64_t outs) {
    int64_t k = 0;
    if (outs == AT_ONCE) {
        for (; k + 2 * LANES <= l->in; k += 2 * LANES) weights_slope(AT_ONCE, 2, l, o, k);
        if (k < l->in) weights_slope(AT_ONCE, 1, l, o, k);
        return;
    }
    for (int64_t j = o; j < o + outs; j++)
        for (k = 0; k < l->in; k += LANES) weights_slope(1, 1, l, j, k);
}

/* All of them, row by row. */
static void weights_gradient(const Wide *l) {
    for (int64_t o = 0; o < l->out; o += AT_ONCE)
        rows_gradient(l, o, least_of(AT_ONCE, l->out - o));
}

static void step(const Wide *l, const Moved *w, const Moved *s, int64_t lanes) {
    for (int64_t o = 0; o < l->out; o += AT_ONCE) {
        int64_t outs = least_of(AT_ONCE, l->out - o), at = o * l->in;
        Wide rows = *l;
        rows.dy = l->dy + o, rows.of_weight = l->scratch, rows.of_sigma = NULL;
        rows_gradient(&rows, 0, outs);
        for (int which = 0; which < 2; which++) {
            Moved own = which ? *s : *w;
            own.value += at, own.mean += at, own.square += at;
            own.gradient = l->scratch, own.count = outs * l->in;
            hunch_adam(&own, lanes);
            for (int64_t j = 0; !which && j < outs; j++) {
                float *g = l->scratch + j * l->in;
                vec c = splat(l->columns[o + j]);
                for (int64_t i = 0; i < l->in; i += LANES)
                    store(g + i, load(g + i) * (c * load(l->rows + i)));
            }
        }
    }
}

/* The product of two vectors, the second perhaps times the squares of `noise`; sums of at most CHUNK
   numbers are added in double precision. */
INLINE double likeness(const float *a, const float *b, const float *noise, int64_t n) {
    double all = 0;
    for (int64_t from = 0; from < n; from += CHUNK) {
        int64_t to = least_of(from + CHUNK, n), i = from;
        vec some = {0};
        for (; i + LANES <= to; i += LANES) {
            vec own = load(a + i) * load(b + i);
            if (noise) own *= load(noise + i) * load(noise + i);
            some += own;
        }
        all += sum_of(some);
        for (; i < to; i++) all += (double)(a[i] * b[i]) * (noise ? noise[i] * noise[i] : 1);
    }
    return all;
}

/* A weight's gradient is a sum over rows b of dy_b x_b; of its squares the sum over all weights is that
   over pairs of rows of the products of the likeness of their dy and that of their x. */
static double squares(const Wide *l) {
    double all = 0;
    for (int64_t a = 0; a < l->batch; a++)
        for (int64_t b = 0; b <= a; b++) {
            const float *x = l->x + a * l->in, *other = l->x + b * l->in;
            const float *dy = l->dy + a * l->out, *other_dy = l->dy + b * l->out;
            double plain = likeness(x, other, NULL, l->in) * likeness(dy, other_dy, NULL, l->out);
            double noisy = likeness(x, other, l->rows, l->in) *
                           likeness(dy, other_dy, l->columns, l->out);
            all += (a == b ? 1 : 2) * (plain + noisy);
        }
    return all;
}

/* The gradient of x. */
static void inputs_gradient(const Wide *l) {
    float *own = l->scratch;
    memset(l->dx, 0, l->batch * l->in * sizeof *l->dx);
    for (int64_t o = 0; o < l->out; o += TILE) {
        int64_t outs = least_of(TILE, l->out - o);
        for (int64_t k = 0; k < l->in; k += CHUNK) {
            int64_t n = least_of(CHUNK, l->in - k), b = 0, i;
            under_noise(l, o, outs, k, n, own);
            for (; b + 4 <= l->batch; b += 4) {
                for (i = 0; i + 2 * LANES <= n; i += 2 * LANES)
                    add_inputs(4, 2, l, b, o, outs, k + i, own + i);
                if (i < n) add_inputs(4, 1, l, b, o, outs, k + i, own + i);
            }
            for (; b < l->batch; b++)
                for (i = 0; i < n; i += LANES) add_inputs(1, 1, l, b, o, outs, k + i, own + i);
        }
    }
}

/* One after the other: what reads W and S would wait for memory that gradients go to. */
static void backward(const Wide *l) {
    if (l->of_weight || l->of_sigma) weights_gradient(l);
    if (l->dx) inputs_gradient(l);
}

#endif
