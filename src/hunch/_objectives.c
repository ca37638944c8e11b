/* What agents learn by and act on, apart from their networks' layers: errors of values, gradients
   of policies, and draws from them. Each replaces a dozen of torch's or numpy's operations on a
   few numbers, whose dispatch took a hundred times as long as their arithmetic.

   Plain C on raw numbers, as `_kernel.c`. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Difference {
    const float *output;    /* of the network that learns, (members, rows, width) */
    const float *following; /* of the target network, for what came next, likewise */
    const float *selecting; /* of the network that chooses there; NULL for the target itself */
    const int64_t *action;  /* (members, rows) */
    const float *reward, *discount; /* (members, rows) */
    const float *weight;    /* (members, rows), or NULL for 1 */
    float *gradient;        /* (members, rows, width) */
    float *error;           /* its size, (members, rows) */
    int64_t members, rows, actions, dueling; /* width is actions + dueling */
    float loss;             /* the sum over members of means over rows */
} Difference;

typedef struct MemberDifference {
    const float *output;    /* of networks that learn, without their priors, (replicas, members, rows, actions) */
    const float *following; /* of their targets, for what came next, likewise */
    const float *selecting; /* of what chooses there; NULL for the targets themselves */
    const float *prior, *next_prior; /* (replicas, rows, members, actions) */
    const int64_t *action;           /* (replicas, rows) */
    const float *reward, *discount;  /* (replicas, rows) */
    const uint8_t *mask; /* (replicas, rows, members), whether a member learns of it; NULL for all */
    const float *weight; /* (replicas, rows), or NULL for 1 */
    float *gradient;     /* (replicas, members, rows, actions) */
    float *error;        /* the largest size of all members, (replicas, rows) */
    int64_t replicas, members, rows, actions;
    int64_t huber; /* whether errors beyond 1 count by their size alone */
    float loss;    /* the mean over all, of half the square up to there */
} MemberDifference;

typedef struct {
    const float *output;   /* a value and then unnormalised log-probabilities, (members, rows, 1 + actions) */
    const int64_t *action; /* (members, rows) */
    const float *target;   /* what it led to, (members, rows) */
    float *gradient;       /* (members, rows, 1 + actions) */
    int64_t members, rows, actions;
    double value_weight, entropy_weight;
    float loss; /* the sum over members of means over rows; infinite where it is no float */
} Advantage;

/* By functions whose versions in glibc are old, so that a wheel runs where glibc is. Errors are
   of the order of 1e-16 beside 1, the size of the largest. */
static double exp_of(double x) { return 1 + expm1(x); }
static double log_of(double x) { return log1p(x - 1); }

/* The highest of a row; NaN if one is NaN. */
static int64_t best_of(const float *q, int64_t n) {
    int64_t best = 0;
    for (int64_t a = 1; a < n; a++)
        if (q[a] > q[best] || q[a] != q[a]) best = a;
    return best;
}

/* Of value and advantages: Q = V + A - mean A. */
static float mean_advantage(const float *row, int64_t actions) {
    float all = 0;
    for (int64_t a = 0; a < actions; a++) all += row[1 + a];
    return all / actions;
}

/* One-step errors, their Huber loss with threshold 1, and its gradient at the outputs. */
void hunch_difference(Difference *d) {
    int64_t actions = d->actions, dueling = d->dueling != 0, width = actions + dueling;
    double loss = 0;
    for (int64_t i = 0; i < d->members * d->rows; i++) {
        const float *next = d->following + i * width, *own = d->output + i * width;
        const float *by = d->selecting ? d->selecting + i * width : next;
        int64_t chosen = best_of(by + dueling, actions), taken = d->action[i];
        float value = next[dueling + chosen], q = own[dueling + taken];
        if (dueling) {
            value = next[0] + value - mean_advantage(next, actions);
            q = own[0] + q - mean_advantage(own, actions);
        }
        float error = q - (d->reward[i] + d->discount[i] * value);
        float clamped = error > 1 ? 1 : error < -1 ? -1 : error;
        float slope = (d->weight ? clamped * d->weight[i] : clamped) / d->rows;
        /* With |e| the error and c its clamped value the loss is c (e - c / 2). */
        loss += (double)(error - 0.5f * clamped) * slope;
        d->error[i] = fabsf(error);
        float *to = d->gradient + i * width;
        /* Every advantage is in the mean. */
        for (int64_t a = 0; a < actions; a++) to[dueling + a] = dueling ? -slope / actions : 0;
        if (dueling) to[0] = slope;
        to[dueling + taken] += slope;
    }
    d->loss = loss;
}

/* The largest of sums, of the first where several are; NaN if one is. */
static int64_t best_sum(const float *q, const float *prior, int64_t n) {
    int64_t best = 0;
    float most = q[0] + prior[0];
    for (int64_t a = 1; a < n; a++) {
        float value = q[a] + prior[a];
        if (value > most || value != value) best = a, most = value;
    }
    return best;
}

