"""Random streams of steps in which every observation is its own, and what they must add up to."""

from typing import NamedTuple

import numpy as np

from hunch.rl.replay.transitions import Step


class Record(NamedTuple):
    """One step of one environment, as a list of episodes would hold it."""

    observation: np.ndarray
    action: int
    reward: float
    following: np.ndarray
    terminated: bool
    truncated: bool
    valid: bool
    mask: np.ndarray


class Stream:
    """Steps of `replicas` times `envs` environments; `records[r][e]` holds those of one.

    An action is a number that no other step has, and an observation is made of another such number.
    `pauses` puts a step that did not happen behind each end, as Gymnasium's mode "NextStep" does;
    `cuts` is the rate at which an episode is given up without an end, as after a fault.
    """

    def __init__(
        self, seed, *, replicas=1, envs=1, stack=1, ends=0.25, pauses=False, cuts=0.0, members=0
    ):
        self.rng = np.random.default_rng(seed)
        self.lead, self.stack, self.members = (replicas, envs), stack, members
        self.ends, self.pauses, self.cuts = ends, pauses, cuts
        self.count = 0
        self.records = [[[] for _ in range(envs)] for _ in range(replicas)]
        self.places = {}  # of each action: replica, environment, time
        self.current = [[None] * envs for _ in range(replicas)]
        self.ended = np.ones(self.lead, bool)
        self.over = np.zeros(self.lead, bool)

    @property
    def shape(self):
        return (self.stack, 2, 2) if self.stack > 1 else (2,)

    @property
    def dtype(self):
        return np.uint8 if self.stack > 1 else np.float32

    def _fresh(self, before=None):
        self.count += 1
        if self.stack == 1:
            return np.array([self.count, -self.count], np.float32)
        code = [self.count >> shift & 255 for shift in (0, 8, 16, 24)]
        frame = np.array(code, np.uint8).reshape(1, 2, 2)
        return np.concatenate([frame] * self.stack if before is None else [before[1:], frame])

    def note_of(self, observation):
        """What an agent notes beside observations `(…, *shape)`: here a function of each alone."""
        lead = observation.shape[: observation.ndim - len(self.shape)]
        flat = observation.reshape(*lead, -1).astype(np.float32)
        return np.stack(
            [flat[..., 0], flat @ np.arange(1, flat.shape[-1] + 1, dtype=np.float32)], -1
        )

    def step(self):
        """One step of all, as arguments of `Replay.add`."""
        rows = np.empty(self.lead, object)
        is_first = self.ended | (self.rng.random(self.lead) < self.cuts)
        for r, e in np.ndindex(self.lead):
            rows[r, e] = self._one(r, e, is_first)

        def gathered(name, dtype):
            values = [getattr(row, name) for row in rows.flat]
            array = np.array(values, dtype)
            return array.reshape(self.lead + array.shape[1:])

        step = Step(
            gathered("observation", self.dtype),
            gathered("action", np.int64),
            gathered("reward", np.float32),
            gathered("following", self.dtype),
            gathered("terminated", bool),
            gathered("truncated", bool),
            gathered("valid", bool),
            is_first,
        )
        self.ended = step.terminated | step.truncated
        return step, gathered("mask", bool)

    def _one(self, r, e, is_first):
        own = self.records[r][e]
        pause = self.pauses and own and self.ended[r, e]
        if is_first[r, e] and own and own[-1].valid and not self.ended[r, e]:
            own[-1] = own[-1]._replace(truncated=True)
        if pause:
            observation, following = self.current[r][e], self._fresh()
        else:
            observation = self._fresh() if is_first[r, e] else self.current[r][e]
            following = self._fresh(observation)
        end = not pause and self.rng.random() < self.ends
        terminated, truncated = [(True, False), (False, True), (True, True)][self.rng.integers(3)]
        record = Record(
            observation,
            self.count,
            0.0 if pause else float(np.float32(self.rng.normal())),
            following,
            bool(end and terminated),
            bool(end and truncated),
            not pause,
            self.rng.random(self.members) < 0.5,
        )
        self.places[self.count] = r, e, len(own)
        own.append(record)
        self.current[r][e] = following
        return record

    def drawable(self, r, n_step, kept):
        """The actions that may be drawn for a replica of which `kept` steps are stored."""
        actions = set()
        for own in self.records[r]:
            for t in range(max(0, len(own) - kept), len(own) - n_step + 1):
                if own[t].valid:
                    actions.add(own[t].action)
        return actions

    def expected(self, action, n_step, discount):
        """The n-step transition of an action: reward, discount, the last record."""
        r, e, t = self.places[action]
        reward, factor = 0.0, 1.0
        for last in self.records[r][e][t : t + n_step]:
            reward += factor * last.reward
            factor *= discount
            if last.terminated or last.truncated:
                break
        return reward, 0.0 if last.terminated else factor, last
