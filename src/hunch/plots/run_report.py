"""A report of a run, made from its folder: learning curves, evaluation, settings, a video."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from gymnasium.spaces import Discrete

from hunch.errors import (
    FolderError,
    HunchError,
    MissingDependencyError,
    kind_and_sentence,
    sentence,
)
from hunch.plots.page import (
    Beside,
    Block,
    Code,
    Facts,
    Figures,
    Notice,
    Section,
    Table,
    Text,
    Video,
    render_page,
)
from hunch.plots.run_charts import (
    BANDS_FROM,
    as_return,
    learning_curves,
    mean_and_interval,
)
from hunch.rl import Run, record
from hunch.rl.agents.idle_settings import idle_settings
from hunch.rl.agents.saving import GIVEN
from hunch.rl.runs.callbacks import Player
from hunch.rl.runs.loggers import EPISODES, columns_of_log
from hunch.rl.runs.plan import commands_of, shown_setting
from hunch.seeding import derive
from hunch.storage import write_own_text

if TYPE_CHECKING:
    from hunch.rl.agents.agent import Agent

REPORT: Final = "report.html"


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


def _page(run: Run, tell: Callable[[str], None] | None) -> str:
    summary = run.summary()
    agent = _best_agent(run)
    video = _video(run, agent, tell)
    sections = [
        Section("curves", "How it learned", _sizes(run), _curve_blocks(run)),
        Section("evaluation", "How well it plays", *_final_evaluation(run, summary, video)),
        Section("settings", "What was run", "All of it is in run.json.", _settings(run, agent)),
    ]
    head = [*_verdict(summary), Facts(_facts(run, summary)), Beside(*_introduction(run))]
    return render_page(run.name, head, sections)


def _verdict(summary: Mapping[str, Any]) -> list[Block]:
    """What it plays like, beside chance; nothing before it was evaluated."""
    found = _scores(summary)
    if not found:
        return [Notice("Not evaluated yet: training has not ended.", "fair")]
    which, scores = found
    returns = np.array([own["mean_return"] for own in scores])
    mean, text = float(returns.mean()), as_return(float(returns.mean()))
    seeds = (
        "" if len(returns) == 1 else f", {as_return(returns.min())} to {as_return(returns.max())}"
    )
    seeds += "" if len(returns) == 1 else f" over {len(returns)} seeds"
    said = f"With its {which} weights it returns {text} in the mean{seeds}"
    chance = summary.get("random")
    if chance is None:
        return [Notice(f"{said}.", "good")]
    random = f"random play returns {as_return(chance['mean_return'])}"
    # Twice the standard errors of both means: less is chance.
    errors = [np.var(own["returns"]) / len(own["returns"]) for own in (*scores, chance)]
    ahead = mean - chance["mean_return"]
    if ahead > 2 * np.sqrt(np.mean(errors[:-1]) + errors[-1]):
        return [Notice(f"{said}; {random}.", "good")]
    return [Notice(f"{said}, which is not clearly more than chance: {random}.", "bad")]


def _scores(summary: Mapping[str, Any]) -> tuple[str, list[Mapping[str, Any]]] | None:
    """Of each replica how its best weights did, or its last ones where there are none."""
    replicas = summary.get("replicas", [])
    if not replicas:
        return None
    which = "best" if all(r["best"] for r in replicas) else "last"
    return which, [r[which] for r in replicas]


def _chance(summary: Mapping[str, Any]) -> float | None:
    found = summary.get("random")
    return None if found is None else float(found["mean_return"])


def _facts(run: Run, summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    facts = []
    if found := _scores(summary):
        which, scores = found
        spread = np.mean([own["std_return"] for own in scores])
        mean = np.mean([own["mean_return"] for own in scores])
        note = f"{which} weights, ± {as_return(float(spread))} from episode to episode"
        facts.append(("mean return", as_return(float(mean)), note))
    if (chance := summary.get("random")) is not None:
        count = len(chance["returns"])
        note = f"± {as_return(chance['std_return'])}, {count} episodes from the same starts"
        facts.append(("random play", as_return(chance["mean_return"]), note))
    seeds = "one seed" if run.replicas == 1 else f"each of {run.replicas} seeds"
    facts.append(("environment steps", f"{run.steps:,}", seeds))
    if run.seconds:
        rate = run.steps * run.replicas / run.seconds
        note = f"{rate:,.0f} steps a second, evaluations included"
        facts.append(("wall time", duration(run.seconds), note))
    return facts


def duration(seconds: float) -> str:
    """A time in words, in the two largest units.

    Example:
        >>> duration(41.7), duration(192), duration(7500)
        ('42 s', '3 min 12 s', '2 h 5 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if whole else f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _best_agent(run: Run) -> Agent | Exception:
    """The agent, or why there is none: the page does not depend on it."""
    try:
        return run.best_agent()
    except Exception as error:  # whatever keeps a foreign environment from being made
        return error


def _introduction(run: Run) -> tuple[list[Block], list[Block]]:
    episodes = len(columns_of_log(run.folder / "logs" / EPISODES).get("step", ()))
    ends = {"solved": "and then had solved it", "stop_at": "and then was good enough to stop"}
    end = ends.get(str(run.finished), "which is all it was asked for")
    if run.finished is None:
        end = f"of {run.plan.steps:,} that it was asked for"
    resume, play = commands_of(run.plan.settings, run.about, "RUN")
    given = ", env=…" if run.plan.settings.get("env") == GIVEN else ""
    return [
        Text(
            f"{run.steps:,} environment steps of each replica, {end}; {episodes:,} training "
            "episodes in all."
        )
    ], [
        Text(
            f"With RUN the folder of this page, `{resume} --steps N` goes on, `{play}` plays, "
            f"`hunch.rl.Run.open(RUN{given}).best_agent()` is the agent in Python."
        )
    ]


def _sizes(run: Run) -> str:
    replicas = run.replicas
    if replicas == 1:
        return f"One agent, seed {run.seed}."
    first = run.seed
    bands = (
        "bands 95 % confidence intervals of their mean."
        if replicas >= BANDS_FROM
        else "too few for a band that says something about their mean."
    )
    return (
        f"{replicas} replicas, seeds {first} to {first + replicas - 1}: thin lines are seeds, "
        + bands
    )


def _curve_blocks(run: Run) -> list[Block]:
    curves = learning_curves(run.folder / "logs", _chance(run.summary()))
    if not curves:
        return [Text("There is no finished episode yet.")]
    return [Figures(curves)]


def _final_evaluation(
    run: Run, summary: Mapping[str, Any], video: Block
) -> tuple[str, list[Block]]:
    replicas = summary.get("replicas", [])
    if not replicas:
        return "Not evaluated yet.", [video]
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
    if len(rows) > 1:
        rows.append(_over_seeds(replicas, len(head)))
    if (chance := summary.get("random")) is not None:
        rows.append(["random play", _mean_and_std(chance), *["–"] * (len(head) - 2)])
    note = "Mean return ± standard deviation over episodes. "
    if len(replicas) > 1:
        note += "In the mean over seeds: ± half a 95 % confidence interval. "
    if cut := sum(r.get("cut_episodes", 0) for r in replicas):
        note += (
            f"{cut} of them had no end and were cut after {run.plan.evaluation_max_steps:,} steps. "
        )
    if run.evaluation is not None:
        note += (
            f"The best weights are those of the best of the evaluations every "
            f"{run.plan.evaluate_every:,} steps, each of {run.plan.evaluate_episodes} episodes."
        )
    return source, [Beside([Table(head, rows, note)], [video])]


def _over_seeds(replicas: Sequence[Mapping[str, Any]], width: int) -> list[str]:
    """The mean over seeds, and how far it is known."""
    cells = ["mean over seeds"]
    for which in ("last", "best"):
        means = np.array([[r[which]["mean_return"]] for r in replicas if r[which]])
        if len(means) < 2:
            cells.append("–")
            continue
        mean, half = mean_and_interval(means)
        cells.append(f"{as_return(mean[0])} ± {as_return(half[0])}")
    return cells + ["–"] * (width - len(cells))


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
        f"The first of the episodes: seed {run.seed + r}, best weights, return "
        f"{episode.total_reward:g}, {episode.length:,} steps."
    )
    return Video(episode.video, caption)


