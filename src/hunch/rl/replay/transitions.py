"""What an agent lives through: one step of all environments, and a batch drawn from many."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hunch.errors import DataError

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Step(NamedTuple):
    """One step of all environments; every array has shape `(replicas, envs, …)`.

    `valid` is False where a vector environment only began an episode; what the other fields
    hold there is no transition. `is_first` marks the first step of an episode; None means that an
    episode begins after each end and nowhere else.
    """

    observation: NDArray[Any]
    action: NDArray[np.int64]
    reward: NDArray[np.float32]
    next_observation: NDArray[Any]
    terminated: Bools
    truncated: Bools
    valid: Bools
    is_first: Bools | None = None


class Transitions(NamedTuple):
    """A batch of transitions; every field has shape `(replicas, batch, …)`.

    Args:
        observation: where the agent was.
        action: what it did.
        reward: Σ γʲ rⱼ over the next n steps, or over fewer if the episode ended before.
        next_observation: where that led; the true last observation if a time limit ended the
            episode. Where `discount` is 0 it means nothing.
        discount: what the value of `next_observation` is multiplied with: γ to the number of steps,
            0 where the environment ended the episode. A time limit is no such end.
        weight: importance weight, 1 without priorities.
        position: where the transition is stored, for `Replay.update_priorities`.
        prior: what was stored beside `observation`, if anything.
        next_prior: what was stored beside `next_observation`, if anything.
        mask: which members learn from the transition, `(replicas, batch, members)`, if stored.
    """

    observation: NDArray[Any]
    action: Ints
    reward: Floats
    next_observation: NDArray[Any]
    discount: Floats
    weight: Floats | None
    position: Ints
    prior: NDArray[Any] | None = None
    next_prior: NDArray[Any] | None = None
    mask: NDArray[np.bool_] | None = None


def check_stacks(step: Step) -> None:
    """Refuse observations that do not follow from their newest images, which alone are stored.

    Args:
        step: its observations are stacks of images, `(replicas, envs, images, …)`.

    Raises:
        DataError: if a stack is not the one before moved by an image, or the first of an episode
            not one image repeated.

    Example:
        >>> images, no = np.zeros((1, 1, 4, 2)), np.zeros((1, 1), bool)
        >>> check_stacks(Step(images, no, no, images, no, no, ~no))
    """
    moved = step.next_observation[:, :, :-1] != step.observation[:, :, 1:]
    wrong = np.count_nonzero(moved) and np.count_nonzero(moved[step.valid])
    if not wrong and step.is_first is not None and np.count_nonzero(step.is_first):
        first = step.observation[step.is_first & step.valid]
        wrong = np.count_nonzero(first[:, 1:] != first[:, :-1])
    if wrong:
        raise DataError(
            "`env` stacks images, but its observations are not the stacks of before with one "
            "image more, so something changes them behind "
            "gymnasium.wrappers.FrameStackObservation; expected it to be a "
            "gymnasium.ObservationWrapper or TransformObservation, or to stand before the stack."
        )
