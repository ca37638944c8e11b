"""What a training of all members is made of: their outputs, their data, their optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Final, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hunch.adam import Adam
from hunch.errors import ConfigurationError, DataError
from hunch.inference.bootstrap import Bootstrap, standard_normals, weights_of_epochs
from hunch.inference.indices import IndexedMembers
from hunch.nn import Ensemble, Epinet, GaussianHead, QuantileHead, RandomizedPrior
from hunch.nn.batched import is_hooked
from hunch.nn.compiled_outputs import outputs_compiled
from hunch.seeding import numpy_generator

PerMember = float | Sequence[float] | Tensor
Rows = Tensor | None
Memory = tuple[dict[str, Tensor], dict[str, Any]]
"""What something goes on from: tensors by name, and values that JSON can hold."""

# Rows times members that a prior is asked about at once, which the cache holds, and the fewest
# rows, which are worth a call; benchmarks/constants.py has other sizes.
_PRIOR_ROWS = 2**14
_FEWEST_ROWS: Final = 64
_MOST_AT_ONCE = 2.0  # times the mean weight


def forward_on(members: Ensemble | IndexedMembers, x: Tensor) -> Callable[[Rows], Tensor]:
    """The members' predictions on rows of fixed training data; None stands for all rows.

    A prior never changes, so its outputs on the training data are computed once.

    Example:
        >>> from hunch.nn import MLP
        >>> net = Ensemble(lambda: MLP(1, [9], 1), 3)
        >>> forward_on(net, torch.zeros(5, 1))(torch.tensor([0, 2])).shape
        torch.Size([3, 2, 1])
    """
    if isinstance(members, IndexedMembers):
        return _epinet_on(members, x)
    ensemble, skeleton = members, members.skeleton
    if is_hooked(ensemble) or is_hooked(skeleton):
        return lambda rows: ensemble(x if rows is None else x[rows])
    if type(skeleton) is GaussianHead or type(skeleton) is QuantileHead:
        location = forward_on(ensemble.part("location"), x)
        spread = forward_on(ensemble.part("spread"), x)
        return lambda rows: skeleton.join(location(rows), spread(rows))
    if type(skeleton) is RandomizedPrior:
        model, prior = forward_on(ensemble.part("model"), x), prior_on(ensemble, x)
        return lambda rows: model(rows) + (prior if rows is None else prior[:, rows])
    return lambda rows: ensemble(x if rows is None else x[rows])


@torch.no_grad()
def prior_on(ensemble: Ensemble, x: Tensor) -> Tensor:
    """What the priors of `RandomizedPrior` members add to their outputs, `(members, data, *out)`.

    Example:
        >>> from hunch.nn import MLP
        >>> net = Ensemble(lambda: RandomizedPrior(MLP(1, [9], 1), MLP(1, [9], 1)), 3)
        >>> prior_on(net, torch.zeros(5, 1)).shape
        torch.Size([3, 5, 1])
    """
    prior = ensemble.part("prior")
    outputs = outputs_compiled(prior, x) if x.dtype == torch.float32 else None
    if outputs is None:
        # In parts: hidden layers of all members on a whole table would take gigabytes.
        outputs = _fixed(prior, x.split(max(_FEWEST_ROWS, _PRIOR_ROWS // ensemble.num_members)))
    scale = cast("Tensor", ensemble.skeleton.scale)
    return outputs * scale.reshape(-1, *[1] * (outputs.ndim - 1))


def _fixed(prior: nn.Module, parts: Sequence[Tensor]) -> Tensor:
    """A prior's outputs on parts of the data, as one.

    Raises:
        ConfigurationError: if asking it changes it: its outputs would not be those of later steps.
    """
    before = [(name, buffer, buffer._version) for name, buffer in prior.named_buffers()]
    outputs = torch.cat([prior(rows) for rows in parts], dim=1)
    after = dict(prior.named_buffers())
    for name, buffer, version in before:
        if after.get(name) is not buffer or buffer._version != version:
            raise ConfigurationError(
                f"`prior` changes its buffer {name!r} in a forward; expected one fixed function: "
                "keep what changes in the `model`, or let it change in training mode only."
            )
    return outputs


def _epinet_on(members: IndexedMembers, x: Tensor) -> Callable[[Rows], Tensor]:
    epinet = members.skeleton
    if not isinstance(epinet, Epinet):
        raise TypeError("an epinet that is trained was expected")
    with torch.no_grad():
        parts = x.split(max(_FEWEST_ROWS, _PRIOR_ROWS // epinet.index_dim))
        prior = _fixed(epinet.prior, parts)

    def forward(rows: Rows) -> Tensor:
        known = (x, prior) if rows is None else (x[rows], prior[:, rows])
        out: Tensor = epinet(known[0], members.indices, known[1])
        return out

    return forward


class MemberData:
    """Weights and targets of each member for a batch of rows.

    Args:
        ensemble: whose members are trained.
        x: inputs `(data, …)`.
        y: targets `(data, *out)`.
        keys: one integer for each datum.
        kind: of bootstrap.
        redraw: whether each epoch has a bootstrap of its own.
        noise: standard deviation of the noise on the targets.
        seed: decides weights and noise.
        first: the number of the first member.
    """

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
        first: int = 0,
    ) -> None:
        self.num_members, self.keys = ensemble.num_members, keys
        self.kind, self.seed, self.first = kind, seed, first
        self.redraw, self.device = redraw and kind != "none", x.device
        # Some epochs at a time: drawing one by one costs small ensembles a tenth of their time.
        self.block = max(1, min(256, 2**18 // (self.num_members * len(keys)))) if redraw else 1
        self._draw(range(self.block))
        self.targets = y.unsqueeze(0)
        if noise:
            shape = tuple(y.shape[1:])
            normals = standard_normals(self.num_members, keys, shape, seed=seed, first=first)
            self.targets = self.targets + noise * normals.to(y)
        self.targets = self.targets.expand(self.num_members, *y.shape)

    def batch(self, epoch: int, rows: Rows) -> tuple[Tensor, Tensor]:
        """Weights `(members, batch)` and targets `(members, batch, *out)`."""
        weights = self.weights_of(epoch)
        if rows is None:
            return weights, self.targets
        return weights[:, rows], self.targets[:, rows]

    def weights_of(self, epoch: int) -> Tensor:
        """Weights of all data in an epoch, `(members, data)`."""
        block, first = self.block_of(epoch)
        return block[epoch - first]

    def block_of(self, epoch: int) -> tuple[Tensor, int]:
        """Weights of some epochs with this one among them, `(epochs, members, data)`; the first."""
        if not self.redraw:
            return self.weights, epoch
        if epoch not in self.epochs:
            self._draw(range(epoch, epoch + self.block))
        return self.weights, self.epochs.start

    def _draw(self, epochs: range) -> None:
        weights = weights_of_epochs(
            self.kind, self.num_members, self.keys, epochs, seed=self.seed, first=self.first
        )
        self.weights, self.epochs = weights.to(self.device).contiguous(), epochs


def batches(
    n: int, batch_size: int | None, seed: int, entries: Tensor | None = None
) -> Iterator[tuple[int, Rows]]:
    """Endless (epoch, rows); rows None stands for all data in their order.

    Args:
        n: number of data.
        batch_size: data in a step.
        seed: decides the order.
        entries: what an epoch goes through, in as many steps; each datum once if None.

    Example:
        >>> [len(rows) for _, (_, rows) in zip(range(3), batches(5, 2, seed=0))]
        [2, 2, 1]
    """
    epoch = 0
    count = n if entries is None else len(entries)
    while True:
        if batch_size is None or batch_size >= n:
            yield epoch, None
        else:
            order = torch.from_numpy(numpy_generator(seed, "batches", epoch).permutation(count))
            order = order if entries is None else entries[order]
            ends = [done * count // n for done in range(batch_size, n, batch_size)]
            for rows in order.tensor_split(ends):
                yield epoch, rows
        epoch += 1


def times_an_epoch(weight: Tensor) -> Tensor:
    """How often each datum comes in an epoch of batches, `(data,)`, each time with a part of it.

    A datum of a great weight would take one step of an epoch for itself, and Adam, which remembers
    the largest gradients, would hardly move in the others. So none comes with more than twice the
    mean. That makes an epoch longer by a half at most.

    Args:
        weight: at least 0, not all of them 0, `(data,)`.

    Example:
        >>> times_an_epoch(torch.tensor([1.0] * 99 + [101.0])).tolist()[-2:]
        [1, 26]
    """
    share = _MOST_AT_ONCE * weight.mean()
    return (weight / share.clamp_min(torch.finfo(weight.dtype).tiny)).ceil().long().clamp_min(1)


class MemberAdam:
    """Adam for all members at once, each with its own learning rate and gradient norm.

    Args:
        parameters: what is trained, each `(members, …)`.
        lr: one learning rate, or one a member `(members,)`.
        max_gradient_norm: the largest norm of a member's gradient; longer ones are shortened.
        shared: whether the parameters are of all members together, without a leading axis.

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(2, 3))
        >>> MemberAdam([weight], torch.tensor([0.1, 0.2])).step(weight.sum())
        >>> weight.detach()[:, 0]
        tensor([-0.1000, -0.2000])
    """

    def __init__(
        self,
        parameters: list[torch.nn.Parameter],
        lr: float | Tensor,
        max_gradient_norm: float | None = None,
        *,
        shared: bool = False,
    ) -> None:
        self.parameters, self.max_gradient_norm = parameters, max_gradient_norm
        self.shared = shared
        self.fractions = None if isinstance(lr, float) else lr / lr.max()
        top = lr if isinstance(lr, float) else float(lr.max())
        self.top, self.adam = top, Adam(parameters)

    def step(self, loss: Tensor, pull: float | Tensor | None = None) -> None:
        """One step down the sum of the members' losses.

        Args:
            loss: of all members together.
            pull: what each member's squared parameters add to it, times this; nothing if None.
        """
        fill_gradients(self.parameters, loss, pull, self.max_gradient_norm, shared=self.shared)
        if self.fractions is None:
            self._move()
            return
        # A step is proportional to its learning rate: take the longest, then go back by a fraction.
        before = [p.detach().clone() for p in self.parameters]
        self._move()
        with torch.no_grad():
            for p, old in zip(self.parameters, before, strict=True):
                p.copy_(torch.lerp(old, p, _align(self.fractions, p)))

    def memory(self) -> Memory:
        """What its next steps depend on."""
        moments, steps = self.adam.memory()
        return moments, {"steps": steps}

    def recall(self, memory: Memory) -> None:
        """Go on where the one with this memory stood."""
        tensors, values = memory
        self.adam.recall(tensors, values["steps"])

    def _move(self) -> None:
        # What the loss does not depend on has no gradient and stays.
        which = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        values = [self.parameters[i] for i in which]
        self.adam.step(values, [p.grad for p in values if p.grad is not None], self.top, which)


def fill_gradients(
    parameters: Sequence[nn.Parameter],
    loss: Tensor,
    pull: float | Tensor | None,
    max_gradient_norm: float | None,
    *,
    shared: bool = False,
) -> None:
    """Give each parameter the gradient that an optimizer is to follow.

    Args:
        parameters: what is trained, each `(members, …)`.
        loss: of all members together.
        pull: what each member's squared parameters add to it, times this; nothing if None.
        max_gradient_norm: the largest norm of a member's gradient; longer ones are shortened.
        shared: whether the parameters are of all members together, without a leading axis.

    Example:
        >>> weight = nn.Parameter(torch.ones(2, 1))
        >>> fill_gradients([weight], weight.square().sum(), pull=0.5, max_gradient_norm=None)
        >>> weight.grad.flatten()
        tensor([3., 3.])
    """
    for p in parameters:
        p.grad = None
    loss.backward()
    if pull is not None:
        _add_pull(parameters, 2 * pull)
    if max_gradient_norm is not None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        factor = (max_gradient_norm / squared_norm(gradients, shared=shared).sqrt()).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(_align(factor, gradient))


@torch.no_grad()
def _add_pull(parameters: Sequence[nn.Parameter], factor: float | Tensor) -> None:
    for p in parameters:
        pulled = p * (factor if isinstance(factor, float) else _align(factor, p))
        p.grad = pulled if p.grad is None else p.grad.add_(pulled)


class EarlyStopping:
    """Says when a loss has stopped falling, and puts back the tensors with which it was least.

    Args:
        tensors: gives what is put back, as it is now.
        patience: epochs without a new best after which to stop.
        steps_per_epoch: optimizer steps in an epoch; read for losses that come batch by batch.
        growth: share of the epochs so far that must be without one too.

    Example:
        >>> stopping = EarlyStopping(list, patience=1, steps_per_epoch=1)
        >>> unseen = torch.zeros(1, 1)
        >>> [stopping.is_over(torch.full((1, 1), loss), unseen) for loss in (2.0, 1.0, 3.0)]
        [False, False, True]
        >>> stopping.losses
        [2.0, 1.0, 3.0]
    """

    def __init__(
        self,
        tensors: Callable[[], list[Tensor]],
        patience: int,
        steps_per_epoch: int,
        growth: float = 0.0,
    ) -> None:
        self.tensors, self.steps_per_epoch = tensors, steps_per_epoch
        self.patience, self.growth = patience, growth
        self.losses: list[float] = []
        self.best: list[Tensor] = []
        self.seen: list[Tensor] = []

    def is_over(self, each: Tensor, weights: Tensor) -> bool:
        """Take the losses of a batch, `(members, batch)`; whether training should stop."""
        unseen = weights == 0
        loss = torch.where(unseen, each.detach(), 0).sum()
        now = torch.stack([loss, unseen.sum().to(loss)])
        return self.is_over_after(now, self._copied)

    by_member: ClassVar[bool] = False

    def is_over_after(self, seen: Tensor, parameters: Callable[[], list[Tensor]]) -> bool:
        """Take a batch of which sums are known; whether training should stop.

        Args:
            seen: sum and number of the losses of data that members do not train on, `(2,)`.
            parameters: gives a copy of them as they were for that batch.
        """
        self.seen.append(seen)
        if len(self.seen) < self.steps_per_epoch:
            return False
        total, count = torch.stack(self.seen).sum(dim=0).tolist()
        self.seen.clear()
        return self.is_over_with(total / count if count else math.inf, parameters)

    def is_over_with(
        self, loss: float, parameters: Callable[[], list[Tensor]] | None = None
    ) -> bool:
        """Take the loss of an epoch; whether training should stop.

        Args:
            loss: averaged over members.
            parameters: gives a copy of them as they were for that loss; None is as they are.
        """
        self.losses.append(math.inf if math.isnan(loss) else loss)
        if self.losses[-1] <= min(self.losses):
            self.best = (parameters or self._copied)()
        waited = len(self.losses) - 1 - int(np.argmin(self.losses))
        return waited >= max(self.patience, self.growth * len(self.losses))

    def _copied(self) -> list[Tensor]:
        return [tensor.detach().clone() for tensor in self.tensors()]

    def restore(self) -> None:
        """Put back the tensors that had the least loss."""
        with torch.no_grad():
            for tensor, best in zip(self.tensors(), self.best, strict=bool(self.best)):
                tensor.copy_(best)


class MembersUnseen:
    """What the members of a block lose on data that they do not train on, epoch by epoch.

    The place of `EarlyStopping` where others decide, who know all blocks.

    Args:
        tensors: gives what would be put back, as it is now.
        steps_per_epoch: optimizer steps in an epoch.

    Attributes:
        sums: of the epoch that ended last: sum and number of the losses of each member, `(2,
            members)`, float64.
        candidates: a copy of the tensors as they were for these losses.
        seen: sums of the batches since then, each `(2, members)`.

    Example:
        >>> unseen = MembersUnseen(list, steps_per_epoch=1)
        >>> unseen.is_over(torch.tensor([[3.0, 1.0]]), torch.tensor([[0.0, 1.0]]))
        False
        >>> unseen.sums.flatten().tolist()
        [3.0, 1.0]
    """

    by_member: ClassVar[bool] = True

    def __init__(self, tensors: Callable[[], list[Tensor]], steps_per_epoch: int) -> None:
        self.tensors, self.steps_per_epoch = tensors, steps_per_epoch
        self.seen: list[Tensor] = []
        self.sums = torch.empty(0)
        self.candidates: list[Tensor] = []

    def is_over(self, each: Tensor, weights: Tensor) -> bool:
        """Take the losses of a batch, `(members, batch)`; others say whether to stop."""
        unseen = weights == 0
        loss = torch.where(unseen, each.detach(), 0).sum(dim=1)
        now = torch.stack([loss, unseen.sum(dim=1).to(loss)])
        return self.is_over_after(now, lambda: [t.detach().clone() for t in self.tensors()])

    def is_over_after(self, seen: Tensor, parameters: Callable[[], list[Tensor]]) -> bool:
        """As that of `EarlyStopping`, with sums `(2, members)`."""
        self.seen.append(seen.double())
        if len(self.seen) == self.steps_per_epoch:
            self.sums = torch.stack(self.seen).sum(dim=0)
            self.seen.clear()
            self.candidates = parameters()
        return False


Stopping = EarlyStopping | MembersUnseen


def as_evidence(weight: Tensor) -> Tensor:
    """How much each datum counts where errors are evaluated, with mean 1, given its weight.

    One datum is one error, however much it weighs: none counts more than √data times the mean, or a
    single one that came a hundred times would decide about all others.

    Args:
        weight: at least 0, not all of them 0, `(data,)`.

    Example:
        >>> as_evidence(torch.tensor([1.0, 1.0, 1.0, 97.0]))
        tensor([0.0755, 0.0755, 0.0755, 3.7736])

    Reference:
        Ionides (2008), "Truncated importance sampling".
    """
    capped = weight.clamp(max=float(weight.mean()) * len(weight) ** 0.5)
    return capped / capped.mean()


def per_member(
    name: str, value: PerMember, like: Tensor, members: int | None = None
) -> float | Tensor:
    """One number for all members, or a tensor `(members,)` of one each.

    Args:
        name: of the argument.
        value: a number or one a member.
        like: a parameter `(members, …)`, whose type and device the tensor gets.
        members: how many there are; as many as the parameter has if None.

    Raises:
        ConfigurationError: if there are too few or too many, or one is not finite.

    Example:
        >>> per_member("lr", [0.1, 0.2], torch.zeros(2, 3))
        tensor([0.1000, 0.2000])
    """
    numbers = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    members = len(like) if members is None else members
    if numbers.ndim > 1 or (numbers.ndim == 1 and len(numbers) != members):
        raise ConfigurationError(
            f"`{name}` got shape {tuple(numbers.shape)}; expected a number, or one for each of the "
            f"{members} members."
        )
    return float(value) if numbers.ndim == 0 else numbers  # type: ignore[arg-type]


def check_not_diverged(numbers: Iterable[Tensor], steps: int) -> None:
    """Refuse to go on, or to end, with losses that are NaN or parameters that are not finite.

    Args:
        numbers: losses of steps, or parameters.
        steps: steps done.

    Raises:
        DataError: if one is NaN, or a parameter infinite.

    Example:
        >>> check_not_diverged([torch.ones(3)], steps=1)
    """
    # An infinite loss alone may be a lone outlier's; infinite parameters give NaN in the next step.
    for each in numbers:
        lost = ~each.isfinite() if isinstance(each, torch.nn.Parameter) else each.isnan()
        if bool(lost.any()):
            raise DataError(
                f"the ensemble has diverged within {steps} steps: losses or weights are NaN or "
                "infinite, and it is of no use any more; make it anew and use a smaller `lr`, a "
                "`max_gradient_norm`, or targets of a smaller scale."
            )


def squared_norm(tensors: Sequence[Tensor], *, shared: bool = False) -> Tensor:
    """Each member's sum of squares over all tensors, `(members,)`; `(1,)` if they share them.

    Example:
        >>> squared_norm([torch.ones(2, 3), torch.ones(2)])
        tensor([4., 4.])
    """
    rows = [t.reshape(1 if shared else len(t), -1) for t in tensors]
    return torch.stack([row.square().sum(dim=1) for row in rows]).sum(dim=0)


def _align(numbers: Tensor, tensor: Tensor) -> Tensor:
    """One number a member, in a shape that broadcasts to a tensor `(members, …)`."""
    return numbers.reshape(-1, *[1] * (tensor.ndim - 1))
