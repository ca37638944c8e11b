"""What members say, by the compiled kernel in float32: many rows, and no gradient.

Rows go in blocks through all members, whose numbers stay in the cache. What is said of a row does
not depend on the rows beside it or on the number of threads, to the bit.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ctypes import byref
from dataclasses import dataclass
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from hunch.kernel import ACTIVATIONS, Chain, Link, Own, kernel
from hunch.nn.batched import is_hooked
from hunch.nn.ensemble import Ensemble
from hunch.nn.linear_layers import layers_of
from hunch.nn.priors import RandomizedPrior

_WIDEST: Final = 2048  # units; the kernel was measured up to there
# Multiplications below which threads cost more than they bring.
_WORK_OF_A_THREAD: Final = 1e7

Layers = Sequence[tuple[nn.Linear, str]]


def outputs_compiled(ensemble: Ensemble, x: Tensor, *, keep: bool = False) -> Tensor | None:
    """What members say about rows, `(members, batch, out)`; None where that is left to torch.

    Args:
        ensemble: of linear layers with usual activations, behind a `RandomizedPrior` or not.
        x: `(batch, features)`.
        keep: whether to keep what the kernel needs of the weights for the next call. Weights
            changed behind torch's back (`p.data`, a numpy view) would not be seen, so only for
            ensembles that nobody else has.

    Returns:
        In the type of x, computed in float32: some 10⁻⁷ of their size off.

    Example:
        >>> from hunch.nn import MLP
        >>> net, x = Ensemble(lambda: MLP(2, [9], 1), 3, seed=0), torch.ones(5, 2)
        >>> found = outputs_compiled(net, x)
        >>> found is None or torch.allclose(found, net(x), atol=1e-6)
        True
    """
    found = _parts_of(ensemble, x, keep)
    if found is None:
        return None
    rows = x.to(torch.float32).contiguous()
    own, *priors = found
    said = own.say(rows).to(x.dtype)
    for part in priors:
        said += _scale_of(ensemble, x).reshape(-1, 1, 1) * part.say(rows).to(x.dtype)
    return said


def mean_compiled(ensemble: Ensemble, x: Tensor, *, keep: bool = False) -> Tensor | None:
    """The mean over members of what `outputs_compiled` returns, `(batch, out)`.

    Priors of opposite sign need not be asked for it. Nor do they count: where they are too large
    for float32 this is as good as ever.

    Args:
        ensemble: as there.
        x: likewise.
        keep: likewise.

    Example:
        >>> from hunch.nn import MLP
        >>> net, x = Ensemble(lambda: MLP(2, [9], 1), 3, seed=0), torch.ones(5, 2)
        >>> found = mean_compiled(net, x)
        >>> found is None or torch.allclose(found, net(x).mean(dim=0), atol=1e-6)
        True
    """
    found = _parts_of(ensemble, x, keep)
    if found is None:
        return None
    rows = x.to(torch.float32).contiguous()
    own, *priors = found
    mean = own.say(rows).to(x.dtype).mean(dim=0)
    for part in priors:
        mean += part.mean(rows, _scale_of(ensemble, x))
    return mean


def _parts_of(ensemble: Ensemble, x: Tensor, keep: bool) -> list[_Networks] | None:
    """The networks of all members, and their priors if they have any; None where torch is asked."""
    skeleton = ensemble.skeleton
    prior = skeleton.prior if type(skeleton) is RandomizedPrior else None
    network = skeleton.model if type(skeleton) is RandomizedPrior else skeleton
    parts = [layers_of(part) for part in (network, prior) if part is not None]
    found = [part for part in parts if not isinstance(part, str)]
    if len(found) < len(parts) or not _is_plain(ensemble, found, x):
        return None
    return _kept(ensemble, found) if keep else _in_float32(found)


def _scale_of(ensemble: Ensemble, x: Tensor) -> Tensor:
    """By which priors are multiplied: one number, or one of each member."""
    return cast("Tensor", ensemble.skeleton.scale).to(x.dtype).reshape(-1)


def _in_float32(parts: Sequence[Layers]) -> list[_Networks]:
    return [_Networks.of([_single(layer) for layer in part]) for part in parts]


# To make them takes as long as to ask a hundred rows: for each ensemble, which tensors they were
# made of, as they were then.
_MADE: Final[WeakKeyDictionary[Ensemble, tuple[list[tuple[int, int]], list[_Networks]]]] = (
    WeakKeyDictionary()
)


def _kept(ensemble: Ensemble, parts: Sequence[Layers]) -> list[_Networks]:
    tensors = [p for part in parts for layer, _ in part for p in layer.parameters()]
    state = [(p.data_ptr(), p._version) for p in tensors]
    before, made = _MADE.get(ensemble, (None, []))
    if before != state:
        made = _in_float32(parts)
        _MADE[ensemble] = state, made
    return made


@dataclass(frozen=True)
class _Affine:
    """A linear layer of all members in float32, and the number of what follows it."""

    weight: Tensor
    bias: Tensor | None
    activation: int

    @property
    def tensors(self) -> list[Tensor]:
        return [self.weight] if self.bias is None else [self.weight, self.bias]

    def of(self, members: Tensor) -> _Affine:
        bias = None if self.bias is None else self.bias[members]
        return _Affine(self.weight[members], bias, self.activation)

    def link(self, member: int) -> Link:
        """As the kernel has it, from a member on."""
        _, outputs, inputs = self.weight.shape
        own = [Own(p[member].data_ptr(), p.stride(0)) for p in self.tensors]
        return Link(
            weight=own[0],
            bias=own[-1] if self.bias is not None else Own(None, 0),
            inputs=inputs,
            outputs=outputs,
            activation=self.activation,
        )


def _single(layer: tuple[nn.Linear, str]) -> _Affine:
    linear, kind = layer
    bias = None if linear.bias is None else linear.bias.detach().float().contiguous()
    return _Affine(linear.weight.detach().float().contiguous(), bias, ACTIVATIONS.index(kind))


def _is_plain(ensemble: Ensemble, parts: Sequence[Layers], x: Tensor) -> bool:
    """Whether the kernel would pass over nothing."""
    tensors = [p for part in parts for layer, _ in part for p in layer.parameters()]
    return (
        kernel() is not None
        and type(ensemble) is Ensemble
        and ensemble.engine in ("auto", "kernel")
        and all(t.device.type == "cpu" and t.is_floating_point() for t in [x, *tensors])
        and x.ndim == 2
        and not x.requires_grad
        and all(max(layer.weight.shape[1:]) <= _WIDEST for part in parts for layer, _ in part)
        and all(part[0][0].weight.shape[2] == x.shape[1] for part in parts)
        and not any(is_hooked(m) or is_parametrized(m) for m in ensemble.skeleton.modules())
        and not is_hooked(ensemble)
    )


@dataclass(frozen=True)
class _Networks:
    """Networks of all members; one that is its neighbour's with the other sign is asked only once.

    Priors of the estimators come in such pairs.

    Args:
        layers: of those that are asked.
        place: which of these each member is, `(members,)`.
        sign: with which sign, `(members, 1, 1)`.
    """

    layers: Sequence[_Affine]
    place: Tensor
    sign: Tensor

    @classmethod
    def of(cls, layers: Sequence[_Affine]) -> _Networks:
        own = torch.ones(len(layers[0].weight), dtype=torch.bool)
        first = layers[0].tensors[-1]  # few numbers, of which others hardly ever are the same
        for k in (first[1:] == first[:-1]).flatten(1).all(1).nonzero().flatten().tolist():
            own[k + 1] = not own[k] or not _are_opposite(layers, k, k + 1)
        if own.all():
            return cls(layers, torch.arange(len(own)), own.float().reshape(-1, 1, 1))
        kept = own.nonzero().squeeze(1)
        sign = torch.where(own, 1.0, -1.0).reshape(-1, 1, 1)
        return cls([layer.of(kept) for layer in layers], own.cumsum(0) - 1, sign)

    def say(self, x: Tensor) -> Tensor:
        said = _outputs(self.layers, x)
        return said if len(said) == len(self.place) else self.sign * said[self.place]

    def mean(self, x: Tensor, scale: Tensor) -> Tensor:
        """The mean of what members say, each times a number, `(batch, out)` in the type of that."""
        members = len(self.place)
        count = torch.zeros(len(self.layers[0].weight), dtype=scale.dtype)
        count.index_add_(0, self.place, self.sign.flatten().to(scale.dtype) * scale.expand(members))
        left = count.nonzero().squeeze(1)  # a network whose members cancel is not asked
        if not len(left):
            return torch.zeros(len(x), self.layers[-1].weight.shape[1], dtype=scale.dtype)
        layers = self.layers if len(left) == len(count) else [own.of(left) for own in self.layers]
        share = (count[left] / members).reshape(-1, 1, 1)
        return (share * _outputs(layers, x).to(scale.dtype)).sum(dim=0)


def _are_opposite(layers: Sequence[_Affine], a: int, b: int) -> bool:
    """Whether the one member's outputs are the other's with the other sign."""
    *hidden, last = layers
    equal = all(torch.equal(p[a], p[b]) for layer in hidden for p in layer.tensors)
    return equal and last.activation == 0 and all(torch.equal(p[a], -p[b]) for p in last.tensors)


def _outputs(layers: Sequence[_Affine], x: Tensor) -> Tensor:
    """What the kernel says of rows, `(members, batch, out)`; threads share out members."""
    library = cast(Any, kernel())
    members, outputs, _ = layers[-1].weight.shape
    said = torch.empty(members, len(x), outputs, dtype=torch.float32)
    work = len(x) * sum(layer.weight.numel() for layer in layers)
    threads = max(1, min(torch.get_num_threads(), members, int(work / _WORK_OF_A_THREAD)))
    edges = [members * part // threads for part in range(threads + 1)]
    lanes = library.hunch_lanes()

    def ask(first: int, last: int) -> None:
        links = (Link * len(layers))(*(layer.link(first) for layer in layers))
        scratch = torch.empty(library.hunch_outputs_scratch(links, len(layers)))
        chain = Chain(
            link=links,
            links=len(layers),
            members=last - first,
            rows=len(x),
            x=x.data_ptr(),
            y=said[first].data_ptr(),
            y_width=outputs,
            scratch=scratch.data_ptr(),
        )
        library.hunch_outputs(byref(chain), lanes)

    if threads == 1:
        ask(0, members)
        return said
    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(ask, *part) for part in itertools.pairwise(edges[1:])]
        ask(*edges[:2])
        for other in others:
            other.result()
    return said
