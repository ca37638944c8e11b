"""A training that was stopped goes on from its folder, to the same bits."""

import json

import pytest
import torch
from torch import nn

from hunch.errors import ConfigurationError, FolderError
from hunch.inference import fit
from hunch.nn import MLP, Ensemble, Epinet, RandomizedPrior, Ranks, noisy
from hunch.seeding import default_generator_seeded

X = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
Y = X.sin().sum(1, keepdim=True)


class StopError(Exception):
    pass


def plain():
    return RandomizedPrior(MLP(3, [9], 1), prior=MLP(3, [9], 1))


def dropout():
    return nn.Sequential(nn.Linear(3, 9), nn.Dropout(0.3), nn.BatchNorm1d(9), nn.Linear(9, 1))


def ensemble(make=plain, ranks=None, engine="auto", seed=0):
    return Ensemble(make, 6, seed=seed, engine=engine, ranks=ranks)


def epinet():
    with default_generator_seeded(0):
        return Epinet(MLP(3, [9], 1))


def schedule(optimizer):
    kinds = torch.optim.lr_scheduler
    parts = [kinds.LinearLR(optimizer), kinds.MultiStepLR(optimizer, [13, 19])]
    return kinds.SequentialLR(optimizer, parts, [10])


CASES = {
    "kernel": (ensemble, dict(batch_size=16)),
    "redrawn": (ensemble, dict(batch_size=16, redraw=True, target_noise=0.1)),
    "patience": (ensemble, dict(batch_size=16, patience=6, lr=0.1, steps=300)),
    "bmm": (
        lambda **k: ensemble(engine="bmm", **k),
        dict(batch_size=16, patience=6, lr=0.1, steps=300),
    ),
    "validation": (ensemble, dict(batch_size=16, validation=(X, -Y), patience=9, steps=300)),
    "dropout": (lambda **k: ensemble(dropout, **k), {}),
    "noisy": (lambda **k: ensemble(lambda: noisy(MLP(3, [9], 1)), **k), {}),
    "rates": (ensemble, dict(lr=[0.01 * (k + 1) for k in range(6)], ridge=0.1)),
    "schedule": (
        ensemble,
        dict(optimizer=lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9), schedule=schedule),
    ),
    "adamw": (ensemble, dict(optimizer=lambda p: torch.optim.AdamW(p, lr=0.01))),
    "epinet": (lambda **k: epinet(), dict(target_noise=0.1)),
}


def stopped(net, folder, after, **options):
    """Train until an error stops it, as a kill would, but for what a kill leaves aside."""

    def callback(step, losses):
        if step == after:
            raise StopError

    with pytest.raises(StopError):
        fit(net, X, Y, checkpoint=folder, callback=callback, progress=False, **options)


@pytest.mark.parametrize("divided", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_a_stopped_training_goes_on_to_the_same_bits(name, divided, tmp_path):
    make, options = CASES[name]
    options = {"steps": 24, "checkpoint_every": 5, **options}
    given = dict(ranks=Ranks(block=2)) if divided else {}
    if divided and name == "epinet":
        pytest.skip("an epinet has no members to divide")
    whole, again = make(**given), make(**given)
    torch.manual_seed(1)
    expected = fit(whole, X, Y, checkpoint=tmp_path / "whole", progress=False, **options)
    torch.manual_seed(2)  # nothing depends on it
    stopped(make(**given), tmp_path / "part", 22, **options)
    assert [p.name[:17] for p in (tmp_path / "part").iterdir()] == ["step-000000000020"]
    found = fit(again, X, Y, checkpoint=tmp_path / "part", progress=False, **options)
    for key, tensor in whole.state_dict().items():
        assert torch.equal(again.state_dict()[key], tensor), key
    assert torch.equal(found.loss, expected.loss)
    assert torch.equal(found.out_of_bag, expected.out_of_bag)
    assert torch.equal(found.validation, expected.validation)
    if "patience" in options:
        assert 22 < len(found.loss) < 300


def test_without_its_folder_a_training_is_another_one(tmp_path):
    """What the test above would miss if nothing depended on the folder."""
    first, second = ensemble(), ensemble()
    stopped(first, tmp_path / "a", 22, steps=24, checkpoint_every=5)
    state = next((tmp_path / "a").iterdir())
    fit(second, X, Y, steps=20, progress=False)
    assert state.name.startswith("step-000000000020")
    assert torch.equal(first.state_dict()["model.0.weight"], first.get_parameter("model.0.weight"))
    assert not torch.equal(
        first.get_parameter("model.0.weight"), second.get_parameter("model.0.weight")
    )


def test_a_folder_without_chance_changes_nothing_of_a_training(tmp_path):
    nets = [ensemble(), ensemble()]
    for net, folder in zip(nets, [None, tmp_path / "a"], strict=True):
        fit(net, X, Y, steps=20, batch_size=16, checkpoint=folder, progress=False)
    first, second = (net.state_dict() for net in nets)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_an_ended_training_is_not_made_again(tmp_path):
    whole, again = ensemble(), ensemble()
    expected = fit(whole, X, Y, steps=9, checkpoint=tmp_path / "a", progress=False)
    called = []
    found = fit(
        again,
        X,
        Y,
        steps=9,
        checkpoint=tmp_path / "a",
        progress=False,
        callback=lambda *given: called.append(given),
    )
    assert not called
    assert torch.equal(found.loss, expected.loss)
    first, second = whole.state_dict(), again.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(ConfigurationError, match="began with other values"):
        fit(whole, X, Y, steps=9, checkpoint=tmp_path / "a", progress=False)
    with pytest.raises(ConfigurationError, match="`steps` got 5"):
        fit(ensemble(), X, Y, steps=5, checkpoint=tmp_path / "a", progress=False)


def test_more_steps_go_on_where_fewer_ended(tmp_path):
    whole, again = ensemble(), ensemble()
    fit(whole, X, Y, steps=20, progress=False)
    for steps in (9, 20):
        fit(again, X, Y, steps=steps, checkpoint=tmp_path / "a", progress=False)
    assert torch.equal(again.get_parameter("model.0.weight"), whole.get_parameter("model.0.weight"))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (dict(lr=0.5), "lr was 0.001 and is 0.5"),
        (dict(seed=4), "seed was 0 and is 4"),
        (dict(y=-Y), "data was"),
        (dict(bootstrap="poisson", ridge=0.1), "bootstrap was None and is 'poisson', ridge was"),
        (dict(patience=3), "patience was None and is 3"),
    ],
)
def test_another_training_is_refused(other, said, tmp_path):
    fit(ensemble(), X, Y, steps=5, checkpoint=tmp_path / "a", progress=False)
    options = {"y": Y, "steps": 9, **other}
    with pytest.raises(ConfigurationError, match=said):
        fit(ensemble(), X, checkpoint=tmp_path / "a", progress=False, **options)