def _settings(run: Run, agent: Agent | Exception) -> list[Block]:
    settings = run.plan.settings
    finite = None if isinstance(agent, Exception) else isinstance(agent.action_space, Discrete)
    idle = idle_settings(settings, finite)
    known = dict(settings)
    if settings.get("env") == GIVEN:
        known["env"] = run.about.get("env", "given when the agent was made")
    rows = [
        [f"`{name}`", shown_setting(value)] for name, value in known.items() if name not in idle
    ]
    versions = run.about.get("versions", {})
    blocks: list[Block] = []
    if command := run.about.get("command"):
        blocks.append(Code(_commands(run, str(command))))
    half = -(-len(rows) // 2)
    head = ["argument", "value"]
    blocks.append(Text(f"Arguments of `hunch.rl.{run.plan.agent}`:"))
    blocks.append(Beside(*([Table(head, part, words=True)] for part in (rows[:half], rows[half:]))))
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
    if config := _config_of(words):  # a file that the folder does not hold
        settings = shlex.join(["hunch", "train", "--resume", "RUN", "--dump-config"])
        lines.insert(0, f"{settings} > {shlex.quote(config)}")
    if "begun_with" in run.about:
        resume, _ = commands_of(run.plan.settings, run.about, "RUN")
        lines.append(f"{resume} --steps {run.plan.steps}")
    return "\n".join(lines)


def _config_of(words: Sequence[str]) -> str | None:
    """The file of options in a command."""
    for i, word in enumerate(words):
        if word.startswith("--config="):
            return word.partition("=")[2]
        if word == "--config" and i + 1 < len(words):
            return words[i + 1]
    return None


def _mean_and_std(figures: Mapping[str, Any]) -> str:
    mean, std = figures["mean_return"], figures["std_return"]
    return f"{mean:.1f} ± {std:.1f}" if abs(mean) >= 10 else f"{mean:.3f} ± {std:.3f}"
