"""Baselines that are learned: a moving average of past costs, a critic of the input.

Both are fixed before the samples are drawn, so the gradient stays unbiased. The moving average is
read before it is updated; a critic's prediction is read before it is trained.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hunch.errors import ConfigurationError, ShapeError
from hunch.gradients.checks.costs import wide
from hunch.recomputation import recalled


class EMA(nn.Module):
    """The moving average of the costs of earlier calls, as a baseline.

    `average <- decay * average + (1 - decay) * mean cost`, divided by `1 - decay**calls` so that
    it needs no warming up; the first call has no past and gets zero. Each call reads the old value
    and updates afterwards. In `eval()` the average is read and stays. It is shared by all inputs,
    so its size has nothing to do with the batch; where inputs differ in their costs it helps
    little, and leave-one-out or a critic helps more.

    Args:
        decay: the weight of the past, at least 0 and below 1.
        shape: keeps one average per factor along the last dimensions of the costs, such as `(4,)`
            for costs of shape `(n, batch, 4)`; a 1 averages over its dimension. `()` keeps one.

    Raises:
        ConfigurationError: if `decay` is out of range.

    Example:
        >>> import torch
        >>> from hunch.gradients import expectation
        >>> ema, g = EMA(0.9), torch.Generator().manual_seed(0)
        >>> rate = torch.full((64,), 3.0, requires_grad=True)
        >>> for _ in range(3):
        ...     dist = torch.distributions.Poisson(rate)
        ...     loss = expectation(lambda z: z + 100, dist, 1, baseline=ema, generator=g)
        >>> round(ema.value.item())
        103
        >>> sorted(ema.state_dict())
        ['average', 'weight']

    Reference:
        Williams (1992), "Simple statistical gradient-following algorithms for connectionist
        reinforcement learning", "reinforcement comparison"; Kingma & Ba (2015) for the division.
    """

    average: Tensor
    weight: Tensor

    def __init__(self, decay: float = 0.9, shape: Sequence[int] = ()) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ConfigurationError(
                f"`decay` got {decay!r}; expected a number from 0 to below 1, such as 0.9."
            )
        self.decay = decay
        self.register_buffer("average", torch.zeros(tuple(shape)))
        self.register_buffer("weight", torch.zeros(()))

    @property
    def value(self) -> Tensor:
        """The average so far, in the units of the cost; zero before the first update."""
        return self.average / self.weight.clamp_min(torch.finfo(self.weight.dtype).tiny)

    def forward(self, cost: Tensor) -> Tensor:
        """The baseline for these costs, which are learned from afterwards.

        Args:
            cost: shape `(n, *batch)`.

        Returns:
            The old average, shape `(*batch,)`.

        Raises:
            ShapeError: if `shape` does not fit the costs.
        """
        shape, batch = self.average.shape, cost.shape[1:]
        pairs = zip(reversed(shape), reversed(batch), strict=False)
        if len(shape) > len(batch) or any(kept not in (1, size) for kept, size in pairs):
            raise ShapeError(
                f"`shape` got {tuple(shape)} for costs of shape {tuple(cost.shape)}; expected the "
                f"last dimensions of {tuple(batch)}, or 1 where the average is taken; build "
                "EMA(decay, shape=...) anew."
            )
        # Gradient checkpointing asks twice; the second answer would have learned from these costs.
        old, again = recalled(self, lambda: self.value.clone())
        if self.training and not again:
            with torch.no_grad():
                costs = wide(cost.detach())
                total = costs.sum_to_size(*shape) if shape else costs.sum()
                mean = total * (self.average.numel() / cost.numel())
                self.average.lerp_(mean.to(self.average), 1 - self.decay)
                self.weight.lerp_(torch.ones_like(self.weight), 1 - self.decay)
        return old.to(cost).expand(batch)


class Critic:
    """What a network of yours expects the costs to be: a baseline that depends on the input.

    `expectation` subtracts the prediction, without sending a gradient into it, and shows it the
    costs. `loss` then trains the network: add it to the loss, or step an optimizer of its own. The
    prediction must come from the input alone, not from the samples. A plain tensor will do too, if
    the network learns elsewhere.

    Args:
        prediction: expected costs, shape `(*batch,)`, with the graph of the network.

    Example:
        >>> import torch
        >>> from hunch.gradients import expectation
        >>> x = torch.randn(64, 3)
        >>> policy, network = torch.nn.Linear(3, 1), torch.nn.Linear(3, 1)
        >>> critic = Critic(network(x).squeeze(-1))
        >>> dist = torch.distributions.Bernoulli(logits=policy(x).squeeze(-1))
        >>> loss = expectation(lambda z: (z - 0.3) ** 2, dist, 1, baseline=critic)
        >>> (loss.mean() + critic.loss).backward()
        >>> policy.weight.grad.shape == network.weight.grad.shape
        True

    Reference:
        Mnih & Gregor (2014), "Neural Variational Inference and Learning in Belief Networks",
        "input-dependent baseline".
    """

    def __init__(self, prediction: Tensor) -> None:
        if not isinstance(prediction, Tensor):
            raise ConfigurationError(
                f"`prediction` got {type(prediction).__name__}; expected a tensor of expected "
                "costs, such as network(x).squeeze(-1)."
            )
        self.prediction = prediction
        self._cost: Tensor | None = None

    def __call__(self, cost: Tensor) -> Tensor:
        """The baseline for these costs, shape `(n, *batch)`, which `loss` then compares with."""
        if self.prediction.shape != cost.shape[1:]:
            raise ShapeError(
                f"`prediction` of the critic got shape {tuple(self.prediction.shape)}; expected "
                f"{tuple(cost.shape[1:])}, one expected cost per factor; squeeze the network's "
                "output."
            )
        self._cost = cost.detach()
        return self.prediction.detach().to(cost)

    @property
    def loss(self) -> Tensor:
        """Mean squared error of the prediction for the latest costs, to train the network with."""
        if self._cost is None:
            raise ConfigurationError(
                "`critic.loss` was asked before the critic saw costs; expected a call of "
                "expectation(..., baseline=critic) first, with an estimator that uses a baseline: "
                "the pathwise gradient uses none."
            )
        return (self.prediction - self._cost).square().mean()
