"""Uses that work and are mistakes: what is said about them, how often, and what is left alone."""

import warnings

import pytest
import torch
from torch.distributions import Independent, Laplace, Normal, Poisson, StudentT
from torch.func import grad

from hunch.errors import ConfigurationError, HunchWarning, ShapeError
from hunch.gradients import expectation, grpo_advantages, leave_one_out, rloo_advantages, surrogate

SCORE = {"estimator": "score"}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def inputs(sigma):
    """Eight inputs of very different means, as a network gives them."""
    mu = torch.linspace(-2, 2, 8).requires_grad_()
    return Normal(mu, torch.full((8,), sigma, requires_grad=True))


def distance(z):
    return (z - 5.0) ** 2


@pytest.mark.parametrize("n", [1, 2, 16])
def test_a_collapsing_spread_without_a_baseline_is_spoken_of(n):
    words = r"spread .* collapsing .*without a baseline.*(cost / spread)²?.*baseline='loo'"
    with pytest.warns(HunchWarning, match=words):
        expectation(distance, inputs(1e-4), n, baseline=None, **SCORE)
    with pytest.warns(HunchWarning, match="collapsing"):
        expectation(
            lambda z: distance(z).sum(-1), Independent(inputs(1e-4), 1), n, baseline=None, **SCORE
        )
    if n == 1:  # where the default is no baseline
        with pytest.warns(HunchWarning, match="collapsing"):
            expectation(distance, inputs(1e-4), 1, **SCORE)
        with pytest.warns(HunchWarning, match="collapsing"):
            expectation(lambda z: (z > 0).float(), inputs(1e-4), 1)  # auto


def test_what_is_no_collapse_is_left_alone():
    for n in (1, 16):  # warnings are errors here
        expectation(torch.square, inputs(1.0), n, baseline=None, generator=seeded(), **SCORE)
        expectation(distance, inputs(1e-4), n, baseline=0.0, **SCORE)  # on purpose
        fixed = Normal(torch.linspace(-2, 2, 8, requires_grad=True), 1e-4)
        expectation(distance, fixed, n, baseline=None, **SCORE)  # its spread is not trained
        rate = torch.full((8,), 1e6, requires_grad=True)
        expectation(lambda z: z, Poisson(rate), n, baseline=None)  # there is none
        expectation(distance, inputs(1e-4), n, estimator="pathwise")
    expectation(distance, inputs(1e-4), 2, **SCORE)


def test_a_large_constant_is_no_collapse():
    for n in (1, 2, 16, 256):  # warnings are errors here
        for dist in (inputs(1.0), inputs(0.3), Normal(torch.zeros(8), inputs(1.0).scale)):
            expectation(lambda z: 1000 + z**2, dist, n, baseline=None, generator=seeded(), **SCORE)
            joint = Independent(dist, 1)
            expectation(lambda z: 1000 + (z**2).sum(-1), joint, n, baseline=None, **SCORE)
    # The span of the samples would be a thousand times the scale here.
    wide = StudentT(0.5, torch.zeros(5_000), torch.ones(5_000, requires_grad=True))
    expectation(lambda z: 1 / (1 + z**2), wide, 1, generator=seeded(), **SCORE)


@pytest.mark.parametrize("sigma", [1e-4, 1e-2, 0.1])
def test_a_collapse_is_seen_beside_a_large_constant(sigma):
    for n in (2, 16):
        with pytest.warns(HunchWarning, match="collapsing"):
            expectation(
                lambda z: 1000 + z**2, inputs(sigma), n, baseline=None, generator=seeded(), **SCORE
            )


@pytest.mark.parametrize("n", [1, 4])
def test_a_collapse_is_seen_where_there_is_one_location(n):
    dist = Normal(torch.tensor([2.0]), torch.tensor([1e-4], requires_grad=True))
    with pytest.warns(HunchWarning, match="collapsing"):
        expectation(lambda z: (z - 1) ** 2, dist, n, baseline=None, generator=seeded(), **SCORE)


def test_an_empty_batch_has_nothing_to_say():
    none = Normal(torch.zeros(0), torch.ones(0, requires_grad=True))
    for n in (1, 4):
        assert expectation(distance, none, n, baseline=None, **SCORE).shape == (0,)


