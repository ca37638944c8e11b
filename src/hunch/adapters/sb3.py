"""A policy that makes the DQN of Stable-Baselines3 a NoisyNet-DQN (extra `sb3`).

    DQN(NoisyDQNPolicy, "CartPole-v1", exploration_initial_eps=0.0, exploration_final_eps=0.0)

Stable-Baselines3 puts its networks into `eval()` where noise is needed most: the target network
always, the online one while it collects experience. So the noisy layers here follow neither
`train()` nor `eval()`. Every forward draws new noise, and only `deterministic=True`, that library's
own word for it, turns the noise off.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from gymnasium import spaces
from torch import Tensor, nn

from hunch import nn as hnn
from hunch.errors import MissingDependencyError

try:
    from stable_baselines3.common.preprocessing import is_image_space
    from stable_baselines3.common.torch_layers import (
        CombinedExtractor,
        FlattenExtractor,
        NatureCNN,
    )
    from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
except ImportError as error:
    raise MissingDependencyError(
        "hunch.adapters.sb3 needs Stable-Baselines3, which is not installed; "
        'install it with: pip install "torch-hunch[sb3]"'
    ) from error

if TYPE_CHECKING:
    from hunch.nn.noisy_base import Noise

_SMALLEST_IMAGE = 36  # pixels; the three convolutions of the Nature network leave nothing of less


class NoisyDQNPolicy(DQNPolicy):
    """A policy for `stable_baselines3.DQN` that explores by learned noise on its weights.

    It takes what that library's own policies take, through `policy_kwargs`, and three arguments
    more. Noise sits in every linear layer except one that comes first, which extracts features;
    convolutions stay plain. Means start as the weights of the plain policy with the same seed.

    - Training: online values, target values and every action come from separate draws of noise.
      The stds are trained with the means and reach the target network with them; noise itself is
      no parameter, so averaging (`tau` below 1) and gradient clipping do not meet it.
    - `predict(observation)` explores, with new noise in each call; environments that step together
      share it. `predict(observation, deterministic=True)` takes the best action by the mean
      weights; so do `evaluate_policy` and `EvalCallback`, where it is the default.
    - `model.q_net(observation)` is noisy as well, unless called inside
      `hunch.nn.noise(model.q_net, "off")`.
    - `save` and `load` work for model and policy, as do `state_dict` and `load_state_dict`.

    ε-greedy is a setting of the algorithm and on by default; set `exploration_initial_eps` and
    `exploration_final_eps` to 0 to explore by noise alone. The first `learning_starts` actions are
    uniformly random in either case. Noise comes from torch's default generator, which that library
    seeds with its `seed`.

    Args:
        *args: what `stable_baselines3.dqn.policies.DQNPolicy` takes.
        noise: `"factorized"` or `"independent"`, as for `hunch.nn.NoisyLinear`.
        std_init: size of the initial stds; None is the paper's value for that noise.
        layer_norm: whether each hidden layer of the head (`net_arch`) is normalized before its
            activation, by a LayerNorm without parameters. It keeps values from growing without
            bound where nothing was seen; hunch's own CartPole agent has it.
        **kwargs: what `stable_baselines3.dqn.policies.DQNPolicy` takes, by name. Without a
            `features_extractor_class`, images get the Nature CNN, dictionaries one extractor per
            entry, anything else is flattened: those of the library's `CnnPolicy`,
            `MultiInputPolicy` and `MlpPolicy`.

    Raises:
        ConfigurationError: if `noise` or `std_init` cannot work.

    Example:
        >>> from stable_baselines3 import DQN
        >>> model = DQN(
        ...     NoisyDQNPolicy,
        ...     "CartPole-v1",
        ...     exploration_initial_eps=0.0,
        ...     exploration_final_eps=0.0,
        ...     policy_kwargs={"net_arch": [32], "layer_norm": True},
        ...     device="cpu",
        ... )
        >>> [type(layer).__name__ for layer in model.q_net.q_net]
        ['Linear', 'LayerNorm', 'ReLU', 'NoisyLinear']

    Source: Fortunato et al., "Noisy Networks for Exploration", ICLR 2018, arXiv 1706.10295.

    Note:
        The paper draws its initial means anew for independent noise, within √(3/p); here they are
        those of the plain policy, within 1/√p, for either noise.
    """

    def __init__(
        self,
        *args: Any,
        noise: Noise = "factorized",
        std_init: float | None = None,
        layer_norm: bool = False,
        **kwargs: Any,
    ) -> None:
        # The base class builds the networks while it is constructed.
        self.noise = noise
        self.std_init = std_init
        self.layer_norm = layer_norm
        space = args[0] if args else kwargs.get("observation_space")
        # Its sixth argument may also be given by position.
        if len(args) < 6 and "features_extractor_class" not in kwargs:
            kwargs["features_extractor_class"] = _extractor_for(
                space, normalize_images=kwargs.get("normalize_images", True)
            )
        super().__init__(*args, **kwargs)

    def make_q_net(self) -> QNetwork:
        """A noisy network of action values; online and target network are one each."""
        plain = super().make_q_net()
        if self.layer_norm:
            plain.q_net = _normalized(plain.q_net)
        chosen = _to_convert(plain)
        network = hnn.noisy(
            plain,
            noise=self.noise,
            std_init=self.std_init,
            layers=lambda name, layer: name in chosen,
        )
        # The default, noise in train() alone, would silence the target and every action.
        hnn.noise(network, "fresh")
        return network

    def _predict(self, obs: Any, deterministic: bool = True) -> Tensor:
        with hnn.noise(self.q_net, "off") if deterministic else nullcontext():
            action: Tensor = self.q_net._predict(obs, deterministic=deterministic)
        return action

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data: dict[str, Any] = super()._get_constructor_parameters()
        return data | {
            "noise": self.noise,
            "std_init": self.std_init,
            "layer_norm": self.layer_norm,
        }


def _extractor_for(space: Any, *, normalize_images: bool) -> type[nn.Module]:
    """The extractor that Stable-Baselines3's own policy for such observations has."""
    extractor: type[nn.Module] = FlattenExtractor
    if isinstance(space, spaces.Dict):
        extractor = CombinedExtractor
    elif (
        is_image_space(space, check_channels=False, normalized_image=not normalize_images)
        and min(space.shape[1:]) >= _SMALLEST_IMAGE
    ):
        extractor = NatureCNN
    return extractor


def _to_convert(network: nn.Module) -> set[str]:
    """Names of the linear layers that become noisy: all but one that everything passes first."""
    # Modules come in the order of the forward: the extractor is registered before the head.
    names = [
        (name, isinstance(layer, nn.Linear))
        for name, layer in network.named_modules()
        if next(layer.parameters(recurse=False), None) is not None
    ]
    linear = [name for name, is_linear in names if is_linear]
    first_extracts = names[0][1] and len(linear) > 1
    return set(linear[1:] if first_extracts else linear)


def _normalized(head: nn.Sequential) -> nn.Sequential:
    """The head with a LayerNorm behind each linear layer but the last."""
    *hidden, last = head
    layers: list[nn.Module] = []
    for layer in hidden:
        layers.append(layer)
        if isinstance(layer, nn.Linear):
            layers.append(nn.LayerNorm(layer.out_features, elementwise_affine=False))
    return nn.Sequential(*layers, last)
