"""How long a prediction takes as a graph: `predict`, its module, torch.export and ONNX Runtime.

    python benchmarks/export.py [--rounds 15]

Microseconds of CPU time for mean and standard deviation (classes: probabilities and epistemic
entropy) of a batch, on one thread, in turns. ONNX Runtime is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from hunch.inference import PredictiveModule, predict
from hunch.nn import MLP, Ensemble, Epinet, RandomizedPrior
from measuring import Way, rounded, spread, table, turns

BATCHES = (1, 64, 1024)
ONNX = ("onnx", "onnxscript", "onnxruntime")


def networks() -> dict[str, tuple[Ensemble | Epinet, Tensor, bool]]:
    """Each with inputs of the largest batch, and whether it tells classes."""

    def member() -> RandomizedPrior:
        return RandomizedPrior(MLP(10, [50, 50], 1), MLP(10, [50, 50], 1))

    def image() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 10))

    rows = torch.randn(BATCHES[-1], 10, generator=torch.Generator().manual_seed(0))
    images = torch.rand(BATCHES[-1], 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return {
        "50 perceptrons with priors": (Ensemble(member, 50, seed=0), rows, False),
        "5 convolutional networks": (Ensemble(image, 5, seed=0), images, True),
        "an epinet, 100 indices": (Epinet(MLP(10, [50, 50], 1)), rows, False),
    }


def session(module: PredictiveModule, x: Tensor, folder: Path) -> Callable[[Tensor], object]:
    """The module in ONNX Runtime, on one thread."""
    import onnxruntime

    path = str(folder / "net.onnx")
    shapes = ({0: torch.export.Dim("batch")},)
    torch.onnx.export(
        module,
        (x,),
        path,
        dynamo=True,
        dynamic_shapes=shapes,
        input_names=["x"],
        verbose=False,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    made = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda rows: made.run(None, {"x": rows.numpy()})


def both(net: Ensemble | Epinet, x: Tensor, classes: bool) -> tuple[Tensor, Tensor]:
    """What `predict` says, read."""
    if classes:
        c = predict(net, x, classes=True)
        return c.probs, c.epistemic
    p = predict(net, x)
    return p.mean, p.std


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="turns of each way")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with_onnx = all(importlib.util.find_spec(name) for name in ONNX)
    ways = ["predict", "PredictiveModule", "torch.export", *(["ONNX Runtime"] if with_onnx else [])]
    found = []
    for name, (net, x, classes) in networks().items():
        module = PredictiveModule(net, classes=classes)
        shapes = ({0: torch.export.Dim("batch")},)
        graph = torch.export.export(module, (x[:3],), dynamic_shapes=shapes).module()
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            in_onnx = session(module, x[:3], Path(folder)) if with_onnx else None
            for batch in BATCHES:
                found.append(
                    [
                        f"{name}, {batch}",
                        *timed(net, x[:batch], classes, module, graph, in_onnx, options.rounds),
                    ]
                )
    version = torch.__version__.split("+")[0]
    runtime = f", ONNX Runtime {importlib.metadata.version('onnxruntime')}" if with_onnx else ""
    print(
        "# A prediction as a graph\n\nMicroseconds of CPU time for a batch, one thread, torch "
        f"{version}{runtime}: medians of {options.rounds} turns.\n"
    )
    print(table(["network, batch", *ways], found))
    print("`predict` takes the compiled kernel where it can, and checks what it is given.")


def timed(
    net: Ensemble | Epinet,
    x: Tensor,
    classes: bool,
    module: PredictiveModule,
    graph: nn.Module,
    in_onnx: Callable[[Tensor], object] | None,
    rounds: int,
) -> list[str]:
    """Median microseconds of each way."""
    ways: dict[str, Way] = {
        "predict": lambda: both(net, x, classes),
        "module": lambda: module(x),
        "export": lambda: graph(x),
    }
    if in_onnx is not None:
        ways["onnx"] = lambda: in_onnx(x)
    calls = max(1, 256 // len(x))
    times = turns(ways, rounds, calls=min(calls, 30))
    return [rounded(1e6 * spread(values).median) for values in times.values()]


if __name__ == "__main__":
    main()
