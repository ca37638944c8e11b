"""What is done every so often while an agent learns: evaluate, keep, stop.

A callback has `every`, in environment steps, and is called with the agent; to return True ends the
training. `learn` calls those that are due in the order in which it got them, so put `Checkpoint`
last: it keeps what the others remember as well, and a training taken up again from a checkpoint
then has the same records, logs and best weights as one that was never interrupted.
"""

from __future__ import annotations

import os
import re
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from hunch.errors import FolderError
from hunch.rl.agent import Agent
from hunch.rl.arguments import real_number, whole_number
from hunch.rl.environments import Env, another_env, rendering_env
from hunch.rl.evaluation import evaluate
from hunch.rl.saved_agents import KIND, SETTINGS_FILE, put_agent
from hunch.rl.training import Callback
from hunch.rl.weights import Weights, agent_class, set_weights, weights_of, write_weights
from hunch.seeding import check_seed
from hunch.storage import (
    new_folder,
    open_folder,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)

CALLBACKS_JSON: Final = "callbacks.json"
CALLBACKS_TENSORS: Final = "callbacks.safetensors"
_NAME: Final = re.compile(r"step-(\d{12})")


@runtime_checkable
class Remembering(Protocol):
    """A callback with a memory, which a checkpoint keeps."""

    def state_dict(self) -> dict[str, Any]:
        """What it remembers: tensors, and values that JSON can hold."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember what `state_dict` gave, and nothing else."""


@dataclass(frozen=True)
class Score:
    """One evaluation of one replica.

    Args:
        step: environment steps that the replica had made.
        replica: its number.
        returns: return of each evaluation episode.
    """

    step: int
    replica: int
    returns: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.returns))


