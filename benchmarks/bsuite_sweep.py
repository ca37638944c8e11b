"""BootstrappedDQN on all 23 experiments of bsuite, through its own logging and its own scorer.

An id is played in bsuite's environment for all the episodes that bsuite asks for, with one setting
of the agent for all, and logged by `bsuite.load_and_record_to_csv`. What
`summary_analysis.bsuite_score` says of the logs stands beside the published figures of bootstrapped
DQN. Of most experiments every n-th id is played, which the table names. A deep sea ends at the
logged episode at which it counts as solved: nothing that comes later enters its score. bsuite
leaves chance to itself; here every episode begins from a seed, so that a run can be repeated. MNIST
is played if bsuite finds its files, which it would else download. bsuite 0.3.6 reads bytes above
127 as negative numbers, so that full ink is next to paper; `--unsigned` reads them as they are.

Published figures are read off the bars of bsuite's report, to within 0.01. A score meets one if it
is no lower, both in two decimals.

    python benchmarks/bsuite_sweep.py [--logs FOLDER] [--minutes 50] [--only catch] [--seed 0]

With `--logs` a run that was interrupted goes on with the first id that is not finished.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import gymnasium
import numpy as np

from hunch.experiments.exploration.bsuite_scores import SEA_RULES, is_logged
from measuring.tables import table

# Returns over five steps and a target copied every 40 updates, as the claim `bsuite` plays all but
# deep sea, leave the smallest sea unsolved after 1,000 episodes.
SETTINGS: Final[Mapping[str, Any]] = dict(
    num_members=10,
    hidden_sizes=(50, 50),
    prior_scale=10.0,
    batch_size=64,
    discount=0.997,
    n_step=1,
    update_period=2,
    target_update_period=4,
    target_update_rate=1.0,
    loss="squared",
    random_steps=0,
)


@dataclass(frozen=True)
class Experiment:
    """One of bsuite's."""

    published: float  # score of bootstrapped DQN
    every: int  # each so many-th id is played, from 0 on


# The cheapest first.
EXPERIMENTS: Final = {
    "bandit": Experiment(0.98, 1),
    "bandit_noise": Experiment(0.74, 1),
    "bandit_scale": Experiment(0.84, 1),
    "mnist": Experiment(0.87, 4),
    "mnist_noise": Experiment(0.35, 4),
    "mnist_scale": Experiment(0.32, 4),
    "memory_size": Experiment(0.00, 4),
    "deep_sea": Experiment(1.00, 4),
    "deep_sea_stochastic": Experiment(0.86, 4),
    "catch": Experiment(0.98, 10),
    "catch_noise": Experiment(0.66, 4),
    "catch_scale": Experiment(0.70, 4),
    "discounting_chain": Experiment(0.21, 4),
    "mountain_car": Experiment(0.96, 10),
    "mountain_car_noise": Experiment(0.93, 4),
    "mountain_car_scale": Experiment(0.41, 4),
    "umbrella_distract": Experiment(0.26, 4),
    "memory_len": Experiment(0.04, 4),
    "umbrella_length": Experiment(0.39, 4),
    "cartpole": Experiment(0.69, 20),
    "cartpole_scale": Experiment(0.53, 8),
    "cartpole_noise": Experiment(0.68, 8),
    "cartpole_swingup": Experiment(0.28, 8),
}
MNIST: Final = Path("/tmp/mnist")  # where bsuite reads its files, and would write them
_FILES: Final = tuple(
    f"{part}-{what}-ubyte.gz"
    for part in ("train", "t10k")
    for what in ("images-idx3", "labels-idx1")
)


# ------------------------------------------------------------------ bsuite's environments


class FromBsuite(gymnasium.Env[Any, Any]):
    """A bsuite environment as one of Gymnasium's.

    Args:
        env: the environment, with or without bsuite's logging around it.
        one_hot: whether it promises observations of a single 1.
    """

    def __init__(self, env: Any, *, one_hot: bool = False) -> None:
        seen = env.observation_spec()
        self.env, self.one_hot_observations = env, one_hot
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, seen.shape, seen.dtype)
        self.action_space = gymnasium.spaces.Discrete(int(env.action_spec().num_values))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; with a seed, all its chance comes from that."""
        if seed is not None:
            reseed(self.env, seed)
        return self.env.reset().observation, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One step; an episode that ends is terminated if nothing would follow (discount 0)."""
        step = self.env.step(int(action))
        over, nothing_follows = step.last(), step.discount == 0
        ends = bool(over and nothing_follows), bool(over and not nothing_follows)
        return step.observation, float(step.reward), *ends, {}


