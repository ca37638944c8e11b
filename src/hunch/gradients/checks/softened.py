"""A cost that is asked at softened samples, and what it may not ask of them.

Between the corners of the simplex a `OneHotCategorical` has no log-probability: torch takes that
of the largest component, which jumps and has no slope in the sample, and `Categorical` cuts numbers
off to whole ones. With `validate_args` on, torch refuses such a number itself; without it the
answer is wrong and nothing says so. So torch's own two functions are watched while the cost is
computed: they are refused what depends on the softened sample, and nothing else. A `Bernoulli`'s
log-probability is a line between 0 and 1, and data that are no sample are of no concern. An
`argmax` of the user's own leaves nothing that tells it from one that is only looked at.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import torch
from torch import Tensor
from torch.distributions import Categorical, OneHotCategorical
from torch.overrides import TorchFunctionMode

from hunch.errors import ConfigurationError
from hunch.gradients.checks.continuity import dependence
from hunch.gradients.checks.costs import Cost
from hunch.gradients.checks.gradient_flow import carries_gradient, in_transform

# What torch's own log-probability does first with a sample, and in which function.
_ROUNDS: Final = {
    torch.Tensor.max: OneHotCategorical.log_prob.__code__,
    torch.Tensor.long: Categorical.log_prob.__code__,
}
_REMEDY: Final = (
    "write (z * logits).sum(-1) for q.log_prob(z) of a OneHotCategorical, with "
    "logits = q.logits, inside of Independent q.base_dist.logits; build a Bernoulli that `f` asks "
    "with validate_args=False; or use estimator='score'."
)
_ASKED: Final = (
    "`f` asks a distribution for the log-probability of softened samples, which lie between its "
    "values; expected a cost that is continuous there: "
)
_LOST: Final = (
    "`f` asks a OneHotCategorical or a Categorical for the log-probability of samples that carry a "
    "gradient: torch rounds them, so that it jumps between the values and its gradient is lost, "
    "whatever validate_args is; expected a cost that is continuous there: "
)


def softened_cost(f: Cost, soft: Tensor) -> Tensor:
    """The cost of softened samples, or of exact ones that carry a softened one's gradient.

    Raises:
        ConfigurationError: if a distribution that `f` asks refuses values between its own, or
            would have to.

    Example:
        >>> softened_cost(torch.square, torch.tensor([0.5]))
        tensor([0.2500])
    """
    try:
        if torch.compiler.is_compiling():
            return f(soft)
        with _Watch(soft):
            return f(soft)
    except ValueError as error:
        if "to be within the support" not in str(error):
            raise
        raise ConfigurationError(_ASKED + _REMEDY) from error


class _Watch(TorchFunctionMode):
    """Sees what torch's own log-probabilities round."""

    def __init__(self, soft: Tensor) -> None:
        super().__init__()
        self._soft = soft

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in _ROUNDS and not torch.compiler.is_compiling():
            self._look(func, args[0])
        return func(*args, **(kwargs or {}))

    def _look(self, func: Any, value: Tensor) -> None:
        frame = sys._getframe(2)
        if frame.f_code is not _ROUNDS[func] or not carries_gradient(value):
            return
        if in_transform() or dependence(value, self._soft) != "none":
            raise ConfigurationError(_LOST + _REMEDY)
