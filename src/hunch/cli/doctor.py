"""`hunch doctor`: what this installation has, and whether it computes what it should."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from typing import Any, Final

import click

from hunch.cli.options import json_option, one_thread, say

# What each extra is looked for by: a module and its package.
_EXTRAS: Final = {
    "plot": [("matplotlib", "matplotlib")],
    "sklearn": [("sklearn", "scikit-learn"), ("scipy", "scipy")],
    "tabular": [("pyarrow", "pyarrow"), ("sklearn", "scikit-learn")],
    "excel": [("python_calamine", "python-calamine")],
    "video": [("imageio", "imageio"), ("pygame", "pygame-ce")],
    "sb3": [("stable_baselines3", "stable-baselines3")],
    "botorch": [("botorch", "botorch")],
    "mujoco": [("mujoco", "mujoco")],
    "larger": [("Box2D", "box2d"), ("minigrid", "minigrid")],
    "atari": [("ale_py", "ale-py")],
    "minatar": [("minatar", "MinAtar")],
    "tensorboard": [("tensorboard", "tensorboard")],
    "wandb": [("wandb", "wandb")],
    "trackio": [("trackio", "trackio")],
    "optuna": [("optuna", "optuna")],
}
_CLOSE: Final = 1e-5
_PRODUCT: Final = 512  # rows and columns of the matrices whose product is timed


@click.command(epilog="Example: hunch doctor --json")
@json_option
def doctor(as_json: bool) -> int:
    """What this installation has, and whether it computes what it should.

    Versions, threads, devices, extras, the compiled kernel, and a few tests that take some seconds.
    Put the output into what you report. Exits with 1 if a test fails.
    """
    say("loading torch")
    facts = _facts()
    for line in [] if as_json else _lines(facts):
        click.echo(line)
    tests = []
    for name, test in _TESTS.items():
        tests.append(_tested(name, test))
        if not as_json:
            click.echo(_line_of(tests[-1]))
    if as_json:
        from hunch.storage import dump_json

        click.echo(dump_json({**facts, "tests": tests}))
    return 0 if all(test["passed"] for test in tests) else 1


def _facts() -> dict[str, Any]:
    import torch

    from hunch.kernel import kernel, loaded
    from hunch.storage import versions

    threads = torch.get_num_threads()
    one_thread()
    found, library = loaded(), kernel()
    lanes = None if library is None else int(library.hunch_lanes())
    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {
        "versions": versions(),
        "platform": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "processors": os.cpu_count(),
        "threads": threads,
        "devices": ["cpu", *(torch.cuda.get_device_name(i) for i in range(cuda))],
        "kernel": {
            "there": library is not None,
            "lanes": lanes,
            "why_not": found if isinstance(found, str) else None,
        },
        "extras": {
            extra: {package: _version(module, package) for module, package in needed}
            for extra, needed in _EXTRAS.items()
        },
        "gflops": round(_rate(), 1),
    }


def _version(module: str, package: str) -> str | None:
    """The version of a package; None if its module is not there."""
    if find_spec(module) is None:
        return None
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # another package of the same module
        return "of unknown version"


def _rate() -> float:
    """Billions of operations a second in a matrix product, on one thread."""
    import torch

    a = torch.ones(_PRODUCT, _PRODUCT)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(a, a)
        best = min(best, time.perf_counter() - start)
    return 2 * _PRODUCT**3 / best / 1e9


def _tested(name: str, test: Callable[[], str | None]) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        wrong = test()
    except Exception as error:  # whatever an installation does wrong
        wrong = f"{type(error).__name__}: {error}"
    seconds = round(time.perf_counter() - start, 2)
    return {"name": name, "passed": wrong is None, "why_not": wrong, "seconds": seconds}


def _ensembles() -> str | None:
    """Engines train alike."""
    import torch

    from hunch.inference import fit
    from hunch.kernel import kernel
    from hunch.nn import MLP, Ensemble
    from hunch.nn.engines import Engine

    x = torch.linspace(-1, 1, 40).unsqueeze(1)
    engines: list[Engine] = ["loop", "bmm"]
    if kernel() is not None:
        engines.append("kernel")
    losses = []
    for engine in engines:
        net = Ensemble(lambda: MLP(1, [16, 16], 1), 4, seed=0, engine=engine)
        losses.append(fit(net, x, torch.sin(3 * x), steps=200, progress=False).loss)
    apart = max(float((own / losses[0] - 1).abs().max()) for own in losses)
    if apart < _CLOSE:
        return None
    return f"losses of {', '.join(engines)} differ by {apart:.1e}; expected less than {_CLOSE}"


def _seeds() -> str | None:
    """The same seed gives the same bits."""
    import torch

    from hunch.rl import DQN

    def weights() -> torch.Tensor:
        agent = DQN("CartPole-v1", noisy=True, hidden_sizes=(16, 16), batch_size=16, seed=0)
        agent.learn(200, progress=False)
        return torch.cat([p.detach().flatten() for p in agent.network.parameters()])

    return None if torch.equal(weights(), weights()) else "two runs with one seed differ"


def _layers() -> str | None:
    """An agent's layers are differentiated as torch differentiates them."""
    import torch

    from hunch.nn import MLP, noisy
    from hunch.rl.fast.manual_backprop import FastRunner
    from hunch.rl.networks.noise import FreshNoise

    net = noisy(MLP(4, [32, 32], 3))
    parameters = list(net.parameters())
    gradient = torch.zeros(sum(p.numel() for p in parameters))

    def noise() -> FreshNoise:
        return FreshNoise(net, [torch.Generator().manual_seed(0)])

    x = torch.linspace(-1, 1, 80).view(1, 20, 4)
    out, backward = FastRunner(net, noise(), parameters, gradient).differentiable(x)
    backward(torch.ones_like(out))
    expected = noise()(x[0])
    grads = torch.autograd.grad(expected.sum(), parameters)
    right = torch.cat([grad.flatten() for grad in grads])
    apart = float((gradient - right).abs().max() / right.abs().max())
    return None if apart < _CLOSE else f"gradients differ by {apart:.1e}; expected below {_CLOSE}"


