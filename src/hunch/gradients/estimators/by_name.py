"""The estimators by name.

Add here: a function of a `Request` in a file of its own, and a line in `ESTIMATORS`.
"""

from __future__ import annotations

from typing import Final

from hunch.gradients.estimators.enumeration import enumerate_support
from hunch.gradients.estimators.measure import measure
from hunch.gradients.estimators.pathwise import auto, pathwise
from hunch.gradients.estimators.relax import Relax
from hunch.gradients.estimators.relaxations import Gumbel, StraightThrough
from hunch.gradients.estimators.request import Estimator
from hunch.gradients.estimators.score import score

ESTIMATORS: Final[dict[str, Estimator]] = {
    "auto": auto,
    "score": score,
    "pathwise": pathwise,
    "enumerate": enumerate_support,
    "measure": measure,
    "rebar": Relax(),
    "straight_through": StraightThrough(),
    "gumbel": Gumbel(),
}
