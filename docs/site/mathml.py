"""Equations as MathML, made when the site is built: no script, no font, nothing fetched.

Docstrings write their equations in Unicode, to be read in a terminal; `latex` turns such a line
into LaTeX. Pages of the site write LaTeX themselves.
"""

from __future__ import annotations

import re
from typing import Any, Final

_SYMBOLS: Final = {
    "Σ": r"\sum", "Π": r"\prod", "√": r"\sqrt", "μ": r"\mu ", "σ": r"\sigma ", "φ": r"\phi ",
    "ω": r"\omega ", "θ": r"\theta ", "λ": r"\lambda ", "γ": r"\gamma ", "ε": r"\varepsilon ",
    "τ": r"\tau ", "π": r"\pi ", "ℓ": r"\ell ", "·": r"\cdot ", "−": "-", "≈": r"\approx ",
    "~": r"\sim ", "²": "^{2}", "³": "^{3}", "⊙": r"\odot ", "≤": r"\le ", "≥": r"\ge ",
    "ỹ": r"\tilde{y}", "∞": r"\infty ", "𝔼": r"\mathbb{E}",
}  # fmt: skip


def latex(line: str) -> str:
    r"""LaTeX of an equation as docstrings write it.

    Example:
        >>> latex("p(x) = √(2/M) Σ_j w_j x²")
        'p(x) = \\sqrt{2/M} \\sum_{j} w_{j} x^{2}'
    """
    text = re.sub(r"√\(([^()]*)\)", r"√{\1}", line.strip())
    text = re.sub(r"_([A-Za-z]+)", r"_{\1}", text)
    # Words are upright; what stands behind an underscore stays as it is.
    text = re.sub(
        r"(?<![_{\w])([A-Za-z]{2,}(?: [a-z]{2,})*)(?![\w}])",
        lambda word: rf"\operatorname{{{word[1]}}}" if " " not in word[1] else _words(word[1]),
        text,
    )
    text = re.sub(r" {2,}", r" \\quad ", text)
    text = text.replace(", cov", r",\; cov")
    return "".join(_SYMBOLS.get(letter, letter) for letter in text)


def _words(text: str) -> str:
    return rf"\text{{ {text} }}"


def _mathml(text: str, *, display: str) -> str:
    from latex2mathml.converter import convert

    return convert(text, display=display)


def _of(node: Any, display: str) -> str:
    from sphinx.util import logging

    try:
        return _mathml(node.astext().strip(), display=display)
    except Exception as error:  # of any kind: the page is named, and the build fails
        logging.getLogger(__name__).warning("%r: %r", error, node.astext().strip(), location=node)
        return ""


def _inline(translator: Any, node: Any) -> None:
    from docutils.nodes import SkipNode

    translator.body.append(_of(node, "inline"))
    raise SkipNode


def _block(translator: Any, node: Any) -> None:
    from docutils.nodes import SkipNode

    translator.body.append(translator.starttag(node, "div", CLASS="equation"))
    translator.body.append(_of(node, "block"))
    translator.body.append("</div>")
    raise SkipNode


def setup(app: Any) -> None:
    """Make MathML the way in which pages show equations."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.config.html_math_renderer = "mathml"
