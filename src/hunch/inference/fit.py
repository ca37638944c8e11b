"""Train all members of an ensemble at once, and ask them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from hunch.errors import ConfigurationError, ShapeError
from hunch.inference.bootstrap import (
    Bootstrap,
    Ids,
    check_bootstrap,
    standard_normals,
    weights_of_epochs,
)
from hunch.inference.class_predictive import ClassPredictive
from hunch.inference.data import Data, as_data, check_targets, output_shape
from hunch.inference.predictive import Predictive
from hunch.nn import Ensemble, RandomizedPrior
from hunch.progress import progress_bar
from hunch.seeding import check_seed, numpy_generator

LossFunction = Callable[[Tensor, Tensor], Tensor]
Loss = Literal["mse", "cross_entropy"] | LossFunction


@dataclass(frozen=True)
class History:
    """How a training went.

    Args:
        loss: each member's loss before each step, `(steps, members)`, ridge included.
    """

    loss: Tensor


def fit(
    ensemble: Ensemble,
    x: Data,
    y: Data,
    *,
    loss: Loss = "mse",
    bootstrap: Bootstrap = "multinomial",
    redraw: bool = False,
    target_noise: float = 0.0,
    ridge: float = 0.0,
    steps: int = 1000,
    batch_size: int | None = None,
    lr: float = 1e-3,
    ids: Ids | None = None,
    seed: int = 0,
    progress: bool = True,
    callback: Callable[[int], object] | None = None,
) -> History:
    """Train all members together, one optimizer step for all.

    Member k minimises, with bootstrap weights w and targets ỹ = y + target_noise · ε (ε one fixed
    standard normal draw for each member and datum),

        (1/n) Σ_i w_ki loss(f_k(x_i), ỹ_ki) + (ridge/n) |θ_k|²,   θ_k the trainable parameters.

    The total is the sum over members, so each member trains as it would alone, by Adam.

    Which recipe is Bayes: for a model linear in its parameters with a `RandomizedPrior` whose
    weights are drawn from N(0, λ), `bootstrap="none"`, `target_noise=σ` and `ridge=σ²/λ` make each
    member an exact draw from the posterior. Any row bootstrap is another distribution, often wider.

    Args:
        ensemble: what is trained, in place.
        x: inputs `(data, …)`; floating-point data take the network's type and device.
        y: targets `(data, *out)`, of the network's output shape; for `"cross_entropy"` class
            numbers `(data,)`.
        loss: `"mse"` (squared error, summed over outputs), `"cross_entropy"`, or a function of
            predictions and targets, both `(members, batch, …)`, that returns `(members, batch)`.
        bootstrap: how members' data differ; see `bootstrap_weights`.
        redraw: draw the bootstrap anew each epoch, rather than once.
        target_noise: standard deviation σ of the noise on the targets, in units of y.
        ridge: weight of the pull towards zero, in units of the loss summed over data.
        steps: optimizer steps.
        batch_size: data in a step; all of them if None.
        lr: Adam's learning rate.
        ids: one integer for each datum, to which its weights and noise are tied; its position if
            None.
        seed: decides batches, weights and noise.
        progress: show a bar on standard error once training has lasted two seconds.
        callback: called with the number of steps done, after each.

    Returns:
        The losses.

    Raises:
        ConfigurationError: for a number out of range, an unknown name, or nothing to train.
        DataError: if data are empty or hold NaN or infinities.
        ShapeError: if lengths differ or shapes do not fit the network.

    Note:
        Interrupted (Ctrl-C), the members keep the parameters of the last finished step.

    Example:
        >>> from hunch.nn import MLP, Ensemble, RandomizedPrior
        >>> x = torch.linspace(-1, 1, 20).reshape(-1, 1)
        >>> make = lambda: RandomizedPrior(MLP(1, [20], 1), prior=MLP(1, [20], 1))
        >>> net = Ensemble(make, num_members=10, seed=0)
        >>> history = fit(net, x, x.sin(), steps=200, lr=0.02, progress=False)
        >>> bool(history.loss[-1].mean() < 0.05 * history.loss[0].mean())
        True

    Reference:
        Osband, Aslanides & Cassirer (2018), "Randomized prior functions for deep reinforcement
        learning", algorithm 1 and its linear lemma.
    """
    _check_ensemble(ensemble)
    check_bootstrap(bootstrap)
    check_seed(seed)
    for name, value, least in (("target_noise", target_noise, 0), ("ridge", ridge, 0)):
        if not (np.isfinite(value) and value >= least):
            raise ConfigurationError(f"`{name}` got {value}; expected a number of at least 0.")
    if steps < 0:
        raise ConfigurationError(f"`steps` got {steps}; expected at least 0.")
    if not (np.isfinite(lr) and lr > 0):
        raise ConfigurationError(f"`lr` got {lr}; expected a number above 0.")
    if batch_size is not None and batch_size < 1:
        raise ConfigurationError(f"`batch_size` got {batch_size}; expected at least 1.")
    trainable = [p for p in ensemble.parameters() if p.requires_grad]
    if not trainable:
        raise ConfigurationError("`ensemble` has no trainable parameter; expected at least one.")

    x, y = as_data("x", x, ensemble), as_data("y", y, ensemble)
    n = x.shape[0]
    if y.shape[0] != n:
        raise ShapeError(
            f"`x` has {n} rows and `y` has {y.shape[0]}; expected one target for each row."
        )
    keys = np.arange(n) if ids is None else np.asarray(ids)
    if len(keys) != n:
        raise ShapeError(f"`ids` has {len(keys)} entries; expected {n}, one for each row of `x`.")
    loss_of = _loss_function(loss)
    check_targets(loss, y, output_shape(ensemble, x))

    data = _Data(ensemble, x, y, keys, bootstrap, redraw, target_noise, seed)
    forward = _Forward(ensemble, x)
    optimizer = torch.optim.Adam(trainable, lr=lr, fused=_fusible(trainable))
    losses = torch.empty(steps, ensemble.num_members)
    ensemble.train()
    refresh = max(1, steps // 200)
    with progress_bar(steps, "fitting", "step", enabled=progress) as bar:
        for step, (epoch, rows) in zip(range(steps), _batches(n, batch_size, seed), strict=False):
            weights, targets = data.batch(epoch, rows)
            each = loss_of(forward(rows), targets)
            if each.shape != weights.shape:
                raise ShapeError(
                    f"`loss` returned shape {tuple(each.shape)}; expected (members, batch) = "
                    f"{tuple(weights.shape)}."
                )
            member_loss = (each * weights).mean(dim=1)
            if ridge:
                member_loss = member_loss + (ridge / n) * _squared_norm(trainable)
            optimizer.zero_grad()
            member_loss.sum().backward()
            optimizer.step()
            losses[step] = member_loss.detach()
            if (step + 1) % refresh == 0 or step + 1 == steps:
                bar.update(step + 1 - step // refresh * refresh)
            if callback is not None:
                callback(step + 1)
    return History(losses)


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
            that broadcasts to `(members, batch, *out)`.
        classes: whether outputs are logits of classes, as after `fit(loss="cross_entropy")`.
        batch_size: rows in one pass, to bound memory; all of them if None.

    Returns:
        The predictive distribution at `x`; a `ClassPredictive` for classes.

    Raises:
        ConfigurationError: if classes are asked for with observation noise.
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
    _check_ensemble(ensemble)
    if batch_size is not None and batch_size < 1:
        raise ConfigurationError(f"`batch_size` got {batch_size}; expected at least 1.")
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
    if not classes:
        return Predictive(outputs, noise_std=noise_std)
    if isinstance(noise_std, Tensor) or noise_std:
        raise ConfigurationError(
            "`noise_std` got a value with classes=True; expected none: the noise of a class is in "
            "its probability."
        )
    return ClassPredictive(outputs)


def _check_ensemble(ensemble: object) -> None:
    if not isinstance(ensemble, Ensemble):
        raise ConfigurationError(
            f"`ensemble` got {type(ensemble).__name__}; expected a hunch.nn.Ensemble."
        )


class _Forward:
    """The members' predictions on rows of fixed training data.

    A prior never changes, so its outputs on the training data are computed once.
    """

    def __init__(self, ensemble: Ensemble, x: Tensor) -> None:
        self.x = x
        self.run: Ensemble = ensemble
        self.prior: Tensor | None = None
        if type(ensemble.skeleton) is RandomizedPrior:
            self.run = ensemble.part("model")
            with torch.no_grad():
                outputs = ensemble.part("prior")(x)
                scale = ensemble.skeleton.scale
                self.prior = outputs * scale.reshape(-1, *[1] * (outputs.ndim - 1))

    def __call__(self, rows: Tensor | None) -> Tensor:
        x = self.x if rows is None else self.x[rows]
        trained: Tensor = self.run(x)
        if self.prior is None:
            return trained
        return trained + (self.prior if rows is None else self.prior[:, rows])


class _Data:
    """Weights and targets of each member for a batch of rows."""

    def __init__(
        self,
        ensemble: Ensemble,
        x: Tensor,
        y: Tensor,
        keys: npt.NDArray[Any],
        kind: Bootstrap,
        redraw: bool,
        noise: float,
        seed: int,
    ) -> None:
        self.members, self.keys, self.kind, self.seed = ensemble.num_members, keys, kind, seed
        self.redraw, self.device = redraw and kind != "none", x.device
        # Some epochs at a time: drawing one by one costs small ensembles a tenth of their time.
        self.block = max(1, min(64, 2_000_000 // (self.members * len(keys)))) if redraw else 1
        self._draw(range(self.block))
        self.targets = y.unsqueeze(0)
        if noise:
            if not y.is_floating_point():
                raise ConfigurationError(
                    f"`target_noise` got {noise} with class numbers as targets; expected 0."
                )
            normals = standard_normals(self.members, keys, tuple(y.shape[1:]), seed=seed)
            self.targets = self.targets + noise * normals.to(y)
        self.targets = self.targets.expand(self.members, *y.shape)

    def batch(self, epoch: int, rows: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.redraw and epoch not in self.epochs:
            self._draw(range(epoch, epoch + self.block))
        weights = self.weights[epoch - self.epochs.start if self.redraw else 0]
        if rows is None:
            return weights, self.targets
        return weights[:, rows], self.targets[:, rows]

    def _draw(self, epochs: range) -> None:
        weights = weights_of_epochs(self.kind, self.members, self.keys, epochs, seed=self.seed)
        self.weights, self.epochs = weights.to(self.device), epochs


def _batches(n: int, batch_size: int | None, seed: int) -> Iterator[tuple[int, Tensor | None]]:
    """Endless (epoch, rows); rows None stands for all data in their order."""
    epoch = 0
    while True:
        if batch_size is None or batch_size >= n:
            yield epoch, None
        else:
            order = numpy_generator(seed, "batches", epoch).permutation(n)
            for rows in torch.from_numpy(order).split(batch_size):
                yield epoch, rows
        epoch += 1


def _loss_function(loss: Loss) -> LossFunction:
    if callable(loss):
        return loss
    try:
        return {"mse": _squared_error, "cross_entropy": _cross_entropy}[loss]
    except KeyError:
        raise ConfigurationError(
            f"`loss` got {loss!r}; expected 'mse', 'cross_entropy' or a function."
        ) from None


def _squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction - target).square().flatten(2).sum(dim=2)


def _cross_entropy(prediction: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(prediction.movedim(-1, 1), target, reduction="none")


def _squared_norm(parameters: list[torch.nn.Parameter]) -> Tensor:
    return torch.stack([p.square().flatten(1).sum(dim=1) for p in parameters]).sum(dim=0)


def _fusible(parameters: list[torch.nn.Parameter]) -> bool:
    """Whether torch has one fused Adam kernel for these, three times faster on small networks."""
    return all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters)
