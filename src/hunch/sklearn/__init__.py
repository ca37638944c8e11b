"""Estimators for scikit-learn: randomised priors for anybody's table (extra `sklearn`).

    from hunch import RandomizedPriorClassifier, RandomizedPriorRegressor
    from hunch import DoubtClassifier, DoubtRegressor

The first two train an ensemble of small networks, each with a fixed random function of its own
added to it, and use what each member did not see to say how far predictions are off. The other two
say so of a model that is fitted already, and leave its predictions alone.
"""

from __future__ import annotations

from hunch.errors import MissingDependencyError

try:
    import sklearn.utils.validation as _validation
except ImportError as error:
    raise MissingDependencyError(
        "hunch's estimators need scikit-learn, which is not installed; "
        'install it with: pip install "torch-hunch[sklearn]"'
    ) from error
if not hasattr(_validation, "validate_data"):
    raise MissingDependencyError(
        "hunch's estimators need scikit-learn 1.6 or newer, and an older one is installed; "
        'bring it up to date with: pip install --upgrade "torch-hunch[sklearn]"'
    )

from hunch.sklearn.classifier import RandomizedPriorClassifier
from hunch.sklearn.doubt_classifier import DoubtClassifier
from hunch.sklearn.doubt_regressor import DoubtRegressor
from hunch.sklearn.regressor import RandomizedPriorRegressor

__all__ = [
    "DoubtClassifier",
    "DoubtRegressor",
    "RandomizedPriorClassifier",
    "RandomizedPriorRegressor",
]
