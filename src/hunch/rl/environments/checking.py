"""Whether an environment does what agents need of it; a sentence for each thing that it does not.

A random policy plays it; what training would refuse is found by what training asks, `Answers`, and
what it would not notice is looked for besides: observations outside of their space, an episode that
a seed does not repeat, a time limit that counts as an end.
"""

from __future__ import annotations

import copy
import inspect
import math
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.utils.env_checker import check_env as checked_by_gymnasium
from numpy.typing import NDArray

from hunch.errors import DataError, ShapeError
from hunch.named_code import own_code, place_of_code, said_and_where
from hunch.rl.environments.answers import Answers
from hunch.rl.environments.equality import any_shared, layers
from hunch.rl.environments.flattening import FlatObservations, said
from hunch.rl.environments.make import Env, EnvLike, make_env, spaces_of
from hunch.validation import whole_number

_REPEATED: Final = 200  # steps of the episode that is played again
_LARGE: Final = 100.0  # rewards beyond it are said to be large
_RAISED: Final = object()  # in place of an answer, which may be anything
_FEW: Final = 3  # episodes of one length that are no chance


class Finding(NamedTuple):
    """What was found of one thing that an environment has to do.

    `passed` is None where it works and may be a mistake; `stops` is whether training would be
    refused for it.
    """

    name: str
    passed: bool | None
    says: str
    stops: bool = False


@dataclass(frozen=True)
class EnvCheck:
    """What `check_env` found.

    Args:
        findings: one for each thing that was looked at.
        steps: environment steps that the random policy played.
        seconds: what the environment took for them.
        returns: of each whole episode; none if rewards are no numbers.
        lengths: steps of each whole episode.
        rewards: the smallest and the largest; None if no step was made.
        endless: whether no episode ended and there is no time limit.
    """

    findings: tuple[Finding, ...]
    steps: int
    seconds: float
    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    rewards: tuple[float, float] | None
    endless: bool = False

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return all(finding.passed is not False for finding in self.findings)


