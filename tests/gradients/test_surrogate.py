"""`surrogate` and `leave_one_out`: arithmetic, and what is refused."""

import pytest
import torch
from torch.distributions import Categorical, Normal
from torch.func import grad, vmap

from hunch.errors import ConfigurationError, DataError, ShapeError
from hunch.gradients import leave_one_out, surrogate


def test_leave_one_out_is_the_mean_of_the_others():
    cost = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0))
    for dim in (0, 1, 2, -1):
        n = cost.shape[dim]
        for i in range(n):
            others = [j for j in range(n) if j != i]
            index = torch.tensor(others)
            wanted = cost.index_select(dim, index).mean(dim)
            torch.testing.assert_close(leave_one_out(cost, dim).select(dim, i), wanted)
    assert torch.equal(leave_one_out(torch.tensor([1, 2])), torch.tensor([2.0, 1.0]))


@pytest.mark.parametrize("shape", [(1,), (1, 7), (0, 3)])
def test_leave_one_out_needs_two_samples(shape):
    with pytest.raises(ConfigurationError, match="at least 2"):
        leave_one_out(torch.ones(shape))


def test_leave_one_out_needs_a_dimension():
    with pytest.raises(ShapeError, match="`dim` got 2"):
        leave_one_out(torch.ones(3, 4), dim=2)
    with pytest.raises(ShapeError, match="`dim` got 0"):
        leave_one_out(torch.tensor(1.0))


def rollout(*shape):
    mu = torch.zeros(shape[-1], requires_grad=True)
    z = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    return mu, Normal(mu, 1.0).log_prob(z), (z - 1) ** 2, z


def test_value_and_gradient_by_hand():
    mu, log_prob, cost, z = rollout(6, 3)
    loss = surrogate(log_prob, cost, baseline=leave_one_out(cost, dim=0))
    torch.testing.assert_close(loss, cost.mean(0))
    (gradient,) = torch.autograd.grad(loss.sum(), mu)
    torch.testing.assert_close(gradient, ((cost - leave_one_out(cost)) * z).mean(0))
    whole = surrogate(*rollout(6, 3)[1:3], dim=None)
    assert whole.shape == ()
    torch.testing.assert_close(whole, cost.mean())


def test_baselines_meet_the_costs_they_are_meant_for():
    # As many samples as factors: a tensor of the wrong orientation would broadcast unnoticed.
    mu, log_prob, cost, z = rollout(4, 4)
    baseline = torch.arange(4.0)
    for dim in (0, 1):
        loss = surrogate(log_prob, cost, baseline=baseline, dim=dim)
        (gradient,) = torch.autograd.grad(loss.sum(), mu, retain_graph=True)
        wanted = ((cost - baseline.unsqueeze(dim)) * z).sum(0) / 4
        torch.testing.assert_close(gradient, wanted)
    for bad in (torch.zeros(4, 1), torch.zeros(1, 4), torch.zeros(3)):
        with pytest.raises(ShapeError, match="`baseline` got shape"):
            surrogate(log_prob, cost, baseline=bad)
    with pytest.raises(ShapeError, match="`baseline` got shape"):
        surrogate(log_prob, cost, baseline=baseline, dim=None)
    with pytest.raises(ConfigurationError, match="leave_one_out"):
        surrogate(log_prob, cost, baseline="loo")


def test_a_cost_column_against_a_vector_of_log_probabilities_is_refused():
    _, log_prob, cost, _ = rollout(8)
    with pytest.raises(ShapeError, match=r"`cost` got shape \(8, 1\); expected \(8,\).*squeeze"):
        surrogate(log_prob, cost.unsqueeze(-1))
    with pytest.raises(ShapeError, match="broadcasting"):
        surrogate(log_prob.unsqueeze(-1), cost)


def test_a_log_probability_without_gradient_is_refused():
    _, log_prob, cost, _ = rollout(8)
    with pytest.raises(ConfigurationError, match="`log_prob` carries no gradient"):
        surrogate(log_prob.detach(), cost)
    with torch.no_grad():  # evaluation asks for no gradient
        torch.testing.assert_close(surrogate(log_prob.detach(), cost), cost.mean())


def test_values_that_are_not_finite_are_refused():
    _, log_prob, cost, _ = rollout(8)
    bad = cost.clone()
    bad[2] = torch.nan
    with pytest.raises(DataError, match="`cost` got 1 of 8 values that are NaN"):
        surrogate(log_prob, bad)
    with pytest.raises(DataError, match="`log_prob` got 8 of 8"):
        surrogate(log_prob - torch.inf, cost)


def test_discrete_policies_with_integer_rewards():
    logits = torch.zeros(5, 3, requires_grad=True)
    action = torch.tensor([0, 1, 2, 1, 0])
    loss = surrogate(Categorical(logits=logits).log_prob(action), -(action == 1).long())
    loss.backward()
    assert loss.dtype == torch.float32
    assert (logits.grad[[1, 3], 1] < 0).all()


def test_works_inside_vmap_and_grad():
    z = torch.tensor([0.5, -1.0, 2.0])

    def loss(mu):
        log_prob = Normal(mu, 1.0, validate_args=False).log_prob(z)
        return surrogate(log_prob, z**2, baseline=leave_one_out(z**2))

    mu = torch.tensor([0.0, 1.0], requires_grad=True)
    wanted = torch.stack([torch.autograd.grad(loss(m), m)[0] for m in mu.unbind()])
    torch.testing.assert_close(vmap(grad(loss))(mu.detach()), wanted)
    torch.testing.assert_close(torch.autograd.grad(vmap(loss)(mu).sum(), mu)[0], wanted)
