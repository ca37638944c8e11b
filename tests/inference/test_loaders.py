"""`fit` and `predict` on batches from a loader."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from hunch.errors import ConfigurationError, DataError, HunchError, ShapeError
from hunch.inference import bootstrap_weights, fit, predict, standard_normals
from hunch.nn import MLP, Ensemble, Epinet, GaussianHead, RandomizedPrior

G = torch.Generator().manual_seed(0)
X = torch.randn(50, 3, generator=G)
Y = torch.sin(X[:, :1])
IDS = torch.randperm(1000, generator=G)[:50]


def prior():
    return RandomizedPrior(MLP(3, [8], 1, activation="tanh"), MLP(3, [8], 1))


def net(build=prior, **how):
    return Ensemble(build, 3, seed=0, **how)


def loader(*tensors, size=16, **how):
    return DataLoader(TensorDataset(*tensors), batch_size=size, **how)


def shuffled(*tensors, seed=0, **how):
    return loader(*tensors, shuffle=True, generator=torch.Generator().manual_seed(seed), **how)


@pytest.mark.parametrize("redraw", [False, True])
def test_200_steps_equal_a_loop_of_ones_own_over_members(redraw):
    """With bootstrap, noise on targets and ridge, each tied to a datum's id in any order."""
    ensemble = net().double()
    members = [ensemble.member(k) for k in range(3)]
    settings = dict(bootstrap="poisson", target_noise=0.3, ridge=0.5, seed=4, redraw=redraw)
    history = fit(ensemble, shuffled(X, Y, IDS), steps=200, lr=0.01, progress=False, **settings)
    optimizers = [torch.optim.Adam(member.model.parameters(), lr=0.01) for member in members]
    batches = shuffled(X, Y, IDS)
    for _ in batches:  # the ridge needs the number of data: one pass goes by
        pass
    losses = []
    for epoch in range(50):
        for x, y, ids in batches:
            weights = bootstrap_weights("poisson", 3, ids, seed=4, epoch=epoch if redraw else 0)
            noise = standard_normals(3, ids, (1,), seed=4)
            row = []
            for k, member in enumerate(members):
                error = (member(x.double()) - y - 0.3 * noise[k]).square().squeeze(1)
                loss = (weights[k] * error).mean()
                loss += 0.5 / 50 * sum(p.square().sum() for p in member.model.parameters())
                optimizers[k].zero_grad()
                loss.backward()
                optimizers[k].step()
                row.append(loss.item())
            losses.append(row)
    torch.testing.assert_close(history.loss, torch.tensor(losses), rtol=1e-6, atol=1e-6)
    for k, member in enumerate(members):
        torch.testing.assert_close(ensemble(X.double())[k], member(X.double()), rtol=0, atol=1e-6)


