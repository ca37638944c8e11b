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
        """What counts of `values (time, replicas, envs, …)`, as `(replicas, rows, …)`.

        Several replicas must have as many steps that count.
        """
        by_replica = values.swapaxes(0, 1)
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
        self._steps: list[dict[str, NDArray[Any]]] = []

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, step: Step, raw: NDArray[Any], counts: Bools) -> None:
        """Keep one step of all environments.

        Args:
            step: the step; its arrays are copied where others write.
            raw: the actions as they were drawn.
            counts: whether each is to be learned from.
        """
        if self._steps:
            self._close(self._steps[-1], step.is_first)
        self._steps.append(
            {
                "observation": step.observation.copy(),
                "raw": raw,
                "reward": step.reward,
                "terminated": step.terminated,
                "truncated": step.truncated,
                "counts": counts.copy(),
                # The loop writes the first observation of the next episode over it.
                "bootstrap_observation": step.next_observation.copy(),
            }
        )

    def _close(self, last: dict[str, NDArray[Any]], is_first: Bools | None) -> None:
        """Settle what the step before led to, now that it is known what follows."""
        if is_first is not None:
            # An episode that an environment's fault broke off is as one cut by a time limit.
            broken = is_first & ~(last["terminated"] | last["truncated"])
            last["truncated"] = last["truncated"] | broken
        if not last["truncated"].any():
            del last["bootstrap_observation"]  # it is the next step's observation

    def since(self, start: int) -> Trajectory:
        """The steps from number `start` on, of which there must be one."""
        steps = self._steps[start:]

        def of(name: str) -> NDArray[Any]:
            return np.stack([step[name] for step in steps])

        bootstrap_steps = [t for t, step in enumerate(steps) if "bootstrap_observation" in step]
        return Trajectory(
            of("observation"),
            of("raw"),
            of("reward"),
            of("terminated"),
            of("truncated"),
            of("counts"),
            bootstrap_steps,
            np.stack([steps[t]["bootstrap_observation"] for t in bootstrap_steps]),
        )

    def forget(self, count: int) -> None:
        """Drop the oldest steps."""
        del self._steps[:count]

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """All steps; nothing if there are none."""
        if not self._steps:
            return {}
        arrays = {**vars(self.since(0))}
        arrays["bootstrap_steps"] = np.array(arrays["bootstrap_steps"], np.int64)
        return {_IN_FILES.get(name, name): array for name, array in arrays.items()}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `state_dict` gave."""
        self._steps = []
        if not state:
            return
        names = [name for name in state if name not in _IN_FILES.values()]
        self._steps = [
            {name: state[name][t].copy() for name in names} for t in range(len(state["raw"]))
        ]
        times, observations = (state[name] for name in _IN_FILES.values())
        for t, observation in zip(times.tolist(), observations, strict=True):
            self._steps[t]["bootstrap_observation"] = observation.copy()
