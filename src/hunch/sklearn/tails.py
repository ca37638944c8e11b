"""A density for errors whose quantiles are known: Student's t, whose tails may be heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from hunch.sklearn.noise import Shape

_LEVELS: Final = (np.arange(999) + 0.5) / 999  # of quantiles that stand for the errors
_FREEDOM: Final = (1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 25.0, 50.0, 200.0)
_ROUNDS: Final = 100


@dataclass(frozen=True)
class Student:
    """Student's t distribution, output by output.

    Args:
        freedom: degrees of freedom, `(outputs,)`; small for heavy tails, 200 for a Gaussian's.
        place: the center.
        scale: the width, which is smaller than the standard deviation.
    """

    freedom: Tensor
    place: Tensor
    scale: Tensor

    def log_prob(self, errors: Tensor) -> Tensor:
        """Logarithm of the density at errors `(..., outputs)`."""
        law = torch.distributions.StudentT(
            self.freedom, self.place, self.scale, validate_args=False
        )
        found: Tensor = law.log_prob(errors)
        return found


def student_of(shape: Shape) -> Student:
    """The likeliest one, given errors in units of their size.

    Of several degrees of freedom those are taken under which place and scale, found by expectation
    and maximisation, make the errors likeliest.

    Example:
        >>> z = np.random.default_rng(0).standard_t(3, size=(5_000, 1))
        >>> student_of(Shape(z, np.ones(5_000))).freedom
        tensor([3.], dtype=torch.float64)

    Reference:
        Lange, Little & Taylor (1989), "Robust statistical modeling using the t distribution",
        section 3.
    """
    errors = torch.from_numpy(shape.quantiles(_LEVELS)).unsqueeze(0)  # (1, levels, outputs)
    freedom = torch.tensor(_FREEDOM, dtype=torch.float64).reshape(-1, 1, 1)
    place = errors.median(dim=1, keepdim=True).values
    square = errors.var(dim=1, keepdim=True).clamp_min(1e-12)
    for _ in range(_ROUNDS):
        weight = (freedom + 1) / (freedom + (errors - place).square() / square)
        place = (weight * errors).sum(dim=1, keepdim=True) / weight.sum(dim=1, keepdim=True)
        square = (weight * (errors - place).square()).mean(dim=1, keepdim=True).clamp_min(1e-12)
    found = Student(freedom, place, square.sqrt())
    best = found.log_prob(errors).sum(dim=1).argmax(dim=0)  # (outputs,)
    outputs = torch.arange(len(best))
    return Student(freedom[best, 0, 0], place[best, 0, outputs], square.sqrt()[best, 0, outputs])
