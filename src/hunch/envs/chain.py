"""The n-chain: a small reward nearby, a large one at the far end."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from hunch.envs.batched import BatchedEnv, Bools, Floats
from hunch.envs.checks import check_action, check_choice, not_running
from hunch.envs.images import chain_image
from hunch.envs.single import DrawnEnv
from hunch.validation import whole_number

NEAR_REWARD, FAR_REWARD = 0.001, 1.0
START = 1  # the second state, counted from 0


class Rules:
    """The checked settings of a chain, shared by the single and the batched environment."""

    def __init__(self, size: int, features: str, episode_length: int | None) -> None:
        self.size = whole_number("size", size, at_least=3)
        known = ("thermometer", "one-hot")
        self.thermometer = check_choice("features", features, known) == "thermometer"
        length = self.size + 8 if episode_length is None else episode_length
        self.episode_length = whole_number("episode_length", length, at_least=1)

    def observe(self, position: NDArray[np.intp]) -> NDArray[np.float32]:
        """Features (..., size) of positions (...)."""
        states, here = np.arange(self.size), position[..., None]
        return ((states <= here) if self.thermometer else (states == here)).astype(np.float32)

    def optimal_return(self) -> float:
        """The better of walking to the far end and of staying at the near one."""
        far = (self.episode_length - (self.size - 1 - START)) * FAR_REWARD
        return max(far, (self.episode_length - START) * NEAR_REWARD)


class Chain(DrawnEnv):
    """A row of N states; the agent starts in the second and moves left (0) or right (1).

    Moving left in the first state earns 0.001, moving right in the last one earns 1; both stay
    there. Everything else earns nothing. An episode is `episode_length` steps and then is
    *truncated*: the observation does not tell the time, so the end is a limit from outside.

    Args:
        size: N, at least 3.
        features: `"thermometer"`, float32 (N,) with ones up to the state and zeros after it, or
            `"one-hot"`, a one at the state only.
        episode_length: environment steps in an episode; None means N + 8.
        render_mode: `"rgb_array"` for images, or None.

    Raises:
        ConfigurationError: if an argument has a value that cannot work.

    Example:
        >>> import gymnasium, hunch.envs
        >>> env = gymnasium.make("hunch/Chain-v0", size=50)
        >>> observation, info = env.reset(seed=0)
        >>> sum(env.step(1)[1] for _ in range(58)) == env.unwrapped.optimal_return == 10.0
        True

    Note:
        The paper says that an episode lasts N + 9 steps and that the best return is 10. Both hold
        if the steps are the states visited, hence N + 8 actions; so does the code of Touati et al.
        count. With `episode_length=N + 9` the best return is 11.

    Source: Osband et al., "Deep Exploration via Bootstrapped DQN" (2016), section 5.1; the same
    problem in Touati et al., "Randomized Value Functions via Multiplicative Normalizing Flows"
    (2019).
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 8}  # noqa: RUF012 Gymnasium's own type

    def __init__(
        self,
        size: int = 10,
        *,
        features: str = "thermometer",
        episode_length: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(render_mode)
        self._rules = Rules(size, features, episode_length)
        self.size = self._rules.size
        self.episode_length = self._rules.episode_length
        self.optimal_return = self._rules.optimal_return()
        self.observation_space = Box(0.0, 1.0, (self.size,), np.float32)
        self.action_space = Discrete(2)

    def _begin(self) -> None:
        self._position, self._time = START, 0

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Move one state to the left (0) or to the right (1)."""
        right = check_action(action, 2) == 1
        if not self._running:
            raise not_running(self._started)
        reward, last = 0.0, self.size - 1
        if right and self._position == last:
            reward = FAR_REWARD
        elif not right and self._position == 0:
            reward = NEAR_REWARD
        self._position = min(max(self._position + (1 if right else -1), 0), last)
        self._time += 1
        self._running = self._time < self.episode_length
        return self._observation(), reward, False, not self._running, {}

    def _image(self) -> NDArray[np.uint8]:
        return chain_image(self.size, self._position)

    def _observation(self) -> NDArray[np.float32]:
        features = np.zeros(self.size, dtype=np.float32)
        features[0 if self._rules.thermometer else self._position : self._position + 1] = 1.0
        return features


class ChainDynamics:
    """The states of `num_envs` chains."""

    def __init__(self, num_envs: int, rules: Rules) -> None:
        self._rules = rules
        self.observation_space = Box(0.0, 1.0, (rules.size,), np.float32)
        self.action_space = Discrete(2)
        self._position = np.full(num_envs, START, dtype=np.intp)
        self._time = np.zeros(num_envs, dtype=np.int64)

    def begin(self, index: int, generator: np.random.Generator) -> None:
        """Put environment `index` into the second state."""
        self._position[index], self._time[index] = START, 0

    def advance(self, actions: NDArray[np.integer[Any]]) -> tuple[Floats, Bools, Bools]:
        """Move every agent one state."""
        last = self._rules.size - 1
        right = actions == 1
        rewards = FAR_REWARD * (right & (self._position == last))
        rewards += NEAR_REWARD * (~right & (self._position == 0))
        self._position = np.clip(self._position + np.where(right, 1, -1), 0, last)
        self._time += 1
        over = self._time >= self._rules.episode_length
        return rewards, np.zeros(len(over), dtype=np.bool_), over

    def observe(self) -> NDArray[np.float32]:
        """Features (num_envs, size)."""
        return self._rules.observe(self._position)

    def infos(self) -> dict[str, NDArray[Any]]:
        """None: the observation says all there is."""
        return {}

    def image(self, index: int) -> NDArray[np.uint8]:
        """As `Chain.render`."""
        return chain_image(self._rules.size, int(self._position[index]))


def chain_batch(
    num_envs: int = 1,
    size: int = 10,
    *,
    features: str = "thermometer",
    episode_length: int | None = None,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    render_mode: str | None = None,
) -> BatchedEnv:
    """`num_envs` chains stepped together.

    The arguments are those of `Chain` and `BatchedEnv`, and so are the errors.

    Example:
        >>> import gymnasium, hunch.envs
        >>> envs = gymnasium.make_vec("hunch/Chain-v0", num_envs=4, size=6, features="one-hot")
        >>> envs.reset(seed=0)[0][0]
        array([0., 1., 0., 0., 0., 0.], dtype=float32)
    """
    rules = Rules(size, features, episode_length)
    return BatchedEnv(
        lambda n: ChainDynamics(n, rules),
        num_envs,
        autoreset_mode=autoreset_mode,
        render_mode=render_mode,
    )
