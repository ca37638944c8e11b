import json
import math
from pathlib import Path

import pytest
import torch

from hunch.errors import ConfigurationError, DataError, ShapeError
from hunch.inference import (
    ClassPredictive,
    Predictive,
    accuracy,
    brier,
    calibration_error,
    dyadic_batches,
    ensemble_crps,
    expected_calibration_error,
    gaussian_crps,
    gaussian_nll,
    interval_coverage,
    interval_score,
    joint_nll,
    mixture_crps,
    nll,
)

# Made by make_scores.py beside this file.
S = {
    name: torch.tensor(value, dtype=torch.int64 if name == "label" else torch.float64)
    for name, value in json.loads(
        (Path(__file__).parent / "data" / "scores.json").read_text("utf-8")
    ).items()
}
Y, MEMBERS, STDS, MEAN, STD = (S[name] for name in ("y", "members", "stds", "mean", "std"))
G = torch.Generator().manual_seed(0)

OTHERS = {
    "uct_nll": lambda: gaussian_nll(MEAN, STD, Y).mean(),
    "uct_crps": lambda: gaussian_crps(MEAN, STD, Y).mean(),
    "uct_calibration": lambda: calibration_error(
        Predictive(MEAN.unsqueeze(0), STD).distribution().cdf(Y)
    ),
    "crps_normal": lambda: gaussian_crps(MEAN, STD, Y),
    "crps_ensemble": lambda: ensemble_crps(MEMBERS, Y),
    "crps_fair": lambda: ensemble_crps(MEMBERS, Y, fair=True),
    "crps_mixture": lambda: mixture_crps(MEMBERS, STDS, Y),
    "interval": lambda: interval_score(S["low"], S["high"], Y, coverage=0.8),
    "logs_mixture": lambda: nll(Predictive(MEMBERS, STDS).member_log_prob(Y)),
    "brier": lambda: brier(S["probs"], S["label"]).mean(),
    "accuracy": lambda: accuracy(S["probs"], S["label"]),
    "log_loss": lambda: nll(
        ClassPredictive(S["probs"].log()[None]).member_log_prob(S["label"])
    ).mean(),
}


@pytest.mark.parametrize("name", OTHERS)
def test_equal_to_other_packages(name):
    torch.testing.assert_close(OTHERS[name](), S[name], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ["crps_normal", "crps_mixture", "crps_ensemble"])
def test_crps_is_the_integral(name):
    t = torch.linspace(-12, 12, 200_001, dtype=torch.float64).unsqueeze(1)
    y = Y[:5]
    cdf = {
        "crps_normal": lambda: torch.special.ndtr((t - MEAN[:5]) / STD[:5]),
        "crps_mixture": lambda: torch.stack(
            [
                torch.special.ndtr((t - m) / s)
                for m, s in zip(MEMBERS[:, :5], STDS[:, :5], strict=True)
            ]
        ).mean(0),
        "crps_ensemble": lambda: torch.stack([(m <= t).double() for m in MEMBERS[:, :5]]).mean(0),
    }[name]()
    integral = torch.trapezoid((cdf - (t >= y).double()).square(), t[:, 0], dim=0)
    torch.testing.assert_close(OTHERS[name]()[:5], integral, rtol=0, atol=2e-4)


def test_crps_of_all_ends_meet():
    torch.testing.assert_close(mixture_crps(MEMBERS, 1e-9, Y), ensemble_crps(MEMBERS, Y))
    torch.testing.assert_close(
        mixture_crps(MEAN.expand(4, 40), STD, Y), gaussian_crps(MEAN, STD, Y)
    )
    # The fair score of few members is on average that of many; 5 standard errors.
    many = torch.randn(4, 200_000, dtype=torch.float64, generator=G)
    zero = torch.zeros(200_000, dtype=torch.float64)
    fair, plain = (ensemble_crps(many, zero, fair=f) for f in (True, False))
    limit = gaussian_crps(torch.tensor(0.0), torch.tensor(1.0), torch.tensor(0.0)).item()
    assert abs(fair.mean().item() - limit) < 5 * fair.std().item() / 200_000**0.5
    assert plain.mean() > 1.3 * limit


def test_scores_can_be_differentiated():
    few = [t[..., :3].clone().requires_grad_() for t in (MEMBERS, STDS, Y)]
    one = [t[0] for t in few[:2]] + few[2:]
    check = torch.autograd.gradcheck
    assert check(mixture_crps, few)
    assert check(ensemble_crps, (few[0], few[2]))
    for score in (gaussian_crps, gaussian_nll):
        assert check(score, [t.detach().requires_grad_() for t in one])


