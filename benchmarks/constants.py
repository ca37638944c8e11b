"""Where the numbers in the code that say "up to here" and "at once" were read off.

For each number the two ways it chooses between, or the sizes it could have had, side by side. A
number is right where the ratio in its row is near 1, or its line near the fastest one.

    python benchmarks/constants.py [--seed 0]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from hunch.inference import training
from hunch.nn import MLP, Ensemble, NoisyLinear
from hunch.rl.fast import manual_backprop, wide_noise
from hunch.rl.networks.noise import FreshNoise
from measuring import Way, spread, turns

Ways = Mapping[str, Way]


def medians(ways: Ways, blocks: int = 31, calls: int = 1) -> dict[str, float]:
    """Median CPU microseconds of a call of each way."""
    times = turns(ways, blocks, calls=calls, warm=3)
    return {name: 1e6 * spread(found).median for name, found in times.items()}


def noise_by_rows(rows: int) -> dict[str, float]:
    """One noisy layer 128 → 128: noise applied to the rows, or to the weights."""
    layer = NoisyLinear(128, 128)
    by_hand = manual_backprop.by_hand(layer, {}, False)
    draws = FreshNoise(layer, [torch.Generator().manual_seed(0)]).draws()
    x = torch.randn(1, rows, 128)

    def forward(most: int) -> Callable[[], object]:
        def way() -> object:
            manual_backprop.FEW_ROWS = most
            return by_hand.forward(x, draws, None)

        return way

    return medians({"rows": forward(10**6), "weights": forward(0)}, calls=200)


def narrow_products(inputs: int) -> dict[str, float]:
    """The gradient of the weights of a layer to 128, batch 128: its transpose, or itself."""
    gradient, x = torch.randn(1, 128, 128), torch.randn(1, 128, inputs)
    out = torch.zeros(1, 128, inputs)

    def product(most: int) -> Callable[[], object]:
        def way() -> object:
            manual_backprop.FEW_INPUTS = most
            return manual_backprop._weight_gradient(gradient, x, out)

        return way

    return medians({"transposed": product(10**6), "itself": product(0)}, calls=200)


def noise_ahead(calls: int) -> float:
    """Noise of a network of two noisy layers of 128, drawn for so many calls at once."""
    network = nn.Sequential(NoisyLinear(128, 128), nn.ReLU(), NoisyLinear(128, 2))
    noise = FreshNoise(network, [torch.Generator().manual_seed(0)])
    noise._ahead = noise._used = calls
    return medians({"": noise.draws}, calls=512)[""]


def wide_layer(weights: int, least: int) -> Callable[[], object]:
    """Batch 32 through a noisy layer to 512 and back, in the kernel from `least` weights on."""
    wide_noise.MANY_WEIGHTS = least
    layer = NoisyLinear(weights // 512, 512)
    gradients = {id(own): torch.zeros_like(own) for own in layer.parameters()}
    by_hand = manual_backprop.by_hand(layer, gradients, False)
    draws = FreshNoise(layer, [torch.Generator().manual_seed(0)]).draws()
    x, gradient = torch.randn(1, 32, weights // 512), torch.randn(1, 32, 512)

    def way() -> object:
        tape: list[object] = []
        by_hand.forward(x, draws, tape)
        return by_hand.backward(gradient, True, tape)

    return way


def wide_layers(weights: int) -> dict[str, float]:
    """A noisy layer in tiles by the kernel, and whole by torch."""
    return medians({"tiles": wide_layer(weights, 0), "whole": wide_layer(weights, 10**9)})


def prior_rows(size: int, members: int) -> float:
    """Priors of 20,000 rows, asked for so many rows times members at once; ns for each."""
    ensemble = Ensemble(lambda: MLP(8, [50, 50], 1), members, seed=0)
    x = torch.randn(20_000, 8)
    parts = x.split(max(1, size // members))
    with torch.no_grad():
        taken = medians({"": lambda: training._fixed(ensemble, parts)}, blocks=5)[""]
    return 1e3 * taken / (20_000 * members)


def two_ways(title: str, at: Sequence[int], measure: Callable[[int], dict[str, float]]) -> None:
    """Print a row for each size with both ways' µs and their ratio."""
    rows = {size: measure(size) for size in at}
    first, second = rows[at[0]]
    print(f"## {title}\n\n| at | {first}, µs | {second}, µs | ratio |\n|---|---|---|---|")
    for size, found in rows.items():
        ratio = found[first] / found[second]
        print(f"| {size:,} | {found[first]:.1f} | {found[second]:.1f} | {ratio:.2f} |")
    print()


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    chosen = (manual_backprop.FEW_ROWS, manual_backprop.FEW_INPUTS)
    print(f"# Numbers chosen by the clock\n\nCPU time, one thread, torch {torch.__version__}.\n")
    two_ways(f"`FEW_ROWS` = {chosen[0]}", [1, 4, 8, 16, 32, 64], noise_by_rows)
    two_ways(f"`FEW_INPUTS` = {chosen[1]}", [2, 4, 8, 16, 32, 64], narrow_products)
    manual_backprop.FEW_ROWS, manual_backprop.FEW_INPUTS = chosen
    many = wide_noise.MANY_WEIGHTS
    sizes = [2**power for power in (16, 17, 18, 19, 20, 21)]
    two_ways(f"`MANY_WEIGHTS` = 2^{many.bit_length() - 1}", sizes, wide_layers)
    wide_noise.MANY_WEIGHTS = many
    print("## `DRAWN_AHEAD`\n\n| calls drawn at once | µs a call |\n|---|---|")
    for calls in (1, 4, 16, 64, 256):
        print(f"| {calls} | {noise_ahead(calls):.1f} |")
    sizes = [2**power for power in (12, 14, 16, 18, 20)]
    print(f"\n## `_PRIOR_ROWS` = 2^{training._PRIOR_ROWS.bit_length() - 1}\n")
    print("| rows × members at once | 10 members, ns each | 50 members, ns each |\n|---|---|---|")
    for size in sizes:
        ten, fifty = prior_rows(size, 10), prior_rows(size, 50)
        print(f"| 2^{size.bit_length() - 1} | {ten:.0f} | {fifty:.0f} |")


if __name__ == "__main__":
    main()
