import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from hunch.errors import ConfigurationError, DataError, HunchError, ShapeError
from hunch.inference import bootstrap_weights, fit, predict, standard_normals
from hunch.nn import MLP, Ensemble, RandomizedPrior

X = torch.linspace(-1, 1, 20).reshape(-1, 1)
Y = torch.sin(3 * X)


def make():
    return RandomizedPrior(MLP(1, [16], 1, activation="tanh"), MLP(1, [16], 1))


def net(num_members=5, seed=0, build=make):
    return Ensemble(build, num_members=num_members, seed=seed)


def test_all_members_learn_the_data_and_disagree_elsewhere():
    ensemble = net(20)
    history = fit(ensemble, X, Y, steps=800, lr=0.02, bootstrap="none", progress=False)
    assert history.loss.shape == (800, 20)
    assert history.loss[-1].max() < 0.01
    p = predict(ensemble, torch.tensor([[0.0], [4.0]]))
    assert p.std[1] > 20 * p.std[0]


@pytest.mark.parametrize("bootstrap", ["none", "multinomial"])
def test_fit_equals_a_plain_loop_over_members(bootstrap):
    ensemble = net(3)
    members = [ensemble.member(k) for k in range(3)]
    weights = bootstrap_weights(bootstrap, 3, range(20), seed=4)
    noise = standard_normals(3, range(20), (1,), seed=4).float()
    settings = dict(steps=20, lr=0.01, bootstrap=bootstrap, target_noise=0.3, ridge=0.5, seed=4)
    history = fit(ensemble, X, Y, progress=False, **settings)
    for k, member in enumerate(members):
        trainable = list(member.model.parameters())
        optimizer = torch.optim.Adam(trainable, lr=0.01)
        for step in range(20):
            error = (member(X) - Y - 0.3 * noise[k]).square().squeeze(1)
            loss = (weights[k] * error).sum() / 20
            loss = loss + 0.5 / 20 * sum(p.square().sum() for p in trainable)
            torch.testing.assert_close(history.loss[step, k], loss.detach(), rtol=1e-4, atol=1e-6)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        torch.testing.assert_close(ensemble(X)[k], member(X), rtol=1e-3, atol=1e-4)


def test_the_seed_decides_everything_and_the_global_generator_is_left_alone():
    def trained(seed, **settings):
        ensemble = net()
        fit(ensemble, X, Y, steps=15, batch_size=6, seed=seed, progress=False, **settings)
        return ensemble(X)

    before = torch.get_rng_state()
    assert trained(1).equal(trained(1))
    assert not trained(1).equal(trained(2))
    assert not trained(1, redraw=True).equal(trained(1))
    assert torch.equal(before, torch.get_rng_state())


def test_minibatches_visit_each_datum_once_an_epoch():
    seen = []

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(()))

        def forward(self, x):
            if self.training:
                seen.append(x.detach().clone())
            return self.weight * x

    ensemble = Ensemble(Spy, num_members=1, seed=0, engine="loop")
    fit(ensemble, X, X, steps=8, batch_size=6, progress=False)
    assert [len(rows) for rows in seen] == [6, 6, 6, 2] * 2
    for epoch in (seen[:4], seen[4:]):
        assert torch.cat(epoch).sort(dim=0).values.equal(X)
    assert not torch.cat(seen[:4]).equal(torch.cat(seen[4:]))


def test_cross_entropy_and_a_loss_of_ones_own():
    classes = (X[:, 0] > 0).long()
    ensemble = net(4, build=lambda: RandomizedPrior(MLP(1, [8], 2), MLP(1, [8], 2)))
    fit(ensemble, X, classes, loss="cross_entropy", steps=300, lr=0.05, progress=False)
    assert (predict(ensemble, X).members.argmax(-1) == classes).float().mean() > 0.9

    median = net(2)
    history = fit(median, X, Y, loss=lambda p, t: (p - t).abs().sum(-1), steps=5, progress=False)
    assert history.loss.shape == (5, 2)
    with pytest.raises(ShapeError, match=r"`loss` returned shape \(\); expected"):
        fit(median, X, Y, loss=lambda p, t: (p - t).abs().mean(), progress=False)
    one = net(2, build=lambda: nn.Sequential(nn.Linear(1, 1), nn.Flatten(0)))
    fit(one, X, Y[:, 0], loss=nn.HuberLoss(reduction="none"), steps=5, progress=False)


def test_numpy_data_and_double_networks():
    ensemble = net().double()
    fit(ensemble, X.numpy(), Y.numpy(), steps=3, progress=False)
    p = predict(ensemble, X.numpy().astype(np.float64), batch_size=7)
    assert p.members.shape == (5, 20, 1)
    assert p.members.dtype == torch.float64
    torch.testing.assert_close(p.members, ensemble(X.double()).detach())


def test_predict_restores_the_mode_and_keeps_gradients_in_x():
    ensemble = net().train()
    assert not predict(ensemble, X).mean.requires_grad
    assert ensemble.training
    x = X.clone().requires_grad_()
    predict(ensemble, x).std.sum().backward()
    assert x.grad.abs().sum() > 0


def test_callback_sees_every_step_and_stopping_keeps_the_last():
    steps = []

    def stop(step, losses):
        steps.append(step)
        if step == 3:
            raise KeyboardInterrupt

    ensemble = net()
    with pytest.raises(KeyboardInterrupt):
        fit(ensemble, X, Y, steps=10, progress=False, callback=stop)
    assert steps == [1, 2, 3]
    three = net()
    fit(three, X, Y, steps=3, progress=False)
    assert ensemble(X).equal(three(X))


