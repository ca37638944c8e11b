"""The first mention of a glossary's term on a page leads to the glossary."""

from __future__ import annotations

import re
from typing import Any, Final

from docutils import nodes

# As a word stands in a text, and the term it leads to.
WORDS: Final = {
    r"aleatoric": "aleatoric",
    r"antithetic": "antithetic sampling",
    r"bootstraps?": "bootstrap",
    r"calibrated|calibration": "calibration",
    r"conformal": "conformal prediction",
    r"coverage": "coverage",
    r"CRPS": "CRPS",
    r"deep sea": "deep sea",
    r"dueling": "dueling network",
    r"epinets?": "epinet",
    r"epistemic": "epistemic",
    r"ε-greedy": "ε-greedy",
    r"exchangeable": "exchangeable",
    r"factorized noise": "factorized noise",
    r"Gumbel-softmax": "Gumbel-softmax",
    r"leave-one-out": "leave-one-out",
    r"mutual information": "mutual information",
    r"nats?": "nat",
    r"NoisyNets?": "NoisyNet",
    r"out-of-bag": "out-of-bag",
    r"pathwise": "pathwise gradient",
    r"posterior": "posterior",
    r"randomi[sz]ed priors?": "randomised prior",
    r"REINFORCE": "REINFORCE",
    r"replay": "replay",
    r"replicas?": "replica",
    r"ridges?": "ridge",
    r"score functions?": "score function",
    r"straight-through": "straight-through",
    r"target networks?": "target network",
    r"Thompson sampling": "Thompson sampling",
}
_ANY: Final = re.compile(
    "|".join(rf"(?P<w{i}>(?<![\w-])(?:{word})(?![\w-]))" for i, word in enumerate(WORDS))
)
_TERMS: Final = list(WORDS.values())
_LEFT_ALONE: Final = (
    nodes.literal,
    nodes.literal_block,
    nodes.reference,
    nodes.title,
    nodes.term,
    nodes.thead,
    nodes.Invisible,
)


def _link(app: Any, doctree: nodes.document) -> None:
    page = app.env.docname
    if page in ("index", "glossary", "CHANGELOG"):
        return
    seen: set[str] = set()
    for text in list(doctree.findall(nodes.Text)):
        if _is_prose(text):
            made = _linked(str(text), seen, page)
            if len(made) > 1:
                text.parent.replace(text, made)


def _is_prose(text: nodes.Text) -> bool:
    """Whether it stands in a paragraph, and in nothing that is a link or code."""
    from sphinx import addnodes

    left_alone = (*_LEFT_ALONE, addnodes.pending_xref, addnodes.desc_signature, addnodes.toctree)
    paragraph, node = False, text.parent
    while node is not None:
        if isinstance(node, left_alone):
            return False
        paragraph = paragraph or isinstance(node, nodes.paragraph)
        node = node.parent
    return paragraph


def _linked(text: str, seen: set[str], page: str) -> list[nodes.Node]:
    from sphinx import addnodes

    made: list[nodes.Node] = []
    done = 0
    for found in _ANY.finditer(text):
        term = _TERMS[int((found.lastgroup or "w0")[1:])]
        if term in seen:
            continue
        seen.add(term)
        shown = nodes.inline("", found[0], classes=["xref", "std", "std-term"])
        target = {"refdomain": "std", "reftype": "term", "reftarget": term, "refdoc": page}
        link = addnodes.pending_xref("", shown, refexplicit=True, refwarn=True, **target)
        made += [nodes.Text(text[done : found.start()]), link]
        done = found.end()
    return [*made, nodes.Text(text[done:])]


def setup(app: Any) -> None:
    """Link once a page has been read."""
    app.connect("doctree-read", _link)
