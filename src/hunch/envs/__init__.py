"""Environments that ask for exploration; importing this registers them with Gymnasium.

- `hunch/DeepSea-v0`: one path of N moves leads to the reward, every other one nowhere.
- `hunch/CartPoleSwingup-v0`: swing a pole up although moving costs.
- `hunch/Chain-v0`: a small reward nearby, a large one N states away.

Problems of bsuite that ask for less, because its scores count them too:

- `hunch/Catch-v0`: move a paddle under a falling ball.
- `hunch/Bandit-v0`: eleven arms, one step.
- `hunch/BsuiteMountainCar-v0`, `hunch/BsuiteCartPole-v0`: other limits than Gymnasium's own.

`gymnasium.make` gives one environment, `gymnasium.make_vec` a batch, of the first three computed
with numpy.
Without an import the names are `hunch.envs:hunch/DeepSea-v0` and so on. No torch in here.
"""

from __future__ import annotations

import gymnasium

from hunch.envs.bandit import Bandit
from hunch.envs.batched import BatchedEnv
from hunch.envs.bsuite_cartpole import BsuiteCartPole
from hunch.envs.bsuite_mountain_car import BsuiteMountainCar
from hunch.envs.cartpole_swingup import CartPoleSwingup, cartpole_swingup_batch
from hunch.envs.catch import Catch
from hunch.envs.chain import Chain, chain_batch
from hunch.envs.deep_sea import DeepSea, deep_sea_batch

__all__ = [
    "Bandit",
    "BatchedEnv",
    "BsuiteCartPole",
    "BsuiteMountainCar",
    "CartPoleSwingup",
    "Catch",
    "Chain",
    "DeepSea",
    "cartpole_swingup_batch",
    "chain_batch",
    "deep_sea_batch",
]

_ENTRY_POINTS: dict[str, tuple[str, str | None]] = {
    "hunch/DeepSea-v0": ("hunch.envs.deep_sea:DeepSea", "hunch.envs.deep_sea:deep_sea_batch"),
    "hunch/CartPoleSwingup-v0": (
        "hunch.envs.cartpole_swingup:CartPoleSwingup",
        "hunch.envs.cartpole_swingup:cartpole_swingup_batch",
    ),
    "hunch/Chain-v0": ("hunch.envs.chain:Chain", "hunch.envs.chain:chain_batch"),
    "hunch/Catch-v0": ("hunch.envs.catch:Catch", None),
    "hunch/Bandit-v0": ("hunch.envs.bandit:Bandit", None),
    "hunch/BsuiteMountainCar-v0": ("hunch.envs.bsuite_mountain_car:BsuiteMountainCar", None),
    "hunch/BsuiteCartPole-v0": ("hunch.envs.bsuite_cartpole:BsuiteCartPole", None),
}

for _name, (_single, _batch) in _ENTRY_POINTS.items():
    if _name not in gymnasium.registry:
        # The environments say themselves, in one sentence, that `reset` comes before `step`.
        gymnasium.register(
            _name, entry_point=_single, vector_entry_point=_batch, order_enforce=False
        )
