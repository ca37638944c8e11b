import math

import pytest
import torch
from torch.nn import functional as F

from hunch.rl.networks.value_heads import ValueHead
from hunch.rl.objectives.losses import categorical_loss, quantile_loss
from hunch.rl.objectives.value_targets import chosen, chosen_distribution, project

KINDS = {
    "plain": {},
    "categorical": {"distribution": "categorical", "atoms": 7, "low": -2.0, "high": 4.0},
    "quantile": {"distribution": "quantile", "atoms": 5},
}


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def projected_by_hand(reward, discount, probs, support):
    """Atom by atom, as the paper's algorithm 1 has it."""
    low, high, n = support[0], support[-1], len(support)
    gap = (high - low) / (n - 1)
    rows = []
    for r, d, row in zip(reward, discount, probs, strict=True):
        out = [0.0] * n
        for z, p in zip(support, row, strict=True):
            b = (min(max(r + d * z, low), high) - low) / gap
            lower, upper = math.floor(b), math.ceil(b)
            if lower == upper:
                out[lower] += p
            else:
                out[lower] += p * (upper - b)
                out[upper] += p * (b - lower)
        rows.append(out)
    return torch.tensor(rows)


@pytest.mark.parametrize("bounds", [(-10.0, 10.0, 51), (0.0, 1.0, 2), (-3.0, 500.0, 8)])
def test_projection_equals_a_loop_over_atoms(bounds):
    support = torch.linspace(*bounds, dtype=torch.float64)
    reward = 8 * normal(40).double()
    discount = torch.rand(40, generator=torch.Generator().manual_seed(1)).double()
    reward[0], discount[0] = support[3 % len(support)], 0.0  # an atom exactly
    reward[1], discount[1] = 1e4, 1.0  # far beyond
    reward[2], discount[2] = -1e4, 1.0
    reward[3], discount[3] = 0.0, 1.0  # where it was
    probs = F.softmax(normal(40, len(support), seed=2).double(), -1)
    ours = project(reward, discount, probs, support)
    lists = (t.tolist() for t in (reward, discount, probs, support))
    assert torch.allclose(ours, projected_by_hand(*lists).double(), atol=1e-9)
    assert torch.allclose(ours.sum(-1), torch.ones(40).double())
    assert torch.allclose(ours[3], probs[3])


def test_projection_keeps_the_mean_within_the_support_and_the_mass_in_single_precision():
    support = torch.linspace(-10, 10, 51)
    probs = F.softmax(normal(3, 500, 51), -1)
    reward, discount = normal(3, 500, seed=1), torch.full((3, 500), 0.8)
    ours = project(reward, discount, probs, support)
    assert ours.shape == probs.shape
    assert (ours >= 0).all()
    assert torch.allclose(ours.sum(-1), torch.ones(3, 500), atol=1e-5)
    inside = (reward + 0.8 * 10 < 10) & (reward - 0.8 * 10 > -10)
    mean = reward + 0.8 * (probs @ support)
    assert torch.allclose((ours @ support)[inside], mean[inside], atol=1e-4)


def test_projection_for_replicas_is_that_of_each():
    support = torch.linspace(-1, 1, 5)
    probs, reward = F.softmax(normal(3, 6, 5), -1), normal(3, 6)
    discount = torch.full((3, 6), 0.5)
    together = project(reward, discount, probs, support)
    for r in range(3):
        assert torch.equal(together[r], project(reward[r], discount[r], probs[r], support))


def test_categorical_loss_is_the_divergence_and_its_gradient_the_difference():
    logits = normal(2, 4, 6).requires_grad_()
    target = F.softmax(normal(2, 4, 6, seed=1), -1)
    target[0, 0] = F.one_hot(torch.tensor(2), 6)  # zeros count for nothing
    loss = categorical_loss(logits, target)
    expected = F.kl_div(F.log_softmax(logits, -1), target, reduction="none").sum(-1)
    assert torch.allclose(loss, expected, atol=1e-6)
    assert (loss > 0).all()
    loss.sum().backward()
    assert torch.allclose(logits.grad, F.softmax(logits, -1) - target, atol=1e-6)


