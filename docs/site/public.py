"""What is public: each package's `__all__`, page by page, and whether each name got an entry."""

from __future__ import annotations

import importlib
from typing import Any, Final, NamedTuple

# Imported by adapters alone; the site says what they do without having them installed.
EXTRAS_NOT_NEEDED: Final = ["botorch", "gpytorch", "stable_baselines3", "ale_py", "cv2"]

# Whose members are not repeated under the classes that derive from them.
BASES: Final = (
    "object", "Module", "BaseException", "Exception", "Warning", "Env", "VectorEnv", "Wrapper",
    "tuple", "BaseEstimator", "RegressorMixin", "ClassifierMixin", "MultiOutputMixin",
    "Protocol", "Generic", "DQNPolicy", "EnsembleModel", "DeterministicModel",
)  # fmt: skip


class Package(NamedTuple):
    """One page of the reference: a module, and names if it has no `__all__`."""

    module: str
    purpose: str
    names: tuple[str, ...] = ()


PACKAGES: Final = (
    Package("hunch.nn", "modules whose randomness means something"),
    Package("hunch.inference", "from data to a predictive distribution"),
    Package("hunch.gradients", "the gradient of an expectation"),
    Package("hunch.rl", "agents, and what a run of them leaves behind"),
    Package("hunch.comparison", "agents held beside each other, and how surely"),
    Package("hunch.rl.atari", "Atari games, preprocessed (extra `atari`)"),
    Package("hunch.rl.minatar", "MinAtar games, resumable (extra `minatar`)"),
    Package("hunch.envs", "environments that ask for exploration"),
    Package("hunch.sklearn", "estimators for scikit-learn (extra `sklearn`)"),
    Package("hunch.tables", "from a file to predictions with error bars (extra `tabular`)"),
    Package("hunch.plots", "figures and the pages they stand on (extra `plot`)"),
    Package("hunch.studies", "many runs in a folder that workers share"),
    Package("hunch.charts", "plain charts as SVG, for pages and notebooks"),
    Package("hunch.storage", "folders and files that are written whole or not at all"),
    Package("hunch.experiments.demo", "what `hunch demo` runs"),
    Package("hunch.cli", "the program, called from Python"),
    Package(
        "hunch.adapters.sb3",
        "noisy layers in Stable-Baselines3 (extra `sb3`)",
        ("NoisyDQNPolicy",),
    ),
    Package(
        "hunch.adapters.botorch",
        "ensembles as BoTorch models (extra `botorch`)",
        ("RandomizedPriorModel", "ThompsonPath"),
    ),
    Package(
        "hunch.errors",
        "every exception that the library raises",
        (
            "HunchError",
            "ConfigurationError",
            "ShapeError",
            "DataError",
            "FolderError",
            "MissingDependencyError",
            "HunchWarning",
        ),
    ),
)


def names_of(package: Package) -> list[str]:
    """The public names of a package, in the order of its `__all__`."""
    return list(package.names or importlib.import_module(package.module).__all__)


def _check(app: Any, env: Any) -> None:
    """Warn, which fails the build, of each public name without an entry."""
    from sphinx.util import logging

    there = {name for name, *_ in env.domains.python_domain.get_objects()}
    for package in PACKAGES:
        for name in names_of(package):
            if f"{package.module}.{name}" not in there:
                logging.getLogger(__name__).warning(
                    "%s.%s is public and has no entry in the reference", package.module, name
                )


def setup(app: Any) -> None:
    """Check when all pages are read."""
    app.connect("env-check-consistency", _check)
