"""Networks whose randomness means something: noisy layers, ensembles, epinets, priors."""

from hunch.nn.ensemble import Ensemble
from hunch.nn.epinet import Epinet
from hunch.nn.heads import GaussianHead, QuantileHead, Streams
from hunch.nn.mlp import MLP
from hunch.nn.noise_modes import noise, reset_noise
from hunch.nn.noisy import NoisyConv2d, NoisyLinear
from hunch.nn.noisy_conversion import noisy
from hunch.nn.normalizer import Constant, Normalizer
from hunch.nn.post_hoc import PostHocEpinet
from hunch.nn.priors import FunctionPrior, RandomFourierPrior, RandomizedPrior
from hunch.nn.ranks import Ranks
from hunch.nn.saving import load, save

__all__ = [
    "MLP",
    "Constant",
    "Ensemble",
    "Epinet",
    "FunctionPrior",
    "GaussianHead",
    "NoisyConv2d",
    "NoisyLinear",
    "Normalizer",
    "PostHocEpinet",
    "QuantileHead",
    "RandomFourierPrior",
    "RandomizedPrior",
    "Ranks",
    "Streams",
    "load",
    "noise",
    "noisy",
    "reset_noise",
    "save",
]
