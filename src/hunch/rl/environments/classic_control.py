"""Gymnasium's classic control in batches: many carts, pendulums and cars moved by one computation.

`ClassicEnvs` stands in for `SingleEnvs` where all environments are one of these as Gymnasium makes
them, and gives the same bits: rounding follows Gymnasium's order of operations, episodes start from
the same seeds. Whether it does so with the version that is installed is tried before it is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from ctypes import byref
from functools import cache
from typing import Any, Final, Protocol, cast

import numpy as np
from gymnasium.envs.classic_control import AcrobotEnv, CartPoleEnv, MountainCarEnv, PendulumEnv
from gymnasium.utils import seeding
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit
from numpy.typing import NDArray

from hunch.kernel import Cart, Play, kernel
from hunch.rl.environments.make import Env, training_reset_seed
from hunch.rl.environments.vector import Bools, Outcome, SingleEnvs, no_replay

Floats = NDArray[np.float64]
Seen = NDArray[np.float32]
Moved = tuple[Floats, Floats, Bools]  # states, rewards, whether episodes are over

_TRIED: Final = 100  # steps of a comparison with Gymnasium's
_TRIED_CARTS: Final = 4096  # steps of a comparison of the compiled kernel with numpy
_TRIED_SEEDS: Final = (0, 1, 12345, 2**31 - 1)  # likewise of where episodes begin
_PLAIN: Final = (TimeLimit, OrderEnforcing, PassiveEnvChecker)


class Motion(Protocol):
    """How states `(numbers, batch)` of one kind of environment begin, move and are seen."""

    def begin(self, generator: np.random.Generator) -> NDArray[Any]:
        """A state `(numbers,)` at the start of an episode, in the type it is seen from."""

    def move(self, state: Floats, action: NDArray[Any]) -> Moved:
        """All after one action each."""

    def observe(self, state: NDArray[Any]) -> Seen:
        """Observations `(batch, features)`."""


class CartPole:
    """Position, speed, angle, angular speed."""

    def __init__(self, env: CartPoleEnv) -> None:
        self._env = env

    def begin(self, generator: np.random.Generator) -> Floats:
        """Nearly upright, nearly at rest."""
        return generator.uniform(low=-0.05, high=0.05, size=(4,))

    def move(self, state: Floats, action: NDArray[Any]) -> Moved:
        """Pushed to the left (0) or to the right (1)."""
        compiled = self.compiled()
        return self.plainly(state, action) if compiled is None else _moved(compiled, state, action)

    def compiled(self) -> Cart | None:
        """Its constants for the compiled kernel, if that is there and gives the same bits."""
        if not _same_carts():
            return None
        return _constants(self._env)

    def plainly(self, state: Floats, action: NDArray[Any]) -> Moved:
        """As `move`, by numpy."""
        e, (_, x_dot, theta, theta_dot) = self._env, state
        force = np.where(action == 1, e.force_mag, -e.force_mag)
        cos, sin = np.cos(theta), np.sin(theta)
        push = (force + e.polemass_length * np.square(theta_dot) * sin) / e.total_mass
        turn = (e.gravity * sin - cos * push) / (
            e.length * (4.0 / 3.0 - e.masspole * np.square(cos) / e.total_mass)
        )
        gain = push - e.polemass_length * turn * cos / e.total_mass
        after = np.empty_like(state)
        np.add(state[::2], e.tau * state[1::2], out=after[::2])
        np.add(x_dot, e.tau * gain, out=after[1])
        np.add(theta_dot, e.tau * turn, out=after[3])
        out = np.abs(after[0]) > e.x_threshold
        out |= np.abs(after[2]) > e.theta_threshold_radians
        return after, np.ones(state.shape[1]), out

    def observe(self, state: NDArray[Any]) -> Seen:
        """The state itself."""
        return state.T.astype(np.float32)


def _moved(cart: Cart, state: Floats, action: NDArray[Any]) -> Moved:
    """`CartPole.move` by the compiled kernel."""
    state = np.ascontiguousarray(state)
    action = np.ascontiguousarray(action, np.int64)
    after, out = np.empty_like(state), np.empty(len(action), np.bool_)
    library = cast(Any, kernel())
    arrays = (state, action, after, out)
    library.hunch_carts(byref(cart), len(action), *(array.ctypes.data for array in arrays))
    return after, np.ones(len(action)), out


@cache
def _same_carts() -> bool:
    """Whether the compiled kernel moves carts as numpy does, whose sine may be of its own kind."""
    if kernel() is None:
        return False
    pole = CartPole(CartPoleEnv())
    rng = np.random.default_rng(0)
    state = rng.uniform(-1, 1, (4, _TRIED_CARTS)) * np.array([[2.5], [4.0], [0.25], [4.0]])
    action = rng.integers(2, size=_TRIED_CARTS)
    found = [*_moved(_constants(pole._env), state, action), _starts(_TRIED_SEEDS)]
    begun = np.stack([pole.begin(seeding.np_random(seed)[0]) for seed in _TRIED_SEEDS])
    return all(map(np.array_equal, found, [*pole.plainly(state, action), begun]))


def _starts(seeds: Sequence[int]) -> Floats:
    """`CartPole.begin` of many seeds, below 2³², by the compiled kernel, `(seeds, numbers)`."""
    given, first = np.array(seeds, np.uint32), np.empty((len(seeds), 4))
    cast(Any, kernel()).hunch_cart_starts(given.ctypes.data, len(given), first.ctypes.data)
    return first


def _constants(e: CartPoleEnv) -> Cart:
    return Cart(
        gravity=e.gravity,
        pole=e.polemass_length,
        mass=e.total_mass,
        mass_of_pole=e.masspole,
        length=e.length,
        force=e.force_mag,
        time=e.tau,
        farthest=e.x_threshold,
        steepest=e.theta_threshold_radians,
    )


class MountainCar:
    """Position and speed."""

    def __init__(self, env: MountainCarEnv) -> None:
        self._env = env

    def begin(self, generator: np.random.Generator) -> Floats:
        """At rest in the valley."""
        return np.array([generator.uniform(low=-0.6, high=-0.4), 0])

    def move(self, state: Floats, action: NDArray[Any]) -> Moved:
        """Driven to the left (0), not at all (1) or to the right (2)."""
        e, (position, speed) = self._env, state
        # As Gymnasium has it: the cosine of `math` differs from numpy's in its last bit.
        slope = np.array([math.cos(angle) for angle in (3 * position).tolist()])
        after = np.empty_like(state)
        speed = speed + ((action - 1) * e.force + slope * (-e.gravity))
        speed = np.clip(speed, -e.max_speed, e.max_speed)
        position = np.clip(position + speed, e.min_position, e.max_position)
        speed[(position == e.min_position) & (speed < 0)] = 0
        after[0], after[1] = position, speed
        there = (position >= e.goal_position) & (speed >= e.goal_velocity)
        return after, np.full(state.shape[1], -1.0), there

    def observe(self, state: NDArray[Any]) -> Seen:
        """The state itself."""
        return state.T.astype(np.float32)


class Pendulum:
    """Angle and angular speed."""

    def __init__(self, env: PendulumEnv) -> None:
        self._env = env

    def begin(self, generator: np.random.Generator) -> Floats:
        """Anywhere."""
        high = np.array([np.pi, 1.0])
        return generator.uniform(low=-high, high=high)

    def move(self, state: Floats, action: NDArray[Any]) -> Moved:
        """Turned by a torque, `(batch, 1)`."""
        e, (angle, speed) = self._env, state
        torque = np.clip(action, -e.max_torque, e.max_torque)[:, 0]
        upright = ((angle + np.pi) % (2 * np.pi)) - np.pi
        cost = _square(upright) + 0.1 * _square(speed) + 0.001 * _square(torque)
        pull = 3 * e.g / (2 * e.l) * np.sin(angle)
        after = np.empty_like(state)
        faster = speed + (pull + 3.0 / (e.m * e.l**2) * torque) * e.dt
        after[1] = np.clip(faster, -e.max_speed, e.max_speed)
        after[0] = angle + after[1] * e.dt
        return after, -cost, np.zeros(state.shape[1], np.bool_)

    def observe(self, state: NDArray[Any]) -> Seen:
        """Cosine and sine of the angle, and the speed."""
        return np.stack([np.cos(state[0]), np.sin(state[0]), state[1]], axis=1).astype(np.float32)


class Acrobot:
    """Two angles and their speeds."""

    def __init__(self, env: AcrobotEnv) -> None:
        self._env = env

    def begin(self, generator: np.random.Generator) -> Seen:
        """Hanging, nearly at rest."""
        return generator.uniform(low=-0.1, high=0.1, size=(4,)).astype(np.float32)

    def move(self, state: Floats, action: NDArray[Any]) -> Moved:
        """Turned by a torque of −1 (0), 0 (1) or 1 (2) at the joint."""
        e, torque = self._env, np.asarray(self._env.AVAIL_TORQUE)[action]
        half = e.dt / 2.0
        k1 = self._slope(state, torque)
        k2 = self._slope(state + half * k1, torque)
        k3 = self._slope(state + half * k2, torque)
        k4 = self._slope(state + e.dt * k3, torque)
        after = state + e.dt / 6.0 * (k1 + 2 * k2 + 2 * k3 + k4)
        for angle in after[:2]:
            while (far := angle > np.pi).any():
                angle[far] -= 2 * np.pi
            while (far := angle < -np.pi).any():
                angle[far] += 2 * np.pi
        np.clip(after[2], -e.MAX_VEL_1, e.MAX_VEL_1, out=after[2])
        np.clip(after[3], -e.MAX_VEL_2, e.MAX_VEL_2, out=after[3])
        up = -np.cos(after[0]) - np.cos(after[1] + after[0]) > 1.0
        return after, np.where(up, 0.0, -1.0), up

    def _slope(self, state: Floats, torque: Floats) -> Floats:
        e, (a1, a2, v1, v2) = self._env, state
        m1, m2, l1 = e.LINK_MASS_1, e.LINK_MASS_2, e.LINK_LENGTH_1
        c1, c2, inertia, g = e.LINK_COM_POS_1, e.LINK_COM_POS_2, e.LINK_MOI, 9.8
        cos, sin = np.cos(a2), np.sin(a2)
        d1 = m1 * c1**2 + m2 * (l1**2 + c2**2 + 2 * l1 * c2 * cos) + inertia + inertia
        d2 = m2 * (c2**2 + l1 * c2 * cos) + inertia
        phi2 = m2 * c2 * g * np.cos(a1 + a2 - np.pi / 2.0)
        phi1 = (
            -m2 * l1 * c2 * _square(v2) * sin
            - 2 * m2 * l1 * c2 * v2 * v1 * sin
            + (m1 * c1 + m2 * l1) * g * np.cos(a1 - np.pi / 2)
            + phi2
        )
        second = (torque + d2 / d1 * phi1 - m2 * l1 * c2 * _square(v1) * sin - phi2) / (
            m2 * c2**2 + inertia - _square(d2) / d1
        )
        return np.stack([v1, v2, -(d2 * second + phi1) / d1, second])

    def observe(self, state: NDArray[Any]) -> Seen:
        """Cosines and sines of the angles, and the speeds."""
        a1, a2, v1, v2 = state
        seen = [np.cos(a1), np.sin(a1), np.cos(a2), np.sin(a2), v1, v2]
        return np.stack(seen, axis=1).astype(np.float32)


def _square(x: NDArray[Any]) -> NDArray[Any]:
    """x², rounded as `x**2` is for single numbers."""
    if not _powers_agree(x.dtype.str):
        return _squares(x)
    found: NDArray[Any] = np.power(x, np.full_like(x, 2.0))
    return found


def _squares(x: NDArray[Any]) -> NDArray[Any]:
    return np.array([number**2 for number in x.ravel()], x.dtype).reshape(x.shape)


@cache
def _powers_agree(dtype: str) -> bool:
    """Whether powers of arrays are rounded as those of single numbers.

    With AVX-512 numpy has powers of arrays of its own, of which one in forty differs.
    """
    x = np.linspace(-3.0, 3.0, 999).astype(dtype)
    return np.array_equal(np.power(x, np.full_like(x, 2.0)), _squares(x))


_MOTIONS: Final[dict[type[Any], tuple[Callable[[Any], Motion], Mapping[str, Any]]]] = {
    CartPoleEnv: (CartPole, {"_sutton_barto_reward": False, "kinematics_integrator": "euler"}),
    MountainCarEnv: (MountainCar, {}),
    PendulumEnv: (Pendulum, {}),
    AcrobotEnv: (Acrobot, {"torque_noise_max": 0.0, "book_or_nips": "book"}),
}


def motion_of(env: Env) -> tuple[Motion, int] | None:
    """How an environment moves and after how many steps it is cut off; None if it is no such.

    Example:
        >>> import gymnasium
        >>> motion_of(gymnasium.make("CartPole-v1"))[1]
        500
        >>> motion_of(gymnasium.make("Blackjack-v1")) is None
        True
    """
    part, limit = env, 0
    while type(part) in _PLAIN:
        if isinstance(part, TimeLimit):
            limit = int(part._max_episode_steps)
        part = part.env  # type: ignore[attr-defined]
    make, settings = _MOTIONS.get(type(part), (None, {}))
    if make is None or limit < 1 or part.render_mode is not None:
        return None
    if any(getattr(part, name, value) != value for name, value in settings.items()):
        return None
    motion = make(part)
    return (motion, limit) if _agrees(env, motion) else None


def _agrees(env: Env, motion: Motion) -> bool:
    """Whether Gymnasium's environment goes where the motion goes, to the last bit."""
    space = env.action_space
    space.seed(0)
    found, _ = env.reset(seed=0)
    first = motion.begin(seeding.np_random(0)[0])
    if not np.array_equal(found, motion.observe(first[:, None])[0]):
        return False
    state = np.repeat(first.astype(np.float64)[:, None], 2, axis=1)
    for _ in range(_TRIED):
        action = space.sample()
        found, reward, over, _, _ = env.step(action)
        state, rewards, ended = motion.move(state, np.stack([action, action]))
        if (reward, over) != (rewards[1], ended[1]):
            return False
        if not np.array_equal(found, motion.observe(state)[1]):
            return False
        if over:
            break
    return True


