"""Make `data/folders-of-before.tar.xz`: run and model folders as an earlier version wrote them.

Each run stops between two checkpoints of which the first is kept, beside the weights of the whole
run; each model folder lies beside its predictions. `test_folders_of_before.py` opens them all.

    python tests/make_folders_of_before.py
"""

import shutil
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow.csv import write_csv
from safetensors.numpy import load_file, save_file

from hunch import RandomizedPriorClassifier, RandomizedPriorRegressor
from hunch.cli.main import run
from hunch.storage import new_folder
from hunch.tables.columns import Columns
from hunch.tables.model import KIND, TableModel
from hunch.tables.target import Target

ARCHIVE = Path(__file__).with_name("data") / "folders-of-before.tar.xz"
HALF, WHOLE = 40, 80
CARTPOLE, DEEP_SEA, PENDULUM = ["CartPole-v1"], ["hunch/DeepSea-v0", "--size=10"], ["Pendulum-v1"]
SMALL = ["--set=hidden_sizes=4"]
TWO_MEMBERS = ["--set=num_members=2", "--set=epinet_hidden_sizes=4", "--set=index_dim=2"]
REPLAY = ["--set=batch_size=8", "--set=replay_capacity=40", "--set=min_replay_size=10", *SMALL]
TWO_ENVS = ["--num-envs=2", *SMALL]
RUNS = {
    "dqn": ["dqn", *CARTPOLE, *REPLAY],
    "noisy-replicas": ["noisy-dqn", *CARTPOLE, *REPLAY, "--replicas=2"],
    "rainbow": ["rainbow", *CARTPOLE, *REPLAY, "--set=atoms=3"],
    "boot-dqn": ["boot-dqn", *DEEP_SEA, *REPLAY, *TWO_MEMBERS],
    "epinet": ["boot-dqn", *CARTPOLE, *REPLAY, *TWO_MEMBERS, "--set=epinet=true"],
    "reinforce": ["reinforce", *CARTPOLE, *SMALL],
    "a2c": ["a2c", *PENDULUM, *TWO_ENVS, "--set=normalize=true"],
    "noisy-a2c": ["noisy-a2c", *CARTPOLE, *TWO_ENVS],
}
UNNEEDED = ("report.html", ".lock", "best")


def weights(folder: Path) -> dict[str, np.ndarray]:
    """The floating-point state of a checkpoint: weights, moments, replay."""
    state = load_file(folder / "state.safetensors")
    return {name: value for name, value in state.items() if value.dtype.kind == "f"}


def make_run(name: str, place: Path) -> None:
    times = [f"--steps={WHOLE}", f"--checkpoint-every={HALF}", "--eval-every=0"]
    if run(["train", *RUNS[name], *times, f"--out={place}"]):
        raise SystemExit(f"{name} did not train")
    _, last = sorted((place / "checkpoints").iterdir())
    save_file(weights(last), place.with_suffix(".safetensors"))
    shutil.rmtree(last)
    for unneeded in UNNEEDED:
        path = place / unneeded
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def make_models(below: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    y = x[:, 0] - x[:, 1]
    labels = ["up" if value > 0 else "down" for value in x[:, 0]]
    table = pa.table({"a": x[:, 0], "b": [str(round(v)) for v in x[:, 1]], "y": y, "label": labels})
    write_csv(pa.concat_tables([table[:8], far_away()]), below / "queries.csv")
    columns = Columns.learn(table.select(["a", "b"]))
    features, _ = columns.encode(table)
    sizes = {"n_estimators": 2, "hidden_layer_sizes": (4,), "max_iter": 20, "random_state": 0}
    for target, kind in (
        (Target("y", "regression"), RandomizedPriorRegressor),
        (Target("label", "classification", ("down", "up")), RandomizedPriorClassifier),
    ):
        estimator = kind(**sizes).fit(features, target.read(table[target.name]))
        with new_folder(below / target.task, KIND) as folder:
            TableModel(columns, target, estimator).put(folder)
        out = f"--out={below / target.task}.csv"
        if run(["predict", str(below / target.task), str(below / "queries.csv"), out]):
            raise SystemExit(f"{target.task} did not predict")


def far_away() -> pa.Table:
    return pa.table({"a": [40.0, -40.0], "b": ["0", "9"], "y": [0.0, 0.0], "label": ["up", "up"]})


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        below = Path(temporary) / "before"
        below.mkdir()
        for name in RUNS:
            make_run(name, below / name)
        make_models(below)
        ARCHIVE.parent.mkdir(exist_ok=True)
        with tarfile.open(ARCHIVE, "w:xz") as archive:
            archive.add(below, arcname="before")
    print(f"{ARCHIVE.name}: {ARCHIVE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
