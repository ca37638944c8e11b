"""What noisy layers draw, against closed forms."""

import copy
import math

import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from hunch.nn import NoisyConv2d, NoisyLinear, noise

DRAWS = 100_000
F_SQUARED = math.sqrt(2 / math.pi)  # E f(ε)² for f(x) = sgn(x)·√|x| and a standard normal ε


def layer_with_uneven_stds(kind, per_sample, bias=True, features=(16, 32)):
    generator = torch.Generator().manual_seed(1)
    layer = NoisyLinear(*features, bias, noise=kind, per_sample=per_sample, generator=generator)
    with torch.no_grad():
        # Mixed signs, which change nothing, keep the outputs' shared input noise from adding up.
        layer.weight_sigma.uniform_(-1.0, 1.0, generator=generator)
        if bias:
            layer.bias_sigma.uniform_(0.2, 2.0, generator=generator)
    return layer, torch.randn(features[0], generator=generator)


def closed_form_variance(layer, x):
    weight_part, bias_part = (
        (F_SQUARED**2, F_SQUARED) if layer.noise == "factorized" else (1.0, 1.0)
    )
    variance = weight_part * (layer.weight_sigma**2 @ x**2)
    if layer.bias_sigma is not None:
        variance = variance + bias_part * layer.bias_sigma**2
    return variance.detach()


def outputs(layer, x, generator, draws=DRAWS):
    """(draws, out_features), from the layer's own forward."""
    with torch.no_grad():
        if layer.per_sample:
            noise(layer, "fresh", generator)
            return layer(x.expand(draws, -1))

        def forward(draw):
            with layer.using(draw):
                return layer(x)

        parts = [torch.vmap(forward)(layer.draw(generator, members=draws // 10)) for _ in range(10)]
        return torch.cat(parts)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("kind", ["factorized", "independent"])
def test_mean_and_variance_meet_the_closed_form(kind, per_sample, bias):
    layer, x = layer_with_uneven_stds(kind, per_sample, bias)
    out = outputs(layer, x, torch.Generator().manual_seed(0))
    expected_mean = F.linear(x, layer.weight, layer.bias).detach()
    variance = closed_form_variance(layer, x)
    # Over 60 seeds the standard deviation of the pooled ratio was at most 0.15 %, that of a single
    # output's 0.7 %: the bounds lie 6.6 and 5 of them out, a false alarm in 10,000 seeds.
    ratio = out.var(0) / variance
    assert abs(ratio.mean() - 1) < 0.01
    assert (ratio - 1).abs().max() < 0.035
    # The error of the mean, in stds of the output, is N(0, 1/draws).
    error = (out.mean(0) - expected_mean) / variance.sqrt()
    assert error.square().mean().sqrt() < 0.01
    assert error.abs().max() < 5.5 / math.sqrt(DRAWS)


def test_weight_and_bias_noise_share_the_output_draw():
    # The bias noise is f(ε_out) itself, so a row of Σx and the bias keep their ratio.
    layer, x = layer_with_uneven_stds("factorized", per_sample=False, features=(3, 5))
    rows, columns = layer.draw(torch.Generator().manual_seed(0))
    with layer.using((rows, columns)):
        out = layer(x)
    weight = layer.weight + layer.weight_sigma * torch.outer(columns, rows)
    torch.testing.assert_close(out, weight @ x + layer.bias + layer.bias_sigma * columns)


@pytest.mark.parametrize("kind", ["factorized", "independent"])
def test_per_sample_rows_are_independent(kind):
    layer, x = layer_with_uneven_stds(kind, per_sample=True, features=(6, 8))
    out = outputs(layer, x, torch.Generator().manual_seed(0), draws=20_000)
    z = (out - out.mean(0)) / out.std(0)
    # A correlation of n pairs is N(0, 1/n): 5 standard deviations for 8 outputs and two lags, and
    # for their magnitudes, is a false alarm in 2 of 100,000 seeds.
    for lag in (1, 1000):
        for values in (z, z.abs() - z.abs().mean(0)):
            correlation = (values[lag:] * values[:-lag]).mean(0)
            assert correlation.abs().max() < 5 / math.sqrt(len(z) - lag)


def test_shared_noise_is_shared_by_the_batch():
    layer, x = layer_with_uneven_stds("factorized", per_sample=False)
    out = layer(x.expand(7, -1))
    assert torch.equal(out, out[:1].expand(7, -1))


def test_raw_draws_have_the_right_distribution():
    # Kolmogorov-Smirnov at p > 1e-4 each: one false alarm in 3,000 seeds.
    g = torch.Generator().manual_seed(0)
    (eps,) = NoisyLinear(100, 100, False, noise="independent").draw(g)
    assert stats.kstest(eps.flatten().numpy(), "norm").pvalue > 1e-4
    f = NoisyLinear(20_000, 1).draw(g)[0]
    assert stats.kstest((f * f.abs()).numpy(), "norm").pvalue > 1e-4
    f = NoisyLinear(20_000, 1, noise_distribution="truncated_normal").draw(g)[0]
    eps = (f * f.abs()).numpy()
    assert abs(eps).max() <= 2.0
    assert stats.kstest(eps, stats.truncnorm(-2, 2).cdf).pvalue > 1e-4


@pytest.mark.parametrize("per_sample", [False, True])
def test_convolution_variance_meets_the_closed_form(per_sample):
    g = torch.Generator().manual_seed(0)
    layer = NoisyConv2d(4, 6, (3, 2), groups=2, per_sample=per_sample, std_init=2.0, generator=g)
    x, draws = torch.randn(4, 5, 4, generator=g), 40_000
    with torch.no_grad():
        if per_sample:
            noise(layer, "fresh", g)
            out = layer(x.expand(draws, -1, -1, -1))
        else:

            def forward(draw):
                with layer.using(draw):
                    return layer(x)

            out = torch.vmap(forward, chunk_size=4000)(layer.draw(g, members=draws))
        weight_part = F.conv2d(x**2, layer.weight_sigma**2, groups=2)
        variance = F_SQUARED**2 * weight_part + F_SQUARED * layer.bias_sigma[:, None, None] ** 2
    # A single pixel's variance has a relative error of 1.2 % at most here; 5.5 of them over 54
    # pixels are a false alarm in 100,000 seeds.
    assert (out.var(0) / variance - 1).abs().max() < 0.066


@pytest.mark.parametrize("kind", ["factorized", "independent"])
def test_consecutive_forwards_are_independent_draws(kind):
    # Online loss, action selection and target: three draws, the target from a copy of the network.
    g = torch.Generator().manual_seed(0)
    online = NoisyLinear(3, 2, noise=kind)
    noise(online, "fresh", g)
    target = copy.deepcopy(online)
    x, count = torch.ones(1, 3), 3000
    with torch.no_grad():
        out = torch.stack(
            [torch.cat([online(x), online(x), target(x)]) for _ in range(count)]
        )  # (count, 3, 2)
    z = (out - out.mean(0)) / out.std(0)
    flat = z.flatten(1)
    correlation = (flat.T @ flat / count - torch.eye(6)).fill_diagonal_(0)
    # 15 pairs at 5 standard deviations: one false alarm in 100,000 seeds.
    assert correlation.abs().max() < 5 / math.sqrt(count)
    magnitude = (z.abs() - z.abs().mean(0)) / z.abs().std(0)
    across = (magnitude[:, 0] * magnitude[:, 2]).mean(0)
    assert across.abs().max() < 5 / math.sqrt(count)
