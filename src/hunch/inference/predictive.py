"""What an ensemble says about a point: its members, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hunch.errors import ConfigurationError

_BISECTIONS = 60  # halves the bracket to below float64's resolution


@dataclass(frozen=True)
class Predictive:
    """A predictive distribution: one Gaussian around each member's prediction, all equally likely.

    Every figure is in the units of y. By the law of total variance
    `std² = epistemic² + aleatoric²`: the first is the members' disagreement, which more data would
    remove, the second the noise of an observation, which remains.

    Args:
        members: each member's prediction, `(members, batch, *out)`.
        noise_std: standard deviation of the observation noise, at least 0.

    Raises:
        ConfigurationError: if `noise_std` is negative.

    Example:
        >>> p = Predictive(torch.tensor([[1.0], [3.0]]), noise_std=1.0)
        >>> p.mean, p.epistemic
        (tensor([2.]), tensor([1.4142]))
        >>> p.std
        tensor([1.7321])
    """

    members: Tensor
    noise_std: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a negative noise."""
        if not self.noise_std >= 0:
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
        """Standard deviation of the observation noise, `(batch, *out)`."""
        return torch.full_like(self.members[0], self.noise_std)

    @property
    def std(self) -> Tensor:
        """Standard deviation of an observation: both parts together."""
        return torch.hypot(self.epistemic, self.aleatoric)

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
        if self.noise_std == 0:
            return torch.quantile(self.members, q, dim=0)
        # The mixture's quantile lies between the outermost members' own.
        reach = self.noise_std * float(torch.special.ndtri(torch.tensor(q)))
        low, high = self.members.amin(0) + reach, self.members.amax(0) + reach
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            below = torch.special.ndtr((middle - self.members) / self.noise_std).mean(0) < q
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

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
        if not 0 < coverage < 1:
            raise ConfigurationError(f"`coverage` got {coverage}; expected between 0 and 1.")
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
        if num_samples < 1:
            raise ConfigurationError(f"`num_samples` got {num_samples}; expected at least 1.")
        k = torch.randint(self.members.shape[0], (num_samples,), generator=generator)
        drawn = self.members[k.to(self.members.device)]
        if self.noise_std == 0:
            return drawn
        noise = torch.randn(drawn.shape, generator=generator, dtype=drawn.dtype)
        return drawn + self.noise_std * noise.to(drawn.device)

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
        if self.noise_std == 0:
            if self.members.shape[0] == 1:
                raise ConfigurationError(
                    "one member without noise is a point; expected more members or `noise_std` "
                    "above 0."
                )
            return torch.distributions.Normal(self.mean, self.epistemic, validate_args=False)
        means = self.members.movedim(0, -1)
        return torch.distributions.MixtureSameFamily(
            torch.distributions.Categorical(logits=torch.zeros_like(means), validate_args=False),
            torch.distributions.Normal(
                means, torch.full_like(means, self.noise_std), validate_args=False
            ),
            validate_args=False,
        )