def test_it_is_said_once_for_each_line(recwarn):
    warnings.simplefilter("default")
    for _ in range(5):
        expectation(distance, inputs(1e-4), 1, **SCORE)
    assert len(recwarn) == 1
    assert recwarn[0].filename == __file__  # the user's line is blamed, not ours
    laplace = Laplace(torch.zeros(2), torch.tensor([1e-5, 1.0], requires_grad=True))
    expectation(distance, laplace, 1, **SCORE)
    assert len(recwarn) == 2


def test_where_values_cannot_be_read_nothing_is_said():
    def loss(mu):
        dist = Normal(mu, mu.exp() * 1e-6, validate_args=False)
        return expectation(distance, dist, 4, baseline=None, **SCORE).sum()

    mu = torch.linspace(-2, 2, 8)
    torch.vmap(grad(loss), randomness="different")(mu)
    torch.compile(loss, backend="eager")(mu.requires_grad_())


# ------------------------------------------------------------------ surrogate


def rollout(*shape):
    mu = torch.zeros(shape[-1], requires_grad=True)
    z = torch.randn(*shape, generator=seeded())
    return mu, Normal(mu, 1.0).log_prob(z), (z - 1) ** 2, z


def test_a_mean_that_includes_the_sample_is_spoken_of():
    _, log_prob, cost, _ = rollout(4, 3)
    words = r"each sample's own cost included.*1 - 1/n.*leave_one_out"
    for baseline in (cost.mean(0), cost.mean(0).expand(4, 3)):
        with pytest.warns(HunchWarning, match=words):
            surrogate(log_prob, cost, baseline=baseline)
    with pytest.warns(HunchWarning, match=words):
        surrogate(log_prob, cost, baseline=cost.mean(), dim=None)
    with pytest.warns(HunchWarning, match=words):
        surrogate(log_prob, cost, baseline=cost.mean(1), dim=1)
    surrogate(log_prob, cost, baseline=leave_one_out(cost))
    surrogate(log_prob, cost, baseline=cost.mean(0) + 0.01)
    surrogate(log_prob, torch.ones(4, 3), baseline=torch.ones(3))  # all costs are alike
    surrogate(log_prob[:1], cost[:1], baseline=cost[:1] * 1.0)  # one sample has no mean


