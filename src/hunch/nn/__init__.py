"""Networks whose randomness means something: noisy layers, ensembles, randomised priors."""

from __future__ import annotations

from hunch.nn.noisy import NoisyLinear, noise, reset_noise
from hunch.nn.noisy_conversion import noisy

__all__ = [
    "NoisyLinear",
    "noise",
    "noisy",
    "reset_noise",
]
