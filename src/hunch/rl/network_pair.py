"""An online network that learns, and the target network that follows it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class NetworkPair:
    """An online network, its copy from a while ago, and the optimiser that moves the first.

    Frozen parameters, such as those of a prior function, stay as they are and are the same in both.

    Args:
        network: the online network; it stays on its device from now on.
        members: networks stacked on a leading axis of all parameters; their gradients are clipped
            one by one. None for a network without such an axis.
        max_gradient_norm: the gradient is scaled down to this Euclidean norm; infinite for never.
        target_update_period: gradient updates per update of the target network.
        target_update_rate: how far the target network then moves towards the online one.
        apart: trained parameters that somebody else moves.

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
        apart: Sequence[Tensor] = (),
    ) -> None:
        self.online = network
        self.target = copy.deepcopy(network).requires_grad_(False)
        self._max_norm = max_gradient_norm
        self._period, self._rate = target_update_period, target_update_rate
        pairs = zip(self.online.parameters(), self.target.parameters(), strict=True)
        others = {id(parameter) for parameter in apart}
        trained = [pair for pair in pairs if pair[0].requires_grad and id(pair[0]) not in others]
        self.parameters = [online for online, _ in trained]
        self.vector = as_vector(self.parameters)
        self.target_vector = as_vector([target for _, target in trained])
        # Whoever differentiates writes here, in the order of `parameters`.
        self.gradient = self.vector.grad = torch.zeros_like(self.vector)
        sizes = [parameter.numel() for parameter in self.parameters]
        self._rows = [part.view(members or 1, -1) for part in self.gradient.split(sizes)]
        # The fused kernel takes a third of the default's time on a CPU.
        fused = self.vector.device.type in ("cpu", "cuda")
        self._optimizer = torch.optim.Adam([self.vector], fused=fused)
        self.updates = 0

    def step(self, learning_rate: float) -> None:
        """Move the online network along `gradient`, and the target network if it is time to.

        Args:
            learning_rate: Adam's step size.
        """
        if self._max_norm < float("inf"):
            clip(self._rows, self._max_norm)
        self._optimizer.param_groups[0]["lr"] = learning_rate
        self._optimizer.step()
        self.updates += 1
        if self.followed:
            self._follow()

    @property
    def followed(self) -> bool:
        """Whether the last update was one after which the target network moves."""
        return self.updates % self._period == 0

    @torch.no_grad()
    def _follow(self) -> None:
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
        state = {f"online.{name}": value for name, value in self.online.state_dict().items()}
        state |= {f"target.{name}": value for name, value in self.target.state_dict().items()}
        state |= {
            f"optimizer.{name}": value
            for name, value in self._optimizer.state.get(self.vector, {}).items()
        }
        state["updates"] = torch.tensor(self.updates)
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where the pair that gave `state` stood."""

        def under(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

        # Both copy in place, so parameters stay views of their vector.
        self.online.load_state_dict(under("online."))
        self.target.load_state_dict(under("target."))
        moments = {k: v.clone() for k, v in under("optimizer.").items()}
        self._optimizer.state.clear()
        if moments:
            self._optimizer.state[self.vector] = {
                name: value.to(self.vector.device) if name == "step" else value.to(self.vector)
                for name, value in moments.items()
            }
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
    norm = torch.stack([gradient.square().sum(1) for gradient in gradients]).sum(0).sqrt()
    factor = (max_norm / norm).clamp(max=1.0).unsqueeze(1)
    for gradient in gradients:
        gradient.mul_(factor)


def as_vector(parameters: Sequence[nn.Parameter]) -> Tensor:
    """All parameters as one vector, of which each parameter becomes a view.

    What changes the vector in place changes the network, so an optimiser, a copy or an average
    needs one operation instead of one for each parameter. Moving the network to another device or
    type afterwards would undo that.

    Args:
        parameters: at least one, all on one device and of one type.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> as_vector(list(net.parameters())).zero_()
        tensor([0., 0., 0.])
        >>> net.bias.item()
        0.0
    """
    vector = nn.utils.parameters_to_vector(parameters).detach().clone()
    nn.utils.vector_to_parameters(vector, parameters)
    return vector
