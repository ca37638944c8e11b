"""One self-contained HTML page of text, figures, tables, films and a video.

Everything is inside the file: it opens from disk, and a content policy forbids it to ask for
anything from elsewhere.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

from hunch.charts import Chart
from hunch.plots.panel import to_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    Drawing = Chart | Figure

_FILM_SCALE: Final = 32_000  # films.js divides by the same number
# Colors of figures that are the page's own, so that they can be read on dark paper too.
_OF_THE_PAGE: Final = {
    "fill: #ffffff": "fill: none",
    "stroke: #000000": "stroke: currentColor",
    "stroke: #111111": "stroke: currentColor",
    "fill: #111111": "fill: currentColor",
    "stroke: #666666": "stroke: var(--soft)",
    "fill: #666666": "fill: var(--soft)",
    "stroke: #0072b2": "stroke: var(--blue)",
    "fill: #0072b2": "fill: var(--blue)",
}


class Block(Protocol):
    """A piece of a section."""

    def to_html(self) -> str:
        """The piece as HTML."""


@dataclass(frozen=True)
class Text:
    """Paragraphs, one a string; `code` between back-ticks, all else plain.

    Example:
        >>> Text("A `net` & more").to_html()
        '<p>A <code>net</code> &amp; more</p>'
    """

    paragraphs: str
    heading: str | None = None

    def to_html(self) -> str:
        """The paragraphs, with their heading."""
        head = f"<h3>{_inline(self.heading)}</h3>" if self.heading else ""
        return head + "".join(f"<p>{_inline(p)}</p>" for p in self.paragraphs.split("\n\n") if p)


@dataclass(frozen=True)
class Notice:
    """Paragraphs in a frame, for what must be read before all else.

    Args:
        paragraphs: as those of `Text`.
        tone: `"good"`, `"fair"` or `"bad"`, the color of the frame.

    Example:
        >>> Notice("Look out.", "bad").to_html()
        '<div class="notice bad"><p>Look out.</p></div>'
    """

    paragraphs: str
    tone: Literal["good", "fair", "bad"]

    def to_html(self) -> str:
        """The paragraphs in their frame."""
        return f'<div class="notice {self.tone}">{Text(self.paragraphs).to_html()}</div>'


@dataclass(frozen=True)
class Facts:
    """A few figures that stand out, each as (name, figure, remark).

    Example:
        >>> "<dd>96</dd>" in Facts([("rows", "96", "held out")]).to_html()
        True
    """

    facts: Sequence[tuple[str, str, str]]

    def to_html(self) -> str:
        """The figures beside each other."""
        cards = "".join(
            f"<div><dt>{_inline(name)}</dt><dd>{_inline(figure)}</dd>"
            f'<dd class="note">{_inline(remark)}</dd></div>'
            for name, figure, remark in self.facts
        )
        return f'<dl class="facts">{cards}</dl>'


@dataclass(frozen=True)
class Beside:
    """Two columns of pieces where there is room, else the second below the first."""

    first: Sequence[Block]
    second: Sequence[Block]

    def to_html(self) -> str:
        """Both columns."""
        columns = (
            "".join(block.to_html() for block in blocks) for blocks in (self.first, self.second)
        )
        return '<div class="beside">' + "".join(f"<div>{c}</div>" for c in columns) + "</div>"


@dataclass(frozen=True)
class Code:
    """Text in a typewriter's letters, line for line.

    Example:
        >>> Code("a < b").to_html()
        '<pre><code>a &lt; b</code></pre>'
    """

    text: str

    def to_html(self) -> str:
        """The text, scrolling sideways where it is too wide."""
        return f"<pre><code>{html.escape(self.text)}</code></pre>"


@dataclass(frozen=True)
class Figures:
    """Figures side by side where there is room: name to (figure, caption).

    A sentence in the place of a figure, where there is nothing to be seen, stands below them.
    """

    figures: Mapping[str, tuple[Drawing, str] | str]

    def to_html(self) -> str:
        """A grid of figures whose rows are full, with one figure its caption stands beside it."""
        drawn = {name: own for name, own in self.figures.items() if not isinstance(own, str)}
        said = [own for own in self.figures.values() if isinstance(own, str)]
        cards = "".join(
            f'<figure id="{html.escape(name)}" class="{width}">{_svg(figure, caption, name)}'
            f"<figcaption>{_inline(caption)}</figcaption></figure>"
            for (name, (figure, caption)), width in zip(
                drawn.items(), _widths(len(drawn)), strict=True
            )
        )
        grid = f'<div class="figures">{cards}</div>' if drawn else ""
        return grid + "".join(f"<p>{_inline(sentence)}</p>" for sentence in said)


@dataclass(frozen=True)
class Table:
    """A table with a head; cells are text already formatted.

    Numbers stand to the right, on one line; cells of `words` stand to the left and wrap. What
    follows the first line of a cell is small.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    words: bool = False

    def to_html(self) -> str:
        """The table, scrolling sideways where it is too wide."""
        head = "".join(f"<th>{_inline(cell)}</th>" for cell in self.head)
        rows = "".join(
            "<tr>" + "".join(f"<td>{_cell(cell)}</td>" for cell in row) + "</tr>"
            for row in self.rows
        )
        note = f'<p class="note">{_inline(self.caption)}</p>' if self.caption else ""
        kind = "table words" if self.words else "table"
        return (
            f'<div class="{kind}"><table><thead><tr>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table></div>{note}"
        )


