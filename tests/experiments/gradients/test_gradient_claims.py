"""gradient-variance, bayes-logistic, discrete-vae: their parts, their bookkeeping, their verdicts."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Independent, kl_divergence

from hunch.experiments.claims.drawing import figures
from hunch.experiments.gradients import bayes_logistic, discrete_vae, gradient_variance
from hunch.experiments.gradients.gradient_forms import FORMS, measured
from hunch.experiments.gradients.gradient_variance import POINTS

SMALL = {
    gradient_variance: gradient_variance.Settings(
        samples=2_000, networks=2, updates=3, gradients=20, inputs=500
    ),
    bayes_logistic: bayes_logistic.Settings(
        replicas=2, updates=4, record_every=2, bound_samples=10, repeats=20
    ),
    discrete_vae: discrete_vae.Settings(
        replicas=2, updates=4, record_every=2, bound_samples=2, repeats=20, diagnosed_images=2
    ),
}
MODULES = pytest.mark.parametrize(
    "module", SMALL, ids=lambda module: module.__name__.rsplit(".", 1)[-1]
)


@pytest.fixture(scope="module")
def results():
    pytest.importorskip("sklearn")
    return {module: module.run(small, progress=False) for module, small in SMALL.items()}


@MODULES
def test_the_same_seed_gives_the_same_file(results, module):
    before = torch.get_rng_state()
    texts = [json.dumps(results[module].to_json(), allow_nan=False)]
    for seed in (0, 1):
        again = module.run(SMALL[module], seed=seed, progress=False)
        texts.append(json.dumps(again.to_json(), allow_nan=False))
    assert torch.equal(before, torch.get_rng_state())
    assert texts[0] == texts[1] != texts[2]
    assert len(texts[0]) < 40_000


@MODULES
def test_checks_tables_and_figures(results, module):
    result = results[module]
    assert module.CLAIM.endswith(".")
    assert not all(check.holds for check in module.check(result))  # this was far too short
    assert "| " in result.to_markdown()
    pytest.importorskip("matplotlib")
    for figure, caption in figures(
        module.__name__.rpartition(".")[2].replace("_", "-"), result
    ).values():
        (axes,) = figure.axes
        assert axes.get_title(loc="left")
        assert axes.get_xlabel()
        assert caption.endswith(".")
        figure.canvas.draw()


@pytest.mark.parametrize("name", FORMS)
def test_a_measured_variance_is_its_closed_form(name):
    form, generator = FORMS[name], torch.Generator().manual_seed(0)
    for d, s in ((1.0, 0.5), (0.2, 1.0)):
        by_mean, by_log_scale = measured(form, d, s, 400_000, generator)
        # The fourth moment of a score makes the least certain of them 2 % at this many.
        assert by_mean == pytest.approx(form.by_mean(d, s), rel=0.08)
        assert by_log_scale == pytest.approx(form.by_log_scale(d, s), rel=0.08)


def test_the_closed_forms_are_those_of_the_literature():
    for d, s in POINTS:
        score = FORMS["score"]
        assert score.by_mean(d, s) == pytest.approx(d**4 / s**2 + 14 * d**2 + 15 * s**2)
        wanted = 2 * d**4 + 60 * d**2 * s**2 + 74 * s**4
        assert score.by_log_scale(d, s) == pytest.approx(wanted)
        best = FORMS["score, best constant"].by_mean(d, s)
        assert best == pytest.approx(8 * d**2 + 6 * s**2)
        assert FORMS["score, baseline E f"].by_mean(d, s) == pytest.approx(8 * d**2 + 10 * s**2)
        assert FORMS["leave-one-out 2"].by_mean(d, s) * 2 == pytest.approx(16 * d**2 + 12 * s**2)
    # Variance times evaluations, as tabled at d = 1, σ = 0.1.
    at = (1.0, 0.1)
    assert FORMS["score"].by_mean(*at) == pytest.approx(114, abs=0.5)
    for n, wanted in ((4, 10.8), (16, 8.7)):
        form = FORMS[f"leave-one-out {n}"]
        assert form.by_mean(*at) * form.evaluations == pytest.approx(wanted, abs=0.1)


def test_the_claim_of_gradient_variance_fails_on_any_figure_that_is_off(results):
    result = results[gradient_variance]
    error = result.error.copy()
    error[..., 0], error[..., 1] = 10_000, 1
    right = dataclasses.replace(result, variance=result.closed_form, error=error)
    assert all(check.holds for check in gradient_variance.check(right))
    for i in range(len(FORMS)):
        variance = result.closed_form.copy()
        variance[i, 1, 1] *= 1.04
        wrong = dataclasses.replace(right, variance=variance)
        assert sum(not check.holds for check in gradient_variance.check(wrong)) == 1
    for look, network, ratio in ((0, 0, 1 / 39), (0, 1, 1 / 9), (1, 0, 1 / 999), (1, 1, 1 / 49)):
        worse = error.copy()
        worse[look, network, 1] = ratio * worse[look, network, 0]
        wrong = dataclasses.replace(right, error=worse)
        assert sum(not check.holds for check in gradient_variance.check(wrong)) == 1


def test_the_likelihood_of_the_logistic_regression():
    generator = torch.Generator().manual_seed(0)
    x, weights = (
        torch.randn(2, 5, 3, generator=generator),
        torch.randn(4, 2, 3, generator=generator),
    )
    y = torch.randint(0, 2, (2, 5), generator=generator) * 2.0 - 1
    found = bayes_logistic.negative_log_likelihood(x, y, 10, weights)
    assert found.shape == (4, 2)
    logits = torch.stack([x[r] @ weights[1, r] for r in range(2)])
    nats = -Bernoulli(logits=logits).log_prob((y + 1) / 2).sum(-1) * 2
    torch.testing.assert_close(found[1], nats)


def test_the_parts_of_the_autoencoder():
    generator = torch.Generator().manual_seed(0)
    weights = discrete_vae.Weights(2, generator)
    images = (torch.rand(2, 3, 64, generator=generator) > 0.5).float()
    logits = weights.logits(images)
    code = torch.ones(4, 2, 3, discrete_vae.CODE)
    found = discrete_vae.reconstruction(weights.decoder, images, code)
    matrix, bias = weights.decoder
    pixels = torch.ones(discrete_vae.CODE) @ matrix[1] + bias[1]
    nats = -Bernoulli(logits=pixels).log_prob(images[1]).sum(-1)
    torch.testing.assert_close(found[0, 1], nats)
    fair = Independent(Bernoulli(torch.full_like(logits, 0.5)), 1)
    wanted = kl_divergence(Independent(Bernoulli(logits=logits), 1), fair)
    torch.testing.assert_close(discrete_vae.divergence(logits), wanted)


def test_data_sets_are_split_by_seed():
    pytest.importorskip("sklearn")
    from hunch.experiments.gradients.data import binary_digits, breast_cancer

    x, y, x_test, y_test = breast_cancer(0)
    assert x.shape == (455, 31)
    assert x_test.shape == (114, 31)
    assert set(y.unique().tolist() + y_test.unique().tolist()) == {-1.0, 1.0}
    torch.testing.assert_close(x[:, :-1].mean(0), torch.zeros(30), atol=1e-4, rtol=0)
    assert not torch.equal(x, breast_cancer(1)[0])
    train, test = binary_digits(0)
    assert (len(train), len(test)) == (1500, 297)
    assert set(np.unique(train)) == {0.0, 1.0}
