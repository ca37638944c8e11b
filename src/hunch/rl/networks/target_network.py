"""An online network that learns, and the target network that follows it."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from hunch.adam import Adam
from hunch.rl.networks.shared_memory import Layout, Linked, lie_in, tensors_of
from hunch.storage.parts import load_parts, state_of, under

# Squares added up in a row. Torch's norm of millions of them is off by 2e-5, of these by 1e-6.
_ADDED_UP: Final = 2**16


class NetworkPair(Linked):
    """An online network, its copy from a while ago, and the optimiser that moves the first.

    Frozen parameters, such as those of a prior function, stay as they are and are the same in both.

    Args:
        network: the online network; it stays on its device from now on.
        members: networks stacked on a leading axis of all parameters; their gradients are clipped
            one by one. None for a network without such an axis.
        max_gradient_norm: the gradient is scaled down to this Euclidean norm; infinite for never.
        target_update_period: gradient updates per update of the target network.
        target_update_rate: how far the target network then moves towards the online one.
        excluded: trained parameters that somebody else moves.

    Example:
        >>> pair = NetworkPair(nn.Linear(2, 1), target_update_period=2)
        >>> pair.gradient.fill_(1.0)
        tensor([1., 1., 1.])
        >>> pair.step(learning_rate=0.1)
        >>> bool(torch.equal(pair.online.weight, pair.target.weight))
        False
        >>> pair.step(learning_rate=0.1)
        >>> bool(torch.equal(pair.online.weight, pair.target.weight))
        True

    Note:
        The optimiser is Adam; all parameters are one vector, so that it needs one kernel.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        members: int | None = None,
        max_gradient_norm: float = float("inf"),
        target_update_period: int = 1,
        target_update_rate: float = 1.0,
        excluded: Sequence[Tensor] = (),
    ) -> None:
        self.online = network
        self.target = copy.deepcopy(network).requires_grad_(False)
        self._max_norm = max_gradient_norm
        self._period, self._rate = target_update_period, target_update_rate
        self._members = members or 1
        others = {id(parameter) for parameter in excluded}
        learning = {n: p for n, p in network.named_parameters() if p.requires_grad}
        self._learning = list(learning)
        self._trained = [name for name, own in learning.items() if id(own) not in others]
        self._link()
        self._adam = Adam([self.vector])
        self.updates = 0

    _linked = frozenset(
        {
            *("parameters", "vector", "target_vector", "gradient", "layout", "_target_layout"),
            *("_rows", "_unwritten"),
        }
    )

    def _link(self) -> None:
        """Make parameters, as they are now, views of one vector; and the target's of another."""
        online, target = (dict(net.named_parameters()) for net in (self.online, self.target))
        self.parameters = [online[name] for name in self._trained]
        self.vector = as_vector(self.parameters)
        self.target_vector = as_vector([target[name] for name in self._trained])
        # Whoever differentiates writes here, in the order of `parameters`.
        self.gradient = torch.zeros_like(self.vector)
        sizes = [parameter.numel() for parameter in self.parameters]
        self._rows = [part.view(self._members, -1) for part in self.gradient.split(sizes)]
        self._unwritten: Sequence[Any] = ()
        self.mark()

    def mark(self) -> None:
        """Take where the networks lie now for where they belong."""
        self.layout = Layout(self.online, self._learning, "network")
        self._target_layout = Layout(self.target, self._learning, "target_network")

    def settle(self) -> bool:
        """Make good what somebody did to the networks' memory; say whether there was anything.

        Raises:
            ConfigurationError: if what they are now cannot be trained on.
        """
        if not self.layout.changed() | self._target_layout.changed():
            return False
        online, target = (dict(net.named_parameters()) for net in (self.online, self.target))
        if lie_in(self.vector, [online[name] for name in self._trained]) and lie_in(
            self.target_vector, [target[name] for name in self._trained]
        ):
            self.mark()  # the whole memory was moved, to be shared with other processes
        else:
            self._link()
        return True

    @torch.no_grad()
    def settle_frozen(self, fixed: str = "") -> bool:
        """Let what is frozen be in the target as it is in the online network.

        Args:
            fixed: beginning of the names of what is frozen with its buffers, if anything is.

        Returns:
            Whether somebody had changed it.
        """
        online, target = tensors_of(self.online), tensors_of(self.target)
        differ = []
        for name in online:
            own = online[name]
            frozen = isinstance(own, nn.Parameter) and not own.requires_grad
            if frozen or (fixed and name.startswith(fixed)):
                differ += [name] * (not torch.equal(own, target[name]))
        for name in differ:
            target[name].copy_(online[name])
        return bool(differ)

    def step(self, learning_rate: float) -> None:
        """Move the online network along `gradient`, and the target network if it is time to.

        Args:
            learning_rate: Adam's step size.
        """
        unwritten = [layer for layer in self._unwritten if layer.pending is not None]
        if unwritten:
            self._step_with(unwritten, learning_rate)
        else:
            if self._max_norm < float("inf"):
                clip(self._rows, self._max_norm)
            self._adam.step([self.vector], [self.gradient], learning_rate)
        self.updates += 1
        if self.updates % self._period == 0:
            self._sync_target()

    def leave_unwritten(self, layers: Sequence[Any]) -> None:
        """Let layers keep their gradients to themselves until the step, in which they are made.

        Args:
            layers: `Unwritten` of `hunch.adam` with the attributes `unwritten` and `pending`, of
                parameters that are trained here. Other gradients stand in `gradient` as ever.
        """
        for layer in self._unwritten:
            layer.unwritten, layer.pending = False, None
        self._unwritten = [] if self._members > 1 else list(layers)
        for layer in self._unwritten:
            layer.unwritten = True

    def _step_with(self, unwritten: Sequence[Any], learning_rate: float) -> None:
        factor = 1.0
        if self._max_norm < float("inf"):
            own = [place for layer in unwritten for place in layer.places(self.vector)]
            starts = {start for start, _ in own}
            rest = [row for row in self._rows if row.storage_offset() not in starts]
            squares = sum(layer.squares() for layer in unwritten)
            norm = math.sqrt(squares + float(_norm_of(rest)) ** 2)
            if not norm <= self._max_norm:  # as it is for NaN
                factor = self._max_norm / norm
        self._adam.step_with(self.vector, self.gradient, learning_rate, factor, unwritten)

    @property
    def target_synced(self) -> bool:
        """Whether the last update was one after which the target network moves."""
        return self.updates % self._period == 0

    @torch.no_grad()
    def _sync_target(self) -> None:
        """Move the target network towards the online one."""
        if self._rate == 1.0:
            self.target_vector.copy_(self.vector)
        else:
            self.target_vector.lerp_(self.vector, self._rate)
        buffers = zip(self.target.buffers(), self.online.buffers(), strict=True)
        for ours, theirs in buffers:
            ours.copy_(theirs)

    def state_dict(self) -> dict[str, Tensor]:
        """Both networks, the optimiser's moments, and the number of updates."""
        state = state_of({"online": self.online, "target": self.target})
        # One vector, so its moments have no axis of vectors in a file.
        state |= {f"optimizer.{k}": v.squeeze(0) for k, v in self._adam.state_dict().items()}
        state["updates"] = torch.tensor(self.updates)
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where the pair that gave `state` stood."""
        # Both copy in place, so parameters stay views of their vector.
        load_parts({"online": self.online, "target": self.target}, state)
        moments = under("optimizer.", state)
        self._adam.load_state_dict({k: v.unsqueeze(0) for k, v in moments.items()})
        self.updates = int(state["updates"])


def clip(gradients: Sequence[Tensor], max_norm: float) -> None:
    """Scale gradients down to a Euclidean norm, each member's by itself.

    Args:
        gradients: one for each parameter, `(members, size)`; changed in place.
        max_norm: the largest norm allowed.

    Example:
        >>> gradient = torch.tensor([[3.0, 4.0]])
        >>> clip([gradient], max_norm=1.0)
        >>> gradient
        tensor([[0.6000, 0.8000]])
    """
    factor = (max_norm / _norm_of(gradients)).clamp(max=1.0)
    # Elsewhere a look would wait.
    if factor.device.type == "cpu" and all(own == 1.0 for own in factor.tolist()):
        return
    for gradient in gradients:
        gradient.mul_(factor.unsqueeze(1))


def _norm_of(gradients: Sequence[Tensor]) -> Tensor:
    """The norm of each member's gradient, `(members,)`."""
    # A norm needs no memory for squares, of which those of a wide layer would not fit the cache.
    norms = [torch.linalg.vector_norm(part, dim=-1) for g in gradients for part in _parts_of(g)]
    norm: Tensor = norms[0]
    if len(norms) > 1:
        norm = torch.linalg.vector_norm(torch.cat(norms, 1), dim=1)
    return norm.reshape(-1)


