"""Bootstrapped DQN with randomised priors: explore by acting on one value function for an episode.

K members learn from the same experience. Each is a trained network plus a prior function of its
own that never changes, so where there is little experience they disagree, and an episode played by
one of them goes where that member believes the reward to be, through many steps if it must.

Member k's prior is the same in its online and its target network: a value that is bootstrapped from
another prior would carry that prior's error. Since priors never change, their values are computed
once for each observation and stored with it, unless observations are scaled (`normalize`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final, Literal, NamedTuple

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor, nn

from hunch.errors import ConfigurationError
from hunch.nn import Ensemble
from hunch.rl.agents.agent import Agent
from hunch.rl.agents.arguments import check_sizes, updates_in_a_round
from hunch.rl.agents.divergence import check_loss
from hunch.rl.agents.epsilon_greedy import DEFAULT_RANDOM_STEPS, epsilon_greedy, random_share
from hunch.rl.agents.replica import Policy, ValuePolicy
from hunch.rl.agents.schedules import Linear, schedule, value_at
from hunch.rl.environments.make import EnvLike
from hunch.rl.environments.vector import Bools
from hunch.rl.fast.one_hot_layer import is_numbered, is_one_hot
from hunch.rl.networks.feature_layers import is_pixels
from hunch.rl.networks.target_network import NetworkPair
from hunch.rl.networks.value_heads import ValueHead
from hunch.rl.networks.value_networks import (
    listed_widths,
    no_widths,
    noisy_layers,
    value_network,
    value_table,
)
from hunch.rl.objectives.losses import value_loss
from hunch.rl.objectives.value_targets import bootstrapped_target, double_value
from hunch.rl.replay.replay import Replay
from hunch.rl.replay.transitions import Step, Transitions
from hunch.rl.value_ensembles.epinet import EpinetEnsemble
from hunch.rl.value_ensembles.prior_ensemble import PriorEnsemble
from hunch.rl.value_ensembles.value_ensemble import EnsembleConfig, ValueEnsemble, ensembles
from hunch.storage.parts import Arrays, Losses, NumpyStreams, Part
from hunch.validation import real_number, whole_number

MemberFactory = Callable[[], nn.Module]
_MOST_MEMBERS: Final = 10_000  # more would take minutes to make


class _Fitted(NamedTuple):
    """What a `BootstrappedDQN` takes where nothing is said, by kind of observation."""

    num_members: int
    prior_scale: float
    learning_rate: float | Linear
    batch_size: int
    hidden_sizes: Sequence[int]
    n_step: int
    update_period: int
    target_update_period: int
    target_update_rate: float
    loss: Literal["huber", "squared"]
    random_steps: int

    def but(self, **given: Any) -> _Fitted:
        """With what was given, where it is not None.

        Raises:
            ConfigurationError: if something is out of range.
        """
        how = self._replace(**{name: value for name, value in given.items() if value is not None})
        if how.loss not in ("huber", "squared"):
            raise ConfigurationError(f"`loss` got {how.loss!r}; expected 'huber' or 'squared'.")
        rate = real_number("target_update_rate", how.target_update_rate, above=0.0, at_most=1.0)
        target_period = whole_number("target_update_period", how.target_update_period, at_least=1)
        members = whole_number("num_members", how.num_members, at_least=1, at_most=_MOST_MEMBERS)
        return how._replace(
            num_members=members,
            prior_scale=real_number("prior_scale", how.prior_scale, at_least=0.0),
            learning_rate=schedule("learning_rate", how.learning_rate),
            batch_size=whole_number("batch_size", how.batch_size, at_least=1),
            hidden_sizes=listed_widths(how.hidden_sizes),
            n_step=whole_number("n_step", how.n_step, at_least=1),
            update_period=whole_number("update_period", how.update_period, at_least=1),
            target_update_period=target_period,
            target_update_rate=rate,
            random_steps=whole_number("random_steps", how.random_steps, at_least=0),
        )


_DENSE: Final = _Fitted(
    10, 10.0, 1e-3, 128, (128, 128), 5, 4, 1, 0.01, "huber", DEFAULT_RANDOM_STEPS
)
_ONE_HOT: Final = _Fitted(20, 10.0, 1e-3, 128, (50, 50), 1, 1, 4, 1.0, "squared", 0)
_TABLE: Final = _Fitted(20, 1.0, 0.5, 512, (), 1, 1, 1, 1.0, "squared", 0)


class BootstrappedDQN(Agent):
    """Deep Q-learning by an ensemble with randomised priors, which explores by Thompson sampling.

    Before each episode one member is drawn; it alone chooses the actions of the episode, greedily.
    All members learn from all transitions, or from those that a mask gives them.

    Args:
        env: a Gymnasium id, an environment, a function that makes one, or a Gymnasium vector
            environment. Observations are numbers in whatever form (`Box`, `Discrete`,
            `MultiDiscrete`, `MultiBinary`, `Dict` or `Tuple`), actions a finite set (`Discrete`,
            `MultiDiscrete` or `MultiBinary` of at most 10,000 combinations).
        num_members: K, at least 1. This and the other settings whose default is None fit the
            observations; see the note.
        prior_scale: how strongly the priors speak, in units of reward times `reward_scale`; 0 for
            no priors.
        mask_probability: probability that a member learns from a transition, in (0, 1].
        double: let the online network choose the next action and the target network evaluate it.
        prioritized: draw transitions in proportion to the largest error of all members, so that
            what one of them did not expect is drawn soon, instead of uniformly.
        n_step: number of rewards summed before a value is asked for, at least 1.
        discount: γ per environment step, in [0, 1].
        learning_rate: step size of Adam, or of tables how far a value goes towards its mean target
            in a batch, in [0, 1]; or a `Linear` schedule over environment steps.
        batch_size: transitions per gradient update, the same ones for all members.
        replay_capacity: transitions kept.
        min_replay_size: transitions stored before the first gradient update; None is `batch_size`.
        update_period: environment steps from one round of gradient updates to the next.
        updates_per_round: gradient updates in such a round.
        target_update_period: gradient updates per update of the target network.
        target_update_rate: how far the target network then moves towards the online one.
        loss: of a member's errors: `"squared"`, half of it, or `"huber"`, which beyond 1 grows with
            their size alone.
        max_gradient_norm: each member's gradient is scaled down to this Euclidean norm.
        random_steps: environment steps within which the share of random actions falls from 1 to 0;
            0 for none at all.
        priority_exponent: α, how strongly large errors are preferred, at least 0; without effect
            unless `prioritized`.
        priority_correction: β, how far importance weights undo that preference, in [0, 1] or a
            `Linear` schedule over environment steps. The default of 0 is for rewards and steps
            that are not random: where they are, values follow what is seldom and far off.
        reward_scale: what rewards are multiplied with before anything is learned from them, above
            0. `"auto"` is 1, or less where the first rewards are large; see the note.
        hidden_sizes: width of each hidden layer of members and priors made by default. None of
            them, `()`, where observations are one-hot or `Discrete`, makes each member a table: a
            value of its own for each action in each state, and priors drawn from N(0, 1). Tables
            live on a CPU, with `fast` and without `normalize` or a finite `max_gradient_norm`.
        layer_norm: normalise hidden layers of the trained networks before their ReLU.
        normalize: bring observations to a common scale by their mean and variance so far; see the
            note. One-hot observations and images in bytes have one already, and are refused. None
            divides a number whose bounds keep its size below 1 by the largest size that they
            allow, if observations are rows of numbers that all have bounds; False leaves all as
            they are.
        network: a function without arguments that makes one member's trained network, from a batch
            of observations to `(batch, actions)`. None makes a multilayer perceptron, or for
            images the convolutions of Mnih et al. before it.
        prior: a function without arguments that makes one member's prior; None makes one of the
            same kind as the trained network.
        epinet: the cheap variant: one network with an epinet of `index_dim` dimensions instead of
            K networks. An index z drawn at the start of an episode plays it, and each update
            trains `num_members` indices drawn for it.
        index_dim: D, entries of an index.
        epinet_hidden_sizes: width of each hidden layer of the epinet, at least one.
        env_kwargs: keyword arguments for `gymnasium.make`.
        num_envs: environments that each replica plays side by side, each with a member of its own.
        replicas: agents trained side by side, with the seeds `seed`, `seed + 1`, ….
        fast: differentiate common layers by hand, and look first layers of one-hot observations up;
            False leaves all to torch, which takes longer.
        device: where the networks live.
        seed: seed of everything that is left to chance, at least 0.

    Raises:
        ConfigurationError: for an unknown environment, spaces the agent cannot handle, a number
            out of range, or a network that does not fit.

    Attributes:
        network: all members, an `hunch.nn.Ensemble` of `hunch.nn.RandomizedPrior`, those of the
            first replica first; with `epinet` one `hunch.nn.Epinet` for each replica.
        target_network: their copies from a while ago, with the same priors.
        observation_scale: what `normalize` does with observations `(replicas, batch, …)` before
            the networks are called; None if it does nothing.
        losses: mean loss of a member in each gradient update.

    Example:
        >>> from hunch.rl import BootstrappedDQN
        >>> agent = BootstrappedDQN("hunch.envs:hunch/DeepSea-v0", env_kwargs=dict(size=5))
        >>> agent.learn(200, progress=False).steps
        200

    Reference:
        Osband, Blundell, Pritzel & Van Roy (2016), "Deep exploration via bootstrapped DQN";
        Osband, Aslanides & Cassirer (2018), "Randomized prior functions for deep reinforcement
        learning", algorithm 1 and section 4; Schaul et al. (2016), "Prioritized experience
        replay"; for the cheap variant Osband et al. (2023),
        "Approximate Thompson sampling via epistemic neural networks".

    Note:
        What is None has these values:

        | setting | most observations | one-hot ones | tables |
        |---|---|---|---|
        | `num_members` | 10 | 20 | 20 |
        | `prior_scale` | 10 | 10 | 1 |
        | `learning_rate` | 0.001 | 0.001 | 0.5 |
        | `batch_size` | 128 | 128 | 512 |
        | `hidden_sizes` | 128, 128 | 50, 50 | none |
        | `n_step` | 5 | 1 | 1 |
        | `update_period` | 4 | 1 | 1 |
        | `target_update_period` | 1 | 4 | 1 |
        | `target_update_rate` | 0.01 | 1 | 1 |
        | `loss` | `"huber"` | `"squared"` | `"squared"` |
        | `random_steps` | 10,000 | 0 | 0 |

        Where the environment says that observations are one-hot (deep sea does) no two states share
        a parameter of the first layer, so that members differ in each from the start. Elsewhere
        young networks do much the same in all states, and learn little from what they then see.

        A table learns nothing about one state from another, which is what keeps what was learned of
        one from being spoilt by another. Where rewards or steps are random its values keep moving:
        give a smaller `learning_rate`, such as 0.1. An observation of zeros alone has none.

        The optimiser is Adam, but for tables. `predict` takes the action with the highest
        mean over members; with `deterministic=False` one member drawn at random chooses. If
        observations are one-hot, the first layer looks its weights up and its optimiser moves only
        rows that a batch has seen.

        With `normalize=True` the statistics are of each observation acted on in training, for each
        replica by itself; looking on, as in `predict`, does not move them. Replay keeps
        observations as they were, and each batch is brought to the scale of now. Priors see what
        their members see, so their values move a little as the statistics do, and are computed
        with each batch instead of once for each observation. All networks get
        `agent.observation_scale(observations)`, clipped to ±10 standard deviations.

        With `reward_scale="auto"` a replica's rewards before the first gradient update are judged:
        if discounted returns come to more than 128, or would in episodes that never end, all its
        rewards are multiplied by the power of two that leaves 64 to 128 of the largest. It counts γ
        as 0.99 at most. `reward_multiplier` says with what. Small rewards stay small: others may
        come after them. For tables, which learn rewards of any size, `"auto"` is 1.

        With `epinet` a prior is a mix of D functions made by `prior`, divided by √D, so that
        `prior_scale` means the same in both variants; `predict` takes the mean over `num_members`
        fixed indices (one more if that is odd), each with its opposite; images reach the epinet
        by the base network's features alone. The base network learns from the mean over indices.
    """

    def __init__(
        self,
        env: EnvLike | VectorEnv[Any, Any, Any],
        *,
        num_members: int | None = None,
        prior_scale: float | None = None,
        mask_probability: float = 1.0,
        double: bool = False,
        prioritized: bool = False,
        n_step: int | None = None,
        discount: float = 0.99,
        learning_rate: float | Linear | None = None,
        batch_size: int | None = None,
        replay_capacity: int = 100_000,
        min_replay_size: int | None = None,
        update_period: int | None = None,
        updates_per_round: int = 1,
        target_update_period: int | None = None,
        target_update_rate: float | None = None,
        loss: Literal["huber", "squared"] | None = None,
        max_gradient_norm: float = float("inf"),
        random_steps: int | None = None,
        priority_exponent: float = 1.0,
        priority_correction: float | Linear = 0.0,
        reward_scale: float | Literal["auto"] = "auto",
        hidden_sizes: Sequence[int] | None = None,
        layer_norm: bool = False,
        normalize: bool | None = None,
        network: MemberFactory | None = None,
        prior: MemberFactory | None = None,
        epinet: bool = False,
        index_dim: int = 8,
        epinet_hidden_sizes: Sequence[int] = (50,),
        env_kwargs: Mapping[str, Any] | None = None,
        num_envs: int = 1,
        replicas: int = 1,
        fast: bool = True,
        device: torch.device | str = "cpu",
        seed: int = 0,
    ) -> None:
        self.mask_probability = real_number(
            "mask_probability", mask_probability, above=0.0, at_most=1.0
        )
        self.double, self.fast = bool(double), bool(fast)
        self.prioritized = bool(prioritized)
        self.priority_correction = schedule("priority_correction", priority_correction, at_most=1.0)
        self.discount = real_number("discount", discount, at_least=0.0, at_most=1.0)
        self.epinet = bool(epinet)
        if self.epinet and self.mask_probability < 1.0:
            raise ConfigurationError(
                f"`mask_probability` got {self.mask_probability} with epinet=True; expected 1.0: "
                "indices are drawn for each batch, so there is no member to keep data from."
            )
        index_dim = whole_number("index_dim", index_dim, at_least=1, at_most=_MOST_MEMBERS)
        if max_gradient_norm != float("inf"):
            real_number("max_gradient_norm", max_gradient_norm, above=0.0)
        super().__init__(
            env,
            env_kwargs=env_kwargs,
            num_envs=num_envs,
            replicas=replicas,
            device=device,
            seed=seed,
        )
        self._normalize(normalize, network or prior)
        sparse = is_one_hot(self._first_env)
        # Without a hidden layer each state has values of its own, whatever there is between them.
        ready_made = network is None and not epinet
        has_rows = sparse or is_numbered(self._first_env)
        tabular = ready_made and has_rows and no_widths(hidden_sizes)
        sparse = sparse or tabular
        if tabular and reward_scale == "auto":  # tables learn rewards of any size
            reward_scale = 1.0
        self._scale_rewards(reward_scale, discount=self.discount)
        how = (_TABLE if tabular else _ONE_HOT if sparse else _DENSE).but(
            num_members=num_members,
            prior_scale=prior_scale,
            learning_rate=learning_rate,
            batch_size=batch_size,
            hidden_sizes=hidden_sizes,
            n_step=n_step,
            update_period=update_period,
            target_update_period=target_update_period,
            target_update_rate=target_update_rate,
            loss=loss,
            random_steps=random_steps,
        )
        self._chose(**how._asdict())
        self.num_members, self.prior_scale = how.num_members, how.prior_scale
        self.learning_rate, self.batch_size = how.learning_rate, how.batch_size
        self.update_period, self.random_steps = how.update_period, how.random_steps
        self.loss = how.loss
        self.min_replay_size = check_sizes(
            min_replay_size, self.batch_size, replay_capacity, how.n_step
        )
        self.updates_per_round = updates_in_a_round(updates_per_round, self.update_period)
        rows_alone = self.fast and self.device.type == "cpu" and max_gradient_norm == float("inf")
        if tabular and not rows_alone:
            raise ConfigurationError(
                "`hidden_sizes` got no width, for which members are tables of values, with "
                f"fast={self.fast}, device='{self.device}' and max_gradient_norm="
                f"{max_gradient_norm}; expected True, 'cpu' and inf, or widths."
            )
        if tabular:
            schedule("learning_rate", self.learning_rate, at_most=1.0)
        if tabular and self.observation_scale is not None:
            raise ConfigurationError(
                f"`normalize` got {normalize!r} for members that are tables, which look states up; "
                "expected False: leave it out."
            )
        hidden = tabular or len(how.hidden_sizes) > 0
        one_hot = sparse and network is None and rows_alone and hidden
        if one_hot and how.target_update_rate != 1.0:
            what = "members that are tables" if tabular else "one-hot observations"
            rate = how.target_update_rate
            raise ConfigurationError(
                f"`target_update_rate` got {rate}; expected 1.0 for {what}, whose "
                "target network copies what moved."
            )
        config = EnsembleConfig(
            replicas=self.replicas,
            envs=self.num_envs,
            members=self.num_members,
            actions=self._num_actions,
            observation_shape=self.observation_shape,
            one_hot=one_hot,
            fast=self.fast,
            device=self.device,
            seed=self.seed,
            tabular=tabular,
        )
        pixels = is_pixels(self.observation_dtype)

        def make(factory: MemberFactory | None, norm: bool, spread: float = 1.0) -> nn.Module:
            if tabular and factory is None:
                return value_table(self.observation_shape, self._num_actions, spread)
            return value_network(
                factory,
                self.observation_shape,
                ValueHead(self._num_actions),
                how.hidden_sizes,
                layer_norm=norm,
                pixels=pixels,
                one_hot=sparse,
            )

        def make_trained() -> nn.Module:
            made = make(network, layer_norm, spread=0.0)
            if noisy_layers(made):
                raise ConfigurationError(
                    "`network` has noisy layers; expected a network without noise: members explore "
                    "by their priors. `DQN(noisy=True)` explores by noise."
                )
            return made

        kinds = (
            config,
            make_trained,
            lambda: make(prior or network, False),
            self.prior_scale,
            {
                "max_gradient_norm": max_gradient_norm,
                "target_update_period": how.target_update_period,
                "target_update_rate": how.target_update_rate,
            },
        )
        self._ensemble: ValueEnsemble = (
            EpinetEnsemble(
                *kinds, index_dim=index_dim, hidden_sizes=epinet_hidden_sizes, sees_input=not pixels
            )
            if epinet
            else PriorEnsemble(*kinds)
        )
        self._replay = Replay(
            replay_capacity,
            () if one_hot else self.observation_shape,
            np.int32 if one_hot else self.observation_dtype,
            replicas=self.replicas,
            envs=self.num_envs,
            n_step=how.n_step,
            discount=self.discount,
            priority_exponent=priority_exponent if self.prioritized else None,
            frame_stack=self._frame_stack,
            # A prior sees what its member sees, which is stored before it is scaled.
            prior_shape=(
                self._ensemble.prior.cached_shape if self.observation_scale is None else None
            ),
            mask_size=self.num_members if self.mask_probability < 1.0 else 0,
        )
        self._sampling = self._numpy_generators("replay")
        self._masking = self._numpy_generators("mask")
        self._exploration = self._numpy_generators("exploration")
        self.losses: list[float] = []

    _added_arguments: ClassVar[Mapping[str, Any]] = {
        "reward_scale": 1.0,
        "random_steps": 0,
        "loss": "squared",
        "normalize": False,
    }

    @property
    def network(self) -> Ensemble:
        """All members, or the epinets, those of the first replica first."""
        return ensembles(self._pair)[0]

    @property
    def target_network(self) -> Ensemble:
        """Their copies from a while ago, with the same priors."""
        return ensembles(self._pair)[1]

    @property
    def updates(self) -> int:
        """Gradient updates made so far."""
        return self._pair.updates

    @property
    def _pair(self) -> NetworkPair:
        return self._ensemble.pair

    @property
    def _active(self) -> NDArray[Any]:
        """The member that plays each environment's episode, or its index."""
        return self._ensemble.active

    def settle(self) -> None:
        """As `Agent.settle`."""
        if self._ensemble.settle():
            self._replay.forget_priors()

    @torch.no_grad()
    def act(self, observation: NDArray[Any], is_first: Bools) -> NDArray[np.int64]:
        """The action that each environment's member likes best, `(replicas, envs)`."""
        if self._pair.layout.first_moved:
            self.settle()
        if np.count_nonzero(is_first):
            self._ensemble.choose(is_first)
        actions = epsilon_greedy(
            partial(self._ensemble.best, self._ensemble.stored(self._scaled(observation))),
            random_share(self.random_steps, self._loop.steps),
            self._exploration,
            observation.shape[1],
            self._num_actions,
        )
        return actions + self.first_action

    def observe(self, step: Step) -> None:
        """Store a step of all environments; update the members as often as it is time to."""
        kept = step._replace(
            observation=self._ensemble.stored(step.observation),
            next_observation=self._ensemble.stored(step.next_observation),
            action=step.action - self.first_action,
        )
        self._replay.add(self._reward_scale.of_step(kept), self._drawn_mask())
        self._take_in(step)
        if len(self._replay) < self.min_replay_size or not self._replay.num_drawable:
            return
        self._reward_scale.judge(self._replay)
        rounds = self._rounds_due()
        if rounds:
            self._replay.cache_priors(self._ensemble.prior)
        beta = value_at(self.priority_correction, self.steps) if self.prioritized else 1.0
        for _ in range(rounds * self.updates_per_round):
            self._update(self._replay.sample(self.batch_size, self._sampling, beta))

    def _drawn_mask(self) -> NDArray[np.bool_] | None:
        if self.mask_probability == 1.0:
            return None
        shape = (self.num_envs, self.num_members)
        return np.stack([rng.random(shape) < self.mask_probability for rng in self._masking])

    @torch.no_grad()
    def _update(self, batch: Transitions) -> None:
        """Make one gradient update of all members, and one of their targets if it is time to."""
        if self._pair.layout.moved:
            self.settle()
        if self.observation_scale is not None:
            batch = self.observation_scale.of_batch(batch)
        self._ensemble.begin_update(batch)
        rate = value_at(self.learning_rate, self.steps)
        found = self._ensemble.gradient(batch, self.double, huber=self.loss == "huber")
        loss, error, move = found or self._gradient(batch)
        loss = check_loss(loss, self.updates)
        move(rate)
        self.losses.append(loss)
        if batch.weight is not None:
            self._replay.update_priorities(batch.position, error.cpu().numpy())

    def _gradient(self, batch: Transitions) -> tuple[float, Tensor, Callable[[float], None]]:
        """As `ValueEnsemble.gradient`, in several calls."""
        target = self._bootstrapped(batch)
        q, learn = self._ensemble.differentiable(batch.observation, batch.prior)
        action = torch.from_numpy(batch.action).to(self.device)
        mask = None
        if batch.mask is not None:
            mask = torch.from_numpy(batch.mask).to(self.device).transpose(1, 2)
        weight = None if batch.weight is None else torch.from_numpy(batch.weight).to(self.device)
        huber, shared = self.loss == "huber", self._ensemble.shared
        loss, gradient, error = value_loss(
            q, action, target, mask, weight, huber=huber, shared=shared
        )
        return loss, error, partial(learn, gradient)

    def _bootstrapped(self, batch: Transitions) -> Tensor:
        """What each member is trained towards, `(replicas, members, batch)`."""
        following = (batch.next_observation, batch.next_prior)
        q_next = self._ensemble.values(1, *following)
        if self.double:
            next_value = double_value(q_next, self._ensemble.values(0, *following))
        else:
            next_value = q_next.amax(-1)
        reward, discount = (
            torch.from_numpy(values).to(self.device).unsqueeze(1)
            for values in (batch.reward, batch.discount)
        )
        return bootstrapped_target(reward, discount, next_value)

    def policy(self, replica: int) -> Policy:
        """As `Agent.policy`."""
        policy = ValuePolicy(lambda x, best: self._ensemble.predicted(x, replica, best))
        return self._scaled_policy(policy, replica)

    def state_values(self, observation: Tensor, replica: int) -> NDArray[np.float32]:
        """As `Agent.state_values`: of the action that is best in the mean over members."""
        if self.observation_scale is not None:
            observation = self.observation_scale.of(observation, replica)
        values = self._ensemble.predicted(observation, replica, deterministic=True)
        return self._in_rewards(values.amax(-1).cpu().numpy(), replica)

    def parts(self) -> dict[str, Part]:
        """As `Agent.parts`."""
        # Agents saved before there were random steps have no stream for them, nor need one.
        random = {"stream.exploration": NumpyStreams(self._exploration)}
        return {
            **self._ensemble.parts(),
            "replay": Arrays(self._replay),
            "stream.replay": NumpyStreams(self._sampling),
            "stream.mask": NumpyStreams(self._masking),
            "losses": Losses(self.losses),
            **(random if self.random_steps else {}),
            **self._scales(),
        }
