"""Ask all members of an ensemble, or many of an epinet, at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, cast, overload

import torch
from torch import Tensor

from hunch.errors import ConfigurationError
from hunch.inference.class_predictive import ClassPredictive
from hunch.inference.data import check_ensemble, output_shape
from hunch.inference.divided import DividedClassPredictive, DividedPredictive
from hunch.inference.indices import IndexedMembers, as_members
from hunch.inference.predictive import Predictive
from hunch.nn import Ensemble, Epinet, GaussianHead, PostHocEpinet
from hunch.nn.compiled_outputs import outputs_compiled
from hunch.nn.heads import head_of
from hunch.nn.inputs import (
    Data,
    Loader,
    as_data,
    check_loader,
    inputs_of,
    is_loader,
    warn_of_shuffling,
)
from hunch.nn.ranks import Share


@overload
def predict(
    ensemble: Ensemble | Epinet | PostHocEpinet,
    x: Data | Loader,
    *,
    noise_std: float | Tensor = 0.0,
    classes: Literal[False] = False,
    batch_size: int | None = None,
    num_members: int | None = None,
    seed: int = 0,
) -> Predictive: ...


@overload
def predict(
    ensemble: Ensemble | Epinet | PostHocEpinet,
    x: Data | Loader,
    *,
    classes: Literal[True],
    batch_size: int | None = None,
    num_members: int | None = None,
    seed: int = 0,
) -> ClassPredictive: ...


def predict(
    ensemble: Ensemble | Epinet | PostHocEpinet,
    x: Data | Loader,
    *,
    noise_std: float | Tensor = 0.0,
    classes: bool = False,
    batch_size: int | None = None,
    num_members: int | None = None,
    seed: int = 0,
) -> Predictive | ClassPredictive:
    """Ask all members, in eval mode.

    Args:
        ensemble: the members, or an epinet to draw them from.
        x: inputs `(batch, …)`. If they require a gradient, so does the answer. Or a loader of
            batches `x` or `(x, …)`, as `fit` takes it; answers come in its order, and a warning
            says so where it shuffles.
        noise_std: standard deviation of the observation noise, in units of y: a number, or a tensor
            that broadcasts to `(members, batch, *out)`. With a `GaussianHead` each member's own
            answer is taken.
        classes: whether outputs are logits of classes, as after `fit(loss="cross_entropy")`.
        batch_size: rows in one pass of torch, to bound memory; all of them if None. A loader has
            its own.
        num_members: functions drawn from an epinet; 100 if None.
        seed: decides which, so that two calls ask the same functions. An ensemble has no choice.

    Returns:
        The predictive distribution at `x`; a `ClassPredictive` for classes. Of an ensemble that is
        divided among processes all must ask, with the same `x`, and all get the answer of all
        members, a `DividedPredictive` or `DividedClassPredictive`.

    Raises:
        ConfigurationError: if `noise_std` is given where the network says it: classes, or a
            `GaussianHead`; or a number of members to an ensemble, which has its own; or for a
            loader that can be gone through only once.
        DataError: if `x` is empty or holds NaN or infinities.
        ShapeError: if `x` does not fit the network.

    Note:
        Ensembles of small plain networks in float32 on a CPU are asked by the compiled kernel, if
        hunch was installed with it; it says what torch says up to rounding. See `Ensemble`'s
        `engine`.

    Example:
        >>> from hunch.nn import MLP, Ensemble
        >>> p = predict(Ensemble(lambda: MLP(1, [9], 1), 5, seed=0), torch.zeros(3, 1))
        >>> p.mean.shape, p.members.shape
        (torch.Size([3, 1]), torch.Size([5, 3, 1]))
        >>> p = predict(Ensemble(lambda: MLP(1, [9], 4), 5), torch.zeros(3, 1), classes=True)
        >>> p.probs.shape, p.epistemic.shape
        (torch.Size([3, 4]), torch.Size([3]))
        >>> loader = torch.utils.data.DataLoader(torch.zeros(9, 1), batch_size=4)
        >>> predict(Ensemble(lambda: MLP(1, [9], 1), 5, seed=0), loader).mean.shape
        torch.Size([9, 1])
        >>> from hunch.nn import Epinet
        >>> predict(Epinet(MLP(1, [9], 1)), torch.zeros(3, 1), num_members=50).members.shape
        torch.Size([50, 3, 1])
    """
    check_ensemble(ensemble)
    if batch_size is not None and batch_size < 1:
        raise ConfigurationError(f"`batch_size` got {batch_size}; expected at least 1.")
    members = as_members(
        ensemble, "num_members", num_members, seed=seed, purpose="prediction", classes=classes
    )
    learned_noise = isinstance(head_of(members.skeleton), GaussianHead)
    if (classes or learned_noise) and (isinstance(noise_std, Tensor) or noise_std):
        owner = "the classes' probabilities" if classes else "the GaussianHead"
        raise ConfigurationError(
            f"`noise_std` got a value, but the noise is in {owner} already; expected none."
        )
    if is_loader(x):
        check_loader("x", x)
        warn_of_shuffling("x", x)
        if batch_size is not None:
            raise ConfigurationError(
                f"`batch_size` got {batch_size} with a loader; expected None: batches are its own."
            )
        parts = inputs_of(x, ensemble)
    else:
        parts = iter([as_data("x", cast("Data", x), ensemble)])
    if isinstance(members, Ensemble) and members._share is not None:
        return _divided(members, members._share, x, batch_size, noise_std, classes=classes)
    outputs = _answers(members, parts, batch_size)
    if classes:
        return ClassPredictive(outputs)
    if learned_noise:
        return Predictive(*outputs.unbind(-1))
    return Predictive(outputs, noise_std=noise_std)


def _divided(
    members: Ensemble,
    share: Share,
    x: Data | Loader,
    batch_size: int | None,
    noise_std: float | Tensor,
    *,
    classes: bool,
) -> Predictive | ClassPredictive:
    """What the members of all processes say, block by block of this process's."""
    given = x if is_loader(x) else as_data("x", cast("Data", x), members)
    if isinstance(given, Tensor) and given.requires_grad:
        raise ConfigurationError(
            "`x` requires a gradient, which does not cross ranks; expected `x.detach()`, or an "
            "ensemble that is not divided."
        )
    said = []
    for _, block in members._blocks():
        parts = iter([given]) if isinstance(given, Tensor) else inputs_of(given, block)
        said.append(_answers(block, parts, batch_size))
    outputs = torch.cat(said)
    if classes:
        return DividedClassPredictive(outputs, share)
    if isinstance(head_of(members.skeleton), GaussianHead):
        mean, std = outputs.unbind(-1)
        return DividedPredictive(mean, std, share)
    return DividedPredictive(outputs, noise_std, share)


def _answers(
    members: Ensemble | IndexedMembers, parts: Iterator[Tensor], batch_size: int | None
) -> Tensor:
    """The outputs for all parts of the inputs, `(members, batch, *out)`."""
    said: list[Tensor] = []
    for x in parts:
        if not said:
            output_shape(members, x)
        outputs = _compiled(members, x)
        said.append(_outputs(members, x, batch_size or len(x)) if outputs is None else outputs)
    return said[0] if len(said) == 1 else torch.cat(said, dim=1)


def _compiled(members: Ensemble | IndexedMembers, x: Tensor) -> Tensor | None:
    """By the kernel, which has no tensor of all rows but the answer; None where torch is to say."""
    if not isinstance(members, Ensemble) or x.dtype != torch.float32:
        return None
    return outputs_compiled(members, x)


def _outputs(members: Ensemble | IndexedMembers, x: Tensor, batch_size: int) -> Tensor:
    was_training = members.training
    members.eval()
    try:
        with torch.set_grad_enabled(x.requires_grad):
            return torch.cat([members(rows) for rows in x.split(batch_size)], dim=1)
    finally:
        members.train(was_training)
