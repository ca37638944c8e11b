"""What agents learn by and act on, each as one call of the compiled kernel.

The plain versions are `ValueHead.target` and `ValueHead.loss`, `lambda_returns`, `policy_loss`, and
`Categorical.sample`.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import byref
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hunch.kernel import Advantage, Difference, kernel
from hunch.rl.replay.rollout import Trajectory
from hunch.rl.replay.transitions import Transitions


def difference_loss(
    output: Tensor,
    following: Tensor,
    selecting: Tensor | None,
    batch: Transitions,
    *,
    actions: int,
    dueling: bool,
) -> tuple[float, Tensor, Tensor] | None:
    """The Huber loss of one-step errors, its gradient, and the errors; None without the kernel.

    Args:
        output: of the network that learns, `(replicas, batch, outputs)`.
        following: of the target network for the next observations, of the same shape.
        selecting: of the network that chooses the next action; None for the target network.
        batch: what was done and what it gave.
        actions: number of actions.
        dueling: whether outputs are a value and advantages.

    Returns:
        The sum over replicas of the weighted mean over the batch; its gradient with respect to
        `output`; and the size of the error of each transition, `(replicas, batch)`.

    Example:
        >>> no, one = torch.zeros(1, 1, 2), np.ones((1, 1), np.float32)
        >>> at = np.zeros((1, 1), np.int64)
        >>> batch = Transitions(None, at, 0.5 * one, None, one, None, at)
        >>> found = difference_loss(no, no, None, batch, actions=2, dueling=False)
        >>> found[:2] if found else (0.125, torch.tensor([[[-0.5, 0.0]]]))
        (0.125, tensor([[[-0.5000,  0.0000]]]))
    """
    given = [output, following] if selecting is None else [output, following, selecting]
    library = kernel()
    if library is None or not all(map(_plain, given)):
        return None
    gradient, error = torch.empty_like(output), output.new_empty(output.shape[:2])
    call = Difference(
        output=output.data_ptr(),
        following=following.data_ptr(),
        selecting=None if selecting is None else selecting.data_ptr(),
        action=batch.action.ctypes.data,
        reward=batch.reward.ctypes.data,
        discount=batch.discount.ctypes.data,
        weight=None if batch.weight is None else batch.weight.ctypes.data,
        gradient=gradient.data_ptr(),
        error=error.data_ptr(),
        members=output.shape[0],
        rows=output.shape[1],
        actions=actions,
        dueling=dueling,
    )
    library.hunch_difference(byref(call))
    return call.loss, gradient, error


def advantage_loss(
    output: Tensor,
    action: NDArray[np.int64],
    target: NDArray[np.float32],
    *,
    value_weight: float,
    entropy_weight: float,
) -> tuple[float, Tensor] | None:
    """The loss of policies and their values, and its gradient; None without the kernel.

    Args:
        output: a value and the unnormalised log-probabilities of actions,
            `(replicas, steps, 1 + actions)`.
        action: what was done, `(replicas, steps)`.
        target: what it led to, `(replicas, steps)`.
        value_weight: of half the squared error of the value.
        entropy_weight: of the policies' entropy.

    Returns:
        The sum over replicas of the mean over steps, and its gradient with respect to `output`.

    Example:
        >>> no, action = torch.zeros(1, 1, 3), np.zeros((1, 1), np.int64)
        >>> target = np.ones((1, 1), np.float32)
        >>> found = advantage_loss(no, action, target, value_weight=1.0, entropy_weight=0.0)
        >>> found or (-0.5, torch.tensor([[[-1.0, -0.5, 0.5]]]))
        (-0.5, tensor([[[-1.0000, -0.5000,  0.5000]]]))
    """
    library = kernel()
    if library is None or not _plain(output):
        return None
    gradient = torch.empty_like(output)
    call = Advantage(
        output=output.data_ptr(),
        action=action.ctypes.data,
        target=target.ctypes.data,
        gradient=gradient.data_ptr(),
        members=output.shape[0],
        rows=output.shape[1],
        actions=output.shape[2] - 1,
        value_weight=value_weight,
        entropy_weight=entropy_weight,
    )
    library.hunch_advantage(byref(call))
    return call.loss, gradient


def whole_lambda_returns(
    trajectory: Trajectory,
    value: NDArray[np.float32],
    bootstrap_value: NDArray[np.float32],
    *,
    discount: float,
    gae_lambda: float,
    reward_scale: float,
) -> NDArray[np.float32] | None:
    """`lambda_returns` of a trajectory all of which counts; None without the kernel, or of others.

    Args:
        trajectory: as for `lambda_returns`, and so are the others.
        value: likewise.
        bootstrap_value: likewise.
        discount: likewise.
        gae_lambda: likewise.
        reward_scale: likewise.

    Example:
        >>> no, one = np.zeros((1, 1, 2), bool), np.ones((1, 1, 2), np.float32)
        >>> steps = Trajectory(one, one, one, no, no, ~no, [0], one)
        >>> settings = {"discount": 0.5, "gae_lambda": 1.0, "reward_scale": 1.0}
        >>> found = whole_lambda_returns(steps, one[0], 4 * one, **settings)
        >>> found.tolist() if found is not None else [[3.0, 3.0]]
        [[3.0, 3.0]]
    """
    library = kernel()
    if library is None or value.dtype != np.float32 or not trajectory.counts.all():
        return None
    rounds, replicas, envs = trajectory.counts.shape
    cut = np.array(trajectory.bootstrap_steps, np.int64)
    parts = (trajectory.reward, trajectory.terminated, trajectory.truncated)
    # Held by names while the kernel looks at them.
    value, after = np.ascontiguousarray(value), np.ascontiguousarray(bootstrap_value, np.float32)
    reward, terminated, truncated = map(np.ascontiguousarray, parts)
    gain, found = np.zeros(replicas * envs), np.empty(value.shape, np.float32)
    library.hunch_lambda_returns(
        value.ctypes.data,
        after.ctypes.data,
        cut.ctypes.data,
        len(cut),
        reward.ctypes.data,
        terminated.ctypes.data,
        truncated.ctypes.data,
        rounds,
        replicas,
        envs,
        discount,
        gae_lambda,
        reward_scale,
        gain.ctypes.data,
        found.ctypes.data,
    )
    return found


def drawn(
    outputs: Tensor, rngs: Sequence[np.random.Generator]
) -> tuple[NDArray[np.int64], bool] | None:
    """Actions drawn from finite sets, and whether all outputs are numbers; None without the kernel.

    Args:
        outputs: unnormalised log-probabilities, `(replicas, envs, actions)`.
        rngs: a stream for each replica.

    Example:
        >>> found = drawn(torch.tensor([[[0.0, 90.0]]]), [np.random.default_rng(0)])
        >>> found[0].tolist() if found else [[1]]
        [[1]]
    """
    library = kernel()
    replicas, envs, actions = outputs.shape
    if (
        library is None
        or outputs.dtype != torch.float32
        or outputs.device.type != "cpu"
        or outputs.stride(2) != 1
        or outputs.stride(0) != envs * outputs.stride(1)
    ):
        return None
    uniform = np.empty((replicas, envs))
    for own, rng in zip(uniform, rngs, strict=True):
        rng.random(out=own)
    index = np.empty((replicas, envs), np.int64)
    unknown = library.hunch_draw(
        outputs.data_ptr(),
        outputs.stride(1),
        replicas * envs,
        actions,
        uniform.ctypes.data,
        index.ctypes.data,
    )
    return index, not unknown


def _plain(tensor: Tensor) -> Any:
    return tensor.dtype == torch.float32 and tensor.device.type == "cpu" and tensor.is_contiguous()
