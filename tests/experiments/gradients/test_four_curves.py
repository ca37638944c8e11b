"""The four curves: the stacked loop against the forum's own, the claim's bookkeeping, the claim."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal

from hunch.experiments.claims.drawing import figures
from hunch.experiments.gradients import four_curves
from hunch.experiments.gradients.four_curves import Settings
from hunch.experiments.gradients.four_curves_network import ARMS
from hunch.progress import progress_bar
from hunch.seeding import default_generator_seeded, drawing_from, torch_generator

SMALL = Settings(
    replicas=2, iterations=40, record_every=20, evaluations=8, test_inputs=500, draws=2_000
)


@pytest.fixture(scope="module")
def result():
    return four_curves.run(SMALL, progress=False)


def test_the_same_seed_gives_the_same_results_and_another_gives_others(result):
    before = torch.get_rng_state()
    again = four_curves.run(SMALL, progress=False)
    assert torch.equal(before, torch.get_rng_state())
    text = json.dumps(result.to_json())
    assert text == json.dumps(again.to_json())
    other = four_curves.run(SMALL, seed=1, progress=False)
    assert json.dumps(other.to_json()["arms"]) != json.dumps(result.to_json()["arms"])
    assert len(text) < 50_000


def test_shapes_of_the_records(result):
    assert result.iterations.tolist() == [0, 20, 40]
    for arm in result.arms.values():
        assert arm.mse.shape == arm.sigma.shape == (3, 2, 4)
        assert arm.printed.shape == (2, 9)
        assert arm.mean.shape == arm.std.shape == (121, 4)
        assert (arm.std > 0).all()
    starts = [arm.mse[0] for arm in result.arms.values()]
    assert all(np.array_equal(starts[0], start) for start in starts)  # every arm, the same start
    assert not np.allclose(starts[0][0], starts[0][1])  # every replica, a start of its own


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_stacked_training_equals_a_loop_over_modules(arm):
    """Two stacked replicas against two plain networks, fed the same inputs and the same samples."""
    settings = dataclasses.replace(SMALL, iterations=10, record_every=10)
    grid = torch.linspace(-3, 3, 7).unsqueeze(-1)
    with progress_bar(1, "", "", enabled=False) as bar:
        stacked = four_curves._train(arm, settings, 0, grid, bar)
    nets = []
    for replica in range(2):
        with default_generator_seeded(0, "four-curves", "init", replica):
            nets.append(nn.Sequential(nn.Linear(1, 128), nn.Sigmoid(), nn.Linear(128, 8)))
    rate = settings.fast_learning_rate if arm.fast else settings.learning_rate
    optimizers = [torch.optim.Adam(net.parameters(), lr=rate) for net in nets]
    generator = torch_generator(0, "four-curves", "train", arm.name)
    inputs = settings.evaluations // arm.samples
    for _ in range(settings.iterations):
        x = torch.randn(2, inputs, 1, generator=generator)
        out = torch.stack([net(one) for net, one in zip(nets, x, strict=True)])
        means, sigmas = out[..., :4], out[..., 4:].exp()
        with drawing_from(generator):
            dist = Normal(means, sigmas)
            z = (
                dist.rsample((arm.samples,))
                if arm.estimator == "pathwise"
                else dist.sample((arm.samples,))
            )
        y = torch.cat([x, x**2, x**3, x.sin()], dim=-1)
        cost = (z - y) ** 2
        if arm.estimator == "pathwise":
            loss = cost
        else:
            baseline = cost.flip(0) if arm.baseline == "loo" else 0
            loss = dist.log_prob(z) * (cost - baseline)
        for replica, (net, optimizer) in enumerate(zip(nets, optimizers, strict=True)):
            gradients = torch.autograd.grad(
                loss[:, replica].mean(), list(net.parameters()), retain_graph=True
            )
            for parameter, gradient in zip(net.parameters(), gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()
    typical = int(stacked.mse[-1].sum(-1).argsort()[1])
    with torch.no_grad():
        wanted = nets[typical](grid)
    np.testing.assert_allclose(stacked.mean, wanted[:, :4].numpy(), atol=1e-5)
    np.testing.assert_allclose(stacked.std, wanted[:, 4:].exp().numpy(), atol=1e-5)


def test_measured_variance_meets_the_closed_form():
    rows = four_curves._measure_variance(200_000, seed=0)
    wanted = four_curves._closed_forms(rows)
    # The least certain figure has a relative standard error of 1.5 %.
    np.testing.assert_allclose(rows[:, 2:], wanted, rtol=0.07)


def test_check_holds_only_where_the_figures_do(result):
    # 40 updates say nothing about bounds after 10,000, so the figures of the error are not there.
    assert [check.what for check in four_curves.check(result)] == [
        "largest deviation of a gradient variance from its formula"
    ]
    long = dataclasses.replace(result, settings=dataclasses.replace(SMALL, iterations=10_000))
    assert not four_curves.check(long)[2].holds  # as little error as 40 updates leave is too much
    totals = {"forum": 12.0, "leave-one-out": 5.0, "pathwise": 3.0, "leave-one-out, fast": 0.1}

    def with_totals(totals, variance):
        arms = {
            name: dataclasses.replace(arm, mse=np.full_like(arm.mse, totals[name] / 4))
            for name, arm in result.arms.items()
        }
        return four_curves.check(dataclasses.replace(long, arms=arms, variance=variance))

    exact = result.variance.copy()
    exact[:, 2:] = four_curves._closed_forms(exact)
    assert all(check.holds for check in with_totals(totals, exact))
    worse = {"forum": 8.9, "leave-one-out": 6.1, "pathwise": 4.1, "leave-one-out, fast": 0.31}
    for name, value in worse.items():
        assert not all(check.holds for check in with_totals(totals | {name: value}, exact))
    exact[3, 4] *= 1.2
    assert not all(check.holds for check in with_totals(totals, exact))


def test_answer_quotes_the_run(result):
    text = four_curves.answer(result)
    assert text.startswith(four_curves.ANSWER)
    assert f"{result.arms['pathwise'].total[-1].mean():.3g}" in text
    assert "2 seeds" in text


def test_figures_have_one_panel_a_title_and_a_caption(result):
    pytest.importorskip("matplotlib")
    drawn = figures("four-curves", result)
    assert set(drawn) == {
        "identity", "square", "cube", "sine", "total-error", "spread", "gradient-variance",
    }  # fmt: skip
    for figure, caption in drawn.values():
        (axes,) = figure.axes
        assert axes.get_title(loc="left")
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        assert caption.endswith(".")
        figure.canvas.draw()
