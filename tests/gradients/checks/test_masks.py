"""Samples that cannot be scored: the gradient is that of what can be, and nothing else counts."""

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, Normal

from hunch.errors import ConfigurationError, DataError, ShapeError
from hunch.gradients import (
    EMA,
    Critic,
    expectation,
    grpo_advantages,
    leave_one_out,
    rloo_advantages,
    surrogate,
)

from ..problems import DRAWS, LIMIT, tensor, z_score

TABLE = tensor(3.0, -1.0, torch.nan, 2.0)  # the third category cannot be scored
SCORED = torch.tensor([True, True, False, True])


def conditional(logits):
    """E[cost | scored] and its gradient."""
    logits = logits.clone().requires_grad_()
    p = logits.softmax(-1)[SCORED]
    value = (p * TABLE[SCORED]).sum() / p.sum()
    return value.detach(), torch.autograd.grad(value, logits)[0]


@pytest.mark.parametrize("n", [4, 7])
def test_leave_one_out_gives_the_gradient_of_the_conditional_expectation(n):
    start = tensor(0.1, -0.5, 0.3, 0.0)
    value, gradient = conditional(start)
    logits = start.expand(DRAWS, 4).clone().requires_grad_()
    seen = []

    def cost(z):
        seen.append(z)
        return TABLE[z]

    found = expectation(
        cost, Categorical(logits=logits), n, mask=torch.isfinite,
        generator=torch.Generator().manual_seed(n),
    )  # fmt: skip
    (slopes,) = torch.autograd.grad(found.sum(), logits)
    # Given that at least two were scored; a single one gives no gradient.
    count = SCORED[seen[0]].sum(0)
    assert (slopes[count < 2] == 0).all()
    assert (found[count == 0] == 0).all()
    assert z_score(found.detach()[count > 0], value) <= LIMIT
    assert z_score(slopes[count > 1], gradient) <= LIMIT


@pytest.mark.parametrize("n", [2, 4])
def test_the_mean_over_calls_is_smaller_by_the_factor_that_the_documentation_states(n):
    start = tensor(0.1, -0.5, 1.5, 0.0)  # the third category, more than half of all, has no score
    value, gradient = conditional(start)
    s = float(start.softmax(-1)[SCORED].sum())
    some = 1 - (1 - s) ** n
    several = some - n * s * (1 - s) ** (n - 1)
    logits = start.expand(DRAWS, 4).clone().requires_grad_()
    seen = []

    def mask(cost):
        seen.append(cost.isfinite())
        return seen[-1]

    found = expectation(
        lambda z: TABLE[z], Categorical(logits=logits), n, mask=mask,
        generator=torch.Generator().manual_seed(n),
    )  # fmt: skip
    (slopes,) = torch.autograd.grad(found.sum(), logits, retain_graph=True)
    assert several < 0.8
    assert z_score(found.detach(), some * value) <= LIMIT
    assert z_score(slopes, several * gradient) <= LIMIT
    # The remedy of the documentation: the mean over the factors that have a gradient.
    kept = found[seen[0].sum(0) > 1]
    (whole,) = torch.autograd.grad(kept.mean(), logits)
    error = slopes.std(0) / several / len(kept) ** 0.5 + 1e-12
    assert ((whole.sum(0) - gradient).abs() / error).max() <= LIMIT


def test_without_leave_one_out_it_would_be_biased_where_the_sample_decides():
    start = tensor(0.1, -0.5, 0.3, 0.0)
    _, gradient = conditional(start)
    logits = start.expand(DRAWS, 4).clone().requires_grad_()
    found = expectation(
        lambda z: TABLE[z], Categorical(logits=logits), 4, baseline=None, mask=torch.isfinite
    )
    assert z_score(torch.autograd.grad(found.sum(), logits)[0], gradient) > 2 * LIMIT


