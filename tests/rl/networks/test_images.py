"""Ready-made networks for images in every layout; what a user's own network gets is his affair."""

import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from hunch.errors import HunchWarning
from hunch.rl import A2C, DQN, PQN, BootstrappedDQN
from hunch.rl.networks.value_heads import ValueHead
from hunch.rl.networks.value_networks import value_network

SIDES = (40, 37)


class Images(gymnasium.Env):
    """Random images `(3, 40, 37)`, shown in the layout that `show` makes of them."""

    action_space = spaces.Discrete(2)

    def __init__(self, show=lambda x: x, dtype=np.uint8):
        self.show, self.dtype = show, dtype
        self.observation_space = spaces.Box(
            0, 255, self._see(np.random.default_rng(0)).shape, dtype
        )

    def _see(self, rng):
        return self.show(rng.integers(256, size=(3, *SIDES))).astype(self.dtype)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._see(self.np_random), {}

    def step(self, action):
        self.t += 1
        return self._see(self.np_random), float(action), self.t == 5, False, {}


def last(x):
    return np.moveaxis(x, 0, -1)


SMALL = {"hidden_sizes": (8,), "seed": 3}
OFF_POLICY = {**SMALL, "batch_size": 4, "replay_capacity": 20}
AGENTS = {
    "DQN": lambda env: DQN(env, **OFF_POLICY, noisy=True, dueling=True),
    "replicas": lambda env: DQN(env, **OFF_POLICY, replicas=2),
    "A2C": lambda env: A2C(env, **SMALL, num_envs=1, rollout_length=4, normalize=False),
    # One update of Adam alone would move by the sign of a gradient that may be rounding.
    "BootstrappedDQN": lambda env: BootstrappedDQN(
        env, **OFF_POLICY, num_members=2, update_period=1
    ),
    "epinet": lambda env: BootstrappedDQN(
        env, **OFF_POLICY, epinet=True, index_dim=2, num_members=2, epinet_hidden_sizes=(4,)
    ),
}


def weights(agent):
    return torch.cat([p.detach().flatten() for p in agent.network.parameters()])


# An epinet also sees observations that are no bytes as they are, number by number.
@pytest.mark.parametrize(
    ("kind", "dtype"), [*((kind, np.uint8) for kind in AGENTS), ("DQN", np.float32)]
)
def test_channels_behind_are_learned_from_as_channels_in_front(kind, dtype):
    front = AGENTS[kind](lambda: Images(dtype=dtype)).learn(9, progress=False)
    behind = AGENTS[kind](lambda: Images(last, dtype)).learn(9, progress=False)
    assert front.updates == behind.updates > 0
    # torch adds up in another order where channels lie behind in memory.
    assert torch.allclose(weights(front), weights(behind), atol=1e-4)
    assert any(isinstance(m, nn.Conv2d) for m in behind.network.modules())


@pytest.mark.parametrize(
    ("shape", "channels"),
    [
        ((4, 84, 84), 4),
        ((84, 84, 4), 4),
        ((210, 160, 3), 3),
        ((84, 84, 1), 1),
        ((84, 84), 1),
        ((4, 84, 84, 3), 12),
        ((4, 3, 84, 84), 12),
        ((36, 36, 36), 36),
    ],
)
def test_bytes_in_every_layout_go_through_convolutions(shape, channels):
    net = value_network(None, shape, ValueHead(2), [16], pixels=True)
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert [c.in_channels for c in convolutions] == [channels, 32, 64]
    x = torch.randint(256, (2, *shape), generator=torch.Generator().manual_seed(0)).float()
    image = x
    if shape[-1] < 36:
        image = x.permute(0, *range(1, len(shape) - 2), -1, -3, -2)
    image = image.reshape(2, channels, *image.shape[-2:])
    # The convolutions themselves, asked as torch's documentation has it.
    expected = nn.Sequential(*list(net.children())[-10:])(image / 255)
    assert torch.allclose(net(x), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "pixels"),
    [((4, 7, 3), True), ((2, 3, 4), False), ((84, 40), False), ((10, 5), False), ((5,), True)],
)
def test_what_is_too_small_for_convolutions_stays_a_vector(shape, pixels):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = value_network(None, shape, ValueHead(2), [16], pixels=pixels)
    assert not any(isinstance(m, nn.Conv2d) for m in net.modules())
    assert net(torch.zeros(3, *shape)).shape == (3, 2)


