"""Networks written into folders and read again."""

import copy
import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from hunch.errors import ConfigurationError, FolderError, HunchError
from hunch.inference import fit, predict
from hunch.nn import (
    MLP,
    Ensemble,
    Epinet,
    GaussianHead,
    NoisyConv2d,
    RandomFourierPrior,
    RandomizedPrior,
    load,
    noise,
    noisy,
    reset_noise,
    save,
)
from hunch.storage import sealed

X = torch.randn(6, 3)


class Own(nn.Module):
    """A user's module: statistics, a passing buffer, a weight used twice, a number."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.drop = nn.Dropout(0.5)
        self.scale = nn.Parameter(torch.rand(()))
        self.register_buffer("columns", torch.randperm(3)[:2], persistent=False)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("nothing", None)

    def forward(self, x):
        h = self.drop(torch.relu(self.norm(self.first(x))))
        return self.scale * self.second(h)[:, self.columns]


def noisy_net():
    return noisy(nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)))


def convolution():
    return nn.Sequential(nn.Unflatten(1, (1, 1, 3)), NoisyConv2d(1, 2, 1), nn.Flatten())


def prior():
    return RandomizedPrior(MLP(3, [5], 2), MLP(3, [5], 2), scale=0.3)


MEMBERS = {
    "own": Own,
    "prior": prior,
    "fourier": lambda: RandomizedPrior(MLP(3, [5], 2), RandomFourierPrior(3, 2)),
    "function": lambda: RandomizedPrior(MLP(3, [5], 2), lambda x: x[:, :2].sin()),
    "head": lambda: GaussianHead(prior(), MLP(3, [5], 2)),
    "noisy": noisy_net,
    "convolution": convolution,
    "normed": lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))),
}
NETWORKS = MEMBERS | {
    "epinet": lambda: Epinet(MLP(3, [5], 2), index_dim=4),
    "parted noise": lambda: noisy(MEMBERS["own"]()),
}


def inputs_of(net):
    return (X, torch.ones(5, 4)) if isinstance(net, Epinet) else (X,)


def outputs(net):
    with torch.random.fork_rng():
        torch.manual_seed(7)
        asked = copy.deepcopy(net)  # a forward moves statistics
        return [asked(*inputs_of(net)) for _ in range(2)]


def check_equal(saved, loaded):
    """Every tensor, the mode of every part, and what both say."""
    for ours, theirs in ((saved, loaded), (loaded, saved)):
        own, other = dict(ours.named_buffers()), dict(theirs.named_buffers())
        assert own.keys() == other.keys()
        assert all(torch.equal(own[n], other[n]) and own[n].dtype == other[n].dtype for n in own)
    left, right = saved.state_dict(), loaded.state_dict()
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype, name
        assert torch.equal(left[name], right[name]), name
    modes = [[(n, m.training) for n, m in net.named_modules()] for net in (saved, loaded)]
    assert modes[0] == modes[1]
    for a, b in zip(outputs(saved), outputs(loaded), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_any_network_comes_back_to_the_bit(name, mode, tmp_path):
    net = NETWORKS[name]().train(mode)
    net(*inputs_of(net))  # statistics and the like have moved
    save(net, tmp_path / "net")
    check_equal(net, load(tmp_path / "net", NETWORKS[name]))
    given = NETWORKS[name]()
    assert load(tmp_path / "net", given) is given
    check_equal(net, given)


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("name", MEMBERS)
def test_an_ensemble_comes_back_from_its_member_or_its_own_factory(name, mode, tmp_path):
    def build(seed=1):
        return Ensemble(MEMBERS[name], 3, seed=seed, engine="loop", chunk_size=2)

    net = build(seed=0).train(mode)
    net(X)
    save(net, tmp_path / "net")
    member = load(tmp_path / "net", MEMBERS[name])
    assert (member.num_members, member.engine, member.chunk_size) == (3, "loop", 2)
    for loaded in (member, load(tmp_path / "net", build), load(tmp_path / "net", build())):
        check_equal(net, loaded)


def test_a_trained_ensemble_predicts_the_same_and_can_be_trained_on(tmp_path):
    y = X[:, :2].sin()
    net = Ensemble(prior, 3, seed=0)
    fit(net, X, y, steps=20, progress=False)
    save(net, tmp_path)
    loaded = load(tmp_path, prior)
    assert torch.equal(predict(net, X).members, predict(loaded, X).members)
    for each in (net, loaded):
        fit(each, X, y, steps=20, progress=False)
    assert torch.equal(predict(net, X).members, predict(loaded, X).members)
    assert not loaded.get_parameter("prior.0.weight").requires_grad


@pytest.mark.parametrize("members", [None, 3])
def test_held_noise_and_modes_of_noise_come_back(members, tmp_path):
    net = noisy_net() if members is None else Ensemble(noisy_net, members, seed=0)
    noise(net, "held")
    reset_noise(net)
    save(net, tmp_path)
    loaded = load(tmp_path, noisy_net)
    assert torch.equal(loaded(X), net(X))
    assert torch.equal(loaded(X), loaded(X))
    noise(net, "off")
    save(net, tmp_path)
    assert torch.equal(load(tmp_path, noisy_net)(X), net(X))


def test_types_and_random_numbers(tmp_path):
    net = Ensemble(prior, 3, seed=0).double()
    save(net, tmp_path / "double")
    before = torch.get_rng_state()
    check_double = load(tmp_path / "double", prior)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(check_double(X.double()), net(X.double()))
    given = load(tmp_path / "double", Ensemble(prior, 3))  # stays float32
    torch.testing.assert_close(given(X), net(X.double()).float())
    half = Ensemble(prior, 3, seed=0).to(torch.bfloat16)
    save(half, tmp_path / "half")
    assert torch.equal(load(tmp_path / "half", prior)(X.bfloat16()), half(X.bfloat16()))
    assert load(tmp_path / "half", Ensemble(prior, 3))(X).dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_devices(tmp_path):
    net = Ensemble(prior, 3, seed=0).to("cuda")
    save(net, tmp_path)
    assert load(tmp_path, prior)(X).device.type == "cpu"
    filled = load(tmp_path, Ensemble(prior, 3).to("cuda"))
    assert torch.equal(filled(X.cuda()), net(X.cuda()))


def test_the_folder_is_plain_and_an_older_network_is_replaced(tmp_path):
    net = Ensemble(prior, 3, seed=0)
    for network in (Ensemble(prior, 2, seed=1), net):
        save(network, tmp_path / "net")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net"]
    state = load_file(tmp_path / "net" / "network.safetensors")
    assert state.keys() == net.state_dict().keys()
    assert all(torch.equal(state[name], t) for name, t in net.state_dict().items())
    settings = json.loads((tmp_path / "net" / "network.json").read_text())
    assert settings["versions"]["torch"] == torch.__version__
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "notes.tex").write_text("years")
    with pytest.raises(FolderError, match="is not empty and hunch's network did not write it"):
        save(net, tmp_path / "thesis")
    assert (tmp_path / "thesis" / "notes.tex").read_text() == "years"


def plain():
    return MLP(3, [5], 2)


OTHERS = {
    "the network itself is a MLP in the folder and a Linear here": lambda: nn.Linear(3, 2),
    "`1` is a ReLU in the folder and a Tanh here": lambda: MLP(3, [5], 2, activation="tanh"),
    r"`0.weight` is \(5, 3\) in the folder and \(6, 3\) here": lambda: MLP(3, [6], 2),
    "`3` is missing in the folder and a ReLU here": lambda: MLP(3, [5, 5], 2),
    "the number of members is none in the folder and 3 here": lambda: Ensemble(plain, 3),
    "`0` is a Linear in the folder and a NoisyLinear here": lambda: noisy(plain()),
    "`network` got int; expected a network to fill": 3,
    "`network` returned str; expected a function": lambda: "x",
}


@pytest.mark.parametrize("message", OTHERS)
def test_another_network_is_one_sentence_and_stays_as_it_was(message, tmp_path):
    save(plain(), tmp_path)
    given = OTHERS[message]
    with pytest.raises(ConfigurationError, match=message) as caught:
        load(tmp_path, given)
    assert "\n" not in str(caught.value)
    if callable(given) and isinstance(made := given(), nn.Module):
        before = copy.deepcopy(made.state_dict())
        with pytest.raises(ConfigurationError, match=message):
            load(tmp_path, made)
        assert all(torch.equal(t, before[name]) for name, t in made.state_dict().items())


def test_other_ensembles_and_other_noise_are_one_sentence(tmp_path):
    save(Ensemble(prior, 3, seed=0), tmp_path / "net")
    with pytest.raises(ConfigurationError, match=r"the number of members is 3 .* and 4 here"):
        load(tmp_path / "net", Ensemble(prior, 4))
    with pytest.raises(
        ConfigurationError, match=r"is 3 .* and none here; .*, or a function that builds one"
    ):
        load(tmp_path / "net", prior())
    with pytest.raises(ConfigurationError, match=r"`model.0.weight` is \(5, 3\) .* and \(6, 3\)"):
        load(tmp_path / "net", lambda: RandomizedPrior(MLP(3, [6], 2), MLP(3, [5], 2)))
    save(noisy_net(), tmp_path / "noisy")

    def build(**how):
        return noisy(nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)), **how)

    with pytest.raises(ConfigurationError, match=r"'per_sample' of `0` is False .* and True here"):
        load(tmp_path / "noisy", lambda: build(per_sample=True))
    with pytest.raises(
        ConfigurationError, match=r"'noise' of `0` is 'factorized' .* 'independent'"
    ):
        load(tmp_path / "noisy", lambda: build(noise="independent"))


class Stateful(nn.Linear):
    def get_extra_state(self):
        return {"words": "any"}

    def set_extra_state(self, state):
        pass


def test_what_cannot_be_saved_or_read_is_one_sentence(tmp_path):
    with pytest.raises(ConfigurationError, match=r"`_extra_state` .* no dense tensor but dict"):
        save(Stateful(2, 1), tmp_path / "net")
    with pytest.raises(ConfigurationError, match="`network` got dict; expected a module"):
        save({}, tmp_path / "net")
    with pytest.raises(ConfigurationError, match=r"`weight` .* no dense tensor"):
        save(nn.Linear(2, 1, device="meta"), tmp_path / "net")
    assert not (tmp_path / "net").exists()
    with pytest.raises(FolderError, match="there is no folder"):
        load(tmp_path / "net", plain)
    save(plain(), tmp_path / "net")
    with (tmp_path / "net" / "network.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"x")
    with pytest.raises(FolderError, match="is not as hunch wrote it"):
        load(tmp_path / "net", plain)


@pytest.mark.parametrize(
    ("name", "value"),
    [("modules", 3), ("noise", {"0": {}}), ("noise", {"0": {"mode": "loud", "held": 0}}),
     ("training", []), ("ensemble", {"num_members": "x"}), ("ensemble", 5)],
)  # fmt: skip
def test_forged_settings_are_one_sentence(name, value, tmp_path):
    from hunch.storage import checksum

    save(noisy_net(), tmp_path)
    settings = json.loads((tmp_path / "network.json").read_text())
    (tmp_path / "network.json").write_text(json.dumps(settings | {name: value}))
    manifest = json.loads((tmp_path / "hunch.json").read_text())
    manifest["files"]["network.json"] = checksum(tmp_path / "network.json")
    whole = {key: manifest[key] for key in ("written_by", "kind", "files")}
    (tmp_path / "hunch.json").write_text(json.dumps(sealed(whole)))
    with pytest.raises(HunchError) as caught:
        load(tmp_path, noisy_net)
    assert "\n" not in str(caught.value)
