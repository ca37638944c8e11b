"""Networks whose randomness means something: noisy layers, ensembles, randomised priors."""

from hunch.nn.ensemble import Ensemble
from hunch.nn.mlp import MLP
from hunch.nn.priors import FunctionPrior, RandomFourierPrior, RandomizedPrior

__all__ = [
    "MLP",
    "Ensemble",
    "FunctionPrior",
    "RandomFourierPrior",
    "RandomizedPrior",
]
