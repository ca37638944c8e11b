"""One module run with the tensors of another, and what its forward leaves behind.

A forward may do more than return something: change a buffer in place, as batch norm does, give a
buffer's name to a new tensor, or set an attribute. What is done in place reaches the tensors that
were lent; the rest has to be collected, and put where it belongs or refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from hunch.errors import ConfigurationError
from hunch.nn.alike import is_same_state

# The lists in which a recurrent layer keeps its present weights for its kernel.
_TORCHS_OWN: Final = ("_flat_weights", "_flat_weight_refs")

Places = dict[str, tuple[dict[str, Any], str]]
"""Where each tensor of a module stands: a dictionary of one of its parts, and the key there."""


def places_of(module: nn.Module) -> Places:
    """Where all parameters and buffers stand, by name; one that stands twice has two names.

    Example:
        >>> list(places_of(nn.Linear(2, 1)))
        ['weight', 'bias']
    """
    return {
        f"{path}.{name}" if path else name: (store, name)
        for path, part in module.named_modules()
        for store in (part._parameters, part._buffers)
        for name, tensor in store.items()
        if tensor is not None
    }


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers by name; one that stands twice has two names.

    Example:
        >>> list(tensors_of(nn.Linear(2, 1)))
        ['weight', 'bias']
    """
    return {name: store[key] for name, (store, key) in places_of(module).items()}


def call_with(
    places: Places, tensors: dict[str, Tensor], call: Callable[[], Any]
) -> tuple[Any, dict[str, Any]]:
    """Call a function while other tensors stand in a module.

    Args:
        places: of the module's tensors.
        tensors: the others, by the same names.
        call: the function, such as the module's forward.

    Returns:
        What it returns, and what it put in the place of some of them.
    """
    own = [store[key] for store, key in places.values()]
    try:
        for name, (store, key) in places.items():
            store[key] = tensors[name]
        returned = call()
        after = {name: store.get(key) for name, (store, key) in places.items()}
    finally:
        for (store, key), tensor in zip(places.values(), own, strict=True):
            store[key] = tensor
    return returned, {name: new for name, new in after.items() if new is not tensors[name]}


def check_stacked(tensors: dict[str, Tensor], num_members: int) -> None:
    """Refuse tensors without a member axis, such as those of a part put in afterwards.

    Raises:
        ConfigurationError: naming the tensor.
    """
    for name, tensor in tensors.items():
        if tensor.ndim == 0 or tensor.shape[0] != num_members:
            raise ConfigurationError(
                f"`{name}` has shape {tuple(tensor.shape)} in an ensemble of {num_members}; "
                "expected (members, …): change the members before the ensemble is built from them."
            )


def check_replaced(name: str, old: Tensor, new: Any) -> None:
    """Refuse what cannot stand in a member's place for a tensor, since all members have one.

    Args:
        name: of the tensor.
        old: what stood there.
        new: what a member put there.

    Raises:
        ConfigurationError: if shape, type or device are others, or it is no tensor.
    """
    kind = (tuple(old.shape), old.dtype, old.device)
    got = (tuple(new.shape), new.dtype, new.device) if isinstance(new, Tensor) else new
    if got != kind:
        raise ConfigurationError(
            f"`{name}` got {got} in a member; expected a tensor as before, {kind}: those of all "
            "members are one tensor."
        )


def check_kept(places: Places, changed: dict[str, Tensor]) -> None:
    """Refuse new tensors that a forward gave to its module and no member can keep.

    Raises:
        ConfigurationError: for a parameter, or for a buffer that would keep the graph of its
            forward alive.
    """
    for name, tensor in changed.items():
        store, key = places[name]
        if isinstance(store[key], nn.Parameter):
            raise ConfigurationError(
                f"`{name}` is a parameter that a member's forward replaces; expected it to be "
                "changed in place, under `torch.no_grad()`."
            )
        if tensor.requires_grad:
            raise ConfigurationError(
                f"`{name}` is a buffer to which a member's forward assigns a tensor with a "
                "gradient, so every forward would keep the graphs of all before; expected "
                "`.detach()`: a buffer is not trained."
            )


def written_by_users(module: nn.Module) -> list[nn.Module]:
    """The parts whose forward may set attributes: those with code from outside torch and hunch."""
    return [part for part in module.modules() if not _is_known(type(part))]


def _is_known(kind: type) -> bool:
    homes = (base.__module__.split(".")[0] for base in kind.__mro__)
    return all(home in ("torch", "hunch", "builtins") for home in homes)


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Within this block forwards leave nothing behind: buffers and attributes are put back."""
    # Layers of torch's change their buffers in training only, where nobody needs this.
    parts = written_by_users(module)
    attributes = Attributes(parts)
    buffers = [
        (part._buffers, name, tensor, tensor.clone())
        for part in parts
        for name, tensor in part._buffers.items()
        if tensor is not None
    ]
    try:
        yield
    finally:
        attributes.take_back()
        for store, name, tensor, before in buffers:
            store[name] = tensor
            with torch.no_grad():
                tensor.copy_(before)


class Attributes:
    """What forwards set on modules, one forward after another.

    Args:
        parts: the modules.
    """

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        self._spaces = [(vars(part), dict(vars(part))) for part in parts]
        self._versions = [
            (name, tensor, tensor._version)
            for _, before in self._spaces
            for name, tensor in before.items()
            if isinstance(tensor, Tensor) and not tensor.is_inference()
        ]
        self._left: list[dict[tuple[int, str], Any]] = []

    def take_back(self) -> None:
        """Note what the last forward set, and put back what stood there before."""
        left: dict[tuple[int, str], Any] = {}
        for i, (space, before) in enumerate(self._spaces):
            if space.keys() == before.keys() and all(space[n] is v for n, v in before.items()):
                continue
            left |= {
                (i, n): v
                for n, v in space.items()
                if (n not in before or v is not before[n]) and n not in _TORCHS_OWN
            }
            space.clear()
            space.update(before)
        self._left.append(left)

    def settle(self) -> None:
        """Set what all forwards set alike.

        Raises:
            ConfigurationError: if they differ, so that one member would go on with another's.
        """
        first = self._left[0]
        for left in self._left[1:]:
            for i, name in {**first, **left}:
                key = (i, name)
                if key not in first or key not in left or not is_same_state(first[key], left[key]):
                    raise _shared(name)
        if len(self._left) > 1:
            for name, tensor, version in self._versions:
                if tensor._version != version:
                    raise _shared(name)
        for (i, name), value in first.items():
            if any(map(_is_mapped, tree_leaves(value))):
                raise _shared(name)
            self._spaces[i][0][name] = value


def _is_mapped(value: Any) -> bool:
    return isinstance(value, Tensor) and torch._C._functorch.is_batchedtensor(value)


def _shared(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"`{name}` is an attribute that a member's forward changes, and members differ in it; "
        "expected a buffer (`self.register_buffer(name, tensor)`), or an output: members share "
        "all that is neither parameter nor buffer."
    )
