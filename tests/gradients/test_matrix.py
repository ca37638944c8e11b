"""Estimators × every family of torch × ways to differentiate: right, or refused, never silently wrong.

Right is within four standard errors of the closed form, for the value and for the derivative along
one direction, at 4,000 estimates: some 5,000 figures with a false-alarm probability of 6.3e-5 each,
so a fresh choice of the seed would raise 0.3 alarms; it is fixed. A derivative that is lost or
counted twice stands out by tens of standard errors (the last tests show it). Compiled and
checkpointed calls are held against plain ones with the same draws. The pages' tables are made
here: HUNCH_WRITE_TABLES=1 writes them anew. 70 seconds of processor time, a
third of it the compiler's; `make proofs` compiles every family.
"""

import functools
import os
import re
from pathlib import Path

import pytest
import torch

from hunch.gradients.estimators import pathwise, score
from hunch.gradients.sampling import torch_draws

from .families import FAMILIES
from .matrix import ESTIMATORS, MODES, PRECISIONS, checkpointed, compiled, estimated, reverse

PAGE = Path(__file__).parents[2] / "docs" / "gradients.md"
DRAWS = 4_000
WRITE = os.environ.get("HUNCH_WRITE_TABLES") == "1"
COLUMNS = {
    "`grad`": ("func.grad",),
    "forward mode": ("jvp", "dual level"),
    "inside `vmap`": ("vmap(grad)", "vmap(jvp)"),
    "around `vmap`": ("grad of vmap",),
    "checkpoint": ("checkpoint",),
    "half precision": ("bfloat16", "float16"),
}
# One family for each estimator, which CI compiles; `make proofs` compiles all.
COMPILED = {
    "auto": "Normal",
    "score": "Gamma",
    "pathwise": "LogNormal",
    "score, antithetic": "Normal",
    "score, sobol": "Normal",
    "score, masked": "Poisson",
    "pathwise, antithetic": "Laplace",
    "measure": "Normal",
    "enumerate": "Categorical",
    "rebar": "Bernoulli",
    "straight_through": "OneHotCategorical",
    "gumbel": "Bernoulli",
}


@functools.cache
def cell(name, label, way):
    if way == "checkpoint":
        return checkpointed(name, label)
    if way in PRECISIONS:
        return estimated(name, label, reverse, DRAWS, PRECISIONS[way])
    return estimated(name, label, MODES[way], DRAWS)


def served(label):
    """The families on which the estimator is right in plain reverse mode."""
    return [name for name in FAMILIES if cell(name, label, "backward").outcome == "right"]


def wrong(cells):
    return {key: found.why for key, found in cells.items() if found.outcome == "WRONG"}


@pytest.mark.every(3)
@pytest.mark.parametrize(
    "label",
    [pytest.param(label, marks=[pytest.mark.slow] * ("," in label)) for label in ESTIMATORS],
)
def test_every_family_is_right_or_refused_however_it_is_differentiated(label):
    assert not wrong({(f, way): cell(f, label, way) for f in FAMILIES for way in MODES})
    assert served(label)


@pytest.mark.every(2)
@pytest.mark.parametrize("label", ESTIMATORS)
def test_every_family_is_right_or_refused_in_single_and_half_precision(label):
    assert not wrong({(f, way): cell(f, label, way) for f in FAMILIES for way in PRECISIONS})


@pytest.mark.parametrize("label", ESTIMATORS)
def test_a_checkpointed_estimate_is_the_plain_one(label):
    cells = {f: cell(f, label, "checkpoint") for f in served(label)}
    cells |= {(f, "re"): checkpointed(f, label, use_reentrant=True) for f in served(label)[:6]}
    assert not wrong(cells)


# Torch's tracer warns of its own steps.
@pytest.mark.every(3)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "label",
    [
        pytest.param(label, marks=[pytest.mark.slow] * (label in ("measure", "rebar")))
        for label in COMPILED
    ],
)
def test_a_compiled_estimate_is_the_plain_one_at_two_batch_sizes(label):
    found = compiled(COMPILED[label], label)
    assert found.outcome == "right", found.why


