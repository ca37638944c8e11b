"""What actions led to: returns of a trajectory, and how much better than expected they were.

Two kinds of ends are told apart: after `terminated`
nothing more comes; after a time limit more would have come, so its value is asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hunch.gradients import leave_one_out
from hunch.rl.replay.rollout import Trajectory

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]


def advantages(
    reward: Floats,
    value: Floats,
    next_value: Floats,
    terminated: Bools,
    truncated: Bools,
    *,
    discount: float,
    gae_lambda: float,
) -> NDArray[np.float64]:
    """Generalised advantage estimates: Aₜ = δₜ + γ λ Aₜ₊₁, δₜ = rₜ + γ v(sₜ₊₁) − v(sₜ).

    With λ = 1 that is the sum of rewards to the end of the trajectory or episode, plus the value of
    where it was cut off, minus v(sₜ): A3C's n-step advantage, or with values of 0 the reward to go.

    Args:
        reward: what each step gave, `(time, …)`.
        value: of each step's observation, `(time, …)`.
        next_value: of what the step led to, `(time, …)`: after a time limit, of the episode's true
            last observation. It does not matter where `terminated`.
        terminated: whether the environment ended the episode there.
        truncated: whether a time limit did.
        discount: γ.
        gae_lambda: λ, from 0 (one step) to 1 (all of them).

    Returns:
        The advantages, `(time, …)`; with `value` added, the λ-returns.

    Example:
        >>> never = np.zeros(2, bool)
        >>> reward, value, next_value = np.array([1.0, 1.0]), np.zeros(2), np.array([0.0, 8.0])
        >>> advantages(reward, value, next_value, never, never, discount=0.5, gae_lambda=1.0)
        array([3.5, 5. ])

    Reference:
        Schulman et al. (2016), "High-dimensional continuous control using generalized advantage
        estimation", eq. 16; Mnih et al. (2016), "Asynchronous methods for deep reinforcement
        learning", algorithm S3, for λ = 1.
    """
    error = reward + discount * np.where(terminated, 0.0, next_value) - value
    goes_on = discount * gae_lambda * ~(terminated | truncated)
    found = np.zeros(reward.shape)
    following = np.zeros(reward.shape[1:])
    for t in reversed(range(len(reward))):
        following = error[t] + goes_on[t] * following
        found[t] = following
    return found


def lambda_returns(
    trajectory: Trajectory,
    value: Floats,
    bootstrap_value: Floats,
    *,
    discount: float,
    gae_lambda: float,
    reward_scale: float = 1.0,
) -> NDArray[np.float32]:
    """What each step of a trajectory led to: its advantage plus its value.

    Args:
        trajectory: the steps.
        value: of the observations of those that count, `(replicas, rows)`.
        bootstrap_value: of `trajectory.bootstrap_observation`, `(times, replicas, envs)`.
        discount: γ.
        gae_lambda: λ.
        reward_scale: what rewards are multiplied with.

    Returns:
        Shape `(replicas, rows)`.
    """
    values = trajectory.spread(value)
    following = np.concatenate([values[1:], values[-1:]])
    following[trajectory.bootstrap_steps] = bootstrap_value
    found = advantages(
        trajectory.reward * reward_scale,
        values,
        following,
        trajectory.terminated,
        trajectory.truncated,
        discount=discount,
        gae_lambda=gae_lambda,
    )
    return trajectory.rows(found + values).astype(np.float32)


def leave_one_out_by_time(
    returns: Floats, episode: NDArray[np.int64], time: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Baseline of each step: the mean reward to go of the other episodes at the same time.

    Episodes that have ended by then have nothing to go and count as 0, so the baseline does not
    depend on the episode it is for.

    Args:
        returns: reward to go of each step, `(steps,)`.
        episode: the number of the episode that each step is of.
        time: how many steps of its episode came before it.

    Raises:
        ConfigurationError: if there are fewer than two episodes.

    Example:
        >>> returns, episode = np.array([2.0, 1.0, 4.0]), np.array([0, 0, 1])
        >>> leave_one_out_by_time(returns, episode, time=np.array([0, 1, 0]))
        array([4., 0., 2.])
    """
    episodes, row = np.unique(episode, return_inverse=True)
    table = np.zeros((len(episodes), int(time.max()) + 1))
    table[row, time] = returns
    baseline: NDArray[np.float64] = leave_one_out(torch.from_numpy(table)).numpy()[row, time]
    return baseline
