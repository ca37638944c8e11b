"""An optimizer, a schedule, data held out and a callback of one's own in `fit`."""

import itertools

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset

from hunch.errors import ConfigurationError, DataError, HunchError, ShapeError
from hunch.inference import fit, predict
from hunch.kernel import kernel
from hunch.nn import MLP, Ensemble, Epinet, GaussianHead, RandomizedPrior

G = torch.Generator().manual_seed(0)
X = torch.randn(60, 3, generator=G)
Y = torch.sin(2 * X[:, :1]) + 0.3 * torch.randn(60, 1, generator=G)
TRAIN, HELD = (X[:40], Y[:40]), (X[40:], Y[40:])


def prior():
    return RandomizedPrior(MLP(3, [16], 1, activation="tanh"), MLP(3, [16], 1))


def net(build=prior, **how):
    return Ensemble(build, 3, seed=0, **how)


def mse(member, x, y):
    return (member(x) - y).square().sum(1).mean()


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9, nesterov=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.003),
    "schedule alone": None,
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_200_steps_equal_a_loop_of_ones_own_for_each_member(kind):
    ensemble = net().double()
    members = [ensemble.member(k) for k in range(3)]
    optimizer = OPTIMIZERS[kind]
    history = fit(
        ensemble,
        *TRAIN,
        bootstrap="none",
        optimizer=optimizer,
        schedule=lambda o: CosineAnnealingLR(o, T_max=250),
        steps=200,
        ridge=0.2,
        max_gradient_norm=0.5,
        lr=0.001,
        progress=False,
    )
    x, y = (part.double() for part in TRAIN)
    for k, member in enumerate(members):
        own = [p for p in member.parameters() if p.requires_grad]
        moves = (optimizer or (lambda p: torch.optim.Adam(p, lr=0.001)))(own)
        schedule = CosineAnnealingLR(moves, T_max=250)
        losses = []
        for _ in range(200):
            loss = mse(member, x, y) + 0.2 / 40 * sum(p.square().sum() for p in own)
            moves.zero_grad()
            loss.backward()
            norm = torch.cat([p.grad.flatten() for p in own]).norm()  # torch's own adds 1e-6 to it
            for p in own:
                p.grad *= min(1.0, 0.5 / norm)
            moves.step()
            schedule.step()
            losses.append(loss.item())
        torch.testing.assert_close(history.loss[:, k], torch.tensor(losses), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(ensemble(x)[k], member(x), rtol=0, atol=1e-6)


def test_torchs_adam_is_the_one_that_fit_has():
    own, usual = net(engine="bmm"), net(engine="bmm")
    settings = dict(steps=100, bootstrap="none", batch_size=16, progress=False)
    first = fit(own, *TRAIN, optimizer=lambda p: torch.optim.Adam(p, lr=0.01), **settings)
    second = fit(usual, *TRAIN, lr=0.01, **settings)
    torch.testing.assert_close(first.loss, second.loss, rtol=1e-3, atol=1e-5)


def batch_normed():
    return nn.Sequential(nn.Linear(3, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 1))


ENGINES = [
    "loop",
    pytest.param("kernel", marks=pytest.mark.skipif(kernel() is None, reason="no kernel")),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("batch_size", [None, 16])
def test_validation_is_each_members_loss_after_each_epoch(engine, batch_size):
    seen = []
    ensemble = net(engine=engine)

    def look(step, losses):
        if batch_size is None or step % 3 == 0 or step == 10:
            said = predict(ensemble, HELD[0]).members
            seen.append((said - HELD[1]).square().mean((1, 2)))

    settings = dict(steps=10, lr=0.02, batch_size=batch_size, progress=False)
    history = fit(ensemble, *TRAIN, validation=HELD, callback=look, **settings)
    assert history.validation.shape == ((10 if batch_size is None else 4), 3)
    torch.testing.assert_close(history.validation, torch.stack(seen), rtol=1e-4, atol=1e-6)
    plain = net(engine=engine)
    unwatched = fit(plain, *TRAIN, **settings)
    torch.testing.assert_close(unwatched.loss, history.loss, rtol=1e-6, atol=0)
    assert unwatched.validation.numel() == history.out_of_bag.numel() == 0


def test_validation_by_loaders_of_either_kind_is_the_same():
    batches = DataLoader(TensorDataset(*TRAIN), batch_size=16)
    held = DataLoader(TensorDataset(*HELD), batch_size=7)
    found = [
        fit(net(), *data, validation=given, steps=7, batch_size=size, progress=False)
        for data, size in ((TRAIN, 16), ((batches,), None))
        for given in (HELD, held, list(held), [*map(list, held)])
    ]
    for other in found:
        assert other.validation.shape == (3, 3)  # after 3 and 6 steps, and the last
    for first, *others in (found[:4], found[4:]):
        for other in others:
            torch.testing.assert_close(other.validation, first.validation)


@pytest.mark.parametrize("data", ["tensors", "loader"])
@pytest.mark.parametrize("build", [prior, batch_normed])
def test_patience_stops_at_the_least_validation_loss_and_puts_it_back(build, data):
    given = TRAIN if data == "tensors" else ([TRAIN],)
    ensemble, states = net(build), []

    def keep(step, losses):
        states.append({name: t.clone() for name, t in ensemble.state_dict().items()})

    how = dict(steps=2000, lr=0.05, bootstrap="none", progress=False, callback=keep)
    history = fit(ensemble, *given, validation=HELD, patience=20, **how)
    means = history.validation.mean(1)
    best = int(means.argmin())
    assert len(history.loss) == len(means) == best + 21 < 2000
    for name, tensor in ensemble.state_dict().items():
        assert torch.equal(tensor, states[best][name]), name
    loss = (predict(ensemble, HELD[0]).members - HELD[1]).square().mean()
    torch.testing.assert_close(loss, means.min(), rtol=1e-4, atol=1e-6)
    assert ensemble.training


def test_epinets_are_watched_under_the_same_indices():
    torch.manual_seed(0)
    epinet = Epinet(MLP(3, [16], 1))
    epinet.eval()
    how = dict(steps=300, lr=0.05, num_indices=5, progress=False, seed=3)
    history = fit(epinet, *TRAIN, validation=HELD, patience=10, **how)
    assert history.validation.shape[1] == 5
    assert len(history.validation) < 300
    assert epinet.training
    said = predict(epinet, HELD[0], num_members=5, seed=3).members
    best = history.validation[history.validation.mean(1).argmin()]
    torch.testing.assert_close((said - HELD[1]).square().mean((1, 2)), best, rtol=1e-4, atol=1e-6)


def test_validation_has_the_loss_of_the_training():
    held = HELD[0], (HELD[1][:, 0] > 0).long()
    classes = (TRAIN[1][:, 0] > 0).long()
    history = fit(
        net(lambda: MLP(3, [8], 2)),
        TRAIN[0],
        classes,
        loss="cross_entropy",
        validation=held,
        steps=5,
        progress=False,
    )
    assert history.validation.shape == (5, 3)
    spread = net(lambda: GaussianHead(prior(), MLP(3, [8], 1)))
    history = fit(spread, *TRAIN, loss="gaussian_nll", validation=HELD, steps=5, progress=False)
    p = predict(spread, HELD[0])
    expected = -p.member_log_prob(HELD[1]).mean((1, 2)) - torch.tensor(torch.pi * 2).log() / 2
    torch.testing.assert_close(history.validation[-1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("engine", ["bmm", *ENGINES])
def test_a_callback_sees_the_losses_and_ends_the_training(engine):
    seen = []

    def stop(step, losses):
        seen.append(losses.clone())
        return step == 7

    ensemble = net(engine=engine)
    history = fit(ensemble, *TRAIN, steps=30, callback=stop, progress=False)
    assert history.loss.shape == (7, 3)
    assert torch.equal(torch.stack(seen), history.loss)
    seven = net(engine=engine)
    fit(seven, *TRAIN, steps=7, progress=False)
    for own, expected in zip(ensemble.parameters(), seven.parameters(), strict=True):
        torch.testing.assert_close(own, expected)
    below = fit(
        net(engine=engine),
        *TRAIN,
        lr=0.05,
        callback=lambda _, losses: losses.max() < 0.3,
        progress=False,
    )
    assert below.loss[-1].max() < 0.3 <= below.loss[:-1].amax(1).min()


def test_a_callback_is_called_for_the_step_that_patience_ends():
    steps = itertools.count(1)
    history = fit(
        net(), *TRAIN, lr=0.05, validation=HELD, patience=3, progress=False,
        callback=lambda step, losses: step != next(steps),
    )  # fmt: skip
    assert len(history.loss) == next(steps) - 1


WRONG = {
    "`optimizer` got SGD; expected a function of the parameters": dict(
        optimizer=torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    ),
    "`optimizer` got str; expected a function": dict(optimizer="sgd"),
    "`optimizer` returned NoneType; expected a torch.optim.Optimizer": dict(
        optimizer=lambda p: None
    ),
    "`optimizer` returned LBFGS, which asks for losses": dict(optimizer=torch.optim.LBFGS),
    "moves none of the network's parameters": dict(
        optimizer=lambda p: torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    ),
    "`lr` got 0.5 beside an optimizer; expected it there": dict(
        optimizer=torch.optim.AdamW, lr=0.5
    ),
    "`lr` got one number a member beside": dict(optimizer=torch.optim.AdamW, lr=[0.1, 0.2, 0.3]),
    "`schedule` got CosineAnnealingLR; expected a function of the optimizer": dict(
        schedule=CosineAnnealingLR(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1), T_max=5)
    ),
    "`schedule` returned ReduceLROnPlateau, which goes by a loss that no step knows": dict(
        schedule=ReduceLROnPlateau
    ),
    "`validation` got int; expected data, or a loader": dict(validation=3),
    "`validation` got a generator, which can be gone": dict(validation=(b for b in [HELD])),
    "`validation` has 20 rows of x and 19 of y": dict(validation=(HELD[0], HELD[1][1:])),
    r"`validation\[1\]` got shape \(20,\) of torch.float32; expected": dict(
        validation=(HELD[0], HELD[1][:, 0])
    ),
    r"`validation\[0\]` holds NaN": dict(validation=(HELD[0] / 0 * 0, HELD[1])),
    "`validation` gives no batch": dict(validation=[]),
    "batch 1 of validation is a list of 1": dict(validation=[[X]]),
    "`callback` got int; expected a function": dict(callback=3),
    r"`callback` does not take two arguments; expected a function of \(step, losses\)": dict(
        callback=lambda step: None
    ),
    "cannot train with an optimizer or a schedule": dict(
        ensemble=net(engine="kernel"), optimizer=torch.optim.AdamW
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_use_is_one_sentence(message):
    given = dict(ensemble=net(), steps=5, progress=False) | WRONG[message]
    with pytest.raises(HunchError, match=message) as caught:
        fit(given.pop("ensemble"), *TRAIN, **given)
    assert isinstance(caught.value, ConfigurationError | DataError | ShapeError)
    assert "\n" not in str(caught.value)
