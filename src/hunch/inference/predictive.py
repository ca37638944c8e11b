"""What an ensemble says about a point: its members, and what follows from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hunch.draws import drawn
from hunch.errors import ConfigurationError, DataError, ShapeError
from hunch.shown import card, data_frame, plotted, span_of
from hunch.validation import real_number

if TYPE_CHECKING:
    from hunch.shown import Axes, DataFrame


@dataclass(frozen=True, repr=False)
class Predictive:
    """A predictive distribution: one Gaussian around each member's prediction, all equally likely.

    Every figure is in the units of y. By the law of total variance
    `std² = epistemic² + aleatoric²`: the first is the members' disagreement, which more data would
    remove, the second the noise of an observation, which remains.

    Args:
        members: each member's prediction, `(members, batch, *out)`.
        noise_std: standard deviation of the observation noise, at least 0: a number, or a tensor
            that broadcasts to `members`, so that members may disagree about the noise too.

    Raises:
        ConfigurationError: if the number `noise_std` is negative.
        DataError: if the tensor holds a negative value or NaN.
        ShapeError: if it does not broadcast to `members`.

    Example:
        >>> p = Predictive(torch.tensor([[1.0], [3.0]]), noise_std=1.0)
        >>> p.mean, p.epistemic
        (tensor([2.]), tensor([1.4142]))
        >>> p.std
        tensor([1.7321])
    """

    members: Tensor
    noise_std: float | Tensor = 0.0

    def __post_init__(self) -> None:
        """Refuse a noise that cannot be one."""
        if isinstance(self.noise_std, Tensor):
            if not torch.compiler.is_compiling():  # a graph has no values yet, and any batch size
                _check_noise(self.noise_std, self.members)
        elif not self.noise_std >= 0:
            raise ConfigurationError(f"`noise_std` got {self.noise_std}; expected at least 0.")

    @property
    def mean(self) -> Tensor:
        """The mean prediction, `(batch, *out)`."""
        return self.members.mean(dim=0)

    @property
    def epistemic(self) -> Tensor:
        """Standard deviation of the members, unbiased in its square; 0 for a single member."""
        if self.members.shape[0] == 1:
            return torch.zeros_like(self.members[0])
        return self.members.std(dim=0)

    @property
    def aleatoric(self) -> Tensor:
        """Standard deviation of the observation noise, `(batch, *out)`.

        Where members disagree about it, the root of their mean variance.
        """
        if isinstance(self.noise_std, Tensor):
            return self._noise().square().mean(dim=0).sqrt()
        return torch.full_like(self.members[0], self.noise_std)

    @property
    def std(self) -> Tensor:
        """Standard deviation of an observation: both parts together."""
        return torch.hypot(self.epistemic, self.aleatoric)

    def covariance(self) -> Tensor:
        """How observations at two points vary together, `(batch, batch, *out)`.

        Members carry what the points share; noise is of each observation alone, so the diagonal is
        `std²`. Outputs are taken one by one.

        Example:
            >>> Predictive(torch.tensor([[1.0, 2.0], [3.0, 6.0]]), noise_std=1.0).covariance()
            tensor([[3., 4.],
                    [4., 9.]])
        """
        centered = self.members - self.mean
        joint = torch.einsum("ki...,kj...->ij...", centered, centered)
        joint = joint / max(1, self.members.shape[0] - 1)
        noise = torch.diag_embed(self.aleatoric.square().movedim(0, -1))
        return joint + noise.movedim((-2, -1), (0, 1))

    def quantile(self, q: float) -> Tensor:
        """The value that an observation stays below with probability `q`.

        Without observation noise: the members' empirical quantile, linearly interpolated.

        Args:
            q: between 0 and 1, ends excluded.

        Raises:
            ConfigurationError: if `q` is out of range.

        Example:
            >>> Predictive(torch.tensor([[1.0], [2.0], [3.0]])).quantile(0.5)
            tensor([2.])
        """
        if not 0 < q < 1:
            raise ConfigurationError(f"`q` got {q}; expected a probability between 0 and 1.")
        if self._is_noiseless():
            return _empirical_quantile(self.members, q)
        return _mixture_quantile(self.members, self._noise(), q)

    def interval(self, coverage: float = 0.95) -> tuple[Tensor, Tensor]:
        """The central interval that holds an observation with probability `coverage`.

        Args:
            coverage: between 0 and 1, ends excluded.

        Returns:
            Lower and upper ends, each `(batch, *out)`.

        Example:
            >>> low, high = Predictive(torch.tensor([[0.0]]), noise_std=1.0).interval(0.95)
            >>> low, high
            (tensor([-1.9600]), tensor([1.9600]))
        """
        real_number("coverage", coverage, above=0.0, below=1.0)
        tail = (1 - coverage) / 2
        return self.quantile(tail), self.quantile(1 - tail)

    def sample(self, num_samples: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw observations: each sample is one member over the whole batch, plus noise.

        Args:
            num_samples: at least 1.
            generator: source of the draws; torch's default generator if None.

        Returns:
            `(num_samples, batch, *out)`.

        Example:
            >>> Predictive(torch.zeros(5, 3, 1)).sample(10).shape
            torch.Size([10, 3, 1])
        """
        k = draw_members(self.members, num_samples, generator)
        values = self.members[k]
        if self._is_noiseless():
            return values
        normals = drawn(torch.randn, values.shape, generator, values.dtype)
        return values + self._noise()[k] * normals.to(values.device)

    def distribution(self) -> torch.distributions.Distribution:
        """The predictive as a `torch.distributions` object with batch shape `(batch, *out)`.

        With observation noise the mixture of one Gaussian a member; without, where the mixture has
        no density, the Gaussian with the members' mean and standard deviation.

        Raises:
            ConfigurationError: if there is neither noise nor a second member.

        Example:
            >>> Predictive(torch.zeros(5, 3), noise_std=1.0).distribution().batch_shape
            torch.Size([3])
        """
        # Validation would refuse these arguments under vmap.
        if self._is_noiseless():
            if self.members.shape[0] == 1:
                raise ConfigurationError(
                    "one member without noise is a point; expected more members or `noise_std` "
                    "above 0."
                )
            return torch.distributions.Normal(self.mean, self.epistemic, validate_args=False)
        means = self.members.movedim(0, -1)
        return torch.distributions.MixtureSameFamily(
            torch.distributions.Categorical(logits=torch.zeros_like(means), validate_args=False),
            torch.distributions.Normal(means, self._noise().movedim(0, -1), validate_args=False),
            validate_args=False,
        )

    def member_log_prob(self, y: Tensor) -> Tensor:
        """How likely each member holds the observations: log densities, one for each output.

        What `hunch.inference.nll` and `joint_nll` take.

        Args:
            y: observations `(batch, *out)`.

        Returns:
            `(members, batch, *out)`.

        Raises:
            ConfigurationError: if there is no observation noise, so that there is no density.
            ShapeError: if `y` has another shape than one member's predictions.

        Example:
            >>> Predictive(torch.zeros(2, 3), noise_std=1.0).member_log_prob(torch.zeros(3)).shape
            torch.Size([2, 3])
        """
        if self._is_noiseless():
            raise ConfigurationError(
                "`noise_std` got 0; expected observation noise, without which a member has no "
                "density: predict(..., noise_std=...) or a `GaussianHead`."
            )
        if y.shape != self.members.shape[1:]:
            raise ShapeError(
                f"`y` got shape {tuple(y.shape)}; expected {tuple(self.members.shape[1:])}."
            )
        noise = self._noise()
        z = (y - self.members) / noise
        return -0.5 * z.square() - noise.log() - 0.5 * math.log(2 * math.pi)

    def plot(
        self, x: Any = None, y: Any = None, *, coverage: float = 0.95, ax: Axes | None = None
    ) -> Axes:
        """Draw the mean, the members' disagreement and the interval of an observation.

        Of predictions of one output; of several take one: `Predictive(p.members[..., 0])`.

        Args:
            x: one input of each point, `(batch,)` or `(batch, 1)`, along which they are drawn; None
                draws them in the order of their predictions.
            y: what was observed at them, drawn as dots.
            coverage: of the interval.
            ax: matplotlib's axes to draw in; None makes a figure.

        Raises:
            ShapeError: if there are several outputs or inputs, or another number of points.
            MissingDependencyError: if matplotlib is not installed.

        Example:
            >>> x = torch.linspace(-1, 1, 30)
            >>> axes = Predictive(torch.stack([x, x**2, x**3]), noise_std=0.1).plot(x)
            >>> axes.get_title(loc="left")
            'Prediction'
        """
        return plotted(self, x=x, y=y, coverage=coverage, ax=ax)

    def to_frame(self, coverage: float = 0.95) -> DataFrame:
        """A data frame of pandas, a row a point: mean, standard deviations, ends of an interval.

        Of several outputs each has columns of its own, `mean_0`, `mean_1`, ….

        Args:
            coverage: of the interval between `lower` and `upper`.

        Raises:
            MissingDependencyError: if pandas is not installed.

        Example:
            >>> Predictive(torch.randn(5, 3), noise_std=1.0).to_frame().shape
            (3, 6)
        """
        lower, upper = self.interval(coverage)
        figures = {
            "mean": self.mean,
            "std": self.std,
            "epistemic": self.epistemic,
            "aleatoric": self.aleatoric,
            "lower": lower,
            "upper": upper,
        }
        return data_frame(
            {
                f"{name}{suffix}": column
                for name, values in figures.items()
                for suffix, column in columns_of(values)
            }
        )

    def __repr__(self) -> str:
        title, rows = self._in_words()
        return f"Predictive({title}{''.join(f', {name} {span}' for name, span in rows[:2])})"

    def _repr_html_(self) -> str:
        title, rows = self._in_words()
        return card(f"Predictive: {title}", rows)

    def _in_words(self) -> tuple[str, list[list[str]]]:
        """How much was predicted, and the range of each figure, of nothing none."""
        members, *shape = self.members.shape
        parts = ("mean", "std", "epistemic", "aleatoric") if self.members.numel() else ()
        title = f"{members} members, predictions {tuple(shape)}"
        return title, [[name, span_of(getattr(self, name))] for name in parts]

    def _is_noiseless(self) -> bool:
        return not bool(torch.as_tensor(self.noise_std).any())

    def _noise(self) -> Tensor:
        """Each member's own, `(members, batch, *out)`."""
        return torch.as_tensor(self.noise_std).to(self.members).expand_as(self.members)


