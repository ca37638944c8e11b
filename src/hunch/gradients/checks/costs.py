"""What every estimator refuses: costs of the wrong shape, NaN, generators of another device.

The checks that read values are left out where a value cannot be read: inside `torch.func.vmap`
and while `torch.compile` traces.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution

from hunch.errors import ConfigurationError, DataError, ShapeError

Cost = Callable[[Tensor], Tensor]
COST = "the cost returned by `f`"
HALF = (torch.float16, torch.bfloat16)


def wide(values: Tensor) -> Tensor:
    """Numbers of half precision in single precision, in which sums neither overflow nor lose much.

    Example:
        >>> wide(torch.ones(2, dtype=torch.float16)).dtype, wide(torch.ones(2).double()).dtype
        (torch.float32, torch.float64)
    """
    return values.float() if values.dtype in HALF else values


def all_finite(values: Tensor) -> bool | None:
    """Whether all values are finite; None where they cannot be read.

    Example:
        >>> all_finite(torch.tensor([1.0, torch.nan]))
        False
    """
    if torch.compiler.is_compiling():
        return None
    try:
        # NaN and infinity survive a sum, so a finite sum spares the slower look at each value.
        return math.isfinite(values.detach().sum().item()) or bool(torch.isfinite(values).all())
    except RuntimeError:  # how vmap answers a question about the value of one of its tensors
        return None


def _bad(values: Tensor) -> int:
    return int((~torch.isfinite(values.detach())).sum())


def check_finite(values: Tensor, name: str) -> bool | None:
    """Refuse NaN and infinity; return what `all_finite` says otherwise.

    Raises:
        DataError: if any value is NaN or infinite.
    """
    finite = all_finite(values)
    if finite is False:
        raise DataError(
            f"{name} got {_bad(values)} of {values.numel()} values that are NaN or infinite; "
            "expected finite numbers, because one bad value spoils the gradient of all; mask or "
            "bound them."
        )
    return finite


def shaped(cost: object, samples: Tensor, dist: Distribution) -> Tensor:
    """The costs that `f` returned for samples, as floating-point numbers `(n, *batch)`.

    Raises:
        ShapeError: if the shape is another one; the message says which change would help.

    Example:
        >>> shaped(torch.tensor([1, 2]), torch.ones(2), torch.distributions.Normal(0.0, 1.0))
        tensor([1., 2.])
    """
    if not isinstance(cost, Tensor):
        raise ConfigurationError(
            f"`f` returned {type(cost).__name__}; expected a tensor of costs, shape (n, *batch)."
        )
    expected = (samples.shape[0], *dist.batch_shape)
    if cost.shape != expected:
        raise ShapeError(
            f"`f` returned costs of shape {tuple(cost.shape)}; expected (n, *batch_shape) = "
            f"{expected}, one per sample and factor; {_remedy(tuple(cost.shape), expected)}."
        )
    if cost.is_floating_point():
        return cost
    return cost.to(samples.dtype if samples.is_floating_point() else torch.get_default_dtype())


def _remedy(shape: tuple[int, ...], expected: tuple[int, ...]) -> str:
    missing = len(expected) - len(shape)
    if shape == expected[1:]:
        return "keep the sample axis, the first one: `f` must not average over samples"
    if missing > 0 and shape == expected[: len(shape)]:
        return (
            f"if one cost belongs to the last {missing} batch dimension(s) together, pass "
            f"torch.distributions.Independent(dist, {missing}); otherwise do not sum over them"
        )
    if missing < 0 and shape == (*expected, *(1 for _ in range(-missing))):
        return f"squeeze the last {-missing} dimension(s) of the cost"
    return "compare it with the shape of the samples: often two factors in `f` broadcast"


def check_generator(generator: torch.Generator | None, samples: Tensor) -> None:
    """Refuse a generator that did not decide the samples, because they were drawn elsewhere.

    Raises:
        ConfigurationError: if a generator was given for samples that are not on the CPU.
    """
    if generator is not None and samples.device.type != "cpu":
        raise ConfigurationError(
            f"`generator` got a CPU generator, but the samples are drawn on {samples.device}; "
            "expected a distribution on the CPU; move its parameters, or seed the device instead."
        )


def checked(cost: object, samples: Tensor, dist: Distribution) -> Tensor:
    """`shaped`, and finite.

    Raises:
        DataError: if a cost is NaN or infinite.
    """
    values = shaped(cost, samples, dist)
    check_finite(values, COST)
    return values


def check_path(samples: Tensor, dist: Distribution) -> None:
    """Refuse samples without a path to follow: at infinity every gradient is NaN or lost.

    Raises:
        DataError: if a sample is NaN or infinite.
    """
    if all_finite(samples) is False:
        raise DataError(
            f"`dist` got {type(dist).__name__}, of which {_bad(samples)} of {samples.numel()} "
            f"numbers drawn are NaN or infinite in {samples.dtype}; expected finite samples, "
            "because no pathwise gradient leads there; bound the parameters, or use double "
            "precision."
        )


def check_density(value: Tensor, cost: Tensor, log_prob: Tensor, dist: Distribution) -> None:
    """Refuse a value that is not finite, because costs or densities of samples are not.

    NaN and infinity of any sample reach the value, so that one look at it is enough.

    Raises:
        DataError: if the value is NaN or infinite.
    """
    if all_finite(value) is not False:
        return
    check_finite(cost, COST)
    if bad := _bad(log_prob):
        raise DataError(
            f"`dist` got {type(dist).__name__}, whose log-probability is NaN or infinite for {bad} "
            f"of {log_prob.numel()} of its own samples, as where a transform such as tanh rounds "
            "them to the edge of the support, or a parameter lies at the edge of what it may be; "
            "expected finite numbers; let the cost transform the sample (expectation(lambda x: "
            "f(transform(x)), base)), use estimator='pathwise', or double precision."
        )
    raise DataError(
        f"the costs returned by `f` are too large for {value.dtype}: their mean is NaN or "
        "infinite; expected costs that can be added; scale them down, or use double precision."
    )


def mean_cost(cost: Tensor) -> Tensor:
    """Over the samples; one sample is its own mean.

    Example:
        >>> mean_cost(torch.tensor([1.0, 3.0]))
        tensor(2.)
        >>> mean_cost(torch.tensor([6e4, 6e4], dtype=torch.float16))
        tensor(60000., dtype=torch.float16)
    """
    if cost.shape[0] == 1:
        return cost.squeeze(0)
    # Torch's mean adds first, which half precision cannot hold.
    return wide(cost).mean(0).to(cost.dtype) if cost.dtype in HALF else cost.mean(0)
