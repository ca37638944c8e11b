"""Which returns a categorical distribution covers: chosen from rewards seen, or given and watched.

What lies beyond the range is put at its end and cannot be learned. What the range is wider than it
need be is lost in resolution: 51 atoms are not many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hunch.errors import warn_user
from hunch.rl.networks.value_heads import ValueHead
from hunch.rl.objectives.returns import discounted_returns, ends_of, lasting_returns
from hunch.rl.replay.replay import Replay

Doubles = NDArray[np.float64]

LOOK_EVERY: Final = 500  # steps of each environment
FURTHEST_BACK: Final = 10_000  # steps of each environment that a look goes back
TOLERATED: Final = 0.05  # of the range's width, beyond its end
MARGIN: Final = 0.25  # left beyond the returns seen when they prove a range too narrow

UNLEARNED: Final = 1_000  # gradient updates after which targets are more than chance
WATCH_EVERY: Final = 16  # gradient updates
WATCHED: Final = 64  # batches that one warning rests on
MUCH: Final = 0.1  # of the mass of targets
MUCH_WORSE: Final = 4.0

_OUTWARDS: Final = np.array([-1.0, 1.0])  # the way from within to both ends


class ValueRange:
    """The ends of the distributions of all replicas.

    A range that is chosen covers, for each replica by itself, the discounted returns of its
    episodes so far, and what their mean reward would bring if they lasted ten times as long; it is
    chosen before the first gradient update and only ever grows. One that is given stays. Either is
    watched: once much of the targets' mass lies beyond it, the user is told.

    Args:
        value_head: of the agent, without a range of its own if that is to be chosen.
        chosen: whether the range is chosen.
        discount: γ per environment step.
        replicas: agents that live side by side.

    Attributes:
        value_head: the value head with the ranges as they are now.
        categorical: whether there are ranges at all.
        chooses: whether they are chosen.

    Example:
        >>> value_head = ValueHead(actions=2, distribution="categorical", atoms=3)
        >>> ranges = ValueRange(value_head, chosen=True, discount=0.5, replicas=1)
        >>> reward, no = np.ones((1000, 1, 1)), np.zeros((1000, 1, 1), bool)
        >>> ranges.cover(reward, no, no)
        >>> ranges.value_head.low, ranges.value_head.high
        (0.0, 2.0)
    """

    def __init__(
        self, value_head: ValueHead, *, chosen: bool, discount: float, replicas: int
    ) -> None:
        self.value_head = value_head
        self.categorical = value_head.distribution == "categorical"
        self.chooses = chosen and self.categorical
        self._discount = discount
        self._ends = np.tile(np.array([value_head.low, value_head.high], np.float64), (replicas, 1))
        self._known = np.zeros(replicas, np.bool_)  # whether rewards told anything yet
        self._looked = -1  # steps of each environment at the last look
        self._clipped = np.zeros((replicas, 2))  # shares beyond both ends, summed
        self._batches = 0
        self._told = 0.0

    def look(self, replay: Replay) -> None:
        """Choose the ranges, or widen those that turn out too narrow, if it is time to look."""
        if not self.chooses or 0 <= self._looked > replay.steps - LOOK_EVERY:
            return
        reach = FURTHEST_BACK
        if self._discount < 1.0:  # what is further away counts for a twentieth
            reach = min(reach, LOOK_EVERY + int(3.0 / (1.0 - self._discount)))
        self.cover(*replay.recent(reach))
        self._looked = replay.steps

    def cover(self, reward: Doubles, terminated: NDArray[Any], ended: NDArray[Any]) -> None:
        """Let the ranges cover what rewards make likely.

        Args:
            reward: in order of time, `(steps, replicas, envs)`.
            terminated: where the environment ended an episode.
            ended: where an episode ended in any way.
        """
        seen = discounted_returns(reward, ended, self._discount)
        lasting = lasting_returns(reward, terminated, ended, self._discount)
        before = self._ends.copy()
        for r, ends in enumerate(before):
            needed = ends_of(seen[:, r], lasting[:, r])
            if needed[0] == needed[1]:
                continue
            if self._known[r]:
                beyond = (needed - ends) * _OUTWARDS > TOLERATED * np.ptp(ends)
                wider = self._with_margin(reward[:, r], seen[:, r], needed)
                self._ends[r] = np.where(beyond, wider, ends)
            else:
                # With updates behind it, the network learned 0 as the middle of its range.
                middle = np.abs(needed).max() * _OUTWARDS
                self._ends[r] = needed if self._looked < 0 else middle
                self._known[r] = True
        if not np.array_equal(before, self._ends):
            self._clipped[:], self._batches = 0.0, 0  # by other ranges
            self._show()

    def _with_margin(self, reward: Doubles, seen: Doubles, needed: Doubles) -> Doubles:
        """Ends beyond those needed, but not where no sum of such rewards can come."""
        wider = (1.0 + MARGIN) * ends_of(seen)
        if self._discount < 1.0:
            most = ends_of(reward) / (1.0 - self._discount)
            wider = np.where(wider * _OUTWARDS < most * _OUTWARDS, wider, most)
        return np.where(wider * _OUTWARDS > needed * _OUTWARDS, wider, needed)

    def _show(self) -> None:
        lows, highs = self._ends.T.tolist()
        if len(lows) == 1:
            self.value_head = replace(self.value_head, low=lows[0], high=highs[0])
        else:
            self.value_head = replace(self.value_head, low=tuple(lows), high=tuple(highs))

    def watches(self, updates: int) -> bool:
        """Whether the next batch's targets are to be looked at."""
        return self.categorical and updates >= UNLEARNED and updates % WATCH_EVERY == 0

    def take_notice(self, beyond: Tensor) -> None:
        """Take notice of a batch.

        Args:
            beyond: shares of its targets' mass below and above the range, `(replicas, 2)`.
        """
        self._clipped += beyond.cpu().numpy()
        self._batches += 1
        if self._batches < WATCHED:
            return
        share = self._clipped / self._batches
        self._clipped[:], self._batches = 0.0, 0
        worst = share.sum(1).max()
        if worst >= max(MUCH, MUCH_WORSE * self._told):
            self._told = float(worst)
            self._tell(share)

    def _tell(self, share: Doubles) -> None:
        r = int(share.sum(1).argmax())
        low, high = self._ends[r].tolist()
        ends = " and ".join(
            name
            for name, part in zip(("below", "above"), share[r], strict=True)
            if part >= MUCH / 2
        )
        whose = f" in replica {r}" if len(share) > 1 else ""
        warn_user(
            f"`value_range` is ({low:g}, {high:g}), and {share[r].sum():.0%} of what returns are "
            f"trained towards{whose} lies {ends}: that mass was put at the end of the range, so "
            "such returns are not learned. "
            + (
                "Give a wider `value_range`."
                if self.chooses
                else "Leave `value_range` away to have it chosen, or give a wider one."
            )
        )

    def state_dict(self) -> dict[str, Tensor]:
        """The ranges, and what was noticed since the user was last told."""
        if not self.categorical:
            return {}
        return {
            "ends": torch.from_numpy(self._ends.copy()),
            "known": torch.from_numpy(self._known.copy()),
            "looked": torch.tensor(self._looked),
            "judged": torch.from_numpy(self._clipped.copy()),
            "batches": torch.tensor(self._batches),
            "told": torch.tensor(self._told, dtype=torch.float64),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where the ranges that gave `state` stood; those of old agents had no state."""
        if not state:
            return
        self._ends[:], self._known[:] = state["ends"].numpy(), state["known"].numpy()
        self._looked, self._batches = int(state["looked"]), int(state["batches"])
        self._clipped[:], self._told = state["judged"].numpy(), float(state["told"])
        if self.chooses and self._known.any():
            self._show()