@pytest.mark.parametrize(("n", "m"), [(5, 5), (4, 7), (1, 3)])
def test_quantile_loss_equals_a_loop_over_pairs(n, m):
    quantiles, target = 2 * normal(6, n), 2 * normal(6, m, seed=1)
    expected = []
    for row, samples in zip(quantiles.tolist(), target.tolist(), strict=True):
        total = 0.0
        for i, q in enumerate(row):
            level = (2 * i + 1) / (2 * n)
            for t in samples:
                u = t - q
                huber = u * u / 2 if abs(u) <= 1 else abs(u) - 0.5
                total += abs(level - (u < 0)) * huber / m
        expected.append(total)
    assert quantile_loss(quantiles, target).tolist() == pytest.approx(expected, rel=1e-5)


def test_the_gradient_of_the_quantile_loss_vanishes_at_the_true_quantiles():
    n, m = 8, 4000
    # Errors are far beyond the Huber threshold, where the loss is that of quantile regression.
    samples = 1000 * (torch.arange(m, dtype=torch.float64) + 0.5) / m
    levels = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    quantiles = (1000 * levels).unsqueeze(0).requires_grad_()
    quantile_loss(quantiles, samples.unsqueeze(0)).sum().backward()
    assert quantiles.grad.abs().max() < 1e-3
    low = (1000 * levels - 100).unsqueeze(0).requires_grad_()
    quantile_loss(low, samples.unsqueeze(0)).sum().backward()
    assert (low.grad < -0.05).all()  # 100 too low is 0.1 of the mass


def test_chosen_distribution_is_that_of_the_action():
    values, action = normal(2, 5, 3, 4), torch.tensor([[0, 1, 2, 1, 0], [2, 2, 0, 1, 0]])
    ours = chosen_distribution(values, action)
    for r in range(2):
        for i in range(5):
            assert torch.equal(ours[r, i], values[r, i, action[r, i]])


