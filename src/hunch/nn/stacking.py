"""Many modules of one architecture become one whose tensors carry a leading member axis."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.spectral_norm import SpectralNorm

from hunch.errors import ConfigurationError
from hunch.nn.alike import Difference, bits, check_alike
from hunch.nn.borrowing import call_with, check_replaced, places_of, tensors_of
from hunch.nn.noisy_base import DrawingLayer


def stack(members: list[nn.Module]) -> nn.Module:
    """One member whose tensors are those of all members, stacked.

    Raises:
        ConfigurationError: if members are equal, or differ in anything but their tensors.
    """
    for member in members:
        if not isinstance(member, nn.Module):
            raise ConfigurationError(
                f"`factory` returned {type(member).__name__}; expected a torch.nn.Module."
            )
    columns = [tensors_of(member) for member in members]
    for member, column in zip(members, columns, strict=True):
        check_stackable(member, column)
    check_copyable(members[0])
    _check_alike(members, columns)
    _check_distinct(columns)
    rows = {name: torch.stack([column[name].detach() for column in columns]) for name in columns[0]}
    skeleton = stand_in(members[0], rows)
    layers = [[m for m in member.modules() if isinstance(m, DrawingLayer)] for member in members]
    own = [m for m in skeleton.modules() if isinstance(m, DrawingLayer)]
    for layer, *alike in zip(own, *layers, strict=True):
        layer.hold_for_members([one._held for one in alike])
    return skeleton


def stand_in(module: nn.Module, tensors: dict[str, Tensor]) -> nn.Module:
    """A copy of a module with other tensors in place of its own.

    Args:
        module: the module.
        tensors: the others, by the names that `tensors_of` gives.

    Raises:
        ConfigurationError: if the copy has tensors that are none of these.
    """
    own = tensors_of(module)
    # deepcopy takes the others for the originals, wherever and however often those stand, so tied
    # weights stay tied.
    memo: dict[int, Any] = {}
    for name, tensor in own.items():
        if id(tensor) not in memo:
            memo[id(tensor)] = like(tensor, tensors[name])
    expected = {id(tensor) for tensor in memo.values()}
    made = copy.deepcopy(module, memo)
    for name, tensor in tensors_of(made).items():
        if id(tensor) not in expected:
            raise ConfigurationError(
                f"`{name}` of a {type(module).__name__} cannot be replaced in a copy of it; "
                "expected a module whose tensors `copy.deepcopy` can, which one of "
                "`torch.jit.script` is not."
            )
    return made


def check_stackable(member: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Refuse what would fail later without a clear word, or go wrong without any.

    Args:
        member: the member.
        tensors: its own.

    Raises:
        ConfigurationError: naming the part.
    """
    for name, part in member.named_modules():
        if any(is_lazy(t) for t in part.parameters(recurse=False)):
            raise ConfigurationError(
                f"`{name or type(part).__name__}` has lazy parameters; expected a member that was "
                "called once already, such as `lambda: (net := make(), net(x))[0]`."
            )
        if any(isinstance(t, Tensor) and t.grad_fn is not None for t in vars(part).values()):
            raise ConfigurationError(
                f"`{name or type(part).__name__}` holds a tensor computed from its parameters, as "
                "the older `nn.utils.weight_norm` makes; expected a parametrization: "
                "`nn.utils.parametrizations.weight_norm`."
            )
        if any(isinstance(hook, SpectralNorm) for hook in part._forward_pre_hooks.values()):
            raise ConfigurationError(
                f"`{name or type(part).__name__}` has the older `nn.utils.spectral_norm`, whose "
                "weight is no parameter; expected a parametrization: "
                "`nn.utils.parametrizations.spectral_norm`."
            )
        if isinstance(part, DrawingLayer) and part._members is not None:
            raise ConfigurationError(
                "members are ensembles of noisy layers, whose noise has one member axis alone; "
                "expected one ensemble of all of them."
            )
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided:
            raise ConfigurationError(
                f"`{name}` has the layout {tensor.layout}, which cannot be stacked; expected a "
                "dense tensor: `.to_dense()`."
            )
        if tensor._backward_hooks or getattr(tensor, "_post_accumulate_grad_hooks", None):
            raise ConfigurationError(
                f"`{name}` has a gradient hook, which a copy would not have; expected a member "
                f"without, and the hook on the ensemble's own {name!r}."
            )