def _parts_of(gradient: Tensor) -> list[Tensor]:
    """A gradient `(members, size)` in `(members, parts, at most _ADDED_UP)`, the last by itself."""
    blocks = gradient.shape[1] // _ADDED_UP
    if not blocks:
        return [gradient.unsqueeze(1)]
    whole, rest = gradient.split([blocks * _ADDED_UP, gradient.shape[1] - blocks * _ADDED_UP], 1)
    parts = [whole.unflatten(1, (blocks, _ADDED_UP))]
    return [*parts, rest.unsqueeze(1)] if rest.shape[1] else parts


def as_vector(parameters: Sequence[nn.Parameter]) -> Tensor:
    """All parameters as one vector, of which each parameter becomes a view.

    What changes the vector in place changes the network, so an optimiser, a copy or an average
    needs one operation instead of one for each parameter. Moving the network to another device or
    type afterwards, or copying it, undoes that.

    Args:
        parameters: all on one device and of one type; without any the vector is empty.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> as_vector(list(net.parameters())).zero_()
        tensor([0., 0., 0.])
        >>> net.bias.item()
        0.0
    """
    # As `nn.utils.parameters_to_vector`, but of parameters in any layout.
    if not parameters:
        return torch.zeros(0)
    vector = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
    nn.utils.vector_to_parameters(vector, parameters)
    return vector
