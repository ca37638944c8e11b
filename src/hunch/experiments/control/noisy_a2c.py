"""Noise on the weights against an entropy bonus: A2C both ways, on CartPole and on deep sea.

Fortunato et al. (2018) put noisy layers into A3C in place of its entropy bonus and report a median
gain of 18 % over 57 Atari games. Here both agents, and one with neither, have the same networks and
settings. CartPole rewards every step; deep sea of size 10 rewards one path out of 1,024, and along
it punishes each step a little, as bsuite has it. Who wins is printed, not claimed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

import hunch.envs
from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.markdown import listed, table
from hunch.experiments.claims.parallel import collect
from hunch.experiments.claims.saved import Array, SavedResult, written
from hunch.experiments.exploration.deep_sea import first_good
from hunch.rl import A2C, Linear, StopWhenSolved, evaluate

CLAIM = (
    "NoisyNet-A2C and A2C with an entropy bonus both learn CartPole-v1 within 100,000 frames (a "
    "median return of at least 400 over 10 seeds); how each fares in deep sea is printed."
)
NOISY: Final = "NoisyNet-A2C"
ENTROPY: Final = "A2C, entropy bonus"
NEITHER: Final = "A2C, neither"
AGENTS: Final[dict[str, dict[str, Any]]] = {
    NOISY: dict(noisy=True),
    ENTROPY: dict(entropy_weight=0.01),
    NEITHER: dict(entropy_weight=0.0),
}
BALANCED: Final = 475.0  # Gymnasium's own bound for CartPole-v1


@dataclass(frozen=True)
class Settings:
    """How long and how often."""

    num_seeds: int = 10  # replicas of each agent, trained at once
    frames: int = 100_000  # environment steps of each on CartPole-v1
    looks: int = 20  # evaluations during training, evenly spaced
    episodes: int = 20  # of each evaluation
    size: int = 10  # N of the deep sea
    dives: int = 5_000  # episodes there
    jobs: int = 1  # runs at a time, each in a process of its own

    @classmethod
    def quick(cls) -> Settings:
        """Two seeds and a shallow sea."""
        return cls(num_seeds=2, frames=2_000, looks=2, episodes=2, size=4, dives=64)


@dataclass(frozen=True)
class Poles:
    """One agent on CartPole, all seeds."""

    agent: str  # its name
    frames: Array  # at which it was evaluated
    # Of greedy episodes, `(seeds, evaluations)`.
    mean_return: Array = field(metadata=written(decimals=1))


@dataclass(frozen=True)
class Dive:
    """One agent in the deep sea, one seed."""

    agent: str  # its name
    seed: int  # the replica's
    first: int | None  # first episode that found the treasure, None if there was none
    # First episode after which bsuite calls the sea solved, None if it never was.
    solved: int | None


@dataclass(frozen=True)
class Result(SavedResult):
    """Both tasks."""

    settings: Settings
    cartpole: tuple[Poles, ...]
    deep_sea: tuple[Dive, ...]

    def poles(self, agent: str) -> Array:
        """Mean return on CartPole, `(seeds, evaluations)`."""
        return next(p.mean_return for p in self.cartpole if p.agent == agent)

    def dives(self, agent: str) -> list[Dive]:
        """An agent's seeds in the deep sea."""
        return [dive for dive in self.deep_sea if dive.agent == agent]

    def to_markdown(self) -> str:
        """One line for each agent."""
        settings, rows = self.settings, []
        for agent in AGENTS:
            returns, dives = self.poles(agent), self.dives(agent)
            last, seeds = returns[:, -1], len(dives)
            found = sum(dive.first is not None for dive in dives)
            solved = sum(dive.solved is not None for dive in dives)
            rows.append(
                f"{agent} | {np.median(last):.0f} ({last.min():.0f}) "
                f"| {int((last >= BALANCED).sum())} of {len(last)} | {returns.mean():.0f} "
                f"| {found} of {seeds} "
                f"| {solved} of {seeds} ({listed(dive.solved for dive in dives)})"
            )
        head = (
            f"agent | CartPole-v1, {settings.frames:,} frames: return at the end, median (worst) "
            f"| seeds at {BALANCED:g} or more | mean return along the way "
            f"| deep sea N = {settings.size}: seeds that found the treasure | solved, by episode"
        )
        return table(head, rows, f"Deep sea is given up after {settings.dives:,} episodes.")


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Train all agents on both tasks; `seed` is the first replica's."""
    settings = settings or Settings()
    tasks = [(task, agent, seed, settings) for task in ("pole", "sea") for agent in AGENTS]
    found = collect(_train, tasks, settings.jobs, label="noisy A2C", unit="run", progress=progress)
    order = list(AGENTS)
    poles = sorted(
        (one for one in found if isinstance(one, Poles)), key=lambda p: order.index(p.agent)
    )
    dives = sorted(
        (one for one in found if isinstance(one, Dive)),
        key=lambda dive: (order.index(dive.agent), dive.seed),
    )
    return Result(settings, tuple(poles), tuple(dives))