@pytest.mark.parametrize("kind", KINDS)
def test_dueling_adds_the_value_to_the_advantages_less_their_mean(kind):
    value_head = ValueHead(actions=3, dueling=True, **KINDS[kind])
    assert value_head.outputs == 4 * value_head.atoms
    raw = normal(2, 6, value_head.outputs)
    groups = raw.view(2, 6, 4, value_head.atoms)
    value, advantage = groups[..., :1, :], groups[..., 1:, :]
    expected = value + advantage - advantage.mean(2, keepdim=True)
    split = value_head.split(raw)
    assert torch.allclose(split, expected if kind != "plain" else expected.squeeze(-1))
    # What is added to all advantages alike changes nothing.
    shifted = groups.clone()
    shifted[..., 1:, :] += normal(2, 6, 1, value_head.atoms, seed=5)
    assert torch.allclose(value_head.split(shifted.flatten(2)), split, atol=1e-5)
    assert torch.allclose(split.mean(2), value.squeeze(2) if kind != "plain" else value[..., 0, 0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dueling", [False, True])
def test_values_are_the_means_of_what_is_predicted(kind, dueling):
    value_head = ValueHead(actions=3, dueling=dueling, **KINDS[kind])
    predicted = value_head.split(normal(6, value_head.outputs))
    values = value_head.values(predicted)
    assert values.shape == (6, 3)
    if kind == "categorical":
        support = torch.arange(-2.0, 5.0)
        assert torch.allclose(values, (F.softmax(predicted, -1) * support).sum(-1), atol=1e-6)
    elif kind == "quantile":
        assert torch.allclose(values, predicted.mean(-1))
    else:
        assert torch.equal(values, predicted)


@pytest.mark.parametrize("kind", KINDS)
def test_the_target_is_what_is_predicted_of_the_action_that_the_selector_likes(kind):
    value_head = ValueHead(actions=3, **KINDS[kind])
    predicted = value_head.split(normal(6, value_head.outputs))
    selecting = value_head.split(normal(6, value_head.outputs, seed=1))
    best = value_head.values(selecting).argmax(-1)
    assert (best != value_head.values(predicted).argmax(-1)).any()
    reward, discount = normal(6, seed=2), torch.tensor([0.9, 0.0, 0.5, 0.9, 0.0, 1.0])
    target = value_head.target(reward, discount, predicted, selecting)
    for i in range(6):
        following = predicted[i, best[i]]
        if kind == "categorical":
            probs = F.softmax(following, -1).unsqueeze(0)
            support = torch.arange(-2.0, 5.0)
            expected = project(reward[i : i + 1], discount[i : i + 1], probs, support)[0]
        else:
            expected = reward[i] + discount[i] * following
        assert torch.allclose(target[i], expected, atol=1e-6)


def loss_by_autograd(value_head, raw, action, target, weight):
    """What `ValueHead.loss` returns, from the definitions."""
    predicted = value_head.split(raw)
    if value_head.distribution is None:
        q = chosen(predicted, action)
        each, error = F.smooth_l1_loss(q, target, reduction="none"), (q - target).abs()
    else:
        measure = categorical_loss if value_head.distribution == "categorical" else quantile_loss
        each = error = measure(chosen_distribution(predicted, action), target)
    loss = (each * weight).mean(-1).sum()
    return loss, torch.autograd.grad(loss, raw)[0], error


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_and_its_gradient_equal_autograd(kind, dueling, weighted):
    value_head = ValueHead(actions=3, dueling=dueling, **KINDS[kind])
    raw = 2 * normal(2, 40, value_head.outputs)
    action = torch.randint(3, (2, 40), generator=torch.Generator().manual_seed(0))
    predicted = value_head.split(normal(2, 40, value_head.outputs, seed=1))
    discount = torch.full((2, 40), 0.9)
    target = value_head.target(normal(2, 40, seed=2), discount, predicted, predicted)
    weight = torch.rand(2, 40, generator=torch.Generator().manual_seed(1))
    loss, gradient, error = value_head.loss(raw, action, target, weight if weighted else None)
    weight = weight if weighted else torch.ones(2, 40)
    expected = loss_by_autograd(value_head, raw.requires_grad_(), action, target, weight)
    assert loss.item() == pytest.approx(expected[0].item(), rel=1e-5)
    assert torch.allclose(gradient, expected[1], atol=1e-6)
    assert torch.allclose(error, expected[2], atol=1e-5)
    assert not any(t.requires_grad for t in (loss, gradient, error))
    if kind == "plain":
        assert error.min() < 1 < error.max()  # both sides of Huber's threshold
    groups = gradient.view(2, 40, 3 + dueling, value_head.atoms).abs().sum(-1)
    if dueling:
        assert (groups > 0).all()  # the mean of the advantages feels all of them
    else:
        assert torch.equal(groups > 0, F.one_hot(action, 3).bool())


@pytest.mark.parametrize("kind", ["categorical", "quantile"])
def test_distributions_are_learnt(kind):
    """A return of −1 or 3, equally likely, at the end of an episode."""
    value_head = ValueHead(
        actions=1, **{**KINDS[kind], "atoms": 13 if kind == "categorical" else 8}
    )
    raw = torch.zeros(1, value_head.outputs, requires_grad=True)
    adam = torch.optim.Adam([raw], lr=0.1)
    rewards = torch.tensor([-1.0, 3.0] * 16)
    ended = torch.zeros(32)
    for _ in range(400):
        batch = raw.detach().expand(32, -1)
        predicted = value_head.split(batch)
        target = value_head.target(rewards, ended, predicted, predicted)
        _, gradient, _ = value_head.loss(batch, torch.zeros(32, dtype=torch.int64), target)
        raw.grad = gradient.sum(0, keepdim=True)
        adam.step()
    predicted = value_head.split(raw.detach())
    assert value_head.values(predicted).item() == pytest.approx(1.0, abs=0.15)
    if kind == "categorical":
        probs = F.softmax(predicted[0, 0], -1)
        assert probs[2] == pytest.approx(0.5, abs=0.02)  # the atoms are −2, −1.5, …, 4
        assert probs[10] == pytest.approx(0.5, abs=0.02)
    else:
        # Huber's threshold is near the distance of the two, which draws the outer ones inwards.
        assert predicted[0, 0, :4].tolist() == pytest.approx([-1.0] * 4, abs=0.8)
        assert predicted[0, 0, 4:].tolist() == pytest.approx([3.0] * 4, abs=0.8)
