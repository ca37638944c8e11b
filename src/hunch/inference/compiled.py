"""Training of an ensemble by the compiled kernel: what it can train, and how it is asked."""

from __future__ import annotations

import ctypes
import itertools
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from hunch.adam import BETA1, BETA2, EPSILON
from hunch.inference.losses import Loss
from hunch.inference.training import (
    MemberData,
    Memory,
    Rows,
    Stopping,
    check_not_diverged,
    prior_on,
)
from hunch.kernel import ACTIVATIONS, LOSSES, STEP, Layer, Task, Training, kernel
from hunch.nn import Ensemble, RandomizedPrior
from hunch.nn.batched import is_hooked
from hunch.nn.linear_layers import layers_of

_FEW_VALUES = 2**20  # of priors, which are asked for at once
_PRIOR_ROWS = 2**13  # of which priors are asked at a time
# Multiplications in a call, some hundredths of a second: long enough that a call costs nothing,
# short enough for Ctrl-C.
_WORK = 5e8
_MOST_STEPS = 256
# Multiplications below which threads cost more than they bring.
_WORK_OF_A_THREAD = 1e7
# The widest layer for which it has been measured to win, and where torch has more threads than
# there are members, so that it could share one member's product among them.
_WIDEST, _WIDEST_OF_FEW = 2048, 64


@dataclass(frozen=True)
class Chain:
    """What the kernel trains: linear layers of all members, each with the activation behind it."""

    library: ctypes.CDLL
    layers: list[tuple[nn.Linear, str]]

    @property
    def parameters(self) -> list[Tensor]:
        """Weight and bias of each layer, in turn."""
        return _parameters(self.layers)

    def wins(self, members: int) -> bool:
        """Whether the kernel is the faster way for that many members; see decision 45."""
        widest = _WIDEST if members >= torch.get_num_threads() else _WIDEST_OF_FEW
        return all(max(layer.weight.shape[1:]) <= widest for layer, _ in self.layers)


def chain_of(ensemble: Ensemble, x: Tensor, loss: Loss) -> Chain | str:
    """What the kernel trains of an ensemble, or why it cannot.

    Args:
        ensemble: the members.
        x: inputs.
        loss: as in `fit`.

    Example:
        >>> net = Ensemble(lambda: nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)), 2, seed=0)
        >>> isinstance(chain_of(net, torch.zeros(5, 2), "mse"), str)
        True
    """
    library, skeleton = kernel(), ensemble.skeleton
    if library is None:
        return "an installation without the compiled kernel"
    if type(ensemble) is not Ensemble:
        return f"a {type(ensemble).__name__}, a subclass of Ensemble"
    if not isinstance(loss, str) or loss not in LOSSES:
        return f"another loss than {' or '.join(map(repr, LOSSES))}"
    if x.ndim != 2 or x.requires_grad or x.dtype != torch.float32 or x.device.type != "cpu":
        return "inputs that are not float32 (data, features) on the CPU, or need a gradient"
    if torch.is_autocast_enabled("cpu"):
        return "autocast"
    network = skeleton.model if type(skeleton) is RandomizedPrior else skeleton
    layers = layers_of(network)
    if isinstance(layers, str):
        return layers
    obstacle = _obstacle(ensemble, _parameters(layers))
    return Chain(library, layers) if obstacle is None else obstacle


def _obstacle(ensemble: Ensemble, parameters: list[Tensor]) -> str | None:
    """What about the parameters and the modules around them the kernel would pass over."""
    skeleton = ensemble.skeleton
    if any(is_hooked(part) or is_parametrized(part) for part in [ensemble, *skeleton.modules()]):
        return "hooks or parametrizations"
    if any(
        p._backward_hooks or getattr(p, "_post_accumulate_grad_hooks", None) for p in parameters
    ):
        return "parameters with hooks"
    if len({p.data_ptr() for p in parameters}) < len(parameters):
        return "parameters that layers share"
    trained = sum(p.requires_grad for p in skeleton.parameters())
    if trained != len(parameters) or not all(p.requires_grad for p in parameters):
        return "frozen parameters, or a prior that is trained"
    if any(p.dtype != torch.float32 or not p.is_contiguous() for p in parameters):
        return "parameters that are not contiguous float32"
    return None


def _parameters(layers: list[tuple[nn.Linear, str]]) -> list[Tensor]:
    both = (p for layer, _ in layers for p in (layer.weight, layer.bias))
    return [p for p in both if p is not None]