def columns_of(values: Tensor) -> list[tuple[str, np.ndarray[Any, Any]]]:
    """The outputs of a batch one by one, each with what tells it from others at a name's end.

    Example:
        >>> [suffix for suffix, _ in columns_of(torch.zeros(3, 2))]
        ['_0', '_1']
    """
    table = values.detach().cpu().flatten(1).numpy() if values.ndim > 1 else None
    if table is None or table.shape[1] == 1:
        return [("", values.detach().cpu().reshape(len(values)).numpy())]
    return [(f"_{i}", table[:, i]) for i in range(table.shape[1])]


def draw_members(
    members: Tensor, num_samples: int, generator: torch.Generator | None = None
) -> Tensor:
    """Which member each sample is, `(num_samples,)`.

    Raises:
        ConfigurationError: if `num_samples` is below 1.

    Example:
        >>> draw_members(torch.zeros(3, 1), 10).shape
        torch.Size([10])
    """
    if num_samples < 1:
        raise ConfigurationError(f"`num_samples` got {num_samples}; expected at least 1.")
    k = drawn(partial(_below, members.shape[0]), (num_samples,), generator)
    return k.to(members.device)


def _below(high: int, *size: int, **how: Any) -> Tensor:
    return torch.randint(high, size, **how)


def _check_noise(noise_std: Tensor, members: Tensor) -> None:
    try:
        # numpy's: torch's own imports sympy, two thirds of a second, at its first call.
        fits = np.broadcast_shapes(noise_std.shape, members.shape) == members.shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(
            f"`noise_std` got shape {tuple(noise_std.shape)}; expected one that broadcasts to "
            f"{tuple(members.shape)}, that of `members`."
        )
    if not bool((noise_std >= 0).all()):
        raise DataError("`noise_std` holds negative values or NaN; expected at least 0.")


