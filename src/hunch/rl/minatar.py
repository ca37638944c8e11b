"""The module of the Gymnasium id `hunch.rl.minatar:hunch/MinAtar-v0`, which folders hold."""

from hunch.rl.environments.minatar import make_minatar
from hunch.rl.environments.registration import register_minatar

__all__ = ["make_minatar", "register_minatar"]
