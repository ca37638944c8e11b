"""Record what rliable says of three sets of scores, for `tests/comparison/rliable.json`.

    pip install rliable==1.2.0 arch==7.2.0 scipy==1.17.1 numpy==2.4.6 "pandas<3"
    python tools/record_rliable.py

It needs an environment with rliable, which imports with pandas < 3 alone, and nothing of hunch.
Resamples come from numpy's global `RandomState`, seeded here, since rliable 1.2.0 draws from it
whatever `random_state` it is given.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import rliable.library as rly
from rliable import metrics

PLACE: Final = Path(__file__).parents[1] / "tests" / "comparison" / "rliable.json"
SEED, RESAMPLES = 20, 300
FIGURES: Final = {
    "interquartile_mean": metrics.aggregate_iqm,
    "mean_score": metrics.aggregate_mean,
    "median_score": metrics.aggregate_median,
    "optimality_gap": metrics.aggregate_optimality_gap,
}


def score_sets() -> dict[str, tuple[Any, Any]]:
    """For each name the scores `(seeds, environments)` of two agents."""
    draws = np.random.default_rng(7)
    tied = draws.choice([0.0, 0.99, 0.99, 1.0], size=(5, 4)), draws.choice([0.0, 0.99], size=(5, 4))
    skewed = np.exp(draws.normal(size=(11, 6))) - 0.5, np.exp(draws.normal(0.3, size=(7, 6))) - 0.5
    cartpole = [
        [500, 52, 500, 349, 500, 500, 77, 500],
        [185, 500, 136, 433, 500, 468, 143, 319],
    ]
    first, second = (np.array(own, float)[:, None] / 500 for own in cartpole)
    return {"cartpole": (first, second), "tied": tied, "skewed": skewed}


def recorded(first: Any, second: Any) -> dict[str, Any]:
    """All figures of two agents, with intervals of `RESAMPLES` draws from `SEED`."""
    found: dict[str, Any] = {"scores": [first.tolist(), second.tolist()], "figures": {}}
    for name, figure in FIGURES.items():
        np.random.seed(SEED)  # noqa: NPY002, the only one that rliable listens to
        points, ends = rly.get_interval_estimates(
            {"first": first}, lambda x, f=figure: np.array([f(x)]), reps=RESAMPLES
        )
        found["figures"][name] = [points["first"].tolist(), ends["first"].tolist()]
    np.random.seed(SEED)  # noqa: NPY002
    points, ends = rly.get_interval_estimates(
        {"pair": [first, second]},
        lambda x, y: np.array([metrics.probability_of_improvement(x, y)]),
        reps=RESAMPLES,
    )
    found["probability_of_improvement"] = [points["pair"].tolist(), ends["pair"].tolist()]
    thresholds = np.linspace(-0.5, 1.5, 9)
    np.random.seed(SEED)  # noqa: NPY002
    shares, bands = rly.create_performance_profile({"first": first}, thresholds, reps=RESAMPLES)
    found["thresholds"] = thresholds.tolist()
    found["performance_profile"] = [shares["first"].tolist(), bands["first"].tolist()]
    return found


def main() -> None:
    """Write the file."""
    packages = ("rliable", "arch", "scipy", "numpy")
    text = {
        "versions": {name: version(name) for name in packages},
        "seed": SEED,
        "resamples": RESAMPLES,
        "sets": {name: recorded(*pair) for name, pair in score_sets().items()},
    }
    PLACE.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
