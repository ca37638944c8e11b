"""Heads, and what may differ from member to member or datum to datum."""

import math

import pytest
import torch

from hunch.errors import ConfigurationError, DataError, ShapeError
from hunch.inference import bootstrap_weights, fit, predict
from hunch.inference.losses import loss_function
from hunch.nn import MLP, Ensemble, GaussianHead, QuantileHead, RandomizedPrior

G = torch.Generator().manual_seed(0)
X = 2 * torch.rand(400, 1, generator=G) - 1
STD = torch.where(X > 0, 0.8, 0.1)
Y = torch.sin(3 * X) + STD * torch.randn(400, 1, generator=G)


def plain():
    return MLP(1, [16], 1, activation="tanh")


def gaussian(prior_scale=1.0):
    return GaussianHead(RandomizedPrior(plain(), plain(), prior_scale), plain())


@pytest.mark.parametrize("loss", ["gaussian_nll", "beta_nll"])
def test_a_gaussian_head_learns_where_the_noise_is(loss):
    net = Ensemble(gaussian, 5, seed=0)
    fit(net, X, Y, loss=loss, lr=0.02, steps=600, progress=False)
    p = predict(net, torch.tensor([[-0.6], [0.6]]))
    assert p.members.shape == (5, 2, 1)
    # The error of a standard deviation from 200 data is about 5 %.
    torch.testing.assert_close(p.aleatoric, torch.tensor([[0.1], [0.8]]), rtol=0.35, atol=0.02)
    assert p.std[1] > p.std[0]


def test_the_prior_of_a_gaussian_head_shows_far_away_in_the_mean_alone():
    build = {scale: lambda scale=scale: gaussian(scale) for scale in (0.0, 20.0)}
    far, noise = {}, {}
    for scale, make in build.items():
        net = Ensemble(make, 10, seed=0)
        fit(net, X, Y, loss="gaussian_nll", lr=0.02, steps=300, progress=False)
        p = predict(net, torch.tensor([[6.0]]))
        far[scale], noise[scale] = p.epistemic.item(), p.aleatoric.item()
    assert far[20.0] > 5 * far[0.0]
    assert noise[20.0] < 5 * noise[0.0]


def test_beta_gives_the_mean_back_the_gradient_that_a_large_variance_takes():
    head = gaussian()
    prediction = torch.tensor([[[[1.0, 5.0]]]], requires_grad=True)  # std 5 and an error of 2
    for loss, factor in (("gaussian_nll", 1.0), ("beta_nll", 5.0)):
        value = loss_function(loss, head)(prediction, torch.tensor([[[3.0]]]))
        (gradient,) = torch.autograd.grad(value.sum(), prediction)
        expected = factor * torch.tensor([-2 / 5**2, 1 / 5 - 2**2 / 5**3])
        torch.testing.assert_close(gradient.flatten(), expected)


@pytest.mark.parametrize(("loss", "power"), [("gaussian_nll", 0), ("beta_nll", 1)])
def test_the_loss_is_the_papers(loss, power):
    net = Ensemble(gaussian, 3, seed=0)
    mean, std = net(X).detach().double().unbind(-1)
    history = fit(net, X, Y, loss=loss, steps=1, bootstrap="none", progress=False)
    nll = -torch.distributions.Normal(mean, std).log_prob(Y.double()) - math.log(2 * math.pi) / 2
    expected = (std**power * nll).mean((1, 2)).float()
    torch.testing.assert_close(history.loss[0], expected, rtol=1e-4, atol=1e-5)


def test_quantiles_split_the_data_at_their_levels():
    levels = (0.1, 0.5, 0.9)

    def build():
        return QuantileHead(plain(), MLP(1, [16], 2, activation="tanh"), levels=levels)

    net = Ensemble(build, 4, seed=0)
    fit(net, X, Y, loss="quantile", lr=0.02, steps=600, progress=False)
    p = predict(net, X)
    below = (Y.unsqueeze(-1) <= p.mean).float().mean((0, 1))
    # Standard errors of at most 0.025.
    assert (below - torch.tensor(levels)).abs().max() < 0.06
    width = p.mean[..., 2] - p.mean[..., 0]
    assert width[X > 0.2].mean() > 3 * width[X < -0.2].mean()


def test_caching_the_prior_of_a_head_changes_nothing():
    class Hidden(GaussianHead):  # a subclass may compute anything, so nothing of it is cached
        def forward(self, x):
            return super().forward(x)

    def hidden():
        return Hidden(RandomizedPrior(plain(), plain()), plain())

    cached, slow = Ensemble(gaussian, 3, seed=0), Ensemble(hidden, 3, seed=0)
    steps = dict(steps=5, lr=0.01, batch_size=64, bootstrap="none", progress=False)
    fit(cached, X, Y, loss="gaussian_nll", **steps)

    fit(slow, X, Y, loss="gaussian_nll", **steps)
    torch.testing.assert_close(cached(X), slow(X))


