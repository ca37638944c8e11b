"""The training of an ensemble in JAX: the same network and steps, in one jitted `lax.scan`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

# Read by XLA when it starts.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)

import jax
import jax.numpy as jnp

Array = NDArray[np.float32]
Layers = list[tuple[jax.Array, jax.Array]]  # weights (members, in, out), biases (members, out)


def training(
    model: Sequence[tuple[Array, Array]],
    prior: Sequence[tuple[Array, Array]],
    x: Array,
    y: Array,
    weights: Array,
    *,
    rows: NDArray[np.int64] | None,
    redraw: bool,
    steps: int,
    lr: float,
    activation: str,
) -> Callable[[], Array]:
    """A function that trains from the beginning and returns each step's losses.

    Args:
        model: weight `(members, out, in)` and bias of each layer, as torch has them.
        prior: those of the prior.
        x: inputs.
        y: targets.
        weights: of the bootstrap, `(members, data)`.
        rows: those of each step, `(steps, batch)`; None for all of them.
        redraw: draw another bootstrap for each step, as indices, all before the first.
        steps: how many.
        lr: Adam's learning rate.
        activation: of the hidden layers.
    """
    act = getattr(jax.nn, activation)

    def network(layers: Layers, inputs: jax.Array) -> jax.Array:
        for weight, bias in layers[:-1]:
            inputs = act(inputs @ weight + bias)
        return inputs @ layers[-1][0] + layers[-1][1]

    def loss(layers: Layers, inputs, given, targets, shares):
        outputs = jax.vmap(network, in_axes=(0, None if inputs.ndim == 2 else 0))(layers, inputs)
        each = jnp.square(outputs + given - targets).sum(-1)
        members = (each * shares).mean(1)
        return members.sum(), members

    @jax.jit
    def run(layers: Layers, fixed: Layers, inputs, targets, shares, order, key):
        given = jax.vmap(network, in_axes=(0, None))(fixed, inputs)
        members, data = shares.shape

        def batch(chosen):
            if redraw:
                own = jnp.take_along_axis(given, chosen[..., None], 1)
                return inputs[chosen], own, targets[chosen], 1.0
            if rows is None:
                return inputs, given, targets, shares
            return inputs[chosen], given[:, chosen], targets[chosen], shares[:, chosen]

        def step(state, chosen):
            layers, mean, square, count = state
            gradient, members = jax.grad(loss, has_aux=True)(layers, *batch(chosen))
            mean = jax.tree.map(lambda m, g: m + 0.1 * (g - m), mean, gradient)
            square = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g * g, square, gradient)
            rate, root = lr / (1 - 0.9**count), 1 - 0.999**count
            layers = jax.tree.map(
                lambda p, m, s: p - rate * m / (jnp.sqrt(s / root) + 1e-8), layers, mean, square
            )
            return (layers, mean, square, count + 1), members

        if redraw:
            order = jax.random.randint(key, (steps, members, data), 0, data)
        zeros = jax.tree.map(jnp.zeros_like, layers)
        return jax.lax.scan(step, (layers, zeros, zeros, 1.0), order, steps)[1]

    def of(layers: Sequence[tuple[Array, Array]]) -> Layers:
        return [(jnp.asarray(w.swapaxes(1, 2)), jnp.asarray(b)) for w, b in layers]

    order = None if rows is None else jnp.asarray(rows)
    given = of(model), of(prior), *map(jnp.asarray, (x, y, weights)), order, jax.random.key(0)
    return lambda: np.asarray(jax.block_until_ready(run(*given)))
