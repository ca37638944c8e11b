"""Write data/scores.json: what other packages answer on a small problem.

uncertainty-toolbox 0.1.1, scoringrules 0.10, properscoring 0.1, scikit-learn 1.9. Run by hand in an
environment that has them: `python tests/inference/make_scores.py`.
"""

import json
from pathlib import Path

import numpy as np
import properscoring
import scoringrules
import uncertainty_toolbox as uct
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss


def main():
    rng = np.random.default_rng(0)
    y, members = rng.normal(size=40), 0.3 + rng.normal(size=(6, 40))
    stds = 0.2 + rng.random((6, 40))
    mean, std = members.mean(0), stds.mean(0)
    low, high = mean - 1.3 * std, mean + 1.1 * std
    label, probs = rng.integers(4, size=40), rng.dirichlet([1, 2, 3, 4], size=40)
    out = {"y": y, "members": members, "stds": stds, "mean": mean, "std": std}
    out |= {"low": low, "high": high, "label": label, "probs": probs}
    out["uct_nll"] = uct.nll_gaussian(mean, std, y)
    out["uct_crps"] = uct.crps_gaussian(mean, std, y)
    out["uct_calibration"] = uct.mean_absolute_calibration_error(mean, std, y)
    out["crps_normal"] = scoringrules.crps_normal(y, mean, std)
    out["crps_ensemble"] = properscoring.crps_ensemble(y, members.T)
    out["crps_fair"] = scoringrules.crps_ensemble(y, members.T, estimator="fair")
    out["crps_mixture"] = scoringrules.crps_mixnorm(y, members.T, stds.T)
    out["interval"] = scoringrules.interval_score(y, low, high, 0.2)
    out["logs_mixture"] = scoringrules.logs_mixnorm(y, members.T, stds.T)
    out["brier"] = brier_score_loss(label, probs, scale_by_half=False)
    out["accuracy"] = accuracy_score(label, probs.argmax(1))
    out["log_loss"] = log_loss(label, probs)
    plain = {name: np.asarray(value).tolist() for name, value in out.items()}
    path = Path(__file__).parent / "data" / "scores.json"
    path.write_text(json.dumps(plain) + "\n", "utf-8")


if __name__ == "__main__":
    main()
