"""Convolutions and wide noisy layers by hand against autograd."""

import copy

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import nn

from hunch.adam import Adam
from hunch.kernel import kernel
from hunch.nn import Ensemble, NoisyLinear, Streams
from hunch.rl import A2C, DQN
from hunch.rl.fast import manual_backprop, wide_noise
from hunch.rl.fast.image_layers import ConvolutionByHand
from hunch.rl.fast.manual_backprop import FastRunner, by_hand
from hunch.rl.fast.wide_noise import WideNoise
from hunch.rl.networks.feature_layers import Channels, Pixels
from hunch.rl.networks.noise import FreshNoise
from hunch.rl.networks.target_network import clip


def frozen_first():
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 2), nn.Flatten())
    network[0].requires_grad_(False)
    network[2].bias.requires_grad_(False)
    return network


# A network and the shape of its input.
NETWORKS = {
    "bytes": (
        lambda: nn.Sequential(
            Pixels(), nn.Conv2d(2, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 5, 2), nn.ReLU(),
            nn.Flatten(), nn.Linear(45, 3),
        ), (2, 9, 9),
    ),
    "channels behind": (
        lambda: nn.Sequential(
            Pixels(), Channels(last=True), nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Flatten(),
        ), (8, 9, 2),
    ),
    "a stack with channels behind": (
        lambda: nn.Sequential(
            Pixels(), Channels(last=True), nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten(),
        ), (3, 8, 9, 2),
    ),
    "no channels": (
        lambda: nn.Sequential(Channels(last=False), nn.Conv2d(1, 2, 3), nn.Flatten()), (8, 9),
    ),
    "channels behind a convolution": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3), Channels(last=True), Pixels(), nn.Conv2d(6, 2, 2), nn.Flatten()
        ), (2, 8, 8),
    ),
    "padded, dilated, in groups, without bias": (
        lambda: nn.Sequential(
            nn.Conv2d(4, 6, (3, 2), padding=(1, 2), dilation=2, groups=2, bias=False), nn.ReLU(),
            nn.Flatten(),
        ), (4, 7, 8),
    ),
    "frozen": (frozen_first, (2, 8, 8)),
    "streams": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(),
            Streams(NoisyLinear(108, 1), nn.Sequential(NoisyLinear(108, 5), nn.ReLU())),
        ), (2, 8, 8),
    ),
    "bytes without sides": (lambda: nn.Sequential(Pixels(), nn.Linear(4, 3)), (4,)),
}  # fmt: skip


def generators(count):
    return [torch.Generator().manual_seed(100 + i) for i in range(count)]


def runner(network, members=1):
    parameters = [p for p in network.parameters() if p.requires_grad]
    gradient = torch.full((sum(p.numel() for p in parameters),), float("nan"))
    noise = FreshNoise(network, generators(members))
    return FastRunner(network, noise, parameters, gradient), gradient


def check(network, x, members=None, by_hand=True):
    """Outputs and gradients of two forwards whose backwards come in the other order."""
    run, gradient = runner(network, members or 1)
    noise = FreshNoise(copy.deepcopy(network), generators(members or 1))
    twin = noise.network
    parameters = [p for p in twin.parameters() if p.requires_grad]
    found, expected = [], []
    for given in (x, x.flip(1) + 1):
        found.append(run.differentiable(given))
        run(given)  # a forward between does not disturb it
        call = noise(given[0]).unsqueeze(0) if members is None else noise(given, per_member=True)
        noise.draws()
        expected.append(call)
        torch.testing.assert_close(found[-1][0], call.detach(), rtol=1e-5, atol=1e-5)
    outward = torch.randn(found[0][0].shape, generator=torch.Generator().manual_seed(1))
    for (_, backward), call in reversed([*zip(found, expected, strict=True)]):
        backward(outward)
        grads = torch.autograd.grad(call, parameters, outward)
        right = torch.cat([grad.flatten() for grad in grads])
        assert (gradient - right).norm() <= 1e-5 * right.norm()
    assert (run._by_hand(x, None) is not None) == by_hand


def made(make, *size):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make(), torch.rand(size) * 200


