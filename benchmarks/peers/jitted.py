"""What agents that JAX compiles share: one thread, and Adam."""

from __future__ import annotations

import os
from typing import Any

# Read by XLA when it starts.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)

import jax
import jax.numpy as jnp


def nothing_yet(params: Any) -> Any:
    """Adam's moments before its first step."""
    none = jax.tree.map(jnp.zeros_like, params)
    return none, none, 0


def adam(
    params: Any, moments: Any, gradient: Any, rate: float, longest: float | None = None
) -> tuple[Any, Any]:
    """A step of it, and moments; the gradient is scaled down to a norm of `longest`."""
    if longest is not None:
        norm = jnp.sqrt(sum((g**2).sum() for g in jax.tree.leaves(gradient)))
        gradient = jax.tree.map(lambda g: g * jnp.minimum(1.0, longest / norm), gradient)
    mean, square, t = moments
    t = t + 1
    mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, gradient)
    square = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g * g, square, gradient)
    params = jax.tree.map(
        lambda p, m, s: p - rate * (m / (1 - 0.9**t)) / (jnp.sqrt(s / (1 - 0.999**t)) + 1e-8),
        params,
        mean,
        square,
    )
    return params, (mean, square, t)
