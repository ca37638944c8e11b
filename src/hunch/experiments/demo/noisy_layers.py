"""Part 2: noisy layers (the small layer library)."""

from __future__ import annotations

from hunch.experiments.claims.drawing import figures
from hunch.experiments.demo.outcome import Outcome, claim_block
from hunch.experiments.noise import noisy_layers
from hunch.experiments.noise.noisy_layers import DQN, Settings
from hunch.nn import noisy
from hunch.plots import Code, Figures, Table, Text


def run(*, quick: bool, seed: int, progress: bool) -> Outcome:
    """The README's DQN before and after `noisy(...)`, its noise, and its modes."""
    settings = Settings.quick() if quick else Settings()
    result = noisy_layers.run(settings, seed=seed, progress=progress)
    checks = noisy_layers.check(result)
    worst = max(abs(m.variance_ratio - 1) for m in result.moments)
    plain = DQN(result.settings.input_features, result.settings.output_features, 64)
    return Outcome(
        summary=(
            f"variance within {worst:.2%} of the closed form over {settings.draws:,} draws; in "
            f"eval() {result.eval_difference:.3g} away from the plain network"
        ),
        blocks=[
            Text(
                "A noisy layer computes with weights μ + σ·ε: the mean μ and the size σ of the "
                "noise are learnt, ε is drawn anew. The network explores by itself, as far and "
                "for as long as it pays. One call makes any network noisy and keeps its weights as "
                "the means."
            ),
            Code(f"net = {plain}\n\nnoisy(net) = {noisy(plain)}"),
            claim_block(noisy_layers, result, settings, seed=seed),
            Text(
                "For factorized noise one value is drawn per input and per output, for independent "
                "noise one per weight. The closed forms are Var y = (2/π) Σ σ²x² + √(2/π) σ_b² and "
                "Var y = Σ σ²x² + σ_b².",
                heading="Mean and variance against the closed form",
            ),
            _moments(result),
            Figures(figures("noisy-layers", result)),
            Text(
                "Fresh noise in each forward is what the method asks for: the loss, the target and "
                "the choice of an action each get a draw of their own. Held noise makes one policy "
                "of a whole episode.",
                heading="What train(), eval() and the noise modes do",
            ),
            _modes(result),
        ],
        checks=checks,
        results=result.to_json(),
    )


def _moments(result: noisy_layers.Result) -> Table:
    return Table(
        ["noise", "drawn", "error of the mean / std", "variance / closed form"],
        [
            [
                m.noise,
                m.sharing,
                f"{m.mean_error_in_stds:.4f}",
                f"{m.variance_ratio:.4f}",
            ]
            for m in result.moments
        ],
        f"Both layers of the network together, {result.settings.draws:,} draws. “Shared”: one draw "
        "for the whole batch; “per sample”: each row has its own.",
    )


def _modes(result: noisy_layers.Result) -> Table:
    def word(value: bool) -> str:
        return "yes" if value else "no"

    return Table(
        ["mode", "state", "two forwards agree", "equals the means", "reset_noise changes it"],
        [
            [
                row.mode,
                "train()" if row.training else "eval()",
                word(row.two_forwards_agree),
                word(row.output_is_the_mean),
                word(row.reset_noise_changes_it),
            ]
            for row in result.modes
        ],
        "Observed, not quoted. In the fresh mode two forwards differ anyway, with or without "
        "`reset_noise`.",
    )
