"""Ways to differentiate an estimate, and what comes out of each: right, refused, or wrong."""

from __future__ import annotations

from functools import partial

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor
from torch.func import grad, jvp, vmap

from hunch.errors import HunchError
from hunch.gradients import Gumbel, expectation

from .families import Family

LIMIT = 4.0

ESTIMATORS = {
    "score": dict(estimator="score"),
    "score, antithetic": dict(estimator="score", sampler="antithetic", n=4),
    "score, sobol": dict(estimator="score", sampler="sobol", n=4),
    "score, masked": dict(estimator="score", mask=torch.isfinite),
    "pathwise": dict(estimator="pathwise"),
    "pathwise, antithetic": dict(estimator="pathwise", sampler="antithetic"),
    "auto": dict(estimator="auto"),
    "measure": dict(estimator="measure"),
    "enumerate": dict(estimator="enumerate"),
    "rebar": dict(estimator="rebar"),
    "straight_through": dict(estimator="straight_through"),
    "gumbel": dict(estimator=Gumbel(0.7)),
}


def loss(family: Family, how: dict, *rows: Tensor) -> Tensor:
    settings = {"n": 2} | how
    return expectation(family.cost, family.make(*rows), settings.pop("n"), **settings)


def direction(rows):
    """One direction in the space of the parameters, the same for each row."""
    return [
        torch.linspace(1.0, 0.4, r[0].numel(), dtype=r.dtype).view(r[0].shape) * (0.8 + 0.3 * i)
        for i, r in enumerate(rows)
    ]


def _along(gradients, rows):
    found = 0
    for g, v in zip(gradients, direction(rows), strict=True):
        found = found + (g * v).view(len(g), -1).sum(1)
    return found


def reverse(f, rows):
    rows = [r.clone().requires_grad_() for r in rows]
    value = f(*rows)
    return value.detach(), _along(torch.autograd.grad(value.sum(), rows), rows)


def forward(f, rows):
    tangents = tuple(v.expand_as(r) for v, r in zip(direction(rows), rows, strict=True))
    return jvp(f, tuple(rows), tangents)


def dual(f, rows):
    with forward_ad.dual_level():
        found = f(
            *(
                forward_ad.make_dual(r, v.expand_as(r).clone())
                for v, r in zip(direction(rows), rows, strict=True)
            )
        )
        value, slope = forward_ad.unpack_dual(found)
    return value, torch.zeros_like(value) if slope is None else slope


def vmap_of_grad(f, rows):
    def one(*p):
        value = f(*p)
        return value, value.detach()

    argnums = tuple(range(len(rows)))
    gradients, value = vmap(grad(one, argnums, has_aux=True), randomness="different")(*rows)
    return value, _along(gradients, rows)


def grad_of_vmap(f, rows):
    return reverse(vmap(f, randomness="different"), rows)


def vmap_of_jvp(f, rows):
    tangents = [v.expand_as(r) for v, r in zip(direction(rows), rows, strict=True)]
    return vmap(lambda p, t: jvp(f, p, t), randomness="different")(tuple(rows), tuple(tangents))


def func_grad(f, rows):
    def total(*p):
        value = f(*p)
        return value.sum(), value.detach()

    gradients, value = grad(total, tuple(range(len(rows))), has_aux=True)(*rows)
    return value, _along(gradients, rows)


MODES = {
    "reverse": reverse,
    "func.grad": func_grad,
    "jvp": forward,
    "dual": dual,
    "vmap(grad)": vmap_of_grad,
    "grad of vmap": grad_of_vmap,
    "vmap(jvp)": vmap_of_jvp,
}


def truths(family: Family):
    rows = [p.unsqueeze(0).clone().requires_grad_() for p in family.params]
    value = family.exact(*rows)
    assert value.shape == (1,), value.shape
    return value.detach(), _along(torch.autograd.grad(value.sum(), rows), rows)


def z(found: Tensor, truth: Tensor, resolution=1e-9) -> float:
    found, truth = found.double(), truth.double()
    error = (found.var() / len(found)).sqrt() + resolution * (1 + truth.abs())
    return float((found.mean() - truth).abs() / error)


def cell(family: Family, how: dict, mode, draws=20_000, seed=0, dtype=torch.float64):
    rows = [p.to(dtype).expand(draws, *p.shape).clone() for p in family.params]
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            value, slope = mode(partial(loss, family, how), rows)
    except HunchError as error:
        return "refused", str(error)
    except Exception as error:
        return "torch", f"{type(error).__name__}: {str(error)[:300]}"
    scores = [z(a, b) for a, b in zip((value, slope), truths(family), strict=True)]
    if not max(scores) <= LIMIT:
        return (
            "WRONG",
            f"z value {scores[0]:.1f}, slope {scores[1]:.1f}; slope {slope.double().mean():.4f} for {float(truths(family)[1]):.4f}",
        )
    return "right", f"{max(scores):.1f}"


def same_compiled(family: Family, how: dict, backend="aot_eager", sizes=(3, 5), **options):
    """Value and gradients compiled, at two batch sizes, against those of a plain call."""
    torch.compiler.reset()
    f = partial(loss, family, how)
    compiled = torch.compile(f, backend=backend, **options)
    return _same(f, compiled, family, sizes)


def same_checkpointed(family: Family, how: dict, use_reentrant=False):
    f = partial(loss, family, how)

    def again(*rows):
        return checkpoint(f, *rows, use_reentrant=use_reentrant)

    return _same(f, again, family, (4,))


def _same(f, g, family, sizes):
    for size in sizes:
        rows = [p.expand(size, *p.shape).clone() for p in family.params]
        found = []
        for function in (f, g):
            try:
                with torch.random.fork_rng():
                    torch.manual_seed(size)
                    found.append(reverse(function, rows))
            except HunchError as error:
                return "refused", str(error)
            except Exception as error:
                return "torch", f"{type(error).__name__}: {str(error)[:300]}"
        for a, b in zip(*found, strict=True):
            if not torch.allclose(a, b, rtol=1e-6, atol=1e-9):
                return "WRONG", f"{a} {b}"
    return "right", ""
