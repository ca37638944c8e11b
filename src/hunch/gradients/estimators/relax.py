"""REBAR and RELAX: the score function, with a softened copy of the sample to cancel its noise.

A discrete sample `b` is the rounding of a continuous `z` that carries a gradient; `z2` is a second
draw of the continuous one, given `b`. Whatever function `c` is asked at both, `E[c(z)] = E[c(z2)]`
for every parameter, so `c(z) - c(z2)` may be added without moving any derivative; what it does is
to replace the score's noise by the path's where `c` is close to the cost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Bernoulli, OneHotCategorical

from hunch.errors import ConfigurationError
from hunch.gradients.checks.cautions import caution_edge
from hunch.gradients.checks.continuity import dependence
from hunch.gradients.checks.costs import (
    check_density,
    checked,
    mean_cost,
    wide,
)
from hunch.gradients.checks.softened import softened_cost
from hunch.gradients.estimators.relaxations import softened_family
from hunch.gradients.estimators.request import Request
from hunch.gradients.sampling.samplers import uniforms
from hunch.validation import real_number


@dataclass(frozen=True)
class Relax:
    """An unbiased gradient for Bernoulli and OneHotCategorical, of any order: REBAR, or RELAX.

    Give an instance as `estimator`; the name `"rebar"` stands for `Relax()`. Without a surrogate
    the cost itself is asked at softened samples (REBAR), so it must make sense between the values
    of the distribution, and be continuous and differentiable there: what jumps biases the gradient,
    and a jump made by a comparison or an argmax cannot be seen. In an evidence bound write log q(z)
    as `(z * q.logits).sum(-1)` for OneHotCategorical, whose own `log_prob` takes the nearest value
    and is refused, and build a Bernoulli with `validate_args=False`, whose own is a line. With a
    surrogate (RELAX) the cost may be anything.

    Args:
        surrogate: softened samples `(m, *batch, *event)` to expected costs `(m, *batch)`; it need
            not be good for the gradient to be right. A network learns by making the gradient's
            square small: `torch.autograd.grad` of the loss with `create_graph=True`, squared and
            summed, then `torch.autograd.grad` of that for the network. Do not let the loss itself
            train it: that gradient is noise.
        temperature: above 0; low for a surrogate close to the cost at exact samples, high for a
            path with little noise.
        scale: what the surrogate is multiplied by; 0 gives the plain score function.

    Raises:
        ConfigurationError: if `temperature` is not above 0.

    Note:
        The papers tune temperature and scale while training, by the same squared gradient. Here
        they stay as given; a surrogate with parameters of its own does the same.

    Example:
        >>> import torch
        >>> from hunch.gradients import expectation
        >>> logits = torch.zeros(500, requires_grad=True)
        >>> g = torch.Generator().manual_seed(0)
        >>> def cost(z):
        ...     return 1 + (z - 0.45) ** 2
        >>> def spread(how):
        ...     dist = torch.distributions.Bernoulli(logits=logits)
        ...     loss = expectation(cost, dist, 1, estimator=how, generator=g)
        ...     return torch.autograd.grad(loss.sum(), logits)[0].std()
        >>> bool(spread("rebar") < spread("score") / 2)
        True

    Reference:
        Tucker et al. (2017), "REBAR: Low-variance, unbiased gradient estimates for discrete latent
        variable models"; Grathwohl et al. (2018), "Backpropagation through the Void", for RELAX.
    """

    surrogate: Callable[[Tensor], Tensor] | None = None
    temperature: float = 1.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        real_number("temperature", self.temperature, above=0.0)

    def __call__(self, request: Request) -> Tensor:
        """The estimate, for `hunch.gradients.expectation`."""
        request.refuse_baseline("rebar")
        f, dist = request.f, request.dist
        family = softened_family(dist, "rebar")
        caution_edge(family)
        # Two numbers for each coordinate, each evenly spread over the samples if so wished.
        u, v = (uniforms(dist, request.n, request.generator, request.sampler) for _ in range(2))
        sample, soft = _draws(family, u, v, self.temperature)
        cost = request.cost(sample)
        control = checked(softened_cost(self.surrogate or f, soft), soft, dist)
        if soft.requires_grad and not control.requires_grad:
            raise ConfigurationError(
                "`f` returned a cost that carries no gradient of softened samples; expected a "
                "differentiable cost; give Relax(surrogate=...) a function that is."
            )
        if dependence(control, soft) == "jump":
            raise ConfigurationError(
                "`f` rounds softened samples or takes their sign on the way to the cost; expected "
                "a cost that is continuous between the values, because REBAR is biased by a jump; "
                "give Relax(surrogate=...) a smooth function, or use estimator='score'."
            )
        before, after = (self.scale * control).chunk(2)
        log_prob = dist.log_prob(sample)
        box = torch.exp(log_prob - log_prob.detach())
        # The last part takes the control out of the value, where it would only be noise.
        value = mean_cost(box * (cost - after) + before + (after - before).detach())
        check_density(value, cost, log_prob, dist)
        return value


def _draws(
    dist: Bernoulli | OneHotCategorical, u: Tensor, v: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Exact samples, and two softened ones of each: before it was known, and given it."""
    # Half precision has no uniform numbers close enough to 0 and 1 for what is rare.
    logits = wide(dist.logits)
    kind = torch.finfo(logits.dtype)
    u, v = (x.to(logits.dtype).clamp(kind.tiny, 1 - kind.eps) for x in (u, v))
    if isinstance(dist, Bernoulli):
        sample, before, after = _logistic(logits, u, v)
        soft = (torch.cat([before, after]) / temperature).sigmoid()
    else:
        sample, before, after = _gumbel(logits.clamp_min(kind.min / 8), u, v)
        soft = (torch.cat([before, after]) / temperature).softmax(-1)
    return sample.to(dist.logits.dtype), soft.to(dist.logits.dtype)


def _logistic(logits: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    p = logits.sigmoid()
    before = logits + u.logit()
    one = before.detach() > 0  # u above 1 - p
    eps = torch.finfo(p.dtype).eps
    given = torch.where(one, 1 - p + v * p, v * (1 - p)).clamp(torch.finfo(p.dtype).tiny, 1 - eps)
    return one.to(p.dtype), before, logits + given.logit()


def _gumbel(logits: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    before = logits - (-u.log()).log()
    index = before.detach().argmax(-1, keepdim=True)
    sample = torch.zeros_like(before).scatter_(-1, index, 1.0)
    # The largest is Gumbel whatever the logits; the others are cut off at it: -log(w / p + l), with
    # its logarithms, because a probability p may be too small to be divided by.
    w = (-v.log()).log()
    largest = w.gather(-1, index)
    others = -torch.logaddexp(w - logits, largest)
    after = torch.where(sample.bool(), -largest, others)
    return sample, before, after
