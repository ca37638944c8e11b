"""Several models of one target as one: how much each counts, by data that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hunch.sklearn.rows import Floats

_STRICT: Final = 1e3  # how much more the sum of the weights counts than an error of one width
_ROUNDS: Final = 100  # of expectation and maximisation
_LEAST_LOG: Final = -30.0


def shares_for_numbers(said: Sequence[Floats], y: Floats, weight: Floats | None) -> Floats:
    """Non-negative weights of sum 1 whose mean has the least squared error, output by output.

    Args:
        said: each model's predictions `(rows, outputs)` for rows that it has not seen.
        y: targets `(rows, outputs)`.
        weight: of each row, or None.

    Returns:
        `(models, outputs)`.

    Example:
        >>> y = np.array([[0.0], [1.0], [2.0]])
        >>> shares_for_numbers([y + 0.1, y[::-1]], y, None).round(1).ravel()
        array([1., 0.])
    """
    from sklearn.linear_model import LinearRegression

    root = np.ones(len(y)) if weight is None else np.sqrt(weight / weight.mean())
    found = np.empty((len(said), y.shape[1]))
    for j in range(y.shape[1]):
        wide = max(float(y[:, j].std()) * np.sqrt(len(y)), np.finfo(np.float64).tiny)
        errors = np.stack([(own[:, j] - y[:, j]) * root / wide for own in said], axis=1)
        rows = np.concatenate([errors, np.full((1, len(said)), _STRICT)])
        aim = np.append(np.zeros(len(y)), _STRICT)
        found[:, j] = LinearRegression(fit_intercept=False, positive=True).fit(rows, aim).coef_
    shares: Floats = found / found.sum(axis=0)
    return shares


def shares_for_classes(
    said: Sequence[Floats], y: npt.NDArray[np.int64], weight: Floats | None
) -> Floats:
    """Non-negative weights of sum 1 under whose mean probability the classes are likeliest.

    Args:
        said: each model's logarithms of probabilities `(rows, classes)` for rows that it has not
            seen.
        y: class numbers `(rows,)`.
        weight: of each row, or None.

    Returns:
        `(models,)`.

    Example:
        >>> right, wrong = np.log([[0.9, 0.1]]), np.log([[0.1, 0.9]])
        >>> shares_for_classes([right, wrong], np.array([0]), None).round(2)
        array([1., 0.])
    """
    logs = np.stack([own[np.arange(len(y)), y] for own in said])
    likely = np.exp(np.maximum(logs, _LEAST_LOG))
    row = np.ones(len(y)) if weight is None else weight
    shares = np.full(len(said), 1 / len(said))
    for _ in range(_ROUNDS):
        mixed = shares[:, None] * likely
        shares = np.average(mixed / mixed.sum(axis=0), axis=1, weights=row)
    return shares


def shares_by_row(said: Tensor, shares: Tensor) -> Tensor:
    """How much each model counts for each row, where some may have nothing to say of it.

    Args:
        said: `(models, rows, outputs)`; NaN where a model has seen the row.
        shares: of the models, `(models, outputs)`.

    Returns:
        `(models, rows, outputs)`, of sum 1 over the models; NaN for a row of which none tells.

    Example:
        >>> said = torch.tensor([[[1.0], [1.0]], [[2.0], [torch.nan]]])
        >>> shares_by_row(said, torch.tensor([[0.4], [0.6]])).squeeze(-1)
        tensor([[0.4000, 1.0000],
                [0.6000, 0.0000]])
    """
    tells = ~said.isnan().any(dim=-1, keepdim=True)
    own = shares.unsqueeze(1) * tells
    total = own.sum(dim=0)
    # Where only models without a share tell, they count alike.
    return torch.where(total > 0, own / total, tells / tells.sum(dim=0))
