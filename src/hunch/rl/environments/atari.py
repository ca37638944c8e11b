"""Atari games with the usual preprocessing (extra `atari`, which has the games in it)."""

from __future__ import annotations

from typing import Any, Final

import gymnasium
import numpy as np

from hunch.errors import ConfigurationError, MissingDependencyError
from hunch.rl.environments.make import Env, make_env
from hunch.rl.environments.registration import INSTALL_ATARI, register_atari

ATARI_ID: Final = "hunch.rl.atari:hunch/Atari-v0"


def make_atari(
    game: str,
    *,
    frame_skip: int = 4,
    frame_stack: int = 4,
    screen_size: int = 84,
    noop_max: int = 30,
    terminal_on_life_loss: bool = False,
    clip_rewards: bool = True,
    render_mode: str | None = None,
    **kwargs: Any,
) -> Env:
    """Open an Atari game as agents usually see it.

    Up to `noop_max` moves that do nothing begin an episode; each action lasts `frame_skip` frames;
    the brighter of the last two is made gray and small; `frame_stack` of them are one observation,
    bytes of shape `(frame_stack, screen_size, screen_size)`, which the replay stores once each.

    Args:
        game: an id such as `"ALE/Pong-v5"`.
        frame_skip: frames that an action lasts.
        frame_stack: images in an observation.
        screen_size: height and width of an image, in pixels.
        noop_max: largest number of idle moves at the start.
        terminal_on_life_loss: whether the loss of a life ends the episode.
        clip_rewards: whether each reward becomes its sign, as usual in training. Evaluate without.
        render_mode: as for `gymnasium.make`.
        kwargs: more for `gymnasium.make`, such as `repeat_action_probability`.

    Raises:
        MissingDependencyError: if ale-py or OpenCV is not installed.
        ConfigurationError: if there is no such game.

    Source: Mnih et al. (2015), "Human-level control through deep reinforcement learning"; Machado
    et al. (2018), "Revisiting the Arcade Learning Environment", whose advice v5 follows: a quarter
    of all actions is ignored in favor of the one before, and lives do not end episodes.

    Note:
        `hunch.rl.atari:hunch/Atari-v0` is a Gymnasium id for the same, with the argument `game`; it
        can stand in an agent's folder.
    """
    if not game.startswith("ALE/"):
        raise ConfigurationError(f"`game` got {game!r}; expected an id such as 'ALE/Pong-v5'.")
    register_atari()
    env = make_env(game, {**kwargs, "frameskip": 1, "render_mode": render_mode})
    try:
        env = gymnasium.wrappers.AtariPreprocessing(
            env,
            noop_max=noop_max,
            frame_skip=frame_skip,
            screen_size=screen_size,
            terminal_on_life_loss=terminal_on_life_loss,
        )
    except gymnasium.error.DependencyNotInstalled as error:
        raise MissingDependencyError(INSTALL_ATARI) from error
    if clip_rewards:
        env = gymnasium.wrappers.TransformReward(env, _sign)
    return gymnasium.wrappers.FrameStackObservation(env, frame_stack, padding_type="reset")


def _sign(reward: Any) -> float:
    return float(np.sign(reward))


if "hunch/Atari-v0" not in gymnasium.registry:
    gymnasium.register(
        "hunch/Atari-v0", entry_point="hunch.rl.atari:make_atari", disable_env_checker=True
    )
