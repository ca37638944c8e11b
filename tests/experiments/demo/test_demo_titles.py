"""What the demo's page says is chosen by results, and names the settings they are of."""

import dataclasses
import html
import re
from types import SimpleNamespace

import numpy as np
import pytest

from hunch.experiments.claims.checks import Check, claim_settings, settings_in_words
from hunch.experiments.claims.drawing import figures
from hunch.experiments.claims.registry import EXPERIMENTS, load, reproduce_claim
from hunch.experiments.control import noisy_cartpole as cartpole
from hunch.experiments.demo import priors
from hunch.experiments.demo.outcome import claim_block
from hunch.experiments.demo.runner import _page
from hunch.experiments.figures.uncertainty import residual, within
from hunch.experiments.gradients import four_curves
from hunch.experiments.noise import noisy_layers
from hunch.experiments.uncertainty import linear_posterior, randomized_priors
from hunch.experiments.uncertainty.randomized_priors import BLOG, ENN
from hunch.plots import Claim


def words_of(page):
    """The page's text as a reader sees it, on one line."""
    return re.sub(
        r"\s+", " ", html.unescape(re.sub(r"<svg.*?</svg>|<[^>]*>", " ", page, flags=re.S))
    )


@pytest.fixture(scope="module")
def ensembles():
    short = dataclasses.replace(ENN, fit=ENN.fit | {"steps": 50})
    settings = randomized_priors.Settings(
        num_members=6, setups=(BLOG, short), video_members=4, video_steps=4
    )
    return randomized_priors.run(settings, progress=False), settings


@pytest.fixture(scope="module")
def linear():
    settings = linear_posterior.Settings(
        shapes=((15, 4), (2, 4)), num_members=2_000, trained_members=300, steps=100
    )
    return linear_posterior.run(settings, progress=False), settings


def page_of(monkeypatch, ensembles, linear, quick=True):
    """The demo's first part, had the experiments found this."""
    for module, (result, settings) in ((randomized_priors, ensembles), (linear_posterior, linear)):
        monkeypatch.setattr(module, "run", lambda *a, result=result, **k: result)
        monkeypatch.setattr(module.Settings, "quick", lambda settings=settings: settings)
    monkeypatch.setattr(priors, "figures", lambda name, result: {})  # drawing takes long
    outcome = priors.run(quick=quick, seed=5, progress=False)
    part = SimpleNamespace(key="priors", title="Priors", source="")
    return words_of(_page([(part, outcome)], quick=quick, complete=False, seed=5)), outcome


def with_far(result, ratio):
    """Ensembles with priors that far away are so many times as unsure as they are."""
    cases = [
        dataclasses.replace(case, far=ratio * case.far) if case.prior == "mlp" else case
        for case in result.cases
    ]
    return dataclasses.replace(result, cases=tuple(cases))


def test_the_sentence_on_priors_follows_its_control(monkeypatch, ensembles, linear):
    result, settings = ensembles
    much, _ = page_of(monkeypatch, (with_far(result, 20.0), settings), linear)
    none, outcome = page_of(monkeypatch, (with_far(result, 0.2), settings), linear)
    assert "Priors make much of the difference on osband2016 and enn." in much
    assert "it adds much to them." in much
    assert "So it is not the priors that make the difference here" in none
    assert "what a prior adds is seen below" in none
    naive = result.case("osband2016", "none")
    for page in (much, none, outcome.summary):
        assert f"without priors {naive.far / naive.at_data:.1f}" in page


def test_the_sentence_on_bayes_follows_the_divergence(monkeypatch, ensembles, linear):
    result, settings = linear
    exact = result.rows[0].recipe
    far = [dataclasses.replace(r, kl=3.0) if r.recipe == exact else r for r in result.rows]
    near = [dataclasses.replace(r, kl=0.001) for r in result.rows]
    for rows, said in ((far, "is not the exact Bayes"), (near, "is the exact Bayes")):
        altered = dataclasses.replace(result, rows=tuple(rows))
        page, _ = page_of(monkeypatch, ensembles, (altered, settings))
        assert said in page
        assert "2,000 members" in page
        assert "300 members trained in 100 steps, at worst of 2 shapes" in page


def test_a_page_of_smaller_settings_names_them_and_checks_no_claim(monkeypatch, ensembles, linear):
    page, outcome = page_of(monkeypatch, ensembles, linear)
    assert "seed 5, num members 6," in page
    assert "seed 5, shapes 15 × 4 and 2 × 4, num members 2,000, trained members 300" in page
    assert "4 members while they learn" in page
    for module in (randomized_priors, linear_posterior):
        assert module.CLAIM not in page
        assert "The claim holds" not in page
        assert "The claim does not hold" not in page
    claims = [block for block in outcome.blocks if isinstance(block, Claim)]
    assert len(claims) == 2


def test_the_first_figure_says_how_many_data_each_band_holds(ensembles):
    result, _ = ensembles
    case = result.case("osband2016", "mlp")
    _, caption = figures("randomized-priors", result)["osband2016-mlp-band"]
    left = residual(case.y, case.fitted)
    inside = within(case.y, case.fitted, 0.0), within(case.y, case.fitted, left)
    assert inside[0] < 15 < inside[1]  # members alone leave out the noise
    assert f"hold {inside[0]} of 20 data" in caption
    assert f"{left:.2f}: noise, and what the fit has missed), {inside[1]} of 20" in caption
    mean = case.fitted.mean(axis=0)
    assert (residual(mean, case.fitted), within(mean, case.fitted, 0.0)) == (0.0, 20)


