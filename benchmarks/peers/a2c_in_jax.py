"""A2C on CartPole with the environment inside one jitted JAX loop, as fast as JAX does it.

Nothing of a step is Python: environments, policy, returns and Adam are compiled together, so a
rollout and its update are one iteration of a `lax.scan`. An environment that is written in JAX is
what this needs; Gymnasium's own cannot be run this way.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random

from peers.cartpole_in_jax import first_state, moved
from peers.jitted import adam, nothing_yet

HIDDEN, LIMIT = 64, 500
RATE, DISCOUNT, LAMBDA, ENTROPY, LONGEST = 1e-3, 0.99, 0.95, 0.01, 0.5


def perceptron(key: Any, outputs: int, last: float) -> list[Any]:
    sizes = [4, HIDDEN, HIDDEN, outputs]
    layers = []
    for i, own in enumerate(random.split(key, 3)):
        bound = 1 / np.sqrt(sizes[i]) * (last if i == 2 else 1.0)
        shape = (sizes[i], sizes[i + 1])
        layers.append(
            (random.uniform(own, shape, minval=-bound, maxval=bound), jnp.zeros(shape[1]))
        )
    return layers


def applied(layers: list[Any], x: Any) -> Any:
    for weight, bias in layers[:-1]:
        x = jnp.tanh(x @ weight + bias)
    return x @ layers[-1][0] + layers[-1][1]


def loss_of(params: Any, observation: Any, action: Any, target: Any) -> Any:
    value = applied(params[0], observation)[:, 0]
    log_p = jax.nn.log_softmax(applied(params[1], observation))
    score = jnp.take_along_axis(log_p, action[:, None], 1)[:, 0]
    entropy = -(jnp.exp(log_p) * log_p).sum(1)
    advantage = lax.stop_gradient(target - value)
    return (
        -(advantage * score).mean()
        + 0.25 * ((value - target) ** 2).mean()
        - ENTROPY * entropy.mean()
    )


def iteration(rollout: int, carry: Any, _: Any) -> tuple[Any, Any]:
    params, moments, state, age, key = carry
    count = len(state)

    def play(inner: Any, own: Any) -> tuple[Any, Any]:
        state, age = inner
        draw, again = random.split(own)
        action = random.categorical(draw, applied(params[1], state))
        after, fallen = moved(state, action)
        cut = (age + 1 >= LIMIT) & ~fallen
        over = fallen | cut
        begun = first_state(again, count)
        seen = (state, action, after, fallen, over)
        return (jnp.where(over[:, None], begun, after), jnp.where(over, 0, age + 1)), seen

    key, *own = random.split(key, rollout + 1)
    (state, age), (seen, action, after, fallen, over) = lax.scan(play, (state, age), jnp.stack(own))
    value = applied(params[0], seen)[..., 0]
    following = jnp.concatenate([value[1:], applied(params[0], state)[None, :, 0]])
    # A time limit is no end: its last observation's value is asked for.
    cut = over & ~fallen
    following = lax.cond(
        cut.any(),
        lambda: jnp.where(cut, applied(params[0], after)[..., 0], following),
        lambda: following,
    )
    error = 1.0 + DISCOUNT * jnp.where(fallen, 0.0, following) - value

    def back(gain: Any, row: Any) -> tuple[Any, Any]:
        error, over = row
        gain = error + DISCOUNT * LAMBDA * jnp.where(over, 0.0, gain)
        return gain, gain

    _, gain = lax.scan(back, jnp.zeros(count), (error, over), reverse=True)
    gradient = jax.grad(loss_of)(
        params, seen.reshape(-1, 4), action.reshape(-1), (gain + value).reshape(-1)
    )
    params, moments = adam(params, moments, gradient, RATE, LONGEST)
    return (params, moments, state, age, key), over.sum()


def agent(count: int, rollout: int, seed: int) -> Callable[[int], object]:
    """What learns until so many environment steps are made.

    Args:
        count: environments.
        rollout: steps of each from one update to the next.
        seed: of all chance.
    """
    value, policy, start, key = random.split(random.key(seed), 4)
    params = (perceptron(value, 1, 1.0), perceptron(policy, 2, 0.01))
    carry = (params, nothing_yet(params), first_state(start, count), jnp.zeros(count, int), key)
    run = jax.jit(
        lambda carry, length: lax.scan(partial(iteration, rollout), carry, None, length),
        static_argnums=1,
    )
    done = 0

    def learn(until: int) -> int:
        nonlocal carry, done
        length = (until - done) // (rollout * count)
        carry, ended = run(carry, length)
        done += length * rollout * count
        return int(ended.sum())

    return learn
