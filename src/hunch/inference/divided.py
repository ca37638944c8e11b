"""What an ensemble says of which each process has some members alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import torch
from torch import Tensor

from hunch.errors import ConfigurationError
from hunch.inference.class_predictive import ClassPredictive, _entropy
from hunch.inference.predictive import Predictive
from hunch.inference.reductions import ordered, parts_of, total
from hunch.nn.ranks import Share


def _refuse(what: str) -> NoReturn:
    raise ConfigurationError(
        f"`{what}` asks for all members, which are divided among processes; expected "
        f"`.gathered().{what}`, for which each process needs room for all of them."
    )


@dataclass(frozen=True, repr=False)
class DividedPredictive(Predictive):
    """A `Predictive` of all members, where `members` are those of this process.

    Mean and standard deviations are found when it is made, the same to the bit on all ranks and
    for any number of them. A quantile is found when it is asked for, and so is an interval: all
    ranks must ask. What needs the members themselves, such as samples, has `gathered`.

    Args:
        members: of this process, `(members, batch, *out)`.
        noise_std: as in `Predictive`; a tensor is of this process's members.
        share: which they are.

    Example:
        >>> from hunch.inference import predict
        >>> from hunch.nn import MLP, Ensemble, Ranks
        >>> net = Ensemble(lambda: MLP(1, [9], 1), 20, seed=0, ranks=Ranks())
        >>> p = predict(net, torch.zeros(3, 1))
        >>> torch.allclose(p.mean, p.members.mean(0)), p.interval()[0].shape
        (True, torch.Size([3, 1]))
    """

    share: Share | None = None

    def __post_init__(self) -> None:
        """Tell the other processes of the members, and hear of theirs."""
        super().__post_init__()
        _ = self.mean, self.epistemic, self.aleatoric

    @property
    def _of(self) -> Share:
        if self.share is None:
            raise TypeError("`share` is missing")
        return self.share

    @cached_property
    def mean(self) -> Tensor:
        """The mean prediction, `(batch, *out)`."""
        return self._mean.to(self.members)

    @cached_property
    def _mean(self) -> Tensor:
        return total(self._of, lambda k: self.members[k], self.members[0]) / self._of.total

    @cached_property
    def epistemic(self) -> Tensor:
        """Standard deviation of the members, unbiased in its square; 0 for a single member."""
        if self._of.total == 1:
            return torch.zeros_like(self.members[0])

        def squares(k: slice) -> Tensor:
            return (self.members[k].double() - self._mean).square()

        found = total(self._of, squares, self.members[0]) / (self._of.total - 1)
        return found.sqrt().to(self.members)

    @cached_property
    def aleatoric(self) -> Tensor:
        """Standard deviation of the observation noise, `(batch, *out)`."""
        if not isinstance(self.noise_std, Tensor):
            return torch.full_like(self.members[0], self.noise_std)
        noise = self._noise()
        found = total(self._of, lambda k: noise[k].double().square(), noise[0]) / self._of.total
        return found.sqrt().to(self.members)

    def gathered(self) -> Predictive:
        """The predictive with all members; all ranks must call this, and have room for them.

        Example:
            >>> from hunch.nn import Ranks
            >>> p = DividedPredictive(torch.zeros(8, 3), share=Share(Ranks(), 8))
            >>> p.gathered().sample(5).shape
            torch.Size([5, 3])
        """
        noise = self.noise_std
        if isinstance(noise, Tensor):
            noise = self._of.gathered(self._noise())
        return Predictive(self._of.gathered(self.members), noise)

    def quantile(self, q: float) -> Tensor:
        """As `Predictive.quantile`; all ranks must ask for it."""
        if not 0 < q < 1:
            raise ConfigurationError(f"`q` got {q}; expected a probability between 0 and 1.")
        if not bool((self.aleatoric > 0).any()):
            last = self._of.total - 1
            lower, upper = ordered(self._of, self.members, int(q * last))
            return torch.lerp(lower, upper, q * last - int(q * last))
        return self._mixture_quantile(q)

    def _mixture_quantile(self, q: float) -> Tensor:
        """Where the mean of the members' distribution functions is `q`, by bisection."""
        members, stds = self.members, self._noise().clamp_min(torch.finfo(self.members.dtype).tiny)
        own = members + stds * torch.special.ndtri(torch.tensor(q, dtype=torch.float64)).item()
        low, high = self._of.reduced(own.amin(0), "min"), self._of.reduced(own.amax(0), "max")
        for _ in range(60 if members.dtype == torch.float64 else 30):
            middle = (low + high) / 2

            def below(k: slice, at: Tensor = middle) -> Tensor:
                reached: Tensor = torch.special.ndtr((at - members[k]) / stds[k])
                return reached

            share = total(self._of, below, members[0], top=0) / self._of.total
            low, high = (
                torch.where(share < q, middle, low),
                torch.where(share < q, high, middle),
            )
        found: Tensor = (low + high) / 2
        return found

    def covariance(self) -> Tensor:
        """Refused: see `gathered`."""
        _refuse("covariance()")

    def sample(self, num_samples: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Refused: see `gathered`."""
        _refuse(f"sample({num_samples})")

    def distribution(self) -> torch.distributions.Distribution:
        """Refused: see `gathered`."""
        _refuse("distribution()")

    def member_log_prob(self, y: Tensor) -> Tensor:
        """Refused: see `gathered`."""
        _refuse("member_log_prob(y)")

    def plot(self, x: Any = None, y: Any = None, **how: Any) -> Any:
        """Refused: see `gathered`."""
        _refuse("plot()")

    def _in_words(self) -> tuple[str, list[list[str]]]:
        title, rows = super()._in_words()
        _, _, rest = title.partition(" ")
        return f"{len(self.members)} of {self._of.total} {rest}", rows


@dataclass(frozen=True, repr=False)
class DividedClassPredictive(ClassPredictive):
    """A `ClassPredictive` of all members, where `logits` and `members` are of this process's.

    Probabilities and entropies are found when it is made, the same to the bit on all ranks and for
    any number of them.

    Args:
        logits: of this process's members, `(members, batch, classes)`.
        share: which they are.

    Example:
        >>> from hunch.nn import Ranks
        >>> p = DividedClassPredictive(torch.randn(8, 3, 4), share=Share(Ranks(), 8))
        >>> p.probs.shape, p.epistemic.shape
        (torch.Size([3, 4]), torch.Size([3]))
    """

    share: Share | None = None

    def __post_init__(self) -> None:
        """Tell the other processes of the members, and hear of theirs."""
        super().__post_init__()
        _ = self.log_probs, self.aleatoric

    @property
    def _of(self) -> Share:
        if self.share is None:
            raise TypeError("`share` is missing")
        return self.share

    @property
    def probs(self) -> Tensor:
        """The probability of each class, the mean over members, `(batch, classes)`."""
        return self.log_probs.exp()

    @cached_property
    def log_probs(self) -> Tensor:
        """Its logarithm, which stays finite where the probability underflows."""
        parts = parts_of(self._of, self.logits[0])
        each = torch.cat([self.logits[k].double().log_softmax(dim=-1) for k in parts])
        largest = self._of.reduced(each.amax(dim=0), "max")
        found = total(self._of, lambda k: (each[k] - largest).exp(), each[0], top=0)
        return (found.log() + largest - math.log(self._of.total)).to(self.logits)

    @cached_property
    def aleatoric(self) -> Tensor:
        """Mean entropy of the members, `(batch,)`."""

        def entropies(k: slice) -> Tensor:
            return _entropy(self.logits[k].double().log_softmax(dim=-1))

        found = total(self._of, entropies, self.logits[0, :, 0]) / self._of.total
        return found.to(self.logits)

    def gathered(self) -> ClassPredictive:
        """The predictive with all members; all ranks must call this, and have room for them.

        Example:
            >>> from hunch.nn import Ranks
            >>> p = DividedClassPredictive(torch.zeros(8, 3, 2), share=Share(Ranks(), 8))
            >>> p.gathered().sample(5).shape
            torch.Size([5, 3])
        """
        return ClassPredictive(self._of.gathered(self.logits))

    def sample(self, num_samples: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Refused: see `gathered`."""
        _refuse(f"sample({num_samples})")

    def member_log_prob(self, y: Tensor) -> Tensor:
        """Refused: see `gathered`."""
        _refuse("member_log_prob(y)")

    def plot(self, x: Any = None, y: Any = None, **how: Any) -> Any:
        """Refused: see `gathered`."""
        _refuse("plot()")