class CompiledTraining:
    """A training whose steps the kernel makes, many in a call.

    Args:
        chain: what is trained.
        ensemble: its members.
        x: inputs.
        data: weights and targets.
        loss: its name.
        importance: how much each datum counts, or None.
        evidence: how much each counts where members did not see it, or None.
        lr: learning rate, one or one a member.
        pull: what a member's squared parameters add to its loss, times this.
        max_gradient_norm: as in `fit`.
    """

    def __init__(
        self,
        chain: Chain,
        ensemble: Ensemble,
        x: Tensor,
        data: MemberData,
        loss: Loss,
        importance: Tensor | None,
        evidence: Tensor | None,
        lr: float | Tensor,
        pull: float | Tensor | None,
        max_gradient_norm: float | None,
    ) -> None:
        self.library, self.data, self.parameters = chain.library, data, chain.parameters
        self.members, self.rows, self.done = ensemble.num_members, len(x), 0
        self.numbers = sum(p[0].numel() for p in self.parameters)
        prior = None
        if type(ensemble.skeleton) is RandomizedPrior:
            prior = PriorValues(ensemble, x, chain.layers[-1][0].weight.shape[1])
        self.prior = prior
        targets = data.targets[0] if data.targets.stride(0) == 0 else data.targets
        targets = (targets.long() if loss == "cross_entropy" else targets).contiguous()
        given = {
            "x": x.contiguous(),
            "y": targets,
            "prior": None if prior is None else prior.values,
            "importance": importance if importance is None else importance.contiguous(),
            "evidence": evidence if evidence is None else evidence.contiguous(),
            "mean": torch.zeros(self.members, self.numbers),
            "square": torch.zeros(self.members, self.numbers),
            "rate": _each(lr, self.members),
            "pull": _each(0.0 if pull is None else pull, self.members),
        }
        layers = (Layer * len(chain.layers))(
            *(
                Layer(
                    layer.weight.data_ptr(),
                    None if layer.bias is None else layer.bias.data_ptr(),
                    layer.weight.shape[2],
                    layer.weight.shape[1],
                    ACTIVATIONS.index(kind),
                )
                for layer, kind in chain.layers
            )
        )
        self.alive: tuple[dict[str, Any], Any] = (
            given,
            layers,
        )  # the structure below has bare pointers
        self.training = Training(
            layer=layers,
            layers=len(layers),
            data=len(x),
            parameters=self.numbers,
            loss=LOSSES.index(str(loss)),
            y_apart=0 if data.targets.stride(0) == 0 else targets[0].numel(),
            longest=math.inf if max_gradient_norm is None else max_gradient_norm,
            beta1=BETA1,
            beta2=BETA2,
            epsilon=EPSILON,
            **{name: None if t is None else t.data_ptr() for name, t in given.items()},
        )
        self.threads = min(torch.get_num_threads(), self.members)
        self.scratch: list[Tensor] = []
        self.room = 0

    def steps_at_once(self, batch: int) -> int:
        """How many steps of so many rows one call should make."""
        work = 3 * self.numbers * batch * self.members
        return int(min(max(_WORK / work, 1), _MOST_STEPS))

    def run(self, steps: Sequence[tuple[int, Rows]], kept: Sequence[int] = ()) -> Outcome:
        """Make some steps.

        Args:
            steps: the epoch and the rows of each, as `batches` gives them.
            kept: numbers of the steps before which the parameters are kept.
        """
        if self.prior is not None:
            self.prior.learn([rows for _, rows in steps])
        blocks, places = self._weights(steps)
        before = torch.empty(len(kept), self.members, self.numbers)
        table = np.zeros(len(steps), dtype=STEP)
        table["rows"] = [0 if rows is None else rows.data_ptr() for _, rows in steps]
        table["count"] = [self.rows if rows is None else len(rows) for _, rows in steps]
        table["weights"] = places
        for j, step in enumerate(kept):
            table["kept"][step] = before[j].data_ptr()
        found = torch.empty(3, len(steps), self.members)
        self._call(table, found)
        del blocks  # which had to live until here
        self.done += len(steps)
        for parameter in self.parameters:
            torch.autograd.graph.increment_version(parameter)
        loss, unseen_loss, unseen = found
        return Outcome(
            loss,
            torch.stack([unseen_loss.sum(dim=1), unseen.sum(dim=1)], dim=1),
            found[1:].movedim(1, 0),
            before,
        )

    def memory(self) -> Memory:
        """What its next steps depend on; the number of those done has `recall` from others."""
        given = self.alive[0]
        return {"mean": given["mean"], "square": given["square"]}, {}

    def recall(self, memory: Memory) -> None:
        """Go on where the one with this memory stood."""
        for name, own in self.memory()[0].items():
            own.copy_(memory[0][name])

    def _weights(self, steps: Sequence[tuple[int, Rows]]) -> tuple[list[Tensor], list[int]]:
        """What the weights of steps are parts of, and where they begin."""
        # By numbers: a tensor for each step would take as long as a small member's step.
        blocks: list[Tensor] = []
        places: list[int] = []
        for epoch, _ in steps:
            block, first = self.data.block_of(epoch)
            if not blocks or blocks[-1] is not block:
                blocks.append(block)
                start, apart = block.data_ptr(), block.stride(0) * block.element_size()
            places.append(start + (epoch - first) * apart)
        return blocks, places

    def _call(self, table: npt.NDArray[Any], found: Tensor) -> None:
        most, library = int(table["count"].max()), self.library
        work = 3 * self.numbers * self.members * int(table["count"].sum())
        threads = max(1, min(self.threads, int(work / _WORK_OF_A_THREAD)))
        if most > self.room or len(self.scratch) < threads:
            self.room = max(most, self.room)
            size = library.hunch_scratch(self.training, self.room)
            self.scratch = [torch.empty(size) for _ in range(threads)]
        edges = [self.members * part // threads for part in range(threads + 1)]
        loss, unseen_loss, unseen = (found[j].data_ptr() for j in range(3))
        given = self.members, len(table), self.done, loss, unseen_loss, unseen
        tasks = [
            Task(first, last, *given, scratch.data_ptr())
            for (first, last), scratch in zip(itertools.pairwise(edges), self.scratch, strict=False)
        ]
        lanes = library.hunch_lanes()

        def make(task: Task) -> None:
            library.hunch_train(self.training, table.ctypes.data, task, lanes)

        if threads == 1:
            make(tasks[0])
            return
        with ThreadPoolExecutor(threads - 1) as pool:
            others = [pool.submit(make, task) for task in tasks[1:]]
            make(tasks[0])
            for other in others:
                other.result()

    def kept_at(self, kept: dict[int, Tensor], step: int) -> list[Tensor]:
        """The parameters as they were before a step, given what was kept by its number."""
        parts = kept[step].split([p[0].numel() for p in self.parameters], dim=1)
        return [
            part.reshape(p.shape).clone() for part, p in zip(parts, self.parameters, strict=True)
        ]


class PriorValues:
    """What priors say of training data, asked once and not before a step needs it.

    Args:
        ensemble: of `RandomizedPrior`s.
        x: all inputs.
        outputs: of a member.
    """

    def __init__(self, ensemble: Ensemble, x: Tensor, outputs: int) -> None:
        self.ensemble, self.x = ensemble, x
        self.values = torch.empty(ensemble.num_members, len(x), outputs)
        self.known = torch.zeros(len(x), dtype=torch.bool)
        self.left = len(x)
        if self.values.numel() <= _FEW_VALUES:
            self.learn([None])

    def learn(self, steps: Sequence[Rows]) -> None:
        """Ask about the rows of steps, as far as nobody has."""
        if not self.left:
            return
        wanted = torch.zeros_like(self.known)
        for rows in steps:
            wanted[slice(None) if rows is None else rows] = True
        new = (wanted & ~self.known).nonzero().squeeze(1)
        for part in new.split(_PRIOR_ROWS):
            everything = len(part) == len(self.x)
            self.values[:, part] = prior_on(self.ensemble, self.x if everything else self.x[part])
        self.known |= wanted
        self.left -= len(new)


@dataclass(frozen=True)
class Outcome:
    """What some steps gave.

    Args:
        loss: each member's before each step, `(steps, members)`, ridge included.
        unseen: sum and number of the losses of data that members do not train on, `(steps, 2)`.
        unseen_by_member: the same of each member, `(steps, 2, members)`.
        kept: parameters before the steps that were named, `(named, members, numbers)`.
    """

    loss: Tensor
    unseen: Tensor
    unseen_by_member: Tensor
    kept: Tensor


def made_by(
    compiled: CompiledTraining,
    order: Iterator[tuple[int, Rows]],
    losses: Tensor,
    stopping: Stopping | None,
    at_once: int,
    until: Callable[[int], int] = lambda done: sys.maxsize,
) -> Iterator[tuple[int, int]]:
    """Make the steps of a training, some at once.

    Args:
        compiled: the training.
        order: epoch and rows of each step.
        losses: where each member's loss before each step goes, `(steps, members)`.
        stopping: what may end it early, or None.
        at_once: steps in a call.
        until: says of a number of steps done how many are to be done before the next look.

    Yields:
        How many steps are done, and how many of them were just made.
    """
    done, steps = compiled.done, len(losses)
    while done < steps:
        some = list(itertools.islice(order, min(at_once, steps - done, until(done) - done)))
        ends = []
        if stopping is not None:  # what is best is what there was before the last step of an epoch
            ends = [j for j in range(len(some)) if (done + j + 1) % stopping.steps_per_epoch == 0]
        outcome = compiled.run(some, ends)
        last = _last(compiled, outcome, ends, stopping)
        losses[done : done + last] = outcome.loss[:last]
        done += last
        check_not_diverged([outcome.loss[:last]], done)
        if last:
            yield done, last
        if last < len(some):
            return


def _last(
    compiled: CompiledTraining, outcome: Outcome, ends: list[int], stopping: Stopping | None
) -> int:
    """How many of some steps count; those after a stop do not."""
    count = len(outcome.loss)
    if stopping is not None:
        best = dict(zip(ends, outcome.kept, strict=True))
        each = outcome.unseen_by_member if stopping.by_member else outcome.unseen
        for j, seen in enumerate(each.unbind()):
            if stopping.is_over_after(seen, partial(compiled.kept_at, best, j)):
                return j
    return count


def _each(value: float | Tensor, members: int) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float32).expand(members).contiguous()
