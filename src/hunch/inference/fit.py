"""Train all members of an ensemble, or an epinet, at once."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hunch.errors import ConfigurationError, DataError, ShapeError
from hunch.inference.bootstrap import Bootstrap, Ids, check_bootstrap
from hunch.inference.compiled import Chain, CompiledTraining, chain_of, made_by
from hunch.inference.data import Data, as_data, check_ensemble, check_targets, output_shape
from hunch.inference.history import History
from hunch.inference.indices import IndexedData, IndexedMembers, as_members
from hunch.inference.losses import Loss, loss_function
from hunch.inference.training import (
    EarlyStopping,
    MemberAdam,
    MemberData,
    PerMember,
    as_evidence,
    batches,
    check_not_diverged,
    forward_on,
    per_member,
    squared_norm,
    times_an_epoch,
)
from hunch.nn import Ensemble, Epinet
from hunch.nn.heads import head_of
from hunch.progress import progress_bar
from hunch.seeding import check_seed
from hunch.validation import real_number, whole_number


def fit(
    ensemble: Ensemble | Epinet,
    x: Data,
    y: Data,
    *,
    loss: Loss = "mse",
    bootstrap: Bootstrap | None = None,
    redraw: bool = False,
    target_noise: float = 0.0,
    ridge: PerMember = 0.0,
    steps: int = 1000,
    batch_size: int | None = None,
    lr: PerMember = 1e-3,
    max_gradient_norm: float | None = None,
    patience: int | None = None,
    patience_growth: float = 0.0,
    weight: Data | None = None,
    ids: Ids | None = None,
    num_indices: int | None = None,
    seed: int = 0,
    progress: bool = True,
    callback: Callable[[int], object] | None = None,
) -> History:
    """Train all members together, one optimizer step for all.

    Member k minimises, with bootstrap weights w and targets ỹ = y + target_noise · ε (ε one fixed
    standard normal draw for each member and datum),

        (1/n) Σ_i v_i w_ki loss(f_k(x_i), ỹ_ki) + (ridge/n) |θ_k|²,   θ_k what is trained,

    and v_i the datum's own `weight`.

    The total is the sum over members, so each member trains as it would alone, by Adam.

    Which recipe is Bayes: for a model linear in its parameters with a `RandomizedPrior` whose
    weights are drawn from N(0, λ), `bootstrap="none"`, `target_noise=σ` and `ridge=σ²/λ` make each
    member an exact draw from the posterior. Any row bootstrap is another distribution, often wider.

    An `Epinet` has one θ for all members. Each step draws members anew, as indices z, and takes the
    mean of their losses; the noise of a datum is a fixed function of z, so that z learns from the
    same targets whenever it comes.

    Args:
        ensemble: what is trained, in place.
        x: inputs `(data, …)`; floating-point data take the network's type and device.
        y: targets `(data, *out)`, of the network's output shape; for `"cross_entropy"` class
            numbers `(data,)`.
        loss: `"mse"` (squared error, summed over outputs), `"cross_entropy"`; for a network that
            ends with a `GaussianHead` `"gaussian_nll"` or `"beta_nll"`, with a `QuantileHead`
            `"quantile"`; or a function of predictions and targets, both `(members, batch, …)`, that
            returns `(members, batch)`.
        bootstrap: how members' data differ; see `bootstrap_weights`. None is `"multinomial"` for an
            ensemble and `"none"` for an epinet, which knows no other.
        redraw: draw the bootstrap anew each epoch, rather than once.
        target_noise: standard deviation σ of the noise on the targets, in units of y.
        ridge: weight of the pull towards zero, in units of the loss summed over data; one number
            or one a member.
        steps: optimizer steps.
        batch_size: data in a step; all of them if None.
        lr: Adam's learning rate; one number or one a member.
        max_gradient_norm: longer gradients are shortened to this norm, each member's for itself.
        patience: stop once the out-of-bag loss, averaged over members, has not fallen for this many
            epochs, and go back to the parameters where it was least; never if None.
        patience_growth: how much longer `patience` lasts in a long training, which gets ever less
            from an epoch: at least this share of the epochs so far, between 0 and 1.
        weight: how much each datum counts, `(data,)`, at least 0; a weight of 2 is a datum twice.
            In batches a datum of more than twice the mean weight comes several times an epoch.
        ids: one integer for each datum, to which its weights and noise are tied; its position if
            None.
        num_indices: members drawn for each step of an epinet; 16 if None.
        seed: decides batches, weights, noise and indices.
        progress: show a bar on standard error once training has lasted two seconds.
        callback: called with the number of steps done, after each.

    Returns:
        The losses.

    Raises:
        ConfigurationError: for a number out of range, an unknown name, or nothing to train.
        DataError: if data are empty or hold NaN or infinities, or a weight is negative; or if a
            member diverges, whose parameters are then NaN or infinite.
        ShapeError: if lengths differ or shapes do not fit the network.

    Note:
        Interrupted (Ctrl-C), the members keep the parameters of the last finished step.

        Ensembles of small plain networks on a CPU are trained by the compiled kernel, if hunch was
        installed with it; their losses are torch's up to rounding. See `Ensemble`'s `engine`.

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
    shared = isinstance(ensemble, Epinet)
    if bootstrap is None:
        bootstrap = "none" if shared else "multinomial"
    check_bootstrap(bootstrap)
    members = as_members(ensemble, "num_indices", num_indices, seed=seed, purpose="training")
    if shared:
        _check_shared(bootstrap, redraw, patience, lr, ridge)
    trainable = [p for p in ensemble.parameters() if p.requires_grad]
    if not trainable:
        raise ConfigurationError("`ensemble` has no trainable parameter; expected at least one.")
    rates, pulls = _rates_and_pulls(lr, ridge, trainable[0])

    x, y = as_data("x", x, ensemble), as_data("y", y, ensemble)
    n = x.shape[0]
    if y.shape[0] != n:
        raise ShapeError(
            f"`x` has {n} rows and `y` has {y.shape[0]}; expected one target for each row."
        )
    keys = _keys(ids, n)
    importance = None if weight is None else _importance(as_data("weight", weight, ensemble), n)
    loss_of = loss_function(loss, head_of(members.skeleton))
    check_targets(loss, y, output_shape(members, x))
    if target_noise and not y.is_floating_point():
        raise ConfigurationError(
            f"`target_noise` got {target_noise} with class numbers as targets; expected 0."
        )

    data: MemberData | IndexedData
    if isinstance(members, IndexedMembers):
        data = IndexedData(members, y, keys, target_noise, seed)
    else:
        data = MemberData(members, x, y, keys, bootstrap, redraw, target_noise, seed)
    stopping = None
    if patience is not None and isinstance(data, MemberData):
        _check_out_of_bag(data, redraw)
        per_epoch = 1 if batch_size is None else math.ceil(n / batch_size)
        stopping = EarlyStopping(trainable, patience, per_epoch, patience_growth)
    evidence = None if importance is None else as_evidence(importance)
    entries = None
    if importance is not None and evidence is not None and batch_size and batch_size < n:
        times = times_an_epoch(importance)
        entries = torch.arange(n).repeat_interleave(times.cpu())
        share = len(entries) / n / times
        importance, evidence = importance * share, evidence * share
    pull = pulls / n if isinstance(pulls, Tensor) or pulls > 0 else None
    losses = torch.empty(steps, members.num_members)
    order = batches(n, batch_size, seed, entries)
    chain = _chain(members, x, loss) if isinstance(members, Ensemble) else None
    if chain is not None and isinstance(members, Ensemble) and isinstance(data, MemberData):
        compiled = CompiledTraining(
            chain, members, x, data, loss, importance, evidence, rates, pull, max_gradient_norm
        )
        at_once = compiled.steps_at_once(min(batch_size or n, n)) if callback is None else 1
        members.train()
        with progress_bar(steps, "fitting", "step", enabled=progress) as bar:
            done = 0
            for done, more in made_by(compiled, order, losses, stopping, at_once):
                bar.update(more)
                if callback is not None:
                    callback(done)
        return _ended(losses, done, trainable, stopping)
    done = 0
    forward = forward_on(members, x)
    optimizer = MemberAdam(trainable, rates, max_gradient_norm, shared=shared)
    members.train()
    refresh = max(1, steps // 200)
    with progress_bar(steps, "fitting", "step", enabled=progress) as bar:
        for step, (epoch, rows) in zip(range(steps), order, strict=False):
            weights, targets = data.batch(epoch, rows)
            each = loss_of(forward(rows), targets)
            if each.shape != weights.shape:
                raise ShapeError(
                    f"`loss` returned shape {tuple(each.shape)}; expected (members, batch) = "
                    f"{tuple(weights.shape)}."
                )
            if stopping is not None:
                counted = each if evidence is None else each * _of(evidence, rows)
                if stopping.is_over(counted, weights):
                    break
            if importance is not None:
                each = each * _of(importance, rows)
            member_loss = (each * weights).mean(dim=1)
            losses[step] = member_loss.detach()
            if pull is not None:  # its gradient needs no graph
                with torch.no_grad():
                    losses[step] += pull * squared_norm(trainable, shared=shared)
            optimizer.step(member_loss.mean() if shared else member_loss.sum(), pull)
            done = step + 1
            if done % refresh == 0 or done == steps:
                check_not_diverged([losses[done - 1 - step % refresh : done]], done)
                bar.update(done - step // refresh * refresh)
            if callback is not None:
                callback(done)
    return _ended(losses, done, trainable, stopping)


def _chain(ensemble: Ensemble, x: Tensor, loss: Loss) -> Chain | None:
    """What the kernel is to train; None where torch is to."""
    if ensemble.engine not in ("auto", "kernel"):
        return None
    chain = chain_of(ensemble, x, loss)
    if ensemble.engine == "auto":
        return chain if isinstance(chain, Chain) and chain.wins else None
    if isinstance(chain, str):
        raise ConfigurationError(
            f"`engine='kernel'` cannot train with {chain}; expected engine='auto', which takes "
            "torch there."
        )
    return chain


def _ended(
    losses: Tensor,
    done: int,
    trainable: list[torch.nn.Parameter],
    stopping: EarlyStopping | None,
) -> History:
    if stopping is None:
        check_not_diverged(trainable, done)
        return History(losses)
    stopping.restore()
    check_not_diverged(stopping.parameters, done)
    return History(losses[:done], torch.tensor(stopping.losses))


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
    lr: PerMember, ridge: PerMember, parameter: Tensor
) -> tuple[float | Tensor, float | Tensor]:
    rates, pulls = per_member("lr", lr, parameter), per_member("ridge", ridge, parameter)
    every_rate, every_pull = torch.as_tensor(rates), torch.as_tensor(pulls)
    if not bool((every_rate.isfinite() & (every_rate > 0)).all()):
        raise ConfigurationError(f"`lr` got {lr}; expected a number above 0.")
    if not bool((every_pull.isfinite() & (every_pull >= 0)).all()):
        raise ConfigurationError(f"`ridge` got {ridge}; expected a number of at least 0.")
    return rates, pulls


def _keys(ids: Ids | None, n: int) -> npt.NDArray[np.integer]:
    keys = np.arange(n) if ids is None else np.asarray(ids)
    if len(keys) != n:
        raise ShapeError(f"`ids` has {len(keys)} entries; expected {n}, one for each row of `x`.")
    return keys


def _importance(weight: Tensor, n: int) -> Tensor:
    if weight.shape != (n,):
        raise ShapeError(
            f"`weight` got shape {tuple(weight.shape)}; expected ({n},), one for each row of `x`."
        )
    if bool((weight < 0).any()):
        raise DataError("`weight` holds negative values; expected at least 0.")
    return weight


def _of(values: Tensor, rows: Tensor | None) -> Tensor:
    return values if rows is None else values[rows]


def _check_out_of_bag(data: MemberData, redraw: bool) -> None:
    if redraw or not bool((data.weights == 0).any()):
        raise ConfigurationError(
            "`patience` needs data that members do not train on; expected redraw=False and a "
            "`bootstrap` that leaves some out: 'multinomial', 'poisson' or 'double_or_nothing'."
        )
