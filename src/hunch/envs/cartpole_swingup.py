"""Cartpole swing-up: standing still costs nothing, swinging the pole up pays in the end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import Space
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from hunch.envs.batched import BatchedEnv, Bools, Floats
from hunch.envs.cartpole import FORCE, CartPole, accelerations, spaces
from hunch.envs.checks import check_action, not_running
from hunch.envs.images import cartpole_image
from hunch.validation import real_number


@dataclass(frozen=True)
class Rules:
    """The settings of a swing-up, shared by the single and the batched environment."""

    height_threshold: float = 0.5
    theta_dot_threshold: float = 1.0
    x_reward_threshold: float = 1.0
    move_cost: float = 0.1
    x_threshold: float = 3.0
    timescale: float = 0.01
    max_time: float = 10.0
    init_range: float = 0.05

    def __post_init__(self) -> None:
        """Refuse settings that cannot work."""
        positive = ("x_threshold", "timescale", "max_time")
        for name, value in list(vars(self).items()):
            number = real_number(
                name,
                value,
                at_least=0.0 if name == "init_range" else -math.inf,
                above=0.0 if name in positive else -math.inf,
            )
            object.__setattr__(self, name, number)  # a frozen one takes no other

    def spaces(self) -> tuple[Space[Any], Discrete]:
        """The spaces of observations and of actions."""
        return spaces(self.timescale, self.max_time, flags=2)


def _start(generator: np.random.Generator, rules: Rules) -> tuple[float, float, float, float]:
    """Position, speed, angle, angular speed of a new episode: the pole hangs nearly at rest."""
    draws = generator.uniform(-rules.init_range, rules.init_range, 4).tolist()
    return draws[0], draws[1], math.pi + draws[2], draws[3]


class CartPoleSwingup(CartPole):
    """Swing-up as bsuite defines it: the pole hangs; swing it up, keep it up, near the middle.

    Actions 0, 1, 2 push the cart left, not at all, right, with 10 N for `timescale` seconds. A step
    earns 1 if afterwards the pole is up (cos θ > `height_threshold`), slow
    (|dθ/dt| < `theta_dot_threshold`) and the cart near the middle (|x| < `x_reward_threshold`),
    less `move_cost` if the action was a push. bsuite's problem n = 0 … 19 sets
    `height_threshold=n / 20, x_reward_threshold=1 - n / 20`.

    The observation is float32 (8,): x and dx/dt divided by `x_threshold`, sin θ, cos θ, dθ/dt, the
    share of `max_time` that has passed, and two flags (1 or −1) for the conditions on x and on
    dθ/dt. Speeds are not bounded. `info["upright"]` says whether the step earned its 1; the sum of
    it is bsuite's `total_upright`, and returns of episodes give its `best_episode`.

    Args:
        height_threshold: the cosine of the angle, 1 is upright, that must be exceeded.
        theta_dot_threshold: radians per second.
        x_reward_threshold: meters.
        move_cost: reward lost by a push.
        x_threshold: meters from the middle at which the episode ends.
        timescale: seconds in a step.
        max_time: seconds in an episode.
        init_range: x, dx/dt, θ − π and dθ/dt start uniform between ± this.
        render_mode: `"rgb_array"` for images, or None.

    Raises:
        ConfigurationError: if an argument has a value that cannot work.

    Example:
        >>> import gymnasium, hunch.envs
        >>> env = gymnasium.make("hunch/CartPoleSwingup-v0", height_threshold=0.5)
        >>> observation, info = env.reset(seed=0)
        >>> observation.shape
        (8,)
        >>> env.step(2)[1]
        -0.1

    Note:
        An episode that leaves the track and one that runs out of time are both *terminated*:
        bsuite gives both the discount 0, and the time is part of the observation, so the end can be
        foreseen. Time is summed in float64 as bsuite does, whose rounding makes an episode of the
        default settings 1,001 steps long. bsuite's observation has the shape (1, 8).

    Source: Osband et al., "Behaviour Suite for Reinforcement Learning" (2020),
    cartpole_swingup; the dynamics are those of Barto, Sutton and Anderson (1983) as corrected by
    Florian (2007).
    """

    def __init__(
        self,
        height_threshold: float = 0.5,
        theta_dot_threshold: float = 1.0,
        x_reward_threshold: float = 1.0,
        move_cost: float = 0.1,
        x_threshold: float = 3.0,
        timescale: float = 0.01,
        max_time: float = 10.0,
        init_range: float = 0.05,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(render_mode)
        self._rules = Rules(
            height_threshold,
            theta_dot_threshold,
            x_reward_threshold,
            move_cost,
            x_threshold,
            timescale,
            max_time,
            init_range,
        )
        self.observation_space, self.action_space = self._rules.spaces()

    def _begin(self) -> None:
        self._put(*_start(self.np_random, self._rules))

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Push left (0), not at all (1) or right (2)."""
        push = check_action(action, 3) - 1
        if not self._running:
            raise not_running(self._started)
        rules = self._rules
        self._push(push, rules.timescale)
        upright = (
            self._cos > rules.height_threshold
            and abs(self._theta_dot) < rules.theta_dot_threshold
            and abs(self._x) < rules.x_reward_threshold
        )
        reward = upright - abs(push) * rules.move_cost
        self._running = self._time <= rules.max_time and abs(self._x) <= rules.x_threshold
        return self._observation(), reward, not self._running, False, {"upright": upright}

    def _image(self) -> NDArray[np.uint8]:
        return cartpole_image(self._x / self._rules.x_threshold, self._theta)

    def _observation(self) -> NDArray[np.float32]:
        rules = self._rules
        values = (
            self._x / rules.x_threshold,
            self._x_dot / rules.x_threshold,
            self._sin,
            self._cos,
            self._theta_dot,
            self._time / rules.max_time,
            1.0 if abs(self._x) < rules.x_reward_threshold else -1.0,
            1.0 if abs(self._theta_dot) < rules.theta_dot_threshold else -1.0,
        )
        return np.array(values, dtype=np.float32)

    def _info(self) -> dict[str, Any]:
        return {"upright": False}  # of a start


