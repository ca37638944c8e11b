"""One panel of lines, bands, bars and dots, as SVG text.

Colors, and the ink of text and axes, are those of the page that it stands on, so that a chart can
be read in the light and in the dark. Text stays text, in the page's own face.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from hunch.charts.colors import GRAY, INK
from hunch.charts.lettering import fitted, width_of, wrapped
from hunch.charts.scales import (
    Array,
    Format,
    Scale,
    fitting_ticks,
    limits_of,
    plain_number,
    ticks,
)

WIDTH: Final = 420.0
_SIZE: Final = 12.0  # of letters
_TITLE: Final = 13.5
_LINE: Final = 1.35  # height of a line of text, in sizes
_PAD: Final = 6.0
_LEGEND: Final = 16.0  # the sample of a color
_MOST_ASIDE: Final = 0.42  # of the width, that names beside an axis may take

Draw = Callable[[Scale, Scale], str]
Limits = tuple[float | None, float | None]


@dataclass(frozen=True)
class _Mark:
    """Something drawn: the values that axes must hold, and what makes SVG of it."""

    x: Array
    y: Array
    draw: Draw
    firm: bool = False  # stands on 0, below which there is no margin


class Chart:
    """One panel. What is drawn first lies below; axes hold all that is drawn.

    Args:
        title: what it shows, in a few words.
        x_label: quantity and unit.
        y_label: quantity and unit.
        height: in units of which the chart is 420 wide.
        log_x: whether the x axis is logarithmic.
        log_y: whether the y axis is.

    Example:
        >>> from hunch.charts import BLUE
        >>> chart = Chart("A line", "x", "y").line([0, 1, 2], [0, 1, 4], BLUE)
        >>> chart.to_svg()[:45]
        '<svg viewBox="0 0 420 300" width="100%" font-'
    """

    def __init__(
        self,
        title: str,
        x_label: str = "",
        y_label: str = "",
        *,
        height: float = 300.0,
        log_x: bool = False,
        log_y: bool = False,
    ) -> None:
        self.title, self.x_label, self.y_label = title, x_label, y_label
        self.height, self.log_x, self.log_y = height, log_x, log_y
        self._marks: list[_Mark] = []
        self._labels: list[tuple[str, str, str]] = []  # text, color, dash
        self._names_across: list[str] | None = None
        self._names_down: list[str] | None = None
        self._x_limits: Limits = (None, None)
        self._y_limits: Limits = (None, None)
        self._x_format: Format = plain_number
        self._y_format: Format = plain_number

    def line(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        color: str,
        *,
        width: float = 2.0,
        dash: str = "",
        opacity: float = 1.0,
        label: str = "",
    ) -> Self:
        """A line through points; one that is NaN breaks it."""
        xs, ys = _numbers(x), _numbers(y)
        style = f'fill="none" stroke="{color}" stroke-width="{width:g}" stroke-linejoin="round"'
        style += f' stroke-dasharray="{dash}"' if dash else ""

        def draw(to_x: Scale, to_y: Scale) -> str:
            return f'<path {style}{_faint(opacity)} d="{_path(to_x(xs), to_y(ys))}"/>'

        return self._add(_Mark(xs, ys, draw), color, label, dash)

    def dots(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        color: str,
        *,
        size: float = 6.0,
        cross: bool = False,
        opacity: float = 1.0,
        label: str = "",
    ) -> Self:
        """Dots, or crosses, at points."""
        xs, ys = _numbers(x), _numbers(y)
        # A line of no length with round ends is a dot; all of them are one path.
        width, ends = (size / 2.6, "butt") if cross else (size, "round")
        arm = round(size / 2, 1)
        shape = f"m-{arm}-{arm}l{size} {size}m0-{size}l-{size} {size}" if cross else "h0"
        style = f'fill="none" stroke="{color}" stroke-width="{width:.3g}" stroke-linecap="{ends}"'

        def draw(to_x: Scale, to_y: Scale) -> str:
            places = _places(to_x(xs), to_y(ys))
            marks = "".join(f"M{a} {b}{shape}" for a, b in places)
            return f'<path {style}{_faint(opacity)} d="{marks}"/>'

        return self._add(_Mark(xs, ys, draw), color, label)

    def band(
        self,
        x: npt.ArrayLike,
        low: npt.ArrayLike,
        high: npt.ArrayLike,
        color: str,
        *,
        opacity: float = 0.2,
        label: str = "",
    ) -> Self:
        """The area between two lines."""
        xs, lows, highs = _numbers(x), _numbers(low), _numbers(high)
        known = np.isfinite(lows) & np.isfinite(highs)
        xs, lows, highs = xs[known], lows[known], highs[known]

        def draw(to_x: Scale, to_y: Scale) -> str:
            edge = _path(
                to_x(np.concatenate([xs, xs[::-1]])), to_y(np.concatenate([lows, highs[::-1]]))
            )
            return f'<path fill="{color}"{_faint(opacity)} d="{edge}Z"/>' if edge else ""

        return self._add(_Mark(xs, np.concatenate([lows, highs]), draw), color, label)

    def sticks(
        self,
        x: npt.ArrayLike,
        low: npt.ArrayLike,
        high: npt.ArrayLike,
        color: str,
        *,
        width: float = 1.4,
        opacity: float = 1.0,
    ) -> Self:
        """An upright line at each x."""
        xs, lows, highs = _numbers(x), _numbers(low), _numbers(high)
        style = f'fill="none" stroke="{color}" stroke-width="{width:g}"{_faint(opacity)}'

        def draw(to_x: Scale, to_y: Scale) -> str:
            ends = zip(_places(to_x(xs), to_y(lows)), to_y(highs).round(1).tolist(), strict=True)
            return f'<path {style} d="{"".join(f"M{a} {b}V{c:g}" for (a, b), c in ends)}"/>'

        return self._add(_Mark(xs, np.concatenate([lows, highs]), draw))

    def boxes(
        self,
        left: npt.ArrayLike,
        right: npt.ArrayLike,
        bottom: npt.ArrayLike,
        top: npt.ArrayLike,
        color: str,
        *,
        opacity: float = 1.0,
        label: str = "",
    ) -> Self:
        """Filled boxes, each from left to right and from bottom to top."""
        sides = np.broadcast_arrays(*map(_numbers, (left, right, bottom, top)))

        def draw(to_x: Scale, to_y: Scale) -> str:
            a, b, c, d = to_x(sides[0]), to_x(sides[1]), to_y(sides[2]), to_y(sides[3])
            shapes = [
                f"M{p:.6g} {q:.6g}H{r:.6g}V{s:.6g}H{p:.6g}Z"
                for p, q, r, s in np.stack([a, c, b, d], -1).round(1).reshape(-1, 4).tolist()
            ]
            return f'<path fill="{color}"{_faint(opacity)} d="{"".join(shapes)}"/>'

        xs, ys = np.concatenate(sides[:2], axis=None), np.concatenate(sides[2:], axis=None)
        return self._add(_Mark(xs, ys, draw, firm=True), color, label)

    def bars(
        self,
        lengths: npt.ArrayLike,
        color: str,
        *,
        thick: float = 0.72,
        shift: float = 0.0,
        label: str = "",
    ) -> Self:
        """Lying bars from 0, one for each of the names down the side."""
        ends = _numbers(lengths)
        middle = np.arange(len(ends)) + shift
        low, high = middle - thick / 2, middle + thick / 2
        return self.boxes(np.zeros(len(ends)), ends, low, high, color, label=label)

    def rule(
        self,
        *,
        x: float | None = None,
        y: float | None = None,
        color: str = GRAY,
        dash: str = "2 3",
    ) -> Self:
        """A line across the whole panel."""
        style = f'fill="none" stroke="{color}" stroke-width="1.2" stroke-dasharray="{dash}"'

        def draw(to_x: Scale, to_y: Scale) -> str:
            if x is not None:
                return f'<path {style} d="M{to_x(x):.1f} {to_y.start:.1f}V{to_y.end:.1f}"/>'
            return f'<path {style} d="M{to_x.start:.1f} {to_y(y or 0.0):.1f}H{to_x.end:.1f}"/>'

        at_x, at_y = ([] if value is None else [value] for value in (x, y))
        return self._add(_Mark(_numbers(at_x), _numbers(at_y), draw))

    def text(
        self, x: float, y: float, text: str, *, color: str = INK, anchor: str = "middle"
    ) -> Self:
        """Text at a point."""
        said = html.escape(text, quote=False)

        def draw(to_x: Scale, to_y: Scale) -> str:
            return (
                f'<text x="{to_x(x):.1f}" y="{to_y(y) + 0.35 * _SIZE:.1f}" fill="{color}" '
                f'text-anchor="{anchor}">{said}</text>'
            )

        return self._add(_Mark(_numbers([x]), _numbers([y]), draw))

    def down(self, names: Sequence[str]) -> Self:
        """Names down the side, the first on top: they stand at y = 0, 1, …."""
        self._names_down = list(names)
        return self

    def across(self, names: Sequence[str]) -> Self:
        """Names along the bottom, at x = 0, 1, …."""
        self._names_across = list(names)
        return self

    def limits(self, *, x: Limits = (None, None), y: Limits = (None, None)) -> Self:
        """The ends of the axes; None leaves an end to what is drawn."""
        self._x_limits, self._y_limits = x, y
        return self

    def formats(self, *, x: Format | None = None, y: Format | None = None) -> Self:
        """How values are written beside the axes."""
        self._x_format, self._y_format = x or self._x_format, y or self._y_format
        return self

    def to_svg(self) -> str:
        """The chart as an `<svg>` element as wide as what holds it; the same bytes each time."""
        head, top = self._head()
        low_y, high_y = self._ends(self._y_limits, self._names_down, "y")
        low_x, high_x = self._ends(self._x_limits, self._names_across, "x")
        slanted = self._are_slanted()
        bottom = self.height - self._below(slanted)
        down = self._names_down
        y_ticks = (
            [float(i) for i in range(len(down))]
            if down is not None
            else ticks(low_y, high_y, max(2, int((bottom - top) / 38)), log=self.log_y)
        )
        y_texts = [self._y_format(v) for v in y_ticks] if down is None else self._beside(down)
        # A page may show letters a little larger on a telephone.
        left = 1.08 * max((width_of(t, _SIZE) for t in y_texts), default=0.0) + _PAD
        left += _SIZE * _LINE + 2 if self.y_label else 2
        # Names are read from the top.
        start, end = (top, bottom) if down is not None else (bottom, top)
        to_y = Scale(low_y, high_y, start, end, self.log_y)
        to_x = Scale(low_x, high_x, left, WIDTH - _PAD - 4, self.log_x)
        parts = [
            *head,
            self._y_axis(to_x, to_y, y_ticks, y_texts),
            self._x_axis(to_x, to_y, bottom, slanted),
            *(mark.draw(to_x, to_y) for mark in self._marks),
        ]
        return (
            f'<svg viewBox="0 0 {WIDTH:g} {self.height:g}" width="100%" font-size="{_SIZE:g}" '
            f'fill="currentColor">{"".join(parts)}</svg>'
        )

    def _add(self, mark: _Mark, color: str = "", label: str = "", dash: str = "") -> Self:
        self._marks.append(mark)
        if label:
            self._labels.append((label, color, dash))
        return self

    def _head(self) -> tuple[list[str], float]:
        """The title and below it the legend, and where the panel may begin."""
        parts, y = [], 2.0
        for line in wrapped(self.title, WIDTH - 2 * _PAD, _TITLE):
            y += _TITLE * _LINE
            said = html.escape(line, quote=False)
            parts.append(
                f'<text class="title" x="2" y="{y - 4:.1f}" font-size="{_TITLE:g}">{said}</text>'
            )
        x = WIDTH
        for label, color, dash in self._labels:
            kind = f'stroke-dasharray="{dash}" stroke-width="2"' if dash else 'stroke-width="4"'
            wide = _LEGEND + width_of(label, _SIZE) + 3 * _PAD
            if x + wide > WIDTH:
                x, y = 2.0, y + _SIZE * _LINE
            parts.append(
                f'<path stroke="{color}" {kind} d="M{x:.1f} {y - 7:.1f}h{_LEGEND:g}"/>'
                f'<text x="{x + _LEGEND + _PAD:.1f}" y="{y - 3:.1f}">'
                f"{html.escape(label, quote=False)}</text>"
            )
            x += wide
        return parts, y + _PAD + 2

    def _ends(self, asked: Limits, names: Sequence[str] | None, axis: str) -> tuple[float, float]:
        if names is not None:
            return -0.6, len(names) - 0.4
        log = self.log_x if axis == "x" else self.log_y
        firm = any(mark.firm for mark in self._marks)
        low, high = limits_of(
            [mark.x if axis == "x" else mark.y for mark in self._marks], log, firm_at_zero=firm
        )
        low, high = (low if asked[0] is None else asked[0], high if asked[1] is None else asked[1])
        return low, high if high > low else low + 1.0

    def _beside(self, names: Sequence[str]) -> list[str]:
        return [fitted(name, _MOST_ASIDE * WIDTH, _SIZE) for name in names]

    def _are_slanted(self) -> bool:
        """Whether the names along the bottom are too long to stand side by side."""
        names = self._names_across or []
        room = 0.78 * WIDTH / max(1, len(names))
        return any(width_of(name, _SIZE) + _PAD > room for name in names)

    def _below(self, slanted: bool) -> float:
        room = _SIZE * _LINE + _PAD
        if slanted and self._names_across:
            room = max(width_of(name, _SIZE) for name in self._names_across) + 2 * _PAD
        return room + (_SIZE * _LINE if self.x_label else 0.0) + 2

    def _y_axis(
        self, to_x: Scale, to_y: Scale, values: Sequence[float], texts: Sequence[str]
    ) -> str:
        x, parts = to_x.start, []
        places = to_y(values).round(1).tolist() if values else []
        if self._names_down is None:
            lines = "".join(f"M{x:.1f} {y:g}H{to_x.end:.1f}" for y in places)
            parts.append(_grid(lines))
        parts += [
            f'<text x="{x - _PAD:.1f}" y="{y + 0.35 * _SIZE:.1f}" text-anchor="end" fill="{GRAY}">'
            f"{html.escape(text, quote=False)}</text>"
            for y, text in zip(places, texts, strict=True)
        ]
        parts.append(_axis(f"M{x:.1f} {to_y.start:.1f}V{to_y.end:.1f}"))
        if self.y_label:
            middle = (to_y.start + to_y.end) / 2
            said = fitted(self.y_label, abs(to_y.end - to_y.start) + 3 * _SIZE, _SIZE)
            parts.append(
                f'<text transform="translate({_SIZE:g} {middle:.1f})rotate(-90)" '
                f'text-anchor="middle" fill="{GRAY}">{html.escape(said, quote=False)}</text>'
            )
        return "".join(parts)

    def _x_axis(self, to_x: Scale, to_y: Scale, bottom: float, slanted: bool) -> str:
        names = self._names_across
        show = self._x_format
        values = (
            [float(i) for i in range(len(names))]
            if names is not None
            else fitting_ticks(
                to_x.low, to_x.high, to_x.end - to_x.start, 0.6 * _SIZE, show, log=self.log_x
            )
        )
        texts = names if names is not None else [show(v) for v in values]
        places = to_x(values).round(1).tolist() if values else []
        top = min(to_y.start, to_y.end)
        parts = [] if names else [_grid("".join(f"M{x:g} {top:.1f}V{bottom:.1f}" for x in places))]
        below = bottom + _SIZE * _LINE
        for x, text in zip(places, texts, strict=True):
            said, half = html.escape(text, quote=False), width_of(text, _SIZE) / 2
            where = f'x="{min(x, WIDTH - half):g}" y="{below:.1f}" text-anchor="middle"'
            if slanted:
                place = f"translate({x + 0.35 * _SIZE:.1f} {bottom + _PAD:.1f})rotate(-90)"
                where = f'transform="{place}" text-anchor="end"'
            parts.append(f'<text {where} fill="{GRAY}">{said}</text>')
        parts.append(_axis(f"M{to_x.start:.1f} {bottom:.1f}H{to_x.end:.1f}"))
        if self.x_label:
            said = html.escape(fitted(self.x_label, to_x.end, _SIZE), quote=False)
            middle = (to_x.start + to_x.end) / 2
            middle = min(middle, WIDTH - width_of(self.x_label, _SIZE) / 2)
            parts.append(
                f'<text x="{middle:.1f}" y="{self.height - 5:.1f}" text-anchor="middle" '
                f'fill="{GRAY}">{said}</text>'
            )
        return "".join(parts)


def _numbers(values: npt.ArrayLike) -> Array:
    return np.asarray(values, np.float64)


def _faint(opacity: float) -> str:
    return "" if opacity >= 1 else f' opacity="{opacity:.3g}"'


def _places(x: Array, y: Array) -> list[tuple[str, str]]:
    """Points to a tenth of a unit; finer digits only make a page heavy."""
    known = np.isfinite(x) & np.isfinite(y)
    return [(f"{a:g}", f"{b:g}") for a, b in np.stack([x[known], y[known]], -1).round(1).tolist()]


def _path(x: Array, y: Array) -> str:
    steps, begun = [], False
    for a, b in np.stack([x, y], -1).round(1).tolist():
        if not (math.isfinite(a) and math.isfinite(b)):
            begun = False
            continue
        steps.append(f"{'L' if begun else 'M'}{a:g} {b:g}")
        begun = True
    return "".join(steps)


def _grid(lines: str) -> str:
    return f'<path fill="none" stroke="currentColor" opacity="0.13" d="{lines}"/>' if lines else ""


def _axis(line: str) -> str:
    return f'<path fill="none" stroke="{GRAY}" d="{line}"/>'
