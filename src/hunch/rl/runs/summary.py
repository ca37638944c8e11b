"""How a run went: its last and its best weights in episodes that chose neither."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from hunch.rl.agents.agent import Agent
from hunch.rl.runs.callbacks import Player, RandomPlayer, StopWhenSolved
from hunch.rl.runs.evaluation import MAX_STEPS, Evaluation, evaluate
from hunch.rl.runs.run import Run
from hunch.seeding import derive

SUMMARY_EPISODES: Final = 20


@dataclass(frozen=True)
class ReplicaSummary:
    """One replica.

    Args:
        seed: its own.
        last: returns with the weights it has at the end.
        best: returns with those that did best in evaluations during training; None if none were.
        best_step: environment steps after which it had those.
        solved: number of the episode that solved a deep sea, if it is one.
        cut: how many of those episodes had no end and were cut; see `hunch.rl.evaluate`.
        rewards_times: what large rewards were multiplied with to learn from; None if they were not.
    """

    seed: int
    last: tuple[float, ...]
    best: tuple[float, ...] | None
    best_step: int | None
    solved: int | None
    cut: int = 0
    rewards_times: float | None = None


@dataclass(frozen=True)
class Summary:
    """How a run went.

    Args:
        name: agent and environment.
        finished: why it ended, as `Run.finished`.
        steps: environment steps of each replica.
        episodes: training episodes of all replicas.
        replicas: each of them.
        random: returns of actions drawn at random, in episodes from the same starts.
        max_steps: after which episodes are cut.
    """

    name: str
    finished: str
    steps: int
    episodes: int
    replicas: tuple[ReplicaSummary, ...]
    random: tuple[float, ...]
    max_steps: int = MAX_STEPS

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "finished": self.finished,
            "steps": self.steps,
            "episodes": self.episodes,
            "random": _figures(self.random),
            "replicas": [
                {
                    "seed": r.seed,
                    "last": _figures(r.last),
                    "best": None if r.best is None else _figures(r.best),
                    "best_step": r.best_step,
                    "solved_in_episodes": r.solved,
                    **({"cut_episodes": r.cut} if r.cut else {}),
                    **({"rewards_times": r.rewards_times} if r.rewards_times else {}),
                }
                for r in self.replicas
            ],
        }

    def lines(self) -> list[str]:
        """The same for people, a line for each replica and one for chance."""
        lines = [f"{self.name}: {self.steps:,} steps, {self.episodes:,} episodes, {self._end()}"]
        for r in self.replicas:
            text = f"seed {r.seed}: return {_said(r.last)} with the last weights"
            if r.best is not None:
                text += f", {_said(r.best)} with the best (of step {r.best_step:,})"
            if r.solved is not None:
                text += f"; solved in {r.solved:,} episodes"
            if r.cut:
                text += (
                    f"; {r.cut:,} episodes had no end and were cut after {self.max_steps:,} steps"
                )
            if r.rewards_times:
                text += f"; large rewards were learned from times {r.rewards_times:.3g}"
            lines.append(text)
        said = f"({len(self.random)} episodes each; ± is their standard deviation)"
        return [*lines, f"random play: return {_said(self.random)} {said}"]

    def _end(self) -> str:
        ends = {"solved": "solved", "stop_at": "stopped at the return asked for"}
        return ends.get(self.finished, "all steps made")


def summarize(run: Run, agent: Agent, episodes: int | None = None) -> Summary:
    """Play evaluation episodes with a finished run's weights; also written to `summary.json`.

    Args:
        run: the run.
        agent: as `Run.train` returned it.
        episodes: of each replica and kind of weights; None takes what the run was begun with.

    Example:
        >>> import tempfile
        >>> from hunch.rl import DQN, Plan
        >>> plan = Plan("DQN", DQN("CartPole-v1").settings, steps=200, evaluate_every=100)
        >>> run = Run.begin(tempfile.mkdtemp() + "/run", plan)
        >>> summary = summarize(run, run.train(progress=False), episodes=2)
        >>> len(summary.lines()), len(summary.replicas[0].last), len(summary.random)
        (3, 2, 2)
    """
    count = episodes or int(run.about.get("judge_episodes", SUMMARY_EPISODES))
    last = _evaluated(run, agent, count)
    best = _evaluated(run, run.best_agent(), count) if run.evaluation is not None else None
    rows = []
    for r in range(agent.replicas):
        score = run.evaluation.best(r) if run.evaluation is not None else None
        rows.append(
            ReplicaSummary(
                seed=run.seed + r,
                last=tuple(last[r].returns.tolist()),
                # Before the first evaluation the best weights are the last ones.
                best=None if best is None or score is None else tuple(best[r].returns.tolist()),
                best_step=None if score is None else score.step,
                solved=run.stop.solved[r] if isinstance(run.stop, StopWhenSolved) else None,
                cut=sum(int(played[r].cut.sum()) for played in (last, best) if played),
                rewards_times=agent.rewards_made_smaller[r],
            )
        )
    summary = Summary(
        name=run.name,
        finished=run.finished or "not finished",
        steps=agent.steps,
        episodes=sum(len(history.returns) for history in agent.histories),
        replicas=tuple(rows),
        random=tuple(_at_random(run, agent, count).returns.tolist()),
        max_steps=run.plan.evaluation_max_steps,
    )
    run.write_summary(summary.to_json())
    return summary


def _evaluated(run: Run, agent: Agent, episodes: int) -> list[Evaluation]:
    starts = derive(run.seed, "judgement")
    players = [Player(agent, r, run.plan.evaluation_env_kwargs) for r in range(agent.replicas)]
    most = run.plan.evaluation_max_steps
    return [evaluate(player, episodes, seed=starts, max_steps=most) for player in players]


def _at_random(run: Run, agent: Agent, episodes: int) -> Evaluation:
    """What chance alone makes of the same starts."""
    player = RandomPlayer(agent, derive(run.seed, "random play"), run.plan.evaluation_env_kwargs)
    starts, most = derive(run.seed, "judgement"), run.plan.evaluation_max_steps
    return evaluate(player, episodes, seed=starts, max_steps=most)


def _figures(returns: tuple[float, ...]) -> dict[str, Any]:
    return {
        "mean_return": float(np.mean(returns)),
        "std_return": float(np.std(returns)),
        "returns": list(returns),
    }


def _said(returns: tuple[float, ...]) -> str:
    mean, std = float(np.mean(returns)), float(np.std(returns))
    digits = 1 if abs(mean) >= 10 else 3
    return f"{mean:.{digits}f} ± {std:.{digits}f}"
