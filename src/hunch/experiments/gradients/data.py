"""Two data sets from inside scikit-learn (extra `sklearn`), as tensors; nothing is downloaded."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hunch.errors import MissingDependencyError
from hunch.seeding import torch_generator


def breast_cancer(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs `(patients, 31)`, standardized, the last column 1; labels -1 or 1: train, then test.

    Args:
        seed: decides which 455 of the 569 patients are trained on.

    Returns:
        Train inputs, train labels, test inputs, test labels.

    Raises:
        MissingDependencyError: if scikit-learn is not installed.
    """
    data = _datasets().load_breast_cancer()
    x = torch.tensor(data.data, dtype=torch.float32)
    y = 2 * torch.tensor(data.target, dtype=torch.float32) - 1
    order = torch.randperm(len(x), generator=torch_generator(seed, "breast cancer"))
    train, test = order[:455], order[455:]
    x = (x - x[train].mean(0)) / x[train].std(0)
    x = torch.cat([x, torch.ones(len(x), 1)], dim=1)
    return x[train], y[train], x[test], y[test]


def binary_digits(seed: int) -> tuple[Tensor, Tensor]:
    """Images of 8 x 8 zeros and ones, `(images, 64)`: 1,500 to train on and 297 to test.

    Args:
        seed: decides which.

    Raises:
        MissingDependencyError: if scikit-learn is not installed.
    """
    pixels = torch.tensor(_datasets().load_digits().data, dtype=torch.float32)
    order = torch.randperm(len(pixels), generator=torch_generator(seed, "digits"))
    images = (pixels[order] > 8).float()
    return images[:1500], images[1500:]


def _datasets() -> Any:
    try:
        from sklearn import datasets
    except ImportError as error:
        raise MissingDependencyError(
            "this experiment needs scikit-learn, which is not installed; install it with: "
            'pip install "torch-hunch[sklearn]"'
        ) from error
    return datasets
