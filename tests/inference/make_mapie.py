"""Write data/mapie.json: what MAPIE answers on a small problem (MAPIE 1.6, scikit-learn 1.9).

Run by hand in an environment that has MAPIE: `python tests/inference/make_mapie.py`.
"""

import json
from pathlib import Path

import numpy as np
from mapie.classification import SplitConformalClassifier
from mapie.regression import JackknifeAfterBootstrapRegressor, SplitConformalRegressor
from mapie.subsample import Subsample
from sklearn.linear_model import LinearRegression, LogisticRegression


def main():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    y = x @ [1.0, -2.0] + 0.5 * rng.standard_t(3, size=60)
    new = 2 * rng.normal(size=(7, 2))
    out = {"y": y}

    resampling = Subsample(n_resamplings=25, random_state=0)
    weights = np.array([np.bincount(train, minlength=60) for train, _ in resampling.split(x)])
    fits = [LinearRegression().fit(x, y, sample_weight=w) for w in weights]
    jackknife = JackknifeAfterBootstrapRegressor(
        LinearRegression(), confidence_level=[0.8, 0.9], method="plus", resampling=resampling
    ).fit_conformalize(x, y)
    out |= {"weights": weights, "jackknife": jackknife.predict_interval(new)[1]}
    out |= {"members": [f.predict(x) for f in fits], "new_members": [f.predict(new) for f in fits]}

    half = LinearRegression().fit(x[:30], y[:30])
    split = SplitConformalRegressor(half, confidence_level=[0.8, 0.9], prefit=True)
    split.conformalize(x[30:], y[30:])
    out |= {"split_mean": half.predict(x[30:]), "split_new": half.predict(new)}
    out |= {"split": split.predict_interval(new)[1]}

    label = np.digitize(y, [-1, 1])
    classifier = LogisticRegression().fit(x[:30], label[:30])
    sets = SplitConformalClassifier(classifier, confidence_level=[0.8, 0.9], prefit=True)
    sets.conformalize(x[30:], label[30:])
    out |= {"label": label[30:], "probs": classifier.predict_proba(x[30:])}
    out |= {"new_probs": classifier.predict_proba(new), "sets": sets.predict_set(new)[1]}

    plain = {name: np.asarray(value).tolist() for name, value in out.items()}
    path = Path(__file__).parent / "data" / "mapie.json"
    path.write_text(json.dumps(plain) + "\n", "utf-8")


if __name__ == "__main__":
    main()
