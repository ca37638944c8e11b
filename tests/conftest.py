import collections
import os
import random

# Small problems on two busy cores: a second thread only waits for the first, so there is one unless
# HUNCH_TEST_THREADS says more. Set before anything is imported, it also holds for scikit-learn's
# trees, which count for themselves, and for the processes that tests start.
os.environ["OMP_NUM_THREADS"] = os.environ.get("HUNCH_TEST_THREADS", "1")

import numpy as np
import pytest
import torch

from hunch import interrupts
from hunch.plots import page
from hunch.plots.page import to_svg
from hunch.sklearn import boosting

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

ALL_TREES = boosting._SIZES
FEW_TREES = ((np.inf, 30, 15),)


def pytest_addoption(parser):
    parser.addoption(
        "--thorough",
        action="store_true",
        help="also the tests marked slow, and all the trees that estimators grow for themselves",
    )


def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.get_closest_marker("proof"):
            item.fixturenames[:0] = ["all_trees", "drawn"]
    if config.getoption("--thorough"):
        return
    slow = {item for item in items if item.get_closest_marker("slow")}
    seen = collections.Counter()
    for item in items:
        if (some := item.get_closest_marker("every")) is not None:
            case = (item.path, item.originalname)
            if seen[case] % some.args[0]:
                slow.add(item)
            seen[case] += 1
    config.hook.pytest_deselected(items=list(slow))
    items[:] = [item for item in items if item not in slow]


@pytest.fixture(autouse=True)
def same_global_state():
    """Begin in one place: torch's generator begins elsewhere in each process.

    Of 2,000 draws two are alike in one process of ten.
    """
    if (before := interrupts._program).asked:  # what ended a test before does not end this one
        before.heard, interrupts._program = True, type(before)()
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def sparing(request):
    """To grow 600 trees and to draw a page's figures takes most of a small fit's time.

    Few tests are about what the last trees add, or about what is drawn.
    """
    if not request.config.getoption("--thorough"):
        boosting._SIZES = FEW_TREES
        page.to_svg = title_of


def title_of(figure):
    """In the place of a figure."""
    return f"<svg ><!-- {figure.axes[0].get_title(loc='left')} --></svg>"


@pytest.fixture(scope="module")
def all_trees(sparing):
    few, boosting._SIZES = boosting._SIZES, ALL_TREES
    yield
    boosting._SIZES = few


@pytest.fixture(scope="module")
def drawn(sparing):
    quick, page.to_svg = page.to_svg, to_svg
    yield
    page.to_svg = quick
