"""How likely each stored transition is to be drawn: in proportion to how wrong the agent was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hunch.rl.replay.sum_tree import SumTree
from hunch.rl.replay.transitions import Floats, Ints
from hunch.validation import real_number


class Priorities:
    """Priorities of the transitions of each replica.

    Args:
        capacity: transitions of each replica.
        replicas: agents that live side by side.
        exponent: α: how strongly large errors are preferred, at least 0.

    Raises:
        ConfigurationError: if `exponent` is negative.

    Example:
        >>> priorities = Priorities(capacity=10, replicas=1, exponent=0.5)
        >>> priorities.enter(np.array([[3, 4]]), np.array([[True, True]]))
        >>> leaf, weight = priorities.draw(5, [np.random.default_rng(0)], beta=1.0)
        >>> sorted(set(leaf[0].tolist())), weight[0].tolist()
        ([3, 4], [1.0, 1.0, 1.0, 1.0, 1.0])

    Reference:
        Schaul et al. (2016), "Prioritized experience replay", section 3.3: a transition is drawn
        with probability proportional to its priority pᵅ and weighted by (N P)^-β.

    Note:
        Weights are divided by the largest of the batch, not of the buffer.
    """

    def __init__(self, capacity: int, replicas: int, exponent: float) -> None:
        self._alpha = real_number("priority_exponent", exponent, at_least=0.0)
        self.tree = SumTree(capacity, trees=replicas)
        self.largest = np.ones(replicas)  # priority of what was never drawn

    def enter(self, leaf: Ints, drawable: NDArray[np.bool_]) -> None:
        """Give new transitions `(replicas, n)` the largest priority so far, the others none."""
        self.tree.set(leaf, drawable * (self.largest**self._alpha)[:, None])

    def draw(
        self, batch_size: int, rngs: Sequence[np.random.Generator], beta: float
    ) -> tuple[Ints, Floats]:
        """Leaves `(replicas, batch)` and their importance weights.

        Args:
            batch_size: transitions for each replica.
            rngs: source of the draw, one for each replica.
            beta: how far the weights undo the preference, in [0, 1].
        """
        total = self.tree.total[:, None]
        # One draw from each of `batch_size` equal parts of the whole mass.
        parts = np.stack([rng.random(batch_size) for rng in rngs])
        mass = (np.arange(batch_size) + parts) * (total / batch_size)
        leaf = self.tree.find(np.minimum(mass, total))  # the last part may end an ulp beyond it
        weight = (self.tree.get(leaf) / total) ** -beta
        weight /= weight.max(axis=1, keepdims=True)
        return leaf, weight.astype(np.float32)

    def update(self, leaf: Ints, error: NDArray[Any]) -> None:
        """Take the sizes of errors `(replicas, n)` for priorities."""
        # An error of 0 must not shut a transition out for ever.
        priority = error.astype(np.float64) + 1e-6
        self.largest = np.maximum(self.largest, priority.max(axis=1))
        self.tree.set(leaf, priority**self._alpha)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """All priorities."""
        return {"leaves": self.tree.leaves, "largest": self.largest}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over the priorities that `state_dict` gave."""
        self.tree.load(state["leaves"])
        self.largest = np.array(state["largest"])
