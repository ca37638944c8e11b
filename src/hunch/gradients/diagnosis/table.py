"""What `hunch.gradients.diagnose` found: rows of figures, a table of them, a recommendation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Self

from hunch.shown import card, data_frame, plotted

if TYPE_CHECKING:
    from hunch.shown import Axes, DataFrame

_LATEX: Final = str.maketrans(
    {
        "_": r"\_",
        "%": r"\%",
        "&": r"\&",
        "#": r"\#",
        "×": r"$\times$",
        "|": r"$\vert$",
        "^": r"\^{}",
        "~": r"\~{}",
        "\\": r"\textbackslash{}",
    }
)
_HEAD: tuple[str, ...] = (
    "estimator",
    "baseline",
    "sampler",
    "bias |z|",
    "bias",
    "variance",
    "cost",
    "var × cost",
    "signal/noise",
    "ms",
)


@dataclass(frozen=True)
class Row:
    """One way to estimate the gradient, and how good it is on this problem.

    Attributes:
        estimator: its name, as `hunch.gradients.expectation` takes it.
        baseline: its baseline; empty where it has none.
        sampler: how samples are drawn; empty where none are.
        bias_z: largest distance of a coordinate's mean estimate from the reference, in standard
            errors.
        relative_bias: length of the mean error over length of the gradient; noise included.
        biased: whether `bias_z` is beyond what chance explains; an error of less than 1 % of the
            gradient's length in one coordinate is not, because rare events leave one.
        unbiased_by_design: false for the relaxations.
        variance: of one call's gradient, summed over its coordinates.
        evaluations: of the cost in one call, per factor.
        signal_to_noise: length of the gradient over the root of `variance`.
        milliseconds: median time of one call with its backward pass.
        failed: share of the calls that gave NaN or infinity; then the figures above are infinite.
        judged: whether there was a reference that is not this estimator itself; without one
            `bias_z` and `relative_bias` are 0 and say nothing.
        unseen: whether samples decide that are too rare to have come in these calls: then the mean
            is off by more than its variance explains, the variance is too small a figure, and
            nothing is judged.
    """

    estimator: str
    baseline: str
    sampler: str
    bias_z: float
    relative_bias: float
    biased: bool
    unbiased_by_design: bool
    variance: float
    evaluations: int
    signal_to_noise: float
    milliseconds: float
    failed: float = 0.0
    judged: bool = True
    unseen: bool = False

    @property
    def variance_cost(self) -> float:
        """Variance times evaluations: what one evaluation's variance would be. Lower is better."""
        return self.variance * self.evaluations

    @property
    def trusted(self) -> bool:
        """Whether it is unbiased, by design and by what was found; never if nothing judged it."""
        return self.doubt == 0

    @property
    def doubt(self) -> int:
        """0 if trusted, 1 if nothing judged it, 2 if it is biased or may be, 3 if it fails."""
        if self.failed:
            return 3
        if self.biased or not self.unbiased_by_design:
            return 2
        return 0 if self.judged else 1

    @property
    def label(self) -> str:
        """Estimator, baseline and sampler in a few words."""
        sampler = "" if self.sampler == "iid" else self.sampler
        return " + ".join(part for part in (self.estimator, self.baseline, sampler) if part)

    def to_json(self) -> dict[str, object]:
        """Plain values, the same for the same seed: no time; what is infinite is None."""
        figures = {**vars(self), "variance_cost": self.variance_cost}
        del figures["milliseconds"]
        if not self.unseen:
            del figures["unseen"]
        infinite = (name for name, x in figures.items() if x in (math.inf, -math.inf) or x != x)
        return figures | dict.fromkeys(infinite)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The row that `to_json` wrote; its time is NaN, and what was not finite is infinite."""
        names = {part.name for part in fields(cls)} & set(values)
        figures: dict[str, Any] = {
            name: math.inf if values[name] is None else values[name] for name in names
        }
        return cls(**figures, milliseconds=math.nan)


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """The rows, best first and biased ones last; `str()` gives a table.

    Attributes:
        rows: one per way that applies.
        skipped: (way, reason) for those that do not.
        n: samples per call.
        repeats: calls per row.
        coordinates: of the gradient.
        gradient_norm: length of the reference gradient.
        reference: where the reference gradient comes from.
        second_reference: where the gradient comes from that agrees with it, and judges the ways
            that the reference is made by; None if there is none.
        limit: the `bias_z` beyond which a row counts as biased: an unbiased one anywhere in the
            table would pass it once in a thousand tables.
        seed: decides every draw.
        recommendation: in words.
    """

    rows: tuple[Row, ...]
    skipped: tuple[tuple[str, str], ...]
    n: int
    repeats: int
    coordinates: int
    gradient_norm: float
    reference: str
    limit: float
    seed: int
    recommendation: str
    second_reference: str | None = None

    @property
    def usable(self) -> bool:
        """Whether there is a way that was not found wrong."""
        return any(row.doubt < 2 for row in self.rows)

    def to_json(self) -> dict[str, object]:
        """Plain values, the same for the same seed: no times; what is infinite is None."""
        return {
            **vars(self),
            "rows": [row.to_json() for row in self.rows],
            "skipped": [list(pair) for pair in self.skipped],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The diagnosis that `to_json` wrote, without times."""
        rows = tuple(Row.from_json(row) for row in values["rows"])
        skipped = tuple((way, reason) for way, reason in values["skipped"])
        return cls(**{**values, "rows": rows, "skipped": skipped})

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the variance per evaluation of every way, biased ones in another color.

        Args:
            ax: matplotlib's axes to draw in; None makes a figure.

        Raises:
            MissingDependencyError: if matplotlib is not installed.

        Example:
            >>> import torch
            >>> from hunch.gradients import diagnose
            >>> found = diagnose(torch.square, torch.distributions.Exponential, torch.ones(1), n=4)
            >>> found.plot().get_xscale()
            'log'
        """
        return plotted(self, ax=ax)

    def to_frame(self) -> DataFrame:
        """A data frame of pandas, a row a way, with the attributes of `Row` and `variance_cost`.

        Raises:
            MissingDependencyError: if pandas is not installed.
        """
        names = [*(part.name for part in fields(Row)), "variance_cost", "trusted"]
        return data_frame({name: [getattr(row, name) for row in self.rows] for name in names})

    def to_latex(self) -> str:
        r"""The table as a `tabular` of LaTeX, which needs the package booktabs.

        Example:
            >>> row = Row("score", "loo", "iid", 0.5, 0.0, False, True, 4.0, 16, 0.2, 1.0)
            >>> one = Diagnosis((row,), (), 16, 100, 1, 1.0, "exact", 4.0, 0, "Use it.")
            >>> print(one.to_latex().splitlines()[-3])
            score & loo & iid & 0.5 & no & 4 & 16 & 64 & 0.2 & 1.00 \\
        """
        head, *body = (
            " & ".join(cell.translate(_LATEX) for cell in line) + r" \\" for line in self.table()
        )
        columns = "lll" + "r" * (len(_HEAD) - 3)
        lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body]
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])

    def table(self) -> list[tuple[str, ...]]:
        """The head of the table and its rows, as text."""
        return [_HEAD, *(_cells(row) for row in self.rows)]

    def __repr__(self) -> str:
        ways = f"{len(self.rows)} ways, {self.coordinates} coordinates, n={self.n}"
        return f"Diagnosis({ways}: {self.recommendation.partition(':')[0]})"

    def _repr_html_(self) -> str:
        return card(self.recommendation, self.table())

    def __str__(self) -> str:
        lines = self.table()
        widths = [max(len(line[i]) for line in lines) for i in range(len(_HEAD))]
        table = [
            "  ".join(
                cell.ljust(width) if i < 3 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        notes = [
            f"{self.repeats} calls a row, n={self.n}; reference: {self.references()}; "
            f"biased if |z| > {self.limit:.1f}.",
            *_left_out(self.skipped),
            self.recommendation,
        ]
        return "\n".join([*table, "", *notes])

    def references(self) -> str:
        """Where the reference gradient comes from, and what confirms it."""
        if self.second_reference is None:
            return self.reference
        return f"{self.reference}, confirmed by {self.second_reference}"


def _cells(row: Row) -> tuple[str, ...]:
    exact = math.isinf(row.signal_to_noise)
    return (
        row.estimator,
        row.baseline,
        row.sampler,
        f"{row.bias_z:.1f}" if row.judged else "",
        _bias(row),
        f"{row.variance:.3g}",
        str(row.evaluations),
        f"{row.variance_cost:.3g}",
        "exact" if exact and row.trusted else "no noise" if exact else f"{row.signal_to_noise:.3g}",
        f"{row.milliseconds:.2f}",
    )


def _bias(row: Row) -> str:
    if row.failed:
        return f"fails {max(row.failed, 0.01):.0%}"
    if not row.judged:
        return "unjudged"
    if row.biased:
        return f"{row.relative_bias:.0%}"
    return "no" if row.trusted else "not seen"


def _left_out(skipped: Sequence[tuple[str, str]]) -> list[str]:
    """One line for all that share a reason, of which the first clause is enough here."""
    ways: dict[str, list[str]] = {}
    for way, reason in skipped:
        ways.setdefault(reason.split(";")[0], []).append(way)
    return [f"left out: {', '.join(names)}: {reason}." for reason, names in ways.items()]


def recommend(rows: Sequence[Row]) -> str:
    """What to use and what to beware of, in two to five sentences.

    Args:
        rows: at least one.

    Example:
        >>> row = Row("score", "loo", "iid", 0.5, 0.0, False, True, 4.0, 16, 0.2, 1.0)
        >>> recommend([row])[:37]
        "Use estimator='score', baseline='loo'"
    """
    words: list[str] = []
    trusted = [row for row in rows if row.trusted]
    if trusted:
        best = min(trusted, key=lambda row: (row.variance_cost, row.evaluations))
        words.append(f"Use {_call(best)}: {_why(best, rows)}.")
        if best.signal_to_noise < 1:
            calls = math.ceil(best.signal_to_noise**-2) if best.signal_to_noise > 0 else 0
            words.append(
                "Its noise is larger than the gradient"
                + (
                    f": it takes the mean of about {calls} calls, or one call with {calls} times n "
                    "samples, to bring it down to the gradient's size."
                    if calls
                    else ", which is zero."
                )
            )
    elif unjudged := [row for row in rows if row.doubt == 1]:
        best = min(unjudged, key=lambda row: (row.variance_cost, row.evaluations))
        words.append(
            f"Nothing here was found to be right: there is no independent reference for "
            f"{_call(best)}, which is unbiased by design and the quietest of those; give `exact` "
            "where you know it."
        )
    else:
        words.append("No way that applies here is unbiased: take another estimator.")
    unseen = [row.label for row in rows if row.unseen]
    if unseen:
        words.append(
            f"Samples too rare to have come in these calls decide over {', '.join(unseen)}, which "
            "are unjudged: raise `repeats`."
        )
    failing = list(dict.fromkeys(row.label for row in rows if row.failed))
    if failing:
        words.append(f"NaN or infinite gradients: {', '.join(failing)}.")
    wrong = [row for row in rows if row.biased and not row.failed]
    ways = [row for row in rows if row.estimator == "pathwise"]
    if ways and all(row in wrong for row in ways):
        words.append(
            "The pathwise gradient is biased here: the cost is not continuous in the sample, or "
            "rsample() is no true path."
        )
    odd = [row for row in wrong if row.unbiased_by_design and row.estimator != "pathwise"]
    if odd:
        worst = {row.estimator: row for row in sorted(odd, key=lambda row: row.relative_bias)}
        names = ", ".join(f"{name} by up to {row.relative_bias:.0%}" for name, row in worst.items())
        words.append(f"Found biased, though no cost should make it so: {names}.")
    softened = [row for row in wrong if not row.unbiased_by_design]
    if softened:
        names = ", ".join(f"{row.estimator} by {row.relative_bias:.0%}" for row in softened)
        words.append(f"Biased: {names}.")
    return " ".join(words)


def _call(row: Row) -> str:
    parts = [f"estimator={row.estimator!r}"]
    if row.baseline:
        # The moving average keeps its state in an object, which is what has to be given.
        baseline = {"ema": "EMA()", "none": "None"}.get(row.baseline, repr(row.baseline))
        parts.append(f"baseline={baseline}")
    if row.sampler not in ("", "iid"):
        parts.append(f"sampler={row.sampler!r}")
    return ", ".join(parts)


def _why(best: Row, rows: Sequence[Row]) -> str:
    if math.isinf(best.signal_to_noise):
        return f"it is exact, at {best.evaluations} evaluations of the cost{_instead(best, rows)}"
    plain = next((row for row in rows if row.label == "score + none"), None)
    if plain is None or plain is best or best.variance_cost <= 0:
        return "no bias was found and its variance per evaluation is the lowest"
    return (
        f"no bias was found, and at equal cost its variance is {_times(plain, best)} times lower "
        "than that of the score function without a baseline"
    )


def _instead(best: Row, rows: Sequence[Row]) -> str:
    """What to take where the exact sum is too dear."""
    others = [r for r in rows if r.trusted and 10 * r.evaluations <= best.evaluations]
    if not others:
        return ""
    row = min(others, key=lambda r: r.variance_cost)
    return (
        f" in each call, all of them in memory at once; where that is too much, {_call(row)} takes "
        f"{row.evaluations}"
    )


def _times(plain: Row, best: Row) -> str:
    ratio = plain.variance_cost / best.variance_cost
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}"
