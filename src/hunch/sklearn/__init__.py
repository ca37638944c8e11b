"""Estimators for scikit-learn: randomised priors for anybody's table (extra `sklearn`).

    from hunch import RandomizedPriorClassifier, RandomizedPriorRegressor
    from hunch import DoubtClassifier, DoubtRegressor

The first two train an ensemble of small networks, each with a fixed random function of its own
added to it, and use what each member did not see to say how far predictions are off. The other two
say so of a model that is fitted already, and leave its predictions alone.

scikit-learn is imported with the first of them, not with this page: what has been learned can be
asked without it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from hunch.errors import MissingDependencyError

_FILES: Final = {
    "DoubtClassifier": "doubt_classifier",
    "DoubtRegressor": "doubt_regressor",
    "RandomizedPriorClassifier": "classifier",
    "RandomizedPriorRegressor": "regressor",
}

__all__ = [
    "DoubtClassifier",
    "DoubtRegressor",
    "RandomizedPriorClassifier",
    "RandomizedPriorRegressor",
]

if TYPE_CHECKING:
    from hunch.sklearn.classifier import RandomizedPriorClassifier as RandomizedPriorClassifier
    from hunch.sklearn.doubt_classifier import DoubtClassifier as DoubtClassifier
    from hunch.sklearn.doubt_regressor import DoubtRegressor as DoubtRegressor
    from hunch.sklearn.regressor import RandomizedPriorRegressor as RandomizedPriorRegressor


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module 'hunch.sklearn' has no attribute {name!r}")
    _check_version()
    return getattr(importlib.import_module(f"hunch.sklearn.{_FILES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def _check_version() -> None:
    """Refuse to begin without scikit-learn, or with one too old."""
    try:
        validation = importlib.import_module("sklearn.utils.validation")
    except ImportError as error:
        raise MissingDependencyError(
            "hunch's estimators need scikit-learn, which is not installed; "
            'install it with: pip install "torch-hunch[sklearn]"'
        ) from error
    if not hasattr(validation, "validate_data"):
        raise MissingDependencyError(
            "hunch's estimators need scikit-learn 1.6 or newer, and an older one is installed; "
            'bring it up to date with: pip install --upgrade "torch-hunch[sklearn]"'
        )
