"""What the regressor says of rows: a `Predictive` whose quantiles are those of its errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hunch.draws import drawn
from hunch.errors import ConfigurationError, ShapeError
from hunch.inference import Predictive
from hunch.inference.predictive import draw_members
from hunch.sklearn.noise import Shape
from hunch.sklearn.rows import Floats, Scale
from hunch.sklearn.tails import student_of
from hunch.sklearn.targets import TargetForm
from hunch.validation import real_number

_GRID: Final = 1_000  # quantiles from which errors are drawn
_NODES: Final = 19  # values that stand for the distribution of errors where means are taken
_FINE: Final = np.arange(1, 400) / 400  # probabilities of an end of the support, told apart


@dataclass(frozen=True)
class Seen:
    """What is said of targets as the networks see them: scaled, perhaps logarithms.

    Args:
        members: each member's prediction, `(members, batch, outputs)`.
        noise: the standard deviation of an observation about it, `(batch, outputs)`.
        stratum: of each row, whose errors are told apart, `(batch,)`; None if none are.
    """

    members: Tensor
    noise: Tensor
    stratum: npt.NDArray[np.intp] | None = None

    @property
    def center(self) -> Tensor:
        """The members' mean."""
        return self.members.mean(dim=0)

    @property
    def size(self) -> Tensor:
        """The standard deviation of an observation, both parts together."""
        return torch.hypot(Predictive(self.members).epistemic, self.noise)


