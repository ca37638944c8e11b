"""What is true of every agent: environments, time, replicas, and how its life is kept."""

from __future__ import annotations

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from gymnasium.spaces import Discrete
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor, nn

from hunch.errors import ConfigurationError
from hunch.rl.agents.arguments import observation_scale
from hunch.rl.agents.devices import usable_device
from hunch.rl.agents.divergence import check_weights
from hunch.rl.agents.history import SHOWN_EPISODES, History
from hunch.rl.agents.loop import Callback, TrainingLoop, check_callbacks
from hunch.rl.agents.replica import Policy, Replica, ScaledPolicy
from hunch.rl.agents.saving import (
    GIVEN,
    arguments_of,
    check_nothing_missing,
    check_state,
    from_json,
    origin_of,
    read_agent,
    to_json,
    write_agent,
)
from hunch.rl.agents.trust import check_trusted
from hunch.rl.environments.flattening import (
    FlatActions,
    FlatObservations,
    flat_actions,
    flat_observations,
)
from hunch.rl.environments.make import (
    Env,
    EnvLike,
    check_spaces,
    frame_stack_of,
    spaces_of,
    stored_dtype,
)
from hunch.rl.environments.opening import open_envs
from hunch.rl.environments.origins import Origin
from hunch.rl.environments.vector import Bools, SingleEnvs
from hunch.rl.networks.feature_layers import is_pixels, warn_of_images_within
from hunch.rl.networks.observation_scale import ObservationScale
from hunch.rl.networks.shared_memory import Linked
from hunch.rl.objectives.reward_scale import LARGE, RewardScale
from hunch.rl.replay.transitions import Step
from hunch.seeding import check_seed, numpy_generator, torch_generator
from hunch.shown import card
from hunch.storage import as_written
from hunch.storage.parts import Arrays, Part, load_parts, state_of
from hunch.validation import real_number, whole_number


