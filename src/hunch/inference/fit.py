"""Train all members of an ensemble, or an epinet, at once."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

import torch
from torch import Tensor

from hunch.errors import ConfigurationError
from hunch.inference.bootstrap import Bootstrap, Ids, check_bootstrap
from hunch.inference.checkpoint import Checkpoint, fingerprint, named
from hunch.inference.data import check_ensemble
from hunch.inference.history import History
from hunch.inference.indices import IndexedMembers, as_members
from hunch.inference.losses import Loss, loss_function
from hunch.inference.optimizers import OptimizerOf, ScheduleOf
from hunch.inference.parts import Plan, part_of
from hunch.inference.sources import Recipe
from hunch.inference.together import Together
from hunch.inference.training import PerMember, check_not_diverged, per_member
from hunch.nn import Ensemble, Epinet
from hunch.nn.heads import head_of
from hunch.nn.inputs import Data, Loader, as_data, check_loader, is_loader
from hunch.nn.ranks import Share
from hunch.progress import progress_bar
from hunch.seeding import check_seed
from hunch.validation import real_number, shown, whole_number

Callback = Callable[[int, Tensor], object]
_LR = 1e-3
_CHECKPOINTS: Final = 20


def fit(
    ensemble: Ensemble | Epinet,
    x: Data | Loader,
    y: Data | None = None,
    *,
    loss: Loss = "mse",
    bootstrap: Bootstrap | None = None,
    redraw: bool = False,
    target_noise: float = 0.0,
    ridge: PerMember = 0.0,
    steps: int = 1000,
    batch_size: int | None = None,
    lr: PerMember = _LR,
    optimizer: OptimizerOf | None = None,
    schedule: ScheduleOf | None = None,
    max_gradient_norm: float | None = None,
    validation: tuple[Data, Data] | Loader | None = None,
    patience: int | None = None,
    patience_growth: float = 0.0,
    weight: Data | None = None,
    ids: Ids | None = None,
    num_indices: int | None = None,
    seed: int = 0,
    progress: bool = True,
    callback: Callback | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
) -> History:
    """Train all members together, one optimizer step for all.

    Member k minimises, with bootstrap weights w and targets ỹ = y + target_noise · ε (ε one fixed
    standard normal draw for each member and datum),

        (1/n) Σ_i v_i w_ki loss(f_k(x_i), ỹ_ki) + (ridge/n) |θ_k|²,   θ_k what is trained,

    and v_i the datum's own `weight`.

    The total is the sum over members, so each member trains as it would alone, by Adam or by an
    `optimizer` that moves each number by its own gradient, as nearly all do.

    Which recipe is Bayes: for a model linear in its parameters with a `RandomizedPrior` whose
    weights are drawn from N(0, λ), `bootstrap="none"`, `target_noise=σ` and `ridge=σ²/λ` make each
    member an exact draw from the posterior. Any row bootstrap is another distribution, often wider.

    An `Epinet` has one θ for all members. Each step draws members anew, as indices z, and takes the
    mean of their losses; the noise of a datum is a fixed function of z, so that z learns from the
    same targets whenever it comes.

    Args:
        ensemble: what is trained, in place.
        x: inputs `(data, …)`; floating-point data take the network's type and device. Or, with `y`
            left out, a loader: a torch `DataLoader`, a list, or whatever else gives batches
            `(x, y)` or `(x, y, ids)` anew each time it is gone through.
        y: targets `(data, *out)`, of the network's output shape; for `"cross_entropy"` class
            numbers `(data,)`.
        loss: `"mse"` (squared error, summed over outputs), `"cross_entropy"`; for a network that
            ends with a `GaussianHead` `"gaussian_nll"` or `"beta_nll"`, with a `QuantileHead`
            `"quantile"`; or a function of predictions and targets, both `(members, batch, …)`, that
            returns `(members, batch)`.
        bootstrap: how members' data differ; see `bootstrap_weights`. None is `"multinomial"` for an
            ensemble and `"none"` for an epinet, which knows no other. With a loader a bootstrap and
            `target_noise` need ids, and None is `"poisson"` with them, `"none"` without.
        redraw: draw the bootstrap anew each epoch, rather than once.
        target_noise: standard deviation σ of the noise on the targets, in units of y.
        ridge: weight of the pull towards zero, in units of the loss summed over data; one number
            or one a member.
        steps: optimizer steps. At a loader's end the next step begins it anew: `len(loader)` steps
            are one pass, an epoch.
        batch_size: data in a step; all of them if None. A loader has its own.
        lr: Adam's learning rate; one number or one a member.
        optimizer: a function of the list of parameters that makes a torch optimizer, such as
            `lambda p: torch.optim.SGD(p, lr=0.1)`, in the place of Adam.
        schedule: a function of the optimizer that makes a torch `LRScheduler`, which moves after
            each step.
        max_gradient_norm: longer gradients are shortened to this norm, each member's for itself.
        validation: data `(x, y)` to be watched and not trained on, or a loader of batches
            `(x, y)`; asked in eval mode after each epoch.
        patience: stop once the loss on `validation`, or without that the out-of-bag loss, averaged
            over members, has not fallen for this many epochs, and go back to the parameters where
            it was least; never if None.
        patience_growth: how much longer `patience` lasts in a long training, which gets ever less
            from an epoch: at least this share of the epochs so far, between 0 and 1.
        weight: how much each datum counts, `(data,)`, at least 0; a weight of 2 is a datum twice.
            In batches a datum of more than twice the mean weight comes several times an epoch.
        ids: one integer for each datum, to which its weights and noise are tied; its position if
            None. A loader gives its own.
        num_indices: members drawn for each step of an epinet; 16 if None.
        seed: decides batches, weights, noise and indices.
        progress: show a bar on standard error once training has lasted two seconds.
        callback: called after each step with the number of steps done and each member's loss
            before that step, `(members,)`; if it returns anything true, training ends.
        checkpoint: a folder of this training alone. What a killed process left there is gone on
            from, to the same bits, by the same call; an ended training is not made again. Random
            numbers of a forward, such as dropout's, are then drawn by `seed` and step, and those of
            a loader have to be the same each time. None writes nothing.
        checkpoint_every: steps from one checkpoint to the next; a twentieth of `steps` if None.

    Returns:
        The losses, of the steps that were made; of a divided ensemble those of this process's
        members.

    Raises:
        ConfigurationError: for a number out of range, an unknown name, nothing to train, or a
            loader that can be gone through only once; or if the checkpoint is of another training.
        DataError: if data are empty or hold NaN or infinities, or a weight is negative; or if a
            member diverges, whose parameters are then NaN or infinite.
        ShapeError: if lengths differ or shapes do not fit the network.

    Note:
        Interrupted (Ctrl-C), the members keep the parameters of the last finished step.

        Members that are divided among processes (`Ensemble(…, ranks=Ranks())`) are trained without
        a word between these but for `patience` and `validation`, whose losses are of all members,
        and `callback`: it gets the losses of its own process's members, and ends training for all.
        One number a member in `lr` and `ridge` is of all members.

        Ensembles of small plain networks on a CPU are trained by the compiled kernel, if hunch was
        installed with it and data, optimizer and schedule are not your own; their losses are
        torch's up to rounding. See `Ensemble`'s `engine`.

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
        learning", algorithm 1 and its linear lemma; Osband et al. (2023), "Epistemic neural
        networks", section 4; Seitzer, Tavakoli, Antic & Martius (2022), "On the pitfalls of
        heteroscedastic uncertainty estimation with probabilistic neural networks", eq. 5 with
        β = 0.5, for `"beta_nll"`.
    """
    check_ensemble(ensemble)
    check_seed(seed)
    _check_numbers(target_noise, steps, batch_size, max_gradient_norm, patience)
    real_number("patience_growth", patience_growth, at_least=0.0, below=1.0)
    _check_callback(callback)
    every = _check_every(checkpoint, checkpoint_every, steps)
    shared = isinstance(ensemble, Epinet)
    if bootstrap is not None:
        check_bootstrap(bootstrap)
    members = as_members(ensemble, "num_indices", num_indices, seed=seed, purpose="training")
    unwatched = patience if validation is None else None
    if shared:
        _check_shared(bootstrap or "none", redraw, unwatched, lr, ridge)
        bootstrap = "none"
    trainable = [p for p in ensemble.parameters() if p.requires_grad]
    if not trainable:
        raise ConfigurationError("`ensemble` has no trainable parameter; expected at least one.")
    share = ensemble._share if isinstance(ensemble, Ensemble) else None
    total = members.num_members if share is None else share.total
    rates, pulls = _rates_and_pulls(lr, ridge, trainable[0], None if shared else total)
    loss_of = loss_function(loss, head_of(members.skeleton))
    if optimizer is not None or schedule is not None:
        _own_rate(rates, given=optimizer is not None)
    if y is None or (is_loader(x) and not isinstance(x, list | tuple)):
        _check_loaded(x, y, weight=weight, ids=ids, batch_size=batch_size, patience=unwatched)
        y = None
    elif share is not None:  # once for all blocks
        x, y = as_data("x", cast("Data", x), ensemble), as_data("y", y, ensemble)
    plan = Plan(
        x=x,
        y=y,
        recipe=Recipe(bootstrap, redraw, target_noise, loss, seed),
        loss=loss_of,
        rates=rates,
        pulls=pulls,
        optimizer=optimizer,
        schedule=schedule,
        max_gradient_norm=max_gradient_norm,
        validation=validation,
        weight=weight,
        ids=ids,
        batch_size=batch_size,
        total=total,
        one_by_one=callback is not None or validation is not None,
        chance=seed if share is not None or checkpoint is not None else None,
    )
    losses = torch.empty(steps, members.num_members)
    blocks = list(_blocks_of(ensemble, members))
    first = blocks[0][0].start
    parts = [
        part_of(plan, net, asked, own, losses[:, own.start - first : own.stop - first])
        for own, net, asked in blocks
    ]
    look = every if callback is None else 1
    together = Together(parts, share, patience, patience_growth, steps, look)
    kept, done, over = None, 0, False
    if checkpoint is not None:
        asked_for = _asked_for(plan, share, patience, patience_growth, num_indices)
        kept = Checkpoint(checkpoint, asked_for, together, total, share)
        done, over = kept.resume()
    start, own_progress = done, progress and (share is None or share.ranks.rank == 0)
    try:
        for _, net, _ in blocks:
            net.train()
        members.train()
        with progress_bar(steps, "fitting", "step", enabled=own_progress) as bar:
            bar.update(start)
            for done, more in () if over or start == steps else together.made(start):
                if more:
                    bar.update(more)
                over = together.is_over_by_bag(done)
                last = done - over  # the losses that said so are of before the last step
                ended = together.watched and (together.ended_epoch(done) or done == steps)
                if ended and together.is_over_by_watched():
                    over = True
                if callback is not None:
                    over |= together.is_over_by_call(bool(callback(done, losses[done - 1])))
                done = last
                if over:
                    break
                if kept is not None and every is not None and done % every == 0 and done < steps:
                    kept.write(done, over=False)
        if kept is not None and (done > start or start == 0):
            kept.write(done, over=done < steps)
        if together.stopping is not None:
            together.stopping.restore()
    finally:
        if isinstance(ensemble, Ensemble):
            for own, net, _ in blocks:
                ensemble._take_over(own, cast("Ensemble", net))
    check_not_diverged(trainable, done)
    if validation is not None:
        return History(losses[:done], validation=together.validation)
    stopping = together.stopping
    return History(losses[:done], torch.tensor([] if stopping is None else stopping.losses))


def _blocks_of(
    ensemble: Ensemble | Epinet, members: Ensemble | IndexedMembers
) -> Iterator[tuple[range, Ensemble | Epinet, Ensemble | IndexedMembers]]:
    """What is trained apart: which members, the network that is trained, and who is asked."""
    if isinstance(ensemble, Epinet):
        yield range(members.num_members), ensemble, members
        return
    for numbers, block in ensemble._blocks():
        yield numbers, block, block


def _asked_for(
    plan: Plan,
    share: Share | None,
    patience: int | None,
    growth: float,
    num_indices: int | None,
) -> dict[str, Any]:
    """What makes one training another one, for its checkpoints."""
    recipe = plan.recipe
    values = {
        "loss": recipe.loss,
        "bootstrap": recipe.bootstrap,
        "redraw": recipe.redraw,
        "target_noise": recipe.target_noise,
        "seed": recipe.seed,
        "lr": plan.rates,
        "ridge": plan.pulls,
        "batch_size": plan.batch_size,
        "optimizer": plan.optimizer,
        "schedule": plan.schedule,
        "max_gradient_norm": plan.max_gradient_norm,
        "patience": patience,
        "patience_growth": growth,
        "num_indices": num_indices,
        "num_members": plan.total,
        "block": None if share is None else share.block,
    }
    data = fingerprint(plan.x, plan.y, plan.weight, plan.ids, plan.validation)
    return {name: named(value) for name, value in values.items()} | {"data": data}


def _check_every(checkpoint: object, every: int | None, steps: int) -> int | None:
    """Steps from one checkpoint to the next; None for no such steps."""
    if checkpoint is None:
        if every is not None:
            raise ConfigurationError(
                f"`checkpoint_every` got {every} without a `checkpoint`; expected a folder there."
            )
        return None
    if every is None:
        return max(1, steps // _CHECKPOINTS)
    return whole_number("checkpoint_every", every, at_least=1)


def _check_callback(callback: object) -> None:
    if callback is None:
        return
    if not callable(callback):
        raise ConfigurationError(
            f"`callback` got {type(callback).__name__}; expected a function of (step, losses)."
        )
    try:
        inspect.signature(callback).bind(1, torch.empty(0))
    except TypeError:
        raise ConfigurationError(
            "`callback` does not take two arguments; expected a function of (step, losses): the "
            "number of steps done, and each member's loss before the last of them."
        ) from None
    except ValueError:  # of a function in C that does not say what it takes
        return


def _check_loaded(x: object, y: object, **apart: object) -> None:
    """Refuse what is no loader, and what a loader has no use for."""
    if isinstance(x, Tensor) or hasattr(x, "__array__"):
        raise ConfigurationError(
            "`y` is missing; expected targets beside `x`, or in the place of both a loader of "
            "batches (x, y)."
        )
    if y is not None:
        raise ConfigurationError(
            f"`y` got {type(y).__name__} beside a loader; expected none: the targets are in the "
            "loader's batches (x, y)."
        )
    check_loader("x", x)
    instead = {
        "weight": "leave it out, or repeat data",
        "ids": "put them into the batches: (x, y, ids)",
        "batch_size": "batches are the loader's",
        "patience": "give `validation` too, whose loss it then waits for",
    }
    for name, value in apart.items():
        if value is not None:
            got = shown(value) if isinstance(value, int) else type(value).__name__
            raise ConfigurationError(f"`{name}` got {got} with a loader; {instead[name]}.")


def _own_rate(rates: float | Tensor, *, given: bool) -> float:
    """The learning rate beside an optimizer or a schedule of the user's own."""
    if isinstance(rates, Tensor):
        raise ConfigurationError(
            "`lr` got one number a member beside an optimizer or a schedule; expected one number."
        )
    if given and rates != _LR:
        raise ConfigurationError(
            f"`lr` got {rates} beside an optimizer; expected it there, such as "
            f"`lambda p: torch.optim.SGD(p, lr={rates})`."
        )
    return rates


