"""A first layer for observations that are one-hot: rows looked up instead of a matrix product.

An observation of D entries of which one is 1 picks one column of a linear layer's weight. For a
deep sea of size 50 that column is a 2,500th of the layer, so looking it up, and moving in each
update only the columns that the batch saw, is what makes large sizes affordable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hunch.adam import RowAdam
from hunch.kernel import kernel

Cells = NDArray[np.int32]


def is_one_hot(env: gymnasium.Env[Any, Any]) -> bool:
    """Whether an environment promises observations of a single 1, or of zeros alone.

    It does so by an attribute `one_hot_observations`; wrappers that change observations undo it. A
    `Discrete` alone is no such promise, although agents see a one-hot: what follows from it for
    members (steps of one, no random ones) is made for worlds without ways to stand still.

    Example:
        >>> import hunch.envs
        >>> [is_one_hot(gymnasium.make(name)) for name in ("hunch/DeepSea-v0", "FrozenLake-v1")]
        [True, False]
    """
    promised = getattr(env.unwrapped, "one_hot_observations", False) is True
    return promised and env.observation_space == env.unwrapped.observation_space


def is_numbered(env: gymnasium.Env[Any, Any]) -> bool:
    """Whether observations are the number of a state, which agents see as a one-hot.

    Example:
        >>> is_numbered(gymnasium.make("FrozenLake-v1")), is_numbered(gymnasium.make("CartPole-v1"))
        (True, False)
    """
    return isinstance(env.observation_space, gymnasium.spaces.Discrete)


def to_cells(observation: NDArray[Any], axes: int) -> Cells:
    """The place of the 1 in each observation; one place more than there are for zeros alone.

    Args:
        observation: `(…, *shape)`.
        axes: number of axes of one observation.

    Example:
        >>> to_cells(np.array([[0.0, 1.0], [0.0, 0.0]]), axes=1)
        array([1, 2], dtype=int32)
    """
    flat = observation.reshape(*observation.shape[: observation.ndim - axes], -1)
    cells = flat.argmax(-1)
    empty = np.take_along_axis(flat, cells[..., None], -1)[..., 0] == 0
    places: Cells = np.where(empty, flat.shape[-1], cells).astype(np.int32)
    return places


class OneHotLayer:
    """The first linear layer of all members, of an online network and of its target.

    Its weights live in tables with a row `(members · width)` for each input and replica, of which
    the layers' own weights become views. The last rows stand for an observation of zeros.

    Args:
        online: the layer, with a leading axis of `replicas · members` in its tensors.
        target: the target network's.
        replicas: agents that live side by side.
        tabular: whether the layer is all there is, so that its weights are values themselves.

    Note:
        Rows move by Adam with moments of their own that stand still while a row is not seen, as
        `torch.optim.SparseAdam` has it. Dense Adam would move every row in every update. A table of
        values needs no Adam: each moves by the step size times its mean error in the batch.
    """

    def __init__(
        self, online: nn.Linear, target: nn.Linear, replicas: int, *, tabular: bool = False
    ) -> None:
        self.replicas = replicas
        self._layers = (online, target)
        self._stacked, self._width, self._inputs = online.weight.shape
        self._behind: list[NDArray[np.int64]] = []  # rows that the target has yet to copy
        self.share()
        self._behind.clear()  # the target is a copy
        self._adam = None if tabular else RowAdam(self._table)
        self._replica = np.arange(replicas)[:, None]

    def share(self) -> None:
        """Make tables of the layers' weights, as they are now, with arrays of the same memory."""
        self._table, self._target_table = (
            _as_table(layer, self.replicas).numpy() for layer in self._layers
        )
        self._all_behind()  # whatever was put there meanwhile

    def hidden(self, cells: Cells, *, target: bool = False) -> Tensor:
        """The layer's outputs without a bias `(replicas · members, batch, width)`.

        Args:
            cells: `(replicas, batch)`.
            target: whether the target network's.
        """
        table, rows = self._target_table if target else self._table, self._rows(cells)
        if (library := kernel()) is not None:
            found = torch.empty(self._stacked, cells.shape[1], self._width, dtype=torch.float32)
            members = self._stacked // self.replicas
            sizes = self.replicas, members, cells.shape[1], self._width
            library.hunch_look_up(table.ctypes.data, rows.ctypes.data, *sizes, found.data_ptr())
            return found
        return self._by_member(torch.from_numpy(table.take(rows.ravel(), axis=0)))

    def hidden_of(self, cells: Cells, member: NDArray[np.int64]) -> Tensor:
        """As `hidden` of one member each, by the online network, `(replicas · batch, width)`.

        Args:
            cells: `(replicas, batch)`.
            member: of each, among its replica's.
        """
        by_member = self._table.reshape(len(self._table), -1, self._width)
        found = by_member[self._rows(cells), member]
        return torch.from_numpy(found.reshape(-1, self._width))

    def step(
        self, cells: Cells, gradient: Tensor, learning_rate: float, drawn: Tensor | None = None
    ) -> None:
        """Move the rows of a batch.

        Args:
            cells: `(replicas, batch)`.
            gradient: of the loss with respect to `hidden`, `(replicas · members, batch, width)`.
            learning_rate: Adam's step size, or how far a table's value goes towards its target.
            drawn: 1 where a value of a table learns, in the shape of `gradient`.
        """
        rows, place = np.unique(self._rows(cells), return_inverse=True)
        summed = self._summed(gradient, place, len(rows))
        # What a batch holds several times moves by the sum, or towards its mean target.
        if self._adam is not None:
            self._adam.step(self._table, rows, summed, learning_rate)
        elif drawn is None:
            raise ValueError("a table has to be told which of its values learn")
        else:  # the gradient is that of a mean over the batch
            times = self._summed(drawn, place, len(rows))
            summed *= np.float32(learning_rate * cells.shape[1]) / np.maximum(times, 1.0)
            self._table[rows] -= summed
        self._table[-self.replicas :] = 0.0  # without an input no weight acts
        self._behind.append(rows)

    def _summed(
        self, gradient: Tensor, place: NDArray[np.int64], count: int
    ) -> NDArray[np.float32]:
        """Sums `(count, members · width)` of what belongs to the same row."""
        if (library := kernel()) is not None:
            gradient = gradient.contiguous()
            found = np.empty((count, self._table.shape[1]), np.float32)
            members, batch = self._stacked // self.replicas, gradient.shape[1]
            sizes = self.replicas, members, batch, self._width, count
            library.hunch_sum_rows(
                gradient.data_ptr(), place.ctypes.data, *sizes, found.ctypes.data
            )
            return found
        by_row = self._by_row(gradient)
        total = torch.zeros(count, by_row.shape[1])
        summed: NDArray[np.float32] = total.index_add_(
            0, torch.from_numpy(place.reshape(-1)), by_row
        ).numpy()
        return summed

    def sync_target(self) -> None:
        """Copy to the target what moved since the last time."""
        if self._layers[0].weight._version != self._version:
            self._all_behind()  # somebody else wrote there, since what moves rows here is NumPy
        rows = np.unique(np.concatenate(self._behind)) if self._behind else np.zeros(0, np.int64)
        self._target_table[rows] = self._table.take(rows, axis=0)
        self._behind.clear()

    def _all_behind(self) -> None:
        self._behind = [np.arange(len(self._table))]
        self._version = self._layers[0].weight._version

    def state_dict(self) -> dict[str, Tensor]:
        """Adam's moments and what the target has yet to copy; the weights are the networks' own."""
        behind = np.concatenate(self._behind) if self._behind else np.zeros(0, np.int64)
        moments = {} if self._adam is None else self._adam.state_dict()
        return {**moments, "behind": torch.from_numpy(behind)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where the layer that gave `state` stood."""
        if self._adam is not None:
            self._adam.load_state_dict(state)
        self._behind = [state["behind"].numpy()]

    def _rows(self, cells: Cells) -> NDArray[np.int64]:
        return cells.astype(np.int64) * self.replicas + self._replica

    def _by_member(self, rows: Tensor) -> Tensor:
        """`(replicas · batch, members · width)` to `(replicas · members, batch, width)`."""
        by_replica = rows.view(self.replicas, -1, self._stacked // self.replicas, self._width)
        return by_replica.transpose(1, 2).reshape(self._stacked, -1, self._width)

    def _by_row(self, gradient: Tensor) -> Tensor:
        by_replica = gradient.view(self.replicas, self._stacked // self.replicas, -1, self._width)
        return by_replica.transpose(1, 2).reshape(-1, self._table.shape[1])


def _as_table(layer: nn.Linear, replicas: int) -> Tensor:
    """A table that holds the layer's weights; from now on they are views of it."""
    stacked, width, inputs = layer.weight.shape
    # With replicas the rows of one input lie side by side, so each is a row of its own.
    table = torch.zeros(inputs + 1, stacked, width)
    table[:inputs] = layer.weight.detach().permute(2, 0, 1)
    layer.weight.data = table[:inputs].permute(1, 2, 0)
    return table.view((inputs + 1) * replicas, -1)
