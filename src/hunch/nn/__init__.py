"""Networks whose randomness means something: noisy layers, ensembles, randomised priors."""

from __future__ import annotations

from hunch.nn.noise_modes import noise, reset_noise
from hunch.nn.noisy import NoisyConv2d, NoisyLinear
from hunch.nn.noisy_conversion import noisy

__all__ = [
    "NoisyConv2d",
    "NoisyLinear",
    "noise",
    "noisy",
    "reset_noise",
]
