"""Noise on the weights against an entropy bonus: A2C both ways, on CartPole and on deep sea.

Fortunato et al. (2018) put noisy layers into A3C in place of its entropy bonus and report a median
gain of 18 % over 57 Atari games. Here both agents, and one with neither, have the same networks and
settings. CartPole rewards every step; deep sea of size 10 rewards one path out of 1,024, and along
it punishes each step a little, as bsuite has it. Who wins is printed, not claimed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

import hunch.envs
from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.parallel import in_processes
from hunch.experiments.exploration.deep_sea import Watched
from hunch.progress import progress_bar
from hunch.rl import A2C, Linear, evaluate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """How long and how often.

    Args:
        num_seeds: replicas of each agent, trained at once.
        frames: environment steps of each on CartPole-v1.
        looks: evaluations during training, evenly spaced.
        episodes: of each evaluation.
        size: N of the deep sea.
        dives: episodes there.
        jobs: runs at a time, each in a process of its own.
    """

    num_seeds: int = 10
    frames: int = 100_000
    looks: int = 20
    episodes: int = 20
    size: int = 10
    dives: int = 5_000
    jobs: int = 1

    @classmethod
    def quick(cls) -> Settings:
        """Two seeds and a shallow sea."""
        return cls(num_seeds=2, frames=2_000, looks=2, episodes=2, size=4, dives=64)


@dataclass(frozen=True)
class Poles:
    """One agent on CartPole, all seeds.

    Args:
        agent: its name.
        frames: at which it was evaluated.
        returns: mean greedy return, `(seeds, evaluations)`.
    """

    agent: str
    frames: Array
    returns: Array


@dataclass(frozen=True)
class Dive:
    """One agent in the deep sea, one seed.

    Args:
        agent: its name.
        seed: the replica's.
        first: first episode that found the treasure, None if there was none.
        solved: first episode after which bsuite calls the sea solved, None if it never was.
    """

    agent: str
    seed: int
    first: int | None
    solved: int | None


@dataclass(frozen=True)
class Result:
    """Both tasks."""

    settings: Settings
    poles: tuple[Poles, ...]
    dives: tuple[Dive, ...]

    def last(self, agent: str) -> Array:
        """Mean return on CartPole at the end of training, for each seed."""
        (poles,) = [p for p in self.poles if p.agent == agent]
        return poles.returns[:, -1]

    def along(self, agent: str) -> float:
        """Mean return on CartPole over all evaluations and seeds."""
        (poles,) = [p for p in self.poles if p.agent == agent]
        return float(poles.returns.mean())

    def of(self, agent: str) -> list[Dive]:
        """An agent's seeds in the deep sea."""
        return [dive for dive in self.dives if dive.agent == agent]

    def solved(self, agent: str) -> int:
        """Seeds that solved the sea."""
        return sum(dive.solved is not None for dive in self.of(agent))

    def to_json(self) -> dict[str, Any]:
        """Plain values, the same for the same seed."""
        return {
            "cartpole": [
                {
                    "agent": p.agent,
                    "frames": p.frames.tolist(),
                    "mean_return": p.returns.round(1).tolist(),
                }
                for p in self.poles
            ],
            "deep_sea": [
                {"agent": d.agent, "seed": d.seed, "first": d.first, "solved": d.solved}
                for d in self.dives
            ],
        }

    def to_markdown(self) -> str:
        """One line for each agent."""
        settings = self.settings
        lines = [
            f"| agent | CartPole-v1, {settings.frames:,} frames: return at the end, median (worst) "
            f"| seeds at {BALANCED:g} or more | mean return along the way "
            f"| deep sea N = {settings.size}: seeds that found the treasure | solved, by episode |",
            "|---" * 6 + "|",
        ]
        for agent in AGENTS:
            last, dives = self.last(agent), self.of(agent)
            found = sum(dive.first is not None for dive in dives)
            episodes = ", ".join(str(dive.solved or "–") for dive in dives)
            lines.append(
                f"| {agent} | {np.median(last):.0f} ({last.min():.0f}) "
                f"| {int((last >= BALANCED).sum())} of {len(last)} | {self.along(agent):.0f} "
                f"| {found} of {len(dives)} | {self.solved(agent)} of {len(dives)} ({episodes}) |"
            )
        lines += ["", f"Deep sea is given up after {settings.dives:,} episodes."]
        return "\n".join(lines)


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Train all agents on both tasks.

    Args:
        settings: the claim's own if None.
        seed: the first replica's.
        progress: show a bar over the runs.
    """
    settings = settings or Settings()
    tasks = [(task, agent, seed, settings) for task in ("pole", "sea") for agent in AGENTS]
    done: list[Poles | list[Dive]] = []
    with progress_bar(len(tasks), "noisy A2C", "run", enabled=progress) as bar:
        for found in in_processes(_train, tasks, settings.jobs):
            done.append(found)
            bar.update()
    order = list(AGENTS)
    poles = sorted(
        (found for found in done if isinstance(found, Poles)), key=lambda p: order.index(p.agent)
    )
    dives = [dive for found in done if isinstance(found, list) for dive in found]
    dives.sort(key=lambda dive: (order.index(dive.agent), dive.seed))
    return Result(settings, tuple(poles), tuple(dives))


def _train(task: tuple[str, str, int, Settings]) -> Poles | list[Dive]:
    kind, name, seed, settings = task
    return (_balance if kind == "pole" else _dive)(name, seed, settings)


def _balance(name: str, seed: int, settings: Settings) -> Poles:
    agent = make_agent(name, "CartPole-v1", seed, settings.num_seeds, settings.frames)
    frames = np.linspace(0, settings.frames, settings.looks + 1)[1:].round()
    returns = np.zeros((settings.num_seeds, settings.looks))
    for look, until in enumerate(frames.tolist()):
        agent.learn(int(until), progress=False)
        for r in range(settings.num_seeds):
            played = evaluate(agent.replica(r), settings.episodes, seed=seed + r)
            returns[r, look] = played.mean_return
    return Poles(name, frames, returns)


def _dive(name: str, seed: int, settings: Settings) -> list[Dive]:
    size = settings.size
    mapping = hunch.envs.deep_sea.SWEEP_MAPPING_SEED
    sea = dict(size=size, mapping_seed=mapping)
    frames = settings.dives * size
    agent = make_agent(name, "hunch/DeepSea-v0", seed, settings.num_seeds, frames, env_kwargs=sea)
    watched = [Watched() for _ in agent.histories]
    while watched[0].episodes < settings.dives:
        agent.learn(agent.steps + size * agent.num_envs, progress=False)
        for one, history in zip(watched, agent.histories, strict=True):
            for info in history.infos[one.episodes :]:
                one.see(bool(info["bad_episode"]), stochastic=False)
        if all(one.solved is not None for one in watched):
            break
    return [Dive(name, seed + r, one.first, one.solved) for r, one in enumerate(watched)]


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
    settings = result.settings
    if settings.frames < 100_000:
        late = min(float(result.last(agent).mean()) for agent in AGENTS)
        return [Check("mean return on CartPole, too few frames to solve", late, ">=", 8.0)]
    return [
        Check(f"median return on CartPole, {agent}", float(np.median(result.last(agent))), ">=", b)
        for agent, b in ((NOISY, 400.0), (ENTROPY, 400.0))
    ]


def plot(result: Result) -> dict[str, tuple[Figure, str]]:
    """Evaluations on CartPole, and how many seeds solved the sea by which episode."""
    from hunch.plots import BLUE, GRAY, ORANGE, panel

    colors = {NOISY: ORANGE, ENTROPY: BLUE, NEITHER: GRAY}
    pole, axes = panel("CartPole-v1", "frames", "greedy return")
    for poles in result.poles:
        low, middle, high = np.quantile(poles.returns, (0.25, 0.5, 0.75), axis=0)
        color = colors[poles.agent]
        axes.fill_between(poles.frames, low, high, color=color, alpha=0.2, linewidth=0)
        axes.plot(poles.frames, middle, color=color, label=poles.agent)
    axes.legend(fontsize=8)
    settings = result.settings
    sea, axes = panel(f"Deep sea, N = {settings.size}", "episode", "seeds that solved it")
    for agent, color in colors.items():
        at = sorted(dive.solved for dive in result.of(agent) if dive.solved is not None)
        x = [0, *at, settings.dives]
        axes.step(x, [*range(len(at) + 1), len(at)], where="post", color=color, label=agent)
    axes.set_ylim(-0.3, settings.num_seeds + 0.3)
    axes.legend(fontsize=8)
    seeds = f"{settings.num_seeds} seeds"
    return {
        "noisy-a2c-cartpole": (pole, f"Median and quartiles over {seeds}, mean weights."),
        "noisy-a2c-deep-sea": (sea, f"By bsuite's definition; {seeds} each."),
    }
