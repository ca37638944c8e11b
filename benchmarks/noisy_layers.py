"""What a noisy layer costs beside `nn.Linear` and beside the usual layer with dense noise buffers.

One update draws new noise, computes a forward and a backward; one action draws new noise and
computes a forward without gradients. All variants take turns on one thread; CPU time, the median of
the rounds.

    python benchmarks/noisy_layers.py
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hunch.nn import NoisyLinear, noise, reset_noise
from measuring import spread, turns


class DenseBuffers(nn.Module):
    """The layer as most libraries write it: ε of every weight in a buffer, overwritten in place."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.sizes = (in_features, out_features)
        self.weight = nn.Parameter(torch.empty(out_features, in_features).uniform_(-0.1, 0.1))
        self.weight_std = nn.Parameter(torch.full((out_features, in_features), 0.05))
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.bias_std = nn.Parameter(torch.full((out_features,), 0.05))
        self.register_buffer("weight_noise", torch.zeros(out_features, in_features))
        self.register_buffer("bias_noise", torch.zeros(out_features))

    def redraw(self) -> None:
        """Overwrite the noise."""
        rows, columns = (e.sign() * e.abs().sqrt() for e in map(torch.randn, self.sizes))
        self.weight_noise.copy_(torch.outer(columns, rows))
        self.bias_noise.copy_(columns)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_features) to (batch, out_features)."""
        weight = self.weight + self.weight_std * self.weight_noise
        return F.linear(x, weight, self.bias + self.bias_std * self.bias_noise)


Variant = tuple[nn.Module, Callable[[], object]]


def variants(width: int) -> dict[str, Variant]:
    dense, held = DenseBuffers(width, width), NoisyLinear(width, width)
    noise(held, "held")
    return {
        "nn.Linear": (nn.Linear(width, width), lambda: None),
        "dense buffers, redrawn": (dense, dense.redraw),
        "NoisyLinear, fresh": (NoisyLinear(width, width), lambda: None),
        "NoisyLinear, held + reset_noise": (held, lambda: reset_noise(held)),
        "NoisyLinear, independent": (
            NoisyLinear(width, width, noise="independent"),
            lambda: None,
        ),
        "NoisyLinear, per sample": (NoisyLinear(width, width, per_sample=True), lambda: None),
        "NoisyLinear, per sample, independent": (
            NoisyLinear(width, width, per_sample=True, noise="independent"),
            lambda: None,
        ),
    }


def update(variant: Variant, x: Tensor, gradient: Tensor) -> None:
    layer, redraw = variant
    redraw()
    for parameter in layer.parameters():
        parameter.grad = None
    layer(x).backward(gradient)


def action(variant: Variant, x: Tensor, gradient: Tensor) -> None:
    layer, redraw = variant
    redraw()
    with torch.no_grad():
        layer(x)


def measure(batch: int, width: int, calls: int, rounds: int) -> dict[str, list[float]]:
    """Microseconds per update and per action, by variant."""
    torch.manual_seed(0)
    x, gradient = torch.randn(batch, width), torch.ones(batch, width)
    layers = variants(width)
    ways = {
        f"{name} {what.__name__}": partial(what, variant, x, gradient)
        for name, variant in layers.items()
        for what in (update, action)
    }
    times = turns(ways, rounds, calls=calls)
    return {
        name: [1e6 * spread(times[f"{name} {what}"]).median for what in ("update", "action")]
        for name in layers
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    settings = [(1, 128, 300), (128, 128, 100), (512, 1024, 2)]
    tables = [measure(batch, width, calls, rounds) for batch, width, calls in settings]
    titles = [f"batch {batch}, {width}²" for batch, width, _ in settings]
    print("# Noisy layers\n")
    print(f"torch {torch.__version__}, one thread; µs per update (× nn.Linear) / µs per action\n")
    print("| layer |", " | ".join(titles), "|")
    print("|---|" + "---|" * len(titles))
    for name in tables[0]:
        cells = []
        for table in tables:
            ratio = table[name][0] / table["nn.Linear"][0]
            cells.append(f"{table[name][0]:,.0f} ({ratio:.2f}×) / {table[name][1]:,.0f}")
        print(f"| {name} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