@pytest.mark.parametrize("name", NETWORKS)
def test_images_go_by_hand_as_by_autograd(name):
    make, shape = NETWORKS[name]
    check(*made(make, 1, 5, *shape))


@pytest.mark.parametrize("name", ["bytes", "streams"])
def test_stacked_convolutions_are_left_to_torch(name):
    make, shape = NETWORKS[name]
    network, x = made(lambda: Ensemble(make, 2, seed=0), 2, 5, *shape)
    check(network, x, members=2, by_hand=False)


@pytest.mark.parametrize(
    "layers",
    [
        (nn.Conv2d(2, 3, 3, padding="same"), nn.Flatten()),
        (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), nn.Flatten()),
        (nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Linear(6, 4)),
        (Pixels(), nn.Linear(8, 4)),
        (nn.Conv2d(2, 3, 3), nn.ELU(), nn.Flatten()),
    ],
    ids=["same", "circular", "never flattened", "rows with axes", "elu"],
)
def test_what_has_no_rule_is_left_to_torch(layers):
    network, x = made(lambda: nn.Sequential(*layers), 1, 5, 2, 8, 8)
    check(network, x, by_hand=False)


def test_in_double_precision():
    make, shape = NETWORKS["bytes"]
    network, x = made(lambda: make().double(), 1, 5, *shape)
    run, _ = runner(network)
    torch.testing.assert_close(run(x.double())[0], network(x[0].double()))


def test_the_images_are_divided_once_and_get_no_gradient():
    make, shape = NETWORKS["bytes"]
    network, x = made(make, 1, 5, *shape)
    run, _ = runner(network)
    first = run._layers[0]
    assert isinstance(first, ConvolutionByHand)
    assert (first.divisor, first.relu) == (255.0, True)
    _, backward = run.differentiable(x)
    found = backward(torch.ones(1, 5, 3))
    assert found.shape[2:] == (4, 4, 4)  # what came to the first convolution, and no further


@pytest.fixture
def all_wide(monkeypatch):
    if kernel() is None:
        pytest.skip("hunch was installed without the kernel")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(wide_noise, "MANY_WEIGHTS", 0)
    monkeypatch.setattr(manual_backprop, "compiled", lambda layer: layer)
    monkeypatch.setattr(manual_backprop, "merged", lambda layers: layers)


def partly_frozen(**how):
    network = nn.Sequential(NoisyLinear(16, 24, **how), nn.ReLU(), NoisyLinear(24, 7, **how))
    network[0].weight.requires_grad_(False)
    network[2].weight_sigma.requires_grad_(False)
    return network


