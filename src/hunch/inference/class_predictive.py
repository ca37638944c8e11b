"""What an ensemble of classifiers says about a point."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from hunch.draws import drawn
from hunch.errors import ShapeError
from hunch.inference.predictive import draw_members
from hunch.shown import card, data_frame, plotted, span_of

if TYPE_CHECKING:
    from hunch.shown import Axes, DataFrame


_DOUBT: Final = ("entropy", "aleatoric", "epistemic")


@dataclass(frozen=True, repr=False)
class ClassPredictive:
    """A predictive distribution over classes: each member's own, all equally likely.

    Uncertainty is entropy, in nats: `entropy = aleatoric + epistemic`. The first is what members
    are unsure of one by one, which more data would not remove; the second, the mutual information
    between the class and the member, is their disagreement.

    Args:
        logits: each member's logits, `(members, batch, classes)`.

    Raises:
        ShapeError: if `logits` has another number of axes.

    Example:
        >>> p = ClassPredictive(torch.tensor([[[9.0, -9.0]], [[-9.0, 9.0]]]))  # sure, but at odds
        >>> p.probs, p.aleatoric.round(decimals=3), p.epistemic.round(decimals=3)
        (tensor([[0.5000, 0.5000]]), tensor([0.]), tensor([0.6930]))

    Reference:
        Depeweg, Hernández-Lobato, Doshi-Velez & Udluft (2018), "Decomposition of uncertainty in
        Bayesian deep learning", eq. 11.
    """

    logits: Tensor

    def __post_init__(self) -> None:
        """Refuse logits of another shape."""
        if self.logits.ndim != 3:
            raise ShapeError(
                f"`logits` got shape {tuple(self.logits.shape)}; expected "
                "(members, batch, classes)."
            )

    @property
    def members(self) -> Tensor:
        """Each member's prediction: its class probabilities, `(members, batch, classes)`."""
        return self.logits.softmax(dim=-1)

    @property
    def probs(self) -> Tensor:
        """The probability of each class, the mean over members, `(batch, classes)`."""
        return self.members.mean(dim=0)

    @property
    def log_probs(self) -> Tensor:
        """Its logarithm, which stays finite where the probability underflows."""
        return self.logits.log_softmax(dim=-1).logsumexp(dim=0) - math.log(self.logits.shape[0])

    @property
    def entropy(self) -> Tensor:
        """Entropy of `probs`, `(batch,)`."""
        return _entropy(self.log_probs)

    @property
    def aleatoric(self) -> Tensor:
        """Mean entropy of the members, `(batch,)`."""
        return _entropy(self.logits.log_softmax(dim=-1)).mean(dim=0)

    @property
    def epistemic(self) -> Tensor:
        """What knowing the member would tell about the class, `(batch,)`; at least 0."""
        return (self.entropy - self.aleatoric).clamp_min(0)

    def sample(self, num_samples: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw class numbers: each sample is one member over the whole batch.

        Args:
            num_samples: at least 1.
            generator: source of the draws; torch's default generator if None.

        Returns:
            `(num_samples, batch)`.

        Example:
            >>> ClassPredictive(torch.zeros(5, 3, 2)).sample(10).shape
            torch.Size([10, 3])
        """
        k = draw_members(self.logits, num_samples, generator)
        logits = self.logits[k]
        # Gumbel's trick, so that all draws come from a generator of the CPU.
        u = drawn(torch.rand, logits.shape, generator, torch.float64)
        gumbel = -torch.log(-torch.log(u.clamp_min(torch.finfo(u.dtype).tiny)))
        return (logits + gumbel.to(logits)).argmax(dim=-1)

    def distribution(self) -> torch.distributions.Categorical:
        """The predictive as a `torch.distributions` object with batch shape `(batch,)`.

        Example:
            >>> ClassPredictive(torch.zeros(5, 3, 2)).distribution().batch_shape
            torch.Size([3])
        """
        return torch.distributions.Categorical(logits=self.log_probs, validate_args=False)

    def member_log_prob(self, y: Tensor) -> Tensor:
        """How likely each member holds the classes: log probabilities.

        What `hunch.inference.nll` and `joint_nll` take.

        Args:
            y: class numbers `(batch,)`.

        Returns:
            `(members, batch)`.

        Example:
            >>> ClassPredictive(torch.zeros(5, 3, 2)).member_log_prob(torch.tensor([0, 1, 1])).shape
            torch.Size([5, 3])
        """
        if y.shape != self.logits.shape[1:2]:
            raise ShapeError(
                f"`y` got shape {tuple(y.shape)}; expected {tuple(self.logits.shape[1:2])}."
            )
        index = y.long().expand(self.logits.shape[0], -1).unsqueeze(-1)
        return self.logits.log_softmax(dim=-1).gather(-1, index).squeeze(-1)

    def plot(self, x: Any = None, y: Any = None, *, ax: Axes | None = None) -> Axes:
        """Draw the probability of each class along an input, or the two parts of the doubt.

        Args:
            x: one input of each point, `(batch,)` or `(batch, 1)`; bands hold nine tenths of the
                members. None draws a dot for each point, its epistemic over its aleatoric part.
            y: class numbers that were observed at `x`, drawn as ticks in their classes' colors.
            ax: matplotlib's axes to draw in; None makes a figure.

        Raises:
            ShapeError: if there are several inputs, or another number of points.
            MissingDependencyError: if matplotlib is not installed.

        Example:
            >>> ClassPredictive(torch.randn(5, 30, 2)).plot().get_xlabel()
            'aleatoric / nats'
        """
        return plotted(self, x=x, y=y, ax=ax)

    def to_frame(self) -> DataFrame:
        """A data frame of pandas, a row a point: probabilities, entropy and its two parts.

        Raises:
            MissingDependencyError: if pandas is not installed.

        Example:
            >>> list(ClassPredictive(torch.randn(5, 3, 2)).to_frame())
            ['probability_0', 'probability_1', 'entropy', 'aleatoric', 'epistemic']
        """
        probs = self.probs.detach().cpu().numpy()
        doubt = {name: getattr(self, name).detach().cpu().numpy() for name in _DOUBT}
        return data_frame({f"probability_{c}": probs[:, c] for c in range(probs.shape[1])} | doubt)

    def __repr__(self) -> str:
        members, points, classes = self.members.shape
        return (
            f"ClassPredictive({members} members, {points} points, {classes} classes: largest "
            f"probability {span_of(self._largest())}, epistemic {span_of(self.epistemic)} nats)"
        )

    def _repr_html_(self) -> str:
        members, points, classes = self.members.shape
        rows = [["largest probability", span_of(self._largest())]]
        rows += [[f"{name} / nats", span_of(getattr(self, name))] for name in _DOUBT]
        title = f"ClassPredictive: {members} members, {points} points, {classes} classes"
        return card(title, rows)

    def _largest(self) -> Tensor:
        return self.probs.amax(dim=-1)


def _entropy(log_probs: Tensor) -> Tensor:
    # xlogy-like: a class of probability 0 adds nothing, even where its logarithm is infinite.
    finite = log_probs.clamp_min(torch.finfo(log_probs.dtype).min)
    # Rounding may leave less than 0; and a difference, unlike a sign, makes no -0.
    return (0.0 - (log_probs.exp() * finite).sum(dim=-1)).clamp_min(0.0)
