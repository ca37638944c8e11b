"""What environments answer, checked once, where it enters and before anything is kept of it.

An observation has the shape that its space promises, or becomes the vector that `flattening` makes
of it, and loses nothing by the type it is kept in,
but that floating numbers are kept in single precision; all numbers are finite; the rest is what
Gymnasium's interface says. Whatever is not so is refused by the name of the environment, its step
and the component, because numpy would broadcast, wrap around, cut off or take None for NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn, TypeAlias

import gymnasium
import numpy as np
from numpy.typing import NDArray

from hunch.errors import ConfigurationError, DataError, ShapeError
from hunch.rl.environments.flattening import FlatObservations, MisfitError, flat_observations
from hunch.rl.environments.make import stored_dtype

# Taken as they are: to look a type up is cheaper than to ask what it is derived from.
_NUMBERS: Final = frozenset({float, int, bool, np.float64, np.float32, np.int64, np.bool_})
_FLAGS: Final = frozenset({bool, np.bool_})
LARGEST: Final = float(np.finfo(np.float32).max)  # rewards are learned from in single precision

_RESET: Final = "(observation, info)"
_STEP: Final = "(observation, reward, terminated, truncated, info)"
_NOTHING_KEPT: Final = " Nothing of this step was kept: mend the environment, or wrap it."

Where = Callable[[int | None], str]


# Observation, reward, terminated, truncated, info: what an environment answers to an action.
Answer: TypeAlias = tuple[NDArray[Any], float, bool, bool, Mapping[str, Any]]


class Answers:
    """Checks what environments of one observation space answer.

    Args:
        space: what they promise of their observations; what is no `Box` with axes becomes a vector,
            and where none can be made nothing is asked.
        where: names an environment and its step, given the environment's number; given None all of
            them.
        advice: what a refusal says behind what was expected.

    Example:
        >>> answers = Answers(gymnasium.spaces.Box(0, 255, (2,), np.uint8), lambda i: "step 7")
        >>> answers.observation([3, 4])
        array([3, 4], dtype=uint8)
        >>> answers.observation([0.7, 4])  # doctest: +IGNORE_EXCEPTION_DETAIL
        Traceback (most recent call last):
        hunch.errors.DataError: `env` gave the observation component 0 as 0.7, which uint8 …
    """

    def __init__(
        self, space: gymnasium.Space[Any], where: Where, advice: str = _NOTHING_KEPT
    ) -> None:
        self._where, self._advice = where, advice
        self.flat, self.asks = _flat(space)
        box: Any = space if self.flat is None else self.flat.space
        self.shape: tuple[int, ...] = box.shape or ()
        self.dtype: np.dtype[Any] = np.dtype(stored_dtype(box) if self.asks else np.float32)
        self._floating = self.asks and self.dtype.kind == "f"
        # Of these every value fits, or is rounded as single precision is meant to.
        narrow = (np.float16, np.float32, np.bool_, np.uint8, np.int8, np.int16, np.int32, np.int64)
        plain = narrow if self._floating else (self.dtype,)
        self._plain = frozenset(map(np.dtype, plain)) if self.flat is None else frozenset()

    def of_reset(self, answer: Any, i: int) -> NDArray[Any]:
        """The observation in what `reset` returned."""
        observation = self.observation(self.two(answer, i)[0], i)
        self.check_finite(observation, i)
        return observation

    def two(self, answer: Any, i: int = 0) -> Any:
        """What `reset` returned, if it is an observation and an info."""
        if not (isinstance(answer, tuple | list) and len(answer) == 2):
            self._refuse_form("reset", answer, _RESET, i)
        if not isinstance(answer[1], Mapping):
            self._refuse(
                f"answered reset with {_shown(answer[1])} in place of its info",
                f"{_RESET} with a dict, Gymnasium's since 0.26",
                i,
            )
        return answer

    def of_step(self, answer: Any, i: int) -> Answer:
        """What `step` returned; whether the observation is finite is left to `check_finite`."""
        # As nearly all are: what is asked here costs half a microsecond, the rest several.
        if type(answer) is tuple and len(answer) == 5:
            given, reward, terminated, truncated, info = answer
            if (
                type(given) is np.ndarray
                and given.shape == self.shape
                and given.dtype in self._plain
                and type(reward) in _NUMBERS
                and -LARGEST <= reward <= LARGEST
                and type(terminated) in _FLAGS
                and type(truncated) in _FLAGS
                and type(info) is dict
            ):
                return answer
        return self._checked(answer, i)

    def _checked(self, answer: Any, i: int) -> Answer:
        """What `step` returned, looked at piece by piece."""
        given, reward, terminated, truncated, info = self.five(answer, i)
        observation, reward = self.observation(given, i), self.reward(reward, i)
        terminated, truncated = self.ends(terminated, truncated, i)
        self.check_info(info, i)
        return observation, reward, terminated, truncated, info

    def five(self, answer: Any, i: int = 0) -> Any:
        """What `step` returned, if it is five things."""
        if not (isinstance(answer, tuple | list) and len(answer) == 5):
            self._refuse_form("step", answer, _STEP, i)
        return answer

    def reward(self, given: Any, i: int = 0) -> float:
        """A reward as a number that single precision holds."""
        reward = self._number(given, i)
        if not -LARGEST <= reward <= LARGEST:
            self._refuse_reward(reward, i)
        return reward

    def ends(self, terminated: Any, truncated: Any, i: int = 0) -> tuple[bool, bool]:
        """Whether an episode is over, and whether it was only cut."""
        return self._flag("terminated", terminated, i), self._flag("truncated", truncated, i)

    def check_info(self, info: Any, i: int = 0) -> None:
        """Refuse an info that is no dict."""
        if not isinstance(info, Mapping):
            self._refuse(f"gave `info` as {_shown(info)}", "a dict", i)

    def observation(
        self, given: Any, i: int | None = None, lead: tuple[int, ...] = ()
    ) -> NDArray[Any]:
        """An observation, or several, as an array that is kept without loss.

        Args:
            given: what the environment gave.
            i: the environment's number; None for all of them at once.
            lead: shape in front of that of one observation.

        Raises:
            ShapeError: if the shape is another than the space promises.
            DataError: if a value has no place in the type of the space.
        """
        if self.flat is not None:
            return self._vector(self.flat, given, i, lead)
        if not self.asks:
            return np.asarray(given)
        expected = lead + self.shape
        array = _as_array(given)
        if array.dtype.kind not in "biuf":
            self._refuse(f"gave the observation as {_shown(given)}", f"numbers {expected}", i)
        if array.shape != expected:
            self._refuse(
                f"gave an observation of shape {array.shape}",
                f"{expected}, the shape of its observation space",
                i,
                ShapeError,
            )
        if array.dtype in self._plain:
            return array
        with np.errstate(all="ignore"):  # what is lost is looked for here
            kept = array.astype(self.dtype)
        if not self._floating and not np.array_equal(kept, array):
            place = tuple(np.argwhere(kept != array)[0].tolist())
            whose, component = (i, place) if i is not None or not lead else (place[0], place[1:])
            self._refuse(
                f"gave {_component(component)}the observation as {array[place]}, which "
                f"{self.dtype}, the type of its observation space, does not hold",
                "values of that type, or a space of floating numbers",
                whose,
            )
        return kept

    def _vector(
        self, flat: FlatObservations, given: Any, i: int | None, lead: tuple[int, ...]
    ) -> NDArray[Any]:
        """An observation, or several, as a vector each."""
        try:
            return flat.vector(given, lead)
        except MisfitError as misfit:
            part = f"{misfit.part} of " if misfit.part else ""
            self._refuse(
                f"gave {part}the observation as {misfit.what}",
                misfit.expected,
                misfit.row if i is None else i,
                ShapeError if misfit.of_shape else DataError,
            )

    def check_finite(self, observation: NDArray[Any], i: int | None = None) -> None:
        """Refuse NaN and infinite components.

        Args:
            observation: of one environment, or with the environments on axis 0.
            i: the environment's number; None if all are there.

        Raises:
            DataError: naming the first component that is not finite.
        """
        if not self._floating:
            return
        flat = observation.reshape(-1)
        # Half the time of a look at each; a square that overflows is looked at below.
        if math.isfinite(flat.dot(flat)):
            return
        if np.count_nonzero(np.isfinite(observation)) < observation.size:
            place = tuple(np.argwhere(~np.isfinite(observation))[0].tolist())
            whose, component = (place[0], place[1:]) if i is None else (i, place)
            self._refuse(
                f"gave {_component(component)}the observation as {observation[place]}",
                "finite numbers",
                whose,
            )

    def of_reset_all(self, answer: Any, count: int) -> NDArray[Any]:
        """The observations in what a vector environment's `reset` returned, not yet finite."""
        if not (isinstance(answer, tuple | list) and len(answer) == 2):
            self._refuse_form("reset", answer, _RESET, None)
        return self.observation(answer[0], lead=(count,))

    def of_step_all(
        self, answer: Any, count: int
    ) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Any]:
        """What a vector environment's `step` returned, but for the observations in new arrays.

        Whether the numbers are finite is left to `check_finite` and `check_rewards`.
        """
        if not (isinstance(answer, tuple | list) and len(answer) == 5):
            self._refuse_form("step", answer, _STEP, None)
        given, reward, terminated, truncated, infos = answer
        if not isinstance(infos, Mapping) and not (
            isinstance(infos, tuple | list) and len(infos) == count
        ):
            self._refuse(f"gave `infos` as {_shown(infos)}", "a dict, or a list of dicts", None)
        return (
            self.observation(given, lead=(count,)),
            self._batch("rewards", reward, count).astype(np.float64),
            self._flags("terminated", terminated, count),
            self._flags("truncated", truncated, count),
            infos,
        )

    def check_rewards(self, rewards: NDArray[np.float64]) -> None:
        """Refuse rewards that are NaN or beyond single precision."""
        if np.count_nonzero(np.abs(rewards) <= LARGEST) < len(rewards):
            first = int(np.flatnonzero(~(np.abs(rewards) <= LARGEST))[0])
            self._refuse_reward(float(rewards[first]), first)

    def _flags(self, name: str, given: Any, count: int) -> NDArray[np.bool_]:
        array = self._batch(name, given, count)
        flags = array.astype(np.bool_)
        if not np.array_equal(flags, array):
            self._refuse(f"gave `{name}` as {_shown(given)}", "True or False for each", None)
        return flags

    def _batch(self, name: str, given: Any, count: int) -> NDArray[Any]:
        array = _as_array(given)
        if array.dtype.kind not in "biuf" or array.shape != (count,):
            self._refuse(
                f"gave `{name}` as {_shown(given)}", f"{count} of them, shape ({count},)", None
            )
        return array

    def _number(self, reward: Any, i: int) -> float:
        if type(reward) in _NUMBERS:
            return reward  # type: ignore[no-any-return]
        array = _as_array(reward)
        if array.shape != () or array.dtype.kind not in "biuf":
            self._refuse(
                f"gave the reward as {_shown(reward)}", "one number, as of float(reward)", i
            )
        return float(array)

    def _flag(self, name: str, value: Any, i: int) -> bool:
        array = _as_array(value)
        if array.shape != () or array.dtype.kind not in "biuf" or bool(array) != array:
            self._refuse(f"gave `{name}` as {_shown(value)}", "True or False", i)
        return bool(array)

    def _refuse_reward(self, reward: float, i: int) -> NoReturn:
        if abs(reward) < math.inf:
            self._refuse(f"gave the reward {reward}", "one that single precision holds", i)
        self._refuse(f"gave the reward {reward}", "a finite number", i)

    def _refuse_form(self, name: str, answer: Any, form: str, i: int | None) -> NoReturn:
        self._refuse(f"answered {name} with {_shown(answer)}", f"{form}, Gymnasium's since 0.26", i)

    def _refuse(
        self, what: str, expected: str, i: int | None, error: type[Exception] = DataError
    ) -> NoReturn:
        raise error(f"`env` {what} in {self._where(i)}; expected {expected}.{self._advice}")


def _flat(space: gymnasium.Space[Any]) -> tuple[FlatObservations | None, bool]:
    """What makes vectors of observations, if anything does, and whether they can be looked at."""
    try:
        return flat_observations(space), True
    except ConfigurationError:  # which agents refuse; others may be evaluated in it
        return None, False


def _as_array(value: Any) -> NDArray[Any]:
    """An array, of no numbers where none can be made."""
    try:
        return np.asarray(value)
    except ValueError:  # lists of several lengths
        return np.asarray(None)


def _component(place: tuple[int, ...]) -> str:
    if not place:
        return ""
    return f"component {place[0] if len(place) == 1 else place} of "


def _shown(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and type {value.dtype}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else f"a {type(value).__name__}"
