"""Each single file solves its problem at its own defaults; `results/single-file-agents` says how.

One file at a time: `pytest -m proof -k boot_dqn tests/examples`.
"""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from single_files import NAMES, load

RESULTS = Path(__file__).parents[2] / "results" / "single-file-agents"
SEEDS = (0, 1, 2)  # the defaults were chosen on seeds from 100 on
SOLVED = {"CartPole-v1": 475.0, "hunch.envs:hunch/DeepSea-v0": 0.99}
COMMAND = "pytest -m proof tests/examples/test_single_file_proofs.py"


@pytest.mark.proof
@pytest.mark.parametrize("name", NAMES)
def test_a_file_solves_its_problem_on_three_of_three_seeds(name):
    torch.set_num_threads(1)
    runs = [run(load(name), seed) for seed in SEEDS]
    settings = vars(load(name).parse_args([]))
    write(name, {"settings": {k: v for k, v in settings.items() if k != "seed"}, "runs": runs})
    assert all(one["mean_return"] >= SOLVED[settings["env"]] - 1e-9 for one in runs)


def run(module, seed):
    """Train with a file's own defaults, then play 100 episodes from starts not trained on."""
    args, began = module.parse_args(["--seed", str(seed)]), time.process_time()
    with torch.random.fork_rng(devices=[]):
        network, training = module.train(args)
        trained = time.process_time()
        returns = module.evaluate(network, args)
    found = np.array(training) >= SOLVED[args.env] - 1e-9
    return {
        "seed": seed,
        "mean_return": round(float(np.mean(returns)), 4),
        "worst_return": round(min(returns), 4),
        "training_episodes": len(training),
        # bsuite's word for it, of deep sea: fewer than 90 % of all episodes so far went astray.
        "episodes_until_a_tenth_solved": first(
            np.cumsum(found) > 0.1 * np.arange(1, len(found) + 1)
        ),
        "training_cpu_seconds": round(trained - began, 1),
    }


def first(marks):
    """The number, from 1, of the first that is true; None if there is none."""
    return int(np.argmax(marks)) + 1 if marks.any() else None


def write(name, entry):
    """Put one file's runs beside the others', as JSON and as a table."""
    path = RESULTS.with_suffix(".json")
    found = json.loads(path.read_text("utf-8"))["files"] if path.exists() else {}
    found[name] = entry
    files = {known: found[known] for known in NAMES if known in found}
    content = {"written_by": COMMAND, "torch": torch.__version__, "files": files}
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    RESULTS.with_suffix(".md").write_text(markdown(files), "utf-8")


def markdown(files):
    """A line for each run, then the settings."""
    lines = [
        f"<!-- {COMMAND} -->",
        "# single-file-agents",
        "",
        "What files under `examples/single_file/` reach at their own defaults, on three seeds. To "
        "solve the problem is a mean return of at least 475 of 500 in CartPole, of 0.99 in a deep sea of "
        "size 10, over 100 episodes without exploration from starts not trained on.",
        "",
        "| file | seed | mean return | worst | environment steps | training episodes | "
        "CPU seconds of training |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, entry in files.items():
        digits = 1 if entry["settings"]["env"] == "CartPole-v1" else 2
        lines += [
            f"| `{name}.py` | {one['seed']} | {one['mean_return']:.{digits}f} | "
            f"{one['worst_return']:.{digits}f} | {entry['settings']['steps']:,} | "
            f"{one['training_episodes']:,} | {one['training_cpu_seconds']:.0f} |"
            for one in entry["runs"]
        ]
    if "boot_dqn" in files:
        episodes = [one["episodes_until_a_tenth_solved"] for one in files["boot_dqn"]["runs"]]
        lines += [
            "",
            "The deep sea was solved, as bsuite defines it, after "
            f"{', '.join(map(str, episodes))} episodes.",
        ]
    lines += ["", "CPU seconds are of one thread of a machine that did other work, too.", ""]
    for name, entry in files.items():
        chosen = ", ".join(f"{key} {value}" for key, value in entry["settings"].items())
        lines.append(f"- `{name}.py`: {chosen}")
    return "\n".join(lines) + "\n"
