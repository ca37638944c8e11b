"""MinAtar's five games: beside Stable-Baselines3's DQN by frames, and beside Rainbow by time.

All agents have one convolution of 16 filters of 3 × 3 and 128 units behind it, are trained in the
games as they come (a tenth of the actions is that of the step before), and are evaluated once, by
the last weights, greedily, in episodes of the same seeds.

Our DQN has its defaults but for that network and the size of batches, 32 as in Stable-Baselines3.
Images it learns from returns over three steps.
Tried out on these games was little: on seed 100, after 30,000 frames, it returned 5.5 in Breakout
and 18 in SpaceInvaders, and PQN with 16 environments and 8 passes 1.7 and 12 after 50,000; with
two layers of 128 and batches of 128 it was slower, and returned 5.9 in Breakout after 50,000.
Stable-Baselines3's DQN has its defaults, which are made for many more frames: a target network that
is copied every 10,000 of them, a step size of 1e-4, random actions in the first tenth alone. So
what is compared is what they do of whom nothing is asked, not two ways to write one algorithm:
given our settings theirs returned 3.9 in Breakout, 8.4 in Freeway and 19.8 in SpaceInvaders on seed
0, where ours returned 5.9, 14.8 and 19.6.

Games score by unlike numbers. So of two agents that are compared each return is divided by the mean
of their two mean returns in that game: each game counts alike, and no agent sets the scale.

The second comparison is of PQN's score beside Rainbow's after at most a fifth of its CPU time.
PQN's settings were chosen first on seed 100: 16 environments, a step size of 1e-3 and λ of 0.65, by
which it had 0.66 times Rainbow's interquartile mean on seeds 0 and 1 after 75,000 frames. Then on
seeds 100 to 102 after 100,000 frames, by mean returns in Freeway and Breakout: 5.5 and 3.8 with
these settings; 18.8 and 4.5 with eight passes, which take 1.7 times as long; 8.3 and 3.5 with λ of
0.9; 2.0 and 3.5 with eight environments; 0.5 and 4.9 with four members; 0.0 and 3.1 by noise; and
29.4 and 4.9 with rewards as they are (`reward_scale` of 1), which it has since (17.3 and 4.6 with
λ of 0.9 besides).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product, starmap
from typing import Any, Final

import numpy as np

from hunch.comparison import (
    Interval,
    bootstrap_interval,
    interquartile_mean,
    probability_of_improvement,
)
from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.kept import Kept
from hunch.experiments.claims.markdown import cells, table
from hunch.experiments.claims.parallel import collect
from hunch.experiments.claims.saved import NOT_WRITTEN, Array, SavedResult, written
from hunch.experiments.control import minatar_agents as agents

OURS: Final = "DQN"
THEIRS: Final = "DQN of Stable-Baselines3"
SLOW: Final = "Rainbow"
FAST: Final = "PQN"
RANDOM: Final = "random actions"
AGENTS: Final = {
    OURS: agents.ours,
    THEIRS: agents.stable_baselines,
    SLOW: agents.rainbow,
    FAST: agents.pqn,
    RANDOM: agents.at_random,
}
CLAIM = (
    "On MinAtar's five games DQN has at least 1.3 times the interquartile mean of "
    "Stable-Baselines3's DQN at its defaults, with the same network and after as many frames "
    "(30,000), ten seeds of each in a game; and PQN after 90,000 frames has at least Rainbow's "
    "after 15,000 in at most a fifth of its CPU time, four seeds."
)
TIMES: Final = 1.3  # interquartile mean of ours over theirs
SHARE: Final = 0.2  # CPU time of the fast one over the slow one's
ENOUGH: Final = 30_000  # frames of the first comparison from which on the claim speaks


@dataclass(frozen=True)
class Settings:
    """How long and how often."""

    num_seeds: int = 10  # of the two agents that are compared at equal frames
    timed_seeds: int = 4  # of the two that are compared by their time; 0 to leave them out
    frames: int = ENOUGH  # environment steps of each seed in a game, at equal frames
    slow_frames: int = 15_000  # likewise of the agent whose time is the measure
    fast_frames: int = 90_000  # likewise of the one that is to take less of it
    games: tuple[str, ...] = ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")
    evaluation_episodes: int = 20  # of each seed at the end
    jobs: int = 1  # agents at a time, each in a process of its own
    keep: str = ""  # folder of what earlier runs have done already; empty for none

    @classmethod
    def quick(cls) -> Settings:
        """Too short to learn, in two games."""
        return cls(2, 1, 400, 300, 800, ("Asterix", "Breakout"), evaluation_episodes=2)

    def frames_of(self, agent: str) -> int:
        """Environment steps of an agent."""
        others = {SLOW: self.slow_frames, FAST: self.fast_frames, RANDOM: 0}
        return others.get(agent, self.frames)

    def seeds_of(self, agent: str) -> int:
        """How many of an agent are trained in a game; one is enough of random actions."""
        counts = {SLOW: self.timed_seeds, FAST: self.timed_seeds, RANDOM: 1}
        return counts.get(agent, self.num_seeds)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """What is compared with what."""
        return [(OURS, THEIRS), *([(FAST, SLOW)] if self.timed_seeds else [])]


@dataclass(frozen=True)
class Played:
    """One agent in one game, all seeds."""

    agent: str
    game: str
    mean_return: Array = field(metadata=written(decimals=2))  # of each seed's evaluation
    seconds: float = field(metadata=NOT_WRITTEN, default=np.nan)  # CPU time of a seed, the mean

    def row(self, frames: int) -> str:
        """Its line in the table."""
        every = ", ".join(f"{value:.3g}" for value in np.sort(self.mean_return))
        return cells(
            self.game,
            self.agent,
            f"{frames:,}",
            f"{self.mean_return.mean():.2f}",
            every,
            f"{self.seconds:.0f}",
        )


@dataclass(frozen=True)
class Result(SavedResult):
    """All agents in all games."""

    settings: Settings
    played: tuple[Played, ...]

    def returns(self, agent: str) -> dict[str, Array]:
        """Mean returns of all seeds, by game."""
        return {own.game: own.mean_return for own in self.played if own.agent == agent}

    def seconds(self, agent: str) -> float:
        """CPU seconds of one seed in all games together."""
        return float(sum(own.seconds for own in self.played if own.agent == agent))

    def compared(self, agent: str, other: str) -> dict[str, Interval]:
        """Interquartile means of both, how many times the other's the first one's is, and so on."""
        a, b = on_one_scale(self.returns(agent), self.returns(other))
        return {
            agent: bootstrap_interval(interquartile_mean, a),
            other: bootstrap_interval(interquartile_mean, b),
            "times": bootstrap_interval(_times, a, b),
            "better": bootstrap_interval(probability_of_improvement, a, b),
        }

    def derived(self) -> dict[str, Any]:
        """What the checks stand on."""
        return {
            f"{agent} and {other}": {
                name: {end: _rounded(value) for end, value in found.to_json().items()}
                for name, found in self.compared(agent, other).items()
            }
            for agent, other in self.settings.pairs
        }

    def to_markdown(self) -> str:
        """Both comparisons, and all returns."""
        rows = []
        for agent, other in self.settings.pairs:
            found = self.compared(agent, other)
            rows.append(cells(f"{agent} beside {other}", *found.values()))
        head = "agents | interquartile mean | of the other | times | a seed is better"
        note = "Intervals: 95 %, seeds drawn again in each game by itself."
        every = [own.row(self.settings.frames_of(own.agent)) for own in self.played]
        all_head = "game | agent | frames | mean return | of each seed, sorted | CPU seconds a seed"
        return table(head, rows, note) + "\n\n" + table(all_head, every)


def on_one_scale(
    a: dict[str, Array], b: dict[str, Array]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Returns of two agents, in each game divided by the mean of their mean returns.

    Example:
        >>> on_one_scale({"x": np.array([3.0])}, {"x": np.array([0.0, 2.0])})
        ({'x': array([1.5])}, {'x': array([0., 1.])})
    """
    # Where nobody scores all are alike, whatever they are divided by.
    unit = {game: (a[game].mean() + b[game].mean()) / 2 or 1.0 for game in a}
    return {g: a[g] / unit[g] for g in a}, {g: b[g] / unit[g] for g in a}


