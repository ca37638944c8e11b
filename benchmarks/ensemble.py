"""How fast an ensemble trains: `hunch.inference.fit` against the blog's loop and the limit.

Everything is timed side by side in one run on one thread, alternating, CPU time, median of several rounds.
The loop is the blog post's: one model and one Adam after another, a full-batch bootstrap each epoch.
The limit is what can be written by hand for this one network: three `baddbmm`, the prior's outputs
computed beforehand, one fused Adam.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from hunch.inference import fit
from hunch.nn import MLP, Ensemble, RandomizedPrior

MEMBERS, STEPS = 50, 100
# (data, width): the blog's size, where overhead is all, and sizes where arithmetic counts.
REGIMES = ((20, 20), (100, 50), (1000, 50))


def member(width: int) -> RandomizedPrior:
    def network() -> MLP:
        return MLP(1, [width, width], 1, activation="selu")

    return RandomizedPrior(network(), network())


def blog_loop(x: Tensor, y: Tensor, width: int) -> None:
    for _ in range(MEMBERS):
        model = member(width)
        optimizer = torch.optim.Adam(model.model.parameters(), lr=0.05)
        for _ in range(STEPS):
            rows = torch.randint(len(x), (len(x),))
            loss = nn.functional.mse_loss(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def with_hunch(x: Tensor, y: Tensor, width: int, engine: str = "auto") -> None:
    net = Ensemble(lambda: member(width), MEMBERS, seed=0, engine=engine)
    fit(net, x, y, steps=STEPS, lr=0.05, redraw=True, progress=False)


def by_hand(x: Tensor, y: Tensor, width: int) -> None:
    net = Ensemble(lambda: member(width), MEMBERS, seed=0)
    with torch.no_grad():
        prior = net.part("prior")(x)
    w = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(w, lr=0.05, fused=True)
    shared = x.expand(MEMBERS, *x.shape)
    for _ in range(STEPS):
        h = torch.selu(torch.baddbmm(w[1].unsqueeze(1), shared, w[0].mT))
        h = torch.selu(torch.baddbmm(w[3].unsqueeze(1), h, w[2].mT))
        out = torch.baddbmm(w[5].unsqueeze(1), h, w[4].mT) + prior
        optimizer.zero_grad()
        (out - y).square().mean(dim=1).sum().backward()
        optimizer.step()


def seconds(run: Callable[[], None]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def measure(rounds: int) -> str:
    lines = [
        f"{MEMBERS} members, {STEPS} steps, one thread, torch {torch.__version__.split('+')[0]}; "
        "building the ensemble is included.",
        "",
        "| data, width | blog's loop | hunch | hunch, vmap engine | by hand | loop / hunch | "
        "hunch / by hand |",
        "|---|---|---|---|---|---|---|",
    ]
    for n, width in REGIMES:
        x = torch.linspace(-1, 1, n).unsqueeze(1)
        y = torch.sin(3 * x)
        ways: dict[str, Callable[[], None]] = {
            "loop": lambda x=x, y=y, width=width: blog_loop(x, y, width),
            "hunch": lambda x=x, y=y, width=width: with_hunch(x, y, width),
            "vmap": lambda x=x, y=y, width=width: with_hunch(x, y, width, "vmap"),
            "hand": lambda x=x, y=y, width=width: by_hand(x, y, width),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, run in ways.items():
                times[name].append(seconds(run))
        t = {name: statistics.median(values) for name, values in times.items()}
        lines.append(
            f"| {n}, {width} | {t['loop']:.2f} s | {t['hunch']:.3f} s | {t['vmap']:.3f} s | "
            f"{t['hand']:.3f} s | **{t['loop'] / t['hunch']:.0f}** | {t['hunch'] / t['hand']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="folder that gets bench-ensemble.md")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table = measure(arguments.rounds)
    print(table)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "bench-ensemble.md").write_text(f"# Training an ensemble\n\n{table}")


if __name__ == "__main__":
    main()