def _train(task: tuple[str, str, int, Settings]) -> list[Poles | Dive]:
    kind, name, seed, settings = task
    return (_balance if kind == "pole" else _dive)(name, seed, settings)


def _balance(name: str, seed: int, settings: Settings) -> list[Poles | Dive]:
    agent = make_agent(name, "CartPole-v1", seed, settings.num_seeds, settings.frames)
    frames = np.linspace(0, settings.frames, settings.looks + 1)[1:].round()
    returns = np.zeros((settings.num_seeds, settings.looks))
    for look, until in enumerate(frames.tolist()):
        agent.learn(int(until), progress=False)
        for r in range(settings.num_seeds):
            played = evaluate(agent.replica(r), settings.episodes, seed=seed + r)
            returns[r, look] = played.mean_return
    return [Poles(name, frames, returns)]


def _dive(name: str, seed: int, settings: Settings) -> list[Poles | Dive]:
    size = settings.size
    sea = dict(size=size, mapping_seed=hunch.envs.deep_sea.SWEEP_MAPPING_SEED)
    frames = settings.dives * size
    agent = make_agent(name, "hunch/DeepSea-v0", seed, settings.num_seeds, frames, env_kwargs=sea)
    stop = StopWhenSolved(every=size * agent.num_envs)
    agent.learn(frames, callbacks=[stop], progress=False)
    return [
        Dive(name, seed + r, first_good(history), at)
        for r, (at, history) in enumerate(zip(stop.solved, agent.histories, strict=True))
    ]


def make_agent(
    name: str, env: str, seed: int, replicas: int = 1, frames: int = 100_000, **more: Any
) -> A2C:
    """An untrained agent, to be trained for that many frames.

    Example:
        >>> make_agent(NOISY, "CartPole-v1", seed=0).entropy_weight
        0.0
    """
    return A2C(
        env,
        num_envs=8,
        rollout_length=8,
        learning_rate=Linear(3e-3, 0.0, frames),
        # Returns of some hundreds would leave the policy little of the clipped gradient.
        reward_scale=0.1 if env == "CartPole-v1" else 1.0,
        replicas=replicas,
        seed=seed,
        **AGENTS[name],
        **more,
    )


def check(result: Result) -> list[Check]:
    """That everything ran and learned; who wins is printed, not claimed."""
    last = {agent: result.poles(agent)[:, -1] for agent in AGENTS}
    if result.settings.frames < 100_000:
        late = min(float(returns.mean()) for returns in last.values())
        return [Check("mean return on CartPole, too few frames to solve", late, ">=", 8.0)]
    return [
        Check(f"median return on CartPole, {agent}", float(np.median(last[agent])), ">=", b)
        for agent, b in ((NOISY, 400.0), (ENTROPY, 400.0))
    ]
