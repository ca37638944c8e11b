"""The learned baselines and the self-critical one: what they do, and what they refuse."""

import pytest
import torch
from torch.distributions import (
    Bernoulli,
    Categorical,
    Gamma,
    Independent,
    Normal,
    RelaxedBernoulli,
    Uniform,
)

from hunch.errors import ConfigurationError, ShapeError
from hunch.gradients import EMA, Critic, expectation

from ..problems import DRAWS, LIMIT, PROBLEMS, estimates, tensor, worst


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def ema_estimates(problem, n=2):
    # An average per row, so that each row's baseline would feel it if its own cost were in it.
    ema = EMA(0.5, shape=(DRAWS,))
    for seed in (11, 12, 13):
        found = estimates(problem, n, seed=seed, estimator="score", baseline=ema)
    return found


def test_an_average_that_includes_the_present_cost_would_be_noticed(monkeypatch):
    class Hasty(EMA):
        def forward(self, cost):
            super().forward(cost)
            return self.value.to(cost)

    monkeypatch.setattr(f"{__name__}.EMA", Hasty)
    problem = PROBLEMS["normal"]
    assert worst(problem, ema_estimates(problem, n=1)) > 2 * LIMIT


def test_moving_average_by_hand_whatever_the_batch_size():
    ema = EMA(0.75)
    mu = torch.zeros((), requires_grad=True)
    seen = []
    for size, constant in ((8, 4.0), (3, 2.0), (5, 1.0)):
        dist = Normal(mu.expand(size), 1.0)
        expectation(lambda z, c=constant: 0 * z + c, dist, 1, baseline=ema, estimator="score")
        seen.append(ema.value.item())
    second = (0.75 * 0.25 * 4 + 0.25 * 2) / (1 - 0.75**2)
    third = (0.75**2 * 0.25 * 4 + 0.75 * 0.25 * 2 + 0.25 * 1) / (1 - 0.75**3)
    assert seen == pytest.approx([4.0, second, third])
    assert ema(torch.zeros(1, 2)).tolist() == pytest.approx([third, third])


def test_moving_average_is_saved_and_stays_in_eval():
    ema = EMA(0.9)
    assert ema(torch.full((2, 3), 5.0)).tolist() == [0, 0, 0]  # no past
    other = EMA(0.9)
    other.load_state_dict(ema.state_dict())
    assert other.value == pytest.approx(5.0)
    other.eval()
    other(torch.full((2, 3), 100.0))
    assert other.value == pytest.approx(5.0)


def test_moving_average_per_factor():
    ema = EMA(0.5, shape=(2,))
    cost = torch.tensor([[[1.0, 10.0], [3.0, 30.0], [5.0, 50.0]]])  # (n=1, batch=3, 2)
    ema(cost)
    assert ema.value.tolist() == pytest.approx([3.0, 30.0])
    wide = EMA(0.5, shape=(3, 1))
    wide(cost)
    assert wide.value.flatten().tolist() == pytest.approx([5.5, 16.5, 27.5])
    for shape in ((3,), (1, 3, 2)):
        with pytest.raises(ShapeError, match=r"`shape` got.*the last dimensions of \(3, 2\)"):
            EMA(0.5, shape=shape)(cost)


def test_critic_learns_from_its_own_loss_and_not_from_the_expectation():
    x = torch.randn(256, 2, generator=seeded())
    target = x[:, 0] * 3
    network = torch.nn.Linear(2, 1)
    torch.nn.init.zeros_(network.weight)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    mu = torch.zeros(256, requires_grad=True)
    generator = seeded(1)
    for _ in range(200):
        critic = Critic(network(x).squeeze(-1))
        loss = expectation(
            lambda z: z + target,
            Normal(mu, 0.1),
            1,
            estimator="score",
            baseline=critic,
            generator=generator,
        )
        (gradient,) = torch.autograd.grad(loss.sum(), network.weight, allow_unused=True)
        assert gradient is None
        optimizer.zero_grad()
        critic.loss.backward()
        optimizer.step()
    torch.testing.assert_close(
        network.weight.detach(), torch.tensor([[3.0, 0.0]]), atol=0.1, rtol=0
    )


def test_self_critical_uses_the_mode_and_lowers_the_variance():
    logits = tensor(0.0, 2.0, -1.0, 1.0).requires_grad_()
    seen = []

    def cost(z):
        seen.append(z)
        return 10.0 + z

    expectation(cost, Categorical(logits=logits), 3, baseline="self-critical")
    assert seen[0].shape == (3,)
    assert seen[1].tolist() == [1]
    problem = PROBLEMS["categorical"]
    with_it, without = (
        estimates(problem, 1, draws=2_000, estimator="score", baseline=b)[1].var(0).sum()
        for b in ("self-critical", None)
    )
    assert with_it < without


def test_self_critical_needs_one_mode():
    half = torch.full((2,), 0.5, requires_grad=True)
    for dist in (Bernoulli(half), Independent(Bernoulli(half), 0)):
        expectation(torch.square, dist, 2, baseline="self-critical")
    flat, relaxed = Uniform(0.0, torch.ones(2)), RelaxedBernoulli(torch.tensor(0.5), half)
    for dist, name in ((flat, "Uniform"), (relaxed, "RelaxedBernoulli")):
        with pytest.raises(ConfigurationError, match=f"'self-critical' for {name}, whose mode"):
            expectation(torch.square, dist, 2, estimator="score", baseline="self-critical")
    gamma = Gamma(half + 1, 1.0)
    with pytest.raises(ConfigurationError, match="only the score function"):
        expectation(torch.square, gamma, 2, estimator="pathwise", baseline="self-critical")


def test_what_learned_baselines_refuse():
    for decay in (1.0, -0.1, float("nan")):
        with pytest.raises(ConfigurationError, match="`decay` got"):
            EMA(decay)
    with pytest.raises(ConfigurationError, match=r"'ema' with n=1.*make ema = EMA\(0.9\)"):
        expectation(torch.square, Normal(torch.zeros(2), 1.0), 1, baseline="ema")
    with pytest.raises(ConfigurationError, match="`prediction` got Linear"):
        Critic(torch.nn.Linear(1, 1))
    critic = Critic(torch.zeros(2, 1))
    with pytest.raises(ConfigurationError, match="before the critic saw costs"):
        _ = critic.loss
    with pytest.raises(ShapeError, match=r"got shape \(2, 1\); expected \(2,\).*squeeze"):
        expectation(
            torch.square, Normal(torch.zeros(2), 1.0), 2, estimator="score", baseline=critic
        )
