"""Mean and variance of noisy layers' outputs: measured over many draws, and in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hunch.experiments.claims.saved import NOT_WRITTEN
from hunch.nn import NoisyLinear, noise

Kind = Literal["factorized", "independent"]
Sharing = Literal["shared", "per sample"]
EDGES = np.linspace(-4.0, 4.0, 65)  # of the histograms, in closed-form stds

_F_SQUARED = math.sqrt(2 / math.pi)  # E f(ε)² for f(x) = sgn(x)·√|x| and a standard normal ε
_CHUNK = 5000  # draws at once, where each has a weight matrix of its own


class LayerCase(NamedTuple):
    """A noisy layer, one input (in_features,) and its mean output (out_features,)."""

    layer: NoisyLinear
    x: Tensor
    mean: Tensor


@dataclass(frozen=True)
class ByOutput:
    """What is not written."""

    measured: np.ndarray  # measured variance, per output
    closed: np.ndarray  # closed-form variance, per output
    # Histogram of the noise of the last layer's first output, in closed-form stds.
    density: np.ndarray


@dataclass(frozen=True)
class Moments:
    """One kind of noise, measured at every output of some layers."""

    noise: Kind  # kind of noise
    sharing: Sharing  # `"shared"` by the batch or `"per sample"`
    outputs: int  # how many there are
    # Root of the mean square of measured minus closed-form mean, in closed-form stds, over all
    # outputs.
    mean_error_in_stds: float
    variance_ratio: float  # measured over closed-form variance, averaged over all outputs
    worst_output_variance_ratio_error: float  # how far the worst of these ratios is from 1
    # Largest correlation of consecutive draws, in its standard errors, 1/√draws.
    row_correlation: float = field(default=math.nan, metadata=NOT_WRITTEN)
    # The figures of single outputs; None where read from a file.
    by_output: ByOutput | None = field(default=None, metadata=NOT_WRITTEN)


def closed_form_variance(layer: NoisyLinear, x: Tensor) -> Tensor:
    """The variance of each output of `layer` at one input.

    Args:
        layer: a noisy linear layer.
        x: one input, (in_features,).

    Returns:
        Variances, (out_features,): Σ_i σ_ji² x_i² + σ_bj² for independent noise, and
        (2/π) Σ_i σ_ji² x_i² + √(2/π) σ_bj² for factorized noise.

    Example:
        >>> layer = NoisyLinear(4, 1, noise="independent", std_init=0.5)
        >>> [round(float(v), 6) for v in closed_form_variance(layer, torch.ones(4))]
        [1.25]
    """
    factor = _F_SQUARED if layer.noise == "factorized" else 1.0
    variance = factor**2 * (layer.weight_sigma.square() @ x.square())
    if layer.bias_sigma is not None:
        variance = variance + factor * layer.bias_sigma.square()
    return variance.detach()


@torch.no_grad()
def outputs_under_noise(
    layer: NoisyLinear, x: Tensor, draws: int, generator: torch.Generator
) -> Tensor:
    """The forward of `layer` at one input under many draws, (draws, out_features).

    Args:
        layer: a noisy linear layer; with `per_sample=True` it gets one batch of `draws` rows,
            otherwise every draw is a forward of its own.
        x: one input, (in_features,).
        draws: number of draws.
        generator: where they come from.

    Example:
        >>> layer = NoisyLinear(3, 2)
        >>> outputs_under_noise(layer, torch.ones(3), 5, torch.Generator().manual_seed(0)).shape
        torch.Size([5, 2])
    """
    if layer.per_sample:
        with noise(layer, "fresh", generator):
            rows: Tensor = layer(x.expand(draws, -1))
        return rows

    def forward(draw: tuple[Tensor, ...]) -> Tensor:
        with layer.using(draw):
            row: Tensor = layer(x)
        return row

    sizes = [min(_CHUNK, draws - start) for start in range(0, draws, _CHUNK)]
    return torch.cat([torch.vmap(forward)(layer.draw(generator, members=n)) for n in sizes])


def measure_moments(cases: Sequence[LayerCase], draws: int, generator: torch.Generator) -> Moments:
    """Compare mean and variance over many draws with their closed forms.

    Args:
        cases: layers with the same kind of noise, each with its input.
        draws: number of draws per layer.
        generator: where they come from.

    Example:
        >>> layer, x = NoisyLinear(3, 2), torch.ones(3)
        >>> case = LayerCase(layer, x, layer.eval()(x).detach())
        >>> moments = measure_moments([case], 1000, torch.Generator().manual_seed(0))
        >>> moments.outputs, moments.sharing
        (2, 'shared')
    """
    errors, variances, closed_forms, lagged = [], [], [], []
    for layer, x, mean in cases:
        variance = closed_form_variance(layer, x).double()
        out = outputs_under_noise(layer, x, draws, generator).double()
        z = (out - mean.double()) / variance.sqrt()
        errors.append(z.mean(0))
        variances.append(out.var(0))
        closed_forms.append(variance)
        lagged.append((z[1:] * z[:-1]).mean(0) / z.square().mean(0))
    counts, _ = np.histogram(z[:, 0].numpy(), bins=EDGES)
    measured, closed = torch.cat(variances).numpy(), torch.cat(closed_forms).numpy()
    return Moments(
        noise=layer.noise,
        sharing="per sample" if layer.per_sample else "shared",
        outputs=len(closed),
        mean_error_in_stds=float(np.sqrt(np.mean(torch.cat(errors).numpy() ** 2))),
        variance_ratio=float(np.mean(measured / closed)),
        worst_output_variance_ratio_error=float(np.max(np.abs(measured / closed - 1))),
        row_correlation=float(torch.cat(lagged).abs().max()) * math.sqrt(draws),
        by_output=ByOutput(measured, closed, counts / (draws * np.diff(EDGES))),
    )
