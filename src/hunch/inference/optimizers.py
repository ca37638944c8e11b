"""The user's own optimizer and schedule, in the place of Adam."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from hunch.errors import ConfigurationError
from hunch.inference.training import Memory, fill_gradients

OptimizerOf = Callable[[list[nn.Parameter]], Optimizer]
ScheduleOf = Callable[[Optimizer], LRScheduler]


class OwnOptimizer:
    """An optimizer of torch's kind on all members at once, and its schedule.

    Args:
        parameters: what is trained, each `(members, …)`.
        optimizer: makes the optimizer of these; None is Adam.
        schedule: makes the schedule of the optimizer, which moves with each step; or None.
        lr: Adam's learning rate.
        max_gradient_norm: the largest norm of a member's gradient; longer ones are shortened.
        shared: whether the parameters are of all members together, without a leading axis.

    Raises:
        ConfigurationError: if one of the two is no such function, or makes something else.

    Example:
        >>> weight = nn.Parameter(torch.zeros(2, 3))
        >>> sgd = lambda parameters: torch.optim.SGD(parameters, lr=0.5)
        >>> OwnOptimizer([weight], sgd, None, lr=1e-3).step(weight.sum())
        >>> weight.detach()[:, 0]
        tensor([-0.5000, -0.5000])
    """

    def __init__(
        self,
        parameters: list[nn.Parameter],
        optimizer: OptimizerOf | None,
        schedule: ScheduleOf | None,
        lr: float,
        max_gradient_norm: float | None = None,
        *,
        shared: bool = False,
    ) -> None:
        self.parameters, self.max_gradient_norm, self.shared = parameters, max_gradient_norm, shared
        self.optimizer = _made(optimizer or partial(torch.optim.Adam, lr=lr), parameters)
        self.schedule = None if schedule is None else _scheduled(schedule, self.optimizer)

    def step(self, loss: Tensor, pull: float | Tensor | None = None) -> None:
        """One step down the sum of the members' losses; as `MemberAdam.step`."""
        fill_gradients(self.parameters, loss, pull, self.max_gradient_norm, shared=self.shared)
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()

    def memory(self) -> Memory:
        """What its next steps depend on."""
        found = self.optimizer.state_dict()
        entries = [(i, k, v) for i, own in found["state"].items() for k, v in own.items()]
        tensors = {f"{i}.{name}": v for i, name, v in entries if isinstance(v, Tensor)}
        schedule = {} if self.schedule is None else self.schedule.state_dict()
        return tensors, {
            "groups": plain(found["param_groups"]),
            "schedule": plain(schedule),
            "numbers": [[i, k, plain(v)] for i, k, v in entries if not isinstance(v, Tensor)],
        }

    def recall(self, memory: Memory) -> None:
        """Go on where the one with this memory stood."""
        tensors, values = memory
        state: dict[int, dict[str, Any]] = {}
        for name, tensor in tensors.items():
            i, _, key = name.partition(".")
            state.setdefault(int(i), {})[key] = tensor
        for i, key, value in values["numbers"]:
            state.setdefault(i, {})[key] = value
        groups = merged(self.optimizer.state_dict()["param_groups"], values["groups"])
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        if self.schedule is not None:
            self.schedule.load_state_dict(merged(self.schedule.state_dict(), values["schedule"]))


def plain(value: Any) -> Any:
    """What JSON can hold of a value; None for the rest of it.

    Example:
        >>> plain({"lr": torch.tensor(0.5), "betas": (0.9, 0.99), "f": print, "names": {3: 1}})
        {'lr': 0.5, 'betas': [0.9, 0.99], 'f': None, 'names': None}
    """
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.item()
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: plain(each) for key, each in value.items()}
    return None


def merged(own: Any, kept: Any) -> Any:
    """A value with what `plain` kept of an earlier one in the place of its own parts.

    Example:
        >>> merged({"lr": 1.0, "betas": (0.0, 0.0), "f": print}, {"lr": 0.5, "betas": [0.9, 0.99]})
        {'lr': 0.5, 'betas': (0.9, 0.99), 'f': <built-in function print>}
    """
    if isinstance(own, dict) and isinstance(kept, dict):
        return {k: merged(each, kept[k]) if k in kept else each for k, each in own.items()}
    if isinstance(own, list | tuple) and isinstance(kept, list) and len(own) == len(kept):
        return type(own)(merged(a, b) for a, b in zip(own, kept, strict=True))
    if isinstance(own, Tensor) and isinstance(kept, int | float):
        return torch.full_like(own, kept)
    return own if kept is None else kept


def _made(optimizer: OptimizerOf, parameters: list[nn.Parameter]) -> Optimizer:
    if isinstance(optimizer, Optimizer) or not callable(optimizer):
        raise ConfigurationError(
            f"`optimizer` got {type(optimizer).__name__}; expected a function of the parameters, "
            "such as `lambda p: torch.optim.SGD(p, lr=0.1)`."
        )
    made = optimizer(parameters)
    if not isinstance(made, Optimizer):
        raise ConfigurationError(
            f"`optimizer` returned {type(made).__name__}; expected a torch.optim.Optimizer."
        )
    if isinstance(made, torch.optim.LBFGS):
        raise ConfigurationError(
            "`optimizer` returned LBFGS, which asks for losses within a step; expected one that "
            "goes by the gradient alone, such as SGD or AdamW."
        )
    held = {id(p) for group in made.param_groups for p in group["params"]}
    if not held.intersection(map(id, parameters)):
        raise ConfigurationError(
            "`optimizer` returned one that moves none of the network's parameters; expected it to "
            "be made of those that the function is given."
        )
    return made


def _scheduled(schedule: ScheduleOf, optimizer: Optimizer) -> LRScheduler:
    example = "`lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=1000)`"
    if isinstance(schedule, LRScheduler) or not callable(schedule):
        raise ConfigurationError(
            f"`schedule` got {type(schedule).__name__}; expected a function of the optimizer, such "
            f"as {example}."
        )
    made = schedule(optimizer)
    if isinstance(made, ReduceLROnPlateau):
        raise ConfigurationError(
            "`schedule` returned ReduceLROnPlateau, which goes by a loss that no step knows; "
            f"expected one that goes by the number of steps, such as {example}. In a loop of your "
            "own it does as ever: see docs/your-model.md."
        )
    if not isinstance(made, LRScheduler):
        raise ConfigurationError(
            f"`schedule` returned {type(made).__name__}; expected an LRScheduler that goes by the "
            f"number of steps, such as {example}."
        )
    return made
