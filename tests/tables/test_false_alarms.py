"""How often `hunch monitor` alarms on rows drawn as those of training were, and on others."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from hunch.tables import Columns, chances
from hunch.tables.drift import drift, kept_of_training, tally_of_rows
from hunch.tables.monitoring import FALSE_ALARMS, _compared, _far, _verdict


def text(rng, rows, values, decay=1.0):
    """Cells of which the k-th value is had by a share in proportion to k ** -decay."""
    share = np.arange(1.0, values + 1) ** -decay
    return np.array([f"v{i}" for i in range(values)])[
        rng.choice(values, rows, p=share / share.sum())
    ]


def numbers(rng, rows):
    return {
        "normal": rng.normal(size=rows),
        "skewed": np.exp(2 * rng.normal(size=rows)),
        "even": rng.uniform(size=rows),
        "counts": rng.poisson(3, rows).astype(float),
        "heavy": rng.standard_t(2, rows),
    }


def few_categories(rng, rows):
    return {"a": text(rng, rows, 3), "b": text(rng, rows, 8), "c": text(rng, rows, 5, 2.0)}


def many_categories(rng, rows):
    return {
        "alike": text(rng, rows, 30, 0.0),
        "hundred": text(rng, rows, 100),
        "thousand": text(rng, rows, 1000),
        "some": text(rng, rows, 25, 1.5),
        "all rare": text(rng, rows, 200, 0.0),
        "rare": text(rng, rows, 40, 1.5),
    }


def with_gaps(rng, rows):
    found = {
        k: np.where(rng.uniform(size=rows) < 0.1, np.nan, v) for k, v in numbers(rng, rows).items()
    }
    words = many_categories(rng, rows).items()
    return found | {k: np.where(rng.uniform(size=rows) < 0.05, "", v) for k, v in words}


TABLES: dict[str, Callable] = {
    "numbers": numbers,
    "few categories": few_categories,
    "many categories": many_categories,
    "gaps": with_gaps,
}


def verdict(trained, new):
    """What is said of rows whose truth is not known."""
    columns = Columns.learn(trained)
    kept = kept_of_training(columns, trained)
    tallies = tally_of_rows(columns, new, {name: own.edges for name, own in kept.items()})
    drifts = {c.name: drift(c, kept[c.name].tally, tallies[c.name]) for c in _compared(columns)}
    outside = int(columns.encode(new)[1].sum())
    far = _far(columns, kept, tallies)
    return _verdict(new.num_rows, outside, None, None, drifts, far, 0.9, trained.num_rows)[0]


def alarms(kind, trained, rows, files, seed, change=lambda cells, rng: cells):
    rng = np.random.default_rng(seed)
    count = 0
    for _ in range(files):
        old = pa.table(TABLES[kind](rng, trained))
        new = pa.table(change(TABLES[kind](rng, rows), rng))
        count += verdict(old, new) != "keep"
    return count


@pytest.mark.parametrize("kind", TABLES)
def test_at_most_one_file_in_a_hundred_is_called_anything_but_keep(kind):
    """Of 80 files, trained on 60 and 600 rows, of 10 to 1,000 rows.

    0.8 are expected at the stated rate of one in a hundred; more than 4 come in one run of 700. It
    was 12 % with numbers, 6 % with few categories and 61 % with many and with gaps when shares of
    rows were held against fixed limits, and values chosen by how often training has them.
    """
    found = sum(
        alarms(kind, trained, rows, 10, seed=1)
        for trained in (60, 600)
        for rows in (10, 30, 100, 1000)
    )
    assert found <= 4
    assert FALSE_ALARMS == 0.01


@pytest.mark.proof
@pytest.mark.parametrize("rows", [10, 30, 100, 1000])
@pytest.mark.parametrize("trained", [60, 600])
@pytest.mark.parametrize("kind", TABLES)
def test_at_each_size_one_file_in_a_hundred(kind, trained, rows):
    """Of 400 files; 4 are expected at the stated rate, more than 10 in one of 300 cases."""
    found = alarms(kind, trained, rows, 400, seed=2)
    print(f"{kind}, trained on {trained}, {rows} rows: {found / 400:.2%}")
    assert found <= 10


def unit(cells, rng):
    return cells | {"even": 100 * cells["even"]}


def mean(cells, rng):
    return cells | {"normal": cells["normal"] + 1}


def new_value(column):
    def change(cells, rng):
        new = rng.uniform(size=len(cells[column])) < 0.2
        return cells | {column: np.where(new, "new", cells[column])}

    return change


@pytest.mark.parametrize(
    ("change", "rows", "least"),
    [
        (unit, 10, 20),
        (unit, 1000, 20),
        (mean, 30, 5),
        (mean, 100, 20),
        (new_value("some"), 30, 16),
        (new_value("some"), 100, 20),
        (new_value("thousand"), 100, 16),
        (new_value("thousand"), 1000, 20),
    ],
)
def test_real_changes_are_seen(change, rows, least):
    """Of 20 files in which one column of eleven is of another unit, mean or value.

    A mean is moved by its deviation, and a new value is in 20 % of the rows.
    """
    assert alarms("gaps", 600, rows, 20, seed=3, change=change) >= least


def test_chances_are_those_of_permutations():
    """Bounds and approximations against 20,000 ways to share rows out between two samples."""
    rng = np.random.default_rng(0)
    for _ in range(5):
        before = rng.multinomial(60, rng.dirichlet(np.full(25, 0.5)))
        after = rng.multinomial(30, rng.dirichlet(np.full(25, 0.5)))
        total = before + after
        drawn = rng.multivariate_hypergeometric(total, 30, size=20_000, method="marginals")
        new = after[before == 0].sum()
        alone = (drawn * (drawn == total)).sum(axis=1)
        assert chances.of_new_values(before, after, (60, 30)) >= np.mean(alone >= new) - 0.01
    assert chances.of_far_numbers(1, 3, (600, 30)) >= chances.of_so_many(3, 4, (600, 30))


def test_exact_tests_are_scipys():
    stats = pytest.importorskip("scipy.stats")
    found = chances.of_so_many(4, 9, (50, 30))
    assert found == pytest.approx(stats.hypergeom.sf(3, 80, 9, 30), rel=1e-9)
    found = chances.of_misses(8, 30, 0.1, 600)
    assert found == pytest.approx(stats.betabinom.sf(7, 30, 60, 540), rel=1e-9)
