"""bsuite's problems: for each experiment its ids, and for each id an environment with settings."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from hunch.errors import ConfigurationError


@dataclass(frozen=True)
class BsuiteProblem:
    """One bsuite experiment.

    Source: Osband et al., "Behaviour Suite for Reinforcement Learning" (2020).
    """

    name: str  # bsuite's
    environment: str  # its Gymnasium name
    # The environment's arguments; id `i` of the experiment is `settings[i]`. Ids with equal
    # settings differ in the seed alone, which bsuite leaves to chance.
    settings: tuple[Mapping[str, Any], ...]
    num_episodes: int  # how many episodes each id is played
    # Entries of `info` at an episode's last step that bsuite logs besides the return. The first of
    # them is what the score reads; where there is none, it reads the return.
    infos: tuple[str, ...] = ()

    @property
    def num_ids(self) -> int:
        """How many ids there are; they are numbered from 0."""
        return len(self.settings)


_SIZES: Final = range(10, 51, 2)
_SAME: Final[tuple[Mapping[str, Any], ...]] = (MappingProxyType({}),) * 20
_SEA_INFOS: Final = ("bad_episode", "denoised_return")


def _frozen(settings: list[dict[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    return tuple(MappingProxyType(setting) for setting in settings)


_CALM: Final = _frozen([{"size": n, "mapping_seed": 42, "stochastic": False} for n in _SIZES])
_WINDY: Final = _frozen([{**setting, "stochastic": True} for setting in _CALM])
_SWINGUPS: Final = _frozen(
    [{"height_threshold": n / 20, "x_reward_threshold": 1 - n / 20} for n in range(20)]
)
_BANDITS: Final = _frozen([{"mapping_seed": n} for n in range(20)])

PROBLEMS: Final[Mapping[str, BsuiteProblem]] = MappingProxyType(
    {
        problem.name: problem
        for problem in (
            BsuiteProblem("deep_sea", "hunch/DeepSea-v0", _CALM, 10_000, _SEA_INFOS),
            BsuiteProblem("deep_sea_stochastic", "hunch/DeepSea-v0", _WINDY, 10_000, _SEA_INFOS),
            BsuiteProblem("cartpole_swingup", "hunch/CartPoleSwingup-v0", _SWINGUPS, 1_000),
            BsuiteProblem("cartpole", "hunch/BsuiteCartPole-v0", _SAME, 1_000),
            BsuiteProblem("mountain_car", "hunch/BsuiteMountainCar-v0", _SAME, 1_000),
            BsuiteProblem("catch", "hunch/Catch-v0", _SAME, 10_000),
            BsuiteProblem("bandit", "hunch/Bandit-v0", _BANDITS, 10_000),
        )
    }
)


def problem(name: str) -> BsuiteProblem:
    """The problem of that name.

    Args:
        name: a bsuite experiment, such as `"deep_sea"`.

    Raises:
        ConfigurationError: if there is none of that name.

    Example:
        >>> sea = problem("deep_sea")
        >>> sea.num_ids, sea.settings[20]["size"], sea.num_episodes
        (21, 50, 10000)
    """
    if name in PROBLEMS:
        return PROBLEMS[name]
    near = difflib.get_close_matches(str(name), PROBLEMS, n=3) or list(PROBLEMS)
    raise ConfigurationError(f"`name` got {name!r}; expected a problem such as {', '.join(near)}.")
