"""Steps kept until they are learned from, once, and then forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hunch.rl.replay.transitions import Bools, Floats, Step

# What older versions called them, which files still do.
_IN_FILES: Final = {"bootstrap_steps": "cuts", "bootstrap_observation": "led_to"}

_ARRAYS: Final = (
    "observation",
    "raw",
    "reward",
    "terminated",
    "truncated",
    "counts",
    "bootstrap_observation",
)


@dataclass(frozen=True)
class Trajectory:
    """A trajectory of steps; every array has shape `(time, replicas, envs, …)`.

    Args:
        observation: where the agent was.
        raw: what it did, as its distribution drew it.
        reward: what that gave.
        terminated: whether the environment ended the episode there.
        truncated: whether a time limit did.
        counts: whether the step is to be learned from.
        bootstrap_steps: the times at which what a step led to is not the next one's observation in
            all environments, so that its value is asked for.
        bootstrap_observation: what the steps of those times led to, `(times, replicas, envs, …)`.
    """

    observation: NDArray[Any]
    raw: NDArray[Any]
    reward: Floats
    terminated: Bools
    truncated: Bools
    counts: Bools
    bootstrap_steps: list[int]
    bootstrap_observation: NDArray[Any]

    def of_replica(self, r: int) -> Trajectory:
        """The steps of one replica, with an axis of length 1 for it."""
        arrays = {name: value for name, value in vars(self).items() if name != "bootstrap_steps"}
        own = {name: value[:, r : r + 1] for name, value in arrays.items()}
        return Trajectory(bootstrap_steps=self.bootstrap_steps, **own)

    def rows(self, values: NDArray[Any]) -> NDArray[Any]:
        """What counts of `values (time, replicas, envs, …)`, as `(replicas, rows, …)` side by side.

        Several replicas must have as many steps that count.
        """
        by_replica = values.swapaxes(0, 1)
        if self.counts.all():  # nothing is to be chosen
            rows = by_replica.reshape(len(by_replica), -1, *values.shape[3:])
            return np.ascontiguousarray(rows)  # of one environment each they may be a view
        chosen = by_replica[self.counts.swapaxes(0, 1)]
        return chosen.reshape(len(by_replica), -1, *values.shape[3:])

    def episodes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of each row of one replica: its episode, from 0, and how many steps came before in it."""
        number, before = np.zeros((2, *self.counts.shape), np.int64)
        envs = self.counts.shape[-1]
        episode, place = np.arange(envs), np.zeros(envs, np.int64)
        for t, counts in enumerate(self.counts[:, 0]):
            number[t], before[t] = episode, place
            ended = (self.terminated | self.truncated)[t, 0]
            place = np.where(ended, 0, place + counts)
            episode = episode + envs * (ended & counts)
        return self.rows(number)[0], self.rows(before)[0]

    def spread(self, rows: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """The opposite of `rows` for numbers: `(time, replicas, envs)`, 0 where nothing counts."""
        values = np.zeros(self.counts.swapaxes(0, 1).shape)
        values[self.counts.swapaxes(0, 1)] = rows.reshape(-1)
        return values.swapaxes(0, 1)


class Rollout:
    """The steps since the last update, of all replicas.

    Example:
        >>> rollout = Rollout()
        >>> no, x = np.zeros((1, 1), bool), np.zeros((1, 1, 4), np.float32)
        >>> step = Step(x, np.array([[0]]), np.ones((1, 1), np.float32), x, no, no, ~no)
        >>> rollout.add(step, step.action, counts=~no)
        >>> rollout.since(0).reward.shape, len(rollout)
        ((1, 1, 1), 1)
    """

    def __init__(self) -> None:
        # Of one step or of many, the time on axis 0; "bootstrap_steps" is a list of times.
        self._blocks: list[dict[str, Any]] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, step: Step, raw: NDArray[Any], counts: Bools) -> None:
        """Keep one step of all environments.

        Args:
            step: the step; its arrays are copied where others write.
            raw: the actions as they were drawn.
            counts: whether each is to be learned from.
        """
        self._close(step.is_first)
        self._keep(
            {
                "observation": step.observation[None].copy(),
                "raw": raw[None],
                "reward": step.reward[None],
                "terminated": step.terminated[None],
                "truncated": step.truncated[None],
                "counts": counts[None].copy(),
                "bootstrap_steps": [0],
                # The loop writes the first observation of the next episode over it.
                "bootstrap_observation": step.next_observation[None].copy(),
            }
        )

    def extend(self, steps: Step) -> None:
        """Keep many steps of all environments, all of which are to be learned from.

        Args:
            steps: every array has shape `(time, replicas, envs, …)` and is nobody else's from now
                on; actions are as they were drawn. Among them no episode is broken off.
        """
        self._close(None if steps.is_first is None else steps.is_first[0])
        led_on: Bools = np.asarray(steps.truncated.any(axis=(1, 2)))
        led_on[-1] = True  # it is not known yet what follows
        self._keep(
            {
                "observation": steps.observation,
                "raw": steps.action,
                "reward": steps.reward,
                "terminated": steps.terminated,
                "truncated": steps.truncated,
                "counts": steps.valid,
                "bootstrap_steps": np.flatnonzero(led_on).tolist(),
                "bootstrap_observation": steps.next_observation[led_on],
            }
        )

    def _keep(self, block: dict[str, Any]) -> None:
        self._blocks.append(block)
        self._length += len(block["raw"])

    def _close(self, is_first: Bools | None) -> None:
        """Settle what the step before led to, now that it is known what follows."""
        if not self._blocks:
            return
        block = self._blocks[-1]
        terminated, truncated = block["terminated"][-1], block["truncated"][-1]
        if is_first is not None:
            # An episode that an environment's fault broke off is as one cut by a time limit.
            broken = is_first & ~(terminated | truncated)
            if np.count_nonzero(broken):
                truncated = truncated | broken
                block["truncated"] = np.concatenate([block["truncated"][:-1], truncated[None]])
        if not np.count_nonzero(truncated):  # it is the next step's observation
            block["bootstrap_steps"] = block["bootstrap_steps"][:-1]
            block["bootstrap_observation"] = block["bootstrap_observation"][:-1]

    def since(self, start: int) -> Trajectory:
        """The steps from number `start` on, of which there must be one."""
        blocks = self._from(start)
        times, before = [], 0
        for block in blocks:
            times += [before + t for t in block["bootstrap_steps"]]
            before += len(block["raw"])

        def of(name: str) -> NDArray[Any]:
            parts = [block[name] for block in blocks]
            return parts[0] if len(parts) == 1 else np.concatenate(parts)

        return Trajectory(bootstrap_steps=times, **{name: of(name) for name in _ARRAYS})

    def _from(self, start: int) -> list[dict[str, Any]]:
        """The blocks from a step on, of which the first may be the rest of one."""
        for i, block in enumerate(self._blocks):
            count = len(block["raw"])
            if start < count:
                return [_rest(block, start), *self._blocks[i + 1 :]] if start else self._blocks[i:]
            start -= count
        return []

    def forget(self, count: int) -> None:
        """Drop the oldest steps."""
        self._blocks = self._from(count)
        self._length = max(0, self._length - count)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """All steps; nothing if there are none."""
        if not self._blocks:
            return {}
        arrays = {**vars(self.since(0))}
        arrays["bootstrap_steps"] = np.array(arrays["bootstrap_steps"], np.int64)
        return {_IN_FILES.get(name, name): array for name, array in arrays.items()}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `state_dict` gave."""
        self._blocks, self._length = [], 0
        if not state:
            return
        block: dict[str, Any] = {
            name: state[_IN_FILES.get(name, name)].copy() for name in (*_ARRAYS, "bootstrap_steps")
        }
        block["bootstrap_steps"] = block["bootstrap_steps"].tolist()
        self._keep(block)


def _rest(block: Mapping[str, Any], start: int) -> dict[str, Any]:
    """The steps of a block from number `start` on."""
    times = block["bootstrap_steps"]
    gone = sum(t < start for t in times)
    return {
        **{name: block[name][start:] for name in _ARRAYS},
        "bootstrap_steps": [t - start for t in times[gone:]],
        "bootstrap_observation": block["bootstrap_observation"][gone:],
    }
