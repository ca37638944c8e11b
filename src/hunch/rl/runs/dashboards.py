"""Curves of a training on Weights & Biases (extra `wandb`) and trackio (extra `trackio`)."""

from __future__ import annotations

import importlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hunch.errors import MissingDependencyError
from hunch.rl.agents.agent import Agent
from hunch.rl.runs.callbacks import Evaluate
from hunch.rl.runs.loggers import CurveLog, plain_settings

STEPS: Final = "environment_steps"


class WandbLog(CurveLog):
    """Curves on Weights & Biases; the names are those of `TensorBoardLog`.

    A row holds the means of what is new since the row before, and `environment_steps`, over which
    curves are drawn. `WANDB_MODE=offline` in the environment, or `mode="offline"`, keeps all of it
    on this machine. A training that is resumed from a checkpoint goes on in the same run.

    Args:
        project: its name; None leaves that to Weights & Biases.
        every: environment steps from one row to the next.
        evaluation: an `Evaluate` before this one in the list, whose scores are written.
        options: further arguments of `wandb.init`, such as `name`, `group`, `dir` or `mode`.

    Raises:
        MissingDependencyError: if wandb is not installed.

    Example:
        >>> from hunch.rl import DQN
        >>> log = WandbLog("cartpole", group="noisy", mode="offline")  # doctest: +SKIP
        >>> DQN("CartPole-v1", noisy=True).learn(20_000, callbacks=[log])  # doctest: +SKIP
        >>> log.close()  # doctest: +SKIP

    Note:
        Rows that a killed training wrote after its last checkpoint stay; a resumed one writes those
        steps again.
    """

    def __init__(
        self,
        project: str | None = None,
        *,
        every: int = 1_000,
        evaluation: Evaluate | None = None,
        **options: Any,
    ) -> None:
        self._options = {"project": project, **options}
        super().__init__(".", every, evaluation)

    def _start(self) -> None:
        super()._start()
        self._wandb = _imported("wandb")
        self._id: str | None = None
        self._run: Any = None

    def _open(self, agent: Agent) -> None:
        options = {"config": plain_settings(agent), **self._options}
        if self._id is not None:
            options |= {"id": self._id, "resume": "allow"}
        self._run = self._wandb.init(**options)
        self._id = str(self._run.id)
        self._run.define_metric(STEPS)
        self._run.define_metric("*", step_metric=STEPS)

    def _write(self, points: Sequence[tuple[str, int, float]], step: int) -> None:
        self._run.log({**_means(points), STEPS: step})

    def _close(self) -> None:
        self._run.finish()
        self._run = None

    def state_dict(self) -> dict[str, Any]:
        """How far the curves are written, and which run they are in."""
        return {**super().state_dict(), "id": self._id}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there, in the same run."""
        super().load_state_dict(state)
        self._id = state["id"]


class TrackioLog(CurveLog):
    """Curves on trackio, which keeps them on this machine; the names are those of `TensorBoardLog`.

    A row holds the means of what is new since the row before, at its environment step. `trackio
    show` in a terminal shows them. A training that is resumed from a checkpoint goes on in the same
    run.

    Args:
        project: its name.
        every: environment steps from one row to the next.
        evaluation: an `Evaluate` before this one in the list, whose scores are written.
        options: further arguments of `trackio.init`, such as `name` or `group`.

    Raises:
        MissingDependencyError: if trackio is not installed.

    Example:
        >>> from hunch.rl import DQN
        >>> log = TrackioLog("cartpole", name="noisy-0")  # doctest: +SKIP
        >>> DQN("CartPole-v1", noisy=True).learn(20_000, callbacks=[log])  # doctest: +SKIP
        >>> log.close()  # doctest: +SKIP

    Note:
        Rows that a killed training wrote after its last checkpoint stay; a resumed one writes those
        steps again.
    """

    def __init__(
        self,
        project: str,
        *,
        every: int = 1_000,
        evaluation: Evaluate | None = None,
        **options: Any,
    ) -> None:
        self._options = {"project": project, **options}
        super().__init__(".", every, evaluation)

    def _start(self) -> None:
        super()._start()
        self._trackio = _imported("trackio")
        self._name: str | None = None
        self._run: Any = None

    def _open(self, agent: Agent) -> None:
        options = {"config": plain_settings(agent), **self._options}
        if self._name is not None:
            options |= {"name": self._name, "resume": "allow"}
        self._run = self._trackio.init(**options)
        self._name = str(self._run.name)

    def _write(self, points: Sequence[tuple[str, int, float]], step: int) -> None:
        self._run.log(_means(points), step=step)

    def _close(self) -> None:
        self._run.finish()
        self._run = None

    def state_dict(self) -> dict[str, Any]:
        """How far the curves are written, and which run they are in."""
        return {**super().state_dict(), "name": self._name}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there, in the same run."""
        super().load_state_dict(state)
        self._name = state["name"]


def _means(points: Sequence[tuple[str, int, float]]) -> dict[str, float]:
    """One value for each name, as a row has it.

    Example:
        >>> _means([("loss", 5, 1.0), ("loss", 9, 3.0), ("rate", 9, 0.1)])
        {'loss': 2.0, 'rate': 0.1}
    """
    found = defaultdict(list)
    for name, _, value in points:
        found[name].append(value)
    return {name: math.fsum(values) / len(values) for name, values in found.items()}


def _imported(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingDependencyError(
            f'logs on {package} need it: pip install "torch-hunch[{package}]".'
        ) from error
