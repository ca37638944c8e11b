"""Many rounds of an agent in a batch of classic control as one call of the compiled kernel.

The plain version is `TrainingLoop` with `Actor.act`, round by round, to the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import byref, pointer
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from hunch.kernel import kernel
from hunch.rl.environments.classic_control import ClassicEnvs
from hunch.rl.environments.vector import ParallelEnvs
from hunch.rl.fast.manual_backprop import FastRunner
from hunch.rl.replay.transitions import Step


class Place(NamedTuple):
    """What a loop remembers between two rounds, of each environment; it is written into.

    Args:
        observation: the last one, which may be that of an episode's end.
        ended: whether an episode is to begin.
        returns: rewards of the present episode, added up.
        lengths: its steps.
    """

    observation: NDArray[Any]
    ended: NDArray[np.bool_]
    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]


class End(NamedTuple):
    """An episode that ended: in which round, in which environment, and how it went."""

    round: int
    env: int
    total: float
    length: int


class Played(NamedTuple):
    """Many rounds.

    Args:
        steps: every array has shape `(time, replicas, envs, …)`.
        ends: the episodes that ended, one after another.
        unknown: outputs of a policy that are NaN, for which the rounds were broken off.
    """

    steps: Step
    ends: list[End]
    unknown: NDArray[np.float32] | None


def played(
    run: FastRunner,
    envs: ParallelEnvs,
    place: Place,
    rngs: Sequence[np.random.Generator],
    rounds: int,
) -> Played | None:
    """Play rounds in one call; None, and nothing done, where that cannot be.

    Args:
        run: the networks, whose advantages are unnormalised log-probabilities of actions.
        envs: the environments, as many for each replica.
        place: where they stand.
        rngs: a stream of each replica, from which actions are drawn.
        rounds: how many.

    Example:
        >>> from hunch.rl import A2C
        >>> agent = A2C("CartPole-v1", num_envs=8).learn(8, progress=False)
        >>> loop = agent._loop
        >>> place = Place(loop._observation, loop._ended, loop._return, loop._length)
        >>> found = played(agent._actor._run, loop.envs, place, agent._actor._streams, 5)
        >>> found.steps.reward.shape if found else (5, 1, 8)
        (5, 1, 8)
    """
    library, policy = kernel(), run.chain("advantage")
    if library is None or policy is None or type(envs) is not ClassicEnvs:
        return None
    play = envs.in_play()
    seen_as = place.observation
    if play is None or seen_as.dtype != np.float32 or not seen_as.flags.c_contiguous:
        return None
    replicas, own = len(rngs), envs.num_envs // len(rngs)
    lead = (rounds, replicas, own)
    uniform = np.empty((replicas, rounds * own))
    for row, rng in zip(uniform, rngs, strict=True):
        rng.random(out=row)
    seen, led_to = np.empty((2, *lead, 4), np.float32)
    action, (terminated, truncated) = np.empty(lead, np.int64), np.empty((2, *lead), np.bool_)
    is_first = place.ended.reshape(1, replicas, own).copy()
    end = np.empty((rounds * envs.num_envs, 4))
    x = torch.from_numpy(place.observation.reshape(replicas, own, 4))
    logit = torch.empty(replicas, own, 2)
    play.policy = pointer(policy.between(x, logit, run.draws()))
    play.lanes, play.rounds = library.hunch_lanes(), rounds
    play.replicas, play.envs = replicas, own
    play.observation, play.ended = x.data_ptr(), place.ended.ctypes.data
    play.total, play.length = place.returns.ctypes.data, place.lengths.ctypes.data
    play.logit, play.uniform = logit.data_ptr(), uniform.ctypes.data
    play.seen, play.led_to, play.action = (a.ctypes.data for a in (seen, led_to, action))
    play.terminated, play.truncated = terminated.ctypes.data, truncated.ctypes.data
    play.end = end.ctypes.data
    while play.done < rounds and not play.unknown:
        envs.prepare()
        library.hunch_play(byref(play))
    steps = Step(
        observation=seen,
        action=action,
        reward=np.ones(lead, np.float32),
        next_observation=led_to,
        terminated=terminated,
        truncated=truncated,
        valid=np.ones(lead, np.bool_),
        is_first=is_first,
    )
    ends = [End(int(t), int(i), total, int(n)) for t, i, total, n in end[: play.ends].tolist()]
    return Played(steps, ends, logit.numpy() if play.unknown else None)
