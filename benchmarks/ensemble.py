"""How fast an ensemble trains: `hunch.inference.fit` against the blog's loop and the limit.

Everything is timed side by side in one run on one thread, alternating: CPU time, median of several
rounds. The loop is the blog post's: one model and one Adam after another, a full-batch bootstrap
each epoch. Members are built beforehand.
The limit is what can be written by hand for this one network: three `baddbmm`, the prior's outputs
computed beforehand, one fused Adam.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

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


def blog_loop(models: list[RandomizedPrior], x: Tensor, y: Tensor) -> None:
    for model in models:
        optimizer = torch.optim.Adam(model.model.parameters(), lr=0.05)
        for _ in range(STEPS):
            rows = torch.randint(len(x), (len(x),))
            loss = nn.functional.mse_loss(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def with_hunch(net: Ensemble, x: Tensor, y: Tensor) -> None:
    fit(net, x, y, steps=STEPS, lr=0.05, redraw=True, progress=False)


def by_hand(net: Ensemble, x: Tensor, y: Tensor) -> None:
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


def seconds(run: Callable[..., None], *arguments: object) -> float:
    start = time.process_time()
    run(*arguments)
    return time.process_time() - start


def measure(rounds: int) -> str:
    lines = [
        f"{MEMBERS} members, {STEPS} steps of training, one thread, CPU time, torch "
        f"{torch.__version__.split('+')[0]}.",
        "",
        "| data, width | blog's loop | hunch | hunch, vmap engine | by hand | loop / hunch | "
        "hunch / by hand |",
        "|---|---|---|---|---|---|---|",
    ]
    for n, width in REGIMES:
        x = torch.linspace(-1, 1, n).unsqueeze(1)
        y = torch.sin(3 * x)
        times: dict[str, list[float]] = {name: [] for name in ("loop", "hunch", "vmap", "hand")}
        for _ in range(rounds):
            models = [member(width) for _ in range(MEMBERS)]
            times["loop"].append(seconds(blog_loop, models, x, y))
            for name, engine in (("hunch", "auto"), ("vmap", "vmap")):
                net = Ensemble.from_modules([member(width) for _ in range(MEMBERS)], engine=engine)
                times[name].append(seconds(with_hunch, net, x, y))
            times["hand"].append(seconds(by_hand, Ensemble.from_modules(models), x, y))
        t = {name: statistics.median(values) for name, values in times.items()}
        lines.append(
            f"| {n}, {width} | {t['loop']:.2f} s | {t['hunch']:.3f} s | {t['vmap']:.3f} s | "
            f"{t['hand']:.3f} s | **{t['loop'] / t['hunch']:.0f}** | {t['hunch'] / t['hand']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seconds(with_hunch, Ensemble(lambda: member(20), 2), torch.ones(2, 1), torch.ones(2, 1))
    print(f"# Training an ensemble\n\n{measure(arguments.rounds)}", end="")


if __name__ == "__main__":
    main()