class Agent(Linked, ABC):
    """One agent, or several replicas of it with other seeds, in its environments.

    `hunch.rl.DQN` and the others are subclasses, and so can one of your own be: it says how to
    `act` and to `observe`, which `network` learns and how many `updates` it has had, the `policy`
    outside training, and the `parts` that decide how training goes on. It is then saved, resumed,
    copied, evaluated and recorded as the others are.

    It sees arrays of `observation_shape` and chooses from `action_space`, whatever form those of
    the environment have: `flat_observations` and `flat_actions` lie between, or are None.

    Args:
        env: as for `hunch.rl.DQN`.
        env_kwargs: as for `hunch.rl.DQN`.
        num_envs: as for `hunch.rl.DQN`.
        replicas: as for `hunch.rl.DQN`; more than one only where the subclass is made for it.
        device: where networks live.
        seed: of everything that is left to chance, at least 0.

    Raises:
        ConfigurationError: for an unknown environment, spaces the agent cannot handle, or a number
            out of range.

    Example:
        >>> from hunch.rl import NetworkPolicy
        >>> class Still(Agent):
        ...     network, updates = nn.Linear(4, 2), 0
        ...     def act(self, observation, is_first):
        ...         return np.zeros(observation.shape[:2], np.int64)
        ...     def observe(self, step):
        ...         pass
        ...     def policy(self, replica):
        ...         best = lambda out, deterministic: out.argmax(-1).numpy()
        ...         return NetworkPolicy(self.network, torch.Generator(), best)
        ...     def parts(self):
        ...         return {"network": self.network}
        >>> Still("CartPole-v1").learn(10, progress=False).predict([0.0] * 4) in (0, 1)
        True
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Keep the constructor's arguments, a subclass's own among them, for `save`."""
        agent = super().__new__(cls)
        agent._settings = {n: to_json(v) for n, v in arguments_of(cls, args, kwargs).items()}
        return agent

    def __init__(
        self,
        env: EnvLike | VectorEnv[Any, Any, Any],
        *,
        env_kwargs: Mapping[str, Any] | None = None,
        num_envs: int = 1,
        replicas: int = 1,
        device: torch.device | str = "cpu",
        seed: int = 0,
    ) -> None:
        self.seed = check_seed(seed)
        self.replicas = whole_number("replicas", replicas, at_least=1)
        self.device = usable_device(device)
        self._env_kwargs = dict(env_kwargs or {})
        self._env_source = env
        envs, first = open_envs(
            env,
            self._env_kwargs,
            num_envs=whole_number("num_envs", num_envs, at_least=1),
            replicas=self.replicas,
            seed=self.seed,
            continuous=self.handles_boxes,
        )
        observations, self.action_space = check_spaces(first, continuous=self.handles_boxes)
        # What is between these and the environment's own; None where they are the same.
        own_observations, own_actions = spaces_of(first)
        self.flat_observations: FlatObservations | None = flat_observations(own_observations)
        self.flat_actions: FlatActions | None = flat_actions(own_actions)
        if self.flat_observations is not None:
            warn_of_images_within(self.flat_observations.bytes_within)
        self._first_env = first
        self.num_envs = envs.num_envs // self.replicas
        self.observation_shape = observations.shape
        self.observation_dtype = stored_dtype(observations)
        # Of a finite set; other actions have no names but themselves.
        self._num_actions, self.first_action = 0, 0
        if isinstance(self.action_space, Discrete):
            self._num_actions = int(self.action_space.n)
            self.first_action = int(self.action_space.start)
        # Images that lie in several stacks are stored once.
        self._frame_stack = frame_stack_of(first) if is_pixels(self.observation_dtype) else 1
        self._loop = TrainingLoop(
            envs, self.replicas, self.observation_shape, self.observation_dtype
        )
        self._reward_scale = RewardScale(1.0, discount=1.0, replicas=self.replicas)

    # Arguments that came later: what is true of agents that were saved before there were such.
    _added_arguments: ClassVar[Mapping[str, Any]] = {}

    # What an agent fills in.

    handles_boxes: ClassVar[bool] = False  # whether actions may be continuous

    @property
    @abstractmethod
    def network(self) -> nn.Module:
        """What is trained; with replicas those of all."""

    @property
    @abstractmethod
    def updates(self) -> int:
        """Gradient updates made so far."""

    @abstractmethod
    def act(self, observation: NDArray[Any], is_first: Bools) -> NDArray[Any]:
        """The actions to try next in training, `(replicas, envs, …)`."""

    @abstractmethod
    def observe(self, step: Step) -> Bools | None:
        """Take in one step of all environments; learn if it is time to.

        Returns:
            Which episodes are to be given up, `(replicas, envs)`; None for none.
        """

    @abstractmethod
    def policy(self, replica: int) -> Policy:
        """How a replica acts now, outside training."""

    @abstractmethod
    def parts(self) -> Mapping[str, Part]:
        """All that decides how training goes on, but for the loop and its histories."""

    def settle(self) -> None:
        """Make good what somebody did to the networks' memory, or refuse it; here nothing."""

    def state_values(self, observation: Tensor, replica: int) -> NDArray[Any] | None:
        """What a replica expects of observations, for logs; here it says nothing.

        Args:
            observation: `(batch, …)`, as the networks take them.
            replica: which one.

        Returns:
            The return from each of them on, `(batch,)`, without exploration or noise; None of an
            agent that does not predict it.
        """
        return None

    # What brings observations to a common scale before a network is called, if anything does.
    observation_scale: ObservationScale | None = None

    def _normalize(self, normalize: object, network: object = None) -> None:
        """Have a scale of observations, if that is asked.

        Args:
            normalize: what was asked; None to choose.
            network: of the user's, which unasked gets observations as they are.
        """
        self.observation_scale = observation_scale(
            False if normalize is None and network is not None else normalize,
            self._first_env,
            self.observation_shape,
            self.observation_dtype,
            self.replicas,
        )

    def _take_in(self, step: Step) -> None:
        """Let the scale of observations be that of a step's, too."""
        if self.observation_scale is not None:
            self.observation_scale.take_in(step.observation, step.valid)

    def _scaled(self, observation: NDArray[Any]) -> NDArray[Any]:
        """Observations `(replicas, batch, …)` as networks are to see them."""
        return (
            observation if self.observation_scale is None else self.observation_scale(observation)
        )

    def _scaled_policy(self, policy: Policy, replica: int, *, as_it_is: bool = False) -> Policy:
        """A policy of networks, from observations as environments show them.

        Args:
            policy: the policy.
            replica: whose it is.
            as_it_is: whether its networks are copies, which learn no more.
        """
        scale = self.observation_scale
        if scale is None:
            return policy
        return ScaledPolicy(policy, copy.deepcopy(scale) if as_it_is else scale, replica)

    usual_reward_multiplier: ClassVar[float] = 1.0  # where nothing is asked and none is large

    def _scale_rewards(
        self,
        given: float | Literal["auto"],
        *,
        discount: float,
        most: float = LARGE,
    ) -> None:
        """Let rewards be multiplied before anything is learned from them.

        Args:
            given: what was asked.
            discount: γ per environment step.
            most: how large returns are left.
        """
        number = None if given == "auto" else real_number("reward_scale", given, above=0.0)
        self._reward_scale = RewardScale(
            number,
            usual=self.usual_reward_multiplier,
            most=most,
            discount=discount,
            replicas=self.replicas,
        )

    @property
    def reward_multiplier(self) -> NDArray[np.float64]:
        """What each replica's rewards are multiplied with before it learns, `(replicas,)`."""
        return self._reward_scale.multiplier

    @property
    def rewards_made_smaller(self) -> list[float | None]:
        """What each replica's rewards are multiplied with because they are large, or None."""
        chosen = self._reward_scale.may_choose
        usual = self.usual_reward_multiplier
        return [x if chosen and x < usual else None for x in self.reward_multiplier.tolist()]

    def _in_rewards(self, values: NDArray[Any], replica: int) -> NDArray[Any]:
        """What a replica's networks say, in units of the environment's own rewards."""
        multiplier = self.reward_multiplier[replica]
        return values if multiplier == 1.0 else values / values.dtype.type(multiplier)

    def _scales(self) -> dict[str, Part]:
        """What was learned of the sizes of observations and rewards, as parts."""
        found: dict[str, Part] = {}
        if self.observation_scale is not None:
            found["scale"] = Arrays(self.observation_scale)
        if self._reward_scale.may_choose:
            found["reward scale"] = Arrays(self._reward_scale)
        return found

    # Random streams, one for each replica: replica r of seed s is the agent of seed s + r.

    def _numpy_generators(self, purpose: str) -> list[np.random.Generator]:
        return [numpy_generator(self.seed + r, purpose) for r in range(self.replicas)]

    def _torch_generators(self, purpose: str) -> list[torch.Generator]:
        return [torch_generator(self.seed + r, purpose) for r in range(self.replicas)]

    update_period: int

    def _rounds_due(self) -> int:
        """Rounds of updates due after this step: one for each period that ended in it."""
        steps = self._loop.steps
        return steps // self.update_period - (steps - self.num_envs) // self.update_period

    # What users see.

    @property
    def steps(self) -> int:
        """Environment steps that each replica made in training so far."""
        return self._loop.steps

    @property
    def present_observations(self) -> NDArray[Any]:
        """What the environments showed last, as networks take it, `(replicas, envs, …)`: a copy."""
        return self._loop.observations()

    @property
    def cut_short(self) -> bool:
        """Whether an interrupt came between the callbacks of the present step.

        The next `learn` calls those that are left before it makes a step.
        """
        return self._loop.cut_short is not None

    @property
    def history(self) -> History:
        """Returns, lengths and ends of the training episodes finished so far.

        Raises:
            ConfigurationError: if there are several replicas, whose `histories` are a list.
        """
        if self.replicas > 1:
            raise ConfigurationError(
                f"`history` is one agent's; this one has {self.replicas} replicas: "
                "read `histories[r]`."
            )
        return self._loop.histories[0]

    @property
    def histories(self) -> list[History]:
        """The history of each replica."""
        return self._loop.histories

    def another_env(self) -> Env:
        """A new environment equal to the one that the agent is trained on.

        Raises:
            ConfigurationError: if none can be made; see `hunch.rl.evaluate` for what to do.
        """
        return self.origin.another()

    def rendering_env(self) -> Env:
        """A new environment equal to the one that the agent is trained on, which draws images.

        Raises:
            ConfigurationError: as `another_env`, and if it cannot draw.
        """
        return self.origin.rendering()

    @property
    def origin(self) -> Origin:
        """Where the environments come from, those of the first replica if there are several."""
        return self.origin_of(0)

    def origin_of(self, r: int) -> Origin:
        """Where the environments of replica `r` come from."""
        envs = self._loop.envs
        if not isinstance(envs, SingleEnvs):
            return Origin(self._env_source, {}, [self._env_source], [self._env_source])
        own = envs.envs[r * self.num_envs : (r + 1) * self.num_envs]
        return Origin(self._env_source, self._env_kwargs, own, envs.envs)

    def learn(
        self, steps: int, *, callbacks: Sequence[Callback] = (), progress: bool = True
    ) -> Self:
        """Learn until each replica has made `steps` environment steps in its life.

        A second `learn(20_000)` does nothing, `learn(30_000)` adds 10,000 steps.

        Args:
            steps: environment steps, all earlier calls included; at least 0. With several
                environments the last round may go beyond.
            callbacks: what to do every so often; see `hunch.rl.runs.callbacks`.
            progress: whether to show a bar on standard error.

        Returns:
            The agent itself.

        Raises:
            ConfigurationError: if `steps` is no integer of at least 0, if the network is no longer
                what can be trained, such as of another type or device, if something is no
                callback, or could not do what it is there for.
            DataError: if the network diverges; see the message for what to do.
            KeyboardInterrupt: if interrupted, between two steps; the agent may learn on.
        """
        until = whole_number("steps", steps, at_least=0)
        self.settle()
        check_callbacks(callbacks, self if self.steps < until else None)
        before = self.updates
        self._loop.run(self, until, callbacks=callbacks, progress=progress)
        if self.updates > before:
            check_weights(self.network.parameters())
        return self

    def predict(self, observation: Any, deterministic: bool = True) -> Any:
        """The action for one observation, or the actions for a batch of them.

        Args:
            observation: one observation as the environment shows it, or a batch with the batch on
                axis 0: as Gymnasium's vector environments have it, of a `Dict` a dict of batches
                and of a `Tuple` a tuple of them.
            deterministic: take the action that is best by all that was learned. If False, explore
                as in training.

        Returns:
            What the environment takes: an int for one observation, an int64 array of shape
            `(batch,)` for a batch; where actions are a `Box`, `MultiDiscrete` or `MultiBinary`, an
            array of that shape, or a batch of those.

        Raises:
            ShapeError: if `observation` is neither.
            DataError: if it holds NaN or infinite numbers, or the network answers NaN.
            ConfigurationError: if there are several replicas; ask `replica(r)`.
        """
        if self.replicas > 1:
            raise ConfigurationError(
                f"`predict` is one agent's; this one has {self.replicas} replicas: "
                "ask `replica(r).predict`."
            )
        return Replica(self, self.policy(0)).predict(observation, deterministic)

    def replica(self, r: int) -> Replica:
        """Replica `r` as it is now, to be evaluated or recorded.

        Args:
            r: from 0 to `replicas - 1`.

        Raises:
            ConfigurationError: if there is no such replica.

        Example:
            >>> from hunch.rl import DQN, evaluate
            >>> agents = DQN("CartPole-v1", replicas=2, hidden_sizes=(8,))
            >>> evaluate(agents.replica(1), episodes=2).returns.shape
            (2,)
        """
        if not 0 <= r < self.replicas:
            raise ConfigurationError(f"`r` got {r!r}; expected 0 to {self.replicas - 1}.")
        return Replica(self, self.policy(r), r)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """An agent that goes on as this one would, apart from it; its environments are copies.

        Raises:
            ConfigurationError: if an environment cannot be copied.
            DataError: if one that has to be made anew does not repeat the episode it is in.
        """
        made = memo[id(self)] = object.__new__(type(self))
        self._loop.envs.copy_into(memo)
        made.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        """A pickle, where it holds all that decides how the agent goes on.

        Raises:
            ConfigurationError: if an environment would lose what was changed in it.
        """
        self._loop.envs.check_pickles()
        return super().__reduce_ex__(protocol)

    def state_dict(self) -> dict[str, Tensor]:
        """Every tensor that decides how training goes on, random states and replay included.

        They are copies: what is learned later does not change them.
        """
        return {name: value.clone() for name, value in self._state().items()}

    def _state(self) -> dict[str, Tensor]:
        """As `state_dict`, but in part the tensors themselves: for who writes them at once."""
        return state_of(self._all_parts())

    def _all_parts(self) -> dict[str, Part]:
        own = {f"agent.{name}": part for name, part in self.parts().items()}
        return {**own, "loop": Arrays(self._loop)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on as the agent that gave `state`, which must have had the same settings.

        Raises:
            ConfigurationError: if observations, number of environments, networks or memory are
                others.
            DataError: if an environment does not repeat the episode that it is in.
        """
        self.settle()
        check_state(self._state(), state)
        load_parts(self._all_parts(), state)

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that made the agent, as plain values."""
        return dict(self._settings)

    _settings: dict[str, Any]

    def _chose(self, **chosen: Any) -> None:
        """Let settings say what was taken for what is None: later versions may take something else.

        Args:
            chosen: by argument; those that were given stay as they are.
        """
        for name, value in chosen.items():
            if self._settings.get(name, value) is None:
                self._settings[name] = to_json(value)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the agent to a folder, from which `load` goes on to the same bits.

        The folder holds weights, optimiser, replay, random states and the place in the present
        episodes: safetensors and JSON, nothing pickled. A folder that `save` wrote is replaced;
        a kill leaves either the old one or the new one.

        Args:
            path: the folder.

        Raises:
            FolderError: if it cannot be written or holds files of somebody else's.
        """
        write_agent(path, origin_of(type(self)), self._settings, self._state())

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, trust: bool = False, **given: Any) -> Self:
        """Read an agent that `save` wrote.

        Args:
            path: the folder.
            trust: whether modules may be imported that the folder names and nobody else did, such
                as that of an environment `module:Name`. Say so only of folders whose makers you
                would let run programs here.
            given: arguments that are no plain values, such as `env` or `network` if the agent was
                made with an environment or a module; or `device`.

        Returns:
            An agent that goes on where the saved one stood.

        Raises:
            FolderError: if there is no such folder, a file in it is not as it was written, or it
                names a module that would be imported.
            ConfigurationError: if an argument is missing or differs from what was saved, or
                environment and networks do not fit it.
            DataError: if the environment does not repeat the episode that it was in.

        Example:
            >>> import tempfile
            >>> from hunch.rl import DQN
            >>> folder = tempfile.mkdtemp() + "/agent"
            >>> DQN("CartPole-v1").learn(10, progress=False).save(folder)
            >>> DQN.load(folder).learn(20, progress=False).steps
            20
        """
        origin = origin_of(cls)
        settings, state = read_agent(path, origin)
        if "module" not in origin:  # a subclass may leave arguments to its parent's defaults
            settings = {**cls._added_arguments, **settings}
        found = {name: value for name, value in settings.items() if name not in given}
        check_trusted(path, found, trust=trust)
        for name, value in given.items():
            if name not in settings:
                raise ConfigurationError(f"`{cls.__name__}` has no argument {name!r}.")
            saved = settings[name]
            if name != "device" and saved != GIVEN and from_json(to_json(value)) != saved:
                raise ConfigurationError(
                    f"`{name}` got {value!r}, but the saved agent has {saved!r}; a saved life goes "
                    "on with the settings it began with. Make a new agent to change them."
                )
            settings[name] = value
        check_nothing_missing(path, settings, f"{cls.__name__}.load")
        # What is given may raise errors of its own.
        with nullcontext() if given else as_written(Path(path)):
            agent = cls(**settings)
            agent.load_state_dict(state)
        return agent

    def __repr__(self) -> str:
        (title,), *rows = self._in_words()
        return f"<{title}: {', '.join(f'{name} {figure}' for name, figure in rows)}>"

    def _repr_html_(self) -> str:
        (title,), *rows = self._in_words()
        return card(title, rows, self.histories[0].chart())

    def _in_words(self) -> list[list[str]]:
        """What it is, and how far it has come: a title, then a name and a figure each."""
        env = self._settings.get("env")
        seeds = f"{self.seed}"
        if self.replicas > 1:
            seeds = f"{self.seed} to {self.seed + self.replicas - 1}"
        episodes = sum(len(history.returns) for history in self.histories)
        rows = [
            [f"{type(self).__name__} on {env}"],
            ["seed" if self.replicas == 1 else "seeds", seeds],
            ["environment steps", f"{self.steps:,}"],
            ["updates", f"{self.updates:,}"],
            ["episodes", f"{episodes:,}"],
        ]
        if self.flat_observations is not None:
            rows.insert(1, ["observations", str(self.flat_observations)])
        if self.flat_actions is not None:
            rows.insert(-3, ["actions", str(self.flat_actions)])
        if smaller := {x for x in self.rewards_made_smaller if x is not None}:
            rows.append(["rewards times", ", ".join(f"{x:.3g}" for x in sorted(smaller))])
        last = [value for h in self.histories for value in h.returns[-SHOWN_EPISODES:]]
        if last:
            rows.append(
                [f"mean return of the last {SHOWN_EPISODES} episodes", f"{np.mean(last):.4g}"]
            )
        return rows

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self.device)