@pytest.mark.proof
@pytest.mark.filterwarnings("ignore")
def test_compiled_every_family_is_right_or_refused():
    labels = [label for label in ESTIMATORS if "," not in label]  # those of the usual draws
    cells = {(f, label): compiled(f, label) for label in labels for f in served(label)}
    assert not wrong(cells)
    rows = {}
    for label in labels:
        lost = [f for f in served(label) if cells[f, label].outcome != "right"]
        rows[label] = [_but(lost, served(label))], {"`torch.compile`": lost}
    _check("compiled", _table(["`torch.compile`"], rows))


@pytest.mark.slow
def test_the_page_says_what_was_found():
    rows = {}
    for label in ESTIMATORS:
        families = served(label)
        lost = {
            column: [f for f in families if any(cell(f, label, w).outcome != "right" for w in ways)]
            for column, ways in COLUMNS.items()
        }
        rows[label] = [str(len(families)), *(_but(x, families) for x in lost.values())], lost
    _check("differentiated", _table(["families, `backward`", *COLUMNS], rows))


def _but(lost, families):
    return "none" if lost == families else f"all but {len(lost)}" if lost else "all"


def _table(columns, rows):
    """The table, and below it which families are refused, those of equal lists together."""
    lines = [f"| estimator | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    exceptions = {}
    for label, (cells, lost) in rows.items():
        lines.append(f"| {label} | {' | '.join(cells)} |")
        for column, names in lost.items():
            if names and "none" not in cells:
                exceptions.setdefault((column, tuple(names)), []).append(label)
    lines.append("")
    for (column, names), labels in exceptions.items():
        lines.append(f"- {column}, {'; '.join(labels)}: not {'; '.join(names)}.")
    return "\n".join(lines)


def _check(name, table):
    version = ".".join(torch.__version__.split(".")[:2])
    start, end = f"<!-- {name}: made by tests/gradients/test_matrix.py", f"<!-- end of {name} -->"
    text = PAGE.read_text("utf-8")
    pattern = re.compile(rf"{re.escape(start)} with torch ([\d.]+) -->\n(.*?)\n{end}", re.DOTALL)
    found = pattern.search(text)
    assert found is not None, f"{PAGE} has no place for the table {name!r}"
    if WRITE:
        block = f"{start} with torch {version} -->\n{table}\n{end}"
        PAGE.write_text(text[: found.start()] + block + text[found.end() :], "utf-8")
    elif found[1] == version:  # others of torch's versions can and cannot do other things
        assert found[2] == table, "HUNCH_WRITE_TABLES=1 writes the table anew"


# ------------------------------------------------------------------ that it would be seen


@pytest.mark.parametrize(
    ("file", "what", "replacement", "seen"),
    [
        (score, "refuse_moving_support", lambda *_: None,
         ("Exponential, shifted", "score", "backward")),
        (pathwise, "_forward_only", lambda *_: False, None),
        (pathwise, "lacks_path", lambda dist: "" if dist.has_rsample else "none",
         ("OneHotCategoricalStraightThrough", "auto", "backward")),
    ],
)  # fmt: skip
def test_what_is_broken_is_seen(monkeypatch, file, what, replacement, seen):
    monkeypatch.setattr(file, what, replacement)
    if seen is None:  # path and score are both counted
        monkeypatch.setattr(pathwise, "hides_gradient", lambda *_: False)
        seen = ("Normal", "auto", "jvp")
    name, label, way = seen
    assert estimated(name, label, MODES[way], DRAWS).outcome == "WRONG"


def test_a_dirichlet_of_other_weights_would_be_seen(monkeypatch):
    right = torch_draws._Simplex.rsample
    monkeypatch.setattr(
        torch_draws._Simplex, "rsample", lambda self, shape=(): right(self, shape).sqrt()
    )
    assert estimated("Beta", "score", MODES["jvp"], DRAWS).outcome == "WRONG"


def test_all_of_torch_is_there():
    kinds = {
        name
        for name in torch.distributions.__all__
        if isinstance(getattr(torch.distributions, name), type)
        and issubclass(getattr(torch.distributions, name), torch.distributions.Distribution)
    }
    abstract = {"Distribution", "ExponentialFamily", "TransformedDistribution"}
    assert kinds - abstract <= set(FAMILIES)
