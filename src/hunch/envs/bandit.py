"""A bandit with one arm for each tenth: nothing to see, everything to try."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from hunch.envs.checks import check_action, not_running
from hunch.envs.single import SingleEnv
from hunch.validation import whole_number


class Bandit(SingleEnv):
    """The bandit of bsuite: K arms pay 0, 1/(K − 1), …, 1 in an order drawn from `mapping_seed`.

    An arm always pays the same. An episode is one step and then *terminated* (bsuite's discount is
    0). The observation is a single 1, float32 (1,); bsuite's has the shape (1, 1).

    Args:
        mapping_seed: seed of the arms' order, the same as bsuite's for the same seed; None leaves
            them in order, which is no exploration problem but easy to follow.
        num_actions: K, at least 2.

    Raises:
        ConfigurationError: if an argument has a value that cannot work.

    Example:
        >>> import gymnasium, hunch.envs
        >>> env = gymnasium.make("hunch/Bandit-v0", mapping_seed=None)
        >>> observation, info = env.reset(seed=0)
        >>> observation, reward, terminated, truncated, info = env.step(10)
        >>> float(reward), terminated
        (1.0, True)

    Source: Osband et al., "Behaviour Suite for Reinforcement Learning" (2020), bandit.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 Gymnasium's own type

    def __init__(self, mapping_seed: int | None = 0, num_actions: int = 11) -> None:
        arms = whole_number("num_actions", num_actions, at_least=2)
        order = np.arange(arms)
        if mapping_seed is not None:
            seed = whole_number("mapping_seed", mapping_seed, at_least=0)
            # The legacy generator and bsuite's own call: its order, arm for arm.
            order = np.random.RandomState(seed).choice(range(arms), size=arms, replace=False)
        self.rewards = np.linspace(0, 1, arms)[order]
        self.observation_space = Box(0.0, 1.0, (1,), np.float32)
        self.action_space = Discrete(arms)

    def _begin(self) -> None:
        """Nothing is drawn: every episode is alike."""

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Pull an arm."""
        arm = check_action(action, len(self.rewards))
        if not self._running:
            raise not_running(self._started)
        self._running = False
        return self._observation(), float(self.rewards[arm]), True, False, {}

    def _observation(self) -> NDArray[np.float32]:
        return np.ones(1, dtype=np.float32)
