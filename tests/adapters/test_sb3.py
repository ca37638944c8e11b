"""The noisy policy inside Stable-Baselines3's own DQN. Skipped without that library."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from hunch.errors import ConfigurationError
from hunch.nn import NoisyLinear, noise

pytest.importorskip("stable_baselines3")

from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.torch_layers import FlattenExtractor

from hunch.adapters.sb3 import NoisyDQNPolicy

NO_EPSILON = {"exploration_initial_eps": 0.0, "exploration_final_eps": 0.0}
OBSERVATIONS = torch.linspace(-1, 1, 20).view(5, 4)


def model_of(env="CartPole-v1", policy=NoisyDQNPolicy, **settings):
    policy_kwargs = {"net_arch": [16, 16]} | settings.pop("policy_kwargs", {})
    defaults = {"seed": 0, "device": "cpu", "learning_starts": 20, "batch_size": 16}
    return DQN(policy, env, policy_kwargs=policy_kwargs, **defaults | NO_EPSILON | settings)


def plain_model(**settings):
    return model_of(policy="MlpPolicy", **settings)


def means(network):
    with noise(network, "off"), torch.no_grad():
        return network(OBSERVATIONS)


class Seen(gymnasium.Env):
    """Reward 1 for the action that the observation names; ten steps."""

    action_space = spaces.Discrete(2)

    def __init__(self, space, show):
        self.observation_space, self.show = space, show

    def _observe(self):
        self.right = int(self.np_random.integers(2))
        return self.show(self.right)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._observe(), {}

    def step(self, action):
        self.t += 1
        reward = float(action == self.right)
        return self._observe(), reward, False, self.t == 10, {}


def image_env(size):
    shape = (size, size, 1)
    return Seen(
        spaces.Box(0, 255, shape, np.uint8), lambda right: np.full(shape, 255 * right, "u1")
    )


def dict_env():
    image = image_env(40)
    vector = spaces.Box(0, 1, (3,), np.float32)
    return Seen(
        spaces.Dict({"vector": vector, "image": image.observation_space}),
        lambda right: {"vector": np.full(3, right, "f"), "image": image.show(right)},
    )


def noisy_names(model):
    return [n for n, m in model.q_net.named_modules() if isinstance(m, NoisyLinear)]


def test_means_are_the_weights_of_the_plain_policy():
    noisy_policy, plain = model_of(), plain_model()
    assert torch.equal(means(noisy_policy.q_net), plain.q_net(OBSERVATIONS))
    assert noisy_names(noisy_policy) == ["q_net.2", "q_net.4"]
    assert type(noisy_policy.q_net.q_net[0]) is nn.Linear


def test_deterministic_actions_have_no_noise_and_others_new_noise_each_time():
    model = model_of(policy_kwargs={"std_init": 20.0})
    observation = OBSERVATIONS[2].numpy()
    best = int(means(model.q_net)[2].argmax())
    assert all(model.predict(observation, deterministic=True)[0] == best for _ in range(50))
    # One fair coin or nearly: all alike once in 10¹⁰ or less.
    actions = {int(model.predict(observation, deterministic=False)[0]) for _ in range(100)}
    assert actions == {0, 1}
    assert not model.policy.training  # the library has put the network into eval() for this
    first, second = model.q_net(OBSERVATIONS), model.q_net(OBSERVATIONS)
    assert not torch.equal(first, second)  # a deterministic prediction leaves noise on behind it


def test_sb3_pr_553_the_target_is_noisy_although_in_eval_mode():
    """That library keeps targets in eval(), where a layer that follows the mode has no noise."""
    model = model_of()
    assert not model.q_net_target.training
    same_weights = means(model.q_net), means(model.q_net_target)
    assert torch.equal(*same_weights)
    draws = [net(OBSERVATIONS) for net in (model.q_net, model.q_net_target, model.q_net_target)]
    for i, j in ((0, 1), (0, 2), (1, 2)):  # online, target: each draw is one of its own
        assert not torch.equal(draws[i], draws[j])


def test_acting_loss_and_target_draw_once_each(monkeypatch):
    model, calls = model_of(train_freq=1, gradient_steps=1), []
    current = NoisyLinear._current_draw

    def recorded(layer, batch):
        draw = current(layer, batch)
        calls.append((id(layer), batch, draw))
        return draw

    monkeypatch.setattr(NoisyLinear, "_current_draw", recorded)
    model.learn(30)
    # Before step 20 actions are uniform; from step 20 on, with an action ahead of each update.
    online, target = (
        [id(m) for m in net.modules() if isinstance(m, NoisyLinear)]
        for net in (model.q_net, model.q_net_target)
    )
    acting = [c for c in calls if c[1][0] == 1]
    assert len(acting) == 2 * 10
    learning = [c for c in calls if c[1][0] == 16]
    assert {c[0] for c in learning} == {*online, *target}
    assert all(draw is not None for _, _, draw in calls)
    firsts = [draw[0][0].item() for _, _, draw in calls]
    assert len(set(firsts)) == len(firsts)


def test_stds_are_trained_and_reach_the_target():
    model = model_of(train_freq=1, gradient_steps=1, target_update_interval=40)
    before = {n: p.clone() for n, p in model.q_net.named_parameters()}
    model.learn(40)
    sigmas = [n for n in before if n.endswith("sigma")]
    assert len(sigmas) == 4
    after = dict(model.q_net.named_parameters())
    assert all(not torch.equal(before[n], after[n]) for n in before)
    # The target was copied at step 40, ahead of that step's update: it has moved, too.
    target = dict(model.q_net_target.named_parameters())
    assert all(not torch.equal(before[n], target[n]) for n in sigmas)
    assert model.exploration_rate == 0


def test_averaged_targets_average_means_and_stds_alone():
    model = model_of(tau=0.25, target_update_interval=1)
    assert not any("epsilon" in name or "held" in name for name in model.q_net.state_dict())
    with torch.no_grad():
        for parameter in model.q_net.parameters():
            parameter.add_(1.0)
    before = [p.clone() for p in model.q_net_target.parameters()]
    model._setup_learn(10)
    model._on_step()
    for old, new in zip(before, model.q_net_target.parameters(), strict=True):
        assert torch.allclose(new, old + 0.25)


def test_a_saved_model_goes_on(tmp_path):
    settings = {"noise": "independent", "std_init": 0.02, "layer_norm": True}
    model = model_of(policy_kwargs=settings).learn(50)
    model.save(tmp_path / "model")
    again = DQN.load(tmp_path / "model", env=make_vec_env("CartPole-v1"))
    policy = again.policy
    assert type(policy) is NoisyDQNPolicy
    assert (policy.noise, policy.std_init, policy.layer_norm) == ("independent", 0.02, True)
    for name, value in model.policy.state_dict().items():
        assert torch.equal(value, policy.state_dict()[name])
    assert torch.equal(means(again.q_net), means(model.q_net))
    again.learn(50)


def test_a_saved_policy_is_the_same_policy(tmp_path):
    settings = {"noise": "independent", "std_init": 0.02, "layer_norm": True}
    model = model_of(policy_kwargs=settings)
    model.policy.save(tmp_path / "policy.pt")
    policy = NoisyDQNPolicy.load(tmp_path / "policy.pt", device="cpu")
    assert (policy.noise, policy.std_init, policy.layer_norm) == ("independent", 0.02, True)
    assert torch.equal(means(policy.q_net), means(model.q_net))


def test_weights_of_a_plain_policy_load_as_means():
    plain, model = plain_model(seed=7), model_of()
    model.policy.load_state_dict(plain.policy.state_dict())
    assert torch.equal(means(model.q_net), plain.q_net(OBSERVATIONS))


def test_the_same_seed_gives_the_same_weights():
    first, second, other = (model_of(seed=seed).learn(100) for seed in (3, 3, 4))
    weights = [net.policy.parameters_to_vector() for net in (first, second, other)]
    assert np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_layer_norm_stands_before_each_activation_and_has_nothing_to_train():
    model = model_of(policy_kwargs={"layer_norm": True})
    names = [type(m).__name__ for m in model.q_net.q_net]
    hidden = ["LayerNorm", "ReLU", "NoisyLinear"]
    assert names == ["Linear", *hidden, *hidden]
    assert len(list(model.q_net.parameters())) == len(list(model_of().q_net.parameters()))


@pytest.mark.parametrize(
    ("make_env", "policy_kwargs", "noisy", "plain"),
    [
        # The Nature network: noise in its linear layer and in the head, none in convolutions.
        (lambda: image_env(40), {"net_arch": None}, ["features_extractor.linear.0", "q_net.0"], 3),
        (lambda: image_env(40), {"net_arch": [8]}, None, 3),
        # Too small for that network's convolutions, or flattened on request.
        (lambda: image_env(8), {}, ["q_net.2", "q_net.4"], 1),
        (
            lambda: image_env(40),
            {"features_extractor_class": FlattenExtractor},
            ["q_net.2", "q_net.4"],
            1,
        ),
        # A linear map has one layer, which is the noisy one.
        (lambda: image_env(8), {"net_arch": []}, ["q_net.0"], 0),
        (
            dict_env,
            {"net_arch": [8]},
            ["features_extractor.extractors.image.linear.0", "q_net.0", "q_net.2"],
            3,
        ),
    ],
)
def test_images_and_dictionaries(make_env, policy_kwargs, noisy, plain):
    env = make_vec_env(make_env, n_envs=1, seed=0)
    model = model_of(env, policy_kwargs=policy_kwargs, buffer_size=100)
    if noisy is not None:
        assert noisy_names(model) == noisy
    kinds = [type(m) for m in model.q_net.modules()]
    assert kinds.count(nn.Conv2d) + kinds.count(nn.Linear) == plain
    model.learn(30)
    assert evaluate_policy(model, env, n_eval_episodes=1)[0] >= 0


def test_several_environments_step_together():
    model = model_of(make_vec_env("CartPole-v1", n_envs=4, seed=0)).learn(200)
    assert model.predict(OBSERVATIONS.numpy(), deterministic=True)[0].shape == (5,)


@pytest.mark.parametrize("settings", [{}, {"noise": "independent"}, {"layer_norm": True}])
def test_it_learns_without_epsilon_greedy(settings):
    env = Seen(spaces.Box(0, 1, (2,), np.float32), lambda right: np.eye(2, dtype="f")[right])
    model = model_of(
        env,
        policy_kwargs=settings,
        learning_rate=3e-3,
        gamma=0.0,
        train_freq=4,
        gradient_steps=4,
        target_update_interval=50,
    )
    model.learn(1000)
    assert model.exploration_rate == 0
    assert evaluate_policy(model, model.get_env(), n_eval_episodes=5)[0] == 10


def test_misuse_is_named():
    with pytest.raises(ConfigurationError, match="`noise` got 'pink'"):
        model_of(policy_kwargs={"noise": "pink"})
    with pytest.raises(ConfigurationError, match="`std_init` got -1"):
        model_of(policy_kwargs={"std_init": -1})
