"""The last observations of truncated episodes, which have no slot of their own in a replay buffer.

The slot behind the last step of an episode holds the first observation of the next one. After a
true end nobody asks for what the step led to; after a time limit its value is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Prior = NDArray[np.float32]


class FinalObservations:
    """What truncated episodes ended with, by the slot of the last step and the row within it.

    Args:
        prior_shape: shape of the prior that belongs to an observation; None for no priors.

    Attributes:
        by_slot: rows, what they ended with and its prior, by slot.

    Example:
        >>> final_observations = FinalObservations()
        >>> final_observations.add(7, 0, np.array([5.0]))
        >>> batch = np.zeros((1, 1, 1))
        >>> truncated, slot, row = np.array([[True]]), np.array([[7]]), np.array([[0]])
        >>> final_observations.put_into(batch, None, truncated, slot, row)
        >>> batch.item()
        5.0
    """

    def __init__(self, prior_shape: tuple[int, ...] | None = None) -> None:
        self._prior_shape = prior_shape
        self.by_slot: dict[int, list[tuple[int, NDArray[Any], Prior | None]]] = {}

    def add(self, slot: int, row: int, observation: NDArray[Any]) -> None:
        """Keep a copy of what the episode of `row` ended with, its last step being in `slot`."""
        self.by_slot.setdefault(slot, []).append((row, observation.copy(), None))

    def forget(self, slot: int) -> None:
        """Drop them: the slot is written over."""
        self.by_slot.pop(slot, None)

    def cache_priors(
        self, slots: Collection[int], of: Callable[[int, NDArray[Any]], Prior]
    ) -> None:
        """Write priors on what is kept for `slots`.

        Args:
            slots: the slots.
            of: from a row and an observation to its prior.
        """
        for slot in self.by_slot.keys() & set(slots):
            self.by_slot[slot] = [
                (row, final, of(row, final)) for row, final, _ in self.by_slot[slot]
            ]

    def put_into(
        self,
        observation: NDArray[Any],
        prior: Prior | None,
        truncated: NDArray[np.bool_],
        slot: NDArray[np.int64],
        row: NDArray[np.int64],
    ) -> None:
        """Write what is kept over the observations of a batch, and over their priors.

        Args:
            observation: what each transition led to, `(replicas, batch, …)`, changed in place.
            prior: its priors, if there are any; changed in place.
            truncated: whether its episode was truncated there, `(replicas, batch)`.
            slot: slot of each transition's last step, `(replicas, batch)`.
            row: its row within the slot.
        """
        for position in zip(*np.nonzero(truncated), strict=True):
            for stored, final, final_prior in self.by_slot[int(slot[position])]:
                if stored == row[position]:
                    observation[position] = final
                    if prior is not None:
                        prior[position] = final_prior

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """All that is kept; nothing if that is nothing."""
        entries = [(slot, *entry) for slot, kept in self.by_slot.items() for entry in kept]
        if not entries:
            return {}
        state = {
            "slot": np.array([[slot, row] for slot, row, _, _ in entries]),
            "observation": np.stack([final for _, _, final, _ in entries]),
        }
        if self._prior_shape is not None:
            blank = np.zeros(self._prior_shape, np.float32)  # of those not cached yet
            state["note"] = np.stack([blank if prior is None else prior for *_, prior in entries])
        return state

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `state_dict` gave."""
        self.by_slot = {}
        for i, (slot, row) in enumerate(state["slot"].tolist() if state else []):
            prior = state["note"][i] if self._prior_shape is not None else None
            self.by_slot.setdefault(slot, []).append((row, state["observation"][i], prior))
