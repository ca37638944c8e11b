"""Whether two members are one module but for the values of their tensors.

An ensemble runs the code and the Python state of member 0 with every member's tensors. So whatever
else makes a member behave as it does has to be the same in all of them. Everything is compared,
private names and the insides of functions too; what cannot be compared counts as different.
"""

from __future__ import annotations

import functools
import itertools
import random
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.hooks import RemovableHandle

from hunch.nn.noisy_base import DrawingLayer

_BUFFER: Final = (
    "members may differ in their parameters and buffers alone, so make it the same for all (fresh "
    "modules that load the others' `state_dict()` have it so), or a tensor that `forward` reads "
    "from a buffer: `self.register_buffer(name, tensor)`"
)
_SUBMODULE: Final = (
    "its tensors would not be stacked, so make it a submodule, in an `nn.ModuleList` if there are "
    "several, with `requires_grad_(False)` if it is frozen; or give all members one and the same "
    "object"
)
_SOURCE: Final = (
    "members would draw from one source, so give all of them one and the same, or take torch's "
    "default generator"
)
_OWN: Final = (
    "a copy of the member would still call the old one, so make it a method, or take the module "
    "that a hook is given"
)
_ALIAS: Final = (
    "the tensors of all members would stand there, so let `forward` read the parameter or buffer"
)
_TIED: Final = "build all of them of the same parts, shared in the same places"
_UNKNOWN: Final = "it cannot be compared, so give all members one and the same object"

_HOOKS: Final = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
# Sets of keys of the hooks above: which of them take keyword inputs, or run in any case.
_HOOK_KINDS: Final = (
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks_with_kwargs",
)
# What torch itself writes into every module and that is looked at in another way, or says nothing
# about what the module computes: a compiled call is made anew by a copy.
_BOOKKEEPING: Final = frozenset(
    {"_parameters", "_buffers", "_modules", "_compiled_call_impl", *_HOOKS, *_HOOK_KINDS}
)
# Held noise is stacked, as a member's tensors are; a recurrent layer keeps its lists up to date.
_OF_KIND: Final = {DrawingLayer: {"_held"}, nn.RNNBase: {"_flat_weights", "_flat_weight_refs"}}
# What Python writes into every class.
_CLASS_BOOKKEEPING: Final = frozenset(
    {
        "__module__",
        "__dict__",
        "__weakref__",
        "__doc__",
        "__annotations__",
        "__firstlineno__",
        "__static_attributes__",
        "_abc_impl",
    }
)
_NOTHING: Final[frozenset[str]] = frozenset()
_MISSING: Final = object()
_SOURCES: Final = (
    torch.Generator,
    np.random.Generator,
    np.random.BitGenerator,
    np.random.RandomState,
    random.Random,
)
_PLAIN: Final = (type(None), bool, int, str, bytes)


class Difference(Exception):
    """Two members are not alike.

    Args:
        where: the dotted name, within a member, of what differs.
        advice: what to do about it.
    """

    def __init__(self, where: str, advice: str = _BUFFER) -> None:
        super().__init__(where, advice)
        self.where, self.advice = where, advice


def check_alike(first: nn.Module, other: nn.Module) -> None:
    """Compare two modules; a module with itself, to find functions that hold the module.

    Raises:
        Difference: if they are not one but for the values of their parameters and buffers.

    Example:
        >>> check_alike(nn.Linear(2, 1), nn.Linear(2, 1))
        >>> try:
        ...     check_alike(nn.Dropout(0.1), nn.Dropout(0.2))
        ... except Difference as difference:
        ...     print(difference.where)
        p
    """
    _Comparison(first, other).run()


def is_same_state(a: Any, b: Any) -> bool:
    """Whether two values that no member owns are equal, tensors included.

    Example:
        >>> is_same_state([torch.ones(2), "a"], [torch.ones(2), "a"])
        True
    """
    nothing = nn.Module()
    try:
        _Comparison(nothing, nothing).same(a, b, "")
    except Difference:
        return False
    return True


def _made_of(*names: str) -> Callable[..., None]:
    """A rule for objects of Python's own that are one if these attributes are."""

    def compare(comparison: _Comparison, a: Any, b: Any, where: str) -> None:
        for name in names:
            comparison.same(getattr(a, name), getattr(b, name), where)

    return compare


