"""hunch: networks whose randomness means something.

- `hunch.nn`: noisy layers, ensembles, randomised priors.
- `hunch.inference`: data in, a predictive distribution out.
- `hunch.gradients`: the gradient of an expectation, for any distribution.
- `hunch.rl`: agents that explore.
- `hunch.studies`: many runs in a folder that workers share.
- `hunch.tables`: a table file in, a model and a report out.
- `hunch.envs`: environments that ask for it, without torch.
- `hunch.RandomizedPriorRegressor`, `hunch.RandomizedPriorClassifier`: for scikit-learn.
- `hunch.DoubtRegressor`, `hunch.DoubtClassifier`: for a model that is fitted already.

This page is light: torch is imported when one of the packages above is first used.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PACKAGES = (
    "envs",
    "errors",
    "experiments",
    "gradients",
    "inference",
    "nn",
    "plots",
    "rl",
    "studies",
    "tables",
)
_ESTIMATORS = (
    "DoubtClassifier",
    "DoubtRegressor",
    "RandomizedPriorClassifier",
    "RandomizedPriorRegressor",
)

__all__ = ["__version__", *_PACKAGES]

if TYPE_CHECKING:
    from hunch import envs as envs
    from hunch import errors as errors
    from hunch import experiments as experiments
    from hunch import gradients as gradients
    from hunch import inference as inference
    from hunch import nn as nn
    from hunch import plots as plots
    from hunch import rl as rl
    from hunch import studies as studies
    from hunch import tables as tables
    from hunch.sklearn import DoubtClassifier as DoubtClassifier
    from hunch.sklearn import DoubtRegressor as DoubtRegressor
    from hunch.sklearn import RandomizedPriorClassifier as RandomizedPriorClassifier
    from hunch.sklearn import RandomizedPriorRegressor as RandomizedPriorRegressor


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"hunch.{name}")
    if name in _ESTIMATORS:
        return getattr(importlib.import_module("hunch.sklearn"), name)
    raise AttributeError(f"module 'hunch' has no attribute {name!r}")


def __dir__() -> list[str]:
    # What lists a module's names also looks them up, and an extra may be missing.
    there = _ESTIMATORS if importlib.util.find_spec("sklearn") else ()
    return sorted([*globals(), *there, *_PACKAGES])
