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

from hunch.nn import NoisyLinear, noise, reset_noise
from measuring import spread, turns
from peers.dense_noise import DenseNoisyLinear

Variant = tuple[nn.Module, Callable[[], object]]


def variants(width: int) -> dict[str, Variant]:
    dense, held = DenseNoisyLinear(width, width), NoisyLinear(width, width)
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
