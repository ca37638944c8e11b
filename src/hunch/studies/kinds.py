"""What is done for a job, in the runner's process: a training, a model of a table, a claim."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hunch.errors import DataError, FolderError
from hunch.storage import checksum

if TYPE_CHECKING:
    from hunch.studies.search import Trial


@dataclass(frozen=True)
class Vouched:
    """What the user vouches for, since a study's folder is no reason to run code.

    Args:
        own: environments and wrappers of the user's, as they are named: `lake.py:make_env`.
        imports: modules to import first, that define agents or register environments.
        trust: whether to take the folder's word for everything.
    """

    own: Sequence[str] = ()
    imports: Sequence[str] = ()
    trust: bool = False


@dataclass(frozen=True)
class Above:
    """What stands above this package, and is handed in by the program that the runner is.

    Args:
        is_code: whether the name of an environment stands for code of the user's.
        wraps_code: the same of a wrapper's name.
        env_given: the environment that a run's settings cannot hold; of `hunch.cli.environments`,
            as the other two.
        reproduce: runs a claim by its name, into a folder.
        explain: what went wrong, in a line.
    """

    is_code: Callable[[str], bool]
    wraps_code: Callable[[str], bool]
    env_given: Callable[..., dict[str, Any]]
    reproduce: Callable[..., object]
    explain: Callable[[BaseException], str]


def check_vouched(
    folder: str, works: Sequence[Mapping[str, Any]], vouched: Vouched, above: Above
) -> None:
    """Refuse a study that names code which nobody vouched for.

    Args:
        folder: the study's, for the message.
        works: what its cells do, of those that train.
        vouched: what the user said.
        above: how code is told from names.

    Raises:
        FolderError: naming the code.
    """
    from hunch.rl.agents.trust import check_trusted

    for work in works:
        plan, about = work["plan"], work["about"]
        check_trusted(folder, plan["settings"], trust=vouched.trust)
        check_trusted(folder, plan["evaluation_env_kwargs"], trust=vouched.trust)
        if vouched.trust or not _is_given(plan):
            continue
        words = [w for w in about.get("wrap", []) if above.wraps_code(w)]
        if above.is_code(str(about.get("env", ""))):
            words.insert(0, about["env"])
        for word in words:
            if word not in vouched.own:
                raise FolderError(
                    f"{folder!r} names {word}, and a folder is no reason to run code. If it is "
                    f"yours, name it again: hunch study work {folder} --own {word}; if you trust "
                    "whoever made the folder, say --trust."
                )


def _is_given(plan: Mapping[str, Any]) -> bool:
    from hunch.rl.agents.saving import GIVEN

    return bool(plan["settings"].get("env") == GIVEN)


def _given(folder: str, task: Mapping[str, Any], vouched: Vouched, above: Above) -> dict[str, Any]:
    """The environment that settings cannot hold, of what was vouched for."""
    check_vouched(folder, [task], vouched, above)
    about = task["about"]
    typed: tuple[Any, Any] = (None, ())
    if not vouched.trust and _is_given(task["plan"]):
        own = about.get("env") if about.get("env") in vouched.own else None
        typed = (own, about.get("wrap", []))
    return above.env_given(folder, task["plan"]["settings"], about, typed, trust=vouched.trust)


def train(task: Mapping[str, Any], out: Path, study: str, vouched: Vouched, above: Above) -> None:
    """Train into a folder, from wherever what lies there stands; then judge."""
    from hunch.rl.runs.plan import RUN_FILE, Plan
    from hunch.rl.runs.run import Run
    from hunch.rl.runs.summary import summarize
    from hunch.studies.search import Trial, TrialRun, tell_of

    trial = None
    if "search" in task:
        trial = Trial(task, Path(study))
        task = _of_trial(task, trial)  # which is looked at before it is believed
    values = dict(task["plan"])
    if values.get("stop_when_solved") is not None:
        values["stop_when_solved"] = tuple(values["stop_when_solved"])
    plan, given = Plan(**values), _given(study, task, vouched, above)
    kind: type[Run] = Run if trial is None else TrialRun
    run = None
    if (out / RUN_FILE).exists():
        run = _opened(kind, out, plan, vouched, given)
    if run is None:
        run = kind.begin(out, plan, task["about"], **given)
    if isinstance(run, TrialRun):
        run.trial = trial
    agent = run.train(progress=False, tell=print)
    if not run.summary():
        summarize(run, agent)
    if trial is not None:
        tell_of(run, trial)
    if task["report"]:
        from hunch.plots.run_report import write_report

        write_report(run, tell=print)


def _of_trial(task: Mapping[str, Any], trial: Trial) -> dict[str, Any]:
    """A job with a trial's settings, and the line that does the same."""
    plan, about = dict(task["plan"]), {**task["about"], "trial": trial.words}
    plan["settings"] = {**plan["settings"], **trial.settings}
    if "command" in about:
        typed = [w for name, value in trial.words.items() for w in ("--set", f"{name}={value}")]
        about["command"] = f"{about['command']} {shlex.join(typed)}"
    return {**task, "plan": plan, "about": about}


def _opened(run: Any, out: Path, plan: Any, vouched: Vouched, given: Mapping[str, Any]) -> Any:
    """The run that another attempt left; None, and it is gone, if it is not this job's."""
    try:
        found = run.open(out, trust=vouched.trust, **given)
        # A trial that was ended early has fewer steps than it was begun with.
        begun = replace(found.plan, steps=found.about.get("begun_with", found.plan.steps))
        if _as_json(begun) == _as_json(plan):
            return found
        why = "it is of another plan"
    except FolderError as error:
        why = str(error)
    print(f"what an attempt before this one left is not taken: {why}")
    shutil.rmtree(out)
    return None


def _as_json(plan: Any) -> Any:
    """A plan as it is read back, with lists for tuples."""
    import json
    from dataclasses import asdict

    return json.loads(json.dumps(asdict(plan)))


def fit(task: Mapping[str, Any], out: Path, study: str, vouched: Vouched, above: Above) -> None:
    """Make a model of a table, as long as its files are those that the study was begun with."""
    from hunch.tables import fit_table

    for file, sum_then in task["checksums"].items():
        if checksum(Path(file)) != sum_then:
            raise DataError(f"{file!r} was changed since the study was begun.")
    options = {"progress": False, "say": print, **task["options"], "seed": task["seed"]}
    files = task["data"][0] if len(task["data"]) == 1 else task["data"]
    fit_table(files, task["target"], out, **options)


def reproduce(
    task: Mapping[str, Any], out: Path, study: str, vouched: Vouched, above: Above
) -> None:
    """Run a published claim."""
    above.reproduce(task["claim"], seed=task["seed"], out=out, progress=False)


KINDS: Final[Mapping[str, Callable[[Mapping[str, Any], Path, str, Vouched, Above], None]]] = {
    "train": train,
    "fit": fit,
    "reproduce": reproduce,
}