def test_whole_data_with_ids_are_the_same_in_one_batch():
    whole, batched = net(engine="bmm"), net()
    settings = dict(steps=40, lr=0.02, target_noise=0.2, ridge=1.0, progress=False)
    expected = fit(whole, X, Y, bootstrap="poisson", ids=IDS, **settings)
    found = fit(batched, [(X, Y, IDS)], **settings)  # None is "poisson" where there are ids
    torch.testing.assert_close(found.loss, expected.loss, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(batched(X), whole(X), rtol=1e-5, atol=1e-5)
    plain, without = net(engine="bmm"), net()
    fit(plain, X, Y, bootstrap="none", steps=40, lr=0.02, progress=False)
    fit(without, [(X.numpy(), Y.numpy())], steps=40, lr=0.02, progress=False)
    torch.testing.assert_close(without(X), plain(X), rtol=1e-5, atol=1e-5)


def test_epinets_take_loaders_and_their_noise_is_a_function_of_id_and_index():
    def trained(*data, **how):
        torch.manual_seed(0)
        epinet = Epinet(MLP(3, [8], 1))
        history = fit(epinet, *data, steps=30, target_noise=0.3, progress=False, **how)
        return epinet, history

    whole, expected = trained(X, Y, ids=IDS)
    batched, found = trained([(X, Y, IDS)])
    assert torch.equal(found.loss, expected.loss)
    left, right = predict(batched, loader(X), seed=1), predict(whole, X, seed=1)
    torch.testing.assert_close(left.members, right.members)


def test_at_its_end_a_loader_begins_anew_and_a_small_last_batch_is_a_step():
    seen = []

    class Seen(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(()))

        def forward(self, x):
            if self.training:
                seen.append(x[:, 0].tolist())
            return self.weight * x

    ensemble = Ensemble(Seen, 1, engine="loop")
    x = torch.arange(5.0).unsqueeze(1)
    fit(ensemble, loader(x, x, size=2), steps=7, progress=False)
    assert seen == [[0, 1], [2, 3], [4], [0, 1], [2, 3], [4], [0, 1]]
    seen.clear()
    batches = shuffled(x, x, size=2)
    fit(ensemble, batches, steps=2 * len(batches), progress=False)
    first, second = (list(itertools.chain(*part)) for part in (seen[:3], seen[3:]))
    assert sorted(first) == sorted(second) == [0, 1, 2, 3, 4]
    assert first != second


class Numbered(Dataset):
    """Data that say which they are."""

    def __len__(self):
        return 50

    def __getitem__(self, i):
        return X[i].numpy(), Y[i].numpy(), i


class Stream(IterableDataset):
    def __iter__(self):
        for i in range(50):
            yield X[i], Y[i]


def test_workers_arrays_streams_and_lists_of_batches():
    def trained(batches, **how):
        ensemble = net()
        fit(ensemble, batches, steps=12, progress=False, **how)
        return ensemble(X)

    two = trained(DataLoader(Numbered(), batch_size=16, num_workers=2), bootstrap="poisson")
    one = trained(DataLoader(Numbered(), batch_size=16), bootstrap="poisson")
    assert torch.equal(two, one)
    assert not torch.equal(one, trained(DataLoader(Numbered(), batch_size=16), bootstrap="none"))
    stream = trained(DataLoader(Stream(), batch_size=16))
    assert torch.equal(stream, trained(loader(X, Y)))
    assert torch.equal(stream, trained(list(loader(X, Y))))
    assert torch.equal(stream, trained([(x.double(), y.numpy()) for x, y in loader(X, Y)]))


def test_the_same_order_gives_the_same_bits_and_the_global_generator_is_left_alone():
    def trained(batches):
        ensemble = net()
        fit(ensemble, batches, steps=20, target_noise=0.1, ridge=1.0, progress=False)
        return ensemble(X)

    batches = list(loader(X, Y, IDS))
    before = torch.get_rng_state()
    assert torch.equal(trained(batches), trained(batches))
    assert torch.equal(before, torch.get_rng_state())
    again = [trained(shuffled(X, Y, IDS, seed=seed)) for seed in (0, 0, 1)]
    assert torch.equal(again[0], again[1])
    assert not torch.equal(again[0], again[2])


@pytest.mark.parametrize("build", [prior, lambda: GaussianHead(prior(), MLP(3, [8], 1))])
def test_predict_goes_through_a_loader_in_its_order(build):
    ensemble = net(build)
    expected = predict(ensemble, X)
    for batches in (
        loader(X),
        loader(X, Y, IDS),
        DataLoader(X, batch_size=7, num_workers=1),
        [X[:20], X[20:]],
        (X[:20], X[20:]),
        [(X[:20], Y), (X[20:].numpy(), None)],
    ):
        found = predict(ensemble, batches)
        torch.testing.assert_close(found.members, expected.members)
        torch.testing.assert_close(found.aleatoric, expected.aleatoric)
    noisy = predict(ensemble, loader(X), noise_std=0.3) if build is prior else expected
    assert noisy.std.shape == (50, 1)
    classes = predict(net(lambda: MLP(3, [8], 4)), loader(X), classes=True)
    assert classes.probs.shape == (50, 4)


def test_lists_of_numbers_stay_data():
    ensemble = net()
    rows = X[:4].tolist()
    expected = predict(ensemble, X[:4]).members
    assert torch.equal(predict(ensemble, rows).members, expected)
    fit(ensemble, rows, Y[:4].tolist(), steps=1, progress=False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_batches_go_to_the_networks_device():
    ensemble = net().to("cuda")
    fit(ensemble, shuffled(X, Y, IDS), steps=5, validation=(X, Y), progress=False)
    assert predict(ensemble, loader(X)).members.device.type == "cuda"


NAN = X.clone()
NAN[20, 0] = float("nan")
LOADER = loader(X, Y)
WRONG = {
    "`y` is missing; expected targets beside `x`, or": dict(x=X),
    "`x` got a generator, which can be gone through only once": dict(x=(b for b in LOADER)),
    "`x` got a _SingleProcessDataLoaderIter, which can be gone": dict(x=iter(LOADER)),
    "`x` got a dataset, which gives one datum at a time": dict(x=TensorDataset(X, Y)),
    "`x` got int; expected data, or a loader": dict(x=3),
    "`y` got Tensor beside a loader": dict(x=LOADER, y=Y),
    "`ids` got range with a loader; put them into the batches": dict(x=LOADER, ids=range(50)),
    "`weight` got Tensor with a loader": dict(x=LOADER, weight=torch.ones(50)),
    "`batch_size` got 3 with a loader; batches are the loader's": dict(x=LOADER, batch_size=3),
    "`patience` got 3 with a loader; give `validation` too": dict(x=LOADER, patience=3),
    "`bootstrap` got 'multinomial' with a loader": dict(x=LOADER, bootstrap="multinomial"),
    r"`bootstrap` got 'poisson', which belongs to a datum, .* expected \(x, y, ids\)": dict(
        x=LOADER, bootstrap="poisson"
    ),
    "`target_noise` got 0.5, which belongs to a datum": dict(x=LOADER, target_noise=0.5),
    r"batch 1 of the loader is a list of 1: Tensor; expected \(x, y\)": dict(x=loader(X)),
    "batch 1 of the loader is a dict; expected": dict(x=[{"x": X, "y": Y}]),
    "the loader gives no batch in pass 1": dict(x=[]),
    "the loader gives no batch": dict(x=[], ridge=1.0),
    "`x of batch 2` holds NaN or infinite values in 1 of 16 rows, first in row 4": dict(
        x=loader(NAN, Y)
    ),
    r"`y of a batch` got shape \(16,\)": dict(x=loader(X, Y[:, 0])),
    "`x` has 2 features in its last axis; expected 3": dict(x=loader(X[:, :2], Y)),
    "batch 1 of the loader has 50 rows of `x` and 49 of `y`": dict(x=[(X, Y[:49])]),
    r"batch 1 .* and 50 of `y`, `ids` shape \(3,\)": dict(x=[(X, Y, [1, 2, 3])]),
    "`ids` got float32 of shape": dict(x=[(X, Y, torch.rand(50))]),
    "`engine='kernel'` cannot train with a loader": dict(x=LOADER, ensemble=net(engine="kernel")),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_cannot_be_trained_on_is_one_sentence(message):
    given = dict(ensemble=net(), y=None, steps=5, progress=False) | WRONG[message]
    before = given["ensemble"](X)
    with pytest.raises(HunchError, match=message) as caught:
        fit(given.pop("ensemble"), given.pop("x"), given.pop("y"), **given)
    assert isinstance(caught.value, ConfigurationError | DataError | ShapeError)
    assert "\n" not in str(caught.value)
    assert before.isfinite().all()


def test_what_cannot_be_predicted_on_is_one_sentence():
    ensemble = net()
    with pytest.raises(ConfigurationError, match="which can be gone through only once"):
        predict(ensemble, (x for x in [X]))
    with pytest.raises(ConfigurationError, match="got a dataset, which gives one datum"):
        predict(ensemble, TensorDataset(X))
    with pytest.raises(ConfigurationError, match="`batch_size` got 3 with a loader"):
        predict(ensemble, loader(X), batch_size=3)
    with pytest.raises(DataError, match="batch 2 of the loader is a str; expected the inputs"):
        predict(ensemble, [X, "x"])
    with pytest.raises(DataError, match="batch 1 of the loader is a dict; expected the inputs"):
        predict(ensemble, [{"x": X}])
    with pytest.raises(DataError, match="`x of batch 2` holds NaN"):
        predict(ensemble, loader(NAN))
    with pytest.raises(DataError, match="the loader gives no batch"):
        predict(ensemble, loader(X[:3], size=5, drop_last=True))
    assert np.isfinite(predict(ensemble, loader(X)).mean.numpy()).all()
