"""An epinet trained by `fit` and asked by `predict`, its indices as members."""

import pytest
import torch

from hunch.errors import ConfigurationError, ShapeError
from hunch.inference import fit, predict, standard_normals
from hunch.nn import MLP, Ensemble, Epinet
from hunch.seeding import default_generator_seeded, torch_generator

X = torch.linspace(-1, 1, 20).reshape(-1, 1)
Y = torch.sin(3 * X)


def epinet(seed=0, index_dim=8, inputs=1, outputs=1, **settings):
    with default_generator_seeded(seed, "epinet"):
        base = MLP(inputs, [30], outputs, activation="tanh")
        return Epinet(base, index_dim=index_dim, hidden_sizes=(30,), **settings)


def test_all_members_learn_the_data_and_disagree_elsewhere():
    net = epinet()
    history = fit(net, X, Y, steps=1500, lr=0.01, progress=False)
    assert history.loss.shape == (1500, 16)
    assert history.loss[-10:].mean() < 0.03
    p = predict(net, torch.tensor([[0.0], [6.0]]), noise_std=0.1)
    assert p.members.shape == (100, 2, 1)
    assert p.epistemic[1] > 10 * p.epistemic[0]
    assert (p.aleatoric == 0.1).all()


def test_fit_is_a_plain_loop_with_indices_as_inputs():
    settings = dict(ridge=0.5, target_noise=0.3, max_gradient_norm=0.2, seed=4)
    net, other = epinet(), epinet()
    weight = torch.linspace(0, 2, 20)
    history = fit(
        net, X, Y, steps=20, lr=0.01, num_indices=5, weight=weight, progress=False, **settings
    )
    directions = standard_normals(8, range(20), (1,), seed=4)
    directions = (directions / directions.square().sum(0).sqrt()).float()
    generator = torch_generator(4, "epinet indices", "training")
    other.draw_indices(5, generator)  # those it is built with
    trainable = [p for p in other.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trainable, lr=0.01)
    for step in range(20):
        z = other.draw_indices(5, generator)
        targets = Y + 0.3 * torch.einsum("kd,dno->kno", z, directions)
        error = (other(X, z) - targets).square().squeeze(-1)
        loss = (weight * error).mean(1)
        loss = loss + 0.5 / 20 * sum(p.square().sum() for p in trainable)
        torch.testing.assert_close(history.loss[step], loss.detach(), rtol=1e-4, atol=1e-6)
        optimizer.zero_grad()
        loss.mean().backward()
        torch.nn.utils.clip_grad_norm_(trainable, 0.2)
        optimizer.step()
    torch.testing.assert_close(net.mean(X), other.mean(X), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("n", [4, pytest.param(16, marks=pytest.mark.slow)])
def test_noise_on_the_targets_makes_the_spread_that_of_a_mean(n):
    # Data at one point, and no prior: the least squares under z are ȳ + σ (mean of c)ᵀ z, whose
    # standard deviation is the length of the mean direction, σ/√n on average over directions.
    x, y = torch.zeros(n, 1), torch.randn(n, 1, generator=torch.Generator().manual_seed(0))
    net = epinet(prior_scale=0.0)
    fit(net, x, y, target_noise=2.0, steps=3000, lr=3e-3, num_indices=64, progress=False)
    directions = standard_normals(8, range(n), (1,), seed=0)
    mean = (directions / directions.norm(dim=0)).mean(1).flatten()
    p = predict(net, x[:1], num_members=4000)
    # 4000 members give a standard deviation within 1.1 %.
    torch.testing.assert_close(p.std.item(), 2.0 * mean.norm().item(), rtol=0.08, atol=0)
    assert abs(p.mean.item() - y.mean().item()) < 0.1


def test_noise_has_the_same_variance_for_every_datum_and_output():
    from hunch.inference.indices import IndexedData, IndexedMembers

    members = IndexedMembers(epinet(index_dim=3, outputs=2), 50_000, seed=0, purpose="training")
    data = IndexedData(members, torch.zeros(5, 2), range(5), 0.7, seed=1)
    _, targets = data.batch(0, None)
    # Ten standard deviations of relative error 0.3 %: fails once in 10^5 seeds at 1.5 %.
    torch.testing.assert_close(targets.std(0), torch.full((5, 2), 0.7), rtol=0.015, atol=0)
    _, some = data.batch(0, torch.tensor([4, 1]))
    assert some.shape == (50_000, 2, 2)
    assert some.var(0).allclose(torch.full((2, 2), 0.49), rtol=0.03)


def test_classes_are_learned_and_split_into_their_parts():
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    net = epinet(inputs=2, outputs=2, prior_scale=2.0)
    fit(net, x, y, loss="cross_entropy", steps=500, lr=0.01, batch_size=20, progress=False)
    c = predict(net, x, classes=True, batch_size=7)
    assert (c.probs.argmax(1) == y).float().mean() > 0.9
    torch.testing.assert_close(c.entropy, c.aleatoric + c.epistemic)


def test_seeds_decide_everything_and_the_global_generator_is_left_alone():
    def trained(seed):
        net = epinet()
        fit(net, X, Y, steps=10, batch_size=6, target_noise=0.1, seed=seed, progress=False)
        return net

    before = torch.get_rng_state()
    one, two, other = trained(1), trained(1), trained(2)
    assert predict(one, X).members.equal(predict(two, X).members)
    assert not predict(one, X).members.equal(predict(other, X).members)
    assert not predict(one, X).members.equal(predict(one, X, seed=1).members)
    # The same functions wherever they are asked, and the first of more.
    assert predict(one, X[3:5]).members.allclose(predict(one, X).members[:, 3:5], atol=1e-6)
    assert torch.equal(before, torch.get_rng_state())


def test_modes_are_left_as_they_were_and_inputs_get_their_gradient():
    net = epinet().eval()
    x = X.clone().requires_grad_()
    predict(net, x, num_members=3).mean.sum().backward()
    assert x.grad.abs().max() > 0
    assert not net.training
    net.train()
    predict(net, X)
    assert net.training
    assert not net.prior.training


WRONG = {
    "`bootstrap` got 'poisson' for an epinet": dict(bootstrap="poisson"),
    "`redraw` got True for an epinet": dict(redraw=True),
    "`patience` got 3 for an epinet": dict(patience=3),
    "`lr` got list for an epinet; expected one number": dict(lr=[0.1, 0.2]),
    "`ridge` got Tensor for an epinet": dict(ridge=torch.ones(2)),
    "`num_indices` got 0; expected at least 1": dict(num_indices=0),
    "`loss` got 'gaussian_nll' for a network that ends with no head": dict(loss="gaussian_nll"),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_use_is_refused(message):
    with pytest.raises(ConfigurationError, match=message):
        fit(epinet(), X, Y, steps=1, progress=False, **WRONG[message])


def test_what_is_of_one_kind_is_refused_for_the_other():
    net = Ensemble(lambda: MLP(1, [5], 1), 3, seed=0)
    with pytest.raises(ConfigurationError, match="`num_indices` got 4 for an ensemble"):
        fit(net, X, Y, num_indices=4, progress=False)
    with pytest.raises(ConfigurationError, match="`num_members` got 4 for an ensemble of 3"):
        predict(net, X, num_members=4)
    with pytest.raises(ConfigurationError, match="`num_members` got 0; expected at least 1"):
        predict(epinet(), X, num_members=0)
    with pytest.raises(ConfigurationError, match=r"got MLP; .* or a hunch\.nn\.Epinet"):
        predict(MLP(1, [5], 1), X)
    with pytest.raises(ShapeError, match="which the network cannot take"):
        predict(epinet(), torch.zeros(3, 7))
    with pytest.raises(ConfigurationError, match=r"`target_noise` got 0\.1 with class numbers"):
        fit(
            epinet(outputs=2),
            X,
            torch.zeros(20, dtype=torch.long),
            loss="cross_entropy",
            target_noise=0.1,
            progress=False,
        )
