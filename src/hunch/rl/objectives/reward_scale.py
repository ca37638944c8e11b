"""What rewards are multiplied with, so that values are of a size that networks learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hunch.rl.objectives.returns import discounted_returns, lasting_returns
from hunch.rl.replay.replay import Replay
from hunch.rl.replay.rollout import Trajectory
from hunch.rl.replay.transitions import Step

LARGE: Final = 128.0  # returns above it make rewards smaller; those of CartPole are 100
FOR_EVER: Final = 10_000  # times as long as they did
FURTHEST_BACK: Final = 10_000  # steps of each environment that are looked at in a buffer
LONGEST: Final = 0.99  # the discount by which returns are judged, if γ is larger

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]


class RewardScale:
    """What each replica's rewards are multiplied with.

    Where it is not given it is `usual`, or less where the first rewards say that returns are
    larger than `LARGE`: then times the power of two that leaves `most` of the largest, or down to
    half of that. The largest return is that of an episode so far, or what its mean reward would
    bring if it never ended. Powers of two leave rewards without a rounding. Small rewards stay as
    they are: where only small costs are seen at first, a reward of 1 may come later.

    Args:
        given: a number above 0, or None to choose by the first rewards.
        usual: what rewards of ordinary size are multiplied with.
        most: how large returns are left where they are too large, at most `LARGE`.
        discount: γ per environment step.
        replicas: agents that live side by side; each has a scale of its own.

    Example:
        >>> scale = RewardScale(None, discount=0.99, replicas=1)
        >>> reward, no = np.full((200, 1, 1), 50.0), np.zeros((200, 1, 1), bool)
        >>> scale.choose(reward, no, no)
        >>> scale.multiplier
        array([0.015625])
    """

    def __init__(
        self,
        given: float | None,
        *,
        usual: float = 1.0,
        most: float = LARGE,
        discount: float,
        replicas: int,
    ) -> None:
        self._most = most
        self.fixed = usual if given is None else given
        self.may_choose = given is None
        self._discount = discount
        self._chosen = np.ones(replicas)
        self._judged = np.full(replicas, given is not None)
        self._refresh()

    @property
    def multiplier(self) -> Doubles:
        """What the rewards of each replica are multiplied with, `(replicas,)`."""
        return self.fixed * self._chosen

    def choose(
        self,
        reward: NDArray[Any],
        terminated: Bools,
        ended: Bools,
        replicas: slice = slice(None),
    ) -> None:
        """Choose for those of the replicas that have not chosen yet.

        Args:
            reward: as the environment gave it, in order of time, `(steps, replicas, envs)`.
            terminated: where the environment ended an episode.
            ended: where an episode ended in any way.
            replicas: whose steps these are.
        """
        judged, chosen = self._judged[replicas], self._chosen[replicas]
        if judged.all():
            return
        discount = min(self._discount, LONGEST)
        reward = reward.astype(np.float64)
        seen = discounted_returns(reward, ended, discount)
        lasting = lasting_returns(reward, terminated, ended, discount, FOR_EVER)
        largest = np.abs([seen, lasting]).max((0, 1, 3))
        halvings = np.ceil(np.log2(np.maximum(largest, LARGE) / self._most))
        chosen[...] = np.where((largest > LARGE) & ~judged, 0.5**halvings, chosen)
        judged[...] = True
        self._refresh()

    def judge(self, replay: Replay) -> None:
        """Choose by what a buffer holds, and multiply that."""
        if self._waits:
            reward, terminated, ended = replay.recent(FURTHEST_BACK)
            self.choose(reward / self.fixed, terminated, ended)
            replay.multiply_rewards(self._chosen)

    def of_step(self, step: Step) -> Step:
        """A step as it is to be learned from."""
        if self._factor is None:
            return step
        return step._replace(reward=step.reward * self._factor)

    def of_trajectory(self, trajectory: Trajectory, replicas: slice = slice(None)) -> Trajectory:
        """A trajectory whose rewards are to be multiplied by `fixed` alone.

        Args:
            trajectory: the steps.
            replicas: whose they are.
        """
        if self._waits:
            self.choose(
                np.where(trajectory.counts, trajectory.reward, 0.0),
                trajectory.terminated,
                trajectory.terminated | trajectory.truncated | ~trajectory.counts,
                replicas,
            )
        chosen = self._chosen[replicas]
        if (chosen == 1.0).all():
            return trajectory
        return replace(trajectory, reward=trajectory.reward * chosen.astype(np.float32)[:, None])

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """What was chosen, and by which replicas; not copies."""
        return {"chosen": self._chosen, "judged": self._judged}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on with what was chosen."""
        for name, own in self.state_dict().items():
            own[...] = state[name]
        self._refresh()

    def _refresh(self) -> None:
        """Have at hand what every step asks for."""
        self._waits = not self._judged.all()
        factor = self.multiplier.astype(np.float32)[:, None]
        self._factor = None if (factor == 1.0).all() else factor