def test_joint_likelihood_is_the_product_within_a_member():
    log_prob = torch.randn(7, 12, dtype=torch.float64, generator=G)
    batches = torch.tensor([[0, 1, 1], [5, 5, 5], [2, 11, 3]])
    for batch, found in zip(batches, joint_nll(log_prob, batches), strict=True):
        product = torch.stack([log_prob[:, t] for t in batch]).sum(0).exp()
        assert math.isclose(found.item(), -product.mean().log().item(), rel_tol=1e-9)
    torch.testing.assert_close(joint_nll(log_prob, torch.arange(12)[:, None]), nll(log_prob))


def test_joint_likelihood_tells_members_from_noise():
    # A coin whose side is one for all: members that know the two sides, against one that says ½.
    y = torch.zeros(1).long()
    sides = ClassPredictive(torch.tensor([[[5.0, -5.0]], [[-5.0, 5.0]]])).member_log_prob(y)
    coin = ClassPredictive(torch.zeros(1, 1, 2)).member_log_prob(y)
    torch.testing.assert_close(nll(sides), nll(coin), rtol=1e-3, atol=1e-3)
    ten = torch.zeros(1, 10).long()
    assert joint_nll(sides, ten).item() < 0.7
    assert joint_nll(coin, ten).item() > 6.9


def test_dyadic_batches_repeat_two_anchors_of_all_data():
    batches = dyadic_batches(30, 5000, seed=1)
    assert batches.shape == (5000, 10)
    distinct = torch.tensor([len(set(row.tolist())) for row in batches])
    assert distinct.max() == 2
    # All from one anchor: 1 in 512, so about 10 of 5,000.
    assert 1 <= (distinct == 1).sum() <= 30
    # 5,000 first points over 30 data: 167 each, standard deviation 12.7; 6 of them.
    counts = batches[:, 0].bincount(minlength=30)
    assert (counts - 5000 / 30).abs().max() < 6 * 12.7
    assert dyadic_batches(30, 50, seed=1).equal(dyadic_batches(30, 50, seed=1))
    assert not dyadic_batches(30, 50, seed=1).equal(dyadic_batches(30, 50, seed=2))
    three = dyadic_batches(3, 200, size=40, num_anchors=3)
    assert all(set(row.tolist()) == {0, 1, 2} for row in three)


def test_calibration_of_right_and_wrong_forecasts():
    y = torch.randn(20_000, 2, dtype=torch.float64, generator=G)
    cdf = torch.distributions.Normal(0.0, torch.tensor([1.0, 3.0])).cdf(y)
    right, wide = calibration_error(cdf)
    assert right < 0.01  # 0.3/√n = 0.002
    # In closed form: coverage c is promised and erf(3 erfinv(c)) is kept.
    c = torch.linspace(0, 1, 100, dtype=torch.float64)
    expected = (torch.erf(3 * torch.erfinv(c)) - c).mean()
    assert abs(wide - expected) < 0.01
    low, high = torch.zeros(4, 1), torch.tensor([[1.0], [2], [3], [4]])
    assert interval_coverage(low, high, torch.full((4, 1), 2.0)).item() == 0.75


def test_expected_calibration_error_is_the_mean_gap_of_the_bins():
    probs, y = S["probs"], S["label"]
    confidence, guess = probs.max(1)
    total = 0.0
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        if inside.any():
            gap = confidence[inside].mean() - (guess == y)[inside].double().mean()
            total += inside.double().mean() * gap.abs()
    torch.testing.assert_close(expected_calibration_error(probs, y), total)


def test_wrong_use_is_refused():
    with pytest.raises(ConfigurationError, match="`fair` got True for one member"):
        ensemble_crps(MEMBERS[:1], Y, fair=True)
    with pytest.raises(ConfigurationError, match="`coverage` got 90"):
        interval_score(MEAN, MEAN, Y, coverage=90)
    with pytest.raises(ConfigurationError, match="`num_levels` got 1"):
        calibration_error(Y, num_levels=1)
    with pytest.raises(ConfigurationError, match="`num_bins` got 0"):
        expected_calibration_error(S["probs"], S["label"], num_bins=0)
    with pytest.raises(ConfigurationError, match="`num_data` got 1; expected at least num_anch"):
        dyadic_batches(1, 3)
    with pytest.raises(ConfigurationError, match="`size` got 0"):
        dyadic_batches(5, 3, size=0)
    with pytest.raises(ShapeError, match="`log_prob` got shape"):
        joint_nll(torch.zeros(3, 4, 1), torch.zeros(2, 2).long())
    with pytest.raises(ShapeError, match="`probs` got shape"):
        brier(S["probs"], S["label"][:3])
    with pytest.raises(DataError, match="`y` holds classes from 4 to 4; expected 0 to 3"):
        accuracy(S["probs"], torch.full((40,), 4))
