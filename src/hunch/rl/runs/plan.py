"""What a run does, and the file that says so."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from hunch.errors import ConfigurationError, FolderError
from hunch.rl.agents.saving import GIVEN
from hunch.rl.runs.evaluation import MAX_STEPS
from hunch.storage import as_written, dump_json, expanded, read_json, sealed, unsealed
from hunch.validation import real_number, whole_number

RUN_FILE: Final = "run.json"
COMPLETE: Final = "complete"  # every step was made
ENDS: Final = (COMPLETE, "solved", "stop_at")
_OF_THE_FILE: Final = ("written_by", "kind", "plan")


@dataclass(frozen=True)
class Plan:
    """What a run does; all of it decides the result, and stays as it is when the run is resumed.

    Args:
        agent: class of the agent in `hunch.rl`, or of one of your own that is imported by then.
        settings: arguments of the agent, as `Agent.settings` gives them.
        steps: environment steps of each replica; the only thing that may be changed later.
        evaluate_every: environment steps from one evaluation to the next; 0 for none.
        evaluate_episodes: episodes of each.
        evaluation_env_kwargs: keyword arguments in which the environment then differs.
        evaluation_max_steps: environment steps after which an evaluation episode is cut; see
            `hunch.rl.evaluate`.
        checkpoint_every: environment steps from one checkpoint to the next.
        log_every: environment steps from one writing of the logs to the next.
        stop_at: mean return in an evaluation at which training ends; None for never.
        stop_when_solved: bound and first episode of `StopWhenSolved`, and the steps from one look
            to the next; None where that is not asked.
        tensorboard: whether to write TensorBoard's logs too.
    """

    agent: str
    settings: Mapping[str, Any]
    steps: int
    evaluate_every: int = 0
    evaluate_episodes: int = 10
    evaluation_env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    evaluation_max_steps: int = field(default=MAX_STEPS, kw_only=True)
    checkpoint_every: int = 10_000
    log_every: int = 1_000
    stop_at: float | None = None
    stop_when_solved: tuple[float, int, int] | None = None
    tensorboard: bool = False

    def __post_init__(self) -> None:
        _check_kind("agent", self.agent, str, "the name of a class")
        _check_kind("settings", self.settings, Mapping, "arguments by name")
        _check_kind(
            "evaluation_env_kwargs", self.evaluation_env_kwargs, Mapping, "arguments by name"
        )
        _check_kind("tensorboard", self.tensorboard, bool, "True or False")
        whole_number("steps", self.steps, at_least=1)
        whole_number("evaluate_every", self.evaluate_every, at_least=0)
        for name in ("evaluate_episodes", "evaluation_max_steps", "checkpoint_every", "log_every"):
            whole_number(name, getattr(self, name), at_least=1)
        if self.stop_at is not None:
            real_number("stop_at", self.stop_at)
        if self.stop_when_solved is not None:
            _check_solved(self.stop_when_solved)
        if self.stop_at is not None and not self.evaluate_every:
            raise ConfigurationError(
                "`stop_at` is a return in evaluations, but `evaluate_every` is 0; expected at "
                "least 1 step from one evaluation to the next."
            )

    @property
    def seed(self) -> int:
        """The agent's seed."""
        return int(self.settings.get("seed", 0))  # a class of the user's may hide it

    @property
    def replicas(self) -> int:
        """The agent's replicas."""
        return int(self.settings.get("replicas", 1))


def read_run_file(folder: str | os.PathLike[str]) -> tuple[Plan, dict[str, Any]]:
    """The plan in `run.json`, and what else it says.

    Args:
        folder: of the run.

    Raises:
        FolderError: if there is none, or it is not as hunch wrote it.
    """
    place = expanded(folder) / RUN_FILE
    if not place.is_file():
        raise FolderError(
            f"{str(folder)!r} is no run: there is no {RUN_FILE} in it; expected a folder that "
            "`hunch train` wrote."
        )
    found = unsealed(read_json(place), place)
    if found.get("written_by") != "hunch":
        raise FolderError(f"{str(place)!r} was not written by hunch.")
    try:
        with as_written(place):
            values = dict(found["plan"])
            if (bound := values.get("stop_when_solved")) is not None:
                values["stop_when_solved"] = tuple(bound)
            plan = Plan(**values)
            about = {k: v for k, v in found.items() if k not in _OF_THE_FILE}
            check_about(plan, about)
    except ConfigurationError as error:
        raise FolderError(f"{str(place)!r} is not as hunch writes it: {error}") from error
    return plan, about


