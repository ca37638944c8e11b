"""The kernel, the posterior and the divergence against independent ways, and the path."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from hunch.experiments.claims.drawing import figures
from hunch.experiments.uncertainty import gp_posterior
from hunch.experiments.uncertainty.gp_posterior import (
    AGENTS,
    DROPOUT,
    NOISED,
    PLAIN,
    PRIOR,
    Regression,
    Result,
    Settings,
    Trial,
    draw,
    gaussian_kl,
    posterior,
    relu_kernel,
)


def test_the_kernel_is_the_covariance_of_wide_networks():
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    generator = torch.Generator().manual_seed(1)
    nets, width = 2_000, 300
    h = x.expand(nets, 4, 3)
    for size_in, size_out in ((3, width), (width, width), (width, 1)):
        w = torch.randn(nets, size_in, size_out, generator=generator) / math.sqrt(size_in)
        h = h.float() @ w
        if size_in == 3:
            h = h + torch.randn(nets, 1, size_out, generator=generator) / math.sqrt(3)
        if size_out != 1:
            h = h.relu()
    sampled = (h[:, :, 0].mT @ h[:, :, 0] / nets).double()
    expected = relu_kernel(x, x)
    # Six standard errors of a product's mean, once in 10⁹, and a little for the finite width.
    own = expected.diagonal()
    error = ((own.unsqueeze(1) * own + expected.square()) / nets).sqrt()
    assert ((sampled - expected).abs() < 6 * error + 0.01).all()


def test_the_posterior_is_that_of_the_joint_gaussian():
    x, y, new = draw(Regression(2, 5, 0.3, seed=0), 4)
    mean, std = posterior(x, y, new, 0.3)
    both = torch.cat([x, new])
    joint = relu_kernel(both, both)
    joint[:10, :10] += 0.09 * torch.eye(10)
    precision = torch.linalg.inv(joint[:10, :10])
    assert torch.allclose(mean, joint[10:, :10] @ precision @ y)
    covariance = joint[10:, 10:] - joint[10:, :10] @ precision @ joint[:10, 10:]
    assert torch.allclose(std, covariance.diagonal().sqrt())


def test_the_divergence_is_torchs():
    a = [torch.tensor([0.1, -2.0]), torch.tensor([0.5, 1.5])]
    b = [torch.tensor([0.3, 1.0]), torch.tensor([2.0, 0.2])]
    assert torch.allclose(gaussian_kl(*a, *b), kl_divergence(Normal(*a), Normal(*b)))


def test_the_whole_path_runs_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    result = gp_posterior.run(Settings.quick(), progress=False)
    assert torch.equal(before, torch.get_rng_state())
    assert {t.agent for t in result.trials} == set(AGENTS)
    assert result.kl(PRIOR) < result.kl(DROPOUT)
    assert all(check.holds for check in gp_posterior.check(result))
    assert "1 × 10" in result.to_markdown()
    assert list(figures("gp-posterior", result)) == ["gp-posterior"]


def test_the_same_seed_gives_the_same_result():
    short = dataclasses.replace(Settings.quick(), steps=20, num_members=3)
    first, again, other = (
        gp_posterior.run(short, seed=seed, progress=False).to_json() for seed in (0, 0, 1)
    )
    assert first == again != other


@pytest.mark.parametrize(("prior", "holds"), [(0.4, True), (0.6, False)])
def test_the_claim_can_fail(prior, holds):
    kls = {PLAIN: 50.0, NOISED: 1.0, PRIOR: prior, DROPOUT: 20.0}
    trials = tuple(Trial(a, Regression(1, 1, 0.1, 0), kl) for a, kl in kls.items())
    checks = gp_posterior.check(Result(Settings(), trials))
    assert np.array([c.holds for c in checks]).tolist() == [holds, True, True]
