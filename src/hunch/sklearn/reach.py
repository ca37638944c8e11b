"""How far a row lies from the training data, and what members say beyond their reach.

Where there are no data a trained network goes on as a straight line, and so does its prior. The
trained line is the steeper one by far, and alike in all members, so at a distance an ensemble
of classifiers would be certain together. Here the prior's share grows with the distance instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hunch.nn import Ensemble
from hunch.sklearn.rows import Floats
from hunch.sklearn.state import Arrays
from hunch.sklearn.training import members_at

_FURTHEST = 1e9  # units; further away nothing changes, and logits stay finite
_FRESH = 0.99  # the share of rows left out that are no further away than half a unit


@dataclass(frozen=True)
class Reach(Arrays):
    """The box that holds the training data, and the units in which distances from it are measured.

    A unit is three standard deviations, or more where the outermost value stands alone: four times
    as far as from there to the next one. Where features are many and rows are few, and fresh rows
    therefore always lie outside in some of them, all units are longer.

    Args:
        low: least scaled value of each feature, `(features,)`.
        high: largest.
        below: the unit below the least value, of each feature.
        above: the unit above the largest.
        odd: where the odd cells of the training data were put, at this distance from 0 of each
            feature (see `Scale`); None if there are none. They widen no box, and add no distance.

    Example:
        >>> reach = Reach.of(np.linspace(-1, 1, 201)[:, None])
        >>> reach.distance(torch.tensor([[0.5], [-1.0], [3.0]], dtype=torch.float64)).round()
        tensor([0., 0., 1.], dtype=torch.float64)
    """

    low: Floats
    high: Floats
    below: Floats
    above: Floats
    odd: Floats | None = None

    @classmethod
    def of(cls, x: Floats, odd: Floats | None = None) -> Reach:
        """The reach of scaled training features `(rows, features)`, copies of a row side by side.

        How far fresh rows lie outside is seen from each row left out: without it the box would
        end at the next value.
        """
        x = x[np.append(True, (x[1:] != x[:-1]).any(axis=1))]
        if odd is not None:
            x = np.where(np.abs(x) == odd, np.median(x, axis=0), x)
        low, high = x.min(axis=0), x.max(axis=0)
        low_gap = _next_to(low, x) - low
        high_gap = high + _next_to(-high, -x)
        below, above = np.hypot(3, 4 * low_gap), np.hypot(3, 4 * high_gap)
        outside = np.where(x == low, low_gap / below, 0) + np.where(x == high, high_gap / above, 0)
        longer = np.hypot(1, 2 * np.quantile(np.linalg.norm(outside, axis=1), _FRESH))
        return cls(low, high, longer * below, longer * above, odd)

    def joined(self, other: Reach) -> Reach:
        """The reach of both data together."""
        lower, higher = other.low < self.low, other.high > self.high
        return Reach(
            np.where(lower, other.low, self.low),
            np.where(higher, other.high, self.high),
            np.where(lower, other.below, self.below),
            np.where(higher, other.above, self.above),
            self.odd,
        )

    def distance(self, x: Tensor) -> Tensor:
        """How many units each row of scaled features lies outside, `(batch,)`; within it is 0."""
        ends = (self.low, self.high, self.below, self.above)
        low, high, below, above = map(torch.from_numpy, ends)
        beyond = torch.maximum((low - x) / below, (x - high) / above)
        if self.odd is not None:
            beyond = beyond.masked_fill(x.abs() == torch.from_numpy(self.odd), 0)
        away: Tensor = torch.linalg.vector_norm(beyond.clamp_min(0), dim=1)
        return away.clamp_max(_FURTHEST)


def _next_to(least: Floats, x: Floats) -> Floats:
    """The second least value of each column, which is the least one where several rows hold it."""
    alone = (x == least).sum(axis=0) == 1
    found: Floats = np.where(x > least, x, np.inf).min(axis=0)
    return np.where(alone & np.isfinite(found), found, least)


def prior_strength(ensemble: Ensemble, x: Tensor) -> float:
    """How much larger at the data what members have learned is than an unscaled prior.

    Args:
        ensemble: of `RandomizedPrior`s with logits.
        x: scaled features `(batch, features)`.
    """
    prior = _priors_at(ensemble, x)
    learned = members_at(ensemble, x) - _scale(ensemble) * prior
    # A number added to all logits of a row changes nothing.
    sizes = [
        float((logits - logits.mean(dim=-1, keepdim=True)).square().mean())
        for logits in (learned, prior)
    ]
    return float(np.sqrt(sizes[0] / max(sizes[1], np.finfo(np.float64).tiny)))


def logits_at(ensemble: Ensemble, x: Tensor, distance: Tensor | None, strength: float) -> Tensor:
    """Members' logits, with priors that outgrow at a distance what members have learned.

    At a distance of r units a member says `f(x) + scale · (1 + strength · r²) · p(x)`: at one unit
    prior and learned part are of a size, further away the prior decides, and the members are at
    odds. Within reach nothing is added.

    Args:
        ensemble: of `RandomizedPrior`s.
        x: scaled features `(batch, features)`.
        distance: of each row from the training data, `(batch,)`; None adds nothing.
        strength: what `prior_strength` found.

    Returns:
        `(members, batch, classes)`.
    """
    logits = members_at(ensemble, x)
    if distance is None:
        return logits
    far = distance.nonzero().squeeze(1)
    if len(far):
        share = strength * distance[far].square().unsqueeze(1) * _scale(ensemble)
        logits[:, far] += share * _priors_at(ensemble, x[far])
    return logits


def _priors_at(ensemble: Ensemble, x: Tensor) -> Tensor:
    return members_at(ensemble.part("prior").eval(), x)


def _scale(ensemble: Ensemble) -> Tensor:
    return ensemble.get_buffer("scale").reshape(-1, 1, 1)
