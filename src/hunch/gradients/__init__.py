"""The gradient of an expectation, for any distribution.

- `expectation`: value and unbiased gradient, of any order, of `E[f(z)]` for samples `z`.
- `diagnose`: bias, variance, cost and time of every estimator on your problem.
- `surrogate`: the same from log-probabilities and costs that you already have.
- `leave_one_out`: the baseline that costs nothing and helps most.
- `EMA`, `Critic`: baselines that are learned, from earlier costs or by a network.
- `Relax`: REBAR and RELAX, unbiased for discrete samples, with a surrogate of yours.
- `Gumbel`: the Gumbel-softmax estimator with a temperature; biased.
"""

from __future__ import annotations

from hunch.gradients.baselines import leave_one_out
from hunch.gradients.diagnose import diagnose
from hunch.gradients.diagnosis import Diagnosis
from hunch.gradients.expectation import expectation
from hunch.gradients.learned import EMA, Critic
from hunch.gradients.relax import Relax
from hunch.gradients.relaxations import Gumbel
from hunch.gradients.score_function import surrogate

__all__ = [
    "EMA",
    "Critic",
    "Diagnosis",
    "Gumbel",
    "Relax",
    "diagnose",
    "expectation",
    "leave_one_out",
    "surrogate",
]
