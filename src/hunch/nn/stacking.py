"""Many modules of one architecture become one whose tensors carry a leading member axis."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from hunch.errors import ConfigurationError
from hunch.nn.noisy_base import NoisyLayer


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
        _check_stackable(member)
    first = members[0]
    _check_alike(members)
    stacked: dict[int, Any] = {}
    for source in ("named_parameters", "named_buffers"):
        columns = [dict(getattr(member, source)()) for member in members]
        for name, tensor in columns[0].items():
            rows = torch.stack([column[name].detach() for column in columns])
            stacked[id(tensor)] = like(tensor, rows)
    # deepcopy takes the stacked tensors for the originals, wherever and however often those stand,
    # so tied weights stay tied.
    return copy.deepcopy(first, stacked)


def _check_stackable(member: nn.Module) -> None:
    """Refuse what would fail later without a clear word, or go wrong without any."""
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
        if isinstance(part, NoisyLayer) and part._members is not None:
            raise ConfigurationError(
                "members are ensembles of noisy layers, whose noise has one member axis alone; "
                "expected one ensemble of all of them."
            )


def like(tensor: Tensor, values: Tensor) -> Tensor:
    """`values` as what `tensor` is: a parameter or a plain tensor."""
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(values, requires_grad=tensor.requires_grad)
    return values


def _check_alike(members: list[nn.Module]) -> None:
    first = members[0]
    layout = [(n, t.shape, t.dtype) for n, t in first.state_dict(keep_vars=True).items()]
    traits = _traits(first)
    for k, member in enumerate(members[1:], 1):
        if [(n, t.shape, t.dtype) for n, t in member.state_dict(keep_vars=True).items()] != layout:
            raise ConfigurationError(
                f"member {k} has other parameters than member 0; expected one architecture."
            )
        for name, value in _traits(member).items():
            if name not in traits or not _same(traits[name], value):
                raise ConfigurationError(
                    f"member {k} differs from member 0 in {name!r}; members may differ in their "
                    "tensors alone, so keep what varies in a buffer."
                )
    if len(members) == 1:
        return
    seen: dict[bytes, int] = {}
    for k, member in enumerate(members):
        values = [t.detach().cpu().contiguous() for t in member.state_dict().values()]
        key = b"".join(v.flatten().view(torch.uint8).numpy().tobytes() for v in values)
        if key in seen:
            raise ConfigurationError(
                f"members {seen[key]} and {k} are equal; expected each call of `factory` to draw "
                "new initial values (does it return one module again and again?)."
            )
        seen[key] = k


def _traits(module: nn.Module) -> dict[str, Any]:
    """What makes a module behave as it does, apart from its tensors: numbers, names, functions."""
    kinds = (bool, int, float, str, tuple)
    traits: dict[str, Any] = {}
    for path, part in module.named_modules():
        # By name: a parametrized layer gets a class of its own for each instance.
        traits[path or "the module"] = type(part).__qualname__
        for name, value in vars(part).items():
            plain = isinstance(value, kinds) or callable(value)
            if plain and not name.startswith("_") and not isinstance(value, nn.Module):
                traits[f"{path}.{name}".lstrip(".")] = value
    return traits


def _same(a: Any, b: Any) -> bool:
    """Whether two traits are one: a factory makes its lambdas anew at each call."""
    if a is b:
        return True
    if hasattr(a, "__code__") and hasattr(b, "__code__"):
        captured = [
            [cell.cell_contents for cell in f.__closure__ or ()] + list(f.__defaults__ or ())
            for f in (a, b)
        ]
        return a.__code__ is b.__code__ and all(_same(p, q) for p, q in zip(*captured, strict=True))
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return False
    return bool(a == b)


def has_ties(module: nn.Module) -> bool:
    """Whether one tensor stands in two places of the module."""
    every: list[Tensor] = [t for _, t in module.named_parameters(remove_duplicate=False)]
    every += [t for _, t in module.named_buffers(remove_duplicate=False)]
    return len(every) != len({id(t) for t in every})
