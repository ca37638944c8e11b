"""Every distribution of torch, and some that are made of others, with an expectation in closed form.

None of the closed forms uses what the estimators use: no `rsample` and no `log_prob`. Most are
second moments, from torch's own means and variances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributions as td
from torch import Tensor
from torch.distributions import constraints, transforms

from .problems import tensor


@dataclass(frozen=True)
class Family:
    """A distribution, a cost, and the cost's expectation as a function of the parameters.

    `moving` says that the support moves with a parameter, so that the score must be refused.
    """

    params: tuple[Tensor, ...]
    make: Callable[..., td.Distribution]
    cost: Callable[[Tensor], Tensor]
    exact: Callable[..., Tensor]
    moving: bool = False


def _moments(params, make, moving=False, shift=0.3):
    """The cost `(z - shift)²`, summed over the event, from torch's mean and variance."""

    def square(z):
        z = (z - shift) ** 2
        return z.flatten(z.dim() - event).sum(-1) if event else z

    def exact(*rows):
        dist = make(*rows)
        found = dist.variance + (dist.mean - shift) ** 2
        return found.flatten(found.dim() - event).sum(-1) if event else found

    event = len(make(*params).event_shape)
    return Family(params, make, square, exact, moving)


V = {"validate_args": False}  # vmap cannot make torch's checks of arguments


def _tril(a, b, c):
    zero = torch.zeros_like(b)
    return torch.stack([a, zero, b, c], -1).unflatten(-1, (2, 2))


def _quadrature(values: Callable[[Tensor], Tensor], dims: int) -> Tensor:
    """The mean of a smooth function of a uniform number, by the tanh-sinh rule."""
    t = torch.linspace(-2.8, 2.8, 161, dtype=torch.float64)
    u = torch.sigmoid(torch.pi * torch.sinh(t))
    w = torch.pi * torch.cosh(t) * u * (1 - u) * (t[1] - t[0])
    return torch.tensordot(w, values(u.view(-1, *[1] * dims)), 1)


def _relaxed_bernoulli_square(logits, heat=0.7, shift=0.3):
    return _quadrature(
        lambda u: (((logits + u.log() - (-u).log1p()) / heat).sigmoid() - shift) ** 2,
        logits.dim(),
    )


def _relaxed_pair(logits, heat=0.7, shift=0.3):
    """Two categories: the first coordinate is a relaxed Bernoulli of their difference."""
    difference = logits[..., 0] - logits[..., 1]
    return _quadrature(
        lambda u: (((difference + u.log() - (-u).log1p()) / heat).sigmoid() - shift) ** 2,
        difference.dim(),
    )


def _logistic_normal_square(loc, scale):
    # One coordinate: the sigmoid of a Normal (stick breaking of one stick adds nothing).
    return _quadrature(
        lambda u: ((loc + scale * torch.special.ndtri(u)).sigmoid() ** 2).squeeze(-1),
        loc.dim(),
    )


def _mixture(logits, loc):
    return td.MixtureSameFamily(
        td.Categorical(logits=logits, **V),
        td.Normal(loc, torch.full_like(loc, 0.7), **V),
        **V,
    )


def _wishart(df, a, b, c):
    return td.Wishart(df, scale_tril=_tril(a, b, c), **V)


class Flow(transforms.Transform):
    """A trainable bijection of the whole line: `x + w tanh(x)`, inverted by Newton's method."""

    domain = codomain = constraints.real
    bijective = True
    sign = +1

    def __init__(self, weight, cache_size=0):
        super().__init__(cache_size=cache_size)
        self.weight = weight

    def with_cache(self, cache_size=1):
        return Flow(self.weight, cache_size)

    def _call(self, x):
        return x + self.weight * x.tanh()

    def _inverse(self, y):
        x = y
        for _ in range(40):
            x = x - (self._call(x) - y) / (1 + self.weight * (1 - x.tanh() ** 2))
        return x

    def log_abs_det_jacobian(self, x, y):
        return torch.log1p(self.weight * (1 - x.tanh() ** 2))


def _flow_square(loc, weight, shift=0.3):
    def values(u):
        x = loc + torch.special.ndtri(u)
        return (x + weight * x.tanh() - shift) ** 2

    return _quadrature(values, loc.dim())


