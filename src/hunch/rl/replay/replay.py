"""The replay buffer: the latest transitions, sampled uniformly or by priority, over n steps.

All environments write in step, so time is the first axis: slot t holds the observation, action,
reward and end of step t in every environment. Each observation is stored once; where step t did not
end its episode, slot t + 1 holds what it led to. A reward over n steps is summed when it is drawn,
so it never crosses the end of an episode and never loses the steps before one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hunch.errors import ConfigurationError, ShapeError
from hunch.rl.replay.compiled_batch import Batch, Store
from hunch.rl.replay.final_observations import FinalObservations
from hunch.rl.replay.priorities import Priorities
from hunch.rl.replay.transitions import Floats, Ints, Step, Transitions, check_stacks
from hunch.storage.parts import under
from hunch.validation import check_memory, whole_number


class Replay:
    """The last `capacity` transitions of each replica.

    Args:
        capacity: transitions kept for each replica, at least 1; the oldest are written over.
        observation_shape: shape of one observation.
        observation_dtype: type in which observations are stored.
        replicas: agents that live side by side, each with a buffer of its own.
        envs: environments of each replica.
        n_step: number of rewards summed, at least 1.
        discount: γ per environment step.
        priority_exponent: α: how strongly large errors are preferred; None draws uniformly.
        frame_stack: observations are stacks of this many images along axis 0, each the newest
            one and those before it, as `gymnasium.wrappers.FrameStackObservation` makes them; only
            the newest is stored.
        prior_shape: shape of a float32 array stored beside each observation, written by
            `cache_priors`; None for nothing.
        mask_size: number of members in the mask of each transition; 0 for no mask.

    Attributes:
        num_drawable: transitions that may be drawn for each replica, the least of all replicas. The
            newest ones wait for their n-th reward, and what is not valid is never drawn.

    Raises:
        ConfigurationError: if a number is out of range.

    Example:
        >>> replay = Replay(capacity=100, observation_shape=(4,))
        >>> one = np.ones((1, 1))
        >>> ended = np.zeros((1, 1), bool)
        >>> replay.add(
        ...     Step(np.zeros((1, 1, 4)), one, one, np.ones((1, 1, 4)), ended, ended, ~ended)
        ... )
        >>> batch = replay.sample(32, [np.random.default_rng(0)])
        >>> len(replay), batch.observation.shape, batch.reward[0, 0].item()
        (1, (1, 32, 4), 1.0)
    """

    def __init__(
        self,
        capacity: int,
        observation_shape: tuple[int, ...],
        observation_dtype: DTypeLike = np.float32,
        *,
        replicas: int = 1,
        envs: int = 1,
        n_step: int = 1,
        discount: float = 1.0,
        priority_exponent: float | None = None,
        frame_stack: int = 1,
        prior_shape: tuple[int, ...] | None = None,
        mask_size: int = 0,
    ) -> None:
        self.capacity = whole_number("capacity", capacity, at_least=1)
        self.n_step = whole_number("n_step", n_step, at_least=1)
        self.replicas, self.envs = replicas, envs
        self._frame_stack = frame_stack
        self._discount = discount
        self._shape = tuple(observation_shape)
        # A slot more than steps: what the newest step led to has to stand somewhere.
        kept = -(-self.capacity // envs)
        self._slots = kept + frame_stack
        self._kept, self._width = kept, replicas * envs
        if self.n_step > kept:
            raise ConfigurationError(
                f"`n_step` got {n_step}; expected at most {kept}, the steps of each environment "
                f"that {self.capacity} transitions hold."
            )
        lead = (self._slots, replicas, envs)
        stored = self._shape[1:] if frame_stack > 1 else self._shape
        check_memory(
            math.prod([*lead, *stored]) * np.dtype(observation_dtype).itemsize,
            f"`replay_capacity`={self.capacity} for {replicas} replicas",
            "keep fewer transitions",
        )
        # Zeros are given by the system page by page, so an unused part costs no memory.
        self._observation = np.zeros((*lead, *stored), observation_dtype)
        self._action = np.zeros(lead, np.int64)
        self._reward = np.zeros(lead, np.float32)
        self._terminated = np.zeros(lead, np.bool_)
        self._truncated = np.zeros(lead, np.bool_)
        self._valid = np.zeros(lead, np.bool_)
        self._age = np.zeros(lead, np.int32)  # steps since the episode began
        self._prior = None if prior_shape is None else np.zeros((*lead, *prior_shape), np.float32)
        self._mask = np.zeros((*lead, mask_size), np.bool_) if mask_size else None
        self._final_observations = FinalObservations(prior_shape)
        self._added = 0
        self._uncached = 0  # the first step whose observation has no prior yet
        self._drawable = np.zeros(replicas, np.int64)
        self.num_drawable = 0
        self._priorities = (
            None
            if priority_exponent is None
            else Priorities(self._slots * envs, replicas, priority_exponent)
        )
        # Where replica r's environment e stands within a slot.
        self._row = (np.arange(replicas) * envs)[:, None]
        self._store = self._stored()

    def _stored(self) -> Store:
        """The arrays as the compiled kernel finds them."""
        return Store(
            # Stacks of images are put together here.
            self._observation if self._frame_stack == 1 else None,
            self._action,
            self._reward,
            self._terminated,
            self._truncated,
            self.n_step,
            self._discount,
        )

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a pickle takes along: not where the arrays lie."""
        return {name: value for name, value in vars(self).items() if name != "_store"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._store = self._stored()

    def __len__(self) -> int:
        """Number of transitions stored for each replica."""
        return min(self._added, self._kept) * self.envs

    @property
    def steps(self) -> int:
        """Steps of each environment added so far."""
        return self._added

    def recent(self, steps: int) -> tuple[NDArray[np.float64], NDArray[Any], NDArray[Any]]:
        """Rewards, true ends and ends of any kind in the last steps, oldest first.

        Args:
            steps: how many, if so many are stored.

        Returns:
            Three arrays `(steps, replicas, envs)`; what did not happen is a step without reward
            that ended.
        """
        count = min(steps, len(self) // self.envs)
        at = (self._added - count + np.arange(count)) % self._slots
        valid, terminated = self._valid[at], self._terminated[at]
        reward = np.where(valid, self._reward[at], 0.0).astype(np.float64)
        return reward, terminated & valid, terminated | self._truncated[at] | ~valid

    def multiply_rewards(self, factor: NDArray[np.floating[Any]]) -> None:
        """Multiply all that are stored, those of each replica by a number of its own."""
        self._reward *= factor.astype(np.float32)[:, None]

    def add(self, step: Step, mask: NDArray[np.bool_] | None = None) -> None:
        """Store a copy of one step of all environments, over the oldest one if the buffer is full.

        Args:
            step: the transitions, `(replicas, envs, …)`.
            mask: which members learn from them, `(replicas, envs, members)`.

        Raises:
            ShapeError: if an observation has another shape than the buffer was made for.
            DataError: if observations are no stacks of images where the buffer was told they are.
        """
        expected = (self.replicas, self.envs, *self._shape)
        for name in ("observation", "next_observation"):
            # Numpy would repeat a short observation until it fits.
            if (shape := np.shape(getattr(step, name))) != expected:
                raise ShapeError(
                    f"`{name}` got shape {shape}; expected {expected}, (replicas, envs, …) of the "
                    "buffer."
                )
        slot, behind = self._added % self._slots, (self._added + 1) % self._slots
        if self._added and step.is_first is not None and np.count_nonzero(step.is_first):
            self._cut(slot, step.is_first)
        if self._final_observations.by_slot:
            self._final_observations.forget(slot)
        stacked = self._frame_stack > 1
        if stacked:
            check_stacks(step)
        self._observation[slot] = step.observation[:, :, -1] if stacked else step.observation
        self._observation[behind] = (
            step.next_observation[:, :, -1] if stacked else step.next_observation
        )
        self._action[slot] = step.action
        self._reward[slot] = step.reward
        self._terminated[slot] = step.terminated
        self._truncated[slot] = step.truncated
        self._valid[slot] = step.valid
        if self._mask is not None:
            self._mask[slot] = mask
        if stacked:
            goes_on = ~(step.terminated | step.truncated) & step.valid
            self._age[behind] = np.where(goes_on, self._age[slot] + 1, 0)
        if np.count_nonzero(step.truncated):
            for r, e in np.argwhere(step.truncated).tolist():
                self._final_observations.add(slot, r * self.envs + e, step.next_observation[r, e])
        self._added += 1
        self._count(slot)
        if self._priorities is not None:
            self._enter(self._priorities)

    def _count(self, newest: int) -> None:
        """Count the step that now has its n rewards, and no more the one that is let go."""
        if self._added >= self.n_step:
            self._drawable += self._valid[newest - self.n_step + 1].sum(1)
        if self._added > self._kept:
            self._drawable -= self._valid[newest - self._kept].sum(1)
        self.num_drawable = int(self._drawable.min())

    def _cut(self, slot: int, is_first: NDArray[np.bool_]) -> None:
        """Truncate episodes that another one follows without an end."""
        before = (slot - 1) % self._slots
        cut = is_first & ~(self._terminated[before] | self._truncated[before])
        cut &= self._valid[before]
        for r, e in np.argwhere(cut).tolist():
            row = r * self.envs + e
            seen = self._observations(np.array(slot), np.array(row))
            self._final_observations.add(before, row, seen)
            self._uncached = min(self._uncached, self._added - 1)
            self._truncated[before, r, e] = True
            self._age[slot, r, e] = 0

    def cache_priors(self, of: Callable[[NDArray[Any]], NDArray[np.float32]]) -> None:
        """Write the priors of all observations that have none yet, before a batch is drawn.

        Args:
            of: from observations `(replicas, batch, …)` to their priors `(replicas, batch, …)`.
        """
        if self._prior is None or self._uncached > self._added:
            return
        steps = np.arange(max(self._uncached, self._added + 1 - self._slots), self._added + 1)
        slots = steps % self._slots
        row = np.tile(self._row + np.arange(self.envs), len(steps))
        slot = np.repeat(slots, self.envs)
        priors = of(self._observations(slot, row))
        by_step = priors.reshape(self.replicas, len(steps), self.envs, *self._prior.shape[3:])
        self._prior[slots] = by_step.swapaxes(0, 1)
        if self._final_observations.by_slot:
            self._final_observations.cache_priors(
                slots.tolist(), lambda row, final: self._final_prior(of, row, final)
            )
        # What the newest step led to will be written over if an episode begins.
        self._uncached = self._added

    def forget_priors(self) -> None:
        """Let the priors of all observations be written anew, for they are others now."""
        self._uncached = 0

    def _final_prior(
        self, of: Callable[[NDArray[Any]], NDArray[np.float32]], row: int, final: NDArray[Any]
    ) -> NDArray[np.float32]:
        everywhere = np.repeat(final[None, None], self.replicas, axis=0)
        prior: NDArray[np.float32] = of(everywhere)[row // self.envs, 0]
        return prior

    def _enter(self, priorities: Priorities) -> None:
        """Let the step that now has its n rewards be drawn, and none whose slot is overwritten."""
        slots = [(self._added + ahead) % self._slots for ahead in range(self._frame_stack)]
        valid = np.zeros((len(slots), self.replicas, self.envs), np.bool_)
        if self._added >= self.n_step:
            slots.append((self._added - self.n_step) % self._slots)
            valid = np.concatenate([valid, self._valid[slots[-1:]]])
        leaf = (np.array(slots)[:, None] * self.envs + np.arange(self.envs)).reshape(-1)
        drawable = valid.swapaxes(0, 1).reshape(self.replicas, -1)
        priorities.enter(np.broadcast_to(leaf, drawable.shape), drawable)

    def sample(
        self, batch_size: int, rngs: Sequence[np.random.Generator], beta: float = 1.0
    ) -> Transitions:
        """Draw `batch_size` transitions for each replica, with replacement.

        Args:
            batch_size: transitions for each replica, at least 1.
            rngs: source of the draw, one for each replica.
            beta: how far importance weights undo the preference for large errors, in [0, 1].

        Raises:
            ConfigurationError: if no transition may be drawn yet.

        Note:
            Drawing without replacement costs ten times as much at 10,000 transitions and changes
            a batch of 128 in one row on average.
        """
        if not self.num_drawable:
            raise ConfigurationError(
                f"The replay buffer holds {len(self)} transitions; expected at least n_step="
                f"{self.n_step} for each environment before one is drawn."
            )
        if self._priorities is None:
            slot, env = self._drawn_uniformly(batch_size, rngs)
            weight = None
        else:
            leaf, weight = self._priorities.draw(batch_size, rngs, beta)
            slot, env = leaf // self.envs, leaf % self.envs
        return self._gather(slot, env, weight)

    def _drawn_uniformly(
        self, batch_size: int, rngs: Sequence[np.random.Generator]
    ) -> tuple[Ints, Ints]:
        steps = min(self._added, self._kept) - (self.n_step - 1)
        newest = self._added - self.n_step
        count = steps * self.envs
        holes = self.num_drawable < count
        slot, env = np.zeros((2, self.replicas, batch_size), np.int64)
        for r, rng in enumerate(rngs):
            drawn = rng.integers(count, size=batch_size)
            if holes:
                # Only vector environments in mode "NextStep" leave steps that did not happen.
                while not (good := self._valid_at(newest, drawn, r)).all():
                    drawn[~good] = rng.integers(count, size=int((~good).sum()))
            if self.envs == 1:
                slot[r] = drawn
            else:
                slot[r], env[r] = np.divmod(drawn, self.envs)
        np.subtract(newest, slot, out=slot)
        slot %= self._slots
        return slot, env

    def _valid_at(self, newest: int, drawn: Ints, replica: int) -> NDArray[np.bool_]:
        slot = (newest - drawn // self.envs) % self._slots
        valid: NDArray[np.bool_] = self._valid[slot, replica, drawn % self.envs]
        return valid

    def update_priorities(self, position: Ints, error: NDArray[Any]) -> None:
        """Say how wrong the agent was about transitions that it drew.

        Args:
            position: `Transitions.position`.
            error: size of the error of each, at least 0, shape `(replicas, batch)`.
        """
        if self._priorities is not None:
            # Meanwhile nothing was added, so what was drawn is still there.
            slot, row = np.divmod(position, self._width)
            self._priorities.update(slot * self.envs + row - self._row, error)

    def _gather(self, slot: Ints, env: Ints, weight: Floats | None) -> Transitions:
        row = self._row + env
        found = self._store.batch(slot, row) or self._batch(slot, row)
        next_observation = found.next_observation
        if next_observation is None:
            next_observation = self._observations((found.last + 1) % self._slots, row)
        prior = next_prior = mask = None
        if self._prior is not None:
            flat = self._prior.reshape(-1, *self._prior.shape[3:])
            prior = flat.take(found.position, axis=0)
            behind = (found.last + 1) % self._slots * self._width + row
            next_prior = flat.take(behind, axis=0)
        if self._mask is not None:
            mask = self._mask.reshape(-1, self._mask.shape[-1]).take(found.position, axis=0)
        if found.cut and self._final_observations.by_slot:
            truncated = self._truncated.reshape(-1).take(found.last * self._width + row)
            self._final_observations.put_into(
                next_observation, next_prior, truncated, found.last, row
            )
        seen = found.observation
        return Transitions(
            self._observations(slot, row) if seen is None else seen,
            found.action,
            found.reward,
            next_observation,
            found.discount,
            weight,
            found.position,
            prior,
            next_prior,
            mask,
        )

    def _batch(self, slot: Ints, row: Ints) -> Batch:
        """As `Store.batch`, by numpy alone."""
        index = slot * self._width + row  # in arrays whose slots and rows are one axis
        reward = self._reward.reshape(-1).take(index)
        discount = np.full(index.shape, self._discount, np.float32)
        last, at_last = slot, index
        if self.n_step > 1:
            last, at_last = self._summed(reward, discount, slot, index)
        discount *= ~self._terminated.reshape(-1).take(at_last)
        cut = int(np.count_nonzero(self._truncated.reshape(-1).take(at_last)))
        action = self._action.reshape(-1).take(index)
        return Batch(None, None, action, reward, discount, index, last, cut)

    def _summed(
        self, reward: Floats, discount: Floats, slot: Ints, index: Ints
    ) -> tuple[Ints, Ints]:
        """Add up to n - 1 further rewards in place, with γ to their number; where the last is."""
        rewards, row = self._reward.reshape(-1), index - slot * self._width
        last = slot.copy()
        going = ~self._ends(index)
        for j in range(1, self.n_step):
            at = (slot + j) % self._slots
            here = at * self._width + row
            reward += np.where(going, np.float32(self._discount**j) * rewards.take(here), 0)
            last = np.where(going, at, last)
            discount[going] = self._discount ** (j + 1)
            going &= ~self._ends(here)
        return last, last * self._width + row

    def _ends(self, index: Ints) -> NDArray[np.bool_]:
        ends: NDArray[np.bool_] = self._terminated.reshape(-1).take(index)
        return ends | self._truncated.reshape(-1).take(index)

    def _observations(self, slot: Ints, row: Ints) -> NDArray[Any]:
        index = slot * self._width + row
        if self._frame_stack == 1:
            return self._observation.reshape(-1, *self._shape).take(index, axis=0)
        age = self._age.reshape(-1).take(index)
        frames = self._observation.reshape(-1, *self._shape[1:])
        # Before the first image of an episode the stack repeats it.
        back = [np.minimum(j, age) for j in reversed(range(self._frame_stack))]
        at = np.stack([((slot - b) % self._slots) * self._width + row for b in back], axis=-1)
        return frames.take(at, axis=0)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """All stored transitions, without copies."""
        # Time wraps around: until it first does, the slots behind are empty.
        used = min(self._added + 1, self._slots)
        state = {name: values[:used] for name, values in self._arrays().items()}
        state["added"], state["unnoted"] = np.array(self._added), np.array(self._uncached)
        state |= {
            f"finals.{name}": values
            for name, values in self._final_observations.state_dict().items()
        }
        if self._priorities is not None:
            state |= self._priorities.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over the transitions of a buffer of the same settings."""
        used = min(self._added + 1, self._slots)
        for name, values in self._arrays().items():
            values[: len(state[name])] = state[name]
            values[len(state[name]) : used] = 0  # what the buffer held itself
        self._added, self._uncached = int(state["added"]), int(state["unnoted"])
        steps = len(self) // self.envs - (self.n_step - 1)
        window = (self._added - self.n_step - np.arange(max(0, steps))) % self._slots
        self._drawable = self._valid[window].sum((0, 2))
        self.num_drawable = int(self._drawable.min())
        self._final_observations.load_state_dict(under("finals.", state))
        if self._priorities is not None:
            self._priorities.load_state_dict(state)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        arrays: dict[str, NDArray[Any] | None] = {
            "observation": self._observation,
            "action": self._action,
            "reward": self._reward,
            "terminated": self._terminated,
            "truncated": self._truncated,
            "happened": self._valid,
            "age": self._age if self._frame_stack > 1 else None,
            "note": self._prior,
            "mask": self._mask,
        }
        return {name: values for name, values in arrays.items() if values is not None}