def _table() -> str | None:
    """Intervals of the estimator cover what they promise."""
    if find_spec("sklearn") is None:
        return None
    import numpy as np

    from hunch import RandomizedPriorRegressor

    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (400, 2))
    y = X[:, 0] + 0.3 * rng.normal(size=400)
    model = RandomizedPriorRegressor(10, random_state=0).fit(X[:200], y[:200])
    low, high = model.predict_interval(X[200:], coverage=0.9)
    covered = float(np.mean((low <= y[200:]) & (y[200:] <= high)))
    # A right interval is outside of this once in a million times.
    return None if 0.77 < covered < 0.99 else f"90 % intervals hold {covered:.0%} of the values"


_TESTS: Final[dict[str, Callable[[], str | None]]] = {
    "engines train alike": _ensembles,
    "layers of agents have torch's gradients": _layers,
    "one seed, one result": _seeds,
    "intervals hold": _table,
}


def _lines(facts: dict[str, Any]) -> list[str]:
    kernel = facts["kernel"]
    named = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    lines = [
        f"versions  {named}",
        f"machine   {facts['platform']}, {facts['processors']} processors, "
        f"{facts['threads']} threads of torch; "
        f"{facts['gflops']:.0f} GFLOPS in a matrix product on one thread",
        f"devices   {', '.join(facts['devices'])}",
        f"kernel    compiled, vectors of {kernel['lanes']} numbers"
        if kernel["there"]
        else f"kernel    none: {kernel['why_not']}; all runs on torch",
    ]
    for extra, packages in facts["extras"].items():
        missing = [name for name, version in packages.items() if version is None]
        there = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
        line = f'lacks {", ".join(missing)}: pip install "torch-hunch[{extra}]"'
        lines.append(f"extra     {extra:<12}{line if missing else there}")
    return lines


def _line_of(test: dict[str, Any]) -> str:
    verdict = "passed" if test["passed"] else f"FAILED: {test['why_not']}"
    return f"test      {test['name']}: {verdict} ({test['seconds']:.1f} s)"