class Evaluate:
    """Play evaluation episodes every so often, and keep the weights that did best.

    Args:
        every: environment steps from one evaluation to the next.
        episodes: episodes of each replica, always from the same starts.
        seed: seed of the starts. To judge the weights that were best here, take another one.
        env_kwargs: keyword arguments in which the environment differs from the one trained on,
            such as `dict(clip_rewards=False)`.

    Attributes:
        scores: all evaluations so far, in order.

    Example:
        >>> from hunch.rl import DQN
        >>> check = Evaluate(every=100, episodes=2)
        >>> agent = DQN("CartPole-v1").learn(200, callbacks=[check], progress=False)
        >>> [score.step for score in check.scores]
        [100, 200]
        >>> check.load_best(agent)  # from here on the agent acts as it did when it did best
    """

    def __init__(
        self,
        every: int,
        episodes: int = 10,
        seed: int = 0,
        env_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self.every = whole_number("every", every, at_least=1)
        self.episodes = whole_number("episodes", episodes, at_least=1)
        self.seed = check_seed(seed)
        self._env_kwargs = dict(env_kwargs or {})
        self.scores: list[Score] = []
        self._best: dict[int, tuple[Score, Weights]] = {}

    def __call__(self, agent: Agent) -> None:
        """Evaluate every replica."""
        for r in range(agent.replicas):
            player = Player(agent, r, self._env_kwargs)
            returns = evaluate(player, self.episodes, seed=self.seed).returns.tolist()
            score = Score(agent.steps, r, tuple(returns))
            self.scores.append(score)
            # Of equals the later one, which has learned from more.
            if r not in self._best or score.mean >= self._best[r][0].mean:
                self._best[r] = (score, weights_of(agent, r))

    def latest(self, replica: int) -> Score | None:
        """A replica's last evaluation."""
        return next((s for s in reversed(self.scores) if s.replica == replica), None)

    def best(self, replica: int) -> Score | None:
        """The evaluation whose weights are kept: the best one, of equals the latest."""
        return self._best[replica][0] if replica in self._best else None

    def load_best(self, agent: Agent) -> None:
        """Let every replica of an agent act with the best weights it had."""
        for r, (_, weights) in self._best.items():
            set_weights(agent, r, weights)

    def write_best(self, path: str | os.PathLike[str], agent: Agent) -> None:
        """Write the best weights to a folder that `hunch.rl.weights.read_weights` reads."""
        if len(self._best) == agent.replicas:
            kept = [self._best[r] for r in range(agent.replicas)]
            notes = [{"step": score.step, "mean_return": score.mean} for score, _ in kept]
            write_weights(path, agent, [weights for _, weights in kept], notes)

    def state_dict(self) -> dict[str, Any]:
        """All scores, and the best weights."""
        state: dict[str, Any] = {
            "scores": [[s.step, s.replica, list(s.returns)] for s in self.scores],
            "best_steps": {str(r): score.step for r, (score, _) in self._best.items()},
        }
        for r, (_, weights) in self._best.items():
            state |= {f"best.{r}.{name}": value for name, value in weights.items()}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember what `state_dict` gave, and nothing else."""
        self.scores = [Score(step, r, tuple(returns)) for step, r, returns in state["scores"]]
        self._best = {}
        for key, step in state["best_steps"].items():
            r, prefix = int(key), f"best.{key}."
            score = next(s for s in self.scores if s.replica == r and s.step == step)
            own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            self._best[r] = (score, own)


class Player:
    """A replica in environments that differ from those it is trained in.

    Args:
        agent: the agent.
        replica: which of its replicas.
        env_kwargs: keyword arguments of the environment that differ.
    """

    def __init__(
        self, agent: Agent, replica: int, env_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        self._agent, self._replica = agent, agent.replica(replica)
        self._different = dict(env_kwargs or {})

    def predict(self, observation: Any, deterministic: bool = True) -> Any:
        """As `hunch.rl.agent.Agent.predict`."""
        return self._replica.predict(observation, deterministic)

    def another_env(self) -> Env:
        """A new environment to be evaluated in."""
        if not self._different:
            return self._agent.another_env()
        return another_env(self._agent._single_source(), self._kwargs())

    def rendering_env(self) -> Env:
        """A new environment to be filmed in."""
        if not self._different:
            return self._agent.rendering_env()
        return rendering_env(self._agent._single_source(), self._kwargs())

    def _kwargs(self) -> dict[str, Any]:
        return {**self._agent._env_kwargs, **self._different}


class StopOnReturn:
    """End the training once every replica is good enough.

    Args:
        bar: mean return that is good enough.
        episodes: number of last training episodes that the mean is taken over.
        evaluation: an `Evaluate` before this one in the list, whose last scores are taken instead.
        every: environment steps from one look to the next; None is at each step, or after each
            evaluation.

    Attributes:
        reached: whether it has ended the training.

    Example:
        >>> from hunch.rl import DQN
        >>> stop = StopOnReturn(bar=10, episodes=3)
        >>> agent = DQN("CartPole-v1").learn(500, callbacks=[stop], progress=False)
        >>> agent.steps < 500
        True
    """

    def __init__(
        self,
        bar: float,
        episodes: int = 20,
        *,
        evaluation: Evaluate | None = None,
        every: int | None = None,
    ) -> None:
        self.bar = real_number("bar", bar)
        self.episodes = whole_number("episodes", episodes, at_least=1)
        self.evaluation = evaluation
        usual = 1 if evaluation is None else evaluation.every
        self.every = usual if every is None else whole_number("every", every, at_least=1)
        self.reached = False

    def __call__(self, agent: Agent) -> bool:
        """Whether every replica's mean return has reached the bar."""
        means = [self._mean(agent, r) for r in range(agent.replicas)]
        self.reached = all(mean is not None and mean >= self.bar for mean in means)
        return self.reached

    def _mean(self, agent: Agent, r: int) -> float | None:
        if self.evaluation is not None:
            score = self.evaluation.latest(r)
            return None if score is None else score.mean
        returns = agent.histories[r].returns
        return float(np.mean(returns[-self.episodes :])) if len(returns) >= self.episodes else None


class StopWhenSolved:
    """End the training once every replica has solved deep sea, as bsuite defines it.

    Solved is the first episode after which the share of episodes so far that left the best path is
    below `bound`. The environment says so in `info["bad_episode"]`.

    Args:
        bound: 0.9, or 0.8 for a stochastic sea.
        earliest: the first episode that may count: 1, or 100 for a stochastic sea.
        every: environment steps from one look to the next.

    Attributes:
        solved: for each replica the episode that solved it, or None.

    Example:
        >>> from hunch.rl import BootstrappedDQN
        >>> agent = BootstrappedDQN("hunch/DeepSea-v0", env_kwargs=dict(size=4))
        >>> stop = StopWhenSolved()
        >>> _ = agent.learn(1000, callbacks=[stop], progress=False)
        >>> stop.solved[0] is not None
        True
    """

    def __init__(self, bound: float = 0.9, earliest: int = 1, every: int = 1) -> None:
        self.bound = real_number("bound", bound, above=0.0, at_most=1.0)
        self.earliest = whole_number("earliest", earliest, at_least=1)
        self.every = whole_number("every", every, at_least=1)
        self._restart(0)

    def _restart(self, replicas: int) -> None:
        self.solved: list[int | None] = [None] * replicas
        self._bad, self._seen = [0] * replicas, [0] * replicas

    @property
    def reached(self) -> bool:
        """Whether every replica has solved it."""
        return bool(self.solved) and None not in self.solved

    def __call__(self, agent: Agent) -> bool:
        """Whether every replica has solved it by now."""
        # All that is remembered follows from the histories, so a checkpoint need not keep it.
        if len(self.solved) != agent.replicas:
            self._restart(agent.replicas)
        for r, history in enumerate(agent.histories):
            for info in history.infos[self._seen[r] :]:
                self._seen[r] += 1
                self._bad[r] += bool(info.get("bad_episode", True))
                enough = self._seen[r] >= self.earliest
                if self.solved[r] is None and enough and self._bad[r] < self.bound * self._seen[r]:
                    self.solved[r] = self._seen[r]
        return self.reached


class Checkpoint:
    """Write the agent, and what other callbacks remember, to a folder from which both go on.

    Each checkpoint is a folder `step-…` that `DQN.load` reads as well. It takes its name when it is
    whole, and only then are older ones deleted.

    Args:
        folder: where the checkpoints go.
        every: environment steps from one to the next.
        keep: how many are kept, at least 1.
        callbacks: others whose memory is kept; give them to `learn` before this one.

    Example:
        >>> import tempfile
        >>> from hunch.rl import DQN
        >>> checkpoint = Checkpoint(tempfile.mkdtemp(), every=100)
        >>> agent = DQN("CartPole-v1").learn(250, callbacks=[checkpoint], progress=False)
        >>> checkpoint.resume().steps  # or None if there is no checkpoint yet
        200
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every: int = 10_000,
        keep: int = 2,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self.every = whole_number("every", every, at_least=1)
        self.keep = whole_number("keep", keep, at_least=1)
        self.others = list(callbacks)

    def __call__(self, agent: Agent) -> None:
        """Write a checkpoint now.

        Raises:
            FolderError: if it cannot be written.
        """
        with new_folder(self.folder / f"step-{agent.steps:012d}", KIND) as folder:
            put_agent(folder, type(agent).__name__, agent.settings, agent.state_dict())
            states = {name: c.state_dict() for name, c in self._remembering().items()}
            values, tensors = _apart(states)
            write_json(folder / CALLBACKS_JSON, values)
            write_tensors(folder / CALLBACKS_TENSORS, tensors)
        for old in self.all()[: -self.keep]:
            shutil.rmtree(old, ignore_errors=True)

    def all(self) -> list[Path]:
        """The checkpoints there are, oldest first, whole or damaged."""
        if not self.folder.is_dir():
            return []
        return sorted(p for p in self.folder.iterdir() if _NAME.fullmatch(p.name))

    def resume(
        self,
        *,
        settings: Mapping[str, Any] | None = None,
        tell: Callable[[str], None] = warnings.warn,
        **given: Any,
    ) -> Any:
        """The agent of the newest checkpoint that is whole; the callbacks remember what they did.

        A damaged or foreign one is told of, renamed so that it is in nobody's way, and the one
        before it is taken.

        Args:
            settings: what the agent must have been made with; None takes any.
            tell: called with one sentence for each checkpoint that was not taken.
            given: as for the agent's `load`.

        Returns:
            The agent, or None if there is no checkpoint.

        Raises:
            DataError: if the environment does not repeat the episode that the agent was in.
        """
        self._sweep()
        for place in reversed(self.all()):
            try:
                found = check_checkpoint(place, settings)
                memory = self.memory(place)
            except FolderError as error:
                aside = _set_aside(place)
                tell(f"{error} Renamed to {aside.name!r}; the checkpoint before it is taken.")
                continue
            for name, callback in self._remembering().items():
                callback.load_state_dict(memory[name])
            return agent_class(found["agent"]).load(place, **given)
        return None

    def _sweep(self) -> None:
        """Delete what a kill left of checkpoints that never became whole."""
        if self.folder.is_dir():
            for left in self.folder.glob(".step-*"):
                shutil.rmtree(left, ignore_errors=True)

    def memory(self, place: Path) -> dict[str, dict[str, Any]]:
        """What the callbacks remember in one checkpoint, by their names.

        Raises:
            FolderError: if it was written with other callbacks.
        """
        tensors = read_tensors(place / CALLBACKS_TENSORS)
        values: dict[str, dict[str, Any]] = read_json(place / CALLBACKS_JSON)
        names = self._remembering().keys()
        if names != values.keys():
            raise FolderError(
                f"{str(place)!r} was written with the callbacks {', '.join(values) or 'none'}; "
                f"expected {', '.join(names) or 'none'}."
            )
        for key, tensor in tensors.items():
            name, _, rest = key.partition(".")
            values[name][rest] = tensor
        return values

    def _remembering(self) -> dict[str, Remembering]:
        return {
            f"{i}-{type(callback).__name__}": callback
            for i, callback in enumerate(self.others)
            if isinstance(callback, Remembering)
        }


def check_checkpoint(place: Path, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a checkpoint says of its agent, once it is seen to be whole and of this run.

    Args:
        place: the checkpoint's folder.
        settings: what the agent must have been made with; None takes any.

    Raises:
        FolderError: if it is damaged, or another run's.

    Example:
        >>> import tempfile
        >>> from hunch.rl import DQN
        >>> checkpoint = Checkpoint(tempfile.mkdtemp())
        >>> checkpoint(DQN("CartPole-v1"))
        >>> check_checkpoint(checkpoint.all()[0])["agent"]
        'DQN'
    """
    open_folder(place, KIND)
    found: dict[str, Any] = read_json(place / SETTINGS_FILE)
    if settings is not None and found["settings"] != dict(settings):
        raise FolderError(f"{str(place)!r} is a checkpoint of another run.")
    return found


def _apart(states: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    values: dict[str, Any] = {name: {} for name in states}
    tensors: dict[str, Tensor] = {}
    for name, state in states.items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"{name}.{key}"] = value
            else:
                values[name][key] = value
    return values, tensors


def _set_aside(place: Path) -> Path:
    aside = place.with_name(f"refused-{place.name}")
    number = 2
    while aside.exists():
        aside = place.with_name(f"refused-{place.name}-{number}")
        number += 1
    place.rename(aside)
    return aside
