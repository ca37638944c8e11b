import os

# Small problems on two busy cores: a second thread only waits for the first, so there is one unless
# HUNCH_TEST_THREADS says more. Set before anything is imported, it also holds for scikit-learn's
# trees, which count for themselves, and for the processes that tests start.
os.environ["OMP_NUM_THREADS"] = os.environ.get("HUNCH_TEST_THREADS", "1")

import pytest
import torch

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture
def undrawn(monkeypatch):
    """Pages with the title of each figure in its place: to draw takes most of a page's time."""
    monkeypatch.setattr(
        "hunch.plots.page.to_svg",
        lambda figure: f"<svg ><!-- {figure.axes[0].get_title(loc='left')} --></svg>",
    )
