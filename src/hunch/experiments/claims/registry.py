"""The claims by name, and how one is reproduced and reported."""

from __future__ import annotations

import dataclasses
import importlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from hunch.experiments.claims.checks import Check, claim_settings, settings_in_words
from hunch.experiments.claims.markdown import cells, table
from hunch.storage import check_writable, dump_json, folder_place, write_text, written_with

# Name to subject and module. A module has CLAIM, Settings, Result, run and check; a function of its
# name in `experiments/figures/SUBJECT.py` draws a result.
EXPERIMENTS: Final = {
    "linear-posterior": "uncertainty.linear_posterior",
    "randomized-priors": "uncertainty.randomized_priors",
    "noisy-layers": "noise.noisy_layers",
    "noisy-cartpole": "control.noisy_cartpole",
    "four-curves": "gradients.four_curves",
    "deep-sea": "exploration.deep_sea",
    "bsuite": "exploration.bsuite",
    "chain": "exploration.chain",
    "cartpole-seeds": "control.cartpole_seeds",
    "sb3-cartpole": "control.sb3_cartpole",
    "relax-cartpole": "control.relax_cartpole",
    "continuous-control": "control.continuous_control",
    "classic-control": "control.classic_control",
    "larger-problems": "control.larger_problems",
    "minatar": "control.minatar",
    "noisy-a2c": "control.noisy_a2c",
    "neural-bandit": "exploration.neural_bandit",
    "testbed-2d": "uncertainty.testbed_2d",
    "gp-posterior": "uncertainty.gp_posterior",
    "frozen-networks": "uncertainty.frozen_networks",
    "uci-style": "tables.uci_style",
    "far-from-data": "tables.far_from_data",
    "tables": "tables.real_tables",
    "uci": "tables.uci",
    "gradient-variance": "gradients.gradient_variance",
    "bayes-logistic": "gradients.bayes_logistic",
    "discrete-vae": "gradients.discrete_vae",
    "bayesian-optimization": "exploration.bayesian_optimization",
}
MARK: Final = "hunch reproduce"
OURS: Final = written_with(MARK)


@dataclass(frozen=True)
class Report:
    """A reproduced claim."""

    text: str  # for people, a few lines of Markdown
    results: dict[str, Any]  # plain values, with `"holds"`; nothing that depends on the clock


def load(name: str) -> ModuleType:
    """The module of an experiment."""
    return importlib.import_module(f"hunch.experiments.{EXPERIMENTS[name]}")


def describe(name: str) -> str:
    """What the experiment claims.

    Example:
        >>> describe("linear-posterior").startswith("On a linear model")
        True
    """
    claim: str = load(name).CLAIM
    return claim


def reproduce_claim(
    name: str,
    *,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    jobs: int = 1,
    data: str | os.PathLike[str] = "",
    keep: str | os.PathLike[str] = "",
    progress: bool = True,
) -> Report:
    """Run an experiment at the settings of its claim.

    Args:
        name: a key of `EXPERIMENTS`.
        seed: decides every draw.
        out: folder for `NAME.json` and `NAME.md`; none is written if None.
        jobs: runs at a time, each in a process of its own, for experiments of many runs.
        data: folder with tables, for experiments that read such.
        keep: folder for what single runs found, which a later call takes up, for experiments that
            can.
        progress: show bars on standard error.

    Raises:
        FolderError: if a file of that name is there which this function did not write, or cannot be
            written; before anything is run.
    """
    places = check_places([name], out)
    module = load(name)
    settings = claim_settings(module)
    given = {"jobs": jobs, "data": os.fspath(data), "keep": os.fspath(keep)}
    own = {name: value for name, value in given.items() if hasattr(settings, name)}
    if own:
        settings = dataclasses.replace(settings, **own)
    started = time.monotonic()
    result = module.run(settings, seed=seed, progress=progress)
    seconds = time.monotonic() - started
    checks: list[Check] = module.check(result)
    results = {
        "written_by": MARK,
        "claim": module.CLAIM,
        "seed": seed,
        "holds": all(c.holds for c in checks),
        "checks": [c.to_json() for c in checks],
        "result": result.to_json(),
    }
    text = _markdown(name, module, checks, result, settings, seed, seconds)
    marked = f"<!-- {MARK} {name} -->\n{text}"
    for place, content in zip(places, (dump_json(results), marked), strict=False):
        write_text(place, content, OURS, MARK)
    return Report(text, results)


def takes(name: str, setting: str) -> bool:
    """Whether an experiment has a setting, such as the folder `data` that it reads tables from.

    Example:
        >>> takes("uci", "data"), takes("chain", "data")
        (True, False)
    """
    return hasattr(claim_settings(load(name)), setting)


def check_places(names: Sequence[str], out: str | os.PathLike[str] | None) -> list[Path]:
    """The files that claims are written to, once each is seen to be writable.

    Args:
        names: of the claims.
        out: the folder; no files if None.

    Raises:
        FolderError: as `reproduce_claim`.
    """
    if out is None:
        return []
    places = [folder_place(out) / f"{name}.{suffix}" for name in names for suffix in ("json", "md")]
    for place in places:
        check_writable(place, OURS, MARK)
    return places


def _markdown(
    name: str,
    module: ModuleType,
    checks: list[Check],
    result: Any,
    settings: Any,
    seed: int,
    seconds: float,
) -> str:
    verdict = "holds" if all(c.holds for c in checks) else "does not hold"
    ran = settings_in_words(settings, seed)
    figures = table(
        "figure | measured | bound | holds",
        [
            cells(c.what, f"{c.value:.4g}", f"{c.relation} {c.bound:g}", "yes" if c.holds else "NO")
            for c in checks
        ],
    )
    lines = [f"# {name}", "", module.CLAIM, "", f"This {verdict} in a run with {ran}.", "", figures]
    if hasattr(result, "to_markdown"):
        lines += ["", result.to_markdown()]
    jobs = getattr(settings, "jobs", 1)
    threads = "one thread" if jobs == 1 else f"{jobs} threads"
    option = " --data FOLDER" if getattr(settings, "data", "") else ""
    option += "" if jobs == 1 else f" --jobs {jobs}"
    command = f"`hunch reproduce {name} --seed {seed}{option}`"
    kept = ", what `--keep` had from earlier runs left out" if getattr(settings, "keep", "") else ""
    lines += ["", f"{command}, {seconds:.0f} s on {threads}{kept}.", ""]
    return "\n".join(lines)
