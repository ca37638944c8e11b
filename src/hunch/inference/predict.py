"""Ask all members of an ensemble at once."""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor

from hunch.errors import ConfigurationError
from hunch.inference.class_predictive import ClassPredictive
from hunch.inference.data import Data, as_data, check_ensemble, output_shape
from hunch.inference.predictive import Predictive
from hunch.nn import Ensemble, GaussianHead
from hunch.nn.heads import head_of


@overload
def predict(
    ensemble: Ensemble,
    x: Data,
    *,
    noise_std: float | Tensor = 0.0,
    classes: Literal[False] = False,
    batch_size: int | None = None,
) -> Predictive: ...


@overload
def predict(
    ensemble: Ensemble,
    x: Data,
    *,
    classes: Literal[True],
    batch_size: int | None = None,
) -> ClassPredictive: ...


def predict(
    ensemble: Ensemble,
    x: Data,
    *,
    noise_std: float | Tensor = 0.0,
    classes: bool = False,
    batch_size: int | None = None,
) -> Predictive | ClassPredictive:
    """Ask all members, in eval mode.

    Args:
        ensemble: the members.
        x: inputs `(batch, …)`. If they require a gradient, so does the answer.
        noise_std: standard deviation of the observation noise, in units of y: a number, or a tensor
            that broadcasts to `(members, batch, *out)`. With a `GaussianHead` each member's own
            answer is taken.
        classes: whether outputs are logits of classes, as after `fit(loss="cross_entropy")`.
        batch_size: rows in one pass, to bound memory; all of them if None.

    Returns:
        The predictive distribution at `x`; a `ClassPredictive` for classes.

    Raises:
        ConfigurationError: if `noise_std` is given where the network says it: classes, or a
            `GaussianHead`.
        DataError: if `x` is empty or holds NaN or infinities.
        ShapeError: if `x` does not fit the network.

    Example:
        >>> from hunch.nn import MLP, Ensemble
        >>> p = predict(Ensemble(lambda: MLP(1, [9], 1), 5, seed=0), torch.zeros(3, 1))
        >>> p.mean.shape, p.members.shape
        (torch.Size([3, 1]), torch.Size([5, 3, 1]))
        >>> p = predict(Ensemble(lambda: MLP(1, [9], 4), 5), torch.zeros(3, 1), classes=True)
        >>> p.probs.shape, p.epistemic.shape
        (torch.Size([3, 4]), torch.Size([3]))
    """
    check_ensemble(ensemble)
    if batch_size is not None and batch_size < 1:
        raise ConfigurationError(f"`batch_size` got {batch_size}; expected at least 1.")
    learned_noise = isinstance(head_of(ensemble.skeleton), GaussianHead)
    if (classes or learned_noise) and (isinstance(noise_std, Tensor) or noise_std):
        owner = "the classes' probabilities" if classes else "the GaussianHead"
        raise ConfigurationError(
            f"`noise_std` got a value, but the noise is in {owner} already; expected none."
        )
    x = as_data("x", x, ensemble)
    output_shape(ensemble, x)
    was_training = ensemble.training
    ensemble.eval()
    try:
        with torch.set_grad_enabled(x.requires_grad):
            parts = [ensemble(rows) for rows in x.split(batch_size or len(x))]
    finally:
        ensemble.train(was_training)
    outputs = torch.cat(parts, dim=1)
    if classes:
        return ClassPredictive(outputs)
    if learned_noise:
        return Predictive(*outputs.unbind(-1))
    return Predictive(outputs, noise_std=noise_std)
