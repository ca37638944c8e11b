"""What holds before each example of the gallery."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def calm(_settings: Any, _name: str) -> None:
    """One thread, and seeds where an example forgot its own: the same figures every time."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - for other libraries that draw from it
    random.seed(0)
