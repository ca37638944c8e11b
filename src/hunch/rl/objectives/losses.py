"""Losses of values, of their distributions and of policies.

Pure functions of tensors; any leading axes will do where nothing else is said.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hunch.gradients import surrogate


def policy_loss(
    log_prob: Tensor,
    value: Tensor,
    target: Tensor,
    baseline: Tensor,
    *,
    value_weight: float,
    entropy: Tensor | None = None,
    entropy_weight: float = 0.0,
) -> Tensor:
    """The loss of each replica: that of its policy and of its value, minus the entropy.

    mean(-(R - b) log π(a | s) + w (v - R)² / 2 - h H), as far as its gradient goes.

    Args:
        log_prob: of what was done, with a gradient, `(replicas, steps)`.
        value: v, with a gradient, `(replicas, steps)`.
        target: R, what it led to, `(replicas, steps)`.
        baseline: b, what was to be expected, `(replicas, steps)`; must not depend on what was done.
        value_weight: w, of half the squared error of the value.
        entropy: H of the policies, in nats, `(replicas, steps)`; None for none.
        entropy_weight: h.

    Returns:
        Shape `(replicas,)`; with weights of 0, minus the mean of `target`.

    Example:
        >>> log_prob = torch.zeros(1, 2, requires_grad=True)
        >>> target = torch.tensor([[1.0, 3.0]])
        >>> policy_loss(log_prob, target, target, target, value_weight=0.0)
        tensor([-2.], grad_fn=<MeanBackward1>)
    """
    loss = surrogate(log_prob, -target, baseline=-baseline, dim=1)
    if value_weight:
        loss = loss + value_weight * 0.5 * (value - target).square().mean(1)
    if entropy is not None:
        loss = loss - entropy_weight * entropy.mean(1)
    return loss


def value_loss(
    q: Tensor,
    action: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    *,
    huber: bool = False,
    shared: int = 1,
) -> tuple[float, Tensor, Tensor]:
    """The loss of members' values of what was done, and its gradient.

    An error e counts e² / 2.

    Args:
        q: values of all actions, `(replicas, members, batch, actions)`.
        action: what was done, `(replicas, batch)`.
        target: what it is to be worth to each member, `(replicas, members, batch)`.
        mask: which members learn from what, of the shape of `target`; None for all from all.
        weight: of each transition, `(replicas, batch)`; None for 1.
        huber: whether an error beyond 1 counts |e| − ½.
        shared: how many members one parameter serves.

    Returns:
        The weighted mean over all errors; the gradient with respect to `q` of the sum over replicas
        and members of each one's weighted mean over the batch, divided by `shared`; and the largest
        size of all members' errors of each transition, `(replicas, batch)`.

    Example:
        >>> q, action = torch.zeros(1, 1, 2, 2), torch.tensor([[1, 0]])
        >>> value_loss(q, action, target=torch.tensor([[[1.0, 3.0]]]))
        (2.5, tensor([[[[ 0.0000, -0.5000],
                  [-1.5000,  0.0000]]]]), tensor([[1., 3.]]))
    """
    index = action[:, None, :, None].expand(*q.shape[:-1], 1)
    error = q.gather(-1, index).squeeze(-1) - target
    if mask is not None:
        error = error * mask
    clamped = error.clamp(-1.0, 1.0) if huber else error
    slope = clamped if weight is None else clamped * weight.unsqueeze(1)
    loss: float = ((error - 0.5 * clamped) * slope).mean().item()
    part = (slope / (slope.shape[-1] * shared)).unsqueeze(-1)
    return loss, torch.zeros_like(q).scatter_(-1, index, part), error.abs().amax(1)


def categorical_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Kullback–Leibler divergence of each predicted distribution from its target.

    Args:
        logits: of the atoms, shape `(…, batch, atoms)`.
        target: probabilities, of the same shape.

    Returns:
        KL(target ‖ prediction), shape `(…, batch)`.

    Example:
        >>> categorical_loss(torch.zeros(1, 2), torch.full((1, 2), 0.5))
        tensor([0.])
    """
    return torch.xlogy(target, target).sum(-1) - (target * F.log_softmax(logits, -1)).sum(-1)


def quantile_loss(quantiles: Tensor, target: Tensor) -> Tensor:
    """Quantile Huber loss between predicted quantiles and samples of the target.

    Quantile i stands for the level (i + ½) / n; the threshold of the Huber loss is 1.

    Args:
        quantiles: shape `(…, batch, n)`.
        target: shape `(…, batch, m)`, each entry as likely as another.

    Returns:
        Σᵢ meanⱼ |τᵢ − 1{tⱼ < qᵢ}| Huber(tⱼ − qᵢ), shape `(…, batch)`.

    Example:
        >>> quantile_loss(torch.zeros(1, 2), torch.zeros(1, 2))
        tensor([0.])

    Reference:
        Dabney et al. (2018), "Distributional reinforcement learning with quantile regression",
        eq. 10 and algorithm 1.
    """
    n = quantiles.shape[-1]
    levels = (torch.arange(n, device=quantiles.device, dtype=quantiles.dtype) + 0.5) / n
    error = target.unsqueeze(-2) - quantiles.unsqueeze(-1)  # (…, n, m)
    size = error.abs()
    huber = torch.where(size < 1, 0.5 * error.square(), size - 0.5)
    weight = (levels.unsqueeze(-1) - (error.detach() < 0).to(levels.dtype)).abs()
    return (weight * huber).mean(-1).sum(-1)
