"""Predictions for the training data by the members that did not see them, free of charge.

A bootstrap leaves out about 37 % of the data for each member. Asking a datum's out-of-bag members
about it is a test on data they were not trained on: an honest error without a held-out part.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hunch.errors import DataError, ShapeError


@dataclass(frozen=True)
class OutOfBag:
    """What members say about the data they did not see.

    A datum that every member saw has no such prediction: its `count` is 0 and its mean is NaN. With
    K members of a multinomial or Poisson bootstrap that happens to one datum in 1.6 to the power K.

    Args:
        members: each member's prediction for each training datum, `(members, data, *out)`.
        unseen: where a member had weight 0, `(members, data)`.

    Example:
        >>> members = torch.tensor([[1.0, 5.0], [3.0, 7.0], [9.0, 9.0]])
        >>> bag = out_of_bag(members, torch.tensor([[0.0, 1.0], [0.0, 2.0], [1.0, 1.0]]))
        >>> bag.count, bag.mean
        (tensor([2, 0]), tensor([2., nan]))
    """

    members: Tensor
    unseen: Tensor

    @property
    def count(self) -> Tensor:
        """How many members did not see each datum, `(data,)`."""
        return self.unseen.sum(dim=0)

    @property
    def mean(self) -> Tensor:
        """The mean of the members that did not see the datum, `(data, *out)`; NaN without any."""
        return self._sum(self.members) / self._like_data(self.count)

    @property
    def std(self) -> Tensor:
        """Their standard deviation, unbiased in its square; NaN with fewer than two."""
        squares = self._sum((self.members - self.mean).square())
        variance = squares / (self._like_data(self.count) - 1)
        return torch.where(self._like_data(self.count) > 1, variance, torch.nan).sqrt()

    def _sum(self, values: Tensor) -> Tensor:
        """Over the members that did not see the datum; what the others say may be anything."""
        mask = self.unseen.reshape(*self.unseen.shape, *[1] * (values.ndim - 2))
        return torch.where(mask, values, 0).sum(dim=0)

    def _like_data(self, count: Tensor) -> Tensor:
        return count.reshape(-1, *[1] * (self.members.ndim - 2))


def out_of_bag(members: Tensor, weights: Tensor) -> OutOfBag:
    """Keep, for each training datum, the predictions of the members that did not see it.

    Args:
        members: each member's prediction for each training datum, `(members, data, *out)`: anything
            that may be averaged; for classes probabilities, not logits.
        weights: what the members were trained with, `(members, data)`: `bootstrap_weights` with the
            kind, ids and seed that `fit` had. Copies of a row must share an id, or what is left out
            has a twin in the bag (`copy_ids`).

    Returns:
        The predictions, their mean, spread and number.

    Raises:
        ShapeError: if the shapes do not fit each other.
        DataError: if no weight is 0, so that no member is out of bag, or one is negative or NaN.

    Note:
        After `fit(..., redraw=True)` members have seen other data in each epoch, and in the end
        nearly all of them: there is no out-of-bag prediction then.

    Example:
        >>> from hunch.inference import bootstrap_weights, fit, predict
        >>> from hunch.nn import MLP, Ensemble
        >>> x = torch.linspace(-1, 1, 30).reshape(-1, 1)
        >>> net = Ensemble(lambda: MLP(1, [20], 1), 50, seed=0)
        >>> _ = fit(net, x, x.sin(), bootstrap="poisson", lr=0.02, steps=200, progress=False)
        >>> weights = bootstrap_weights("poisson", 50, range(30), seed=0)
        >>> bag = out_of_bag(predict(net, x).members, weights)
        >>> bool((bag.mean - x.sin()).abs().mean() < 0.1), bag.mean.shape
        (True, torch.Size([30, 1]))

    Reference:
        Breiman (1996), "Out-of-bag estimation".
    """
    if weights.ndim != 2 or members.shape[:2] != weights.shape:
        raise ShapeError(
            f"`members` got shape {tuple(members.shape)} and `weights` {tuple(weights.shape)}; "
            "expected (members, data, *out) and (members, data)."
        )
    if not bool((weights >= 0).all()):
        raise DataError("`weights` holds negative values or NaN; expected at least 0.")
    unseen = weights == 0
    if not unseen.any():
        raise DataError(
            "`weights` has no entry of 0: every member saw every datum; expected a bootstrap that "
            "leaves some out: 'multinomial', 'poisson' or 'double_or_nothing'."
        )
    return OutOfBag(members, unseen.to(members.device))
