/* Rounds of an agent in a batch of carts with poles: begin episodes, act, move, keep; all of it for
   many rounds in one call. And the carts alone, moved by one round.

   To the last bit as Gymnasium's CartPole is, as `hunch.rl.environments.classic_control` has it in
   numpy, and as `TrainingLoop` goes through rounds one by one. Plain C on raw numbers, as
   `_kernel.c`. */

#include <math.h>
#include <stdint.h>
#include <string.h>

/* A product and a sum rounded together would give other bits. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

struct Chain; /* of _kernel.c */
void hunch_forward(const struct Chain *c, int64_t lanes);
int64_t hunch_draw(const float *logit, int64_t width, int64_t rows, int64_t actions,
                   const double *uniform, int64_t *index); /* of _objectives.c */

enum { NUMBERS = 4, ACTIONS = 2 };

typedef struct {
    double gravity, pole, mass, mass_of_pole, length, force, time; /* `pole` is its mass times length */
    double farthest, steepest; /* where episodes end */
} Cart;

typedef struct {
    const struct Chain *policy; /* from `observation` to `logit` */
    int64_t lanes;
    Cart cart;
    int64_t rounds, replicas, envs; /* of each replica */
    int64_t limit, stride;          /* steps of an episode; from an episode's number to the next */
    /* What the environments remember: of each of all. */
    double *state;     /* (numbers, all) */
    int64_t *age;      /* (all) */
    uint8_t *told;     /* (limit, all) */
    const double *first; /* (all, numbers): where the next episode begins, if it is `ready` */
    uint8_t *ready;    /* (all) */
    int64_t *episode;  /* (all) */
    /* What the loop remembers. */
    float *observation; /* (all, numbers) */
    uint8_t *ended;     /* (all) */
    double *total;      /* (all), of rewards */
    int64_t *length;    /* (all) */
    /* The policy's outputs, and what decides its draws. */
    float *logit;          /* (all, actions) */
    const double *uniform; /* (replicas, rounds, envs) */
    /* What is kept of each round. */
    float *seen, *led_to;             /* (rounds, all, numbers) */
    int64_t *action;                  /* (rounds, all) */
    uint8_t *terminated, *truncated;  /* (rounds, all) */
    /* Of each episode that ended: round, environment, sum of rewards, length. */
    double *end; /* (rounds * all, 4) */
    int64_t done, ends; /* rounds made so far; episodes that ended in them */
    int64_t unknown;    /* whether a logit is NaN */
} Play;

/* One step of each; `after` may be `state`. */
void hunch_carts(const Cart *c, int64_t n, const double *state, const int64_t *action, double *after,
                 uint8_t *fallen) {
    for (int64_t i = 0; i < n; i++) {
        double x = state[i], speed = state[n + i], angle = state[2 * n + i];
        double turning = state[3 * n + i], cosine = cos(angle), sine = sin(angle);
        double force = action[i] == 1 ? c->force : -c->force;
        double push = (force + c->pole * (turning * turning) * sine) / c->mass;
        double turn = (c->gravity * sine - cosine * push) /
                      (c->length * (4.0 / 3.0 - c->mass_of_pole * (cosine * cosine) / c->mass));
        double gain = push - c->pole * turn * cosine / c->mass;
        after[i] = x + c->time * speed;
        after[n + i] = speed + c->time * gain;
        after[2 * n + i] = angle + c->time * turning;
        after[3 * n + i] = turning + c->time * turn;
        fallen[i] = fabs(after[i]) > c->farthest || fabs(after[2 * n + i]) > c->steepest;
    }
}

/* ---- where an episode begins: four draws of numpy's PCG64, seeded by its SeedSequence, whose streams
   numpy has promised not to change (O'Neill 2014, 2015) ---- */

typedef unsigned __int128 wide;

static uint32_t hashed(uint32_t value, uint32_t *constant, uint32_t factor) {
    value ^= *constant;
    *constant *= factor;
    value *= *constant;
    return value ^ value >> 16;
}

static uint64_t next_of(wide *state, wide increment) {
    const wide factor = (wide)0x2360ED051FC65DA4u << 64 | 0x4385DF649FCCF645u;
    *state = *state * factor + increment;
    uint64_t both = (uint64_t)(*state >> 64) ^ (uint64_t)*state;
    int turn = (int)(*state >> 122);
    return both >> turn | both << (-turn & 63);
}

