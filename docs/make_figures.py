"""Make the figures that the documentation shows."""

from pathlib import Path

import torch

from hunch.experiments.gradients.gradient_problems import PROBLEMS
from hunch.experiments.uncertainty.toy_regression import toy_data
from hunch.inference import fit, predict
from hunch.nn import MLP, Ensemble, RandomFourierPrior, RandomizedPrior
from hunch.plots import BLUE, RED, band, diagnosis_figure, panel, to_svg

HERE = Path(__file__).parent / "figures"


def cover() -> None:
    """The README's figure: fifty members on the data of the enn library."""
    x, y = toy_data("enn")

    def member() -> RandomizedPrior:
        prior = RandomFourierPrior(1, 1, lengthscale=0.35)
        return RandomizedPrior(MLP(1, [50, 50], 1, activation="tanh"), prior, scale=1.5)

    net = Ensemble(member, num_members=50, seed=0)
    fit(net, x, y, bootstrap="none", target_noise=0.1, steps=1500, lr=0.01, progress=False)
    grid = torch.linspace(-1, 2, 201).unsqueeze(1)
    p = predict(net, grid)
    figure, ax = panel("Where has it seen no data?", "x", "y", width=7.0, height=3.4)
    ax.plot(grid, p.members.squeeze(-1).T, color=BLUE, alpha=0.15, linewidth=0.7)
    band(ax, grid[:, 0], p.mean[:, 0], p.std[:, 0], BLUE)
    ax.plot(x, y, "o", color=RED, markersize=4.5)
    ax.set_ylim(-5, 6)
    (HERE / "randomized-priors.svg").write_text(to_svg(figure), encoding="utf-8")


def diagnoses() -> None:
    """What `hunch diagnose NAME -n 4 --out FILE` draws, for the guide on REINFORCE."""
    for name in ("forum-start", "forum", "jump"):
        figure, _ = diagnosis_figure(PROBLEMS[name].diagnose(4))
        (HERE / f"diagnose-{name}.svg").write_text(to_svg(figure), encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    HERE.mkdir(exist_ok=True)
    cover()
    diagnoses()
