"""A report of a run, made from its folder: learning curves, evaluation, settings, a video."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Discrete

from hunch.errors import (
    FolderError,
    HunchError,
    MissingDependencyError,
    kind_and_sentence,
    sentence,
)
from hunch.plots.page import Block, Code, Figures, Section, Table, Text, Video, render_page
from hunch.plots.panel import BLUE, CYCLE, GRAY, ORANGE, panel, running_mean
from hunch.rl import Run, record
from hunch.rl.agents.idle_settings import idle_settings
from hunch.rl.agents.loop import SHOWN_EPISODES
from hunch.rl.agents.saving import GIVEN
from hunch.rl.runs.callbacks import Player
from hunch.rl.runs.evaluation import MAX_STEPS
from hunch.rl.runs.loggers import EPISODES, EVALUATIONS, PROGRESS
from hunch.rl.runs.plan import commands_of
from hunch.seeding import derive
from hunch.storage import as_written, write_own_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hunch.rl.agents.agent import Agent

Array = npt.NDArray[np.float64]
Figures_ = dict[str, tuple["Figure", str]]

REPORT: Final = "report.html"
_POINTS: Final = 200  # of a curve
# 97.5 % points of Student's t for 1, 2, … degrees of freedom; beyond, the normal's and a little.
_STUDENT: Final = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16)


def write_report(run: Run, *, tell: Callable[[str], None] | None = None) -> Path:
    """Write `report.html` into a run's folder, from what lies there.

    The video needs the extra `video` and an environment that draws; without, the page says why it
    has none.

    Args:
        run: the run; it has been trained.
        tell: called with a sentence if there is no video.

    Returns:
        Where the page is.

    Raises:
        MissingDependencyError: if matplotlib is not installed.
        FolderError: if `summary.json` or a log is not as it was written.

    Example:
        >>> import tempfile
        >>> from hunch.rl import DQN, Plan
        >>> plan = Plan("DQN", DQN("CartPole-v1").settings, steps=300, evaluate_every=100)
        >>> run = Run.begin(tempfile.mkdtemp() + "/run", plan)
        >>> _ = run.train(progress=False)
        >>> write_report(run).name
        'report.html'
    """
    _check_logs(run)
    place = run.folder / REPORT
    write_own_text(place, _page(run, tell))
    return place


def _check_logs(run: Run) -> None:
    """No curve is drawn from a log that was damaged."""
    if damaged := run.damaged_logs():
        raise FolderError(
            f"{str(damaged[0])!r} is not as hunch wrote it; `hunch train --resume` puts that right."
        )


def learning_curves(run: Run) -> Figures_:
    """Figures of a run's logs: returns in training, in evaluations, and the loss.

    Args:
        run: the run.

    Returns:
        Name to (figure, caption); only those for which there are data.
    """
    logs = run.folder / "logs"
    drawn = {
        "training-return": _training_return(_columns(logs / EPISODES)),
        "evaluation-return": _evaluation_return(_columns(logs / EVALUATIONS)),
        "loss": _loss(_columns(logs / PROGRESS)),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def mean_and_interval(curves: Array) -> tuple[Array, Array]:
    """Mean over replicas and half the width of its 95 % confidence interval (Student's t).

    Args:
        curves: `(replicas, points)`; a point that is NaN in a replica is left out there.

    Example:
        >>> mean, half = mean_and_interval(np.array([[1.0, 2.0], [3.0, 2.0]]))
        >>> mean.tolist(), half.round(2).tolist()
        ([2.0, 2.0], [12.71, 0.0])
    """
    known = ~np.isnan(curves)
    count = known.sum(0)
    mean = np.where(known, curves, 0.0).sum(0) / np.maximum(count, 1)
    square = (np.where(known, curves - mean, 0.0) ** 2).sum(0) / np.maximum(count - 1, 1)
    factors = [0.0, 0.0, *_STUDENT]
    factor = np.array([factors[n] if n < len(factors) else 1.96 + 2.4 / (n - 1) for n in count])
    return np.where(count > 0, mean, np.nan), factor * np.sqrt(square / np.maximum(count, 1))


def _page(run: Run, tell: Callable[[str], None] | None) -> str:
    summary = run.summary()
    agent = _best_agent(run)
    video = _video(run, agent, tell)
    sections = [
        Section("curves", "How it learned", _sizes(run), _curve_blocks(run)),
        Section("evaluation", "How well it plays", *_final_evaluation(run, summary)),
        Section("video", "One episode", "The first of the episodes above.", [video]),
        Section("settings", "What was run", "All of it is in run.json.", _settings(run, agent)),
    ]
    return render_page(f"hunch: {run.name}", [Text(_introduction(run))], sections)


def _best_agent(run: Run) -> Agent | Exception:
    """The agent, or why there is none: the page does not depend on it."""
    try:
        return run.best_agent()
    except Exception as error:  # whatever keeps a foreign environment from being made
        return error


def _introduction(run: Run) -> str:
    episodes = len(_columns(run.folder / "logs" / EPISODES).get("step", ()))
    ends = {"solved": "and then had solved it", "stop_at": "and then was good enough to stop"}
    end = ends.get(str(run.finished), "which is all it was asked for")
    if run.finished is None:
        end = f"of {run.plan.steps:,} that it was asked for"
    resume, play = commands_of(run.plan.settings, run.about, "RUN")
    given = ", env=…" if run.plan.settings.get("env") == GIVEN else ""
    return (
        f"{run.steps:,} environment steps of each replica, {end}; {episodes:,} training episodes "
        f"in all.\n\nRUN stands for the folder of this page: `{resume} --steps N` goes on, "
        f"`{play}` plays, `hunch.rl.Run.open(RUN{given}).best_agent()` is the agent in Python."
    )


def _sizes(run: Run) -> str:
    replicas = run.replicas
    if replicas == 1:
        return f"One agent, seed {run.seed}."
    first = run.seed
    return (
        f"{replicas} replicas, seeds {first} to {first + replicas - 1}; bands are 95 % confidence "
        "intervals of their mean."
    )


def _curve_blocks(run: Run) -> list[Block]:
    curves = learning_curves(run)
    if not curves:
        return [Text("There is no finished episode yet.")]
    return [Figures(curves)]


def _final_evaluation(run: Run, summary: Mapping[str, Any]) -> tuple[str, list[Block]]:
    replicas = summary.get("replicas", [])
    if not replicas:
        return "Not evaluated yet.", []
    count = len(replicas[0]["last"]["returns"])
    source = (
        f"{count} greedy episodes from starts that neither trained the agent nor chose its weights."
    )
    solved = any(r["solved_in_episodes"] for r in replicas)
    head = ["seed", "last weights", "best weights", "of step"]
    rows = [
        [
            str(r["seed"]),
            _mean_and_std(r["last"]),
            _mean_and_std(r["best"]) if r["best"] else "–",
            f"{r['best_step']:,}" if r["best_step"] else "–",
            *([f"{r['solved_in_episodes'] or '–'}"] if solved else []),
        ]
        for r in replicas
    ]
    head += ["episodes to solve"] if solved else []
    note = "Mean return ± standard deviation over episodes. "
    if cut := sum(r.get("cut_episodes", 0) for r in replicas):
        note += f"{cut} of them had no end and were cut after {MAX_STEPS:,} steps. "
    if run.evaluation is not None:
        note += (
            f"The best weights are those of the best of the evaluations every "
            f"{run.plan.evaluate_every:,} steps, each of {run.plan.evaluate_episodes} episodes."
        )
    return source, [Table(head, rows, note)]


def _video(run: Run, agent: Agent | Exception, tell: Callable[[str], None] | None) -> Block:
    try:
        return _recorded(run, agent)
    except MissingDependencyError as error:
        why = f"A video needs a package that is missing: {sentence(error)}"
    except HunchError as error:
        why = f"There is no video: {sentence(error)}"
    except Exception as error:  # it is optional, whatever keeps it from being made
        why = f"There is no video ({kind_and_sentence(error)})"
    if tell is not None:
        tell(why)
    return Text(why)


def _recorded(run: Run, agent: Agent | Exception) -> Video:
    if isinstance(agent, Exception):
        raise agent
    r = run.best_replica()
    player = Player(agent, r, run.plan.evaluation_env_kwargs)
    episode = record(player, seed=derive(run.seed, "judgement"))
    caption = (
        f"Seed {run.seed + r}, best weights: return {episode.total_reward:g}, "
        f"{episode.length:,} steps."
    )
    return Video(episode.video, caption)


def _settings(run: Run, agent: Agent | Exception) -> list[Block]:
    settings = run.plan.settings
    finite = None if isinstance(agent, Exception) else isinstance(agent.action_space, Discrete)
    idle = idle_settings(settings, finite)
    known = dict(settings)
    if settings.get("env") == GIVEN:
        known["env"] = run.about.get("env", "given when the agent was made")
    rows = [[f"`{name}`", _shown(value)] for name, value in known.items() if name not in idle]
    versions = run.about.get("versions", {})
    blocks: list[Block] = []
    if command := run.about.get("command"):
        blocks.append(Code(_commands(run, str(command))))
    note = f"Of `hunch.rl.{run.plan.agent}`."
    blocks.append(Table(["argument", "value"], rows, note, words=True))
    if idle:
        named = ", ".join(f"`{name}`" for name in idle)
        blocks.append(Text(f"Without effect beside these, and so left out: {named}."))
    said = ", ".join(f"{name} {version}" for name, version in versions.items())
    return [*blocks, Text(f"{said}.")]


def _commands(run: Run, command: str) -> str:
    """What was called, the folder as RUN: a run says the same wherever it lies."""
    words = shlex.split(command)
    for i, word in enumerate(words):
        if word == "--out" and i + 1 < len(words):
            words[i + 1] = "RUN"
        elif word.startswith("--out="):
            words[i] = "--out=RUN"
    lines = [shlex.join(words)]
    if "begun_with" in run.about:
        resume, _ = commands_of(run.plan.settings, run.about, "RUN")
        lines.append(f"{resume} --steps {run.plan.steps}")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, dict) and set(value) == {"Linear"}:
        start, end, steps = value["Linear"]
        return f"{start:g}:{end:g}:{steps}"  # as `--set` takes it
    if isinstance(value, dict) and set(value) == {"float"}:
        return str(value["float"])
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _mean_and_std(figures: Mapping[str, Any]) -> str:
    mean, std = figures["mean_return"], figures["std_return"]
    return f"{mean:.1f} ± {std:.1f}" if abs(mean) >= 10 else f"{mean:.3f} ± {std:.3f}"


def _columns(file: Path) -> dict[str, Array]:
    """The numbers of a CSV file; an empty cell is NaN."""
    if not file.exists():
        return {}
    with as_written(file), file.open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
        names = rows[0] if rows else []
        return {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}


def _training_return(log: Mapping[str, Array]) -> tuple[Figure, str] | None:
    if not log:
        return None
    figure, ax = panel("Return of training episodes", "environment steps", "return")
    replicas = np.unique(log["replica"]).astype(int)
    grid = np.linspace(0, log["step"].max(), _POINTS)
    curves = []
    for r in replicas:
        own = log["replica"] == r
        steps, returns = log["step"][own], running_mean(log["return"][own], SHOWN_EPISODES)
        curves.append(_held(grid, steps, returns))
        if len(replicas) == 1:
            ax.plot(steps, log["return"][own], ".", color=GRAY, markersize=2.5, alpha=0.5)
    _draw(ax, grid, np.array(curves))
    caption = f"Mean of the last {SHOWN_EPISODES} episodes. The agent explores in them."
    return figure, caption + (" Dots are episodes." if len(replicas) == 1 else "")


def _evaluation_return(log: Mapping[str, Array]) -> tuple[Figure, str] | None:
    if not log:
        return None
    figure, ax = panel("Return in evaluations", "environment steps", "return")
    steps = np.unique(log["step"])
    curves = np.array(
        [
            _held(steps, log["step"][log["replica"] == r], log["mean_return"][log["replica"] == r])
            for r in np.unique(log["replica"])
        ]
    )
    _draw(ax, steps, curves, marker="o")
    return figure, "Greedy episodes, the same starts each time; they choose the best weights."


def _loss(log: Mapping[str, Array]) -> tuple[Figure, str] | None:
    known = ~np.isnan(log["loss"]) if log else np.zeros(0, bool)
    if not known.any():
        return None
    figure, ax = panel("Loss", "environment steps", "mean loss since the point before")
    losses = log["loss"][known]
    ax.plot(log["step"][known], losses, color=BLUE, linewidth=1.6)
    if losses.min() > 0 and losses.max() > 10 * losses.min():
        ax.set_yscale("log")
    return figure, "Mean over gradient updates and replicas. It need not fall: targets move."


def _draw(ax: Axes, x: Array, curves: Array, marker: str = "") -> None:
    """The mean over replicas with its confidence band, and each replica where they are few."""
    mean, half = mean_and_interval(curves)
    if 1 < len(curves) <= len(CYCLE) + 3:
        for curve in curves:
            ax.plot(x, curve, color=GRAY, linewidth=0.7, alpha=0.5)
    if len(curves) > 1:
        ax.fill_between(x, mean - half, mean + half, color=BLUE, alpha=0.2, linewidth=0)
    color = BLUE if len(curves) > 1 else ORANGE
    ax.plot(x, mean, color=color, linewidth=2.0, marker=marker, markersize=3.5)


def _held(grid: Array, steps: Array, values: Array) -> Array:
    """The latest value at each point of the grid, NaN before the first."""
    index = np.searchsorted(steps, grid, side="right") - 1
    return np.where(index >= 0, values[np.maximum(index, 0)], np.nan)