class CartPoleSwingupDynamics:
    """The states of `num_envs` swing-ups."""

    def __init__(self, num_envs: int, rules: Rules) -> None:
        self._rules = rules
        self.observation_space, self.action_space = rules.spaces()
        self._x, self._x_dot, self._theta, self._theta_dot = np.zeros((4, num_envs))
        self._time, self._sin, self._cos = np.zeros((3, num_envs))
        self._upright = np.zeros(num_envs, dtype=np.bool_)

    def begin(self, index: int, generator: np.random.Generator) -> None:
        """Let the pole of environment `index` hang."""
        x, x_dot, theta, theta_dot = _start(generator, self._rules)
        self._x[index], self._x_dot[index] = x, x_dot
        self._theta[index], self._theta_dot[index] = theta, theta_dot
        self._sin[index], self._cos[index] = np.sin(theta), np.cos(theta)
        self._time[index], self._upright[index] = 0.0, False

    def advance(self, actions: NDArray[np.integer[Any]]) -> tuple[Floats, Bools, Bools]:
        """Push every cart for one step."""
        rules, dt = self._rules, self._rules.timescale
        push = actions.astype(np.float64) - 1.0
        x_acc, theta_acc = accelerations(push * FORCE, self._theta_dot, self._sin, self._cos)
        self._x = self._x + dt * self._x_dot
        self._x_dot = self._x_dot + dt * x_acc
        self._theta = np.remainder(self._theta + dt * self._theta_dot, 2 * math.pi)
        self._theta_dot = self._theta_dot + dt * theta_acc
        self._time = self._time + dt
        self._sin, self._cos = np.sin(self._theta), np.cos(self._theta)
        central = np.abs(self._x) < rules.x_reward_threshold
        slow = np.abs(self._theta_dot) < rules.theta_dot_threshold
        self._upright = (self._cos > rules.height_threshold) & slow & central
        rewards = self._upright - np.abs(push) * rules.move_cost
        ended = (self._time > rules.max_time) | (np.abs(self._x) > rules.x_threshold)
        return rewards, ended, np.zeros(len(ended), dtype=np.bool_)

    def observe(self) -> NDArray[np.float32]:
        """Observations (num_envs, 8), see `CartPoleSwingup`."""
        rules = self._rules
        out = np.empty((len(self._x), 8), dtype=np.float32)
        out[:, 0] = self._x / rules.x_threshold
        out[:, 1] = self._x_dot / rules.x_threshold
        out[:, 2], out[:, 3], out[:, 4] = self._sin, self._cos, self._theta_dot
        out[:, 5] = self._time / rules.max_time
        out[:, 6] = np.where(np.abs(self._x) < rules.x_reward_threshold, 1.0, -1.0)
        out[:, 7] = np.where(np.abs(self._theta_dot) < rules.theta_dot_threshold, 1.0, -1.0)
        return out

    def infos(self) -> dict[str, NDArray[Any]]:
        """As in `CartPoleSwingup`."""
        return {"upright": self._upright.copy()}

    def image(self, index: int) -> NDArray[np.uint8]:
        """As `CartPoleSwingup.render`."""
        x = float(self._x[index]) / self._rules.x_threshold
        return cartpole_image(x, float(self._theta[index]))


def cartpole_swingup_batch(
    num_envs: int = 1,
    *rules: float,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    render_mode: str | None = None,
    **named_rules: float,
) -> BatchedEnv:
    """`num_envs` swing-ups stepped together.

    The arguments are those of `CartPoleSwingup` and `BatchedEnv`, and so are the errors.

    Example:
        >>> import gymnasium, hunch.envs
        >>> envs = gymnasium.make_vec("hunch/CartPoleSwingup-v0", num_envs=16)
        >>> envs.reset(seed=0)[0].shape
        (16, 8)
    """
    checked = Rules(*rules, **named_rules)
    return BatchedEnv(
        lambda n: CartPoleSwingupDynamics(n, checked),
        num_envs,
        autoreset_mode=autoreset_mode,
        render_mode=render_mode,
    )
