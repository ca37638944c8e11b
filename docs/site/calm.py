"""What holds before each example of the gallery."""

from __future__ import annotations

import random
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch


def calm(_settings: Any, _name: str) -> None:
    """One thread, one look, and seeds where an example forgot its own."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - for other libraries that draw from it
    random.seed(0)
    plt.rcParams.update(
        {
            "axes.grid": True,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 10.5,
            "grid.alpha": 0.25,
            "legend.frameon": False,
        }
    )
