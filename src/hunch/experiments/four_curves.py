"""Four curves learned through samples: a forum question, restored and answered.

A network reads one number and gives the means and the spreads of four normal distributions. Their
samples should meet `x`, `x²`, `x³` and `sin x`, and the gradient has to pass the sampling. The
question was whether score function times element-wise loss is the standard way, and whether
something about it cripples the result. All replicas train at once, on a leading axis.

Source: discuss.pytorch.org, "Vanilla REINFORCE for continuous distributions" (thread 25718).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from hunch.experiments.claims import Check
from hunch.gradients import expectation
from hunch.progress import Bar, progress_bar
from hunch.seeding import default_generator_seeded, torch_generator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = (
    "At 64 evaluations per curve and iteration (Adam 5e-4, 10,000 iterations, mean of 5 seeds) the "
    "forum's estimator ends at a total squared error of its means of at least 9; subtracting the "
    "mean of the other sample of the same input brings it to at most 6.0 (at 3e-3: 0.3), the "
    "pathwise gradient to at most 4.0."
)

ANSWER = (
    "Yes, this is the standard estimator: sample without a gradient, weigh each log-probability "
    "with its cost, average over the batch; it is unbiased. Giving each output its own loss is "
    "right here as well, and better than weighing all four with their sum, because each cost "
    "depends on its own sample alone. But it is crippled, because nothing that depends on the "
    "input is subtracted from the cost. Where the mean is off by d and the spread is σ, the true "
    "gradient of the mean is 2d, and one sample's estimate has the variance d⁴/σ² + 14d² + 15σ². "
    "The best spread is zero, so learning itself shrinks σ and blows up d⁴/σ² wherever an error is "
    "left: the square and the cube drown in noise. Averages over other inputs do not help, since "
    "the error differs from input to input. Draw two samples per input instead and subtract "
    "from each cost the other one's (leave-one-out): as unbiased, at no extra cost, and its "
    "variance stays bounded as σ shrinks. If the cost is differentiable, let the gradient through "
    "with rsample(), which is better still."
)

CURVES = ("x", "x²", "x³", "sin x")
HIDDEN = 128  # units, as in the forum's script
Parameters = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Arm:
    """One way to train: an estimator, how it spends its evaluations, and a learning rate."""

    name: str
    estimator: str
    baseline: Literal["loo"] | None
    samples: int
    fast: bool = False


FORUM = Arm("forum", "score", None, samples=1)
LEAVE_ONE_OUT = Arm("leave-one-out", "score", "loo", samples=2)
PATHWISE = Arm("pathwise", "pathwise", None, samples=1)
FAST = Arm("leave-one-out, fast", "score", "loo", samples=2, fast=True)
ARMS = (FORUM, LEAVE_ONE_OUT, PATHWISE, FAST)

# Variance of d/dmean of one estimate, times the evaluations of f it takes, for f = (z - y)².
CLOSED_FORMS: dict[str, Callable[[Any, Any], Any]] = {
    FORUM.name: lambda d, s: d**4 / s**2 + 14 * d**2 + 15 * s**2,
    LEAVE_ONE_OUT.name: lambda d, s: 16 * d**2 + 12 * s**2,
    PATHWISE.name: lambda d, s: 4 * s**2 + 0 * d,
}


@dataclass(frozen=True)
class Settings:
    """What the claim was measured with.

    Args:
        replicas: networks trained at once, each from its own start and on its own inputs.
        iterations: gradient updates.
        record_every: gradient updates between two records.
        evaluations: evaluations of each curve's cost per replica and update.
        learning_rate: Adam's.
        fast_learning_rate: Adam's in the fast arm of leave-one-out.
        test_inputs: fixed inputs on which the error of the mean is measured.
        draws: estimates from which a gradient variance is measured.

    Example:
        >>> Settings().iterations, Settings.quick().replicas
        (10000, 2)
    """

    replicas: int = 5
    iterations: int = 10_000
    record_every: int = 1_000
    evaluations: int = 64
    learning_rate: float = 5e-4
    fast_learning_rate: float = 3e-3
    test_inputs: int = 20_000
    draws: int = 200_000

    @classmethod
    def quick(cls) -> Settings:
        """A look in seconds: too short for the claim."""
        return cls(replicas=2, iterations=1_000, record_every=200, test_inputs=4_000, draws=50_000)

    @classmethod
    def proof(cls) -> Settings:
        """The settings under which the claim is proved: the defaults."""
        return cls()


@dataclass(frozen=True)
class Trained:
    """What one arm recorded. Records are taken before update 0, every `record_every`, at the end.

    Args:
        mse: squared error of the mean on the test inputs, (records, replicas, curves).
        sigma: mean spread on the test inputs, (records, replicas, curves).
        printed: the forum's columns for replica 0, (records - 1, 9): mean gradient of the first
            layer's weights, squared error of the samples per curve, mean spread per curve.
        mean: the means on the grid at the end, (grid, curves), of the replica whose total error is
            the median.
        std: that replica's spreads.
    """

    mse: np.ndarray
    sigma: np.ndarray
    printed: np.ndarray
    mean: np.ndarray
    std: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """Squared error of the mean summed over the four curves, (records, replicas)."""
        return np.asarray(self.mse.sum(-1))


@dataclass(frozen=True)
class Result:
    """Everything measured in one run.

    Args:
        settings: what it was run with.
        seed: the seed.
        iterations: update at which each record was taken.
        grid: inputs of the final curves, -3 to 3.
        arms: what each arm recorded, by name.
        variance: one row per (d, σ): d, σ, then the gradient's variance times evaluations for
            the estimators of `CLOSED_FORMS`, in their order.
    """

    settings: Settings
    seed: int
    iterations: np.ndarray
    grid: np.ndarray
    arms: dict[str, Trained]
    variance: np.ndarray = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """The result as plain values."""
        return {
            "settings": asdict(self.settings),
            "seed": self.seed,
            "iterations": self.iterations.tolist(),
            "curves": list(CURVES),
            "printed_columns": ["gradient mean", *(f"loss {c}" for c in CURVES)]
            + [f"sigma {c}" for c in CURVES],
            "arms": {
                name: {
                    "final_total_mse": _plain(arm.total[-1]),
                    "mse": _plain(arm.mse.mean(1)),
                    "sigma": _plain(arm.sigma.mean(1)),
                    "printed": _plain(arm.printed),
                }
                for name, arm in self.arms.items()
            },
            "gradient_variance": {
                "columns": ["d", "sigma", *CLOSED_FORMS],
                "measured": _plain(self.variance),
                "closed_form": _plain(_closed_forms(self.variance)),
            },
        }


def targets(x: Tensor) -> Tensor:
    """The four curves at `x`, shape (..., 1) -> (..., 4).

    Example:
        >>> targets(torch.tensor([[2.0]]))[0, :3]
        tensor([2., 4., 8.])
    """
    return torch.cat([x, x**2, x**3, x.sin()], dim=-1)


def run(settings: Settings, *, seed: int = 0, progress: bool = True) -> Result:
    """Train every arm from the same starts, and measure the variance of each estimator.

    Args:
        settings: budgets.
        seed: decides every draw, at least 0.
        progress: whether a bar is shown on standard error.

    Example:
        >>> small = Settings(replicas=1, iterations=2, record_every=1, test_inputs=10, draws=10)
        >>> run(small, progress=False).arms["forum"].mse.shape
        (3, 1, 4)
    """
    grid = torch.linspace(-3, 3, 121).unsqueeze(-1)
    updates = len(ARMS) * settings.iterations
    with progress_bar(updates, "four curves", "update", enabled=progress) as bar:
        arms = {arm.name: _train(arm, settings, seed, grid, bar) for arm in ARMS}
    steps = [*range(0, settings.iterations, settings.record_every), settings.iterations]
    return Result(
        settings=settings,
        seed=seed,
        iterations=np.array(steps),
        grid=grid.squeeze(-1).numpy(),
        arms=arms,
        variance=_measure_variance(settings.draws, seed),
    )


def check(result: Result) -> list[Check]:
    """The claim, figure by figure; seeds are combined by their mean.

    Example:
        >>> small = Settings(replicas=1, iterations=2, record_every=1, test_inputs=10, draws=10)
        >>> len(check(run(small, progress=False)))
        6
    """
    final = {name: float(arm.total[-1].mean()) for name, arm in result.arms.items()}
    middle = float(np.median(result.arms["forum"].total[-1]))
    off = np.abs(result.variance[:, 2:] / _closed_forms(result.variance) - 1).max()
    fast = result.settings.fast_learning_rate
    return [
        Check("total squared error of the mean, forum's estimator", final["forum"], ">=", 9.0),
        # One seed that ran away lifts the mean over the bound alone; the median knows better.
        Check("the same, median of the seeds", middle, ">=", 9.0),
        Check("the same, leave-one-out", final["leave-one-out"], "<=", 6.0),
        Check("the same, pathwise", final["pathwise"], "<=", 4.0),
        Check(f"the same, leave-one-out at {fast:g}", final["leave-one-out, fast"], "<=", 0.3),
        Check("largest deviation of a gradient variance from its formula", float(off), "<=", 0.1),
    ]


def answer(result: Result) -> str:
    """The answer to the question, with the figures of this run.

    Example:
        >>> small = Settings(replicas=1, iterations=2, record_every=1, test_inputs=10, draws=10)
        >>> answer(run(small, progress=False)).startswith("Yes")
        True
    """
    settings = result.settings
    forum, loo, path, fast = (result.arms[arm.name].total[-1].mean() for arm in ARMS)
    d, s, *variance = result.variance[result.variance[:, 1].argmin()]
    return (
        f"{ANSWER} Measured here, {settings.replicas} seeds, {settings.evaluations} evaluations "
        f"per curve and update, {settings.iterations:,} updates of Adam at "
        f"{settings.learning_rate:g}: the squared errors of the four means add up to {forum:.3g} "
        f"with the forum's estimator, {loo:.3g} with leave-one-out and {path:.3g} with the "
        f"pathwise gradient; leave-one-out at {settings.fast_learning_rate:g} gets to {fast:.3g}. "
        f"At d = {d:g} and σ = {s:g} the variance per evaluation is {variance[0]:,.0f}, "
        f"{variance[1]:.3g} and {variance[2]:.2g}."
    )


def plot(result: Result) -> dict[str, tuple[Figure, str]]:
    """Small figures with their captions, by name: see `four_curves_figures`."""
    from hunch.experiments.four_curves_figures import draw

    return draw(result)


def _train(arm: Arm, settings: Settings, seed: int, grid: Tensor, bar: Bar) -> Trained:
    parameters = _initial_parameters(settings.replicas, seed)
    rate = settings.fast_learning_rate if arm.fast else settings.learning_rate
    optimizer = torch.optim.Adam(parameters, lr=rate, fused=True)
    generator = torch_generator(seed, "four-curves", "train", arm.name)
    test = torch.randn(settings.test_inputs, 1, generator=torch_generator(seed, "four-curves", "x"))
    shape = (settings.replicas, settings.evaluations // arm.samples, 1)
    records, printed = [], []
    for step in range(settings.iterations):
        x = torch.randn(shape, generator=generator)
        y = targets(x)
        recording = step % settings.record_every == 0
        if recording:
            records.append(_evaluate(parameters, test))
        means, sigmas = _forward(parameters, x)
        dist = Normal(means, sigmas, validate_args=False)
        cost = _expected(partial(_squared_error, y), dist, arm, generator)
        optimizer.zero_grad()
        # The mean over a replica's batch and curves, as in the script; replicas do not meet.
        (cost.sum() / cost[0].numel()).backward()
        optimizer.step()
        if recording:
            printed.append(_forum_columns(parameters[0], cost, sigmas))
        bar.update()
    records.append(_evaluate(parameters, test))
    typical = int(records[-1][0].sum(-1).argsort()[settings.replicas // 2])
    with torch.no_grad():
        mean, std = _forward(parameters, grid)
    return Trained(
        mse=np.stack([error for error, _ in records]),
        sigma=np.stack([spread for _, spread in records]),
        printed=np.stack(printed),
        mean=mean[typical].numpy(),
        std=std[typical].numpy(),
    )


def _initial_parameters(replicas: int, seed: int) -> Parameters:
    """What `torch.nn.Linear` starts from, stacked: the same starts for every arm."""
    nets = []
    for replica in range(replicas):
        with default_generator_seeded(seed, "four-curves", "init", replica):
            nets.append((nn.Linear(1, HIDDEN), nn.Linear(HIDDEN, 2 * len(CURVES))))
    stacks = []
    for layer in (0, 1):
        stacks.append(torch.stack([net[layer].weight.detach().T for net in nets]).contiguous())
        stacks.append(torch.stack([net[layer].bias.detach() for net in nets]).unsqueeze(1))
    w1, b1, w2, b2 = (stack.requires_grad_() for stack in stacks)
    return w1, b1, w2, b2


def _forward(parameters: Parameters, x: Tensor) -> tuple[Tensor, Tensor]:
    """Means and spreads, each (replicas, inputs, curves), of x (inputs, 1), own or shared."""
    w1, b1, w2, b2 = parameters
    # With one input the first layer is an outer product, not worth a matrix product.
    hidden = torch.addcmul(b1, x, w1).sigmoid()
    means, log_sigmas = torch.baddbmm(b2, hidden, w2).chunk(2, dim=-1)
    return means, log_sigmas.exp()


@torch.no_grad()
def _evaluate(parameters: Parameters, test: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Squared error of the means and mean spread over the test inputs, each (replicas, curves)."""
    sums = torch.zeros(2, len(parameters[0]), len(CURVES))
    for x in test.split(2_000):  # the hidden layer of all inputs at once would leave the cache
        means, sigmas = _forward(parameters, x)
        sums += torch.stack([((means - targets(x)) ** 2).sum(1), sigmas.sum(1)])
    error, spread = (sums / len(test)).numpy()
    return error, spread


