"""The Neural Testbed's two-dimensional problems, and the agents that are compared on them.

A problem is a random two-layer perceptron that gives the probabilities of two classes, and a few
data drawn from it. An agent is trained on the data and then draws logits, each draw a function of
all inputs. `steps` are those of the optimizer, at `learning_rate`; `draws` are drawn once training
is done; `seed` decides initial values, batches and draws.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hunch.inference import fit
from hunch.nn import MLP, Ensemble, Epinet, RandomizedPrior, noise, noisy
from hunch.seeding import default_generator_seeded, torch_generator

INPUTS: Final = 2
CLASSES: Final = 2
HIDDEN: Final = (50, 50)
BATCH: Final = 100
INDEX_DIM: Final = 32
INDICES: Final = 12  # in an optimizer step
EPINET_HIDDEN: Final = (100,)
EPINET_PRIOR: Final = 0.4  # at temperature 1
DROPOUT: Final = 0.1

# From inputs (rows, 2) to logits (draws, rows, 2), the same draws however often it is called.
SampleLogits = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Classification:
    """A data set and where it came from."""

    num_train: int  # number of data
    temperature: float  # what the true logits are divided by
    seed: int  # decides the truth, the data and the test data

    def truth(self) -> nn.Module:
        """The network whose outputs, divided by the temperature, are the true logits."""
        with default_generator_seeded(self.seed, "testbed truth"):
            net = perceptron()
            nn.init.normal_(net.get_parameter("0.bias"), std=INPUTS**-0.5)
        return net.requires_grad_(False)

    def draw(self, purpose: str, *shape: int) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs `(*shape, 2)`, their classes `(*shape,)` and the classes' log-probabilities."""
        generator = torch_generator(self.seed, f"testbed {purpose}")
        x = torch.randn(*shape, INPUTS, generator=generator)
        log_probs = F.log_softmax(self.truth()(x) / self.temperature, -1)
        uniform = torch.rand(*shape, generator=generator)
        y = (uniform < log_probs[..., 1].exp()).long()
        return x, y, log_probs.gather(-1, y.unsqueeze(-1)).squeeze(-1)


def joint_kl(
    sample_logits: SampleLogits, problem: Classification, *, tau: int, num_batches: int
) -> tuple[float, float]:
    """How far the agent's joint prediction of `tau` classes is from the truth's, in nats.

    Mean over batches of log p(y₁…y_τ) − log (1/Z) Σ_z Π_t p_z(y_t).

    Args:
        sample_logits: the trained agent.
        problem: the problem it was trained on.
        tau: inputs in a batch.
        num_batches: batches of inputs and classes drawn from the truth.

    Returns:
        The divergence, and that of one draw alone, averaged over the draws.

    Reference:
        Osband et al. (2022), "The Neural Testbed: evaluating joint predictions", section 2.
    """
    x, y, true_log_prob = problem.draw("test data", num_batches, tau)
    log_probs = F.log_softmax(sample_logits(x.flatten(0, 1)).double(), -1)
    index = y.flatten().expand(len(log_probs), -1).unsqueeze(-1)
    each = log_probs.gather(-1, index).view(len(log_probs), num_batches, tau).sum(-1)
    mixture = torch.logsumexp(each, 0) - math.log(len(each))
    true = true_log_prob.double().sum(-1)
    return float((true - mixture).mean()), float((true - each).mean())


@dataclass(frozen=True)
class Trained:
    """An agent after training."""

    sample_logits: SampleLogits  # its draws
    seconds: float  # CPU time of the training


def perceptron(hidden: tuple[int, ...] = HIDDEN, activation: type[nn.Module] = nn.ReLU) -> MLP:
    """A perceptron with the testbed's initial values, from torch's default generator.

    Weights come from a normal distribution of standard deviation 1/√in cut at two of them; biases
    are 0.
    """
    net = MLP(INPUTS, hidden, CLASSES, activation=activation)
    for layer in net:
        if isinstance(layer, nn.Linear):
            std = layer.in_features**-0.5
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
            nn.init.zeros_(layer.bias)
    return net


def shifted_perceptron() -> MLP:
    """As the truth, with biases in the first layer, so that nothing is special about the origin."""
    net = perceptron()
    nn.init.trunc_normal_(net.get_parameter("0.bias"), std=INPUTS**-0.5, a=-2, b=2)
    return net


def train_ensemble(
    problem: Classification,
    *,
    num_members: int,
    steps: int,
    prior_scale: float,
    seed: int,
    learning_rate: float = 1e-3,
) -> Trained:
    """All members at once; with a prior scale of 0 the plain ensemble.

    The scale is that at temperature 1; it is divided by the temperature's root.
    """

    def member() -> nn.Module:
        if prior_scale == 0:
            return perceptron()
        scale = prior_scale / math.sqrt(problem.temperature)
        return RandomizedPrior(shifted_perceptron(), shifted_perceptron(), scale)

    x, y, _ = problem.draw("training data", problem.num_train)
    net = Ensemble(member, num_members, seed=seed)
    started = time.process_time()
    fit(
        net,
        x,
        y,
        loss="cross_entropy",
        bootstrap="none",
        ridge=math.sqrt(problem.temperature) * INPUTS,
        steps=steps,
        batch_size=BATCH,
        lr=learning_rate,
        seed=seed,
        progress=False,
    )
    seconds = time.process_time() - started
    net.eval()
    return Trained(lambda inputs: _without_gradient(net, inputs), seconds)