WIDE = {
    "two": lambda **how: nn.Sequential(
        NoisyLinear(16, 24, **how), nn.ReLU(), NoisyLinear(24, 7, **how)
    ),
    "one": lambda **how: NoisyLinear(16, 13, **how),
    "frozen": partly_frozen,
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", WIDE)
@pytest.mark.parametrize("members", [None, 3])
def test_wide_noise_in_tiles_is_as_by_autograd(name, bias, members, all_wide):
    def make():
        return WIDE[name](bias=bias)

    network, x = made(make if members is None else lambda: Ensemble(make, members, seed=0),
                      members or 1, 9, 16)  # fmt: skip
    run, _ = runner(network, members or 1)
    layers = [part for part in run._layers if isinstance(part, manual_backprop._NoisyLinear)]
    assert layers
    assert all(layer.wide is not None for layer in layers)
    check(network, x / 200, members=members)


# Beyond and within tiles of 24 outputs, 6 at once, and 128 inputs; 32 rows at once, 16, or 4; few
# rows without a tile, of whole pairs of vectors and not.
@pytest.mark.parametrize(
    "sizes",
    [
        *[(1, 8, 1), (5, 24, 7), (8, 48, 5), (7, 64, 3), (9, 16, 7), (31, 136, 25)],
        *[(33, 264, 61), (40, 128, 24), (33, 272, 61)],
    ],
    ids=str,
)
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_wide_noise_of_any_size(sizes, lanes, all_wide, monkeypatch):
    batch, inputs, outputs = sizes
    lanes = min(lanes, kernel().hunch_lanes())
    monkeypatch.setattr(wide_noise, "kernel", lambda: Lanes(lanes))
    layer, x = made(lambda: NoisyLinear(inputs, outputs), 1, batch, inputs)
    check(layer, x / 200)


@pytest.mark.parametrize("sizes", [(1, 8, 1), (9, 16, 7), (33, 264, 61), (40, 144, 24)], ids=str)
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_gradients_left_unwritten_are_those_that_would_be_written(
    sizes, lanes, all_wide, monkeypatch
):
    batch, inputs, outputs = sizes
    lanes = min(lanes, kernel().hunch_lanes())
    monkeypatch.setattr(wide_noise, "kernel", lambda: Lanes(lanes))
    draw = torch.Generator().manual_seed(0)
    size, at = outputs * inputs, (3, 3 + outputs * inputs + 5)  # others lie around and between
    vector = torch.randn(2 * size + 10, generator=draw)
    x, dy = (torch.randn(1, batch, n, generator=draw) for n in (inputs, outputs))
    noise = torch.randn(inputs, generator=draw), torch.randn(outputs, generator=draw)

    def weights_of(values):
        return [values[a : a + size].view(1, outputs, inputs) for a in at]

    wide = WideNoise(*weights_of(vector))
    gradient = torch.randn(len(vector), generator=draw)
    written, slopes = gradient.clone(), weights_of(gradient)
    dx = wide.backward(dy, x, noise, tuple(weights_of(written)), needed=True)
    wide.unwritten = True
    again = wide.backward(dy, x, noise, tuple(slopes), needed=True)
    assert torch.equal(again, dx)
    assert not any(
        torch.equal(own, right) for own, right in zip(slopes, weights_of(written), strict=True)
    )
    squares = sum(own.double().square().sum().item() for own in weights_of(written))
    assert wide.squares() == pytest.approx(squares, rel=1e-5)
    moved, expected = vector, vector.clone()
    ours, theirs = Adam([moved]), Adam([expected])
    for _ in range(2):
        wide.backward(dy, x, noise, tuple(slopes), needed=False)
        ours.step_with(moved, gradient, 0.1, 0.5, [wide])
        assert wide.pending is None
        theirs.step([expected], [written * 0.5], 0.1)
    torch.testing.assert_close(moved, expected, rtol=1e-5, atol=1e-6)


class Lanes:
    """The kernel on a processor with vectors of another width."""

    def __init__(self, lanes):
        self.hunch_lanes = lambda: lanes

    def __getattr__(self, name):
        return getattr(kernel(), name)


def test_what_the_kernel_does_not_compute_in_tiles(all_wide, monkeypatch):
    def wide(*sizes, **how):
        return by_hand(NoisyLinear(*sizes, **how), {}, False).wide is not None

    assert wide(16, 4)
    assert not wide(17, 4)
    assert not wide(16, 4, noise="independent")
    assert not wide(16, 4, dtype=torch.float64)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert not wide(16, 4)


@pytest.mark.skipif(kernel() is None, reason="hunch was installed without the kernel")
def test_only_many_weights_are_computed_in_tiles(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert by_hand(NoisyLinear(64, 64), {}, False).wide is None
    assert by_hand(NoisyLinear(3136, 512), {}, False).wide is not None


def test_a_norm_of_many_numbers_is_exact():
    numbers = torch.rand(2, 1_600_000, generator=torch.Generator().manual_seed(0)) + 3.0
    norm = numbers.double().norm(dim=1, keepdim=True)
    clipped = numbers.clone()
    clip([clipped], float(norm.min() / 2))
    right = numbers.double() * (norm.min() / 2 / norm)
    torch.testing.assert_close(clipped.double(), right, rtol=3e-6, atol=0.0)
    kept = numbers.clone()
    clip([kept], float(norm.max() * 2))
    assert torch.equal(kept, numbers)


def test_a_gradient_that_is_no_number_is_none_after_clipping():
    gradient = torch.tensor([[float("nan"), 1.0]])
    clip([gradient], 10.0)
    assert gradient.isnan().all()


class Frames(gymnasium.Env):
    """Bytes without a meaning."""

    observation_space, action_space = Box(0, 255, (4, 84, 84), np.uint8), Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._frames(), {}

    def step(self, action):
        end = self.np_random.random() < 0.2
        return self._frames(), float(self.np_random.normal()), end, False, {}

    def _frames(self):
        return self.np_random.integers(0, 256, (4, 84, 84), dtype=np.uint8)


RAINBOW = dict(
    noisy=True, double=True, dueling=True, prioritized=True, n_step=3, distributional=True,
    batch_size=32, min_replay_size=40, update_period=1, replay_capacity=100, hidden_sizes=(512,),
    max_gradient_norm=10.0, value_range=(-3.0, 3.0),
)  # fmt: skip


@pytest.mark.parametrize("engine", ["compiled", "torch"])
def test_an_update_of_rainbow_is_as_by_autograd(engine, monkeypatch):
    """Of the size of Atari's: the loss and the gradient, to 1e-5 of their size."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    if engine == "torch":
        monkeypatch.setattr(wide_noise, "kernel", lambda: None)
    elif kernel() is None:
        pytest.skip("hunch was installed without the kernel")
    gradients, losses, actions = [], [], []
    for fast in (True, False):
        agent = DQN(Frames, **RAINBOW, fast=fast)
        agent.learn(38, progress=False)
        seen = agent._loop._observation.reshape(agent._loop._shape)
        actions.append(agent._online(agent._tensor(seen)))
        agent.learn(40, progress=False)
        losses += agent.losses
        # Nobody need have written it down, but after one step Adam's mean is a tenth of it.
        gradients.append(10 * agent._pair.state_dict()["optimizer.exp_avg"])
    assert len(losses) == 2
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    torch.testing.assert_close(actions[0], actions[1], rtol=1e-4, atol=1e-5)
    found, right = (gradient.split(100_000) for gradient in gradients)
    scale = gradients[1].norm() / len(right) ** 0.5
    for ours, theirs in zip(found, right, strict=True):
        assert (ours - theirs).norm() <= 1e-5 * max(theirs.norm(), scale)


@pytest.mark.parametrize("norm", [float("inf"), 1e-3])
def test_agents_learn_the_same_from_gradients_left_unwritten(norm, monkeypatch):
    if kernel() is None:
        pytest.skip("hunch was installed without the kernel")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    found = []
    for way in ("unwritten", "written", "copied", "asked by torch"):
        agent = DQN(Frames, **RAINBOW | {"max_gradient_norm": norm})
        assert len(agent._pair._unwritten) == 2
        start = agent._pair.vector.clone()
        if way == "copied":
            agent.learn(41, progress=False)
            agent = copy.deepcopy(agent)
            assert len(agent._pair._unwritten) == 2
        if way == "written":
            agent._pair.leave_unwritten(())
            agent._pair._adam._small = True  # by the kernel as well
        if way == "asked by torch":
            agent.network.register_forward_hook(lambda *_: None)
        agent.learn(42, progress=False)
        found.append(agent._pair.vector)
    assert torch.equal(found[0], found[2])
    if norm == float("inf"):  # otherwise the norm is another sum
        assert torch.equal(found[0], found[1])
    moved = (found[0] - start).norm()
    assert (found[1] - found[0]).norm() <= 1e-3 * moved
    assert (found[3] - found[0]).norm() <= 1e-2 * moved


def test_replicas_write_their_gradients(all_wide):
    def agent(**how):
        return DQN("CartPole-v1", noisy=True, hidden_sizes=(16,), **how)

    assert agent(noise_draws=1)._pair._unwritten
    assert not agent(noise_draws=2)._pair._unwritten
    assert not agent(noise_draws=1, replicas=2)._pair._unwritten
    frozen = nn.Sequential(NoisyLinear(16, 2))
    frozen[0].weight_sigma.requires_grad_(False)
    assert not runner(frozen)[0].wide_layers()


def test_actor_critics_on_images_learn_the_same(monkeypatch):
    def learned():
        agent = A2C(Frames, num_envs=2, rollout_length=4, noisy=True, hidden_sizes=(512,), seed=3)
        agent.learn(16, progress=False)
        return torch.cat([p.detach().flatten() for p in agent.network.parameters()])

    ours = learned()
    monkeypatch.setattr(manual_backprop, "supported", lambda network: False)
    torch.testing.assert_close(ours, learned(), rtol=1e-4, atol=1e-5)
