"""Part 1: randomised priors (the blog post of March 2019 and its follow-up of July 2019)."""

from __future__ import annotations

import math

import numpy as np

from hunch.experiments.claims.drawing import figures
from hunch.experiments.demo.outcome import Outcome, claim_block
from hunch.experiments.uncertainty import linear_posterior, randomized_priors
from hunch.experiments.uncertainty.randomized_priors import BLOG, ENN, FAR, PRIORS
from hunch.plots import Block, Claim, Figures, Film, Films, Table, Text


def run(*, quick: bool, seed: int, progress: bool) -> Outcome:
    """Train the post's ensembles, and hold the linear case against Bayes."""
    how = randomized_priors.Settings.quick() if quick else randomized_priors.Settings()
    exact = linear_posterior.Settings.quick() if quick else linear_posterior.Settings()
    priors = randomized_priors.run(how, seed=seed, progress=progress)
    linear = linear_posterior.run(exact, seed=seed, progress=progress)
    checks = [*randomized_priors.check(priors), *linear_posterior.check(linear)]
    worst = max(r.kl for r in linear.rows if r.recipe == linear_posterior.EXACT)
    case, naive = (priors.case(BLOG.data, prior) for prior in ("mlp", "none"))
    return Outcome(
        summary=(
            f"{case.num_members} members, {case.far / case.at_data:.1f} times as unsure far from "
            f"the data as at them (without priors {naive.far / naive.at_data:.1f}); "
            f"linear case: KL to the exact posterior {worst:.4f}"
        ),
        blocks=[
            *_on_data(priors, claim_block(randomized_priors, priors, how, seed=seed)),
            *_linear(linear, claim_block(linear_posterior, linear, exact, seed=seed)),
        ],
        checks=checks,
        results={"pictures": priors.to_json(), "linear_posterior": linear.to_json()},
    )


def _on_data(result: randomized_priors.Result, claim: Claim) -> list[Block]:
    drawn = figures("randomized-priors", result)
    blocks: list[Block] = [
        Text(
            "A member of the ensemble predicts `f(x) + p(x)`: the network `f` learns, the prior "
            "`p` never changes. At the data `f` cancels `p`; away from them `p` shows, and "
            "the members disagree. Their disagreement is what the ensemble knows that it does not "
            "know.\n\n"
            "First the post's own recipe on the twenty points of Osband et al. (2016): networks "
            "1-20-20-1 with SELU, Adam at 0.05 for 100 epochs, a fresh full-batch bootstrap each "
            "epoch. All members train at once, as one stacked module."
        ),
        claim,
    ]
    for prior in PRIORS:
        heading = {
            "mlp": "A random network as prior",
            "sine": "A fixed function as prior: sin(3x)",
            "pretrained": "A pretrained network as prior",
            "none": "The same ensemble without prior",
        }[prior]
        text = {
            "mlp": "Every member has an untrained network of its own.",
            "sine": "Every member has the same prior, so the ensemble continues the wave where it "
            "has no data; what still differs is the trained part.",
            "pretrained": "The post's announced next step: the prior is a network that was first "
            "trained on x + sin(3x), the slow part of the truth.",
            "none": "Members differ only by their initial values and their bootstrap.",
        }[prior]
        views = {k: f for k, f in drawn.items() if k.startswith(f"{BLOG.data}-{prior}-")}
        blocks += [Text(text, heading=heading), Figures(views)]
    blocks += [
        Text(
            "The regression data of the `enn` library, trained as there: 50-50 ReLU networks, "
            "prior scale 5, noise of 0.1 on the targets, 1,000 steps of Adam at 0.001.",
            heading="The same four on DeepMind's variant of the data",
        ),
        Figures({k: f for k, f in drawn.items() if k.startswith(ENN.data)}),
        _spread_table(result),
    ]
    if result.videos:
        blocks += [
            Text(
                f"The follow-up's animation: {result.videos[0].frames.shape[1]} members while they "
                "learn, step by step.",
                heading="How the ensembles learn",
            ),
            _films(result),
        ]
    return blocks


def _spread_table(result: randomized_priors.Result) -> Table:
    rows = []
    for case in result.cases:
        naive = result.case(case.data, "none")
        rows.append(
            [
                f"{case.data}: {PRIORS[case.prior]}",
                f"{case.at_data:.3f}",
                f"{case.far:.3f}",
                f"{case.far / naive.far:.2f}",
            ]
        )
    return Table(
        ["data: prior", "std at data", "std at x = −1, 2", "vs. no prior"],
        rows,
        f"Standard deviation of {result.cases[0].num_members} members, in units of y. "
        f"{_what_priors_add(result)}",
    )


def _what_priors_add(result: randomized_priors.Result) -> str:
    """Whether networks as priors spread members further than initial values alone do."""
    data = list(dict.fromkeys(case.data for case in result.cases))
    ratio = [result.case(d, "mlp").far / result.case(d, "none").far for d in data]
    alone = (
        "The random initial values alone already make members differ far from the data. A network "
        f"as prior makes it {min(ratio):.2f} to {max(ratio):.2f} times as much"
    )
    if min(ratio) > 1.5:
        return f"{alone}: it adds much to them."
    return f"{alone}; what a prior adds is seen below, in the linear case, where nothing else is."


def _films(result: randomized_priors.Result) -> Films:
    case = result.case(BLOG.data, "mlp")
    data = np.stack([case.x, case.y], axis=1)
    return Films(
        [Film(f.title, f.steps, f.frames, FAR, (-4.5, 4.5), data) for f in result.videos],
        f"{result.videos[0].frames.shape[1]} members on the data of Osband et al. (2016).",
    )


def _nats(kl: float) -> str:
    if math.isinf(kl):
        return "∞"
    return f"{kl:.4f}" if kl < 1 else f"{kl:.1f}"


def _linear(result: linear_posterior.Result, claim: Claim) -> list[Block]:
    rows = [
        [r.recipe, f"{r.num_data} × {r.dimension}", _nats(r.kl), f"{r.variance_ratio:.3f}"]
        for r in result.rows
    ]
    return [
        Text(
            "For a linear model with Gaussian noise σ and prior variance λ the posterior is known. "
            "An ensemble with a random prior, noise σ on its targets and a ridge σ²/λ is that "
            "posterior, member for member. The post's recipe, prior and row bootstrap, is not: it "
            "has no noise on the targets and no ridge. The table says what each ingredient costs; "
            "an infinite divergence means that the members agree exactly in a direction the data "
            "say nothing about.",
            heading="The linear sanity check: is it Bayes?",
        ),
        claim,
        Table(
            ["recipe", "data × dimensions", "KL to posterior", "variance ratio"],
            rows,
            f"{result.settings.num_members:,} members fitted in closed form, and "
            f"{result.settings.trained_members:,} by steps. The variance ratio is the trace of the "
            "members' covariance over the posterior's.",
        ),
        Figures(figures("linear-posterior", result)),
    ]