def _check_shared(
    bootstrap: Bootstrap, redraw: bool, patience: int | None, lr: PerMember, ridge: PerMember
) -> None:
    """Refuse for an epinet what only members with parameters of their own can do."""
    asked = {
        "bootstrap": None if bootstrap == "none" else bootstrap,
        "redraw": redraw or None,
        "patience": patience,
    }
    for name, value in asked.items():
        if value is not None:
            raise ConfigurationError(
                f"`{name}` got {value!r} for an epinet; expected none: its members share one set "
                "of parameters and all data. Let them differ by `target_noise`."
            )
    for name, number in (("lr", lr), ("ridge", ridge)):
        if not isinstance(number, int | float):
            raise ConfigurationError(
                f"`{name}` got {type(number).__name__} for an epinet; expected one number: its "
                "members share one set of parameters."
            )


def _check_numbers(
    target_noise: float,
    steps: int,
    batch_size: int | None,
    max_gradient_norm: float | None,
    patience: int | None,
) -> None:
    real_number("target_noise", target_noise, at_least=0.0)
    whole_number("steps", steps, at_least=0)
    for name, value in (("batch_size", batch_size), ("patience", patience)):
        if value is not None:
            whole_number(name, value, at_least=1)
    if max_gradient_norm is not None and not max_gradient_norm > 0:
        raise ConfigurationError(
            f"`max_gradient_norm` got {max_gradient_norm}; expected a number above 0."
        )


def _rates_and_pulls(
    lr: PerMember, ridge: PerMember, parameter: Tensor, members: int | None
) -> tuple[float | Tensor, float | Tensor]:
    rates = per_member("lr", lr, parameter, members)
    pulls = per_member("ridge", ridge, parameter, members)
    every_rate, every_pull = torch.as_tensor(rates), torch.as_tensor(pulls)
    if not bool((every_rate.isfinite() & (every_rate > 0)).all()):
        raise ConfigurationError(f"`lr` got {lr}; expected a number above 0.")
    if not bool((every_pull.isfinite() & (every_pull >= 0)).all()):
        raise ConfigurationError(f"`ridge` got {ridge}; expected a number of at least 0.")
    return rates, pulls
