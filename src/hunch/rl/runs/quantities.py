"""Where an agent stands, in numbers that are worth a curve."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hunch.rl.agents.agent import Agent
from hunch.rl.agents.schedules import Linear, value_at
from hunch.rl.networks.value_networks import noise_size, noisy_layers


@torch.no_grad()
def quantities(agent: Agent) -> dict[str, float]:
    """Learning rate, ε, mean predicted value, size of each layer's noise; those that there are.

    To ask changes nothing of what the agent becomes.

    Args:
        agent: in the course of its training.

    Returns:
        Names, in groups by what stands before a stroke, to numbers. A value is the mean over the
        observations that the environments show now, and over replicas, without noise.

    Example:
        >>> from hunch.rl import DQN
        >>> sorted(quantities(DQN("CartPole-v1", epsilon=0.1, learning_rate=1e-3)))
        ['train/epsilon', 'train/learning_rate', 'train/value']
    """
    found: dict[str, float] = {}
    for name in ("learning_rate", "epsilon"):
        schedule: Any = getattr(agent, name, None)
        # With noise in place of it ε is not in force.
        if isinstance(schedule, float | Linear) and not (
            name == "epsilon" and getattr(agent, "noisy", False)
        ):
            found[f"train/{name}"] = value_at(schedule, agent.steps)
    values = [
        agent.state_values(torch.from_numpy(seen.astype(np.float32)).to(agent.device), r)
        for r, seen in enumerate(agent.present_observations)
    ]
    known = [own for own in values if own is not None]
    if known:
        found["train/value"] = float(np.mean(known))
    for i, layer in enumerate(noisy_layers(agent.network)):
        found[f"noise/layer_{i + 1}"] = noise_size(layer)
    return found
