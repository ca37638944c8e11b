"""What Q-networks do in a step of their agent, in a call of the compiled kernel or two.

To act: values. To learn: values of what came next, errors, and the gradient of the loss. The plain
versions are in `hunch.rl.agents.dqn` and `hunch.rl.agents.bootstrapped_dqn`.
"""

from __future__ import annotations

from ctypes import byref
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hunch.kernel import Difference, MemberDifference, kernel
from hunch.nn.compiled_chain import CompiledChain
from hunch.rl.fast.manual_backprop import FastRunner
from hunch.rl.networks.runner import Runner
from hunch.rl.replay.transitions import Transitions


class _Networks:
    """Networks that learn and their copies of before, each a single chain of layers.

    Args:
        online: what runs the former.
        target: what runs the latter.
        own: the former's layers.
        following: the latter's.
    """

    def __init__(
        self, online: FastRunner, target: FastRunner, own: CompiledChain, following: CompiledChain
    ) -> None:
        self._library = cast(Any, kernel())
        self._lanes: int = self._library.hunch_lanes()
        self._online, self._target = online, target
        self._own, self._following = own, following
        self._choosing = own.twin()
        self._learned = _Places()

    @property
    def _usable(self) -> bool:
        """Whether nobody has hooked anything to a layer since."""
        return self._online.chain() is not None and self._target.chain() is not None

    def _places(self, x: Tensor) -> _Places:
        """Where the outputs of a batch go."""
        if self._learned.shape != x.shape[:2]:
            self._learned = _Places(x.shape[0], x.shape[1], self._own.outputs)
        return self._learned

    def _write_gradient(
        self,
        x: Tensor,
        next_x: Tensor,
        choosing_x: Tensor | None,
        errors: tuple[Any, Any],
        x_gradient: Tensor | None = None,
        parts: int = 1,
    ) -> None:
        """Call the kernel; each network's noise is its own, in the order of calls one by one."""
        to, choosing = self._learned, None
        online, target = partial(self._online.draws, parts), self._target.draws(parts)
        following = self._following.between(next_x, to.following, target, parts=parts)
        if choosing_x is not None:
            choosing = self._choosing.between(choosing_x, to.selecting, online(), parts=parts)
        own = self._own.between(x, to.output, online(), to.gradient, x_gradient, parts)
        chosen = None if choosing is None else byref(choosing)
        self._library.hunch_q_gradient(byref(following), chosen, byref(own), *errors, self._lanes)


class CompiledQ(_Networks):
    """Networks of one value an action, of one agent or of replicas of it."""

    def __init__(
        self, online: FastRunner, target: FastRunner, own: CompiledChain, following: CompiledChain
    ) -> None:
        super().__init__(online, target, own, following)
        self._acting, self._acted = own.twin(), _Places()

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

    def gradient(
        self, batch: Transitions, double: bool, parts: int = 1
    ) -> tuple[float, Tensor] | None:
        """Write the gradient of the loss of a batch; None, and nothing done, if torch has to.

        Args:
            batch: the transitions.
            double: whether the online network chooses the next action.
            parts: of the batch, each of which has noise of its own in all networks.

        Returns:
            The sum over replicas of the weighted mean over the batch, and the size of the error of
            each transition, `(replicas, batch)`, until the next call.
        """
        x = _inputs(batch.observation, self._own)
        next_x = _inputs(batch.next_observation, self._own)
        if x is None or next_x is None or x.shape[1] % parts or not self._usable:
            return None
        to = self._places(x)
        call = Difference(
            output=to.output.data_ptr(),
            following=to.following.data_ptr(),
            selecting=to.selecting.data_ptr() if double else None,
            action=batch.action.ctypes.data,
            reward=batch.reward.ctypes.data,
            discount=batch.discount.ctypes.data,
            weight=None if batch.weight is None else batch.weight.ctypes.data,
            gradient=to.gradient.data_ptr(),
            error=to.error.data_ptr(),
            members=x.shape[0],
            rows=x.shape[1],
            actions=self._own.outputs,
        )
        self._write_gradient(
            x, next_x, next_x if double else None, (byref(call), None), parts=parts
        )
        return call.loss, to.error


