"""Bootstrapped DQN with priors on bsuite's problems, scored as bsuite scores.

The published figures of bsuite's own bootstrapped DQN are 1.00 on deep sea, 0.86 on its stochastic
version and 0.28 on swing-up, read off the bars of its report. The full sweeps of the last two take
hours, so evenly spaced ids stand for them; of the four problems that need no deep exploration some
ids are played to see that nothing is lost there.

All deep seas have one setting of the agent, all other problems another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

import hunch.envs  # noqa: F401 registers the environments
from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.markdown import listed, table
from hunch.experiments.claims.parallel import collect
from hunch.experiments.claims.saved import Array, SavedResult, built, plain, written
from hunch.experiments.exploration.bsuite_problems import PROBLEMS, BsuiteProblem
from hunch.experiments.exploration.bsuite_scores import SEA_RULES, is_logged, score, solved
from hunch.rl import BootstrappedDQN

CLAIM = (
    "BootstrappedDQN scores 1.00 on bsuite's deep_sea, at least 0.86 on deep_sea_stochastic and at "
    "least 0.28 on cartpole_swingup, the published figures of bootstrapped DQN; all 21 ids of the "
    "first, evenly spaced ids of the others."
)
PUBLISHED: Final[Mapping[str, float]] = {
    "deep_sea": 1.00,
    "deep_sea_stochastic": 0.86,
    "cartpole_swingup": 0.28,
    "cartpole": 0.70,
    "mountain_car": 0.97,
    "catch": 0.99,
    "bandit": 0.99,
}
CLAIMED: Final = ("deep_sea", "deep_sea_stochastic", "cartpole_swingup")
IDS: Final[Mapping[str, tuple[int, ...]]] = {
    "deep_sea": tuple(range(21)),
    "deep_sea_stochastic": (0, 3, 7, 10, 13, 17, 20),
    "cartpole_swingup": (0, 5, 10, 14, 19),
    "cartpole": (0,),
    "mountain_car": (0, 1),
    "catch": (0, 1),
    "bandit": (0, 10, 19),
}


@dataclass(frozen=True)
class Settings:
    """What is played and for how long."""

    # For each problem the ids that are played.
    ids: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: dict(IDS))
    max_sea_episodes: int = 5_000  # episodes after which a deep sea is given up
    # Cap on the episodes of the other problems; bsuite's own number if None.
    max_episodes: int | None = None
    jobs: int = 1  # runs at a time, each in a process of its own

    @classmethod
    def quick(cls) -> Settings:
        """The smallest sea and a few episodes of two other problems."""
        return cls({"deep_sea": (0,), "catch": (0,), "bandit": (0,)}, 400, max_episodes=50)


@dataclass(frozen=True)
class PlayedId:
    """One id, as it was played."""

    problem: str  # its experiment's name
    index: int  # its number there
    outcomes: Array  # for deep sea whether each episode was bad, otherwise its return
    steps: int  # environment steps

    def in_short(self) -> dict[str, Any]:
        """What the score stands on."""
        row = {"id": self.index, "episodes": len(self.outcomes), "steps": self.steps}
        if self.problem in SEA_RULES:
            found = solved(self.outcomes, name=self.problem)
            return {**row, "solved": found.exact, "solved_logged": found.logged}
        best, mean = float(self.outcomes.max()), float(self.outcomes.mean())
        return {**row, "best_return": round(best, 3), "mean_return": round(mean, 3)}


@dataclass(frozen=True)
class Played:
    """One problem."""

    score: float = field(metadata=written(decimals=4))  # bsuite's, over the ids that were played
    published: float  # of bootstrapped DQN
    ids_in_sweep: int  # how many ids there are
    runs: list[dict[str, Any]]  # of each id what the score stands on

    def to_markdown(self) -> str:
        """What became of each id."""
        if "solved" in self.runs[0]:
            return "solved in episode " + listed(run["solved"] for run in self.runs)
        return "mean (best) return " + ", ".join(
            f"{run['mean_return']:.4g} ({run['best_return']:.4g})" for run in self.runs
        )


@dataclass(frozen=True)
class Result(SavedResult):
    """All problems, by name."""

    settings: Settings
    problems: dict[str, Played]

    def to_json(self) -> dict[str, Any]:
        """Plain values, the same for the same seed."""
        return {name: plain(played) for name, played in self.problems.items()}

    @classmethod
    def from_json(cls, values: dict[str, Any], settings: Settings, seed: int = 0) -> Result:
        """The result that `to_json` wrote."""
        return cls(settings, {name: built(Played, played) for name, played in values.items()})

    def to_markdown(self) -> str:
        """One line for each problem."""
        return table(
            "problem | score | published | ids played | of each id",
            [
                f"{name} | {played.score:.2f} | {played.published:.2f} "
                f"| {len(played.runs)} of {played.ids_in_sweep} | {played.to_markdown()}"
                for name, played in self.problems.items()
            ],
        )


def summary(settings: Settings, runs: Sequence[PlayedId]) -> Result:
    """The scores of all that was played."""
    problems = {}
    for name in settings.ids:
        own = sorted((run for run in runs if run.problem == name), key=lambda run: run.index)
        budget = settings.max_sea_episodes if name in SEA_RULES else settings.max_episodes
        problems[name] = Played(
            score(name, {run.index: run.outcomes for run in own}, num_episodes=budget),
            PUBLISHED[name],
            PROBLEMS[name].num_ids,
            [run.in_short() for run in own],
        )
    return Result(settings, problems)


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Play the ids; `seed` is that of every agent."""
    settings = settings or Settings()
    tasks = [(name, i, seed, settings) for name, ids in settings.ids.items() for i in ids]
    # The longest first, so that no process is left alone with one at the end.
    tasks.sort(key=lambda task: task[0] not in ("cartpole_swingup", "cartpole"))
    runs = collect(_play, tasks, settings.jobs, label="bsuite", unit="id", progress=progress)
    return summary(settings, runs)