class ClassicEnvs(SingleEnvs):
    """As `SingleEnvs`, whose environments it keeps for who asks about them, and does not step.

    Args:
        motion: how they move.
        limit: after how many steps an episode is cut off.
        envs: as for `SingleEnvs`.
        seeds: likewise.
        offsets: likewise.
        stride: likewise.

    Example:
        >>> from hunch.rl.environments.make import make_env
        >>> made = [make_env("CartPole-v1") for _ in range(3)]
        >>> envs = ClassicEnvs(*motion_of(made[0]), made, seeds=[0, 1, 2])
        >>> observation = np.zeros((3, 4), np.float32)
        >>> envs.begin(np.ones(3, bool), observation)
        >>> envs.step(np.array([0, 1, 0])).reward
        array([1., 1., 1.])
    """

    def __init__(
        self,
        motion: Motion,
        limit: int,
        envs: Sequence[Env],
        seeds: Sequence[int],
        offsets: Sequence[int] | None = None,
        stride: int = 1,
    ) -> None:
        super().__init__(envs, seeds, offsets, stride)
        self._resetting = False  # what is wrong shows after a step
        self._motion, self._limit = motion, limit
        numbers = len(motion.begin(np.random.default_rng(0)))
        self._state = np.zeros((numbers, self.num_envs))
        self._length = np.zeros(self.num_envs, np.int64)
        space = self.envs[0].action_space
        # What each environment was told since its episode began, to begin anew from there.
        kind = space.dtype if space.shape else np.uint8
        self._told = np.zeros((limit, self.num_envs, *(space.shape or ())), kind)
        self._each = np.arange(self.num_envs)
        # Where next episodes begin, of those that were asked for already.
        self._first = np.zeros((self.num_envs, numbers))
        self._ready = np.zeros(self.num_envs, np.bool_)
        self._infos: list[dict[str, Any]] = [{}] * self.num_envs

    def begin(self, ended: Bools, observation: NDArray[Any]) -> None:
        """Begin an episode where `ended`, writing its first observation into `observation`."""
        if self._compiled() is None:
            super().begin(ended, observation)
            return
        self.prepare()
        first = self._first[ended]
        self._state[:, ended], self._length[ended] = first.T, 0
        self._next_episode[ended] += self._stride
        self._ready[ended] = False
        observation[ended] = first

    def _reset(self, i: int, episode: int) -> NDArray[Any]:
        seed = training_reset_seed(self._seeds[i], episode)
        first = self._motion.begin(seeding.np_random(seed)[0])
        self._state[:, i], self._length[i] = first, 0
        given: NDArray[Any] = self._motion.observe(first[:, None])[0]
        return given

    def _compiled(self) -> Cart | None:
        return self._motion.compiled() if isinstance(self._motion, CartPole) else None

    def _where(self, i: int | None) -> str:
        i = i or 0
        present = int(self._next_episode[i]) - self._stride
        self._reset_seeds[i] = training_reset_seed(self._seeds[i], present)
        return super()._where(i)

    def in_play(self) -> Play | None:
        """Themselves for `hunch_play`, which moves them in their place; None where it cannot."""
        if (cart := self._compiled()) is None:
            return None
        self._state = np.ascontiguousarray(self._state)
        return Play(
            cart=cart,
            limit=self._limit,
            stride=self._stride,
            state=self._state.ctypes.data,
            age=self._length.ctypes.data,
            told=self._told.ctypes.data,
            first=self._first.ctypes.data,
            ready=self._ready.ctypes.data,
            episode=self._next_episode.ctypes.data,
        )

    def prepare(self) -> None:
        """Find out where each cart's next episode begins."""
        which = np.flatnonzero(~self._ready).tolist()
        episodes = self._next_episode.tolist()
        seeds = [training_reset_seed(self._seeds[i], episodes[i]) for i in which]
        self._first[which] = _starts(seeds)
        self._ready[:] = True

    def step(self, actions: NDArray[Any]) -> Outcome:
        """Take one action in every environment."""
        self._told[self._length, self._each] = actions
        self._state, rewards, terminated = self._motion.move(self._state, actions)
        self._length += 1
        following = self._motion.observe(self._state)
        self._answers.check_finite(following)
        truncated = self._length >= self._limit
        return Outcome(following, rewards, terminated, truncated, self._valid, self._infos)

    def _steps(self, i: int) -> int:
        return int(self._length[i])

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """As that of `SingleEnvs`, which may go on from it, and this from one of that."""
        told = [self._told[:length, i] for i, length in enumerate(self._length)]
        return {
            "next_episode": self._next_episode.copy(),
            "lengths": self._length.copy(),
            "actions": np.concatenate(told).astype(self._taken),
        }

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """As that of `SingleEnvs`."""
        self._ready[:] = False
        return super().load_state_dict(state)

    def _replay(self, i: int, actions: NDArray[Any], observation: NDArray[Any]) -> None:
        observation[i] = self._reset(i, int(self._next_episode[i]) - self._stride)
        one, over = self._state[:, [i]], False
        if len(actions) > self._limit:
            raise no_replay()
        for action in actions:
            if over:
                raise no_replay()
            one, _, ended = self._motion.move(one, action[None])
            observation[i], over = self._motion.observe(one)[0], bool(ended[0])
        self._state[:, i], self._length[i] = one[:, 0], len(actions)
        self._told[: len(actions), i] = actions

    def resume(self, observation: NDArray[Any], running: Bools) -> None:
        """Nothing is to be done: a copy has the states."""
