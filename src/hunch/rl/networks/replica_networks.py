"""The networks of all replicas, which act together and may learn one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hunch.adam import Adam
from hunch.errors import ConfigurationError
from hunch.nn import Ensemble
from hunch.rl.networks.shared_memory import Layout, Linked, lie_in, tensors_of
from hunch.rl.networks.target_network import clip
from hunch.storage.parts import load_parts, state_of


class ReplicaNetworks(Linked):
    """One network for each replica in a single block of memory, with an Adam for each.

    Replicas whose episodes end at other times learn at other times; each row of `values` holds the
    parameters of one, and the ensemble and the single networks are views of it.

    Args:
        networks: one for each replica, of one architecture.
        max_gradient_norm: each replica's gradient is scaled down to this Euclidean norm.

    Attributes:
        stacked: the network; of several, an `hunch.nn.Ensemble`.
        per_replica: the network of each replica.
        trained_stacked: the parameters of `stacked` that are trained.
        updates: gradient updates of each.

    Example:
        >>> nets = ReplicaNetworks([nn.Linear(2, 1), nn.Linear(2, 1)])
        >>> before = nets.values.clone()
        >>> nets.step([1], torch.ones(1, 3), learning_rate=0.1)
        >>> (nets.values - before).round(decimals=2)
        tensor([[ 0.0000,  0.0000,  0.0000],
                [-0.1000, -0.1000, -0.1000]])
    """

    def __init__(
        self, networks: Sequence[nn.Module], *, max_gradient_norm: float = float("inf")
    ) -> None:
        self._count = len(networks)
        self.stacked = networks[0] if self._count == 1 else Ensemble.from_modules(networks)
        self._max_norm = max_gradient_norm
        self._learning = [n for n, p in self.stacked.named_parameters() if p.requires_grad]
        self._link()
        self._adam = Adam(list(self.values))
        self.updates = [0] * self._count

    _linked = frozenset(
        {"per_replica", "values", "layout", "_trained", "trained_stacked", "_buffers"}
    )

    def _link(self) -> None:
        """Make the ensemble's tensors, as they are now, and the single networks' the same."""
        if isinstance(self.stacked, Ensemble) and self._count > 1:
            self.per_replica = [self.stacked.member(r) for r in range(self._count)]
        else:
            self.per_replica = [self.stacked]
        self._trained = [_chosen(network, self._learning) for network in self.per_replica]
        self.trained_stacked = _chosen(self.stacked, self._learning)
        self.values = torch.stack(
            [torch.cat([part.detach().reshape(-1) for part in own]) for own in self._trained]
        )
        self._share_memory()
        self.mark()

    def mark(self) -> None:
        """Take where the networks lie now for where they belong."""
        self.layout = Layout(self.stacked, self._learning, "network")
        shared = [self.stacked, *self.per_replica] if self._count > 1 else []
        self._buffers = [
            (part._buffers, name, tensor.data_ptr())
            for network in shared
            for part in network.modules()
            for name, tensor in part._buffers.items()
            if tensor is not None
        ]

    def _share_memory(self) -> None:
        for row, own in zip(self.values, self._trained, strict=True):
            nn.utils.vector_to_parameters(row, own)
        if self._count == 1:
            return
        sizes = [parameter.numel() for parameter in self._trained[0]]
        columns = self.values.split(sizes, dim=1)
        for parameter, column in zip(self.trained_stacked, columns, strict=True):
            parameter.data = column.view(parameter.shape)
        self._share_rest()

    def _share_rest(self) -> None:
        """Let the single networks' buffers and frozen parameters be the ensemble's."""
        if self._count == 1:
            return
        stacked = tensors_of(self.stacked)
        for r, network in enumerate(self.per_replica):
            for name, tensor in tensors_of(network).items():
                if name not in self._learning:
                    tensor.data = stacked[name].data[r]

    def settle(self) -> bool:
        """Make good what somebody did to the network's memory; say whether there was anything.

        Raises:
            ConfigurationError: if what it is now cannot be trained on.
        """
        if not self.layout.changed():
            return False
        if lie_in(self.values, _chosen(self.stacked, self._learning)):
            self._share_rest()
            self.mark()  # the whole memory was moved, to be shared with other processes
        else:
            self._link()
        return True

    def gradient(self, loss: Tensor, replica: int) -> Tensor:
        """The gradient of a loss that was computed from one replica's network, `(1, parameters)`.

        Args:
            loss: a scalar.
            replica: whose network.
        """
        grads = torch.autograd.grad(loss, self._trained[replica], materialize_grads=True)
        return torch.cat([grad.reshape(1, -1) for grad in grads], dim=1)

    @torch.no_grad()
    def step(self, replicas: Sequence[int], gradient: Tensor, learning_rate: float) -> None:
        """Move the networks of some replicas.

        Args:
            replicas: which.
            gradient: of each, `(len(replicas), parameters)`; may be scaled down in place.
            learning_rate: Adam's step size.

        Raises:
            ConfigurationError: if a forward gave a buffer other memory, which the single networks
                and all of them together no longer share.
        """
        for buffers, name, at in self._buffers:
            if (there := buffers[name]) is None or there.data_ptr() != at:
                raise ConfigurationError(
                    f"`network` assigns its buffer {name!r} anew when it is called; expected one "
                    f"written into, `self.{name}.copy_(…)`, as replicas share their memory."
                )
        if self._max_norm < float("inf"):
            clip([gradient], self._max_norm)
        moved = [self.values[r] for r in replicas]
        self._adam.step(moved, list(gradient), learning_rate, replicas)
        for r in replicas:
            self.updates[r] += 1

    def state_dict(self) -> dict[str, Tensor]:
        """The networks, the optimisers, and the number of updates."""
        state = state_of({"network": self.stacked, "optimizer": self._adam})
        state["updates"] = torch.tensor(self.updates)
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where those that gave `state` stood."""
        # All of it copies in place, so the memory stays shared.
        load_parts({"network": self.stacked, "optimizer": self._adam}, state)
        self.updates = state["updates"].tolist()


def _chosen(network: nn.Module, names: Sequence[str]) -> list[nn.Parameter]:
    own = dict(network.named_parameters())
    return [own[name] for name in names]