def transformed(base, *steps):
    return td.TransformedDistribution(base, list(steps), **V)


def affine(loc, scale, **how):
    return transforms.AffineTransform(loc, scale, **how)


def like(x, value):
    return torch.full_like(x, value)


def _squashed(loc, scale):
    return transformed(td.Normal(loc, scale, **V), transforms.TanhTransform())


def _squashed_square(loc, scale, shift=0.3):
    return _quadrature(
        lambda u: ((loc + scale * torch.special.ndtri(u)).tanh() - shift) ** 2, loc.dim()
    )


def _logistic(loc, scale):
    unit = td.Uniform(like(loc, 0.0), like(loc, 1.0), **V)
    return transformed(unit, transforms.SigmoidTransform().inv, affine(loc, scale))


SECOND = (tensor(0.6), tensor(0.8))

FAMILIES = {
    "Bernoulli": _moments((tensor(0.4),), lambda p: td.Bernoulli(logits=p, **V)),
    "Beta": _moments((tensor(1.5), tensor(2.5)), lambda a, b: td.Beta(a, b, **V)),
    "Binomial": _moments((tensor(0.4),), lambda p: td.Binomial(5, logits=p, **V)),
    "Categorical": Family(
        (tensor(0.1, -0.5, 0.9),),
        lambda p: td.Categorical(logits=p, **V),
        lambda z: (z - 0.3) ** 2,
        lambda p: (p.softmax(-1) * (torch.arange(3, dtype=p.dtype) - 0.3) ** 2).sum(-1),
    ),
    "Cauchy": Family(
        SECOND,
        lambda m, s: td.Cauchy(m, s, **V),
        torch.cos,
        lambda m, s: (-s).exp() * m.cos(),
    ),
    "Chi2": _moments((tensor(3.0),), lambda d: td.Chi2(d, **V)),
    "ContinuousBernoulli": _moments((tensor(0.8),), lambda p: td.ContinuousBernoulli(p, **V)),
    "Dirichlet": _moments((tensor(1.5, 0.8, 2.0),), lambda a: td.Dirichlet(a, **V)),
    "Exponential": _moments((tensor(1.3),), lambda r: td.Exponential(r, **V)),
    "FisherSnedecor": _moments(
        (tensor(4.0), tensor(12.0)), lambda a, b: td.FisherSnedecor(a, b, **V)
    ),
    "Gamma": _moments((tensor(1.5), tensor(2.0)), lambda a, b: td.Gamma(a, b, **V)),
    "GeneralizedPareto": _moments(
        (tensor(0.8),), lambda s: td.GeneralizedPareto(like(s, 0.1), s, like(s, 0.05), **V)
    ),
    "Geometric": _moments((tensor(0.4),), lambda p: td.Geometric(logits=p, **V)),
    "Gumbel": _moments(SECOND, lambda m, s: td.Gumbel(m, s, **V)),
    "HalfCauchy": Family(
        (tensor(0.8),),
        lambda s: td.HalfCauchy(s, **V),
        lambda z: 1 / (1 + z**2),
        lambda s: 1 / (1 + s),
    ),
    "HalfNormal": _moments((tensor(0.8),), lambda s: td.HalfNormal(s, **V)),
    "Independent": _moments(
        (tensor(0.6, -0.4), tensor(0.8, 0.5)),
        lambda m, s: td.Independent(td.Normal(m, s, **V), 1, **V),
    ),
    "InverseGamma": Family(
        # The cost is bounded: 1/z is Gamma(a, b), and E[exp(-1/z)] its Laplace transform at 1.
        (tensor(2.0), tensor(1.5)),
        lambda a, b: td.InverseGamma(a, b, **V),
        lambda z: (-1 / z).exp(),
        lambda a, b: (b / (1 + b)) ** a,
    ),
    "Kumaraswamy": _moments((tensor(1.5), tensor(2.5)), lambda a, b: td.Kumaraswamy(a, b, **V)),
    "LKJCholesky": Family(
        (tensor(1.5),),
        lambda c: td.LKJCholesky(3, c, **V),
        lambda z: z[..., 1, 0] ** 2,
        lambda c: 1 / (2 * c + 2),
    ),
    "Laplace": _moments(SECOND, lambda m, s: td.Laplace(m, s, **V)),
    "LogNormal": _moments((tensor(0.2), tensor(0.4)), lambda m, s: td.LogNormal(m, s, **V)),
    "LogisticNormal": Family(
        (tensor(0.6).view(1), tensor(0.8).view(1)),
        lambda m, s: td.LogisticNormal(m, s, **V),
        lambda z: z[..., 0] ** 2,
        _logistic_normal_square,
    ),
    "LowRankMultivariateNormal": _moments(
        (tensor(0.6, -0.4), tensor(0.5, 0.3), tensor(0.4, 0.7)),
        lambda m, w, d: td.LowRankMultivariateNormal(m, w.unsqueeze(-1), d, **V),
    ),
    "MixtureSameFamily": _moments((tensor(0.2, -0.5), tensor(-1.0, 0.8)), _mixture),
    "Multinomial": _moments((tensor(0.1, -0.5, 0.9),), lambda p: td.Multinomial(4, logits=p, **V)),
    "MultivariateNormal": _moments(
        (tensor(0.6, -0.4), tensor(0.8), tensor(0.3), tensor(0.5)),
        lambda m, a, b, c: td.MultivariateNormal(m, scale_tril=_tril(a, b, c), **V),
    ),
    "NegativeBinomial": _moments(
        (tensor(-0.4),), lambda p: td.NegativeBinomial(3.0, logits=p, **V)
    ),
    "Normal": _moments(SECOND, lambda m, s: td.Normal(m, s, **V)),
    "OneHotCategorical": _moments(
        (tensor(0.1, -0.5, 0.9),),
        lambda p: td.OneHotCategorical(logits=p, **V),
        shift=tensor(0.3, 0.1, -0.5),
    ),
    "OneHotCategoricalStraightThrough": _moments(
        (tensor(0.1, -0.5, 0.9),),
        lambda p: td.OneHotCategoricalStraightThrough(logits=p, **V),
        shift=tensor(0.3, 0.1, -0.5),
    ),
    "Pareto": Family(
        (tensor(1.2), tensor(3.0)),
        lambda s, a: td.Pareto(s, a, **V),
        lambda z: 1 / z,
        lambda s, a: a / (a + 1) / s,
        moving=True,
    ),
    "Pareto of a fixed scale": Family(
        (tensor(3.0),),
        lambda a: td.Pareto(like(a, 1.2), a, **V),
        lambda z: 1 / z,
        lambda a: a / (a + 1) / 1.2,
    ),
    "GeneralizedPareto of a trained location": _moments(
        (tensor(0.1), tensor(0.8)),
        lambda m, s: td.GeneralizedPareto(m, s, like(s, 0.05), **V),
        moving=True,
    ),
    "GeneralizedPareto with an upper end": _moments(
        (tensor(0.8),),
        lambda s: td.GeneralizedPareto(like(s, 0.1), s, like(s, -0.5), **V),
        moving=True,
    ),
    "Poisson": _moments((tensor(2.0),), lambda r: td.Poisson(r, **V)),
    "RelaxedBernoulli": Family(
        (tensor(0.4),),
        lambda p: td.RelaxedBernoulli(like(p.detach(), 0.7), logits=p, **V),
        lambda z: (z - 0.3) ** 2,
        _relaxed_bernoulli_square,
    ),
    "RelaxedOneHotCategorical": Family(
        (tensor(0.4, -0.3),),
        lambda p: td.RelaxedOneHotCategorical(tensor(0.7).to(p.dtype), logits=p, **V),
        lambda z: (z[..., 0] - 0.3) ** 2,
        _relaxed_pair,
    ),
    "StudentT": Family(
        (tensor(9.0), tensor(0.6), tensor(0.8)),
        lambda d, m, s: td.StudentT(d, m, s, **V),
        lambda z: (z - 0.3) ** 2,
        lambda d, m, s: (m - 0.3) ** 2 + s**2 * d / (d - 2),
    ),
    "Uniform": _moments(
        (tensor(0.5), tensor(1.5)), lambda a, b: td.Uniform(a, b, **V), moving=True
    ),
    "VonMises": Family(
        (tensor(0.6), tensor(1.5)),
        lambda m, k: td.VonMises(m, k, **V),
        torch.cos,
        lambda m, k: torch.special.i1e(k) / torch.special.i0e(k) * m.cos(),
    ),
    "Weibull": _moments((tensor(0.8), tensor(2.0)), lambda s, k: td.Weibull(s, k, **V)),
    "Wishart": Family(
        (tensor(4.0), tensor(0.8), tensor(0.3), tensor(0.5)),
        _wishart,
        lambda z: z[..., 0, 1] + z[..., 1, 1],
        lambda d, a, b, c: d * (a * b + b**2 + c**2),
    ),
    # ------------------------------------------------------------ made of others
    "Normal, shifted and scaled": Family(
        SECOND,
        lambda m, s: transformed(td.Normal(like(m, 0.0), like(m, 1.0), **V), affine(m, s)),
        lambda z: (z - 0.3) ** 2,
        lambda m, s: (m - 0.3) ** 2 + s**2,
    ),
    "Normal, squashed by tanh": Family(
        SECOND, _squashed, lambda z: (z - 0.3) ** 2, _squashed_square
    ),
    "Normal through a trained flow": Family(
        (tensor(0.6), tensor(0.5)),
        lambda m, w: transformed(td.Normal(m, like(m, 1.0), **V), Flow(w)),
        lambda z: (z - 0.3) ** 2,
        _flow_square,
    ),
    "Normal, its absolute value": Family(
        (tensor(0.8),),
        lambda s: transformed(td.Normal(like(s, 0.0), s, **V), transforms.AbsTransform()),
        lambda z: z**2,
        lambda s: s**2,
    ),
    "Logistic, of a Uniform": Family(
        SECOND,
        _logistic,
        lambda z: (z - 0.3) ** 2,
        lambda m, s: (m - 0.3) ** 2 + s**2 * torch.pi**2 / 3,
    ),
    "Exponential, scaled": Family(
        (tensor(0.8),),
        lambda s: transformed(td.Exponential(like(s, 1.0), **V), affine(0.0, s)),
        lambda z: z**2,
        lambda s: 2 * s**2,
    ),
    "Exponential, shifted": Family(
        (tensor(0.8),),
        lambda m: transformed(td.Exponential(like(m, 1.0), **V), affine(m, 1.0)),
        lambda z: z**2,
        lambda m: m**2 + 2 * m + 2,
        moving=True,
    ),
    "Uniform, scaled": Family(
        (tensor(0.8),),
        lambda s: transformed(td.Uniform(like(s, 0.0), like(s, 1.0), **V), affine(0.0, s)),
        lambda z: z**2,
        lambda s: s**2 / 3,
        moving=True,
    ),
    "Uniform of trained bounds, exponentiated": Family(
        (tensor(0.8),),
        lambda s: transformed(
            td.Uniform(like(s, 0.0), s, **V), transforms.ExpTransform(), affine(0.0, 2.0)
        ),
        lambda z: z,
        lambda s: 2 * (s.exp() - 1) / s,
        moving=True,
    ),
    "mixture of shifted Uniforms": Family(
        (tensor(0.8),),
        lambda m: td.MixtureSameFamily(
            td.Categorical(logits=torch.stack([like(m, 0.0), like(m, 0.0)], -1), **V),
            td.Uniform(torch.stack([m, m + 1], -1), torch.stack([m + 1, m + 3], -1), **V),
            **V,
        ),
        lambda z: z**2,
        lambda m: ((m**2 + m + 1 / 3) + (m**2 + 4 * m + 13 / 3)) / 2,
        moving=True,
    ),
    "Uniforms in a stack": Family(
        (tensor(0.8),),
        lambda m: transformed(
            td.Independent(
                td.Uniform(
                    torch.stack([like(m, 0.0)] * 2, -1), torch.stack([like(m, 1.0)] * 2, -1), **V
                ),
                1,
                **V,
            ),
            transforms.StackTransform([transforms.ExpTransform(), affine(m, 1.0)], dim=-1),
        ),
        lambda z: z[..., 1] ** 2,
        lambda m: m**2 + m + 1 / 3,
        moving=True,
    ),
}
