"""Training of an ensemble by the compiled kernel: what it can train, and how it is asked."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from hunch.adam import BETA1, BETA2, EPSILON
from hunch.inference.losses import Loss
from hunch.inference.training import MemberData, Rows, prior_on
from hunch.kernel import ACTIVATIONS, LOSSES, STEP, Layer, Task, Training, kernel
from hunch.nn import MLP, Ensemble, RandomizedPrior
from hunch.nn.batched import is_hooked

_KINDS: dict[type[nn.Module], str] = {
    nn.Identity: "identity",
    nn.ReLU: "relu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
    nn.SiLU: "silu",
    nn.ELU: "elu",
    nn.SELU: "selu",
    nn.GELU: "gelu",
}
# Multiplications in a call, some hundredths of a second: long enough that a call costs nothing,
# short enough for Ctrl-C.
_WORK = 5e8
_MOST_STEPS = 256
# Multiplications below which threads cost more than they bring.
_WORK_OF_A_THREAD = 1e7
# Multiplications by one member's weights in a step beyond which torch's own products are as fast.
_WIDEST = 512


@dataclass(frozen=True)
class Chain:
    """Linear layers of all members, each with the activation that follows it."""

    layers: list[tuple[nn.Linear, str]]

    @property
    def parameters(self) -> list[Tensor]:
        """Weight and bias of each layer, in turn."""
        return [p for layer, _ in self.layers for p in (layer.weight, layer.bias) if p is not None]

    @property
    def numbers(self) -> int:
        """How many parameters a member has."""
        return sum(p[0].numel() for p in self.parameters)


def chain_of(skeleton: nn.Module) -> Chain | str:
    """The layers of a member's network, or what the kernel cannot do with it.

    Example:
        >>> len(chain_of(MLP(1, [20, 20], 1)).layers)
        3
        >>> chain_of(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)))
        'a LayerNorm'
    """
    layers: list[tuple[nn.Linear, str]] = []
    for part in _flat(skeleton):
        kind = _KINDS.get(type(part))
        if type(part) is nn.Linear:
            layers.append((part, "identity"))
        elif kind is None or not _usual(part):
            return f"a {type(part).__name__}" + (f"({said})" if (said := part.extra_repr()) else "")
        elif kind == "identity":
            continue
        elif not layers or layers[-1][1] != "identity":
            return "an activation that follows no linear layer"
        else:
            layers[-1] = (layers[-1][0], kind)
    chain = Chain(layers)
    parameters = chain.parameters
    if not layers:
        return "no linear layer"
    if len({p.data_ptr() for p in parameters}) < len(parameters):
        return "parameters that two layers share"
    if any(is_hooked(part) or is_parametrized(part) for part in skeleton.modules()):
        return "hooks or parametrizations"
    if any(_is_watched(p) for p in parameters):
        return "parameters with hooks"
    if not all(p.requires_grad for p in parameters):
        return "frozen parameters"
    if any(p.dtype != torch.float32 or p.device.type != "cpu" for p in parameters):
        return "parameters of another type than float32, or not on the CPU"
    if not all(p.is_contiguous() for p in parameters):
        return "parameters that are not contiguous"
    return chain


def _network(skeleton: nn.Module) -> nn.Module:
    """What is trained of a member."""
    return skeleton.model if type(skeleton) is RandomizedPrior else skeleton


def _flat(module: nn.Module) -> Iterator[nn.Module]:
    if type(module) in (nn.Sequential, MLP):
        for part in module.children():
            yield from _flat(part)
    else:
        yield module


def _usual(activation: nn.Module) -> bool:
    if isinstance(activation, nn.ELU):
        return activation.alpha == 1.0
    return not isinstance(activation, nn.GELU) or activation.approximate == "none"


def _is_watched(parameter: Tensor) -> bool:
    hooks = getattr(parameter, "_post_accumulate_grad_hooks", None)
    return bool(parameter._backward_hooks or hooks)


def what_forbids(ensemble: Ensemble, x: Tensor, loss: Loss) -> str | None:
    """Why the kernel cannot train these members; None if it can.

    Args:
        ensemble: the members.
        x: inputs.
        loss: as in `fit`.
    """
    if kernel() is None:
        return "an installation without the compiled kernel"
    skeleton = ensemble.skeleton
    if not isinstance(loss, str) or loss not in LOSSES:
        return f"another loss than {' or '.join(map(repr, LOSSES))}"
    if is_hooked(ensemble):
        return "hooks or parametrizations"
    chain = chain_of(_network(skeleton))
    if isinstance(chain, str):
        return chain
    if any(map(is_hooked, skeleton.modules())):
        return "hooks or parametrizations"
    if sum(p.requires_grad for p in skeleton.parameters()) > len(chain.parameters):
        return "a prior that is trained"
    if x.ndim != 2 or x.requires_grad or x.dtype != torch.float32:
        return "inputs that are no float32 (data, features), or that require a gradient"
    if torch.is_autocast_enabled("cpu"):
        return "autocast"
    return None


def wins(ensemble: Ensemble) -> bool:
    """Whether the kernel is the faster way; see decision 45."""
    return all(max(p.shape[1:]) <= _WIDEST for p in ensemble.parameters() if p.requires_grad)


class CompiledTraining:
    """A training whose steps the kernel makes, many in a call.

    Args:
        ensemble: what is trained, of which `what_forbids` says nothing.
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
        library = kernel()
        skeleton, self.members = ensemble.skeleton, ensemble.num_members
        prior = type(skeleton) is RandomizedPrior
        chain = chain_of(_network(skeleton))
        if library is None or isinstance(chain, str):
            raise RuntimeError(f"the kernel was asked for {chain}")
        self.library, self.data, self.parameters = library, data, chain.parameters
        self.rows, self.numbers, self.done = len(x), chain.numbers, 0

        out = chain.layers[-1][0].weight.shape[1]
        targets = data.targets[0] if data.targets.stride(0) == 0 else data.targets
        targets = (targets.long() if loss == "cross_entropy" else targets).contiguous()
        given = {
            "x": x.contiguous(),
            "y": targets,
            "prior": prior_on(ensemble, x).expand(-1, -1, out).contiguous() if prior else None,
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
        self.alive = given, layers  # the structure below has bare pointers
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
        weights = [self.data.weights_of(epoch) for epoch, _ in steps]
        before = torch.empty(len(kept), self.members, self.numbers)
        table = np.zeros(len(steps), dtype=STEP)
        table["rows"] = [0 if rows is None else rows.data_ptr() for _, rows in steps]
        table["count"] = [self.rows if rows is None else len(rows) for _, rows in steps]
        table["weights"] = [each.data_ptr() for each in weights]
        for j, step in enumerate(kept):
            table["kept"][step] = before[j].data_ptr()
        found = torch.empty(3, len(steps), self.members)
        self._call(table, found)
        self.done += len(steps)
        for parameter in self.parameters:
            torch.autograd.graph.increment_version(parameter)
        loss, unseen_loss, unseen = found
        return Outcome(
            loss, torch.stack([unseen_loss.sum(dim=1), unseen.sum(dim=1)], dim=1), before
        )

    def _call(self, table: npt.NDArray[Any], found: Tensor) -> None:
        most, library = int(table["count"].max()), self.library
        work = 3 * self.numbers * self.members * int(table["count"].sum())
        threads = max(1, min(self.threads, int(work / _WORK_OF_A_THREAD)))
        if most > self.room or len(self.scratch) < threads:
            self.room = max(most, self.room)
            size = library.hunch_scratch(self.training, self.room)
            self.scratch = [torch.empty(size) for _ in range(threads)]
        edges = [self.members * part // threads for part in range(threads + 1)]
        pointers = (found[j].data_ptr() for j in range(3))
        loss, unseen_loss, unseen = pointers
        tasks = [
            Task(
                members=self.members,
                first=first,
                last=last,
                steps=len(table),
                done=self.done,
                loss=loss,
                unseen_loss=unseen_loss,
                unseen=unseen,
                scratch=scratch.data_ptr(),
            )
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

    def split(self, before: Tensor) -> list[Tensor]:
        """Parameters that were kept, `(members, numbers)`, as tensors of their own."""
        parts = before.split([p[0].numel() for p in self.parameters], dim=1)
        return [
            part.reshape(p.shape).clone() for part, p in zip(parts, self.parameters, strict=True)
        ]


@dataclass(frozen=True)
class Outcome:
    """What some steps gave.

    Args:
        loss: each member's before each step, `(steps, members)`, ridge included.
        unseen: sum and number of the losses of data that members do not train on, `(steps, 2)`.
        kept: parameters before the steps that were named, `(named, members, numbers)`.
    """

    loss: Tensor
    unseen: Tensor
    kept: Tensor


def _each(value: float | Tensor, members: int) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float32).expand(members).contiguous()