def _times(a: Any, b: Any) -> Any:
    """How many times the interquartile mean of `b` that of `a` is; 1 where both are 0."""
    ours, theirs = np.asarray(interquartile_mean(a)), np.asarray(interquartile_mean(b))
    least = 1e-9  # of units that are about 1
    return (ours + least) / (theirs + least)


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Train and evaluate all agents; seeds are `seed`, `seed + 1`, ….

    Raises:
        MissingDependencyError: if MinAtar or Stable-Baselines3 is not installed; before anything is
            trained.
    """
    settings = settings or Settings()
    agents.check_installed()
    kept, done = Kept(settings.keep, "minatar"), {}
    # Seed by seed, so that a run that is ended has as many of each.
    order = [
        (agent, game, seed + i)
        for i in range(max(map(settings.seeds_of, AGENTS)))
        for agent, game in product(AGENTS, settings.games)
        if i < settings.seeds_of(agent)
    ]
    for row in kept:
        how = (settings.frames_of(row["agent"]), settings.evaluation_episodes)
        if (row["frames"], row["episodes"]) == how:
            done[row["agent"], row["game"], row["seed"]] = row
    new = collect(
        _play,
        [(*which, settings) for which in order if which not in done],
        settings.jobs,
        label="MinAtar",
        unit="run",
        progress=progress,
        keep=lambda rows: kept.add(rows[0]),
    )
    done |= {(row["agent"], row["game"], row["seed"]): row for row in new}

    def together(game: str, agent: str) -> Played:
        rows = [done[agent, game, seed + i] for i in range(settings.seeds_of(agent))]
        returns = np.array([row["mean_return"] for row in rows])
        return Played(agent, game, returns, float(np.mean([row["seconds"] for row in rows])))

    played = [agent for agent in AGENTS if settings.seeds_of(agent)]
    return Result(settings, tuple(starmap(together, product(settings.games, played))))


def _play(task: tuple[str, str, int, Settings]) -> Sequence[dict[str, Any]]:
    agent, game, seed, settings = task
    frames, episodes = settings.frames_of(agent), settings.evaluation_episodes
    mean_return, seconds = agents.played_by(
        AGENTS[agent], f"MinAtar/{game}-v1", frames, seed, episodes
    )
    which = {"agent": agent, "game": game, "seed": seed, "frames": frames, "episodes": episodes}
    return [{**which, "mean_return": mean_return, "seconds": seconds}]


def check(result: Result) -> list[Check]:
    """Both comparisons; of a run of few frames only that nothing went below nothing."""
    if result.settings.frames < ENOUGH:
        worst = min(float(own.mean_return.min()) for own in result.played)
        return [Check("mean return, too few frames to learn", worst, ">=", 0.0)]
    times = {pair: result.compared(*pair)["times"].value for pair in result.settings.pairs}
    checks = [
        Check(f"interquartile mean of {a} over that of {b}", value, ">=", bound)
        for ((a, b), value), bound in zip(times.items(), (TIMES, 1.0), strict=False)
    ]
    if (FAST, SLOW) in times:
        share = result.seconds(FAST) / result.seconds(SLOW)
        checks.append(Check(f"CPU seconds of {FAST} over those of {SLOW}", share, "<=", SHARE))
    return checks