def train_epinet(
    problem: Classification,
    *,
    steps: int,
    draws: int,
    seed: int,
    learning_rate: float = 1e-3,
) -> Trained:
    """An epinet with an additive prior of perceptrons as large as the base network.

    Note:
        The testbed's epinet has 8 index dimensions, prior networks of 5 and 5 units at scale
        0.3 / T, a learned part of 15 and 15 units and the weight decay 0.2 (d / n)^0.7. Here there
        are 32, of 50 and 50 units with biases at scale 0.4 / √T, the learned part has one layer of
        100, the learning rate falls to 0 along a cosine, and the decay is √T / n^0.7; chosen on
        problems of seeds 1 to 7.
    """
    with default_generator_seeded(seed, "testbed epinet"):
        net = Epinet(
            perceptron(),
            prior=Ensemble(shifted_perceptron, INDEX_DIM),
            index_dim=INDEX_DIM,
            hidden_sizes=EPINET_HIDDEN,
            prior_scale=EPINET_PRIOR * problem.temperature**-0.5,
        )
    generator = torch_generator(seed, "testbed indices")
    seconds = _train(
        net,
        lambda x: net(x, net.draw_indices(INDICES, generator)),
        problem,
        steps,
        seed,
        learning_rate,
        decay=math.sqrt(problem.temperature) / problem.num_train**0.7,
        anneal=True,
    )
    indices = net.draw_indices(draws, torch_generator(seed, "testbed guesses"))
    return Trained(lambda inputs: _without_gradient(lambda x: net(x, indices), inputs), seconds)


def train_noisy(problem: Classification, *, steps: int, draws: int, seed: int) -> Trained:
    """One network with factorized noise on all its weights, learned along with them."""
    with default_generator_seeded(seed, "testbed noisy network"):
        net = noisy(perceptron())
    generator = torch_generator(seed, "testbed noise")
    noise(net, "fresh", generator=generator)
    seconds = _train(net, lambda x: net(x).unsqueeze(0), problem, steps, seed)

    def sample_logits(inputs: Tensor) -> Tensor:
        noise(net, "fresh", generator=torch_generator(seed, "testbed guesses"))
        return _without_gradient(lambda x: torch.stack([net(x) for _ in range(draws)]), inputs)

    return Trained(sample_logits, seconds)


def train_dropout(problem: Classification, *, steps: int, draws: int, seed: int) -> Trained:
    """One wider network with dropout, in training and afterwards."""
    with default_generator_seeded(seed, "testbed dropout"):
        layers = perceptron((100, 100))
        net = nn.Sequential(
            *(
                nn.Sequential(part, nn.Dropout(DROPOUT)) if isinstance(part, nn.ReLU) else part
                for part in layers
            )
        )
        seconds = _train(net, lambda x: net(x).unsqueeze(0), problem, steps, seed)

    def sample_logits(inputs: Tensor) -> Tensor:
        with default_generator_seeded(seed, "testbed guesses"):
            return _without_gradient(lambda x: torch.stack([net(x) for _ in range(draws)]), inputs)

    return Trained(sample_logits, seconds)


def _train(
    net: nn.Module,
    draw_logits: Callable[[Tensor], Tensor],
    problem: Classification,
    steps: int,
    seed: int,
    learning_rate: float = 1e-3,
    *,
    decay: float | None = None,
    anneal: bool = False,
) -> float:
    """Minimise the draws' mean cross-entropy plus λ|θ|²; return the CPU time.

    λ is √T d/n if `decay` is None. With `anneal` the learning rate falls to 0 along a cosine.
    """
    x, y, _ = problem.draw("training data", problem.num_train)
    rows_of = _batches(len(x), torch_generator(seed, "testbed batches"))
    trained = [p for p in net.parameters() if p.requires_grad]
    if decay is None:
        decay = math.sqrt(problem.temperature) * INPUTS / problem.num_train
    # Adam's `weight_decay` adds the gradient of half of its multiple of |θ|².
    optimizer = torch.optim.Adam(trained, lr=learning_rate, weight_decay=2 * decay, fused=True)
    started = time.process_time()
    for step, rows in enumerate(itertools.islice(rows_of, steps)):
        if anneal:
            optimizer.param_groups[0]["lr"] = (
                learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
            )
        logits = draw_logits(x[rows])
        loss = F.cross_entropy(logits.flatten(0, 1), y[rows].repeat(len(logits)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.process_time() - started


def _batches(n: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Endless rows, epoch after epoch in another order."""
    while True:
        order = torch.randperm(n, generator=generator)
        yield from order[: max(n - n % BATCH, min(n, BATCH))].split(BATCH)


@torch.no_grad()
def _without_gradient(draw_logits: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    # In parts, which stay in the cache.
    return torch.cat([draw_logits(part) for part in inputs.split(1_000)], 1)
