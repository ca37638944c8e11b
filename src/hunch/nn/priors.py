"""Randomised priors: a fixed random function added to what a network learns.

A member of an ensemble predicts `f(x) + scale * p(x)`: f is trained, p never. Where there are data,
f learns to cancel p; where there are none, p shows, and members disagree. A prior is frozen, not
hidden: its tensors are in the `state_dict` and its output is differentiable in x.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hunch.errors import ConfigurationError
from hunch.nn.batched import affine, batched, run_batched
from hunch.nn.heads import head_of
from hunch.validation import real_number


class RandomizedPrior(nn.Module):
    """A trainable network plus a frozen prior: `model(x) + scale * prior(x)`.

    The prior can be another network (each member draws its own), any function of x such as
    `lambda x: torch.sin(3 * x)`, a pretrained network, or one of the ready-made priors here.

    Args:
        model: the network that learns.
        prior: a module or a function of the same inputs. A module is copied, frozen and kept in
            eval mode, so the caller's own is left as it was.
        scale: how strongly the prior speaks, in units of the output; a number of at least 0.

    Shape:
        that of `model`; `prior` gives the same or one that broadcasts to it.

    Raises:
        ConfigurationError: if `prior` cannot be called, `scale` is negative or not finite, or
            `model` ends with a head, whose noise the prior would move too.

    Note:
        The scale is a buffer, not a Python number, so members of one ensemble may have different
        scales and a checkpoint holds it.

    Example:
        >>> from hunch.nn import MLP
        >>> net = RandomizedPrior(MLP(1, [20], 1), prior=lambda x: torch.sin(3 * x))
        >>> net(torch.zeros(5, 1)).shape
        torch.Size([5, 1])

    Reference:
        Osband, Aslanides & Cassirer (2018), "Randomized prior functions for deep reinforcement
        learning", algorithm 1.
    """

    scale: Tensor

    def __init__(
        self,
        model: nn.Module,
        prior: nn.Module | Callable[..., Tensor],
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise ConfigurationError(f"`model` got {type(model).__name__}; expected a module.")
        head = head_of(model)
        if head is not None:
            raise ConfigurationError(
                f"`model` ends with a {type(head).__name__}, whose spread the prior would "
                "move too; expected the prior inside: the head's `location` as a RandomizedPrior."
            )
        if not callable(prior):
            raise ConfigurationError(
                f"`prior` got {type(prior).__name__}; expected a module or a function of x."
            )
        scale = real_number("scale", scale, at_least=0.0)
        self.model = model
        # Freezing the caller's own network would silently end its training elsewhere: copy first.
        self.prior = copy.deepcopy(prior) if isinstance(prior, nn.Module) else FunctionPrior(prior)
        self.prior.requires_grad_(False).eval()
        reference = next(iter(model.parameters()), None)
        self.register_buffer("scale", torch.as_tensor(float(scale)).to(_type_of(reference)))

    def train(self, mode: bool = True) -> RandomizedPrior:
        """Set the model's mode; the prior stays in eval mode, for it must be one fixed function."""
        super().train(mode)
        self.prior.eval()
        return self

    def forward(self, *inputs: Any, **kwargs: Any) -> Tensor:
        """Return `model(x) + scale * prior(x)`."""
        trained: Tensor = self.model(*inputs, **kwargs)
        fixed: Tensor = self.prior(*inputs, **kwargs)
        return trained + self.scale * fixed


@batched(RandomizedPrior)
def _randomized_prior(net: RandomizedPrior, x: Tensor) -> Tensor:
    trained = run_batched(net.model, x)
    scale = net.scale.reshape(-1, *[1] * (trained.ndim - 1))
    return trained + scale * run_batched(net.prior, x)


def _type_of(parameter: Tensor | None) -> torch.dtype:
    if parameter is not None and parameter.is_floating_point():
        return parameter.dtype
    return torch.get_default_dtype()


class FunctionPrior(nn.Module):
    """A plain function of x as a module, so that it can stand where a prior stands.

    Args:
        function: takes the network's inputs, returns a tensor of the network's output shape. It
            must be the same for all members: random numbers inside belong into a module's buffers.

    Example:
        >>> prior = FunctionPrior(lambda x: torch.sin(3 * x))
        >>> prior(torch.zeros(2, 1)).ravel()
        tensor([0., 0.])
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any, **kwargs: Any) -> Tensor:
        """Return `function(x)`."""
        return self.function(*inputs, **kwargs)

    def extra_repr(self) -> str:
        """The function's name."""
        return getattr(self.function, "__name__", type(self.function).__name__)


@batched(FunctionPrior)
def _function_prior(prior: FunctionPrior, x: Tensor) -> Tensor:
    out: Tensor = torch.vmap(prior.function, randomness="different")(x)
    return out


class RandomFourierPrior(nn.Module):
    """A draw from a Gaussian process with a squared-exponential kernel, as a sum of cosines.

    With ω_j ~ N(0, I/ℓ²), b_j ~ U(0, 2π) and w_j ~ N(0, 1),

        p(x) = √(2/M) Σ_j w_j cos(ω_j·x + b_j),   cov p(x), p(x') ≈ exp(−|x − x'|² / 2ℓ²).

    Each instance is another draw; unlike a random network its smoothness is set by one number and
    it neither grows nor flattens far from the data.

    Args:
        in_features: number of inputs, at least 1.
        out_features: number of outputs, each an independent draw.
        lengthscale: ℓ, in units of x; above 0.
        num_features: M, the number of cosines; the kernel's error falls as 1/√M.
        generator: source of the draw; torch's default generator if None.
        dtype: type of the buffers.

    Shape:
        `(..., in_features)` to `(..., out_features)`.

    Raises:
        ConfigurationError: for a size below 1 or a lengthscale that is not above 0.

    Example:
        >>> prior = RandomFourierPrior(2, 1, lengthscale=0.5)
        >>> prior(torch.zeros(7, 2)).shape
        torch.Size([7, 1])

    Reference:
        Rahimi & Recht (2007), "Random features for large-scale kernel machines", algorithm 1.
    """

    frequencies: Tensor
    phases: Tensor
    weights: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        lengthscale: float = 1.0,
        num_features: int = 256,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        sizes = {"in_features": in_features, "out_features": out_features}
        for name, size in (sizes | {"num_features": num_features}).items():
            if size < 1:
                raise ConfigurationError(f"`{name}` got {size}; expected at least 1.")
        if not lengthscale > 0:
            raise ConfigurationError(f"`lengthscale` got {lengthscale}; expected a number above 0.")

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=dtype)

        phases = 2 * math.pi * torch.rand(num_features, generator=generator, dtype=dtype)
        self.register_buffer("frequencies", normal(num_features, in_features) / lengthscale)
        self.register_buffer("phases", phases)
        self.register_buffer(
            "weights", normal(out_features, num_features) * math.sqrt(2 / num_features)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate the draw at `x (..., in_features)`."""
        angles = nn.functional.linear(x, self.frequencies, self.phases)
        return nn.functional.linear(torch.cos(angles), self.weights)


@batched(RandomFourierPrior)
def _fourier_prior(prior: RandomFourierPrior, x: Tensor) -> Tensor:
    angles = affine(x, prior.frequencies, prior.phases)
    return affine(torch.cos(angles), prior.weights, None)