def _forum_columns(first_weight: Tensor, cost: Tensor, sigmas: Tensor) -> np.ndarray:
    gradient = cast(Tensor, first_weight.grad)  # there is one, after the backward pass
    columns = [gradient[0].mean()[None], cost[0].mean(0), sigmas[0].mean(0)]
    return torch.cat(columns).detach().numpy()


def _measure_variance(draws: int, seed: int) -> np.ndarray:
    """The variance of d/dmean, times evaluations, at several errors d and spreads σ."""
    generator = torch_generator(seed, "four-curves", "variance")
    rows = []
    for d, sigma in itertools.product((1.0, 0.1), (1.0, 0.3, 0.1, 0.03, 0.01)):
        row = [d, sigma]
        for arm in (FORUM, LEAVE_ONE_OUT, PATHWISE):
            mu = torch.full((draws,), d, dtype=torch.float64, requires_grad=True)
            estimates = _expected(torch.square, Normal(mu, sigma), arm, generator)
            (gradient,) = torch.autograd.grad(estimates.sum(), mu)
            row.append(float(gradient.var()) * arm.samples)
        rows.append(row)
    return np.array(rows)


def _squared_error(y: Tensor, z: Tensor) -> Tensor:
    return (z - y) ** 2


def _expected(
    f: Callable[[Tensor], Tensor], dist: Normal, arm: Arm, generator: torch.Generator
) -> Tensor:
    return expectation(
        f, dist, arm.samples, estimator=arm.estimator, baseline=arm.baseline, generator=generator
    )


def _closed_forms(variance: np.ndarray) -> np.ndarray:
    d, sigma = variance[:, 0], variance[:, 1]
    return np.stack([form(d, sigma) for form in CLOSED_FORMS.values()], axis=-1)


def _plain(values: np.ndarray) -> Any:
    """Nested lists of six significant digits: enough to compare, and short."""
    if values.ndim == 0:
        return float(f"{float(values):.6g}")
    return [_plain(value) for value in values]
