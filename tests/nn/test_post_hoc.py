"""Doubt on a frozen network: the network stays what it is, and members are a Gaussian process."""

import copy
import math

import pytest
import torch
from torch import nn

from hunch.errors import ConfigurationError, DataError, HunchWarning, ShapeError
from hunch.inference import PredictiveModule, fit, predict
from hunch.nn import Ensemble, PostHocEpinet, load, save
from hunch.nn.post_hoc import _NOISE

G = torch.Generator().manual_seed(0)
X = torch.randn(80, 3, generator=G)
IMAGES = torch.randn(40, 1, 8, 8, generator=G)


class Perceptron(nn.Module):
    """What a user writes: no Sequential, activations as functions."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.out = nn.Linear(3, 12), nn.Linear(12, 9), nn.Linear(9, 2)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.out(self.drop(torch.relu(self.fc2(torch.relu(self.fc1(x))))))


class Odd(nn.Module):
    """A layer that gives a tuple, one that is run twice, one that is not run."""

    def __init__(self):
        super().__init__()
        self.lstm, self.twice = nn.LSTM(3, 5, batch_first=True), nn.Linear(5, 5)
        self.idle, self.out = nn.Linear(5, 5), nn.Linear(5, 2)

    def forward(self, x):
        h = self.lstm(x.unsqueeze(1))[0][:, 0]
        return self.out(self.twice(self.twice(h)))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(20, 8), nn.Embedding(12, 8)
        block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.blocks, self.out = nn.TransformerEncoder(block, 1), nn.Linear(8, 3)

    def forward(self, t):
        return self.out(self.blocks(self.words(t) + self.places(torch.arange(t.shape[1]))).mean(1))


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def convolutional():
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
    return nn.Sequential(*layers)


TOKENS = torch.randint(20, (40, 12), generator=G)
NETWORKS = {
    "perceptron": (Perceptron, X),
    "convolutions": (convolutional, IMAGES),
    "transformer": (Tokens, TOKENS),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_stays_what_it_is_to_the_bit(name):
    make, x = NETWORKS[name]
    net = seeded(make).train()
    state = copy.deepcopy(net.state_dict())
    with torch.no_grad():
        before = copy.deepcopy(net).eval()(x)
    doubt = PostHocEpinet(net, x)
    predict(doubt, x, classes=True, num_members=5)
    doubt.train()
    with torch.no_grad():
        assert torch.equal(doubt.mean(x), before)
    assert net.training
    assert all(part.training for part in net.modules())
    assert not any(part.training for part in doubt.network.modules())
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert not any(p.requires_grad for p in doubt.parameters())


def test_no_hook_is_left_anywhere_even_when_a_call_fails():
    net = seeded(Perceptron)
    doubt = PostHocEpinet(net, X, layer="fc2")
    copied = copy.deepcopy(doubt)
    with pytest.raises(ShapeError, match=r"got shape \(4, 7\), which the network cannot take"):
        doubt.novelty(torch.zeros(4, 7))
    for module in (net, doubt, copied):
        assert not any(part._forward_hooks for part in module.modules())
    assert torch.equal(copied.novelty(X), doubt.novelty(X))
    other = PostHocEpinet(seeded(Perceptron), X[:9], layer="fc2", seed=5)
    other.load_state_dict(doubt.state_dict())
    assert torch.equal(other.novelty(X), doubt.novelty(X))


def test_the_copy_does_not_follow_the_network():
    net = seeded(Perceptron).eval()
    doubt = PostHocEpinet(net, X)
    before = doubt.mean(X)
    with torch.no_grad():
        net.out.weight.zero_()
    assert torch.equal(doubt.mean(X), before)


def test_novelty_is_the_posterior_variance_of_a_process_that_saw_zeros():
    doubt = PostHocEpinet(seeded(Perceptron), X, layer=["fc1", "fc2"])
    new = 2 * torch.randn(10, 3, generator=torch.Generator().manual_seed(1))

    def cosines(x):
        _, features = doubt.network(x)
        return doubt._cosines(doubt._joined(features)).double()

    # Rasmussen & Williams, eq. 2.12, with the kernel of the cosines: the dual of what is computed.
    own, other = cosines(X), cosines(new)
    gram = own @ own.mT + _NOISE * torch.eye(len(X))
    cross = own @ other.mT
    variance = other.square().sum(1) - (cross * torch.linalg.solve(gram, cross)).sum(0)
    torch.testing.assert_close(doubt.novelty(new).double(), variance, rtol=1e-3, atol=1e-4)


def test_members_have_the_process_mean_and_covariance():
    doubt = PostHocEpinet(seeded(Perceptron), X, layer="fc1", prior_scale=2.0)
    x = torch.cat([X[:2], 3 * X[2:4]])
    p = predict(doubt, x, num_members=4000)
    v, known, own = doubt.novelty(x), doubt.mean(x), doubt.mean(X)
    share = (v / doubt.ceiling).clamp(max=1)
    whole = v * (1 + (1 / doubt.ceiling - 1) * share)  # of the prior's variance, far away all
    beyond = (known - own.mean(0)).abs() - (own - own.mean(0)).abs().amax(0)
    std = whole.sqrt().unsqueeze(1) * (2 * own.std(0) + beyond.clamp_min(0))
    # 4000 members: six standard errors, once in 10^9 for each of eight numbers.
    assert ((p.mean - known).abs() < 6 * std / math.sqrt(4000)).all()
    torch.testing.assert_close(p.epistemic, std, rtol=6 / math.sqrt(8000), atol=0)
    left = doubt._left(doubt.network(x)[1])
    joint = left @ left.mT
    correlation = (joint / torch.outer(v.sqrt(), v.sqrt()))[2, 3]
    deviations = (p.members - p.mean)[:, 2:4, 0]
    found = torch.corrcoef(deviations.mT)[0, 1]
    assert abs(found - correlation) < 6 / math.sqrt(4000)


def test_it_is_sure_at_the_data_and_not_elsewhere():
    doubt = PostHocEpinet(seeded(Perceptron), X)
    assert doubt.novelty(X).mean() < 0.2
    assert doubt.novelty(X + 20).min() > 0.9
    assert doubt.novelty(torch.full((2, 3), 1e6)).max() <= 1.0


def sure(make, x):
    """A network that has learned three classes by heart, where `make` leaves it as it was."""
    net, y = seeded(make), torch.arange(len(x)) % 3
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(300):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net.eval()


def plain():
    return nn.Sequential(
        nn.Linear(3, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 3)
    )


SURE = {"perceptron": (plain, X), "convolutions": (convolutional, IMAGES)}
SIZES = {
    "times 4": lambda x: 4 * x,
    "times 16": lambda x: 16 * x,
    "times 255": lambda x: 255 * x,
    "times 1e6": lambda x: 1e6 * x,
    "plus 1000": lambda x: x + 1000,
    "all 1000": lambda x: torch.full_like(x, 1000.0),
}


@pytest.mark.parametrize("name", SURE)
def test_inputs_of_another_size_are_doubted_whatever_the_network_claims(name):
    make, x = SURE[name]
    net = sure(make, x)
    doubt = PostHocEpinet(net, x)
    usual, edge = predict(doubt, x, classes=True), x.flatten(1).norm(dim=1).max()
    assert usual.epistemic.median() < 0.2 * math.log(3)
    for size, of in SIZES.items():
        new = of(x)
        assert net(new).softmax(1).amax(1).median() > 0.95, size
        p = predict(doubt, new, classes=True)
        assert p.logits.isfinite().all()
        assert p.epistemic.median() > 0.7 * math.log(3), size
        assert p.probs.amax(1).median() < 0.6, size
        outside = new.flatten(1).norm(dim=1) > 2 * edge  # as not all are, four times a small one
        assert p.epistemic[outside].min() > 0.4 * math.log(3), size
        module = PredictiveModule(doubt, classes=True)
        torch.testing.assert_close(module(new)[1], p.epistemic, rtol=0, atol=1e-4)


def test_logits_fade_with_novelty_and_keep_their_order():
    doubt = PostHocEpinet(sure(plain, X), X)
    x = torch.cat([X, 1.5 * X, 1000 * X])
    share = (doubt.novelty(x) / doubt.ceiling).clamp(max=1)
    # Under an index of zeros members are their mean.
    z = torch.zeros(doubt.index_dim)
    logits, said = doubt(x, z, classes=True), doubt.mean(x)
    assert share.max() == 1
    torch.testing.assert_close(logits, (1 - share.square()).clamp_min(1e-3).unsqueeze(1) * said)
    assert torch.equal(logits.argmax(1), said.argmax(1))
    torch.testing.assert_close(doubt(x, z), said)


def test_logits_share_what_is_beyond_the_data_and_numbers_have_their_own():
    doubt = PostHocEpinet(sure(plain, X), X)
    x, own = 255 * X[:9], doubt.mean(X)
    beyond = (doubt.mean(x) - own.mean(0)).abs() - (own - own.mean(0)).abs().amax(0)
    beyond = beyond.clamp_min(0)
    z = (
        doubt.draw_indices(1, G).reshape(-1, 3)[:, :1].expand(-1, 3).reshape(-1)
    )  # one for all outputs
    for classes, scale in ((True, beyond.amax(1, keepdim=True)), (False, beyond)):
        said = doubt(x, z, classes=classes) - doubt(x, torch.zeros_like(z), classes=classes)
        drawn = said / (own.std(0) + scale)
        torch.testing.assert_close(drawn, drawn[:, :1].expand(-1, 3), rtol=1e-3, atol=1e-4)


def test_what_is_far_from_all_data_has_the_ceiling():
    few = PostHocEpinet(seeded(Perceptron), X)
    many = PostHocEpinet(
        seeded(Perceptron), torch.randn(3000, 3, generator=torch.Generator().manual_seed(2))
    )
    for doubt in (few, many):
        far = doubt.novelty(1e4 * X[:60]).mean()
        torch.testing.assert_close(far, doubt.ceiling, rtol=0.05, atol=0)
    assert many.ceiling < few.ceiling - 0.1
    many.reach.fill_(math.inf)  # leaves the prior alone, whose whole variance members have there
    variance = predict(many, 1e4 * X[:60]).epistemic.square().mean(0)
    torch.testing.assert_close(variance, many.scale.square(), rtol=0.1, atol=0)


def test_numbers_do_not_fade_and_their_doubt_grows_with_what_was_never_said():
    class Warm(nn.Module):  # outputs of 300, give or take
        def __init__(self):
            super().__init__()
            self.body = seeded(plain)

        def forward(self, x):
            return 300 + self.body(x)

    doubt = PostHocEpinet(Warm(), X)
    own = doubt.mean(X)
    p = predict(doubt, X)
    assert ((p.mean - own).abs() < 6 * p.epistemic / 10 + 1e-3).all()
    for size in (16, 255, 1e6):
        p = predict(doubt, size * X)
        assert p.members.isfinite().all()
        assert (p.epistemic > 0.7 * own.std(0)).all()
        moved = (doubt.mean(size * X) - own.mean(0)).abs()
        far = moved > 10 * own.std(0)
        assert far.any()
        assert (p.epistemic > 0.5 * moved)[far].all()


def test_outputs_that_are_the_same_everywhere_stay_numbers():
    net = nn.Sequential(nn.Linear(3, 9), nn.ReLU(), nn.Linear(9, 3))
    nn.init.zeros_(net[2].weight)
    doubt = PostHocEpinet(net, X)
    p = predict(doubt, 255 * X, classes=True)
    assert p.logits.isfinite().all()


def test_layers_of_their_own_kind_are_averaged_over_pixels_and_tokens():
    images = PostHocEpinet(seeded(convolutional), IMAGES)
    assert images.network.layers == ("0", "1", "4")
    _, (convolved, normed, out) = images.network(IMAGES)
    assert convolved.shape == normed.shape == (40, 4)
    assert torch.equal(out, images.mean(IMAGES))
    net = images.network.model
    torch.testing.assert_close(convolved, net[0](IMAGES).mean((2, 3)))
    words = PostHocEpinet(seeded(Tokens), TOKENS)
    # Places are the same for every batch, and attention's linear layer is never called.
    assert "places" not in words.network.layers
    assert not any("out_proj" in name for name in words.network.layers)
    torch.testing.assert_close(
        words.network(TOKENS)[1][0], words.network.model.words(TOKENS).mean(1)
    )
    assert words.novelty(TOKENS[:, :5]).shape == (40,)


def test_wide_layers_are_projected():
    net = seeded(lambda: nn.Sequential(nn.Linear(3, 400), nn.Tanh(), nn.Linear(400, 2)))
    doubt = PostHocEpinet(net, X, layer="0")
    assert doubt.frequencies.shape[1] == 256
    assert doubt.novelty(X + 20).mean() > 3 * doubt.novelty(X).mean()


def test_a_seed_decides_and_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    net = seeded(Perceptron)
    one, two, other = (PostHocEpinet(net, X, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.novelty(X), two.novelty(X))
    assert torch.equal(one.novelty(X), PostHocEpinet(net, X.double().numpy(), seed=1).novelty(X))
    assert not torch.equal(one.novelty(X), other.novelty(X))
    assert predict(one, X).members.equal(predict(two, X).members)
    in_parts = PostHocEpinet(net, X, seed=1, batch_size=7)
    torch.testing.assert_close(in_parts.novelty(X), one.novelty(X), rtol=1e-3, atol=1e-5)
    assert torch.equal(before, torch.get_rng_state())


def test_inputs_get_their_gradient_and_double_precision_is_kept():
    doubt = PostHocEpinet(seeded(Perceptron).double(), X.double())
    x = (X[:3].double() + 2).requires_grad_()
    doubt.novelty(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().min() > 0
    assert predict(doubt, X.double()).members.dtype == torch.float64


def test_it_is_exported_with_a_dynamic_batch():
    doubt = PostHocEpinet(seeded(Perceptron), X)
    c = predict(doubt, X[:9], classes=True, num_members=20)
    module = PredictiveModule(doubt, classes=True, num_members=20)
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(module, (X[:3],), dynamic_shapes=shapes).module()
    torch.testing.assert_close(program(X[:9]), (c.probs, c.epistemic), rtol=0, atol=1e-5)


WRONG = {
    "`layer` got 'fc3'; expected a name of .*, such as 'fc2', 'fc1'": (Perceptron, "fc3"),
    "`layer` 'twice' runs 2 times": (Odd, "twice"),
    "`layer` 'idle' runs 0 times": (Odd, "idle"),
}


@pytest.mark.parametrize("message", WRONG)
def test_a_layer_that_cannot_serve_is_named(message):
    make, layer = WRONG[message]
    with pytest.raises(ConfigurationError, match=message):
        PostHocEpinet(seeded(make), X, layer=layer)


def test_what_else_is_refused():
    with pytest.raises(ShapeError, match="`layer` 'lstm' gives a tuple; expected one tensor"):
        PostHocEpinet(seeded(Odd), X, layer="lstm")
    with pytest.raises(ShapeError, match=r"the network returns a tensor of shape \(80, 3, 2\)"):
        PostHocEpinet(seeded(lambda: nn.Linear(1, 2)), X.unsqueeze(-1))
    with pytest.raises(ConfigurationError, match="`model` got function; expected a module"):
        PostHocEpinet(seeded, X)
    with pytest.raises(ConfigurationError, match="`layer` got None for a network without a layer"):
        PostHocEpinet(nn.Tanh(), X)
    with pytest.raises(ConfigurationError, match="gives the same features in most rows"):
        PostHocEpinet(seeded(Perceptron), torch.zeros(9, 3))
    with pytest.raises(DataError, match="expected at least two rows"):
        PostHocEpinet(seeded(Perceptron), X[:1])
    with pytest.raises(DataError, match="`x` holds NaN or infinite values"):
        PostHocEpinet(seeded(Perceptron), torch.full((4, 3), math.nan), layer="fc1")
    doubt = PostHocEpinet(seeded(Perceptron), X)
    with pytest.raises(ShapeError, match=r"`z` got shape \(3,\)"):
        doubt(X, torch.zeros(3))
    with pytest.raises(ConfigurationError, match="has no trainable parameter"):
        fit(doubt, X, X[:, :2], progress=False)


def test_layers_without_a_name_leave_out_what_cannot_serve():
    assert PostHocEpinet(seeded(Odd), X).network.layers == ("out",)


def test_novelty_refuses_what_predict_refuses():
    doubt = PostHocEpinet(seeded(convolutional), IMAGES)
    gone = IMAGES.clone()
    gone[3, 0, 0, 0] = math.nan
    for ask in (doubt.novelty, lambda x: predict(doubt, x)):
        with pytest.raises(DataError, match="`x` holds NaN or infinite values in 1 of 40 rows"):
            ask(gone)
        with pytest.raises(ShapeError, match=r"`x` got shape \(40, 8\), which the network cannot"):
            ask(IMAGES[:, 0, 0])
        with pytest.raises(DataError, match="expected at least one row"):
            ask(IMAGES[:0])


def test_a_loader_or_an_array_is_as_good_as_all_rows():
    net = seeded(convolutional)
    doubt = PostHocEpinet(net, IMAGES)
    pairs = [(rows, torch.zeros(len(rows))) for rows in IMAGES.split(16)]
    for x in (pairs, torch.utils.data.DataLoader(IMAGES, batch_size=16), IMAGES.numpy()):
        assert torch.equal(PostHocEpinet(net, x).novelty(IMAGES), doubt.novelty(IMAGES))
        torch.testing.assert_close(doubt.novelty(x), doubt.novelty(IMAGES))
    shuffled = torch.utils.data.DataLoader(IMAGES, batch_size=16, shuffle=True)
    PostHocEpinet(net, shuffled)  # here the order means nothing
    with pytest.warns(HunchWarning, match="`x` got a loader that shuffles"):
        doubt.novelty(shuffled)
    with pytest.raises(ConfigurationError, match="`x` got a dataset"):
        doubt.novelty(torch.utils.data.TensorDataset(IMAGES))


def test_novelty_is_exported_beside_the_prediction():
    doubt = PostHocEpinet(seeded(convolutional), IMAGES)
    module = PredictiveModule(doubt, classes=True, novelty=True, num_members=5)
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(module, (IMAGES[:3],), dynamic_shapes=shapes)
    probs, epistemic, novelty = program.module()(IMAGES)
    p = predict(doubt, IMAGES, classes=True, num_members=5)
    torch.testing.assert_close((probs, epistemic), (p.probs, p.epistemic), rtol=0, atol=1e-5)
    torch.testing.assert_close(novelty, doubt.novelty(IMAGES), rtol=0, atol=1e-5)
    with pytest.raises(ConfigurationError, match="`novelty` got True for Ensemble"):
        PredictiveModule(Ensemble([seeded(convolutional)]), novelty=True)


def test_a_call_without_an_index_says_whom_to_ask():
    with pytest.raises(ConfigurationError, match=r"`z` got None; .*`doubt.mean\(x\)`"):
        PostHocEpinet(seeded(Perceptron), X)(X)


def test_a_container_is_answered_with_what_it_holds():
    class Blocks(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([nn.Linear(3, 3) for _ in range(2)])
            self.out = nn.Linear(3, 2)

        def forward(self, x):
            for block in self.blocks:
                x = block(x).relu()
            return self.out(x)

    with pytest.raises(ConfigurationError, match=r"such as 'blocks\.0', 'blocks.1'"):
        PostHocEpinet(seeded(Blocks), X, layer="blocks")


def test_a_saved_doubt_is_filled_into_one_of_any_two_rows(tmp_path):
    net = seeded(convolutional)
    doubt = PostHocEpinet(net, IMAGES)
    save(doubt, tmp_path / "doubt")
    again = load(tmp_path / "doubt", lambda: PostHocEpinet(convolutional(), torch.rand(2, 1, 8, 8)))
    assert torch.equal(again.novelty(IMAGES), doubt.novelty(IMAGES))
    assert torch.equal(again.mean(IMAGES), doubt.mean(IMAGES))