def check_env(
    env: EnvLike,
    env_kwargs: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    steps: int = 2_000,
    seconds: float = 10.0,
    gymnasium_too: bool = True,
) -> EnvCheck:
    """Look at an environment as agents would meet it.

    Args:
        env: a Gymnasium id or a function that makes environments; see `make_env`.
        env_kwargs: keyword arguments for it.
        seed: decides the starts and the actions.
        steps: that a random policy plays, at least 1.
        seconds: after which it stops playing, whatever it has played by then.
        gymnasium_too: whether to ask Gymnasium's own checker as well.

    Raises:
        ConfigurationError: if no environment can be made, or it has no spaces.

    Example:
        >>> found = check_env("CartPole-v1", steps=200)
        >>> found.passed, [finding.name for finding in found.findings]
        (True, ['made', 'reset', 'step', 'observations', 'rewards', 'ends', 'repeats', 'gymnasium'])
    """
    steps = whole_number("steps", steps, at_least=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Gymnasium warns of is said here
        first, second = make_env(env, env_kwargs), make_env(env, env_kwargs)
        spaces_of(first)
        findings = [_made(first, second)]
        player = _Player(first, seed)
        player.play(steps, seconds)
        findings += player.findings()
        if not any(finding.stops for finding in findings):
            findings.append(_repeats(first, second, seed))
        if gymnasium_too:
            fine = all(finding.passed is not False for finding in findings)
            findings.append(_asked_of_gymnasium(second, fine))
    return EnvCheck(
        tuple(findings),
        player.steps,
        player.seconds,
        () if "rewards" in player.wrong else tuple(player.returns),
        tuple(player.lengths),
        player.rewards,
        player.steps > 0 and not player.lengths and _limit_of(first) is None,
    )


def _made(first: Env, second: Env) -> Finding:
    if any_shared([first, second]):
        says = (
            "`env` is the same object each time it is made; return a new one at each call, since "
            "evaluations and replicas play episodes of their own."
        )
        return Finding("made", False, says, stops=True)
    for name in ("observation_space", "action_space"):
        one, other = (getattr(env, name, None) for env in (first, second))
        if one != other:
            says = (
                f"`env` has the {name} {' '.join(str(one).split())} when made once and "
                f"{' '.join(str(other).split())} when made again; expected the same."
            )
            return Finding("made", False, says, stops=True)
    return Finding("made", True, f"{type(first.unwrapped).__name__}, a new one each time")


@dataclass
class _Player:
    """A random policy that remembers the first thing that is wrong of each kind."""

    env: Env
    seed: int
    steps: int = 0
    seconds: float = 0.0
    returns: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    cut: int = 0
    rewards: tuple[float, float] | None = None
    wrong: dict[str, Finding] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.place = f"reset(seed={self.seed})"
        space = self.env.observation_space
        # Of what no agent takes the space alone is asked.
        self.answers = Answers(space, lambda i: self.place, advice="")
        self.actions = copy.deepcopy(self.env.action_space)
        self.actions.seed(self.seed)

    def play(self, steps: int, seconds: float) -> None:
        """Play episodes until so many steps are made, or so much time is gone."""
        episode, until = 0, time.perf_counter() + seconds
        while self.steps < steps and time.perf_counter() < until:
            if not self._episode(self.seed + episode, steps, until):
                return
            episode += 1

    def _episode(self, seed: int, steps: int, until: float) -> bool:
        """Play one episode; whether there is a point in playing another."""
        self.place = f"reset(seed={seed})"
        given = self._did("reset", lambda: self.env.reset(seed=seed))
        if given is _RAISED or not self._asked("reset", lambda: self.answers.two(given)):
            return False
        if not self._asked("observations", lambda: self._taken(given[0])):
            return False
        self._look_at(given[0])
        total, length = 0.0, 0
        while self.steps < steps and time.perf_counter() < until:
            length += 1
            self.place = f"step {length} after reset(seed={seed})"
            action = self.actions.sample()
            start = time.perf_counter()
            answer = self._did("step", lambda: self.env.step(_as_taken(action)))  # noqa: B023
            self.seconds += time.perf_counter() - start
            if answer is _RAISED or not self._asked("step", lambda: self.answers.five(answer)):  # noqa: B023
                return False
            self.steps += 1
            observation, reward, terminated, truncated, info = answer
            ends: list[tuple[bool, bool]] = []
            if self._asked("observations", lambda: self._taken(observation)):  # noqa: B023
                self._look_at(observation)
            if self._asked("rewards", lambda: self._rewarded(reward)):  # noqa: B023
                total += float(reward)
            self._asked("step", lambda: self.answers.check_info(info))  # noqa: B023
            if not self._asked(
                "ends",
                lambda: ends.append(self.answers.ends(terminated, truncated)),  # noqa: B023
            ):
                return False
            if any(ends[0]):
                self.returns.append(total)
                self.lengths.append(length)
                self.cut += ends[0][1]
                return True
        return False

    def _taken(self, observation: Any) -> None:
        if self.answers.asks:
            self.answers.check_finite(self.answers.observation(observation, 0), 0)

    def _rewarded(self, given: Any) -> None:
        reward = self.answers.reward(given)
        low, high = self.rewards or (reward, reward)
        self.rewards = min(low, reward), max(high, reward)

    def _did(self, name: str, call: Callable[[], Any]) -> Any:
        """What the environment answers; `_RAISED` if it raises."""
        try:
            return call()
        except Exception as error:  # whatever the user's own code raises
            says = (
                self._of_old_form(name) or f"`env` raised {said_and_where(error)} in {self.place}."
            )
            self.wrong.setdefault(name, Finding(name, False, says, stops=True))
            return _RAISED

    def _of_old_form(self, name: str) -> str | None:
        """What is wrong if it is written for the Gym of before 0.26, on which wrappers stumble."""
        base: Any = self.env.unwrapped
        own = getattr(type(base), name, None)
        if own is None or not own_code(own):
            return None
        if not _takes(type(base).reset, "seed"):
            return (
                f"`env` has a reset without `seed` (in {place_of_code(type(base).reset)}); "
                "expected reset(self, *, seed=None, options=None) that begins with "
                "super().reset(seed=seed) and returns (observation, info), Gymnasium's since 0.26."
            )
        if name != "step":
            return None
        try:
            base.reset(seed=self.seed)
            self.answers.five(base.step(_as_taken(self.actions.sample())))
        except (DataError, ShapeError) as error:
            return f"{str(error).removesuffix('.')} (in {place_of_code(own)})."
        except Exception:  # it is not the form that is wrong
            return None
        return None

    def _asked(self, name: str, question: Callable[[], Any]) -> bool:
        """Whether training would take this."""
        try:
            question()
        except (DataError, ShapeError) as error:
            self.wrong.setdefault(name, Finding(name, False, str(error), stops=True))
            return False
        return True

    def _look_at(self, observation: Any) -> None:
        """What training takes and may be a mistake all the same."""
        if "observations" not in self.wrong:
            space = self.env.observation_space
            says = _outside(observation, space, self.place, self.answers.flat)
            if says is not None:
                self.wrong["observations"] = Finding("observations", False, says)

    def findings(self) -> list[Finding]:
        """What was found, in order, up to where nothing more could be played."""
        own = [self._of_reset(), self._of_step(), self._of_observations(), self._of_rewards()]
        if not {"reset", "step", "ends"} & self.wrong.keys():
            own.append(self._of_ends())
        elif self.steps == 0:  # of the rest nothing is known
            own = own[:1]
        order = ["reset", "step", "observations", "rewards", "ends"]
        found = {each.name: each for each in own} | self.wrong
        return [found[name] for name in order if name in found]

    def _of_reset(self) -> Finding:
        return Finding("reset", True, "returns (observation, info)")

    def _of_step(self) -> Finding:
        return Finding("step", True, "returns five things")

    def _of_observations(self) -> Finding:
        says = f"in their space, {said(self.env.observation_space)}"
        if (flat := self.answers.flat) is not None:
            says += f"; agents see {flat.seen}"
        return Finding("observations", True, says)

    def _of_rewards(self) -> Finding:
        low, high = self.rewards or (0.0, 0.0)
        says = f"finite, from {low:.4g} to {high + 0.0:.4g}"  # and no -0
        if max(-low, high) <= _LARGE:
            return Finding("rewards", True, says)
        says += (
            "; losses and priors are made for rewards of about 1: agents divide by what the first "
            "rewards say; if larger ones come later, give --set reward_scale."
        )
        return Finding("rewards", None, says)

    def _of_ends(self) -> Finding:
        limit = _limit_of(self.env)
        if not self.lengths:
            if limit is not None:
                return Finding("ends", True, f"no episode ended, the time limit is {limit:,} steps")
            says = (
                f"no episode of a random policy ended in {self.steps:,} steps, and there is no "
                "time limit; where none ends, an evaluation never does: --wrap 'TimeLimit(1000)'."
            )
            return Finding("ends", None, says)
        same = len(set(self.lengths)) == 1 and len(self.lengths) >= _FEW and self.lengths[0] > 1
        if same and not self.cut:
            says = (
                f"all {len(self.lengths)} episodes were terminated after {self.lengths[0]:,} "
                "steps: a time limit that the observation does not show is to be returned as "
                "truncated, or what comes after it counts as worth nothing."
            )
            return Finding("ends", None, says)
        count, shortest, longest = len(self.lengths), min(self.lengths), max(self.lengths)
        spread = f"{shortest:,}" if shortest == longest else f"{shortest:,} to {longest:,}"
        says = f"{count:,} episodes of {spread} steps, {self.cut:,} of them truncated"
        return Finding("ends", True, says)


def _as_taken(action: Any) -> Any:
    """An action as agents give it: an int of a finite set."""
    return int(action) if isinstance(action, np.integer) else action


def _limit_of(env: Env) -> int | None:
    for layer in layers(env):
        if isinstance(layer, gymnasium.wrappers.TimeLimit):
            return int(layer._max_episode_steps)
    return None


def _outside(
    observation: Any, space: gymnasium.Space[Any], place: str, flat: FlatObservations | None
) -> str | None:
    """What is wrong with an observation that its space does not contain; None if it is in it."""
    if not isinstance(space, Box) or flat is not None:
        if space.contains(observation):
            return None
        part = flat.outside(observation) if flat is not None else None
        if part is not None and part[0]:
            name, given, own = part
            return (
                f"`env` gave {name} of the observation as {given!r}, which is not in {said(own)}, "
                f"in {place}; return one that is."
            )
        where = f"{said(space)}, in {place}"
        return f"`env` gave an observation that is not in {where}; return one that is."
    array = np.asarray(observation)
    if not isinstance(observation, np.ndarray) or array.dtype != space.dtype:
        kind = array.dtype if isinstance(observation, np.ndarray) else type(observation).__name__
        return (
            f"`env` gave the observation as {kind}, its space says {space.dtype}, in {place}; "
            f"agents convert it and others refuse it: return np.asarray(…, np.{space.dtype})."
        )
    beyond = (array < space.low) | (array > space.high)
    if not beyond.any():
        return None
    at = tuple(np.argwhere(beyond)[0].tolist())
    component = at[0] if len(at) == 1 else at
    return (
        f"`env` gave component {component} of the observation as {array[at]:.6g}, outside of its "
        f"box from {space.low[at]:.6g} to {space.high[at]:.6g}, in {place}; widen the box, or clip "
        "the observation."
    )


def _takes(function: Callable[..., Any], name: str) -> bool:
    """Whether a function takes a keyword argument."""
    parameters = inspect.signature(function).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    return name in parameters or inspect.Parameter.VAR_KEYWORD in kinds


_Episode = list[tuple[NDArray[Any], float, bool, bool]]


def _repeats(used: Env, fresh: Env, seed: int) -> Finding:
    """Whether a seed and actions repeat an episode, in this environment and in another one."""
    try:
        once, again = _recorded(fresh, seed), _recorded(fresh, seed)
        seeded = _is_seeded(fresh, seed)
        other = _recorded(used, seed)
    except Exception as error:  # whatever the user's own code raises
        says = f"`env` raised {said_and_where(error)} in an episode played again."
        return Finding("repeats", False, says, stops=True)
    place = _difference(once, again)
    if place is None and not seeded:  # the two may have been the same by chance
        place = _difference(once, other)
    if place is not None:
        why = (
            "all chance has to come from self.np_random, and memory to be cleared in reset"
            if seeded
            else "begin reset with super().reset(seed=seed), and draw from self.np_random alone"
        )
        says = (
            f"`env` does not repeat an episode from reset(seed={seed}) and the same actions: "
            f"{place} differs; {why}."
        )
        return Finding("repeats", False, says)
    if (place := _difference(once, other)) is not None:
        says = (
            f"two environments made alike differ after reset(seed={seed}) and the same actions in "
            f"{place}; draw nothing in __init__, keep nothing from episode to episode, "
            "and share nothing between them."
        )
        return Finding("repeats", False, says)
    if not seeded:
        says = (
            "repeats its episodes, but reset does not call super().reset(seed=seed): "
            "self.np_random would not follow the seed."
        )
        return Finding("repeats", None, says)
    return Finding("repeats", True, "reset(seed=…) and the same actions give the same episode")


def _recorded(env: Env, seed: int) -> _Episode:
    actions = copy.deepcopy(env.action_space)
    actions.seed(seed)
    found = [(_kept(env.reset(seed=seed)[0]), 0.0, False, False)]
    while len(found) <= _REPEATED and not (found[-1][2] or found[-1][3]):
        observation, reward, terminated, truncated, _ = env.step(_as_taken(actions.sample()))
        found.append((_kept(observation), float(reward), bool(terminated), bool(truncated)))
    return found


def _kept(observation: Any) -> Any:
    return copy.deepcopy(observation)  # an environment may write into what it returned


def _is_seeded(env: Env, seed: int) -> bool:
    env.reset(seed=seed)
    return getattr(env.unwrapped, "_np_random_seed", None) == seed


def _difference(one: _Episode, other: _Episode) -> str | None:
    """What differs first in two episodes."""
    for step, (own, others) in enumerate(zip(one, other, strict=False)):
        where = f"step {step}" if step else "the first observation"
        if not _same(own[0], others[0]):
            return f"the observation of {where}" if step else where
        if not (own[1] == others[1] or (math.isnan(own[1]) and math.isnan(others[1]))):
            return f"the reward of {where}"
        if own[2:] != others[2:]:
            return f"the end in {where}"
    return None


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(_same, one, other))
    a, b = np.asarray(one), np.asarray(other)
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def _asked_of_gymnasium(env: Env, fine: bool) -> Finding:
    if not fine:
        return Finding("gymnasium", None, "its checker was not asked: mend what is above first")
    try:
        checked_by_gymnasium(env, skip_render_check=True)
    except Exception as error:  # assertions for the most part, and whatever the user's code raises
        text = str(error).split(". ")[0].split(" Actual")[0]
        return Finding(
            "gymnasium", False, f"its checker says: {' '.join(text.split())[:300].rstrip('.')}."
        )
    return Finding("gymnasium", True, "its own checker passes")