@dataclass(frozen=True)
class Claim:
    """A claim, and for each of its figures whether it holds: (text, holds)."""

    claim: str
    checks: Sequence[tuple[str, bool]]

    def to_html(self) -> str:
        """The claim, the figures that fail, and those that hold folded up in one line."""
        held = [text for text, holds in self.checks if holds]
        failed = [text for text, holds in self.checks if not holds]
        shown = ""
        if failed:
            items = "".join(
                f'<li><span class="fails">does not hold</span> {_inline(text)}</li>'
                for text in failed
            )
            shown += f"<ul>{items}</ul>"
        if held:
            count = f"{len(held)} of {len(self.checks)} figures hold"
            if not failed:
                count = f"All {len(held)} figures hold" if len(held) > 1 else "Its figure holds"
            items = "".join(f"<li>{_inline(text)}</li>" for text in held)
            shown += f'<details><summary class="holds">{count}</summary><ul>{items}</ul></details>'
        return f'<div class="claim">{_inline(self.claim)}{shown}</div>'


@dataclass(frozen=True)
class Video:
    """An MP4 that plays inside the page."""

    mp4: bytes
    caption: str

    def to_html(self) -> str:
        """The video with controls, silent and looping."""
        data = base64.b64encode(self.mp4).decode()
        return (
            '<figure class="video"><video controls autoplay muted loop playsinline '
            f'src="data:video/mp4;base64,{data}"></video>'
            f"<figcaption>{_inline(self.caption)}</figcaption></figure>"
        )