def test_members_have_their_own_learning_rate_ridge_and_gradient_norm():
    rates, ridges = [0.001, 0.01, 0.05], [0.0, 1.0, 30.0]
    settings = dict(steps=10, max_gradient_norm=0.5, bootstrap="poisson", progress=False)
    net = Ensemble(plain, 3, seed=0)
    history = fit(net, X, Y, lr=rates, ridge=torch.tensor(ridges), **settings)
    weights = bootstrap_weights("poisson", 3, range(400), seed=0)
    for k, member in enumerate(Ensemble(plain, 3, seed=0).member(k) for k in range(3)):
        optimizer = torch.optim.Adam(member.parameters(), lr=rates[k])
        for step in range(10):
            loss = (weights[k] * (member(X) - Y).square().squeeze(1)).mean()
            loss = loss + ridges[k] / 400 * sum(p.square().sum() for p in member.parameters())
            torch.testing.assert_close(history.loss[step, k], loss.detach(), rtol=1e-4, atol=1e-6)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(member.parameters(), 0.5)
            optimizer.step()
        torch.testing.assert_close(net(X)[k], member(X), rtol=1e-3, atol=1e-4)


def test_a_weight_of_two_is_a_datum_twice():
    x, y = X[:30].double(), Y[:30].double()
    twice = torch.cat([x, x[:10]]), torch.cat([y, y[:10]])
    weight = torch.ones(30)
    weight[:10] = 2
    steps = dict(steps=30, lr=0.01, bootstrap="none", progress=False)
    weighted, doubled = (Ensemble(lambda: plain().double(), 2, seed=0) for _ in range(2))
    # The mean over 40 rows is smaller by 30/40, which Adam does not see but for its epsilon.
    fit(weighted, x, y, weight=weight, ridge=1.0, **steps)
    fit(doubled, *twice, ridge=1.0, **steps)
    torch.testing.assert_close(weighted(x), doubled(x), rtol=1e-4, atol=1e-4)
    nothing = Ensemble(plain, 2, seed=0)
    before = nothing(X).clone()
    fit(nothing, X, Y, weight=torch.zeros(400), batch_size=100, **steps)
    assert nothing(X).equal(before)


@pytest.mark.parametrize("batch_size", [None, 11])
def test_training_stops_where_the_out_of_bag_loss_is_least(batch_size):
    noise = torch.randn(30, 1, generator=torch.Generator().manual_seed(1))  # nothing to learn

    def make():
        return MLP(1, [100], 1, activation="tanh")

    net = Ensemble(make, 10, seed=0)
    steps = dict(lr=0.02, batch_size=batch_size, progress=False)
    history = fit(net, X[:30], noise, steps=3000, patience=30, **steps)
    unseen = bootstrap_weights("multinomial", 10, range(30), seed=0) == 0
    loss = (net(X[:30]) - noise).square().squeeze(-1)[unseen].mean()
    assert len(history.loss) < 2000
    assert len(history.out_of_bag) - 1 - history.out_of_bag.argmin() == 30
    if batch_size is None:  # every step is an epoch, whose loss is of one set of parameters
        torch.testing.assert_close(loss.detach(), history.out_of_bag.min(), rtol=1e-4, atol=1e-5)
    on = Ensemble(make, 10, seed=0)
    fit(on, X[:30], noise, steps=3000, **steps)
    assert (on(X[:30]) - noise).square().squeeze(-1)[unseen].mean() > 1.2 * loss


def test_patience_that_grows_waits_for_a_share_of_the_epochs_so_far():
    noise = torch.randn(30, 1, generator=torch.Generator().manual_seed(1))
    steps = dict(steps=3000, patience=1, lr=0.02, progress=False)

    def waited(growth):
        net = Ensemble(lambda: MLP(1, [100], 1, activation="tanh"), 10, seed=0)
        losses = fit(net, X[:30], noise, patience_growth=growth, **steps).out_of_bag
        return len(losses) - 1 - int(losses.argmin()), len(losses)

    assert waited(0.0)[0] == 1
    last, epochs = waited(0.9)
    assert 0.9 * (epochs - 1) - 1 < last <= 0.9 * epochs + 1
    assert last > 5


