"""Deep sea: N moves in a row must be right before there is any reward."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from hunch.envs.batched import BatchedEnv, Bools, Floats
from hunch.envs.checks import check_action, check_choice, not_running
from hunch.envs.images import grid_image
from hunch.envs.single import DrawnEnv
from hunch.validation import real_number, whole_number

SWEEP_MAPPING_SEED = 42


class Tables:
    """The rules as tables over (cell, action), shared by the single and the batched environment.

    A cell is row · size + column; cells from size · size on stand for "the episode is over".
    """

    def __init__(self, size: int, mapping_seed: int | None, move_cost: float) -> None:
        self.size = whole_number("size", size, at_least=2)
        self.move_cost = real_number("move_cost", move_cost)
        self.mapping = _mapping(self.size, mapping_seed)
        last = self.size - 1
        row, column, action = np.indices((self.size, self.size, 2))
        right = action == self.mapping[:, :, None]
        moved = np.clip(column + np.where(right, 1, -1), 0, last)
        # One row more than there is: a batch may step an environment that has already ended.
        self.next_cell = self._flat((row + 1) * self.size + moved, self.size * self.size)
        self.shift = self._flat(np.maximum(moved - column, 0), 0)
        self.gain = self._flat(np.where(right & (column == last), 1.0, 0.0), 0.0)
        self.cost = self._flat(np.where(right, self.move_cost / self.size, 0.0), 0.0)
        self.wrong = self._flat(~right & (row == column), False)
        self.noisy = self._flat(
            ((row == last) & ((column == 0) | (column == last))).astype(float), 0.0
        )

    def _flat(self, table: NDArray[Any], over: float) -> NDArray[Any]:
        beyond = np.full((1, self.size, 2), over, dtype=table.dtype)
        return np.concatenate([table, beyond]).reshape(-1)

    def optimal_return(self, stochastic: bool) -> float:
        """The expected return of the best policy."""
        arrives = (1 - 1 / self.size) ** (self.size - 1) if stochastic else 1.0
        return float(arrives - self.move_cost)


def _mapping(size: int, mapping_seed: int | None) -> NDArray[np.int64]:
    if mapping_seed is None:
        return np.ones((size, size), dtype=np.int64)
    seed = whole_number("mapping_seed", mapping_seed, at_least=0)
    # The legacy generator, whose streams numpy keeps as they are: bsuite's mapping, bit for bit.
    draws = np.random.RandomState(seed).binomial(1, 0.5, (size, size))
    return np.asarray(draws, dtype=np.int64)


def _chance(generator: np.random.Generator, size: int) -> tuple[NDArray[np.bool_], float]:
    # All of an episode's chance at once, so that a batch asks each stream once per episode:
    # which moves to the right fail, and the noise of the last reward.
    return generator.random(size) <= 1 / size, float(generator.standard_normal())


class DeepSea(DrawnEnv):
    """Deep sea as bsuite defines it: a block falls through an N × N grid, one row per step.

    Which action means "right" differs from cell to cell and is drawn from `mapping_seed`. A move to
    the right costs `move_cost` / N; a move to the right from the last column, which only N moves to
    the right in a row can reach, earns 1. Acting at random succeeds in one episode of 2ᴺ.

    The observation is the cell as a one-hot float32 grid (size, size), all zeros once the episode
    is over. Each episode takes exactly N steps and then is *terminated*: the end is part of the
    problem. `info["bad_episode"]` says whether the episode has left the best path by its own
    action, `info["denoised_return"]` what it has earned without costs and noise; counted and summed
    over the ends of episodes they are bsuite's `total_bad_episodes` and `denoised_return`.

    Args:
        size: N, at least 2.
        mapping_seed: seed of the action mapping, the same as bsuite's for the same seed; None
            makes action 1 "right" everywhere, which is no exploration problem but easy to follow.
        stochastic: moves to the right fail with probability 1/N (and cost all the same), and a
            reward given in one of the two corners of the last row gets N(0, 1) noise.
        move_cost: cost of an episode of N moves to the right.
        render_mode: `"rgb_array"` for images, or None.

    Raises:
        ConfigurationError: if an argument has a value that cannot work.

    Example:
        >>> import gymnasium, hunch.envs
        >>> env = gymnasium.make("hunch/DeepSea-v0", size=5, mapping_seed=None)
        >>> observation, info = env.reset(seed=0)
        >>> rewards = [env.step(1)[1] for _ in range(5)]
        >>> round(sum(rewards), 2)
        0.99

    Note:
        With `mapping_seed=None` bsuite draws another mapping each time; what we do then is its
        `randomize_actions=False`. bsuite draws noise step by step, we draw an episode's at `reset`:
        the same distributions from another stream.

    Source: Osband et al., "Behaviour Suite for Reinforcement Learning" (2020), deep_sea and
    deep_sea_stochastic; Osband et al., "Deep Exploration via Randomized Value Functions" (2019).
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 8}  # noqa: RUF012 Gymnasium's own type
    one_hot_observations = True

    def __init__(
        self,
        size: int = 10,
        *,
        mapping_seed: int | None = SWEEP_MAPPING_SEED,
        stochastic: bool = False,
        move_cost: float = 0.01,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(render_mode)
        tables = Tables(size, mapping_seed, move_cost)
        self.size = tables.size
        self.stochastic = check_choice("stochastic", stochastic, (False, True))
        self.optimal_return = tables.optimal_return(self.stochastic)
        self.observation_space = Box(0.0, 1.0, (self.size, self.size), np.float32)
        self.action_space = Discrete(2)
        self._mapping = tables.mapping
        # Lists of Python numbers are read several times faster than arrays, one at a time.
        self._next, self._shift = tables.next_cell.tolist(), tables.shift.tolist()
        self._gain, self._cost = tables.gain.tolist(), tables.cost.tolist()
        self._wrong, self._noisy = tables.wrong.tolist(), tables.noisy.tolist()

    def _begin(self) -> None:
        self._cell, self._bad, self._denoised = 0, False, 0.0
        if self.stochastic:
            fails, self._noise = _chance(self.np_random, self.size)
            self._fails = fails.tolist()

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Fall one row; see the class for what is returned."""
        action = check_action(action, 2)
        if not self._running:
            raise not_running(self._started)
        choice = 2 * self._cell + action
        reward, cell = self._gain[choice], self._next[choice]
        if self.stochastic:
            reward += self._noisy[choice] * self._noise
            if self._fails[self._cell // self.size]:
                cell -= self._shift[choice]
        reward -= self._cost[choice]
        self._bad = self._bad or self._wrong[choice]
        self._denoised += self._gain[choice]
        self._cell, self._running = cell, cell < self.size * self.size
        return self._observation(), reward, not self._running, False, self._info()

    def _image(self) -> NDArray[np.uint8]:
        return grid_image(self._mapping, self._cell)

    def _observation(self) -> NDArray[np.float32]:
        grid = np.zeros((self.size, self.size), dtype=np.float32)
        if self._cell < self.size * self.size:
            grid[divmod(self._cell, self.size)] = 1.0
        return grid

    def _info(self) -> dict[str, Any]:
        return {"bad_episode": self._bad, "denoised_return": self._denoised}


class DeepSeaDynamics:
    """The states of `num_envs` deep seas; see `DeepSea` for the arguments."""

    def __init__(self, num_envs: int, tables: Tables, stochastic: bool) -> None:
        self._tables, self._stochastic = tables, stochastic
        self.observation_space = Box(0.0, 1.0, (tables.size, tables.size), np.float32)
        self.action_space = Discrete(2)
        self._over = tables.size * tables.size
        self._envs = np.arange(num_envs)
        self._cell = np.zeros(num_envs, dtype=np.intp)
        self._bad = np.zeros(num_envs, dtype=np.bool_)
        self._denoised = np.zeros(num_envs)
        # A row more than there is, as in the tables.
        self._fails = np.zeros((num_envs, tables.size + 1), dtype=np.bool_)
        self._noise = np.zeros(num_envs)

    def begin(self, index: int, generator: np.random.Generator) -> None:
        """Put environment `index` into the top left cell and draw its episode's chance."""
        self._cell[index], self._bad[index], self._denoised[index] = 0, False, 0.0
        if self._stochastic:
            self._fails[index, :-1], self._noise[index] = _chance(generator, self._tables.size)

    def advance(self, actions: NDArray[np.integer[Any]]) -> tuple[Floats, Bools, Bools]:
        """Let every block fall one row."""
        tables = self._tables
        choice = 2 * self._cell + actions
        gain = tables.gain.take(choice)
        rewards, cell = gain, tables.next_cell.take(choice)
        if self._stochastic:
            rewards = gain + tables.noisy.take(choice) * self._noise
            failed = self._fails[self._envs, self._cell // tables.size]
            cell -= failed * tables.shift.take(choice)
        rewards = rewards - tables.cost.take(choice)
        self._bad |= tables.wrong.take(choice)
        self._denoised += gain
        self._cell = cell
        return rewards, cell >= self._over, np.zeros(len(cell), dtype=np.bool_)

    def observe(self) -> NDArray[np.float32]:
        """One-hot grids (num_envs, size, size)."""
        grids = np.zeros((len(self._cell), self._over), dtype=np.float32)
        here = self._envs * self._over + self._cell
        running = self._cell < self._over
        grids.reshape(-1)[here if running.all() else here[running]] = 1.0
        return grids.reshape(-1, self._tables.size, self._tables.size)

    def infos(self) -> dict[str, NDArray[Any]]:
        """As in `DeepSea`."""
        return {"bad_episode": self._bad.copy(), "denoised_return": self._denoised.copy()}

    def image(self, index: int) -> NDArray[np.uint8]:
        """As `DeepSea.render`."""
        return grid_image(self._tables.mapping, int(self._cell[index]))


def deep_sea_batch(
    num_envs: int = 1,
    size: int = 10,
    *,
    mapping_seed: int | None = SWEEP_MAPPING_SEED,
    stochastic: bool = False,
    move_cost: float = 0.01,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    render_mode: str | None = None,
) -> BatchedEnv:
    """`num_envs` deep seas stepped together, with one action mapping.

    The arguments are those of `DeepSea` and `BatchedEnv`, and so are the errors.

    Example:
        >>> import gymnasium, hunch.envs
        >>> envs = gymnasium.make_vec("hunch/DeepSea-v0", num_envs=64, size=20)
        >>> envs.reset(seed=0)[0].shape
        (64, 20, 20)
    """
    check_choice("stochastic", stochastic, (False, True))
    tables = Tables(size, mapping_seed, move_cost)
    return BatchedEnv(
        lambda n: DeepSeaDynamics(n, tables, stochastic),
        num_envs,
        autoreset_mode=autoreset_mode,
        render_mode=render_mode,
    )
