"""A noisy DQN on CartPole with environment and replay inside one jitted JAX loop.

A step of the environment, an action, a stored row and an update are one iteration of a `lax.scan`;
nothing of it is Python. An environment that is written in JAX is what this needs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random

from peers.cartpole_in_jax import first_state, moved
from peers.jitted import adam, nothing_yet

RATE, SIGMA = 1e-3, 0.5


class Settings(NamedTuple):
    """Sizes, and how far ahead rewards count."""

    hidden: int
    batch: int
    capacity: int
    target_period: int
    discount: float
    limit: int


def network(key: Any, hidden: int) -> list[Any]:
    """A plain layer and two noisy ones: means of weight and bias, then what scales their noise."""
    layers = []
    for own, (inputs, outputs) in zip(
        random.split(key, 3), ((4, hidden), (hidden, hidden), (hidden, 2)), strict=True
    ):
        bound = 1 / np.sqrt(inputs)
        first, second = random.split(own)
        layer = [
            random.uniform(first, (inputs, outputs), minval=-bound, maxval=bound),
            random.uniform(second, (outputs,), minval=-bound, maxval=bound),
        ]
        if layers:
            layer += [jnp.full((inputs, outputs), SIGMA * bound), jnp.full(outputs, SIGMA * bound)]
        layers.append(layer)
    return layers


def q_values(layers: list[Any], key: Any, x: Any) -> Any:
    """Under one draw of factorised noise."""
    x = jax.nn.relu(x @ layers[0][0] + layers[0][1])
    for i, (own, (weight, bias, spread, bias_spread)) in enumerate(
        zip(random.split(key, 2), layers[1:], strict=True)
    ):
        inputs, outputs = weight.shape
        draw = random.normal(own, (inputs + outputs,))
        draw = jnp.sign(draw) * jnp.sqrt(jnp.abs(draw))
        left, right = draw[:inputs], draw[inputs:]
        x = x @ (weight + spread * left[:, None] * right) + bias + bias_spread * right
        x = jax.nn.relu(x) if i == 0 else x
    return x


def loss_of(params: Any, key: Any, observation: Any, action: Any, goal: Any) -> Any:
    q = jnp.take_along_axis(q_values(params, key, observation), action[:, None], 1)[:, 0]
    error = jnp.abs(q - goal)
    return jnp.where(error < 1, 0.5 * error**2, error - 0.5).mean()


def updated(s: Settings, count: Any, learned: Any, replay: Any, keys: Any) -> Any:
    params, target, moments = learned
    draw, for_loss, for_target = keys
    rows = random.randint(draw, (s.batch,), 0, jnp.minimum(count, s.capacity))
    observation, action, following, fallen = (column[rows] for column in replay)
    best = q_values(target, for_target, following).max(1)
    goal = 1.0 + s.discount * jnp.where(fallen, 0.0, best)
    gradient = jax.grad(loss_of)(params, for_loss, observation, action, goal)
    params, moments = adam(params, moments, gradient, RATE)
    copied = moments[2] % s.target_period == 0
    target = lax.cond(copied, lambda: params, lambda: target)
    return params, target, moments


def iteration(s: Settings, carry: Any, _: Any) -> tuple[Any, Any]:
    learned, replay, state, age, count, key = carry
    key, act, again, *others = random.split(key, 6)
    action = q_values(learned[0], act, state).argmax(1)
    after, fallen = moved(state, action)
    over = fallen[0] | (age + 1 >= s.limit)
    row = count % s.capacity
    new = (state[0], action[0], after[0], fallen[0])
    replay = tuple(column.at[row].set(value) for column, value in zip(replay, new, strict=True))
    count = count + 1
    learned = lax.cond(
        count >= s.batch,
        lambda: updated(s, count, learned, replay, others),
        lambda: learned,
    )
    state = jnp.where(over, first_state(again, 1), after)
    return (learned, replay, state, jnp.where(over, 0, age + 1), count, key), over


def agent(settings: Settings, seed: int) -> Callable[[int], object]:
    """What learns until so many environment steps are made.

    Args:
        settings: of network, replay and updates.
        seed: of all chance.
    """
    made, start, key = random.split(random.key(seed), 3)
    params = network(made, settings.hidden)
    replay = (
        jnp.zeros((settings.capacity, 4)),
        jnp.zeros(settings.capacity, int),
        jnp.zeros((settings.capacity, 4)),
        jnp.zeros(settings.capacity, bool),
    )
    # Each a buffer of its own: what is handed over is written into.
    learned = jax.tree.map(jnp.copy, (params, params, nothing_yet(params)))
    carry = (learned, replay, first_state(start, 1), 0, 0, key)
    # What was handed over is written into: replay is not copied at each call.
    run = jax.jit(
        lambda carry, length: lax.scan(partial(iteration, settings), carry, None, length),
        static_argnums=1,
        donate_argnums=0,
    )
    done = 0

    def learn(until: int) -> int:
        nonlocal carry, done
        carry, ended = run(carry, until - done)
        done = until
        return int(ended.sum())

    return learn