@pytest.mark.parametrize("baseline", ["auto", "loo", None, 0.7, "self-critical"])
def test_a_mask_that_the_sample_does_not_decide_leaves_every_baseline_right(baseline):
    generator = torch.Generator().manual_seed(3)
    mask = torch.rand(5, DRAWS, generator=generator) < 0.7
    logits = tensor(0.4).expand(DRAWS).clone().requires_grad_()
    dist = Bernoulli(logits=logits)
    found = expectation(
        lambda z: 3 * (z - 0.3) ** 2, dist, 5, baseline=baseline, mask=mask, generator=generator
    )
    (slopes,) = torch.autograd.grad(found.sum(), logits)
    p = tensor(0.4).sigmoid()
    enough = mask.sum(0) > 1
    assert z_score(slopes[enough], 1.2 * p * (1 - p)) <= LIMIT
    assert z_score(found.detach()[enough], 3 * (0.49 * p + 0.09 * (1 - p))) <= LIMIT


def test_a_mask_of_all_is_no_mask():
    mu = torch.zeros(3, requires_grad=True)
    found = []
    for mask in (None, torch.isfinite, torch.ones(4, 3, dtype=torch.bool)):
        value = expectation(
            torch.square, Normal(mu, 1.0), 4, estimator="score", mask=mask,
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        found.append((value.detach(), *torch.autograd.grad(value.sum(), mu)))
    for other in found[1:]:
        torch.testing.assert_close(found[0], other)


def test_the_parts_take_masks_too():
    cost = torch.tensor([[1.0, 5.0], [3.0, torch.nan], [torch.nan, torch.nan], [8.0, torch.nan]])
    mask = cost.isfinite()
    baseline = leave_one_out(cost, mask=mask)
    assert baseline[mask].tolist() == [5.5, 5.0, 4.5, 2.0]  # 5.0 was scored alone
    assert baseline.isfinite().all()
    assert rloo_advantages(cost, mask=mask).tolist() == [[-4.5, 0], [-1.5, 0], [0, 0], [6, 0]]
    group = grpo_advantages(cost, mask=mask)
    alone = grpo_advantages(torch.tensor([1.0, 3.0, 8.0]))
    torch.testing.assert_close(group[mask[:, 0], 0], alone)
    assert group[:, 1].tolist() == [0, 0, 0, 0]

    mu = torch.zeros(2, requires_grad=True)
    z = torch.tensor([[1.0, -1.0], [2.0, 7.0], [7.0, 7.0], [-1.0, 7.0]])
    log_prob = Normal(mu, 1.0).log_prob(z)
    loss = surrogate(log_prob, cost, baseline, mask=mask)
    assert loss.tolist() == [4.0, 5.0]
    (gradient,) = torch.autograd.grad(loss.sum(), mu)
    assert gradient.tolist() == pytest.approx([(-4.5 * 1 - 1.5 * 2 - 6) / 3, 0])
    whole = surrogate(log_prob, cost, baseline, dim=None, mask=mask)
    assert whole.item() == pytest.approx(17 / 4)


def test_what_masks_refuse():
    p = torch.full((3,), 0.5, requires_grad=True)
    dist = Bernoulli(p)
    for mask, words in (
        (torch.ones(4, 3), r"`mask` got torch.float32.*booleans"),
        (lambda cost: cost, r"`mask` got torch.float32"),
        (lambda cost: True, r"`mask` got bool"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            expectation(torch.square, dist, 4, mask=mask)
    with pytest.raises(ShapeError, match=r"`mask` got shape \(4,\); expected \(4, 3\)"):
        expectation(torch.square, dist, 4, mask=torch.ones(4, dtype=torch.bool))
    for how in ("pathwise", "enumerate", "measure", "rebar", "gumbel"):
        with pytest.raises(ConfigurationError, match=f"`mask` was given with estimator='{how}'"):
            expectation(torch.square, dist, 4, estimator=how, mask=torch.isfinite)
    with pytest.raises(ConfigurationError, match="sampler='sobol'"):
        expectation(torch.square, dist, 4, sampler="sobol", mask=torch.isfinite)
    for baseline in (EMA(), Critic(torch.zeros(3)), "ema"):
        with pytest.raises(ConfigurationError, match="learn from costs that do not count"):
            expectation(torch.square, dist, 4, baseline=baseline, mask=torch.isfinite)
    everything = torch.ones(4, 3, dtype=torch.bool)
    with pytest.raises(DataError, match=r"scored cost .* NaN or infinite"):
        expectation(lambda z: z / 0.0 * z, dist, 4, mask=everything)
