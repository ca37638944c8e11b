"""MinAtar: five Atari games on a board of 10 × 10 (extra `minatar`, which has the games in it)."""

from __future__ import annotations

from typing import Any, Final

import gymnasium
import numpy as np
from numpy.typing import NDArray

from hunch.errors import ConfigurationError
from hunch.rl.environments.make import Env, make_env
from hunch.rl.environments.registration import register_minatar

_ID: Final = "hunch/MinAtar-v0"


def make_minatar(game: str, *, render_mode: str | None = None, **kwargs: Any) -> Env:
    """Open a MinAtar game, each of whose episodes follows from its seed and its actions alone.

    An observation is a board of 10 × 10 with a channel for each kind of thing on it, booleans of
    shape `(10, 10, channels)`.

    Args:
        game: an id such as `"MinAtar/Breakout-v1"`: Asterix, Breakout, Freeway, Seaquest or
            SpaceInvaders; v1 has the actions that do something in the game, v0 all six.
        render_mode: as for `gymnasium.make`.
        kwargs: more for `gymnasium.make`, such as `sticky_action_prob=0.0`.

    Raises:
        MissingDependencyError: if MinAtar is not installed.
        ConfigurationError: if there is no such game.

    Source: Young & Tian (2019), "MinAtar: an Atari-inspired testbed for thorough and reproducible
    reinforcement learning experiments".

    Note:
        A tenth of all actions is that of the step before. The package takes it from the episode
        before where there is none; here it is then action 0, which does nothing, or a run that was
        killed would not go on as it was. `hunch.rl.minatar:hunch/MinAtar-v0` is a Gymnasium id for
        the same, with the argument `game`; it can stand in an agent's folder.
    """
    if not game.startswith("MinAtar/"):
        raise ConfigurationError(
            f"`game` got {game!r}; expected an id such as 'MinAtar/Breakout-v1'."
        )
    register_minatar()
    plainly = {"disable_env_checker": True, "render_mode": render_mode}
    return _Fresh(make_env(game, {**plainly, **kwargs}))


class _Fresh(gymnasium.Wrapper[NDArray[np.bool_], int, NDArray[np.bool_], int]):
    """Forgets with each episode what was done last."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.bool_], dict[str, Any]]:
        """As Gymnasium's."""
        game: Any = self.env.unwrapped
        game.game.last_action = 0
        return self.env.reset(seed=seed, options=options)


if _ID not in gymnasium.registry:
    gymnasium.register(_ID, entry_point="hunch.rl.minatar:make_minatar", disable_env_checker=True)
