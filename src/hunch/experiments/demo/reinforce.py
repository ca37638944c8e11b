"""Part 4: REINFORCE for continuous distributions (the forum question)."""

from __future__ import annotations

from hunch.experiments.claims.drawing import figures
from hunch.experiments.demo.outcome import Outcome, claim_block
from hunch.experiments.gradients import four_curves
from hunch.experiments.gradients.four_curves import Settings
from hunch.experiments.gradients.four_curves_network import (
    ARMS,
    CURVES,
    FORUM,
    LEAVE_ONE_OUT,
    PATHWISE,
)
from hunch.plots import Figures, Table, Text


def run(*, quick: bool, seed: int, progress: bool) -> Outcome:
    """Train the forum's four curves with each estimator, and answer the question."""
    settings = Settings.quick() if quick else Settings()
    result = four_curves.run(settings, seed=seed, progress=progress)
    checks = four_curves.check(result)
    final = {arm.name: result.arms[arm.name].total[-1].mean() for arm in ARMS}
    return Outcome(
        summary=(
            f"squared error of the four means after {settings.iterations:,} updates, mean of "
            f"{settings.replicas} seeds: forum {final[FORUM.name]:.3g}, leave-one-out "
            f"{final[LEAVE_ONE_OUT.name]:.3g}, pathwise {final[PATHWISE.name]:.3g}"
        ),
        blocks=[
            Text(
                "A network reads x and gives mean and spread of four normal distributions, whose "
                "samples should meet x, x², x³ and sin x. The gradient has to pass the sampling. "
                "“Is this the standard way to apply REINFORCE for normal distributions, and to "
                "distribute the loss over the batch? I need to make sure that I'm not crippling my "
                "baseline.”"
            ),
            Text(four_curves.answer(result), heading="The answer"),
            claim_block(four_curves, result, settings, seed=seed),
            Text(
                f"Each estimator spends {settings.evaluations} evaluations of the cost per curve "
                "and update. The line "
                "is the mean that the network gives, the shading one spread σ.",
                heading="The four curves",
            ),
            Figures(figures("four-curves", result)),
            _seeds(result),
            Text(
                "What the forum's script prints, with its missing lines restored (`torch.cat`, "
                "`zero_grad`, `backward`, `step`): first replica, forum's estimator. The printed "
                "loss is that of the samples, so it hides how much of it is spread.",
                heading="The printed columns",
            ),
            _printed(result),
        ],
        checks=checks,
        results=result.to_json(),
    )


def _seeds(result: four_curves.Result) -> Table:
    replicas = result.settings.replicas
    return Table(
        ["estimator", *(f"seed {r}" for r in range(replicas)), "mean"],
        [
            [name, *(f"{v:.3g}" for v in arm.total[-1]), f"{arm.total[-1].mean():.3g}"]
            for name, arm in result.arms.items()
        ],
        f"Squared error of the mean, summed over the four curves, after "
        f"{result.settings.iterations:,} updates. Always predicting the curves' averages scores "
        f"about 18. The fast arm is trained at {result.settings.fast_learning_rate:g} instead of "
        f"{result.settings.learning_rate:g}.",
    )


def _printed(result: four_curves.Result) -> Table:
    columns = result.arms[FORUM.name].printed
    return Table(
        ["update", "grad", *(f"loss {c}" for c in CURVES), *(f"σ {c}" for c in CURVES)],
        [
            [f"{step:,}", *(f"{v:.3g}" for v in row)]
            for step, row in zip(result.iterations[:-1], columns, strict=True)
        ],
    )