class _Comparison:
    """One walk through two members side by side."""

    def __init__(self, first: nn.Module, other: nn.Module) -> None:
        self.first, self.other = first, other
        self.partner: dict[int, Any] = {}  # of member 0's modules and tensors in the other
        self.taken: dict[int, Any] = {}  # the other way round
        self.seen: set[tuple[int, int]] = set()
        self.alive: list[Any] = []  # what was made for the comparison: an id is of a living object

    def run(self) -> None:
        """Raise a `Difference` if there is one."""
        for (where, a), (name, b) in itertools.zip_longest(
            _parts(self.first), _parts(self.other), fillvalue=("", None)
        ):
            known = self.partner.setdefault(id(a), b), self.taken.setdefault(id(b), a)
            if where != name or known[0] is not b or known[1] is not a:
                raise Difference(where or name, _TIED)
        self.module(self.first, self.other, "")

    def same(self, a: Any, b: Any, where: str) -> None:
        """Compare two objects of any kind."""
        if a is b and self.first is not self.other:
            return
        if isinstance(a, _PLAIN):
            if type(a) is not type(b) or a != b:
                raise Difference(where)
            return
        if (id(a), id(b)) in self.seen:
            return
        self.seen.add((id(a), id(b)))
        if id(a) in self.partner or id(b) in self.taken:
            if self.partner.get(id(a)) is not b:
                raise Difference(where)
            if isinstance(a, Tensor):
                raise Difference(where, _ALIAS)
            return  # walked by name
        self.classes(type(a), type(b), where)
        if isinstance(a, type):
            self.classes(a, b, where)
            return
        for kind, compare in self.rules.items():
            if isinstance(a, kind):
                compare(self, a, b, where)
                return
        if a is not b:
            self.pieces(a, b, where)

    def every(self, a: Iterable[Any], b: Iterable[Any], where: str) -> None:
        """Compare two rows of objects."""
        row, other = list(a), list(b)
        if len(row) != len(other):
            raise Difference(where)
        for i, (x, y) in enumerate(zip(row, other, strict=True)):
            self.same(x, y, f"{where}[{i}]")

    def module(self, a: nn.Module, b: nn.Module, where: str) -> None:
        """Compare all that stands in two modules, and their submodules."""
        self.seen.add((id(a), id(b)))
        self.classes(type(a), type(b), where or "the module")
        if id(a) not in self.partner and a is not b and (_holds(a) or _holds(b)):
            raise Difference(where, _SUBMODULE)
        own, others = vars(a), vars(b)
        for name in _HOOKS:
            if own[name] or others[name]:
                self.every(_hooks(a, name), _hooks(b, name), _join(where, name))
        ignored = _BOOKKEEPING
        for kind, names in _OF_KIND.items():
            if isinstance(a, kind):
                ignored = ignored | names
        self.attributes(own, others, ignored, where)
        for store in ("_parameters", "_buffers"):
            filled = [[(n, t is None) for n, t in space[store].items()] for space in (own, others)]
            if filled[0] != filled[1]:
                raise Difference(_join(where, store))
        if list(a._modules) != list(b._modules):
            raise Difference(_join(where, "_modules"))
        for name, part in a._modules.items():
            self.submodule(part, b._modules[name], _join(where, name))

    def submodule(self, a: nn.Module | None, b: nn.Module | None, where: str) -> None:
        if a is None or b is None:
            if a is not b:
                raise Difference(where)
        elif (id(a), id(b)) not in self.seen:
            self.module(a, b, where)

    def attributes(self, a: Any, b: Any, ignored: frozenset[str], where: str) -> None:
        """Compare two namespaces."""
        with_itself = self.first is self.other
        for name, x in a.items():
            y = b.get(name, _MISSING)
            # Most are numbers and names: no more than this is done for those.
            if name in ignored or (x is y and not with_itself) or (type(x) in _PLAIN and x is y):
                continue
            if y is _MISSING:
                raise Difference(_join(where, name))
            self.same(x, y, _join(where, name))
        for name in b:
            if name not in a and name not in ignored:
                raise Difference(_join(where, name))

    def tensor(self, a: Tensor, b: Tensor, where: str) -> None:
        """Compare two tensors that are no parameters and no buffers."""
        if a is b:
            return
        if a.requires_grad or b.requires_grad or not _equal(a, b):
            raise Difference(where)

    def hidden(self, a: nn.Module, b: nn.Module, where: str) -> None:
        """Compare two modules that stand in no `_modules`."""
        if a is not b:
            self.module(a, b, where)

    def source(self, a: Any, b: Any, where: str) -> None:
        if a is not b:
            raise Difference(where, _SOURCE)

    def number(self, a: float | complex, b: float | complex, where: str) -> None:
        if repr(a) != repr(b):  # a NaN is itself, and −0 is not 0
            raise Difference(where)

    def mapping(self, a: dict[Any, Any], b: dict[Any, Any], where: str) -> None:
        self.every(a, b, where)
        for (key, x), y in zip(a.items(), b.values(), strict=True):
            self.same(x, y, f"{where}[{key!r}]")
        self.rest(a, b, where)

    def sequence(self, a: Sequence[Any], b: Sequence[Any], where: str) -> None:
        self.every(a, b, where)
        self.rest(a, b, where)

    def rest(self, a: Any, b: Any, where: str) -> None:
        """What an instance of a container's subclass holds beside its elements."""
        self.attributes(getattr(a, "__dict__", {}), getattr(b, "__dict__", {}), _NOTHING, where)

    def elements(self, a: Any, b: Any, where: str) -> None:
        if a is not b and not all(isinstance(x, (*_PLAIN, float)) for x in (*a, *b)):
            raise Difference(where, _UNKNOWN)
        if a != b:
            raise Difference(where)

    def function(self, a: Any, b: Any, where: str) -> None:
        """Two functions are one if code and surroundings are; a factory makes its own anew."""
        if a.__code__ != b.__code__ or a.__globals__ is not b.__globals__:
            raise Difference(where)
        for x, y in zip(_captured(a), _captured(b), strict=True):
            if id(x) in self.partner or id(y) in self.taken:
                raise Difference(where, _OWN)
            self.same(x, y, where)
        self.attributes(vars(a), vars(b), _NOTHING, where)

    def reference(self, a: Any, b: Any, where: str) -> None:
        self.same(a(), b(), where)

    def classes(self, a: type, b: type, where: str) -> None:
        """Two classes are one if made by one text: a factory may define its own anew."""
        if a is b or (id(a), id(b)) in self.seen:
            return
        self.seen.add((id(a), id(b)))
        if (a.__qualname__, type(a)) != (b.__qualname__, type(b)):
            raise Difference(where)
        if len(a.__bases__) != len(b.__bases__):
            raise Difference(where)
        for base, other in zip(a.__bases__, b.__bases__, strict=True):
            self.classes(base, other, where)
        if a.__module__ == parametrize.__name__ and set(vars(a)) == set(vars(b)):
            return  # made for one module, whose parametrizations are submodules
        self.attributes(vars(a), vars(b), _CLASS_BOOKKEEPING, f"{where}.{a.__name__}")

    def pieces(self, a: Any, b: Any, where: str) -> None:
        """Two other objects are one if copies of them would be made of the same pieces."""
        try:
            made, other = a.__reduce_ex__(4), b.__reduce_ex__(4)
        except Exception as error:
            raise Difference(where, _UNKNOWN) from error
        if isinstance(made, str) or isinstance(other, str):  # one of its kind
            raise Difference(where, _UNKNOWN)
        rows = [[list(x) if isinstance(x, Iterator) else x for x in m] for m in (made, other)]
        self.alive.append((made, rows))
        if len(rows[0]) != len(rows[1]):
            raise Difference(where)
        for x, y in zip(*rows, strict=True):
            if isinstance(x, dict) and isinstance(y, dict):
                self.attributes(x, y, _NOTHING, where)
            else:
                self.same(x, y, where)

    rules: Final[dict[Any, Callable[..., None]]] = {
        Tensor: tensor,
        nn.Module: hidden,
        _SOURCES: source,
        (float, complex): number,
        (list, tuple): sequence,
        dict: mapping,
        (set, frozenset): elements,
        types.FunctionType: function,
        types.MethodType: _made_of("__func__", "__self__"),
        functools.partial: _made_of("func", "args", "keywords"),
        (staticmethod, classmethod): _made_of("__func__"),
        property: _made_of("fget", "fset", "fdel"),
        functools.cached_property: _made_of("func"),
        # Torch's and Python's bookkeeping.
        (RemovableHandle, types.MemberDescriptorType, types.GetSetDescriptorType): _made_of(),
        weakref.ReferenceType: reference,
    }


