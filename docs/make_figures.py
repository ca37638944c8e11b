"""Make the figures that the documentation shows, and the page that shows those of the claims."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from hunch.experiments.claims.drawing import draw_claim
from hunch.experiments.claims.registry import EXPERIMENTS, describe
from hunch.experiments.gradients.gradient_problems import PROBLEMS
from hunch.experiments.uncertainty.toy_regression import toy_data
from hunch.inference import fit, predict
from hunch.nn import MLP, Ensemble, RandomFourierPrior, RandomizedPrior
from hunch.plots import BLUE, RED, band, diagnosis_figure, panel, to_svg
from hunch.storage import read_json

DOCS = Path(__file__).parent
HERE = DOCS / "figures"
RESULTS = DOCS.parent / "results"
CLAIMS = """# The claims

What the library is said to do is said by experiments, each with its settings, its bounds and the
command that runs it again: `hunch reproduce NAME`. This page is made from what they left in
`results/`, by `make figures`; nothing is run for it. `hunch reproduce NAME --figures OUT` draws the
same figures, of your own runs with `--from FOLDER`.

```python
from hunch.experiments.claims.registry import EXPERIMENTS, describe

for name in EXPERIMENTS:
    print(name, "-", describe(name))
```
"""


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


def claims() -> None:
    """Every claim with its own figure, from `results/`."""
    parts, subject = [CLAIMS], ""
    for name, module in sorted(EXPERIMENTS.items(), key=lambda item: item[1].split(".")[0]):
        if (own := module.split(".")[0]) != subject:
            subject = own
            parts.append(f"## {subject.capitalize()}\n")
        holds = read_json(RESULTS / f"{name}.json")["holds"]
        measured = f"[{'It holds' if holds else 'It does not hold'}](../results/{name}.md)."
        parts.append(f"### {name}\n\n{describe(name)} {measured}\n")
        with TemporaryDirectory() as drawn:
            captions = draw_claim(name, RESULTS, drawn)
            (RESULTS / f"{name}.svg").write_bytes((Path(drawn) / f"{name}.svg").read_bytes())
        parts.append(f"![{name}](../results/{name}.svg)\n\n{captions[f'{name}.svg']}\n")
        if more := len(captions) - 1:
            parts.append(f"`hunch reproduce {name} --figures OUT` draws {more} more.\n")
    (DOCS / "claims.md").write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    HERE.mkdir(exist_ok=True)
    cover()
    diagnoses()
    claims()
