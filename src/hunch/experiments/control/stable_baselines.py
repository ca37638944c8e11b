"""Stable-Baselines3's models beside our agents: trained without a trace, and evaluated alike."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hunch.rl.environments.make import Env


@dataclass(frozen=True)
class Player:
    """A model as `hunch.rl.evaluate` wants it."""

    model: Any
    make_env: Callable[[], Env]  # opens an environment equal to the one trained in

    def predict(self, observation: npt.NDArray[Any], deterministic: bool = True) -> Any:
        """Actions for a batch of observations."""
        return self.model.predict(observation, deterministic=deterministic)[0]

    def another_env(self) -> Env:
        """A new environment."""
        return self.make_env()


@contextmanager
def global_randomness_kept() -> Iterator[None]:
    """Stable-Baselines3 seeds and uses the global generators; they are put back afterwards."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