@pytest.mark.parametrize("n", [2, 4, 64])
def test_standardized_advantages_are_spoken_of(n):
    _, log_prob, cost, _ = rollout(n, 3)
    centered = cost - cost.mean(0)
    words = r"standardized advantages.*biased.*leave_one_out.*rloo_advantages"
    for divisor in (centered.std(0), centered.std(0, correction=0), centered.std(0) + 1e-4):
        with pytest.warns(HunchWarning, match=words):
            surrogate(log_prob, centered / divisor)
    with pytest.warns(HunchWarning, match=words):
        surrogate(log_prob, -grpo_advantages(-cost))
    with pytest.warns(HunchWarning, match=words):
        surrogate(log_prob, (cost - cost.mean()) / cost.std(), dim=None)
    surrogate(log_prob, centered)
    surrogate(log_prob, -rloo_advantages(-cost))
    if n > 2:
        surrogate(log_prob, torch.ones(n, 3) * torch.tensor([-1.0, 1.0]).repeat(n // 2)[:, None])


@pytest.mark.parametrize("n", [3, 4, 64])
def test_a_mask_hides_no_standardized_advantages(n):
    _, log_prob, cost, _ = rollout(n + 2, 3)
    mask = torch.ones(n + 2, 3, dtype=torch.bool)
    mask[0], mask[1:n, 2] = False, False  # the last group keeps two scored ones
    words = r"standardized advantages.*biased"
    grouped = torch.where(mask, cost, torch.nan)
    with pytest.warns(HunchWarning, match=words):
        surrogate(log_prob, -grpo_advantages(-grouped, mask=mask), mask=mask)
    alone = mask.clone()
    alone[1:, 1] = False
    alone[1, 1] = True  # a group with a single one
    with pytest.warns(HunchWarning, match=words):
        surrogate(log_prob, -grpo_advantages(-grouped, mask=alone), mask=alone)
    whole = (cost - cost[mask].mean()) / cost[mask].std()
    with pytest.warns(HunchWarning, match=words):
        surrogate(log_prob, whole, dim=None, mask=mask)
    # and what is right is left alone, whatever stands where nothing was scored
    surrogate(log_prob, -rloo_advantages(-grouped, mask=mask), mask=mask)
    surrogate(log_prob, grouped, mask=mask)
    surrogate(log_prob, grouped, leave_one_out(grouped, mask=mask), mask=mask)
    mean = torch.nanmean(torch.where(mask, cost, torch.nan), 0)
    with pytest.warns(HunchWarning, match="each sample's own cost included"):
        surrogate(log_prob, grouped, mean, mask=mask)


def test_masked_costs_are_not_read_where_they_cannot_be():
    def loss(mu, cost, mask):
        return surrogate(Normal(mu, 1.0, validate_args=False).log_prob(cost), cost, mask=mask)

    cost = torch.randn(5, 4, generator=seeded())
    mask = torch.rand(5, 4, generator=seeded(1)) < 0.7
    found = torch.vmap(grad(loss))(torch.zeros(5), cost, mask)
    apart = [grad(loss)(torch.zeros(()), c, m) for c, m in zip(cost, mask, strict=True)]
    torch.testing.assert_close(found, torch.stack(apart))


def test_samples_that_carry_a_gradient_are_refused():
    mu = torch.zeros(3, requires_grad=True)
    dist = Normal(mu, 1.0)
    moving, fixed = dist.rsample((4,)), dist.sample((4,))
    with pytest.raises(ConfigurationError, match=r"`samples` got.*rsample.*detach\(\)"):
        surrogate(dist.log_prob(moving), moving**2, samples=moving)
    surrogate(dist.log_prob(fixed), fixed**2, samples=fixed)


def test_a_distribution_whose_sample_carries_a_gradient_gives_the_right_one_all_the_same():
    class Careless(Normal):
        def sample(self, sample_shape=()):
            return self.rsample(torch.Size(sample_shape))

    found = []
    for family in (Careless, Normal):
        mu = torch.zeros(3, requires_grad=True)
        dist = family(mu, torch.ones(3))
        value = expectation(torch.square, dist, 4, generator=seeded(), **SCORE)
        found.append(torch.autograd.grad(value.sum(), mu)[0])
    torch.testing.assert_close(*found)


# ------------------------------------------------------------------ advantages


def test_advantages_by_hand():
    reward = torch.randn(5, 3, generator=seeded())
    for dim in (0, 1):
        wanted = reward - leave_one_out(reward, dim)
        torch.testing.assert_close(rloo_advantages(reward, dim), wanted)
        group = (reward - reward.mean(dim, keepdim=True)) / (reward.std(dim, keepdim=True) + 0.1)
        torch.testing.assert_close(grpo_advantages(reward, dim, epsilon=0.1), group)
    for advantages in (rloo_advantages, grpo_advantages):
        with pytest.raises(ConfigurationError, match="at least 2"):
            advantages(torch.ones(1, 3))
        with pytest.raises(ShapeError, match="`mask` got shape"):
            advantages(reward, mask=torch.ones(3, dtype=torch.bool))
    with pytest.raises(ConfigurationError, match="`epsilon` got -1"):
        grpo_advantages(reward, epsilon=-1)


@pytest.mark.parametrize(("n", "known"), [(2, 0.34), (4, 0.58), (8, 0.71)])
def test_the_bias_of_grpo_is_the_one_that_its_documentation_states(n, known):
    mu = torch.ones((), dtype=torch.float64, requires_grad=True)
    noise = torch.randn(n, 200_000, dtype=torch.float64, generator=seeded(n))
    z = mu.detach() + noise
    log_prob, cost = Normal(mu, 1.0).log_prob(z), z**2
    found = {}
    for advantages in (rloo_advantages, grpo_advantages):
        loss = (log_prob * -advantages(-cost)).mean()
        (found[advantages],) = torch.autograd.grad(loss, mu, retain_graph=True)
    assert float(found[grpo_advantages]) == pytest.approx(known, abs=0.02)
    assert float(found[rloo_advantages]) == pytest.approx(2.0, abs=0.06)
