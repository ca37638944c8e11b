"""The gradient of an expectation, for any distribution.

- `expectation`: value and unbiased gradient, of any order, of `E[f(z)]` for samples `z`.
- `diagnose`: bias, variance, cost and time of every estimator on your problem.
- `surrogate`: the same from log-probabilities and costs that you already have.
- `leave_one_out`: the baseline that costs nothing and helps most.
- `rloo_advantages`, `grpo_advantages`: of rewards that you have; the second is biased.
- `EMA`, `Critic`: baselines that are learned, from earlier costs or by a network.
- `Relax`: REBAR and RELAX, unbiased for discrete samples, with a surrogate of yours.
- `Gumbel`: the Gumbel-softmax estimator with a temperature; biased.
- `Estimator`, `Request`: what an estimator of your own looks like, and what it is asked.
"""

from __future__ import annotations

from hunch.gradients.advantages import grpo_advantages, rloo_advantages
from hunch.gradients.baselines.from_samples import leave_one_out
from hunch.gradients.baselines.learned import EMA, Critic
from hunch.gradients.diagnosis.diagnose import diagnose
from hunch.gradients.diagnosis.table import Diagnosis
from hunch.gradients.estimators.relax import Relax
from hunch.gradients.estimators.relaxations import Gumbel
from hunch.gradients.estimators.request import Estimator, Request
from hunch.gradients.expectation import expectation
from hunch.gradients.score_function import surrogate

__all__ = [
    "EMA",
    "Critic",
    "Diagnosis",
    "Estimator",
    "Gumbel",
    "Relax",
    "Request",
    "diagnose",
    "expectation",
    "grpo_advantages",
    "leave_one_out",
    "rloo_advantages",
    "surrogate",
]