def run_of(mean_return, frames=20_000, seeds=1):
    settings = cartpole.Settings(frames=frames, num_seeds=seeds)
    rows = tuple(cartpole.Row(k, mean_return, 150.0, 0.9, 1.0) for k in range(seeds))
    shown = SimpleNamespace(row=rows[0])
    return cartpole.Result(settings, shown, rows), settings


def test_a_run_of_one_seed_is_no_claim_about_ten():
    result, settings = run_of(199.0)
    said = claim_block(cartpole, result, settings, seed=0)
    assert "On seed 0 a DQN that explores by noisy weights alone reaches" in said.claim
    assert "after 20,000 frames: it is 199.0" in said.claim
    assert cartpole.CLAIM not in said.claim
    assert "`hunch reproduce noisy-cartpole` checks the claim" in said.claim
    assert "num seeds 10" in said.claim
    worse, _ = run_of(120.0)
    assert "does not reach" in claim_block(cartpole, worse, settings, seed=0).claim
    short, quick = run_of(60.0, frames=3_000)
    said = claim_block(cartpole, short, quick, seed=0)
    assert "after 3,000 frames" in said.claim
    assert [text.split(":")[0] for text, _ in said.checks] == [
        "mean return of 100 greedy episodes after 3,000 frames, against a coin"
    ]


@pytest.mark.parametrize(("mean", "verdict"), [(199.0, "holds"), (120.0, "does not hold")])
def test_a_run_of_ten_seeds_checks_the_claim(mean, verdict):
    result, settings = run_of(mean, seeds=10)
    said = claim_block(cartpole, result, settings, seed=0).claim
    assert f"The claim {verdict}: {cartpole.CLAIM}" in said
    assert f"on {10 if mean > 195 else 0} of 10 seeds" in said


def test_the_sentence_on_the_four_curves_follows_their_errors():
    small = four_curves.Settings(
        replicas=1, iterations=4, record_every=2, test_inputs=20, draws=200
    )
    result = four_curves.run(small, progress=False)

    def with_totals(**totals):
        arms = {
            name: dataclasses.replace(
                arm, mse=np.full_like(arm.mse, totals.get(name.split("-")[0], 1.0) / 4)
            )
            for name, arm in result.arms.items()
        }
        return dataclasses.replace(result, arms=arms)

    good, bad = with_totals(forum=9, leave=5, pathwise=3), with_totals(forum=3, leave=5, pathwise=9)
    assert "9 with the forum's estimator, 5 once" in four_curves.answer(good)
    assert "Each estimator is better than the one before." in four_curves.answer(good)
    assert "not in the order of their variance" in four_curves.answer(bad)
    assert "After 4 updates of Adam at 0.0005, mean of 1 seeds" in four_curves.answer(bad)
    _, spread = figures("four-curves", result)["spread"]
    rising = {
        name: dataclasses.replace(
            arm, sigma=np.linspace(1, 2, arm.sigma.size).reshape(arm.sigma.shape)
        )
        for name, arm in result.arms.items()
    }
    _, other = figures("four-curves", dataclasses.replace(result, arms=rising))["spread"]
    assert "σ does not fall with forum and leave-one-out and pathwise" in other
    assert spread != other
    flat = dataclasses.replace(result, variance=np.where(result.variance > 3, 3.0, result.variance))
    assert "None grows tenfold" in figures("four-curves", flat)["gradient-variance"][1]


def test_the_sentence_on_noisy_layers_follows_what_eval_does():
    result = noisy_layers.run(noisy_layers.Settings(draws=1_000), progress=False)
    assert "In eval() the noisy DQN computes exactly what" in noisy_layers.found(result)
    off = dataclasses.replace(result, eval_difference=0.25)
    assert "does not compute what the plain one does, but up to 0.25" in noisy_layers.found(off)
    assert "Over 1,000 draws" in noisy_layers.found(off)


def test_a_reproduced_claim_says_with_what_and_whether_it_holds(monkeypatch):
    class Settings:
        pass

    @dataclasses.dataclass
    class Own:
        num_seeds: int = 4
        jobs: int = 1

    for value, verdict in ((1.0, "holds"), (3.0, "does not hold")):
        module = SimpleNamespace(
            CLAIM="It is at most 2.",
            Settings=Own,
            run=lambda settings, **k: SimpleNamespace(to_json=dict),
            check=lambda result, value=value: [Check("it", value, "<=", 2.0)],
        )
        monkeypatch.setattr(
            "hunch.experiments.claims.registry.load", lambda name, module=module: module
        )
        report = reproduce_claim("chain", seed=3, progress=False)
        assert f"This {verdict} in a run with seed 3, num seeds 4." in report.text


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_settings_of_every_claim_can_be_told(name):
    said = settings_in_words(claim_settings(load(name)), seed=0)
    assert said.startswith("seed 0, ")
    assert "object at" not in said
    assert "jobs" not in said
