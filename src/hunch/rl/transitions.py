"""What an agent lives through: one step of all environments, and a batch drawn from many."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Step(NamedTuple):
    """One step of all environments; every array has shape `(replicas, envs, …)`.

    `happened` is False where a vector environment only began an episode; what the other fields
    hold there is no transition. `begins` marks the first step of an episode; None means that an
    episode begins after each end and nowhere else.
    """

    observation: NDArray[Any]
    action: NDArray[np.int64]
    reward: NDArray[np.float32]
    next_observation: NDArray[Any]
    terminated: Bools
    truncated: Bools
    happened: Bools
    begins: Bools | None = None


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
        note: what was stored beside `observation`, if anything.
        next_note: what was stored beside `next_observation`, if anything.
        mask: which members learn from the transition, `(replicas, batch, members)`, if stored.
    """

    observation: NDArray[Any]
    action: Ints
    reward: Floats
    next_observation: NDArray[Any]
    discount: Floats
    weight: Floats | None
    position: Ints
    note: NDArray[Any] | None = None
    next_note: NDArray[Any] | None = None
    mask: NDArray[np.bool_] | None = None
