/* Q-learning by a replay buffer: a batch taken from where transitions are stored, and the gradient that
   it gives, each in one call.

   As `hunch.rl.replay.replay` and `hunch.rl.agents.dqn` have it in numpy and torch. Plain C on raw
   numbers, as `_kernel.c`. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A product and a sum rounded together would give other bits than numpy's. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

struct Chain; /* of _kernel.c */
struct Difference; /* of _objectives.c */
struct MemberDifference;
void hunch_forward(const struct Chain *c, int64_t lanes);
void hunch_backward(const struct Chain *c, int64_t lanes);
void hunch_difference(struct Difference *d);
void hunch_member_difference(struct MemberDifference *d);

typedef struct {
    /* What is stored, (slots, width, …): time goes round, and environments lie side by side. */
    const uint8_t *observation;
    const int64_t *action;
    const float *reward;
    const uint8_t *terminated, *truncated;
    int64_t slots, width, bytes; /* of one observation; 0 for who takes them himself */
    int64_t steps;               /* whose rewards are summed */
    const float *power;          /* of the discount, (steps + 1) */
    /* What is drawn: (count). */
    const int64_t *slot, *row;
    int64_t count;
    /* What is found, of each. */
    uint8_t *seen, *led_to; /* observations */
    int64_t *taken;         /* its action */
    float *gain, *discount; /* the sum of rewards, and what is behind it counts */
    int64_t *index;         /* where it is stored */
    int64_t *last;          /* the slot of its last step */
    int64_t cut;            /* how many a time limit ended, so that `led_to` is to be found elsewhere */
} Drawn;

void hunch_gather(Drawn *d) {
    d->cut = 0;
    for (int64_t i = 0; i < d->count; i++) {
        int64_t slot = d->slot[i], row = d->row[i], at = slot * d->width + row, steps = 1;
        d->index[i] = at, d->taken[i] = d->action[at];
        float gain = d->reward[at];
        for (; steps < d->steps && !(d->terminated[at] | d->truncated[at]); steps++) {
            slot = slot + 1 < d->slots ? slot + 1 : 0, at = slot * d->width + row;
            float later = d->power[steps] * d->reward[at];
            gain += later;
        }
        d->gain[i] = gain, d->last[i] = slot;
        d->discount[i] = d->terminated[at] ? 0 : d->power[steps];
        d->cut += d->truncated[at];
        int64_t behind = (slot + 1 < d->slots ? slot + 1 : 0) * d->width + row;
        if (!d->bytes) continue;
        memcpy(d->seen + i * d->bytes, d->observation + d->index[i] * d->bytes, d->bytes);
        memcpy(d->led_to + i * d->bytes, d->observation + behind * d->bytes, d->bytes);
    }
}

/* Values of what came next, by the target network and, if there is one, the network that chooses; values of
   what was seen; and what the error of the latter says to the network's parameters. One of the two kinds
   of errors is NULL. */
void hunch_q_gradient(const struct Chain *target, const struct Chain *choosing,
                      const struct Chain *own, struct Difference *difference,
                      struct MemberDifference *of_members, int64_t lanes) {
    hunch_forward(target, lanes);
    if (choosing) hunch_forward(choosing, lanes);
    hunch_forward(own, lanes);
    if (difference) hunch_difference(difference);
    else hunch_member_difference(of_members);
    hunch_backward(own, lanes);
}