@dataclass(frozen=True)
class Film:
    """Curves that move: `frames (frames, curves, points)` over an even grid from x[0] to x[1]."""

    title: str
    steps: Sequence[int]
    frames: npt.NDArray[np.float32]
    x: tuple[float, float]
    y: tuple[float, float]
    data: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Films:
    """Films that share one clock, a slider and a button."""

    films: Sequence[Film]
    caption: str

    def to_html(self) -> str:
        """A canvas for each film."""
        cards = "".join(self._card(film) for film in self.films)
        return (
            '<div class="films"><div class="film-controls"><button type="button">Pause</button>'
            '<input type="range" min="0" value="0" aria-label="step"><output></output></div>'
            f'<div class="figures">{cards}</div><p class="note">{_inline(self.caption)}</p></div>'
        )

    def _card(self, film: Film) -> str:
        low, high = film.y
        # Two bytes a point: with one, steps of a pixel and a half show on a large screen.
        scaled = np.round((film.frames - low) / (high - low) * 2 * _FILM_SCALE - _FILM_SCALE)
        values = np.clip(scaled, -_FILM_SCALE, _FILM_SCALE).astype("<i2")
        _, members, points = film.frames.shape
        meta = {
            "steps": list(film.steps),
            "members": members,
            "points": points,
            "x": film.x,
            "y": film.y,
            "data": np.round(film.data.astype(float), 3).tolist(),
        }
        return (
            f'<figure><canvas role="img" aria-label="{html.escape(film.title)}" '
            f"data-meta='{json.dumps(meta, separators=(',', ':'))}' "
            f'data-frames="{base64.b64encode(values.tobytes()).decode()}"></canvas>'
            f"<figcaption>{_inline(film.title)}</figcaption></figure>"
        )


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    key: str
    title: str
    source: str
    blocks: Sequence[Block]

    def to_html(self) -> str:
        """The section under its heading."""
        body = "\n".join(block.to_html() for block in self.blocks)
        return (
            f'<section id="{html.escape(self.key)}"><h2>{_inline(self.title)}</h2>'
            f'<p class="source">{_inline(self.source)}</p>\n{body}\n</section>'
        )


def render_page(
    title: str, introduction: Sequence[Block], sections: Sequence[Section], *, warning: str = ""
) -> str:
    """The whole page as one HTML text.

    Args:
        title: of the page.
        introduction: what stands before the sections.
        sections: the parts, in order; a list of links is made of their titles.
        warning: shown in a frame at the top, if any.

    Example:
        >>> page = render_page("Hello", [Text("One.")], [])
        >>> "Content-Security-Policy" in page, "<h1>Hello</h1>" in page
        (True, True)
    """
    links = "".join(
        f'<li><a href="#{html.escape(s.key)}">{_inline(s.title)}</a></li>' for s in sections
    )
    frame = f'<p class="quick">{_inline(warning)}</p>' if warning else ""
    body = "\n".join(s.to_html() for s in sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>{html.escape(title)}</title>
<style>
{_asset("page.css")}</style>
</head>
<body>
<header><h1>{_inline(title)}</h1>{frame}
{"".join(block.to_html() for block in introduction)}
<nav><ul>{links}</ul></nav></header>
<main>
{body}
</main>
<script>
{_asset("films.js")}</script>
</body>
</html>
"""


def _inline(text: str) -> str:
    pieces = html.escape(text, quote=False).split("`")
    return "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(pieces))


def _cell(text: str) -> str:
    first, *more = text.split("\n")
    return _inline(first) + "".join(f"<small>{_inline(line)}</small>" for line in more if line)


def _widths(count: int) -> list[str]:
    """How wide each of so many figures is, so that no row of a wide page is left half empty.

    Example:
        >>> _widths(5), _widths(4)
        (['third', 'third', 'third', 'half', 'half'], ['half', 'half', 'half', 'half'])
    """
    halves = {0: 0, 1: 4, 2: 2}[count % 3] if count > 1 else 0
    return ["alone"][:count] if count < 2 else ["third"] * (count - halves) + ["half"] * halves


def _svg(figure: Drawing, caption: str, name: str) -> str:
    label = html.escape(caption, quote=True)
    begin = f'<svg role="img" aria-label="{label}" '
    if isinstance(figure, Chart):  # its colors are the page's, and it has no identifiers
        return figure.to_svg().replace("<svg ", begin, 1)
    svg = to_svg(figure).replace("<svg ", begin, 1)
    for drawn, shown in _OF_THE_PAGE.items():
        svg = svg.replace(drawn, shown)
    # Identifiers are unique within a figure only.
    prefix = html.escape(name) + "-"
    return (
        svg.replace('id="', f'id="{prefix}')
        .replace('"#', f'"#{prefix}')
        .replace("url(#", f"url(#{prefix}")
    )


def _asset(name: str) -> str:
    return resources.files("hunch.plots").joinpath("assets", name).read_text(encoding="utf-8")
