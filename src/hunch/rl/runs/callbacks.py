"""What is done every so often while an agent learns: evaluate, stop.

A callback has `every`, in environment steps, and is called with the agent; to return True ends the
training. `learn` calls those that are due in the order in which it got them, so put `Checkpoint`
last: it keeps what the others remember as well, and a training resumed from a checkpoint
then has the same records, logs and best weights as one that was never interrupted.

Not here: `Checkpoint` is in `checkpoints`, `CsvLog` and `TensorBoardLog` are in `loggers`, those
of other dashboards in `dashboards`.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv

from hunch.errors import ConfigurationError
from hunch.rl.agents.agent import Agent
from hunch.rl.environments.make import Env, EnvLike, make_env
from hunch.rl.runs.evaluation import MAX_STEPS, evaluate
from hunch.rl.runs.weights import Weights, set_weights, weights_of, write_weights
from hunch.seeding import check_seed
from hunch.validation import real_number, whole_number


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
        seed: seed of the starts. To evaluate the weights that were best here, take another one.
        env_kwargs: keyword arguments in which the environment differs from the one trained on,
            such as `dict(clip_rewards=False)`.
        env: where to play, if not in environments equal to the one trained in; as in
            `hunch.rl.evaluate`.
        max_steps: environment steps after which an episode is given up, as there.

    Raises:
        ConfigurationError: if a number is out of range, or `env_kwargs` are given for an
            environment that is already made.

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
        *,
        env: EnvLike | VectorEnv[Any, Any, Any] | None = None,
        max_steps: int = MAX_STEPS,
    ) -> None:
        self.every = whole_number("every", every, at_least=1)
        self.episodes = whole_number("episodes", episodes, at_least=1)
        self.seed = check_seed(seed)
        self.max_steps = whole_number("max_steps", max_steps, at_least=1)
        self._env_kwargs = dict(env_kwargs or {})
        self._env = _with_kwargs(env, self._env_kwargs)
        self.scores: list[Score] = []
        self._best: dict[int, tuple[Score, Weights]] = {}

    def check(self, agent: Agent) -> None:
        """Say before an agent learns that it cannot be evaluated, not after `every` steps.

        Raises:
            ConfigurationError: if no environment equal to the one trained in can be made.
        """
        if self._env is None:
            Player(agent, 0, self._env_kwargs).another_env().close()

    def __call__(self, agent: Agent) -> None:
        """Evaluate every replica."""
        # All of them before any is remembered: an interrupt leaves no half of an evaluation.
        scores = [Score(agent.steps, r, self._returns(agent, r)) for r in range(agent.replicas)]
        self.scores += scores
        for r, score in enumerate(scores):
            # Of equals the later one, which has learned from more.
            if r not in self._best or _worth(score) >= _worth(self._best[r][0]):
                self._best[r] = (score, weights_of(agent, r))

    def _returns(self, agent: Agent, r: int) -> tuple[float, ...]:
        player = Player(agent, r, self._env_kwargs)
        options: dict[str, Any] = {"env": self._env, "max_steps": self.max_steps}
        return tuple(evaluate(player, self.episodes, seed=self.seed, **options).returns.tolist())

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
        """Write the best weights to a folder that `hunch.rl.runs.weights.read_weights` reads."""
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


def _worth(score: Score) -> float:
    """A score's mean; NaN is worse than any."""
    return -math.inf if math.isnan(score.mean) else score.mean


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
        self._replica = agent.replica(replica)
        self.origin = self._replica.origin
        self._different = dict(env_kwargs or {})

    def predict(self, observation: Any, deterministic: bool = True) -> Any:
        """As `hunch.rl.agents.agent.Agent.predict`."""
        return self._replica.predict(observation, deterministic)

    def another_env(self) -> Env:
        """A new environment to be evaluated in."""
        return self.origin.another(self._different)

    def rendering_env(self) -> Env:
        """A new environment to be recorded in."""
        return self.origin.rendering(self._different)


class RandomPlayer(Player):
    """Actions drawn at random from the agent's space, in the same environments.

    Args:
        agent: the agent.
        seed: of the draws.
        env_kwargs: as for `Player`.
    """

    def __init__(
        self, agent: Agent, seed: int, env_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(agent, 0, env_kwargs)
        self._actions = copy.deepcopy(agent.action_space)
        self._actions.seed(seed % 2**32)
        self._combined = agent.flat_actions

    def predict(self, observation: Any, deterministic: bool = True) -> Any:
        """An action for each observation of a batch."""
        drawn = np.stack([self._actions.sample() for _ in range(_many(observation))])
        return drawn if self._combined is None else self._combined.taken(drawn)


def _many(batch: Any) -> int:
    """How many observations a batch holds, whatever parts they have."""
    if isinstance(batch, Mapping | tuple):
        return _many(next(iter(batch.values() if isinstance(batch, Mapping) else batch)))
    return len(batch)


def _with_kwargs(env: Any, env_kwargs: Mapping[str, Any]) -> Any:
    """What makes environments with keyword arguments, if there are any to be given."""
    if env is None or not env_kwargs:
        return env
    if isinstance(env, gymnasium.Env | VectorEnv):
        raise ConfigurationError(
            f"`env_kwargs` got {dict(env_kwargs)!r} for an environment that is already made; "
            "give them where you make it, or pass its id as `env`."
        )
    return lambda: make_env(env, env_kwargs)


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
