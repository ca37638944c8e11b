"""What agents learn by and act on in the compiled kernel, against the plain versions."""

import itertools

import numpy as np
import pytest
import torch

from hunch.kernel import kernel
from hunch.rl.fast.compiled_objectives import (
    advantage_loss,
    difference_loss,
    drawn,
    whole_lambda_returns,
)
from hunch.rl.networks.action_distributions import Categorical
from hunch.rl.networks.value_heads import ValueHead
from hunch.rl.objectives.advantages import lambda_returns
from hunch.rl.objectives.losses import policy_loss
from hunch.rl.replay.rollout import Trajectory
from hunch.rl.replay.transitions import Transitions

pytestmark = pytest.mark.skipif(kernel() is None, reason="no compiled kernel")


def batch_of(shape, actions, weighted, rng):
    # Errors on both sides of the Huber loss's threshold, and ends of episodes among them.
    return Transitions(
        None,
        rng.integers(actions, size=shape),
        (3 * rng.normal(size=shape)).astype(np.float32),
        None,
        (0.9 * (rng.random(shape) < 0.7)).astype(np.float32),
        rng.random(shape).astype(np.float32) if weighted else None,
        np.zeros(shape, np.int64),
    )


@pytest.mark.parametrize(
    ("dueling", "double", "weighted"), list(itertools.product([False, True], repeat=3))
)
@pytest.mark.parametrize("actions", [1, 2, 5])
def test_errors_of_values_are_the_plain_ones(dueling, double, weighted, actions):
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    head, shape = ValueHead(actions, dueling), (3, 17)
    output, following, selecting = torch.randn(3, *shape, actions + dueling)
    batch = batch_of(shape, actions, weighted, rng)
    found = difference_loss(
        output,
        following,
        selecting if double else None,
        batch,
        actions=actions,
        dueling=dueling,
    )
    predicted = head.split(following)
    target = head.target(
        torch.from_numpy(batch.reward),
        torch.from_numpy(batch.discount),
        predicted,
        head.split(selecting) if double else predicted,
    )
    weight = torch.from_numpy(batch.weight) if weighted else None
    loss, gradient, error = head.loss(output, torch.from_numpy(batch.action), target, weight)
    assert found[0] == pytest.approx(loss.item(), rel=1e-5)
    torch.testing.assert_close(found[1], gradient, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found[2], error, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("place", range(3))
def test_nan_among_the_values_is_in_the_loss(place):
    """Wherever it stands: it must not lose against a number."""
    following = torch.zeros(1, 1, 3)
    following[..., place] = torch.nan
    batch = batch_of((1, 1), 3, False, np.random.default_rng(0))._replace(
        discount=np.ones((1, 1), np.float32)
    )
    for selecting in (None, following):
        loss, _, _ = difference_loss(
            torch.zeros(1, 1, 3), following, selecting, batch, actions=3, dueling=False
        )
        assert np.isnan(loss)


@pytest.mark.parametrize("entropy_weight", [0.0, 0.3])
@pytest.mark.parametrize("value_weight", [0.0, 0.7])
@pytest.mark.parametrize("masked", [False, True])
def test_gradients_of_policies_are_those_of_autograd(entropy_weight, value_weight, masked):
    torch.manual_seed(0)
    out = torch.randn(2, 30, 4)
    action, target = torch.randint(2, (2, 30)), torch.randn(2, 30)
    if masked:  # an action that cannot be taken, and was not
        out[..., 3] = -torch.inf
    found = advantage_loss(
        out,
        action.numpy(),
        target.numpy(),
        value_weight=value_weight,
        entropy_weight=entropy_weight,
    )
    own, actions = out.clone().requires_grad_(), Categorical(3)
    loss = policy_loss(
        actions.log_prob(own[..., 1:], action),
        own[..., 0],
        target,
        own[..., 0].detach(),
        value_weight=value_weight,
        entropy=actions.entropy(own[..., 1:]),
        entropy_weight=entropy_weight,
    ).sum()
    loss.backward()
    assert found[0] == pytest.approx(loss.item(), rel=1e-5)
    torch.testing.assert_close(found[1], own.grad, rtol=1e-5, atol=1e-7)


def test_actions_are_drawn_as_the_plain_version_draws_them():
    rngs = [[np.random.default_rng(s) for s in (1, 2)] for _ in range(2)]
    out = 3 * torch.randn(2, 500, 6, generator=torch.Generator().manual_seed(0))
    out[0, :, 2] = -torch.inf
    policy = out[..., 1:]  # as it stands behind the value
    index, known = drawn(policy, rngs[0])
    assert known
    np.testing.assert_array_equal(index, Categorical(5).sample(policy.numpy(), rngs[1]))
    assert len(np.unique(index)) == 5
    assert not (index[0] == 1).any()
    assert rngs[0][0].random() == rngs[1][0].random()


@pytest.mark.parametrize("place", range(3))
def test_unknown_outputs_are_told_of(place):
    out = torch.zeros(1, 4, 3)
    out[0, 2, place] = torch.nan
    assert not drawn(out, [np.random.default_rng(0)])[1]


@pytest.mark.parametrize(("rounds", "replicas", "envs"), [(1, 1, 1), (7, 1, 5), (9, 3, 4)])
def test_lambda_returns_are_the_plain_ones(rounds, replicas, envs):
    rng, shape = np.random.default_rng(0), (rounds, replicas, envs)

    def numbers(*shape):
        return rng.normal(size=shape).astype(np.float32)

    terminated, truncated = rng.random((2, *shape)) < 0.15
    cuts = [*np.flatnonzero(truncated[:-1].any((1, 2))).tolist(), rounds - 1]
    counts, led_to = np.ones(shape, bool), numbers(len(cuts), *shape[1:], 2)
    steps = Trajectory(numbers(*shape, 2), counts, numbers(*shape), terminated, truncated, counts, cuts, led_to)  # fmt: skip
    value, after = numbers(replicas, rounds * envs), numbers(len(cuts), replicas, envs)
    # As values of several replicas lie: their axis was the first.
    after = np.ascontiguousarray(after.swapaxes(0, 1)).swapaxes(0, 1)
    how = {"discount": 0.97, "gae_lambda": 0.9, "reward_scale": 0.3}
    found = whole_lambda_returns(steps, value, after, **how)
    plain = lambda_returns(steps, value, after, **how)
    assert found.dtype == plain.dtype
    np.testing.assert_allclose(found, plain, rtol=1e-6, atol=1e-7)
    counts[0, 0, 0] = False
    assert whole_lambda_returns(steps, value, after, **how) is None