/* The first states (n, numbers) of episodes of these seeds, each of 32 bits. */
void hunch_cart_starts(const uint32_t *seed, int64_t n, double *first) {
    for (int64_t i = 0; i < n; i++) {
        uint32_t pool[4], constant = 0x43B0D7E5u, words[8];
        for (int j = 0; j < 4; j++) pool[j] = hashed(j ? 0 : seed[i], &constant, 0x931E8875u);
        for (int from = 0; from < 4; from++)
            for (int to = 0; to < 4; to++) {
                if (from == to) continue;
                uint32_t mixed = 0xCA01F9DDu * pool[to] -
                                 0x4973F715u * hashed(pool[from], &constant, 0x931E8875u);
                pool[to] = mixed ^ mixed >> 16;
            }
        constant = 0x8B51F9DDu;
        for (int j = 0; j < 8; j++) words[j] = hashed(pool[j % 4], &constant, 0x58F38DEDu);
        uint64_t half[4];
        for (int j = 0; j < 4; j++) half[j] = words[2 * j] | (uint64_t)words[2 * j + 1] << 32;
        wide increment = ((wide)half[2] << 64 | half[3]) << 1 | 1, state = 0;
        next_of(&state, increment);
        state += (wide)half[0] << 64 | half[1];
        next_of(&state, increment);
        for (int f = 0; f < NUMBERS; f++)
            first[i * NUMBERS + f] =
                -0.05 + (0.05 - -0.05) * ((next_of(&state, increment) >> 11) * 0x1p-53);
    }
}

/* Begin an episode where one has ended; 0, and nothing done, if not all of them are ready. */
static int begun(Play *p, int64_t all) {
    for (int64_t i = 0; i < all; i++)
        if (p->ended[i] && !p->ready[i]) return 0;
    for (int64_t i = 0; i < all; i++) {
        if (!p->ended[i]) continue;
        for (int64_t f = 0; f < NUMBERS; f++) {
            double number = p->first[i * NUMBERS + f];
            p->state[f * all + i] = number, p->observation[i * NUMBERS + f] = (float)number;
        }
        p->ready[i] = 0, p->age[i] = 0, p->episode[i] += p->stride;
        p->total[i] = 0, p->length[i] = 0;
    }
    return 1;
}

/* As many rounds as are asked for, from the first that is not yet made; fewer where an episode is to
   begin that is not ready, or where the policy gives NaN. */
void hunch_play(Play *p) {
    int64_t all = p->replicas * p->envs;
    for (int64_t t = p->done; t < p->rounds; p->done = ++t) {
        if (!begun(p, all)) return;
        memcpy(p->seen + t * all * NUMBERS, p->observation, all * NUMBERS * sizeof(float));
        hunch_forward(p->policy, p->lanes);
        int64_t *action = p->action + t * all;
        for (int64_t r = 0; r < p->replicas; r++)
            p->unknown |= hunch_draw(p->logit + r * p->envs * ACTIONS, ACTIONS, p->envs, ACTIONS,
                                     p->uniform + (r * p->rounds + t) * p->envs,
                                     action + r * p->envs);
        if (p->unknown) return;
        for (int64_t i = 0; i < all; i++) p->told[p->age[i] * all + i] = (uint8_t)action[i];
        uint8_t *fallen = p->terminated + t * all, *late = p->truncated + t * all;
        hunch_carts(&p->cart, all, p->state, action, p->state, fallen);
        for (int64_t i = 0; i < all; i++) {
            for (int64_t f = 0; f < NUMBERS; f++)
                p->observation[i * NUMBERS + f] = (float)p->state[f * all + i];
            late[i] = ++p->age[i] >= p->limit;
            p->ended[i] = fallen[i] | late[i];
            p->total[i] += 1, p->length[i] += 1;
            if (!p->ended[i]) continue;
            double *end = p->end + 4 * p->ends++;
            end[0] = t, end[1] = i, end[2] = p->total[i], end[3] = p->length[i];
        }
        memcpy(p->led_to + t * all * NUMBERS, p->observation, all * NUMBERS * sizeof(float));
    }
}