def run_file_text(plan: Plan, about: Mapping[str, Any]) -> str:
    """What `run.json` holds: the plan and other values, sealed."""
    values = {"written_by": "hunch", "kind": "run", "plan": asdict(plan), **about}
    return dump_json(sealed(values))


def shown_setting(value: Any) -> str:
    """A setting in a plan's plain values as people write it, schedules as `--set` takes them.

    Example:
        >>> shown_setting({"Linear": [1.0, 0.05, 500]}), shown_setting({"float": "inf"})
        ('1:0.05:500', 'inf')
        >>> shown_setting([8, 8]), shown_setting(True)
        ('[8, 8]', 'True')
    """
    if isinstance(value, dict) and set(value) == {"Linear"}:
        start, end, steps = value["Linear"]
        return f"{start:g}:{end:g}:{steps}"
    if isinstance(value, dict) and set(value) == {"float"}:
        return str(value["float"])
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def commands_of(
    settings: Mapping[str, Any], about: Mapping[str, Any], folder: str
) -> tuple[str, str]:
    """What to type to go on with a run, and to play it, its environment named if that is needed.

    Args:
        settings: of its agent.
        about: what its file says besides: `recipe`, and `env` and `wrap` where no setting holds the
            environment.
        folder: the run's, as a shell takes it.

    Example:
        >>> commands_of({"env": "CartPole-v1"}, {}, "RUN")
        ('hunch train --resume RUN', 'hunch play RUN')
        >>> about = {"recipe": "dqn", "env": "lake.py:make_env", "wrap": ["TimeLimit(9)"]}
        >>> commands_of({"env": dict(GIVEN)}, about, "RUN")[1]
        "hunch play RUN lake.py:make_env --wrap 'TimeLimit(9)'"
    """
    if settings.get("env") != GIVEN or "env" not in about:
        return f"hunch train --resume {folder}", f"hunch play {folder}"
    words = [str(about["env"])]
    for word in about.get("wrap", []):
        words += ["--wrap", str(word)]
    named, agent = shlex.join(words), shlex.quote(str(about.get("recipe", "AGENT")))
    return f"hunch train {agent} {named} --resume {folder}", f"hunch play {folder} {named}"


def check_about(plan: Plan, about: Mapping[str, Any]) -> None:
    """Refuse values about a run, or a seed in its plan, that cannot be.

    Raises:
        ConfigurationError: naming the value.

    Example:
        >>> check_about(Plan("DQN", {"seed": 3}, steps=10), {"finished": "complete"})
    """
    for name, least in (("seed", 0), ("replicas", 1)):
        if name in plan.settings:
            whole_number(name, plan.settings[name], at_least=least)
    if taken := sorted({*_OF_THE_FILE, "format", "seal"} & about.keys()):
        raise ConfigurationError(
            f"`about` got {taken[0]!r}, which hunch writes; choose a new name."
        )
    if about.get("finished") not in (None, *ENDS):
        raise ConfigurationError(
            f"`finished` got {about['finished']!r}; expected {', '.join(ENDS)}."
        )
    if "judge_episodes" in about:
        whole_number("judge_episodes", about["judge_episodes"], at_least=1)
    if "begun_with" in about:
        whole_number("begun_with", about["begun_with"], at_least=1)
    if "seconds" in about:
        real_number("seconds", about["seconds"], at_least=0.0)
    _check_kind("env", about.get("env", ""), str, "the name of an environment")
    _check_kind("wrap", about.get("wrap", []), list, "names of wrappers")
    for word in about.get("wrap", []):
        _check_kind("wrap", word, str, "names of wrappers")
    _check_kind("code", about.get("code", {}), Mapping, "checksums by name")
    _check_kind("besides", about.get("besides", {}), Mapping, "arguments by name")
    _check_kind("versions", about.get("versions", {}), Mapping, "versions by name")


def _check_solved(value: Any) -> None:
    if not isinstance(value, tuple | list) or len(value) != 3:
        raise ConfigurationError(
            f"`stop_when_solved` got {value!r}; expected a bound, an episode and a number of steps."
        )
    real_number("stop_when_solved", value[0])
    whole_number("stop_when_solved", value[1], at_least=1)
    whole_number("stop_when_solved", value[2], at_least=1)


def _check_kind(name: str, value: Any, kind: type, expected: str) -> None:
    if not isinstance(value, kind):
        raise ConfigurationError(f"`{name}` got {value!r}; expected {expected}.")
