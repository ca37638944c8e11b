"""What a Q-network does in a step of its agent, in a call of the compiled kernel or two.

To act: values and the best of them. To learn: values of what came next, errors, and the gradient of
the loss. The plain versions are in `hunch.rl.agents.dqn`.
"""

from __future__ import annotations

from ctypes import byref
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hunch.kernel import Difference, kernel
from hunch.nn.compiled_chain import CompiledChain
from hunch.rl.fast.manual_backprop import FastRunner
from hunch.rl.networks.runner import Runner
from hunch.rl.replay.transitions import Transitions


class CompiledQ:
    """Networks of one value an action, each a single chain of layers.

    Args:
        online: what runs the network that learns.
        target: what runs its copy of before.
        own: the layers of the former.
        following: the layers of the latter.
        double: whether the online network chooses the next action.
    """

    def __init__(
        self,
        online: FastRunner,
        target: FastRunner,
        own: CompiledChain,
        following: CompiledChain,
        double: bool,
    ) -> None:
        self._library = cast(Any, kernel())
        self._lanes = self._library.hunch_lanes()
        self._online, self._target = online, target
        self._own, self._following = own, following
        self._acting, self._choosing = own.twin(), own.twin() if double else None
        self._acted = _Places()
        self._learned = _Places()

    def values(self, observation: NDArray[Any]) -> NDArray[np.float32] | None:
        """Values of all actions, until the next call; None if torch has to be asked.

        Args:
            observation: `(replicas, envs, features)`.
        """
        x = _inputs(observation, self._acting)
        if x is None or self._online.chain() is None:
            return None
        if self._acted.shape != x.shape[:2]:
            self._acted = _Places(x.shape[0], x.shape[1], self._acting.outputs)
        chain = self._acting.between(x, self._acted.output, self._online.draws())
        self._library.hunch_forward(byref(chain), self._lanes)
        return self._acted.values

    def gradient(self, batch: Transitions) -> tuple[float, Tensor] | None:
        """Write the gradient of the loss of a batch; None, and nothing done, if torch has to.

        Args:
            batch: the transitions.

        Returns:
            The sum over replicas of the weighted mean over the batch, and the size of the error of
            each transition, `(replicas, batch)`, until the next call.
        """
        x, next_x = (
            _inputs(seen, self._own) for seen in (batch.observation, batch.next_observation)
        )
        if x is None or next_x is None or None in (self._online.chain(), self._target.chain()):
            return None
        if self._learned.shape != x.shape[:2]:
            self._learned = _Places(x.shape[0], x.shape[1], self._own.outputs)
        to, choosing = self._learned, self._choosing
        # Each call has noise of its own, in the order of calls one by one.
        following = self._following.between(next_x, to.following, self._target.draws())
        chosen = choosing and choosing.between(next_x, to.selecting, self._online.draws())
        own = self._own.between(x, to.output, self._online.draws(), to.gradient)
        call = to.difference
        call.selecting = to.selecting.data_ptr() if choosing else None
        call.action, call.reward = batch.action.ctypes.data, batch.reward.ctypes.data
        call.discount = batch.discount.ctypes.data
        call.weight = None if batch.weight is None else batch.weight.ctypes.data
        self._library.hunch_q_gradient(
            byref(following), chosen and byref(chosen), byref(own), byref(call), self._lanes
        )
        return call.loss, to.error


def compiled_q(
    online: Runner, target: Runner, *, values_alone: bool, double: bool
) -> CompiledQ | None:
    """What the kernel does for two networks, if it is there and they are of its kind.

    Args:
        online: what runs the network that learns.
        target: what runs its copy of before.
        values_alone: whether outputs are the values of actions and nothing else.
        double: whether the online network chooses the next action.

    Example:
        >>> from hunch.nn import MLP
        >>> from hunch.rl.networks.noise import FreshNoise
        >>> net = MLP(3, [8], 2)
        >>> learned = list(net.parameters())
        >>> gradient = torch.zeros(sum(p.numel() for p in learned))
        >>> run = FastRunner(net, FreshNoise(net, []), learned, gradient)
        >>> found = compiled_q(run, run, values_alone=True, double=False)
        >>> values = found.values(np.ones((1, 4, 3), np.float32)) if found else None
        >>> None if values is None else values.shape
        (1, 4, 2)
    """
    if not values_alone or not isinstance(online, FastRunner) or not isinstance(target, FastRunner):
        return None
    own, following = online.chain(), target.chain()
    if own is None or following is None:
        return None
    return CompiledQ(online, target, own, following, double)


class _Places:
    """Where outputs go, and what is made of them, for batches of one shape."""

    def __init__(self, members: int = 0, rows: int = 0, actions: int = 0) -> None:
        self.shape = (members, rows)
        self.output, self.following, self.selecting, self.gradient = (
            torch.zeros(members, rows, actions, dtype=torch.float32, device="cpu") for _ in range(4)
        )
        self.error = torch.zeros(members, rows, dtype=torch.float32, device="cpu")
        self.values: NDArray[np.float32] = self.output.numpy()
        self.difference = Difference(
            output=self.output.data_ptr(),
            following=self.following.data_ptr(),
            gradient=self.gradient.data_ptr(),
            error=self.error.data_ptr(),
            members=members,
            rows=rows,
            actions=actions,
        )


def _inputs(observation: NDArray[Any], chain: CompiledChain) -> Tensor | None:
    """Observations as the kernel reads them, if they are rows of as many numbers as layers take."""
    if observation.ndim != 3 or observation.shape[2] != chain.inputs:
        return None
    return torch.from_numpy(np.ascontiguousarray(observation, np.float32))
