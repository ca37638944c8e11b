"""How fast an ensemble trains: `fit` beside the blog's loop, JAX, torch's products and the floor.

    python benchmarks/ensemble.py [--rounds 5] [--only "50, 20"]

Microseconds of CPU time for a step of all members, on one thread, in turns. Each member is a
perceptron of two hidden layers with a randomised prior; where all data are in a step and there are
20, each step draws another bootstrap, as the blog does; elsewhere it is drawn once.

- The loop is the blog post's: one model and one Adam after another; 20 of them stand for more.
- JAX makes the same steps of all members in one jitted `lax.scan`; compiling is not counted.
- hunch and its torch engine are calls of the public `fit`, all that it does before the first step
  included, shared among as many steps as JAX makes; of the torch engine fewer at 10,000 data.
- The floor is arithmetic at the rates that the machine had in the same turns: all products at the
  rate of one large product, at which a dozen multiply-adds make the exponential of each hidden unit
  and row, Adam at the rate of one large fused step. Or, where a member does not fit the second
  cache and it takes longer, its bytes.
- What is left is `fit` less the floor, part by part; activations are told by training members that
  have none.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from hunch.inference import bootstrap_weights, compiled, fit
from hunch.inference.training import MemberData
from hunch.nn import MLP, Ensemble, RandomizedPrior
from measuring import Rates, Way, line, rate_ways, ratio, rounded, spread, table, turns, with_spread

try:
    from peers import ensemble_in_jax
except ImportError:
    ensemble_in_jax = None

LR = 1e-3
LOOPED = 20  # members that the loop trains at most; it is charged for all
_CACHE = 2**19  # bytes of a usual second cache


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        members: K.
        data: N.
        width: of both hidden layers.
        batch: data in a step; None for all of them.
        steps: in one call.
        loop_steps: of the loop, in one turn.
        torch_steps: of the torch engine in one call; as many as of the others if None.
        inputs: columns.
        activation: of the hidden layers.
    """

    members: int
    data: int
    width: int
    batch: int | None
    steps: int
    loop_steps: int
    torch_steps: int | None = None
    inputs: int = 1
    activation: str = "selu"

    @property
    def rows(self) -> int:
        """Rows in a step, the mean of an epoch."""
        return self.data // -(-self.data // (self.batch or self.data))

    @property
    def redraw(self) -> bool:
        """Whether each step has a bootstrap of its own."""
        return self.data == 20

    def __str__(self) -> str:
        """As the table names it."""
        batch = "all" if self.batch is None else str(self.batch)
        more = "" if self.activation == "selu" else f", {self.activation}, {self.inputs} inputs"
        return f"{self.members}, {self.data}, {self.width}, {batch}{more}"


ROWS = (
    Row(1, 20, 20, None, 3000, 500),
    Row(10, 20, 20, None, 1000, 50),
    Row(50, 20, 20, None, 1000, 25),
    Row(200, 20, 20, None, 250, 25),
    Row(1000, 20, 20, None, 60, 25),
    Row(50, 1000, 20, 128, 240, 25),
    Row(50, 1000, 50, 128, 120, 25),
    Row(50, 1000, 50, None, 30, 10),
    Row(50, 10_000, 20, None, 20, 3, 5),
    Row(50, 10_000, 50, None, 12, 3, 3),
    Row(50, 20, 256, None, 60, 10),
    Row(50, 1000, 256, 128, 24, 5),
    Row(20, 5000, 50, 512, 100, 25, inputs=20, activation="silu"),
)


def member(row: Row, activation: str | type[nn.Module]) -> RandomizedPrior:
    def network() -> MLP:
        return MLP(row.inputs, [row.width, row.width], 1, activation=activation)

    return RandomizedPrior(network(), network())


def problem(row: Row) -> tuple[Tensor, Tensor]:
    x = torch.linspace(-1, 1, row.data * row.inputs).reshape(row.inputs, row.data).T.contiguous()
    return x, torch.sin(3 * x[:, :1])