def read_unsigned() -> None:
    """Let bsuite read the bytes of MNIST's images as numbers from 0 to 255."""
    from bsuite.utils import datasets

    signed = datasets.load_mnist

    def load_mnist(*args: Any, **kwargs: Any) -> Any:
        return tuple((images.view(np.uint8), labels) for images, labels in signed(*args, **kwargs))

    datasets.load_mnist = load_mnist


def reseed(env: Any, seed: int) -> None:
    """Give an environment, and what it is wrapped in, generators of their own."""
    depth = 0
    while env is not None:
        if "_rng" in vars(env):
            # The kind of generator that bsuite has.
            env._rng = np.random.RandomState([seed, depth])
        env, depth = vars(env).get("_env"), depth + 1


class Enough:
    """End the training once an id is played.

    Args:
        env: its environment, with bsuite's logging.
        name: its experiment.
        episodes: that are played.
    """

    every = 1  # environment steps

    def __init__(self, env: Any, name: str, episodes: int) -> None:
        self.env, self.name, self.episodes = env, name, episodes
        self._seen = 0

    def __call__(self, agent: Any) -> bool:
        """Whether it is."""
        done = len(agent.history.returns)
        if done == self._seen:
            return False
        self._seen = done
        return done >= self.episodes or (self.name in SEA_RULES and self._is_solved())

    def _is_solved(self) -> bool:
        rule = SEA_RULES[self.name]
        bad = self.env.bsuite_info()["total_bad_episodes"]
        late = self._seen >= rule.first_episode and is_logged(self._seen)
        return bool(late and bad / self._seen < rule.bad_share)


def play(bsuite_id: str, folder: Path, seed: int, episodes: int | None = None) -> dict[str, Any]:
    """Play an id, logged into a folder.

    Args:
        bsuite_id: such as `"catch/0"`.
        folder: gets its log.
        seed: of the agent and of all episodes.
        episodes: how many; what bsuite asks for if None.
    """
    import bsuite

    from hunch.rl import BootstrappedDQN

    name = bsuite_id.split("/")[0]
    start = time.process_time()
    with redirect_stdout(sys.stderr):  # where bsuite says what it loads
        logged = bsuite.load_and_record_to_csv(bsuite_id, str(folder), overwrite=True)
    wanted = episodes or logged.bsuite_num_episodes
    env = FromBsuite(logged, one_hot=name in SEA_RULES)
    agent = BootstrappedDQN(env, seed=seed, **SETTINGS)
    enough = Enough(logged, name, wanted)
    # Longer than anything lasts; `enough` ends it.
    agent.learn(10**9, callbacks=[enough], progress=False)
    return {
        "id": bsuite_id,
        "episodes": len(agent.history.returns),
        "steps": agent.steps,
        "seconds": round(time.process_time() - start, 1),
    }


# ------------------------------------------------------------------ bsuite's scorer


@contextmanager
def appending_series() -> Iterator[None]:
    """Pandas' `Series.append`, which was taken away in version 2, and which bsuite 0.3.6 calls."""
    import pandas as pd

    if hasattr(pd.Series, "append"):
        yield
        return
    pd.Series.append = lambda own, other: pd.concat([own, other])
    try:
        yield
    finally:
        del pd.Series.append


def scores(folder: Path, ids: Sequence[str]) -> dict[str, tuple[float, list[float]]]:
    """For each experiment bsuite's score over its ids, and that of each id alone.

    Args:
        folder: with bsuite's logs.
        ids: those that count; logs of others are left out.
    """
    from bsuite.experiments.summary_analysis import bsuite_score
    from bsuite.logging.csv_load import load_bsuite

    lines, _ = load_bsuite(str(folder))
    lines = lines[lines.bsuite_id.isin(ids)]
    with appending_series():
        whole = bsuite_score(lines).set_index("bsuite_env").score
        alone = {i: float(bsuite_score(lines[lines.bsuite_id == i]).score.iloc[0]) for i in ids}
    return {
        name: (float(score), [alone[i] for i in ids if i.split("/")[0] == name])
        for name, score in whole.items()
    }


# ------------------------------------------------------------------ all of it


def chosen(names: Sequence[str]) -> list[str]:
    """The ids of these experiments that are to be played: the first of each, then the second, …."""
    from bsuite import sweep

    found = []
    for rank, name in enumerate(EXPERIMENTS):
        count = len(getattr(sweep, name.upper()))
        if name in names:
            ids = range(0, count, EXPERIMENTS[name].every)
            found += [(turn, rank, f"{name}/{i}") for turn, i in enumerate(ids)]
    return [bsuite_id for _, _, bsuite_id in sorted(found)]


