"""Ways to differentiate an estimate, and what comes out of each: right, refused, or wrong."""

from __future__ import annotations

import warnings
from functools import partial
from typing import NamedTuple

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor
from torch.func import grad, jvp, vmap
from torch.utils.checkpoint import checkpoint

from hunch.errors import HunchError
from hunch.gradients import Gumbel, expectation

from .families import FAMILIES, Family

LIMIT = 4.0

ESTIMATORS = {
    "auto": dict(estimator="auto"),
    "score": dict(estimator="score"),
    "pathwise": dict(estimator="pathwise"),
    "score, antithetic": dict(estimator="score", sampler="antithetic", n=4),
    "score, sobol": dict(estimator="score", sampler="sobol", n=4),
    "score, masked": dict(estimator="score", mask=torch.isfinite),
    "pathwise, antithetic": dict(estimator="pathwise", sampler="antithetic"),
    "measure": dict(estimator="measure"),
    "enumerate": dict(estimator="enumerate"),
    "rebar": dict(estimator="rebar"),
    "straight_through": dict(estimator="straight_through"),
    "gumbel": dict(estimator=Gumbel(0.7)),
}
BIASED = ("straight_through", "gumbel")  # held against themselves in reverse mode


class Cell(NamedTuple):
    """`outcome` is "right", "refused" (hunch says so), "torch" (torch raises) or "WRONG"."""

    outcome: str
    why: str


def loss(family: Family, how: dict, *rows: Tensor) -> Tensor:
    settings = {"n": 2} | how
    return expectation(family.cost, family.make(*rows), settings.pop("n"), **settings)


def direction(rows):
    """One direction in the space of the parameters, the same for each row."""
    return [
        torch.linspace(1.0, 0.4, r[0].numel(), dtype=r.dtype).view(r[0].shape) * (0.8 + 0.3 * i)
        for i, r in enumerate(rows)
    ]


def _tangents(rows):
    return tuple(v.expand_as(r).clone() for v, r in zip(direction(rows), rows, strict=True))


def _along(gradients, rows):
    parts = zip(gradients, direction(rows), strict=True)
    return sum((g * v).reshape(len(g), -1).sum(1) for g, v in parts)


# ------------------------------------------------------------------ ways to differentiate
# Each gets a function of rows of parameters, one cost for each row, and gives the values and the
# derivatives along one direction.


def reverse(f, rows):
    rows = [r.clone().requires_grad_() for r in rows]
    value = f(*rows)
    return value.detach(), _along(torch.autograd.grad(value.sum(), rows), rows)


def func_grad(f, rows):
    def total(*p):
        value = f(*p)
        return value.sum(), value.detach()

    gradients, value = grad(total, tuple(range(len(rows))), has_aux=True)(*rows)
    return value, _along(gradients, rows)


def forward(f, rows):
    return jvp(f, tuple(rows), _tangents(rows))


def dual(f, rows):
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(r, t) for r, t in zip(rows, _tangents(rows), strict=True)]
        value, slope = forward_ad.unpack_dual(f(*duals))
    return value, torch.zeros_like(value) if slope is None else slope


def vmap_of_grad(f, rows):
    def one(*p):
        value = f(*p)
        return value, value.detach()

    inner = grad(one, tuple(range(len(rows))), has_aux=True)
    gradients, value = vmap(inner, randomness="different")(*rows)
    return value, _along(gradients, rows)


def grad_of_vmap(f, rows):
    return reverse(vmap(f, randomness="different"), rows)


def vmap_of_jvp(f, rows):
    def one(p, t):
        return jvp(f, p, t)

    return vmap(one, randomness="different")(tuple(rows), _tangents(rows))


MODES = {
    "backward": reverse,
    "func.grad": func_grad,
    "jvp": forward,
    "dual level": dual,
    "vmap(grad)": vmap_of_grad,
    "grad of vmap": grad_of_vmap,
    "vmap(jvp)": vmap_of_jvp,
}
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


# ------------------------------------------------------------------ what comes out


def truths(family: Family):
    rows = [p.unsqueeze(0).clone().requires_grad_() for p in family.params]
    value = family.exact(*rows)
    return value.detach(), _along(torch.autograd.grad(value.sum(), rows), rows)


def z(found: Tensor, truth: Tensor) -> float:
    """Distance in standard errors, and in what the numbers' precision can tell apart.

    Of biased estimators the truth is estimated too.
    """
    resolution = max(torch.finfo(found.dtype).eps, 1e-6)
    found, truth = found.double(), truth.double()
    variance = found.var() / len(found) + (truth.var() / len(truth) if len(truth) > 1 else 0)
    error = variance.sqrt() + resolution * (1 + truth.mean().abs())
    return float((found.mean() - truth.mean()).abs() / error)


def drawn(family, how, mode, draws, seed, dtype=torch.float64):
    rows = [p.to(dtype).expand(draws, *p.shape).clone() for p in family.params]
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of batching rules and singular draws
        torch.manual_seed(seed)
        return mode(partial(loss, family, how), rows)


def estimated(name: str, label: str, mode, draws: int, dtype=torch.float64) -> Cell:
    """One estimator on one family, differentiated in one way, against the closed form."""
    family, how = FAMILIES[name], ESTIMATORS[label]
    try:
        found = drawn(family, how, mode, draws, 0, dtype)
    except Exception as error:
        return _raised(error)
    truth = drawn(family, how, reverse, draws, 1) if label in BIASED else truths(family)
    scores = [z(a, b) for a, b in zip(found, truth, strict=True)]
    if max(scores) <= LIMIT:  # not so for NaN
        return Cell("right", "")
    slopes = float(found[1].double().mean()), float(truth[1].mean())
    return Cell("WRONG", f"z {scores}, slope {slopes[0]:.4g} for {slopes[1]:.4g}")


def compiled(name: str, label: str, backend: str = "eager") -> Cell:
    """Compiled, at two batch sizes, against a plain call with the same draws."""
    torch.compiler.reset()
    f = partial(loss, FAMILIES[name], ESTIMATORS[label])
    return _same(name, f, torch.compile(f, backend=backend), (3, 5))


def checkpointed(name: str, label: str, use_reentrant: bool = False) -> Cell:
    """Inside of gradient checkpointing, against a plain call with the same draws."""
    f = partial(loss, FAMILIES[name], ESTIMATORS[label])

    def again(*rows):
        return checkpoint(f, *rows, use_reentrant=use_reentrant)

    return _same(name, f, again, (4,))


def _same(name, f, g, sizes) -> Cell:
    for size in sizes:
        rows = [p.expand(size, *p.shape).clone() for p in FAMILIES[name].params]
        found = []
        for function in (f, g):
            try:
                with torch.random.fork_rng(), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    torch.manual_seed(size)
                    found.append(reverse(function, rows))
            except Exception as error:
                return _raised(error)
        for one, two in zip(*found, strict=True):
            if not torch.allclose(one, two, rtol=1e-6, atol=1e-9):
                return Cell("WRONG", f"{one.tolist()} and {two.tolist()}")
    return Cell("right", "")


def _raised(error: Exception) -> Cell:
    if isinstance(error, HunchError):
        return Cell("refused", str(error))
    return Cell("torch", f"{type(error).__name__}: {error}")