def check_copyable(member: nn.Module) -> None:
    """Refuse a member that reaches its tensors by a way on which a copy would find other ones.

    Raises:
        ConfigurationError: naming what holds them.
    """
    try:
        check_alike(member, member)
    except Difference as held:
        raise ConfigurationError(
            f"`{held.where}` holds what is the member's own; {held.advice}."
        ) from None


def apply_to_members(
    skeleton: nn.Module, num_members: int, fn: Callable[[nn.Module], None]
) -> None:
    """Call `skeleton.apply(fn)` once for each member, with that member's tensors in place.

    Args:
        skeleton: one member, whose tensors are `(members, …)`.
        num_members: how many there are.
        fn: takes a module.

    Raises:
        ConfigurationError: if `fn` puts another kind of tensor in the place of one, or freezes a
            parameter of some members alone.
    """
    places, tensors = places_of(skeleton), tensors_of(skeleton)
    trained: dict[str, bool] = {}
    for k in range(num_members):
        own = {name: like(t, t.detach()[k]) for name, t in tensors.items()}
        after = own | call_with(places, own, partial(skeleton.apply, fn))[1]
        for name, tensor in tensors.items():
            check_replaced(name, own[name], after[name])
            tensor.detach()[k].copy_(after[name].detach())
        wanted = {name: t.requires_grad for name, t in after.items()}
        if k > 0 and wanted != trained:
            raise ConfigurationError(
                f"`fn` makes other parameters trainable in member {k} than in member 0; expected "
                "the same in all members: they are one tensor, which is trained or not."
            )
        trained = wanted
    for name, tensor in tensors.items():
        tensor.requires_grad_(trained[name])


def like(tensor: Tensor, values: Tensor) -> Tensor:
    """`values` as what `tensor` is: a parameter or a plain tensor."""
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(values, requires_grad=tensor.requires_grad)
    return values


def _check_alike(members: list[nn.Module], columns: list[dict[str, Tensor]]) -> None:
    first = columns[0]
    layout = _layout(first)
    for k, (member, column) in enumerate(zip(members, columns, strict=True)):
        if k == 0:
            continue
        if _layout(column) != layout:
            raise ConfigurationError(
                f"member {k} has other parameters than member 0: {_first_apart(layout, column)}; "
                "expected one architecture, of one type, on one device."
            )
        for name, tensor in column.items():
            if tensor.requires_grad != first[name].requires_grad:
                raise ConfigurationError(
                    f"`{name}` has requires_grad={tensor.requires_grad} in member {k} and "
                    f"{first[name].requires_grad} in member 0; expected the same in all members: "
                    "they become one tensor, which is trained or not."
                )
        try:
            check_alike(members[0], member)
        except Difference as found:
            advice = found.advice
            if found.where.rpartition(".")[2] == "training":
                advice = "put all members into one mode, with `.eval()` or `.train()`"
            raise ConfigurationError(
                f"member {k} differs from member 0 in {found.where!r}; {advice}."
            ) from None


def _first_apart(layout: list[tuple[Any, ...]], column: dict[str, Tensor]) -> str:
    """The first tensor in which a member differs from member 0, in words."""
    nothing = ("", "nothing")
    for own, other in itertools.zip_longest(_layout(column), layout, fillvalue=nothing):
        if own != other:
            name = own[0] or other[0]
            kinds = [_kind(*entry[1:]) if entry[0] == name else "missing" for entry in (own, other)]
            return f"`{name}` is {kinds[0]} and not {kinds[1]}"
    return "it is another class"


def _kind(shape: torch.Size, dtype: torch.dtype, device: torch.device, is_parameter: bool) -> str:
    what = "a parameter" if is_parameter else "a buffer"
    return f"{what} {tuple(shape)} of {dtype} on {device}"


def _layout(tensors: dict[str, Tensor]) -> list[tuple[Any, ...]]:
    return [
        (name, tensor.shape, tensor.dtype, tensor.device, isinstance(tensor, nn.Parameter))
        for name, tensor in tensors.items()
    ]


def _check_distinct(columns: list[dict[str, Tensor]]) -> None:
    """Refuse members whose tensors are all equal: a factory that draws nothing."""
    seen: dict[bytes, int] = {}
    for k, column in enumerate(columns if len(columns) > 1 else []):
        if any(t.is_meta for t in column.values()):  # without values
            return
        key = b"".join(map(bits, column.values()))
        if key in seen:
            raise ConfigurationError(
                f"members {seen[key]} and {k} are equal; expected members with values of their "
                "own: each call of a factory draws new ones, unless it returns one module again "
                "and again."
            )
        seen[key] = k
