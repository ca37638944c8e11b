"""Scores and intervals refuse what they would once have broadcast, or counted as a number."""

import pytest
import torch

from hunch.errors import DataError, ShapeError
from hunch.inference import (
    accuracy,
    bootstrap_weights,
    brier,
    calibration_error,
    conformal_classes,
    ensemble_crps,
    expected_calibration_error,
    gaussian_crps,
    gaussian_nll,
    interval_coverage,
    interval_score,
    jackknife_after_bootstrap,
    mixture_crps,
    split_conformal,
)

FLAT, COLUMN, MEMBERS = torch.randn(6), torch.randn(6, 1), torch.randn(4, 6, 1)
ONE, NAN = torch.ones(6), torch.full((6,), torch.nan)
PROBS, CLASSES = torch.full((6, 2), 0.5), torch.zeros(6).long()
WEIGHTS = bootstrap_weights("poisson", 4, range(6))
SHAPES = {
    "gaussian_nll": lambda: gaussian_nll(COLUMN, ONE, FLAT),
    "gaussian_crps": lambda: gaussian_crps(COLUMN, COLUMN.exp(), FLAT),
    "its std": lambda: gaussian_crps(COLUMN, ONE, COLUMN),
    "ensemble_crps": lambda: ensemble_crps(MEMBERS, FLAT),
    "mixture_crps": lambda: mixture_crps(MEMBERS, 1.0, FLAT),
    "its noise": lambda: mixture_crps(MEMBERS, torch.ones(2, 6), COLUMN),
    "interval_score": lambda: interval_score(COLUMN, COLUMN, FLAT, coverage=0.9),
    "interval_coverage": lambda: interval_coverage(COLUMN, COLUMN, FLAT),
    "split_conformal": lambda: split_conformal(COLUMN, FLAT),
    "its scale": lambda: split_conformal(COLUMN, COLUMN, scale=ONE),
    "its interval": lambda: split_conformal(FLAT, FLAT).interval(COLUMN),
    "its interval's scale": lambda: split_conformal(FLAT, FLAT, scale=ONE).interval(
        FLAT, scale=torch.ones(6, 1)
    ),
    "jackknife": lambda: jackknife_after_bootstrap(MEMBERS, WEIGHTS, FLAT, MEMBERS),
    "classes of a float": lambda: brier(PROBS, CLASSES.double()),
    "a column of classes": lambda: accuracy(PROBS, CLASSES[:, None]),
    "new probabilities": lambda: conformal_classes(PROBS, CLASSES, PROBS[:, 0]),
}
VALUES = {
    "a negative std": lambda: gaussian_crps(FLAT, -ONE, FLAT),
    "a std of NaN": lambda: gaussian_nll(FLAT, NAN, FLAT),
    "a negative noise": lambda: mixture_crps(MEMBERS, -1.0, COLUMN),
    "a target of NaN": lambda: interval_coverage(FLAT, FLAT, NAN),
    "a member of NaN": lambda: ensemble_crps(MEMBERS * torch.nan, COLUMN),
    "a cdf of 2": lambda: calibration_error(2 * ONE),
    "a cdf of NaN": lambda: calibration_error(NAN),
    "probabilities of NaN": lambda: accuracy(PROBS * torch.nan, CLASSES),
    "logits": lambda: expected_calibration_error(PROBS * 8, CLASSES),
    "a class too many": lambda: conformal_classes(PROBS, CLASSES + 2, PROBS),
    "a negative class": lambda: conformal_classes(PROBS, CLASSES - 1, PROBS),
    "new probabilities of NaN": lambda: conformal_classes(PROBS, CLASSES, PROBS * torch.nan),
    "a jackknife's NaN": lambda: jackknife_after_bootstrap(
        MEMBERS, WEIGHTS, COLUMN * torch.nan, MEMBERS
    ),
    "a jackknife's new NaN": lambda: jackknife_after_bootstrap(
        MEMBERS, WEIGHTS, COLUMN, MEMBERS * torch.nan
    ),
    "a jackknife's weights": lambda: jackknife_after_bootstrap(MEMBERS, -WEIGHTS, COLUMN, MEMBERS),
    "an interval's scale": lambda: split_conformal(FLAT, FLAT, scale=ONE).interval(
        FLAT, scale=-1.0
    ),
}


@pytest.mark.parametrize("case", SHAPES)
def test_what_would_broadcast_is_refused(case):
    with pytest.raises(ShapeError, match=r"shape|expected"):
        SHAPES[case]()


@pytest.mark.parametrize("case", VALUES)
def test_what_is_no_forecast_is_refused(case):
    with pytest.raises(DataError, match="expected"):
        VALUES[case]()


def test_without_a_width_a_forecast_is_a_point():
    mean, y = torch.tensor([0.0, 1.0], requires_grad=True), torch.tensor([2.0, 1.0])
    std = torch.zeros(2, requires_grad=True)
    crps = gaussian_crps(mean, std, y)
    assert crps.tolist() == [2.0, 0.0]
    crps.sum().backward()
    assert mean.grad.tolist()[0] == -1
    assert std.grad.isfinite().all()
    assert gaussian_nll(mean, std, y).tolist() == [torch.inf, -torch.inf]
    members = torch.randn(5, 2)
    torch.testing.assert_close(mixture_crps(members, 0.0, y), ensemble_crps(members, y))
    # One number for all, and one row of outputs for all data, are what they say.
    y = torch.randn(4, 3)
    by_output = torch.tensor([[1.0, 2.0, 3.0]])
    assert gaussian_crps(0 * y, by_output, y).equal(gaussian_crps(0 * y, by_output.expand(4, 3), y))
    assert gaussian_nll(0 * y, torch.tensor(2.0), y).shape == (4, 3)


def test_whole_number_means_leave_widths_their_fractions():
    mean, y = torch.arange(6), torch.arange(6) + 1
    for score in (gaussian_nll, gaussian_crps):
        torch.testing.assert_close(score(mean, 0.5, y), score(mean.float(), 0.5, y.float()))
    one = mixture_crps(mean.expand(2, 6), 0.5, y)
    torch.testing.assert_close(one, gaussian_crps(mean.float(), 0.5, y.float()))
    found = split_conformal(mean, y, scale=0.5).scores
    torch.testing.assert_close(found, torch.full((6,), 2.0))


def test_lists_are_one_line():
    with pytest.raises(DataError, match="`mean` got list; expected a tensor"):
        gaussian_crps([0.0], 1.0, torch.zeros(1))
    with pytest.raises(DataError, match="`members` got ndarray; expected a tensor"):
        ensemble_crps(MEMBERS.numpy(), COLUMN)
