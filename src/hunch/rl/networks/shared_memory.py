"""Objects whose parts share memory: copied, pickled, and found out when the sharing ends.

Agents move all parameters of a network as one vector, run its layers on views of them, and act on
numpy arrays of the same memory. Python's copies and pickles know nothing of that: they make a
parameter and its vector two things. So whatever shares memory is left out of both and made anew.
And who gives a parameter other memory, as `network.to(…)` or `load_state_dict(…, assign=True)` do,
ends the sharing on a living agent; that is noticed before the next update.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from hunch.errors import ConfigurationError


class Linked:
    """An object of which some attributes share others' memory; `_link` makes them.

    Example:
        >>> import copy
        >>> class Doubled(Linked):
        ...     _linked = frozenset({"view"})
        ...     def __init__(self, values):
        ...         self.values = values
        ...         self._link()
        ...     def _link(self):
        ...         self.view = self.values[:2]
        >>> import numpy as np
        >>> copied = copy.deepcopy(Doubled(np.zeros(3)))
        >>> copied.values += 1
        >>> copied.view
        array([1., 1.])
    """

    _linked: ClassVar[frozenset[str]] = frozenset()

    def _link(self) -> None:
        """Make all attributes named in `_linked`, of the others."""

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a pickle takes along."""
        return {name: value for name, value in vars(self).items() if name not in self._linked}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._link()


class Layout:
    """The tensors of a network and where they lie, to be compared with what they are later.

    Args:
        network: the network.
        trained: names of the parameters that are trained.
        name: what messages call the network.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> layout = Layout(net, ["weight", "bias"], "network")
        >>> net = net.double().float()
        >>> layout.moved, layout.changed()
        (True, True)
    """

    def __init__(self, network: nn.Module, trained: Sequence[str], name: str) -> None:
        self._network, self._name = network, name
        self._modules = list(network.modules())
        self._before = {
            key: _Known(tensor, _kind(tensor), tensor.data_ptr())
            for key, tensor in tensors_of(network).items()
        }
        self._trained = frozenset(trained)
        # Where a module keeps its parameter, so that one put in its place is seen as well.
        self._places = []
        for key in trained:
            owner, _, own = key.rpartition(".")
            parameters = network.get_submodule(owner)._parameters
            self._places.append((parameters, own, self._before[key].at))

    @property
    def first_moved(self) -> bool:
        """Whether the first trained parameter lies elsewhere: the quickest of all looks.

        What moves a whole network moves it.
        """
        parameters, name, at = self._places[0]
        there = parameters.get(name)
        return there is None or there.data_ptr() != at

    @property
    def moved(self) -> bool:
        """Whether a trained parameter lies elsewhere: a quick look, for every update."""
        for parameters, name, at in self._places:
            there = parameters.get(name)
            if there is None or there.data_ptr() != at:
                return True
        return False

    def changed(self) -> bool:
        """Whether any tensor lies elsewhere or is another one: a thorough look.

        Raises:
            ConfigurationError: if what is there now cannot take the place of what was.
        """
        if [*map(id, self._network.modules())] != [*map(id, self._modules)]:
            raise ConfigurationError(
                f"`{self._name}` has other layers than when the agent was made; expected the same: "
                "make a new agent to train another network."
            )
        now = tensors_of(self._network)
        moved = False
        for key, known in self._before.items():
            there = now.get(key)
            if key in self._trained:
                self._check(key, known, there)
            moved |= there is None or there is not known.tensor or there.data_ptr() != known.at
        return moved

    def _check(self, key: str, known: _Known, there: Tensor | None) -> None:
        if there is None:
            raise ConfigurationError(
                f"`{self._name}` has no parameter {key!r} any more; expected those that it had "
                "when the agent was made: make a new agent to train another network."
            )
        if _kind(there) != known.kind:
            raise ConfigurationError(
                f"`{self._name}` has its parameter {key!r} as {_kind(there)}; expected "
                f"{known.kind}, as when the agent was made: move it back, or make a new agent "
                "with `device=…`."
            )
        if not there.requires_grad and self._name == "network":
            raise ConfigurationError(
                f"`{self._name}` has its parameter {key!r} frozen; expected requires_grad=True, as "
                "when the agent was made: freeze parameters before you give the agent a network."
            )


class _Known(NamedTuple):
    """A tensor as it was."""

    tensor: Tensor
    kind: str
    at: int


def _kind(tensor: Tensor) -> str:
    dtype = str(tensor.dtype).removeprefix("torch.")
    return f"{dtype} {tuple(tensor.shape)} on {tensor.device}"


def lie_in(memory: Tensor, tensors: Sequence[Tensor]) -> bool:
    """Whether all tensors are views of one memory, wherever that has been moved to.

    Example:
        >>> import torch
        >>> whole = torch.zeros(5)
        >>> lie_in(whole, [whole[:2], whole[3:]]), lie_in(whole, [torch.zeros(2)])
        (True, False)
    """
    at = memory.untyped_storage().data_ptr()
    return all(tensor.untyped_storage().data_ptr() == at for tensor in tensors)


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers of a network by their names, those included that are not saved.

    Example:
        >>> [*tensors_of(nn.Linear(2, 1))]
        ['weight', 'bias']
    """
    named: dict[str, Tensor] = dict(network.named_parameters())
    return named | dict(network.named_buffers())
