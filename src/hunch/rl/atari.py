"""The module of the Gymnasium id `hunch.rl.atari:hunch/Atari-v0`, which folders of agents hold."""

from hunch.rl.environments.atari import make_atari
from hunch.rl.environments.registration import register_atari

__all__ = ["make_atari", "register_atari"]