@pytest.mark.parametrize(
    ("shape", "channels", "sides"),
    [
        ((10, 10, 4), 4, (10, 10)),  # MinAtar
        ((10, 10, 10), 10, (10, 10)),
        ((7, 7, 3), 3, (7, 7)),  # MiniGrid
        ((4, 10, 10), 4, (10, 10)),
        ((35, 20, 3), 3, (35, 20)),
        ((3, 20, 35), 3, (20, 35)),
        ((5, 5, 40), 40, (5, 5)),
    ],
)
@pytest.mark.parametrize("pixels", [False, True])
def test_small_images_with_channels_go_through_one_convolution(shape, channels, sides, pixels):
    net = value_network(None, shape, ValueHead(2), [16], pixels=pixels)
    (convolution,) = (m for m in net.modules() if isinstance(m, nn.Conv2d))
    assert convolution.weight.shape == (16, channels, 3, 3)
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    image = x.permute(0, 3, 1, 2) if shape[:2] == sides else x
    windows = image.div(255 if pixels else 1).unfold(2, 3, 1).unfold(3, 3, 1)
    found = torch.einsum("bchwij,ocij->bohw", windows, convolution.weight)
    features = (found + convolution.bias.view(-1, 1, 1)).relu().flatten(1)
    assert features.shape[1] == 16 * (sides[0] - 2) * (sides[1] - 2)
    assert torch.allclose(net(x), nn.Sequential(*list(net.children())[-3:])(features), atol=1e-5)


@pytest.mark.parametrize("shape", [(35, 40, 9), (84, 84), (2, 30, 30, 3)])
def test_a_perceptron_on_something_large_is_told_of(shape):
    with pytest.warns(HunchWarning, match=r"takes for [0-9,]+ numbers without neighbours") as said:
        value_network(None, shape, ValueHead(2), [16])
    assert said[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value_network(None, (9_000,), ValueHead(2), [16])  # no neighbours to be lost


@pytest.mark.parametrize("agent", [DQN, BootstrappedDQN, PQN])
def test_a_single_1_has_no_neighbours(agent):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        agent("hunch.envs:hunch/DeepSea-v0", env_kwargs=dict(size=70), hidden_sizes=(8,))


@pytest.mark.parametrize("agent", [DQN, BootstrappedDQN, A2C])
def test_a_users_network_gets_the_environments_own_layout(agent):
    seen = set()

    class Own(nn.Sequential):
        def forward(self, x):
            seen.add(tuple(x.shape[-3:]))
            return super().forward(x)

    def network():
        return Own(nn.Flatten(), nn.Linear(3 * SIDES[0] * SIDES[1], 2 + (agent is A2C)))

    more = {"rollout_length": 4} if agent is A2C else {"batch_size": 4, "replay_capacity": 20}
    more |= {"num_members": 2} if agent is BootstrappedDQN else {}
    made = agent(lambda: Images(last), network=network, num_envs=1, **more)
    made.learn(9, progress=False)
    made.predict(np.zeros((2, *SIDES, 3)))
    assert seen == {(*SIDES, 3)}


def test_stacks_of_images_with_channels_behind_are_stored_once(monkeypatch):
    def stacked():
        return gymnasium.wrappers.FrameStackObservation(Images(last), 3)

    def learned():
        agent = DQN(stacked, **{**OFF_POLICY, "n_step": 2}).learn(25, progress=False)
        return agent._replay, weights(agent), agent

    once, found, agent = learned()
    assert agent._replay._frame_stack == 3
    monkeypatch.setattr("hunch.rl.agents.agent.frame_stack_of", lambda env: 1)
    whole, expected, _ = learned()
    assert once._observation.nbytes < 0.4 * whole._observation.nbytes
    assert torch.equal(found, expected)