WRONG = {
    "`lr` got shape \\(2,\\); expected a number, or one for each of the 3": dict(lr=[0.1, 0.1]),
    "`lr` got": dict(lr=torch.tensor([0.1, 0.0, 0.1])),
    "`ridge` got": dict(ridge=[0.0, -1.0, 0.0]),
    "`max_gradient_norm` got 0": dict(max_gradient_norm=0),
    "`patience` got 0": dict(patience=0),
    "`patience_growth` got 1": dict(patience=3, patience_growth=1.0),
    "`patience` needs data that members do not train on": dict(patience=3, bootstrap="none"),
    "expected redraw=False": dict(patience=3, redraw=True),
    "`loss` got 'gaussian_nll' for a network that ends with no head": dict(loss="gaussian_nll"),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_use_is_refused(message):
    with pytest.raises(ConfigurationError, match=message):
        fit(Ensemble(plain, 3, seed=0), X, Y, steps=1, progress=False, **WRONG[message])


def test_wrong_weights_and_heads_are_refused():
    net = Ensemble(gaussian, 3, seed=0)
    with pytest.raises(ConfigurationError, match="expected 'gaussian_nll' or 'beta_nll'"):
        fit(net, X, Y, progress=False)
    with pytest.raises(ConfigurationError, match=r"ends with a GaussianHead; expected one .*Quant"):
        fit(net, X, Y, loss="quantile", progress=False)
    with pytest.raises(ShapeError, match=r"expected floating-point \(400, 1\)"):
        fit(net, X, Y[:, 0], loss="gaussian_nll", progress=False)
    with pytest.raises(ConfigurationError, match=r"`noise_std` got a value, .* the GaussianHead"):
        predict(net, X, noise_std=0.1)
    with pytest.raises(ShapeError, match=r"`weight` got shape \(3,\); expected \(400,\)"):
        fit(Ensemble(plain, 3), X, Y, weight=torch.ones(3), progress=False)
    with pytest.raises(DataError, match="`weight` holds negative"):
        fit(Ensemble(plain, 3), X, Y, weight=-torch.ones(400), progress=False)


def test_a_datum_of_great_weight_comes_in_many_steps_with_a_part_of_it():
    n, size = 100, 10
    x = torch.zeros(n, 1)
    y = torch.arange(n, dtype=torch.float32).reshape(-1, 1)
    weight = torch.ones(n)
    weight[17] = 101.0
    steps = []

    def loss(prediction, target):
        steps.append(target[0, :, 0].long())
        return target[..., 0] + 0 * prediction[..., 0]

    settings = dict(loss=loss, bootstrap="none", weight=weight, batch_size=size, progress=False)
    history = fit(Ensemble(lambda: MLP(1, [2], 1), 2), x, y, steps=20, **settings)
    for epoch in (0, 10):
        rows = torch.cat(steps[epoch : epoch + 10]).bincount(minlength=n)
        # Half of all weight is its own: it comes for each two times the mean weight, the others once.
        assert rows[17] == 26
        assert (rows.sum(), rows.min(), rows[:17].max()) == (125, 1, 1)
        assert sum((part == 17).any() for part in steps[epoch : epoch + 10]) >= 8
        # The objective is the one that was asked for.
        sizes = torch.tensor([len(part) for part in steps[epoch : epoch + 10]])
        assert sizes.max() - sizes.min() <= 1
        found = (history.loss[epoch : epoch + 10, 0] * sizes).sum() / sizes.sum()
        torch.testing.assert_close(found, (weight * y[:, 0]).mean())


@pytest.mark.parametrize("weight", [None, torch.linspace(0.5, 1.5, 40)])
def test_of_ordinary_weights_each_datum_comes_once(weight):
    y, steps = torch.arange(40.0).reshape(-1, 1), []

    def loss(prediction, target):
        steps.append(target[0, :, 0].long())
        return (prediction - target)[..., 0]

    settings = dict(loss=loss, bootstrap="none", weight=weight, batch_size=16, progress=False)
    fit(Ensemble(lambda: MLP(1, [2], 1), 2), 0 * y, y, steps=3, **settings)
    assert [len(rows) for rows in steps] == [16, 16, 8]
    assert sorted(torch.cat(steps).tolist()) == list(range(40))


def test_a_parameter_that_the_loss_does_not_see_stays():
    class Spare(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.spare, self.net = torch.nn.Parameter(torch.ones(3)), plain()

        def forward(self, x):
            return self.net(x)

    net = Ensemble(Spare, 2, seed=0)
    without = Ensemble(plain, 2, seed=0, engine="bmm")  # on torch, as the other must be
    without.load_state_dict(net.part("net").state_dict())
    settings = {"steps": 5, "lr": torch.tensor([0.01, 0.02]), "progress": False}
    fit(net, X, Y, **settings)
    fit(without, X, Y, **settings)
    assert torch.equal(net.skeleton.spare, torch.ones(2, 3))
    for own, other in zip(net.part("net").parameters(), without.parameters(), strict=True):
        assert torch.equal(own, other)
