"""laplace-torch as a peer for tables: one network and a Gaussian over its weights.

It is optional, and run where it is installed. One network of our members' width is trained by
laplace-torch's own `marglik_training`, which finds the weights, the prior precision of each layer
and the noise together, the latter two by the marginal likelihood, with Kronecker factors of the
curvature over all weights. Predictions are those of the network made linear in its weights.
"""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any, Final
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from hunch.nn import MLP
from hunch.seeding import default_generator_seeded, torch_generator

Array = npt.NDArray[Any]
INSTALL_LAPLACE: Final = "pip install laplace-torch"


def laplace_installed() -> bool:
    """Whether laplace-torch is there to be run."""
    return importlib.util.find_spec("laplace") is not None


class LaplaceRegressor:
    """One network with error bars, for one target; features and target are scaled inside.

    Args:
        seed: decides the first weights and the batches.

    Reference:
        Daxberger et al. (2021), "Laplace Redux: effortless Bayesian deep learning", section 2.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def fit(self, X: Array, y: Array) -> LaplaceRegressor:
        """Train on features `(rows, features)` and targets `(rows,)`."""
        from hunch.adapters.sklearn_rows import Scale

        self._inputs, self._target = Scale.of(X, None), Scale.of(y[:, None], None)
        x, target = _floats(self._inputs.apply(X)), _floats(self._target.apply(y[:, None]))
        self._posterior = _train(x, target, 1, "regression", self._seed)
        return self

    def predict(self, X: Array, return_std: bool = False) -> Any:
        """Mean `(rows,)`, and on demand the standard deviation of an observation."""
        mean, variance = self._posterior(_floats(self._inputs.apply(X)))
        std = (variance[:, 0, 0] + self._posterior.sigma_noise.square()).sqrt()
        center, width = self._target.mean, self._target.std
        mean, std = center + width * _numbers(mean[:, 0]), width * _numbers(std)
        return (mean, std) if return_std else mean


class LaplaceClassifier:
    """One network with probabilities that know of its weights' spread; features are scaled inside.

    Args:
        seed: decides the first weights and the batches.

    Reference:
        Daxberger et al. (2021), "Laplace Redux: effortless Bayesian deep learning", section 2.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def fit(self, X: Array, y: Array) -> LaplaceClassifier:
        """Train on features `(rows, features)` and class numbers `(rows,)`."""
        from hunch.adapters.sklearn_rows import Scale

        self._inputs = Scale.of(X, None)
        x, target = _floats(self._inputs.apply(X)), torch.as_tensor(y).long()
        self._posterior = _train(x, target, int(y.max()) + 1, "classification", self._seed)
        return self

    def predict_proba(self, X: Array) -> Array:
        """Probabilities of the classes, `(rows, classes)`, by the probit approximation."""
        return _numbers(self._posterior(_floats(self._inputs.apply(X))))


def _train(x: Tensor, target: Tensor, outputs: int, likelihood: str, seed: int) -> Any:
    from hunch.adapters.sklearn_members import default_batch_size

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch, in its imports
        from laplace import marglik_training
        from laplace.curvature import CurvlinopsGGN
        from laplace.utils import matrix

    def stream(what: str) -> torch.Generator:
        return torch_generator(seed, "laplace", what)

    # On other draws tanh did better here than our members' SiLU.
    network = MLP(x.shape[1], [50, 50], outputs, activation="tanh", generator=stream("weights"))
    loader = DataLoader(
        TensorDataset(x, target),
        batch_size=default_batch_size(len(x)),
        shuffle=True,
        generator=stream("batches"),
    )
    # Version 0.3 takes powers with `math.pow`, which loses the determinant's share of the noise's
    # gradient. With powers that keep it the noise is that of the largest marginal likelihood.
    with default_generator_seeded(seed, "laplace"), patch.object(matrix, "pow", pow, create=True):
        posterior, *_ = marglik_training(
            network,
            loader,
            likelihood,
            backend=CurvlinopsGGN,  # Laplace's own default
            optimizer_kwargs={"lr": 0.01},
            marglik_frequency=5,  # a fifth of the cost; all that is not named is at its default
        )
    return posterior


def _floats(values: Array) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32)


def _numbers(values: Tensor) -> Array:
    numbers: Array = values.detach().numpy().astype(np.float64)
    return numbers