def finished(file: Path) -> list[dict[str, Any]]:
    """The ids that were played to their end."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def open_folder(folder: Path, seed: int) -> Path:
    """A folder for the logs of one setting; one of another is refused."""
    folder.mkdir(parents=True, exist_ok=True)
    said = json.dumps({**SETTINGS, "seed": seed})
    file = folder / "settings.json"
    if file.exists() and file.read_text() != said:
        raise SystemExit(f"{folder} holds logs of other settings: {file.read_text()}")
    file.write_text(said)
    return folder / "finished.jsonl"


def report(
    played: Sequence[Mapping[str, Any]], found: Mapping[str, tuple[float, list[float]]]
) -> str:
    """The table, and below it each miss by its name."""
    from bsuite import sweep

    rows, missed, absent = [], [], []
    for name in ORDER:
        published = EXPERIMENTS[name].published
        if name not in found:
            absent.append(f"{name} ({published:.2f})")
            continue
        score, alone = found[name]
        met = round(score, 2) >= published
        if not met:
            missed.append(f"{name} {score:.2f} of {published:.2f}")
        ids = [p["id"].split("/")[1] for p in played if p["id"].split("/")[0] == name]
        count = len(getattr(sweep, name.upper()))
        rows.append(
            [
                name,
                f"{score:.2f}",
                f"{published:.2f}",
                "yes" if met else "no",
                "all" if len(ids) == count else f"{', '.join(ids)} of {count}",
                ", ".join(f"{value:.2f}" for value in alone),
            ]
        )
    head = ("experiment", "score", "published", "met", "ids", "score of each id alone")
    said = [table(head, rows)]
    said += [f"Missed: {', '.join(missed)}.\n"] if missed else []
    said += [f"Not played: {', '.join(absent)}.\n"] if absent else []
    return "\n".join(said)


# As bsuite's report has them.
_BASIC: Final = ("bandit", "mnist", "catch", "mountain_car", "cartpole")
ORDER: Final = (
    *_BASIC,
    *(f"{name}_{kind}" for kind in ("noise", "scale") for name in _BASIC),
    *("deep_sea", "deep_sea_stochastic", "cartpole_swingup"),
    *("umbrella_length", "umbrella_distract", "discounting_chain", "memory_len", "memory_size"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--logs", type=Path, help="folder of bsuite's logs; a new one if left out")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="of CPU time")
    parser.add_argument("--only", nargs="+", choices=ORDER, default=list(ORDER))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--unsigned", action="store_true", help="read MNIST's bytes as 0 to 255; see the docstring"
    )
    options = parser.parse_args()
    try:
        import bsuite  # noqa: F401
        import torch
    except ModuleNotFoundError as error:
        raise SystemExit(f"bsuite_sweep: needs {error.name}: pip install bsuite") from None
    torch.set_num_threads(1)
    if options.unsigned:
        read_unsigned()
    logs = options.logs or Path(tempfile.mkdtemp(prefix="hunch-bench-bsuite-"))
    file = open_folder(logs, options.seed)
    ids = chosen(options.only)
    if not all((MNIST / part).is_file() for part in _FILES):
        ids = [i for i in ids if not i.startswith("mnist")]
    done = {line["id"] for line in finished(file)}
    for bsuite_id in ids:
        if bsuite_id in done:
            continue
        if time.process_time() > 60 * options.minutes:
            break
        line = play(bsuite_id, logs, options.seed)
        with file.open("a") as lines:
            lines.write(json.dumps(line) + "\n")
        print(f"bsuite_sweep: {line}", file=sys.stderr, flush=True)
    played = sorted(
        (line for line in finished(file) if line["id"] in ids),
        key=lambda line: ids.index(line["id"]),
    )
    if not played:
        raise SystemExit("bsuite_sweep: nothing was played")
    minutes, steps = sum(p["seconds"] for p in played) / 60, sum(p["steps"] for p in played)
    print("# BootstrappedDQN on bsuite\n")
    print(
        f"bsuite's own logs and scorer; one agent for all, `{said_settings()}`; {len(played)} ids, "
        f"{steps:,} steps, {minutes:.0f} min of CPU time on one thread. An id's own score is that "
        "of its log alone.\n"
    )
    print(report(played, scores(logs, [line["id"] for line in played])))


def said_settings() -> str:
    """The setting as one would type it."""
    said = ", ".join(f"{name}={value!r}" for name, value in SETTINGS.items())
    return f"BootstrappedDQN({said})"


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("bsuite_sweep: stopped", file=sys.stderr)
        raise SystemExit(130) from None