def _empirical_quantile(members: Tensor, q: float) -> Tensor:
    """`torch.quantile` refuses more than 16 million numbers."""
    last = members.shape[0] - 1
    ordered, below = members.sort(dim=0).values, int(q * last)
    lower, upper = ordered[below], ordered[min(below + 1, last)]
    return torch.lerp(lower, upper, q * last - below)


def _mixture_quantile(means: Tensor, stds: Tensor, q: float) -> Tensor:
    """Where the mean of the members' distribution functions is `q`, by bisection."""
    # A member without noise is a step, which a very narrow Gaussian is too.
    stds = stds.clamp_min(torch.finfo(stds.dtype).tiny)
    with torch.no_grad():
        # The mixture's quantile lies between the outermost members' own.
        own = means + stds * torch.special.ndtri(torch.tensor(q, dtype=torch.float64)).item()
        low, high = own.amin(0), own.amax(0)
        for _ in range(60 if means.dtype == torch.float64 else 30):
            middle = (low + high) / 2
            below = torch.special.ndtr((middle - means) / stds).mean(0) < q
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        found: Tensor = (low + high) / 2
        if not (means.requires_grad or stds.requires_grad):
            return found
        z = (found - means) / stds
        share = torch.softmax(-z.square() / 2 - stds.log(), dim=0)
    # By the implicit function theorem: each bracket is `found`, its share that of the density.
    return (share * (means + z * stds)).sum(dim=0)
