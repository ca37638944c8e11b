"""What is done for a job, in the runner's process: a training, a model of a table, a claim."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hunch.errors import DataError, FolderError
from hunch.storage import checksum


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


def check_vouched(folder: str, works: Sequence[Mapping[str, Any]], vouched: Vouched) -> None:
    """Refuse a study that names code which nobody vouched for.

    Args:
        folder: the study's, for the message.
        works: what its cells do; those that train are looked at.
        vouched: what the user said.

    Raises:
        FolderError: naming the code.
    """
    from hunch.rl.agents.trust import check_trusted

    environments = importlib.import_module(_ENVIRONMENTS)
    for work in works:
        plan, about = work["plan"], work["about"]
        check_trusted(folder, plan["settings"], trust=vouched.trust)
        check_trusted(folder, plan["evaluation_env_kwargs"], trust=vouched.trust)
        if vouched.trust or not _is_given(plan):
            continue
        words = [w for w in about.get("wrap", []) if environments.wraps_code(w)]
        if environments.is_code(str(about.get("env", ""))):
            words.insert(0, about["env"])
        for word in words:
            if word not in vouched.own:
                raise FolderError(
                    f"{folder!r} names {word}, and a folder is no reason to run code. If it is "
                    f"yours, name it again: hunch study work {folder} --own {word}; if you trust "
                    "whoever made the folder, say --trust."
                )


# How environments are named is a matter of the command line, which stands above; it is asked for
# by its name, and the runner alone needs it.
_ENVIRONMENTS: Final = "hunch.cli.environments"
_CLAIMS: Final = "hunch.experiments.claims.registry"


def _is_given(plan: Mapping[str, Any]) -> bool:
    from hunch.rl.agents.saving import GIVEN

    return bool(plan["settings"].get("env") == GIVEN)


def _given(folder: str, task: Mapping[str, Any], vouched: Vouched) -> dict[str, Any]:
    """The environment that settings cannot hold, of what was vouched for."""
    check_vouched(folder, [task], vouched)
    about = task["about"]
    typed: tuple[Any, Any] = (None, ())
    if not vouched.trust and _is_given(task["plan"]):
        own = about.get("env") if about.get("env") in vouched.own else None
        typed = (own, about.get("wrap", []))
    environments = importlib.import_module(_ENVIRONMENTS)
    found: dict[str, Any] = environments.env_given(
        folder, task["plan"]["settings"], about, typed, trust=vouched.trust
    )
    return found


def train(task: Mapping[str, Any], out: Path, study: str, vouched: Vouched) -> None:
    """Train into a folder, from wherever what lies there stands; then judge."""
    from hunch.rl.runs.plan import RUN_FILE, Plan
    from hunch.rl.runs.run import Run
    from hunch.rl.runs.summary import summarize

    values = dict(task["plan"])
    if values.get("stop_when_solved") is not None:
        values["stop_when_solved"] = tuple(values["stop_when_solved"])
    plan, given = Plan(**values), _given(study, task, vouched)
    run = None
    if (out / RUN_FILE).exists():
        run = _opened(Run, out, plan, vouched, given)
    if run is None:
        run = Run.begin(out, plan, task["about"], **given)
    agent = run.train(progress=False, tell=print)
    if not run.summary():
        summarize(run, agent)
    if task["report"]:
        from hunch.plots.run_report import write_report

        write_report(run, tell=print)


def _opened(run: Any, out: Path, plan: Any, vouched: Vouched, given: Mapping[str, Any]) -> Any:
    """The run that another attempt left; None, and it is gone, if it is not this job's."""
    try:
        found = run.open(out, trust=vouched.trust, **given)
        if _as_json(found.plan) == _as_json(plan):
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


def fit(task: Mapping[str, Any], out: Path, study: str, vouched: Vouched) -> None:
    """Make a model of a table, as long as its files are those that the study was begun with."""
    from hunch.tables import fit_table

    for file, sum_then in task["checksums"].items():
        if checksum(Path(file)) != sum_then:
            raise DataError(f"{file!r} was changed since the study was begun.")
    options = {"progress": False, "say": print, **task["options"], "seed": task["seed"]}
    files = task["data"][0] if len(task["data"]) == 1 else task["data"]
    fit_table(files, task["target"], out, **options)


def reproduce(task: Mapping[str, Any], out: Path, study: str, vouched: Vouched) -> None:
    """Run a published claim."""
    registry = importlib.import_module(_CLAIMS)
    registry.reproduce_claim(task["claim"], seed=task["seed"], out=out, progress=False)


KINDS: Final[Mapping[str, Callable[[Mapping[str, Any], Path, str, Vouched], None]]] = {
    "train": train,
    "fit": fit,
    "reproduce": reproduce,
}
