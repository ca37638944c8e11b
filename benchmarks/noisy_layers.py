"""What a noisy layer costs beside `nn.Linear` and beside the usual layer with dense noise buffers.

One update draws new noise, computes a forward and a backward; one action draws new noise and
computes a forward without gradients. All variants run side by side on one thread, round by round;
the table shows each one's best round, since other work on the machine only ever adds time.

    python benchmarks/noisy_layers.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hunch.nn import NoisyLinear, noise, reset_noise


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
    best = {name: [float("inf"), float("inf")] for name in layers}
    for _ in range(rounds):
        for name, variant in layers.items():
            for column, what in enumerate((update, action)):
                start = time.perf_counter()
                for _ in range(calls):
                    what(variant, x, gradient)
                elapsed = (time.perf_counter() - start) / calls
                best[name][column] = min(best[name][column], elapsed * 1e6)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    settings = [(1, 128, 300), (128, 128, 100), (512, 1024, 2)]
    tables = [measure(batch, width, calls, rounds) for batch, width, calls in settings]
    titles = [f"batch {batch}, {width}²" for batch, width, _ in settings]
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