def _parts(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """All modules and tensors by name, those that stand in several places under each name."""
    for path, part in module.named_modules(remove_duplicate=False):
        yield path, part
        for store in (part._parameters, part._buffers):
            for name, tensor in store.items():
                if tensor is not None:
                    yield _join(path, name), tensor


def _holds(module: nn.Module) -> bool:
    """Whether the module has a tensor of its own."""
    return any(True for _ in module.parameters()) or any(True for _ in module.buffers())


def _hooks(module: nn.Module, name: str) -> list[Any]:
    """Hooks in their order, each with its kinds; their keys count all hooks ever made."""
    kinds = [vars(module).get(kind, {}) for kind in _HOOK_KINDS if kind.startswith(name)]
    return [
        x for key, hook in vars(module)[name].items() for x in (hook, *(key in k for k in kinds))
    ]


def _captured(function: Any) -> list[Any]:
    """What a function carries along: its closure and its default values."""
    cells = [_content(cell) for cell in function.__closure__ or ()]
    keywords = sorted((function.__kwdefaults__ or {}).items())
    return [*cells, *(function.__defaults__ or ()), *(x for pair in keywords for x in pair)]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same bits."""
    kind = (a.shape, a.dtype, a.device, a.layout)
    if kind != (b.shape, b.dtype, b.device, b.layout) or a.layout != torch.strided:
        return False
    return a.is_meta or bits(a) == bits(b)


def bits(tensor: Tensor) -> bytes:
    r"""The bits of a tensor's values, in which a NaN is itself.

    Example:
        >>> bits(torch.tensor([1], dtype=torch.uint8))
        b'\x01'
    """
    whole = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    values: bytes = whole.flatten().view(torch.uint8).numpy().tobytes()
    return values


def _join(where: str, name: Any) -> str:
    return f"{where}.{name}" if where else str(name)
