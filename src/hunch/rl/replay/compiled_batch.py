"""A batch of transitions, taken from where they are stored in one call of the compiled kernel.

The plain version is `Replay._gather`, a dozen of numpy's operations on as many small arrays.
"""

from __future__ import annotations

from ctypes import byref
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hunch.kernel import Drawn, kernel
from hunch.rl.replay.transitions import Bools, Floats, Ints


class Batch(NamedTuple):
    """Transitions, each field `(replicas, batch, …)`; see `Transitions`.

    Args:
        observation: where each began; None where `observation` was not asked for.
        next_observation: what stands behind its last step, likewise.
        action: what was done.
        reward: the sum over its steps.
        discount: of what is behind them.
        position: where it is stored, among all slots and rows.
        last: the slot of its last step.
        cut: how many have a time limit at their end, whose last observation stands elsewhere.
    """

    observation: NDArray[Any] | None
    next_observation: NDArray[Any] | None
    action: Ints
    reward: Floats
    discount: Floats
    position: Ints
    last: Ints
    cut: int


class Store:
    """Where transitions are stored, for the kernel.

    Args:
        observation: `(slots, replicas, envs, …)`, of any type; None for who takes them himself.
        action: `(slots, replicas, envs)`, and so are the others.
        reward: float32.
        terminated: true ends.
        truncated: time limits.
        n_step: number of rewards summed.
        discount: γ per step.

    Example:
        >>> seen = np.arange(3.0, dtype=np.float32).reshape(3, 1, 1, 1)
        >>> no = np.zeros((3, 1, 1), bool)
        >>> one = np.ones((3, 1, 1), np.float32)
        >>> store = Store(seen, one.astype(int), one, no, no, n_step=2, discount=0.5)
        >>> at = np.zeros((1, 1), int)
        >>> batch = store.batch(at, at) if kernel() else None
        >>> (batch.next_observation.item(), batch.reward.item()) if batch else (2.0, 1.5)
        (2.0, 1.5)
    """

    def __init__(
        self,
        observation: NDArray[Any] | None,
        action: Ints,
        reward: Floats,
        terminated: Bools,
        truncated: Bools,
        n_step: int,
        discount: float,
    ) -> None:
        slots, replicas, envs = action.shape
        self._shape = () if observation is None else observation.shape[3:]
        self._dtype = None if observation is None else observation.dtype
        self._power = np.array([discount**j for j in range(n_step + 1)], np.float32)
        self._held = (observation, action, reward, terminated, truncated)
        self._call = Drawn(
            observation=None if observation is None else observation.ctypes.data,
            action=action.ctypes.data,
            reward=reward.ctypes.data,
            terminated=terminated.ctypes.data,
            truncated=truncated.ctypes.data,
            slots=slots,
            width=replicas * envs,
            bytes=0 if observation is None else observation[0, 0, 0].nbytes,
            steps=n_step,
            power=self._power.ctypes.data,
        )

    def batch(self, slot: Ints, row: Ints) -> Batch | None:
        """What began in these slots, in these rows of them; None without the kernel.

        Args:
            slot: `(replicas, batch)`.
            row: likewise.
        """
        library = kernel()
        if library is None:
            return None
        call, shape, size = self._call, slot.shape, slot.size
        slot, row = np.ascontiguousarray(slot), np.ascontiguousarray(row)
        # As few arrays as can be: to ask one for its address takes as long as to copy its rows.
        whole, real = np.empty((3, *shape), np.int64), np.empty((2, *shape), np.float32)
        first = whole.ctypes.data
        call.taken, call.index, call.last = first, first + 8 * size, first + 16 * size
        call.gain = real.ctypes.data
        call.discount = call.gain + 4 * size
        seen = led_to = None
        if self._dtype is not None:
            seen, led_to = both = np.empty((2, *shape, *self._shape), self._dtype)
            call.seen = both.ctypes.data
            call.led_to = call.seen + both[0].nbytes
        call.slot, call.row, call.count = slot.ctypes.data, row.ctypes.data, size
        library.hunch_gather(byref(call))
        return Batch(seen, led_to, whole[0], real[0], real[1], whole[1], whole[2], int(call.cut))