@dataclass(frozen=True)
class Units:
    """The way back from what networks see to the units of y.

    Args:
        form: of the targets.
        scale: of what the form makes of them.
        shape: of the errors, in units of their size.
        flat: whether y has no axis of outputs.
    """

    form: TargetForm
    scale: Scale
    shape: Shape
    flat: bool

    def back(self, seen: Tensor) -> Tensor:
        """Values `(..., outputs)` in units of y."""
        mean, std = torch.from_numpy(self.scale.mean), torch.from_numpy(self.scale.std)
        return self.form.inverse(mean + std * seen)

    def observed(self, seen: Tensor) -> Tensor:
        """The same where values of y itself are meant, which may be whole numbers."""
        return self.form.possible(self.back(seen))

    def moments(self, center: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation in units of y of errors of a size about a center."""
        std = torch.from_numpy(self.scale.std)
        if self.form.is_plain:
            return self.back(center), (std * size).expand_as(center)
        levels = (np.arange(_NODES) + 0.5) / _NODES
        nodes = torch.from_numpy(self.shape.quantiles(levels))
        nodes = nodes - nodes.mean(dim=0)
        nodes = nodes / nodes.std(dim=0, correction=0).clamp_min(1e-12)
        total, squares = torch.zeros_like(center), torch.zeros_like(center)
        first = self.back(center)  # squares about it do not cancel
        for node in nodes:
            away = self.back(center + size * node) - first
            total, squares = total + away, squares + away.square()
        mean = total / _NODES
        spread = (squares / _NODES - mean.square()).clamp_min(0).sqrt()
        return first + mean, spread

    def flattened(self, values: Tensor) -> Tensor:
        """Without the axis of outputs, the last, if y has none."""
        return values[..., 0] if self.flat else values


@dataclass(frozen=True, repr=False)
class Forecast(Predictive):
    """A `Predictive` that keeps to the support of y, and whose quantiles hold what they promise.

    Members and noise are means and standard deviations in the units of y. Quantiles, intervals and
    samples are those of the errors that members made on rows which they did not see.
    """

    seen: Seen | None = None
    units: Units | None = None

    @classmethod
    def of(cls, seen: Seen, units: Units) -> Forecast:
        """What is said, in units of y."""
        members, noise = units.moments(seen.members, seen.noise)
        noise = noise.square().mean(dim=0).sqrt()
        return cls(units.flattened(members), units.flattened(noise), seen, units)

    def quantiles(self, levels: Floats) -> Tensor:
        """Quantiles at several levels between 0 and 1, `(batch[, outputs], levels)`."""
        seen, units = self._parts()
        center, size = seen.center.numpy(), seen.size.numpy()
        about = units.shape.quantiles_about(center, size, levels, seen.stratum)
        by_level = units.observed(torch.from_numpy(about).movedim(-1, 0))
        return units.flattened(by_level).movedim(0, -1)

    def quantile(self, q: float) -> Tensor:
        """The value that an observation stays below with probability `q`."""
        if not 0 < q < 1:
            raise ConfigurationError(f"`q` got {q}; expected a probability between 0 and 1.")
        return self.quantiles(np.array([q]))[..., 0]

    def interval(self, coverage: float = 0.95) -> tuple[Tensor, Tensor]:
        """The interval that holds an observation with probability `coverage`.

        It leaves out as much below as above. But where one of its ends is that of the support, as
        for a count that may well be 0, nothing is beyond it, and the other end may leave out all.
        Intervals of a larger coverage hold those of a smaller one.
        """
        real_number("coverage", coverage, above=0.0, below=1.0)
        tail = (1 - coverage) / 2
        low, high = self.quantile(tail), self.quantile(1 - tail)
        least, most = self._support()
        at_least, at_most = low == least, high == most
        if not (at_least ^ at_most).any():
            return low, high
        # To leave out more than the probability of the end itself would break the last promise.
        between = _FINE[(_FINE > tail) & (_FINE < 2 * tail)]
        left_out = np.concatenate([[tail], between, [2 * tail]])
        lows, highs = self.quantiles(left_out), self.quantiles(1 - left_out)
        nearer_high = _last_of(highs, lows == least.unsqueeze(-1))
        nearer_low = _last_of(lows, highs == most.unsqueeze(-1))
        return (
            torch.where(at_most & ~at_least, nearer_low, low),
            torch.where(at_least & ~at_most, nearer_high, high),
        )

    def ends_about(self, mean: Floats, std: Floats, coverage: float) -> tuple[Floats, Floats]:
        """Lower and upper ends for a mean and a size of errors, of a target learned as it is.

        Args:
            mean: in units of y.
            std: likewise.
            coverage: between 0 and 1, ends excluded.
        """
        _, units = self._parts()
        tail = (1 - coverage) / 2
        both = units.shape.quantiles_about(mean, std, np.array([tail, 1 - tail]))
        return both[..., 0], both[..., 1]

    def sample(self, num_samples: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw observations: each sample is one member over the whole batch, plus errors."""
        seen, units = self._parts()
        members = seen.members[draw_members(seen.members, num_samples, generator)]
        levels = drawn(torch.rand, members.shape, generator, torch.float64).clamp(1e-12, 1 - 1e-12)
        grid, errors = np.arange(1, _GRID) / _GRID, np.empty(levels.shape)
        for shape, rows in units.shape.by_stratum(seen.stratum):
            table = shape.quantiles(grid)
            for j, column in enumerate((table - table.mean(axis=0)).T):
                errors[:, rows, j] = np.interp(levels[:, rows, j].numpy(), grid, column)
        return units.flattened(units.observed(members + seen.noise * torch.from_numpy(errors)))

    def log_prob(self, y: Tensor) -> Tensor:
        """Logarithm of the density of observations, one for each output, `(batch[, outputs])`.

        Errors on rows that networks did not see are rarely Gaussian; here they are Student's, with
        the degrees of freedom that suit them.

        Args:
            y: observations `(batch[, outputs])`.

        Raises:
            ShapeError: if `y` has another shape than the mean.

        Note:
            Of whole numbers it is the density before rounding, nearly their probability. What would
            lie beyond an end of the support is not counted to the end.
        """
        seen, units = self._parts()
        if y.shape != self.mean.shape:
            raise ShapeError(f"`y` got shape {tuple(y.shape)}; expected {tuple(self.mean.shape)}.")
        errors = (self._as_seen(y) - seen.center) / seen.size
        density = -seen.size.log()
        for shape, rows in units.shape.by_stratum(seen.stratum):
            density[rows] += student_of(shape).log_prob(errors[rows])
        return units.flattened(density + self._log_slope(y))

    def _as_seen(self, y: Tensor) -> Tensor:
        """Observations as the networks see them, `(batch, outputs)`."""
        _, units = self._parts()
        values = y.double().unsqueeze(-1) if units.flat else y.double()
        mean, std = torch.from_numpy(units.scale.mean), torch.from_numpy(units.scale.std)
        return (torch.from_numpy(units.form.apply(values.numpy())) - mean) / std

    def _log_slope(self, y: Tensor) -> Tensor:
        """Logarithm of the derivative of that, likewise."""
        _, units = self._parts()
        values = y.double().unsqueeze(-1) if units.flat else y.double()
        return units.form.log_slope(values) - torch.from_numpy(units.scale.std).log()

    def member_log_prob(self, y: Tensor) -> Tensor:
        """How likely each member holds the observations, `(members, batch[, outputs])`.

        Where logarithms are learned, the Gaussian is about them.
        """
        seen, units = self._parts()
        if np.isnan(units.form.shift).all():
            return super().member_log_prob(y)
        gaussian = torch.distributions.Normal(seen.members, seen.noise, validate_args=False)
        return units.flattened(gaussian.log_prob(self._as_seen(y)) + self._log_slope(y))

    def _support(self) -> tuple[Tensor, Tensor]:
        """The least and the largest value of each output, `()` if y has no axis of outputs."""
        _, units = self._parts()
        ends = torch.from_numpy(units.form.low), torch.from_numpy(units.form.high)
        return units.flattened(ends[0]), units.flattened(ends[1])

    def _parts(self) -> tuple[Seen, Units]:
        if self.seen is None or self.units is None:
            raise ConfigurationError("a Forecast without its parts; expected one of `Forecast.of`.")
        return self.seen, self.units


def _last_of(values: Tensor, holds: Tensor) -> Tensor:
    """The last value along the last axis up to which `holds` does, the first one if nowhere."""
    place = holds.sum(dim=-1, keepdim=True).sub(1).clamp_min(0)
    return values.gather(-1, place).squeeze(-1)