class CompiledMembers(_Networks):
    """Members with priors, of one value an action."""

    def values(self, x: Tensor, member: NDArray[np.int64]) -> Tensor | None:
        """Values of all actions by one member for each row; None if torch has to be asked.

        Args:
            x: what the members that learn are given, float32 `(rows, in)`.
            member: of each row, among those of all replicas.
        """
        if x.dim() != 2 or x.shape[1] != self._own.inputs or self._online.chain() is None:
            return None
        return self._own.of_members(x, member)

    def gradient(
        self,
        x: Tensor,
        next_x: Tensor,
        choosing_x: Tensor | None,
        batch: Transitions,
        prior: NDArray[np.float32],
        next_prior: NDArray[np.float32],
        x_gradient: Tensor | None = None,
        *,
        huber: bool = False,
    ) -> tuple[float, Tensor] | None:
        """Write the gradient of each member's loss; None, and nothing done, if torch has to.

        Args:
            x: what the networks that learn are given, float32 `(replicas · members, batch, in)`.
            next_x: what their copies are given of the next observations.
            choosing_x: what those that learn are given of them, if these choose there.
            batch: what was done and what it gave.
            prior: of the observations, `(replicas, batch, members, actions)`.
            next_prior: of the next ones.
            x_gradient: where the gradient of `x` goes, if it is asked for.
            huber: whether errors beyond 1 count by their size, not by half its square.

        Returns:
            The mean loss over all, and the largest size of all members' errors of each transition,
            `(replicas, batch)`, until the next call. The gradient is that of each member's own.
        """
        if x.dim() != 3 or x.shape[2] != self._own.inputs or not self._usable:
            return None
        to, (replicas, rows, members, actions) = self._places(x), prior.shape
        prior, next_prior = np.ascontiguousarray(prior), np.ascontiguousarray(next_prior)
        call = MemberDifference(
            output=to.output.data_ptr(),
            following=to.following.data_ptr(),
            selecting=None if choosing_x is None else to.selecting.data_ptr(),
            prior=prior.ctypes.data,
            next_prior=next_prior.ctypes.data,
            action=batch.action.ctypes.data,
            reward=batch.reward.ctypes.data,
            discount=batch.discount.ctypes.data,
            mask=None if batch.mask is None else batch.mask.ctypes.data,
            weight=None if batch.weight is None else batch.weight.ctypes.data,
            gradient=to.gradient.data_ptr(),
            error=to.error.data_ptr(),
            replicas=replicas,
            members=members,
            rows=rows,
            actions=actions,
            huber=huber,
        )
        self._write_gradient(x, next_x, choosing_x, (None, byref(call)), x_gradient)
        return call.loss, to.error[:replicas]


def compiled_q(online: Runner, target: Runner) -> CompiledQ | None:
    """What the kernel does for an agent's two networks, if it is there and they are of its kind.

    Args:
        online: what runs the network that learns; its outputs are values of actions.
        target: what runs its copy of before.

    Example:
        >>> from hunch.nn import MLP
        >>> from hunch.rl.networks.noise import FreshNoise
        >>> net = MLP(3, [8], 2)
        >>> run = FastRunner(net, FreshNoise(net, []))
        >>> found = compiled_q(run, run)
        >>> values = found.values(np.ones((1, 4, 3), np.float32)) if found else None
        >>> None if values is None else values.shape
        (1, 4, 2)
    """
    chains = _chains(online, target)
    return None if chains is None else CompiledQ(*chains)


def compiled_members(online: Runner, target: Runner) -> CompiledMembers | None:
    """What the kernel does for members and their copies, if it is there and they are of its kind.

    Args:
        online: what runs the members that learn, those of the first replica first.
        target: what runs their copies of before.

    Example:
        >>> from hunch.nn import MLP
        >>> from hunch.rl.networks.noise import FreshNoise
        >>> net = MLP(3, [8], 2)
        >>> run = FastRunner(net, FreshNoise(net, []))
        >>> found = compiled_members(run, run)
        >>> found is None or isinstance(found, CompiledMembers)
        True
    """
    chains = _chains(online, target)
    return None if chains is None else CompiledMembers(*chains)


def _chains(
    online: Runner, target: Runner
) -> tuple[FastRunner, FastRunner, CompiledChain, CompiledChain] | None:
    if not isinstance(online, FastRunner) or not isinstance(target, FastRunner):
        return None
    own, following = online.chain(), target.chain()
    return None if own is None or following is None else (online, target, own, following)


class _Places:
    """Where outputs go, for batches of one shape."""

    def __init__(self, members: int = 0, rows: int = 0, actions: int = 0) -> None:
        self.shape = (members, rows)
        self.output, self.following, self.selecting, self.gradient = (
            torch.zeros(members, rows, actions, dtype=torch.float32, device="cpu") for _ in range(4)
        )
        self.error = torch.zeros(members, rows, dtype=torch.float32, device="cpu")
        self.values: NDArray[np.float32] = self.output.numpy()


def _inputs(observation: NDArray[Any], chain: CompiledChain) -> Tensor | None:
    """Observations as the kernel reads them, if they are rows of as many numbers as layers take."""
    if observation.ndim != 3 or observation.shape[2] != chain.inputs:
        return None
    return torch.from_numpy(np.ascontiguousarray(observation, np.float32))
