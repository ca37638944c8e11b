"""Key maps that let the checkpoints of other libraries' noisy layers load into ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def adopt_layout(state: dict[str, Any], prefix: str, own: Mapping[str, Tensor]) -> None:
    """Rename the keys of one layer in `state`, in place, from a known foreign layout to ours."""
    if prefix + "weight_sigma" not in state and prefix + "bias_sigma" not in state:
        for name in ("weight_sigma", "bias_sigma"):
            if name in own and prefix + name.removesuffix("_sigma") in state:
                state[prefix + name] = own[name]