def _play(task: tuple[str, int, int, Settings]) -> list[PlayedId]:
    name, index, seed, settings = task
    problem = PROBLEMS[name]
    agent = make_agent(problem, index, seed)
    if name in SEA_RULES:
        outcomes = _play_sea(agent, problem, index, settings.max_sea_episodes)
    else:
        wanted = min(problem.num_episodes, settings.max_episodes or problem.num_episodes)
        while len(agent.history.returns) < wanted:
            agent.learn(agent.steps + wanted - len(agent.history.returns), progress=False)
        # Without an end of episode in `info` the score reads the return.
        values = agent.history.returns[:wanted]
        if problem.infos:
            values = [info[problem.infos[0]] for info in agent.history.infos[:wanted]]
        outcomes = np.array(values)
    return [PlayedId(name, index, outcomes, agent.steps)]


def _play_sea(agent: BootstrappedDQN, problem: BsuiteProblem, index: int, limit: int) -> Array:
    """Whether each episode was bad, until bsuite would have logged that it is solved."""
    size = problem.settings[index]["size"]
    for episode in range(1, limit + 1):
        agent.learn(episode * size, progress=False)
        bad = np.array([info["bad_episode"] for info in agent.history.infos])
        if is_logged(episode) and solved(bad, name=problem.name).logged is not None:
            break
    return bad


def make_agent(problem: BsuiteProblem, index: int, seed: int) -> BootstrappedDQN:
    """An untrained agent for one id.

    Example:
        >>> make_agent(PROBLEMS["catch"], 0, seed=0).update_period
        5
    """
    deep_sea: dict[str, Any] = dict(prior_scale=10.0)
    # Longer episodes with rewards further apart: a longer horizon, n steps, fewer updates.
    others: dict[str, Any] = dict(
        prior_scale=10.0,
        num_members=10,
        hidden_sizes=(50, 50),
        batch_size=64,
        discount=0.997,
        n_step=5,
        update_period=5,
        target_update_period=40,
        target_update_rate=1.0,
        loss="squared",
        random_steps=0,
        normalize=False,
    )
    return BootstrappedDQN(
        problem.environment,
        env_kwargs=dict(problem.settings[index]),
        seed=seed,
        **(deep_sea if problem.name in SEA_RULES else others),
    )


def check(result: Result) -> list[Check]:
    """The claimed scores; of a smaller run those that it has."""
    full = result.settings.max_episodes is None
    return [
        Check(f"score on {name}", result.problems[name].score, ">=", PUBLISHED[name])
        for name in CLAIMED
        if name in result.settings.ids and (full or name in SEA_RULES)
    ]