def test_other_blocks_are_another_training(tmp_path):
    fit(ensemble(), X, Y, steps=5, checkpoint=tmp_path / "a", progress=False)
    net = ensemble(ranks=Ranks(block=2))
    with pytest.raises(ConfigurationError, match="block"):
        fit(net, X, Y, steps=9, checkpoint=tmp_path / "a", progress=False)


def test_damage_is_told(tmp_path):
    fit(ensemble(), X, Y, steps=5, checkpoint=tmp_path / "a", progress=False)
    [kept] = (tmp_path / "a").iterdir()
    state = kept / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-1] + b"x")
    with pytest.raises(FolderError, match="not as hunch wrote it"):
        fit(ensemble(), X, Y, steps=9, checkpoint=tmp_path / "a", progress=False)


def test_ranks_of_another_number_go_on(tmp_path):
    """Folders of two ranks, as one of them reads them: by their members, not by who wrote them."""
    from hunch.storage import new_folder, read_tensors, write_json, write_tensors

    whole, again = (ensemble(ranks=Ranks(block=2)) for _ in range(2))
    fit(whole, X, Y, steps=9, progress=False)
    stopped(ensemble(ranks=Ranks(block=2)), tmp_path / "a", 7, steps=9, checkpoint_every=5)
    [kept] = (tmp_path / "a").iterdir()
    tensors = read_tensors(kept / "state.safetensors")
    values = json.loads((kept / "state.json").read_text())
    for own, blocks in ((range(4), "02"), (range(4, 6), "4")):
        place = tmp_path / "b" / f"step-000000000005.members-{own.start}-{own.stop}"
        with new_folder(place, "fit") as folder:
            mine = {n: t for n, t in tensors.items() if n.partition(".")[0] in blocks}
            write_tensors(folder / "state.safetensors", mine)
            parts = {first: values["parts"][first] for first in blocks}
            write_json(folder / "state.json", values | {"parts": parts})
    # A later step of which members are missing does not count.
    with new_folder(tmp_path / "b" / "step-000000000006.members-0-4", "fit"):
        pass
    found = fit(again, X, Y, steps=9, checkpoint=tmp_path / "b", progress=False)
    assert len(found.loss) == 9
    assert torch.equal(again.get_parameter("model.0.weight"), whole.get_parameter("model.0.weight"))


def test_wrong_use_is_refused(tmp_path):
    net = ensemble()
    with pytest.raises(ConfigurationError, match="without a `checkpoint`"):
        fit(net, X, Y, checkpoint_every=3, progress=False)
    with pytest.raises(ConfigurationError, match="checkpoint_every"):
        fit(net, X, Y, checkpoint=tmp_path, checkpoint_every=0, progress=False)
    place = tmp_path / "file"
    place.write_text("mine")
    with pytest.raises(FolderError, match="file"):
        fit(net, X, Y, checkpoint=place, progress=False)
    assert place.read_text() == "mine"