def blog_loop(row: Row, models: list[RandomizedPrior], x: Tensor, y: Tensor) -> None:
    for model in models[:LOOPED]:
        optimizer = torch.optim.Adam(model.model.parameters(), lr=LR)
        for _ in range(row.loop_steps):
            rows = torch.randint(row.data, (row.rows,))
            loss = nn.functional.mse_loss(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def fitted(row: Row, net: Ensemble, x: Tensor, y: Tensor, steps: int | None = None) -> Tensor:
    return fit(
        net,
        x,
        y,
        steps=steps or row.steps,
        batch_size=row.batch,
        lr=LR,
        redraw=row.redraw,
        progress=False,
    ).loss


def in_jax(row: Row, net: Ensemble, x: Tensor, y: Tensor) -> Callable[[], np.ndarray]:
    def layers(part: str) -> list[tuple[np.ndarray, np.ndarray]]:
        numbers = [p.detach().numpy().copy() for p in net.part(part).parameters()]
        return list(zip(numbers[::2], numbers[1::2], strict=True))

    rows = None
    if row.batch is not None:
        draw = np.random.default_rng(0)
        epochs = -(-row.steps * row.rows // row.data)
        order = np.concatenate([draw.permutation(row.data) for _ in range(epochs)])
        rows = order[: row.steps * row.rows].reshape(row.steps, row.rows)
    weights = bootstrap_weights("multinomial", row.members, range(row.data))
    return ensemble_in_jax.training(
        layers("model"),
        layers("prior"),
        *(t.numpy() for t in (x, y, weights)),
        rows=rows,
        redraw=row.redraw,
        steps=row.steps,
        lr=LR,
        activation=row.activation,
    )


class Watch:
    """CPU time that calls of `fit` spend in some of its parts."""

    PARTS = (
        ("kernel", compiled.CompiledTraining, "_call"),
        ("drawing the bootstrap", MemberData, "_draw"),
        ("the prior's outputs", compiled, "prior_on"),
    )

    def __init__(self, train: Way) -> None:
        self.train = train
        self.found: list[dict[str, float]] = []

    def __call__(self) -> None:
        """Train once."""
        self.found.append({name: 0.0 for name, _, _ in self.PARTS})
        with ExitStack() as stack:
            for name, owner, function in self.PARTS:
                timed = self._timed(name, getattr(owner, function))
                stack.enter_context(mock.patch.object(owner, function, timed))
            self.train()

    def median(self) -> dict[str, float]:
        """Microseconds of a call in each part, without the call that warmed up."""
        return {
            name: 1e6 * spread([found[name] for found in self.found[1:]]).median
            for name, _, _ in self.PARTS
        }

    def _timed(self, part: str, inner: Callable[..., object]) -> Callable[..., object]:
        spent = self.found[-1]

        def timed(*arguments: object) -> object:
            start = time.process_time()
            result = inner(*arguments)
            spent[part] += time.process_time() - start
            return result

        return timed


def floor(row: Row, rates: Rates) -> dict[str, float]:
    """Microseconds of a step in products, activations and Adam; in traffic if that may limit it."""
    first, second, last = row.inputs * row.width, row.width**2, row.width
    # Forwards, and backwards for weights and, but for the first layer, inputs.
    products = 2 * row.rows * (3 * (first + second + last) - first)
    parameters = first + second + last + 2 * row.width + 1
    own, data = 4 * 3 * parameters, 4 * row.rows * (row.inputs + 3)
    traffic = row.members * (2 * own + data) if own + data > _CACHE else 0
    return {
        "products": 1e6 * row.members * products * rates.operation,
        "activations": 1e6 * row.members * 2 * row.rows * row.width * rates.exponential,
        "Adam": 1e6 * row.members * parameters * rates.adam,
        "traffic": 1e6 * traffic * rates.byte,
    }


def left(
    row: Row, took: float, parts: dict[str, float], bare: float, least: dict[str, float]
) -> list[tuple[str, float]]:
    """What `fit` takes beyond the floor, part by part, the largest first; µs of a step."""
    spent = {name: part / row.steps for name, part in parts.items()}
    rest = {
        "products, Adam and batches": bare / row.steps - least["products"] - least["Adam"],
        "activations": (spent["kernel"] - bare / row.steps) - least["activations"],
        "drawing the bootstrap": spent["drawing the bootstrap"],
        "the prior's outputs": spent["the prior's outputs"],
        "Python": took - sum(spent.values()),
    }
    return sorted(rest.items(), key=lambda part: -part[1])


def measure(row: Row, rounds: int) -> tuple[list[str], Rates]:
    """The cells of a row, and how fast the machine was."""
    torch.manual_seed(0)
    x, y = problem(row)
    models = [member(row, row.activation) for _ in range(row.members)]
    net, torch_net = (Ensemble.from_modules(models, engine=engine) for engine in ("auto", "bmm"))
    bare_net = Ensemble.from_modules([member(row, nn.Identity) for _ in range(row.members)])
    fewer = row.torch_steps or row.steps
    ours, bare = (Watch(lambda net=net: fitted(row, net, x, y)) for net in (net, bare_net))
    ways: dict[str, Way] = {"hunch": ours, "torch": lambda: fitted(row, torch_net, x, y, fewer)}
    ways["loop"] = lambda: blog_loop(row, models, x, y)
    if ensemble_in_jax is not None:
        ways["JAX"] = in_jax(row, net, x, y)
    times = turns({**ways, "bare": bare, **rate_ways()}, rounds)
    rates = Rates.of(times)
    looped = row.loop_steps * min(LOOPED / row.members, 1.0)
    steps = dict.fromkeys(ways, float(row.steps)) | {"loop": looped, "torch": fewer}
    each = {name: [1e6 * t / steps[name] for t in times[name]] for name in ways}
    took, least = spread(each["hunch"]), floor(row, rates)
    limit = max(least["traffic"], least["products"] + least["activations"] + least["Adam"])
    largest = left(row, took.median, ours.median(), bare.median()["kernel"], least)[:3]
    peers = [name if name in each else None for name in ("loop", "JAX", "torch")]
    return [
        str(row),
        *("–" if name is None else with_spread(spread(each[name])) for name in peers),
        with_spread(took),
        rounded(limit),
        *("–" if name is None else with_spread(ratio(each[name], each["hunch"])) for name in peers),
        rounded(took.median / limit),
        ", ".join(f"{name} {100 * part / took.median:.0f} %" for name, part in largest),
    ], rates


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="rows whose name begins with this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "# Training an ensemble\n\nMicroseconds of CPU time for a step of all members, one thread, "
        f"torch {torch.__version__.split('+')[0]}{_jax()}: medians of {options.rounds} turns, and "
        "between which the middle half lies. Ratios are medians of the turns' ratios to hunch. "
        "hunch and its torch engine are whole calls of `fit`, set-up included.\n"
    )
    head = ("K, N, width, batch", "loop", "JAX", "torch engine", "hunch", "floor")
    more = ("loop / hunch", "JAX / hunch", "torch engine / hunch", "hunch / floor")
    print(table([*head, *more, "largest parts of what is left"], []), end="")
    seen = []
    for row in ROWS:
        if str(row).startswith(options.only):
            cells, rates = measure(row, options.rounds)
            seen.append(str(rates))
            print(line(cells), end="", flush=True)
    print(f"\nThe machine's rates, beside the first row and the last: {seen[0]}; {seen[-1]}.")


def _jax() -> str:
    if ensemble_in_jax is None:
        return "; JAX is not installed and left out"
    return f", JAX {ensemble_in_jax.jax.__version__}"


if __name__ == "__main__":
    main()
