"""How the estimators' ensembles are built, trained and asked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from hunch.inference import OutOfBag, bootstrap_weights, fit, predict
from hunch.inference.bootstrap import Bootstrap, Ids
from hunch.inference.losses import Loss
from hunch.nn import MLP, Ensemble, RandomizedPrior
from hunch.nn.compiled_outputs import mean_compiled, outputs_compiled
from hunch.nn.ranks import Ranks, ranks_for
from hunch.seeding import torch_generator

_PATIENCE_GROWTH = 0.25
_FINER = 0.2  # times the learning rate, in the second stage of a training
_AT_ONCE = 2**14  # rows times members in one pass, which the cache holds


@dataclass(frozen=True)
class Recipe:
    """What decides how members are trained.

    Args:
        num_members: K.
        hidden_sizes: width of each hidden layer.
        activation: between the layers.
        prior_scale: of the priors, in units of the scaled targets; None for members without.
        bootstrap: which member sees which datum.
        ridge: as in `hunch.inference.fit`.
        batch_size: rows in a step; None chooses.
        lr: learning rate.
        epochs: at most; None chooses.
        patience: epochs; None trains all of them, `"auto"` chooses.
        seed: decides everything.
        progress: show a bar.
        finer: whether to go on with a smaller learning rate where patience has ended.
        ranks: processes among which members are divided in training; None for one.
    """

    num_members: int
    hidden_sizes: tuple[int, ...]
    activation: str | Callable[[], nn.Module]
    prior_scale: float | None
    bootstrap: Bootstrap
    ridge: float
    batch_size: int | None
    lr: float
    epochs: int | None
    patience: int | Literal["auto"] | None
    seed: int
    progress: bool
    finer: bool = True
    ranks: Ranks | None = None

    def weights(self, ids: Ids) -> Tensor:
        """Which member saw which datum, `(members, data)`."""
        return bootstrap_weights(self.bootstrap, self.num_members, ids, seed=self.seed)


def build(recipe: Recipe, in_features: int, out_features: int) -> Ensemble:
    """Untrained members whose mean is the training mean everywhere, up to an odd member.

    Each network ends in a layer of zeros, and priors come in pairs of opposite sign. A member is
    what it would be without that; only their mean, the prediction, is rid of the priors' average,
    which would be noise.

    Example:
        >>> recipe = Recipe(4, (9,), "relu", 1.0, "poisson", 0.0, None, 0.01, 5, None, 0, False)
        >>> net = build(recipe, 2, 1)
        >>> bool(net(torch.ones(3, 2)).mean(0).abs().max() < 1e-6)
        True
    """
    generator = torch_generator(recipe.seed, "members")
    sizes = list(recipe.hidden_sizes)

    def network() -> MLP:
        return MLP(
            in_features, sizes, out_features, activation=recipe.activation, generator=generator
        )

    members: list[nn.Module] = []
    prior = network()
    for k in range(recipe.num_members):
        model = network()
        _multiply_last(model, 0.0)
        if recipe.prior_scale is None:
            members.append(model)
            continue
        if k % 2:
            _multiply_last(prior, -1.0)
        else:
            prior = network()
        members.append(RandomizedPrior(model, prior, recipe.prior_scale))
    return Ensemble.from_modules(members)


def rebuilt(
    recipe: Recipe, in_features: int, out_features: int, state: Mapping[str, Tensor]
) -> Ensemble:
    """The trained members of which `state` is the state."""
    one = build(dataclasses.replace(recipe, num_members=1), in_features, out_features)
    return Ensemble.from_state_dict(one.member(0).double(), state)


def _multiply_last(network: MLP, factor: float) -> None:
    last = network[-1]
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.mul_(factor)


def train(
    ensemble: Ensemble,
    recipe: Recipe,
    x: Tensor,
    y: Tensor,
    weight: Tensor | None,
    loss: Loss,
    *,
    ids: Ids,
) -> list[float]:
    """Train members in place, in float32, and leave them in float64 to be asked.

    Where they are divided among processes, all of these have all members before and after.

    Args:
        ensemble: the members.
        recipe: how.
        x: scaled features `(data, features)`.
        y: what `loss` takes.
        weight: of each datum, or None.
        loss: what `hunch.inference.fit` takes.
        ids: one number for each datum, to which its bootstrap draw is tied.

    Returns:
        The training loss of each epoch, averaged over members.
    """
    n = len(x)
    batch_size = recipe.batch_size or default_batch_size(n)
    per_epoch = math.ceil(n / batch_size)
    steps = (recipe.epochs or default_epochs(n)) * per_epoch
    # One member, or a handful of rows, may leave nothing out to stop on.
    left_out = bool((recipe.weights(ids) == 0).any())
    patience = default_patience(n) if recipe.patience == "auto" else recipe.patience
    patience = patience if left_out else None
    own = ensemble.float()
    if recipe.ranks is not None:
        own = own.divided(ranks_for(recipe.ranks, ensemble.num_members))
    go_on = partial(
        fit,
        own,
        x.float(),
        y.float() if y.is_floating_point() else y,
        loss=loss,
        bootstrap=recipe.bootstrap,
        ridge=recipe.ridge,
        batch_size=batch_size,
        patience_growth=_PATIENCE_GROWTH,
        weight=None if weight is None else weight.float(),
        ids=ids,
        seed=recipe.seed,
        progress=recipe.progress,
    )
    losses = go_on(steps=steps, lr=recipe.lr, patience=patience).loss
    if recipe.finer and patience is not None and len(losses) < steps:
        # Steps as long as before leap over what is left to gain.
        half = max(patience // 2, 1)
        rest = go_on(steps=steps - len(losses), lr=_FINER * recipe.lr, patience=half).loss
        losses = torch.cat([losses, rest])
    if own is not ensemble:
        ensemble.load_state_dict(own.gathered().state_dict())
        losses = own._gathered_rows(losses.T).T
    ensemble.double()
    by_step = losses.double().mean(dim=1)
    return [float(part.mean()) for part in by_step.split(per_epoch)]


def default_batch_size(num_data: int) -> int:
    """24 steps an epoch for small tables, 256 rows a step for large ones.

    Example:
        >>> default_batch_size(20), default_batch_size(480), default_batch_size(80_000)
        (8, 20, 256)
    """
    return min(max(num_data // 24, 8), 256)


def default_epochs(num_data: int) -> int:
    """1,000, and fewer for larger tables, where an epoch has many steps.

    Example:
        >>> default_epochs(400), default_epochs(10_000), default_epochs(1_000_000)
        (1000, 100, 10)
    """
    return min(max(1_000_000 // num_data, 10), 1_000)


def default_patience(num_data: int) -> int:
    """20 epochs, and fewer beyond 4,000 rows, down to 12.

    A network that has found the straight part of the data may rest there for some hundred steps.

    Example:
        >>> default_patience(400), default_patience(5_000), default_patience(100_000)
        (20, 16, 12)
    """
    return min(max(80_000 // num_data, 12), 20)


def members_at(ensemble: Ensemble, x: Tensor) -> Tensor:
    """All members' outputs, `(members, batch, out)`.

    The compiled kernel computes in float32; a row for which its numbers are too large is asked
    again in float64.
    """
    said = outputs_compiled(ensemble, x, keep=True)
    if said is not None:
        lost = ~said.isfinite().all(dim=2).all(dim=0)
        if lost.any():
            said[:, lost] = predict(ensemble, x[lost], batch_size=_rows_at_once(ensemble)).members
        return said
    return predict(ensemble, x, batch_size=_rows_at_once(ensemble)).members


def mean_at(ensemble: Ensemble, x: Tensor) -> Tensor:
    """The mean of what `members_at` returns, `(batch, out)`."""
    said = mean_compiled(ensemble, x, keep=True)
    if said is None:
        return members_at(ensemble, x).mean(dim=0)
    lost = ~said.isfinite().all(dim=1)
    if lost.any():
        said[lost] = members_at(ensemble, x[lost]).mean(dim=0)
    return said


def absentees_at(
    ensemble: Ensemble,
    x: Tensor,
    weights: Tensor,
    say: Callable[[Tensor], Tensor] = lambda outputs: outputs,
) -> Iterator[OutOfBag]:
    """Part by part, what members say about the data they did not see.

    Args:
        ensemble: the members.
        x: scaled features `(data, features)`.
        weights: what the members were trained with, `(members, data)`.
        say: what to make of outputs before they are averaged.
    """
    size = _rows_at_once(ensemble)
    for rows, part in zip(x.split(size), weights.split(size, dim=1), strict=True):
        yield OutOfBag(say(members_at(ensemble, rows)), part == 0)


def _rows_at_once(ensemble: Ensemble) -> int:
    """How many rows all members may be asked about in one pass."""
    return max(1, _AT_ONCE // ensemble.num_members)
