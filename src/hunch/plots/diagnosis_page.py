"""The page of a diagnosis: what to use, the ways beside each other, what each column means."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from hunch.plots.diagnosis import diagnosis_chart
from hunch.plots.page import (
    Beside,
    Block,
    Facts,
    Figures,
    Notice,
    Section,
    Table,
    Text,
    render_page,
)

if TYPE_CHECKING:
    from hunch.gradients import Diagnosis

_COLUMNS: Final = (
    "In the table below, bias |z| is the largest distance of a coordinate's mean gradient from the "
    "reference, in standard errors, and bias the length of the mean error as a part of the "
    "gradient's.\n\n"
    "Variance: of one call's gradient, summed over coordinates. Cost: evaluations of the cost in a "
    "call. Their product, which the figure shows, is what counts: half of the variance for twice "
    "the cost is nothing won.\n\n"
    "Signal/noise: the length of the gradient over the root of the variance. ms: the median time "
    "of a call with its backward pass."
)


def diagnosis_page(diagnosis: Diagnosis, title: str, about: str = "") -> str:
    """The page as one self-contained HTML text.

    Args:
        diagnosis: what `hunch.gradients.diagnose` returned.
        title: of the page.
        about: what the problem is.

    Example:
        >>> import torch
        >>> from hunch.gradients import diagnose
        >>> found = diagnose(torch.square, torch.distributions.Exponential, torch.ones(1), n=4)
        >>> "<h1>Mine</h1>" in diagnosis_page(found, "Mine")
        True
    """
    introduction: list[Block] = [Text(f"{about[0].upper()}{about[1:]}.")] if about else []
    introduction += [
        Notice(diagnosis.recommendation, "good" if diagnosis.usable else "bad"),
        Facts(_facts(diagnosis)),
    ]
    drawn = Beside([Figures({"noise": diagnosis_chart(diagnosis)})], [Text(_COLUMNS)])
    sections = [
        Section("noise", "How noisy each way is", _calls(diagnosis), [drawn]),
        Section("ways", "The ways beside each other", _judged(diagnosis), _table(diagnosis)),
    ]
    return render_page(title, introduction, sections)


def _facts(diagnosis: Diagnosis) -> list[tuple[str, str, str]]:
    trusted = [row for row in diagnosis.rows if row.trusted]
    facts = [
        (
            "ways trusted",
            f"{len(trusted)} of {len(diagnosis.rows)}",
            "no bias by design, none found",
        )
    ]
    if trusted:
        best = min(trusted, key=lambda row: (row.variance_cost, row.evaluations))
        exact = math.isinf(best.signal_to_noise)
        ratio = "exact" if exact else f"{best.signal_to_noise:.3g}"
        facts.append(("signal over noise", ratio, f"of one call of {best.label}"))
        plain = next((row for row in diagnosis.rows if row.label == "score + none"), None)
        if plain is not None and not exact and plain.variance_cost > 0:
            times = plain.variance_cost / best.variance_cost
            shown = f"{times:,.0f}" if times >= 10 else f"{times:.2g}"
            facts.append(("variance lower by", f"{shown} times", "than the plain score function"))
    norm = f"over {diagnosis.coordinates:,} coordinates"
    return [*facts, ("length of the gradient", f"{diagnosis.gradient_norm:.3g}", norm)]


def _calls(diagnosis: Diagnosis) -> str:
    return (
        f"{diagnosis.repeats:,} calls of each way with n={diagnosis.n} samples, "
        f"seed {diagnosis.seed}."
    )


def _judged(diagnosis: Diagnosis) -> str:
    return (
        f"The reference gradient: {diagnosis.references()}. A way is biased if its |z| is beyond "
        f"{diagnosis.limit:.1f}."
    )


def _table(diagnosis: Diagnosis) -> list[Block]:
    head, *rows = diagnosis.table()
    blocks: list[Block] = [Table(["way", *head[3:]], [[_named(row[:3]), *row[3:]] for row in rows])]
    if diagnosis.skipped:
        left_out = [[f"`{way}`", f"{why.rstrip('.')}."] for way, why in diagnosis.skipped]
        blocks += [Text("", heading="What does not apply here")]
        blocks += [Table(["way", "why not"], left_out, words=True)]
    return blocks


def _named(names: tuple[str, ...]) -> str:
    first, *others = names
    small = ", ".join(name for name in others if name)
    return f"`{first}`\n{small}" if small else f"`{first}`"