@pytest.mark.parametrize(
    "loss", [nn.CrossEntropyLoss(), nn.CrossEntropyLoss(reduction="none"), nn.MSELoss(), F.mse_loss]
)
def test_torchs_losses_of_one_network_are_refused(loss):
    with pytest.raises(ConfigurationError, match=r"`loss` got torch's .* of one network"):
        fit(net(2), X, Y, loss=loss, steps=1, progress=False)


NAN = torch.cat([X[:19], torch.tensor([[float("nan")]])])

WRONG = {
    "`x` holds NaN or infinite values in 1 of 20 rows, first in row 19": dict(x=NAN),
    "`y` holds NaN or infinite": dict(y=NAN),
    "`x` has 20 rows and `y` has 19": dict(y=Y[:19]),
    r"`x` got shape \(0, 1\); expected at least one row": dict(x=X[:0]),
    "`x` has 3 features in its last axis; expected 1": dict(x=X.expand(20, 3)),
    r"`y` got shape \(20,\) of torch.float32; expected floating-point \(20, 1\)": dict(y=Y[:, 0]),
    "`loss` got 'mae'": dict(loss="mae"),
    "`bootstrap` got 'rows'": dict(bootstrap="rows"),
    "`ridge` got -1": dict(ridge=-1),
    "`target_noise` got nan": dict(target_noise=float("nan")),
    "`steps` got -5": dict(steps=-5),
    "`lr` got 0": dict(lr=0),
    "`batch_size` got 0": dict(batch_size=0),
    "`seed` got -1": dict(seed=-1),
    "`ids` has 3 entries; expected 20": dict(ids=[1, 2, 3]),
    "`ensemble` got MLP": dict(ensemble=MLP(1, [2], 1)),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_use_is_refused(message):
    given = dict(ensemble=net(2), x=X, y=Y, steps=1, progress=False) | WRONG[message]
    before = given["ensemble"](X)
    with pytest.raises(HunchError, match=message) as caught:
        fit(given.pop("ensemble"), given.pop("x"), given.pop("y"), **given)
    assert isinstance(caught.value, ConfigurationError | DataError | ShapeError)
    assert "\n" not in str(caught.value)
    assert before.isfinite().all()


def test_wrong_classes_and_networks_without_checks_of_their_own():
    plain = net(2, build=lambda: nn.Linear(1, 2))
    with pytest.raises(ShapeError, match="which the network cannot take"):
        fit(plain, X.expand(20, 3), X, progress=False)
    with pytest.raises(ShapeError, match=r"of torch.int64; .* or loss='cross_entropy' for class"):
        fit(plain, X, torch.arange(20) % 2, progress=False)
    with pytest.raises(DataError, match="holds classes from 0 to 2; expected 0 to 1"):
        fit(plain, X, torch.arange(20) % 3, loss="cross_entropy", progress=False)
    with pytest.raises(ShapeError, match="expected class numbers"):
        fit(plain, X, X, loss="cross_entropy", progress=False)
    with pytest.raises(ShapeError, match="`x` got shape"):
        predict(plain, X.expand(20, 3))
    with pytest.raises(ConfigurationError, match="no trainable parameter"):
        fit(net(2).requires_grad_(False), X, Y, progress=False)
    with pytest.raises(ConfigurationError, match="expected a hunch"):
        predict(MLP(1, [2], 1), X)
    with pytest.raises(ConfigurationError, match="with class numbers as targets"):
        fit(plain, X, torch.zeros(20).long(), loss="cross_entropy", target_noise=1, progress=False)


@pytest.mark.parametrize(
    "kind", [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16]
)
@pytest.mark.parametrize("way", ["compiled", "watched", "loaded"])
def test_class_numbers_may_be_of_any_integer_type(kind, way):
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()

    def losses(y):
        ensemble = Ensemble(lambda: MLP(3, [4], 2), num_members=2, seed=0)
        settings = {"loss": "cross_entropy", "steps": 5, "progress": False}
        if way == "loaded":
            loader = DataLoader(TensorDataset(x, y), batch_size=20)
            return fit(ensemble, loader, **settings).loss
        more = {"validation": (x, y)} if way == "watched" else {}
        return fit(ensemble, x, y, **settings, **more).loss

    assert torch.equal(losses(y.to(kind)), losses(y))


@pytest.mark.parametrize("y", [torch.zeros(40, dtype=torch.complex64), torch.zeros(40)])
def test_class_numbers_of_no_integer_type_are_refused(y):
    ensemble = Ensemble(lambda: MLP(3, [4], 2), num_members=2, seed=0)
    with pytest.raises(ShapeError, match="class numbers"):
        fit(ensemble, torch.randn(40, 3), y, loss="cross_entropy", steps=1, progress=False)


def test_a_loss_of_ones_own_that_forgets_the_classes_is_told_where_they_are():
    ensemble = Ensemble(lambda: MLP(3, [4], 2), num_members=2, seed=0)
    x, y = torch.randn(40, 3), torch.zeros(40, dtype=torch.int64)

    def forgetful(prediction, target):
        return F.cross_entropy(prediction, target, reduction="none")

    says = r"predictions \(2, 40, 2\) and targets \(2, 40\) .*with outputs or classes last"
    for loss in (forgetful, lambda p, t: (p - t).square()):
        with pytest.raises(ShapeError, match=says):
            fit(ensemble, x, y, loss=loss, steps=1, progress=False)
