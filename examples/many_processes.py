"""One ensemble over many processes: each trains and asks its own members, all hear the answer.

    torchrun --nproc-per-node 4 --max-restarts 3 examples/many_processes.py --out answer.json

`python examples/many_processes.py` does the same in one process, to the bit. A process that is
killed ends the others too; `torchrun` starts all again, and they go on from the last checkpoint.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from hunch.inference import fit, predict
from hunch.nn import MLP, Ensemble, RandomizedPrior, Ranks


def data(rows: int, features: int) -> tuple[Tensor, Tensor]:
    """The same in each process: no rank sends another any."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, features, generator=generator)
    y = x[:, :1].sin() + 0.1 * torch.randn(rows, 1, generator=generator)
    return x, y


def answer(asked: argparse.Namespace) -> dict[str, list[float]]:
    """Train, and ask about eleven points on a line."""
    x, y = data(asked.rows, asked.features)
    sizes = [asked.width, asked.width]

    def member() -> RandomizedPrior:
        return RandomizedPrior(
            MLP(asked.features, sizes, 1), prior=MLP(asked.features, sizes, 1), scale=1.0
        )

    net = Ensemble(member, asked.members, seed=0, engine=asked.engine, ranks=Ranks())
    fit(
        net,
        x,
        y,
        bootstrap="poisson",
        steps=asked.steps,
        batch_size=asked.batch_size,
        lr=0.01,
        patience=asked.patience,
        checkpoint=asked.checkpoint,
        seed=0,
    )
    line = torch.zeros(11, asked.features)
    line[:, 0] = torch.linspace(-5, 5, 11)
    p = predict(net, line)
    low, high = p.interval(0.9)  # all ranks ask; what follows is each one's own business
    figures = {"mean": p.mean, "std": p.std, "low": low, "high": high}
    return {name: values.flatten().tolist() for name, values in figures.items()}


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description="One ensemble over many processes.")
    parser.add_argument("--members", type=int, default=64)
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--features", type=int, default=3)
    parser.add_argument("--width", type=int, default=50, help="units of a hidden layer")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--patience", type=int, help="epochs without a better out-of-bag loss")
    parser.add_argument("--engine", default="auto", choices=["auto", "kernel", "bmm", "vmap"])
    parser.add_argument("--checkpoint", help="a folder that all processes see")
    parser.add_argument("--out", type=Path, default=Path("answer.json"))
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    """Train and ask in all processes, and write in the first."""
    torch.set_num_threads(1)
    asked = arguments(words)
    found = answer(asked)
    if Ranks().rank == 0:
        asked.out.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
