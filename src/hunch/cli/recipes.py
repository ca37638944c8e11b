"""What `hunch train AGENT ENV` does if it is not told otherwise. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

ATARI_ID: Final = "hunch.rl.atari:hunch/Atari-v0"
MINATAR_ID: Final = "hunch.rl.minatar:hunch/MinAtar-v0"


@dataclass(frozen=True)
class Recipe:
    """An agent that has a name on the command line.

    Args:
        agent: its class in `hunch.rl`.
        about: what it is, in a few words.
        settings: arguments that differ from the class's defaults.
        atari: arguments that differ on Atari, on top of those.
        minatar: likewise on MinAtar.
    """

    agent: str
    about: str
    settings: Mapping[str, Any]
    atari: Mapping[str, Any] = field(default_factory=dict)
    minatar: Mapping[str, Any] = field(default_factory=dict)

    def settings_for(self, env: str) -> dict[str, Any]:
        """Arguments that differ from the class's defaults in an environment."""
        own = {"ALE": self.atari, "MinAtar": self.minatar}.get(env.partition("/")[0], {})
        return {**self.settings, **own}


_NOISY: Final = dict(noisy=True, double=True)
_ATARI_DQN: Final = dict(
    replay_capacity=100_000,
    min_replay_size=10_000,
    batch_size=32,
    update_period=4,
    hidden_sizes=[512],
    learning_rate=1e-4,
    n_step=1,
    target_update_period=1_000,
    target_update_rate=1.0,
    max_gradient_norm=10.0,
)
_MINATAR_DQN: Final = dict(
    replay_capacity=100_000,
    min_replay_size=5_000,
    batch_size=32,
    update_period=1,
    n_step=1,
    hidden_sizes=[128],
    learning_rate=2.5e-4,
    target_update_period=1_000,
    target_update_rate=1.0,
    max_gradient_norm=10.0,
)
_MINATAR_NOISY: Final = dict(_MINATAR_DQN, layer_norm=True, random_steps=0, noise_draws=1)
_MINATAR_EPSILON: Final = dict(_MINATAR_DQN, epsilon={"Linear": [1.0, 0.05, 100_000]})
_MINATAR_PQN: Final = dict(num_envs=64, hidden_sizes=[128], learning_rate=5e-4)
_ATARI_NOISY: Final = dict(_ATARI_DQN, random_steps=0, noise_draws=1)
_ATARI_EPSILON: Final = dict(_ATARI_DQN, epsilon={"Linear": [1.0, 0.01, 250_000]})
_BOOTSTRAPPED: Final = dict(num_members=10, prior_scale=1.0, loss="squared", random_steps=0)

RECIPES: Final[dict[str, Recipe]] = {
    "dqn": Recipe(
        "DQN", "deep Q-learning, ε-greedy", {}, _ATARI_EPSILON, _MINATAR_EPSILON,
    ),
    "double-dqn": Recipe(
        "DQN", "the online network chooses what the target evaluates", dict(double=True),
        _ATARI_EPSILON, _MINATAR_EPSILON,
    ),
    "dueling-dqn": Recipe(
        "DQN", "double, with separate streams for value and advantages",
        dict(double=True, dueling=True), _ATARI_EPSILON, _MINATAR_EPSILON,
    ),
    "noisy-dqn": Recipe(
        "DQN", "double, explores by noise on its weights", _NOISY, _ATARI_NOISY, _MINATAR_NOISY,
    ),
    "rainbow": Recipe(
        "DQN",
        "all of them, with priorities, 3 steps and quantiles (on Atari: C51)",
        dict(_NOISY, dueling=True, prioritized=True, distributional="quantile"),
        dict(
            _ATARI_NOISY, distributional="categorical", n_step=3, learning_rate=6.25e-5,
            target_update_period=2_000,
        ),
        dict(_MINATAR_NOISY, n_step=3),
    ),
    "boot-dqn": Recipe(
        "BootstrappedDQN", "members with priors, one of which plays each episode", {},
        dict(
            _BOOTSTRAPPED, replay_capacity=100_000, min_replay_size=10_000, batch_size=32,
            update_period=4, n_step=1, hidden_sizes=[512], learning_rate=1e-4,
            target_update_period=1_000, target_update_rate=1.0,
        ),
        _MINATAR_DQN | _BOOTSTRAPPED | dict(update_period=4),
    ),
    "pqn": Recipe(
        "PQN", "Q-learning from many environments at once, without replay or target network", {},
        minatar=dict(_MINATAR_PQN, epsilon={"Linear": [1.0, 0.05, 100_000]}),
    ),
    "noisy-pqn": Recipe(
        "PQN", "the same, explores by noise on its weights", dict(noisy=True), minatar=_MINATAR_PQN,
    ),
    "reinforce": Recipe("Reinforce", "policy gradient by whole episodes, with a learned value", {}),
    "a2c": Recipe("A2C", "advantage actor-critic; boxes of actions too", {}),
    "noisy-a2c": Recipe(
        "A2C", "the same, explores by noise on its weights, held over each rollout",
        dict(noisy=True),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class EnvDefaults:
    """An environment as `hunch train` takes it.

    Args:
        env: the id that the agent gets.
        env_kwargs: its keyword arguments.
        steps: environment steps if none are asked for.
        evaluation_env_kwargs: keyword arguments in which evaluations differ.
        stop_when_solved: as in `hunch.rl.Plan`.
        evaluations: how many there are in the course of the training.
        evaluation_episodes: episodes of each.
        final_episodes: episodes in which the agent is evaluated in the end.
        checkpoint_at_most: environment steps from one checkpoint to the next, at most.
    """

    env: str
    env_kwargs: Mapping[str, Any]
    steps: int
    evaluation_env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    stop_when_solved: tuple[float, int, int] | None = None
    evaluations: int = 20
    evaluation_episodes: int = 10
    final_episodes: int = 20
    checkpoint_at_most: int = 10_000


def defaults_for(env: str, env_kwargs: Mapping[str, Any]) -> EnvDefaults:
    """How an environment is trained on.

    Example:
        >>> defaults_for("hunch/DeepSea-v0", {"size": 20}).steps
        50000
        >>> defaults_for("ALE/Pong-v5", {}).env_kwargs
        {'game': 'ALE/Pong-v5'}
    """
    if env.startswith("ALE/"):
        return EnvDefaults(
            ATARI_ID,
            {"game": env, **env_kwargs},
            steps=1_000_000,
            evaluation_env_kwargs={"clip_rewards": False, "terminal_on_life_loss": False},
            evaluation_episodes=3,
            final_episodes=3,
            checkpoint_at_most=50_000,
        )
    if env.startswith("MinAtar/"):
        return EnvDefaults(
            MINATAR_ID, {"game": env, **env_kwargs}, steps=1_000_000, checkpoint_at_most=50_000
        )
    if env.rpartition(":")[2].startswith("hunch/DeepSea-"):
        size = env_kwargs.get("size", 10)
        size = size if isinstance(size, int) and size > 0 else 10  # the environment will complain
        bound, earliest = (0.8, 100) if env_kwargs.get("stochastic") is True else (0.9, 1)
        return EnvDefaults(
            env,
            env_kwargs,
            steps=2_500 * size,
            stop_when_solved=(bound, earliest, size),
        )
    return EnvDefaults(env, env_kwargs, steps=50_000)