/* One-step errors of members with priors, their mean loss, and its gradient by member. */
void hunch_member_difference(MemberDifference *d) {
    int64_t actions = d->actions;
    double loss = 0;
    for (int64_t r = 0; r < d->replicas; r++)
        for (int64_t k = 0; k < d->members; k++)
            for (int64_t i = 0; i < d->rows; i++) {
                int64_t row = r * d->rows + i, at = row * d->members + k;
                int64_t own = ((r * d->members + k) * d->rows + i) * actions;
                const float *next = d->following + own, *prior = d->next_prior + at * actions;
                int64_t chosen = best_sum(d->selecting ? d->selecting + own : next, prior, actions);
                int64_t taken = d->action[row];
                float value = next[chosen] + prior[chosen];
                float q = d->output[own + taken] + d->prior[at * actions + taken];
                float error = q - (d->reward[row] + d->discount[row] * value);
                if (d->mask) error *= d->mask[at];
                if (!k || fabsf(error) > d->error[row]) d->error[row] = fabsf(error);
                float clamped = !d->huber ? error : error > 1 ? 1 : error < -1 ? -1 : error;
                float slope = d->weight ? clamped * d->weight[row] : clamped;
                loss += (double)(error - 0.5f * clamped) * slope;
                float *to = d->gradient + own;
                for (int64_t a = 0; a < actions; a++) to[a] = 0;
                to[taken] = slope / d->rows;
            }
    d->loss = loss / (d->replicas * d->members * d->rows);
}

/* The loss of an actor-critic, with the value as its baseline, and the gradient at its outputs. */
void hunch_advantage(Advantage *p) {
    int64_t actions = p->actions;
    double h = p->entropy_weight, w = p->value_weight, rows = p->rows;
    double loss = 0;
    for (int64_t i = 0; i < p->members * p->rows; i++) {
        const float *value = p->output + i * (1 + actions), *logit = value + 1;
        float *to = p->gradient + i * (1 + actions);
        double most = logit[best_of(logit, actions)], all = 0, entropy = 0;
        for (int64_t a = 0; a < actions; a++) all += exp_of(logit[a] - most);
        double logarithm = most + log_of(all), advantage = p->target[i] - value[0];
        for (int64_t a = 0; a < actions; a++) {
            double log_p = logit[a] - logarithm;
            if (log_p > -INFINITY) entropy -= exp_of(log_p) * log_p; /* what is masked has none */
        }
        for (int64_t a = 0; a < actions; a++) {
            double log_p = logit[a] - logarithm, probability = exp_of(log_p);
            double slope = advantage * (probability - (a == p->action[i]));
            if (log_p > -INFINITY) slope += h * probability * (log_p + entropy);
            to[1 + a] = slope / rows;
        }
        to[0] = -w * advantage / rows;
        loss += (0.5 * w * advantage * advantage - p->target[i] - h * entropy) / rows;
    }
    p->loss = loss;
}

/* What each step led to, its λ-return (replicas, rounds * envs), from the last round back. `value` lies
   likewise, all else is (rounds, replicas, envs); `after` are the values of what the rounds `cut` led to,
   where it is not what the next one saw. `gain` (replicas * envs) begins as 0. */
void hunch_lambda_returns(const float *value, const float *after, const int64_t *cut, int64_t cuts,
                          const float *reward, const uint8_t *terminated, const uint8_t *truncated,
                          int64_t rounds, int64_t replicas, int64_t envs, double discount,
                          double lambda, double scale, double *gain, float *to) {
    int64_t all = replicas * envs;
    for (int64_t t = rounds - 1; t >= 0; t--) {
        const float *cut_off = cuts && cut[cuts - 1] == t ? after + --cuts * all : NULL;
        for (int64_t i = 0; i < all; i++) {
            int64_t at = (i / envs * rounds + t) * envs + i % envs, step = t * all + i;
            double next = cut_off ? cut_off[i] : value[t + 1 < rounds ? at + envs : at];
            double error = (double)((float)scale * reward[step]) +
                           discount * (terminated[step] ? 0 : next) - value[at];
            double on = discount * lambda * !(terminated[step] | truncated[step]);
            gain[i] = error + on * gain[i];
            to[at] = gain[i] + value[at];
        }
    }
}

/* Draw from distributions, given a number of [0, 1) for each; say whether a logit is NaN. Rows are
   `width` numbers apart. */
int64_t hunch_draw(const float *logit, int64_t width, int64_t rows, int64_t actions,
                   const double *uniform, int64_t *index) {
    int64_t unknown = 0;
    for (int64_t i = 0; i < rows; i++, logit += width) {
        double most = logit[best_of(logit, actions)], all = 0, below = 0;
        unknown |= most != most;
        for (int64_t a = 0; a < actions; a++) all += exp_of(logit[a] - most);
        int64_t chosen = 0;
        for (int64_t a = 0; a + 1 < actions; a++) {
            below += exp_of(logit[a] - most);
            chosen += below <= uniform[i] * all;
        }
        index[i] = chosen;
    }
    return unknown;
}
