"""Networks of agents that learn a policy: the value of an observation, and what to do there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from hunch.nn import MLP, Constant, Normalizer, Streams, noisy
from hunch.rl.networks.feature_layers import feature_layers
from hunch.rl.networks.value_networks import (
    NetworkLike,
    check_outputs,
    given_network,
    hidden_widths,
    noisy_layers,
)

Kind = Literal["independent", "factorized"]
SMALL = 0.01  # of a policy's last layer at first, so that it begins without a preference


def policy_network(
    network: NetworkLike | None,
    observation_shape: tuple[int, ...],
    outputs: int,
    hidden_sizes: Sequence[int],
    *,
    activation: str = "tanh",
    log_std: float | None = None,
    free_std: bool = True,
    normalize: bool = False,
    pixels: bool = False,
    noise: Kind | None = None,
) -> nn.Module:
    """A network from a batch of observations to a value and a policy's outputs, in that order.

    Args:
        network: a module, a function that makes one, or None: two perceptrons side by side, for
            images behind convolutions that they share.
        observation_shape: shape of one observation.
        outputs: of the policy.
        hidden_sizes: width of each hidden layer of both perceptrons.
        activation: between their layers.
        log_std: where the second half of the policy's outputs begins, the logs of standard
            deviations; None if there are none.
        free_std: whether those are parameters that do not depend on the observation.
        normalize: whether observations are brought to a common scale first.
        pixels: whether observations are bytes, to be divided by 255.
        noise: kind of noise on the weights of all linear and convolution layers; None for none.

    Raises:
        ConfigurationError: if the network does not fit.

    Example:
        >>> policy_network(None, (4,), 2, [8])(torch.zeros(5, 4)).shape
        torch.Size([5, 3])
    """
    if network is None:
        scaling = [Normalizer(*observation_shape)] if normalize else []
        before, inputs = feature_layers(observation_shape, pixels, scaling)
        hidden = hidden_widths(hidden_sizes, inputs)
        value = MLP(inputs, hidden, 1, activation=activation)
        policy = _policy(inputs, hidden, outputs, activation, log_std, free_std)
        made: nn.Module = nn.Sequential(*before, Streams(value, policy))
    else:
        made = given_network(network, "a value and what the policy needs")
    if noise is not None and not noisy_layers(made):
        made = noisy(made, noise=noise)
    meaning = f"the value and then {outputs} outputs of the policy"
    check_outputs(made, observation_shape, 1 + outputs, meaning)
    return made


@torch.no_grad()
def _policy(
    inputs: int,
    hidden: Sequence[int],
    outputs: int,
    activation: str,
    log_std: float | None,
    free_std: bool,
) -> nn.Module:
    free = outputs // 2 if log_std is not None and free_std else 0
    policy = MLP(inputs, hidden, outputs - free, activation=activation)
    weight, bias = list(policy.parameters())[-2:]  # of the last layer
    weight.mul_(SMALL)
    bias.mul_(SMALL)
    if log_std is None:
        return policy
    if free:
        return Streams(policy, Constant(torch.full((free,), log_std)))
    bias[outputs // 2 :] += log_std
    return policy
