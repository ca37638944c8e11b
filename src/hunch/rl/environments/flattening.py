"""Spaces as agents see them: observations as one vector, actions of a finite set as one number.

An environment shows and takes what its spaces say; networks take a vector and choose one of so many
actions. What lies between is here, and nowhere else. The order is Gymnasium's own
(`gymnasium.spaces.utils.flatten`), with each part looked at before it is written: Gymnasium's
function would let −1 stand for the last place of a one-hot and cut 0.7 off to 0.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeGuard

import numpy as np
from gymnasium import Space
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.spaces.utils import flatten_space
from numpy.typing import NDArray

from hunch.errors import ConfigurationError

MOST_ACTIONS: Final = 10_000  # each is an output of its own, and has to be tried
MOST_PLACES: Final = 100_000  # of one-hots, each a column of the first layer
_LONG: Final = 60  # characters of a space or a value that a message still shows

_Path: TypeAlias = tuple[str | int, ...]
_Finite: TypeAlias = Discrete | MultiDiscrete | MultiBinary


class MisfitError(Exception):
    """An observation that is not one of its space.

    Args:
        part: which part of it, as it would be picked: `['speed'][0]`; empty for all of it.
        what: what was given there.
        expected: what is expected.
        of_shape: whether it is the form that is wrong, not a value.
        row: which of a batch; None if that is not known or there is none.
    """

    def __init__(
        self, part: str, what: str, expected: str, *, of_shape: bool, row: int | None = None
    ) -> None:
        super().__init__(f"{part}: {what}; expected {expected}")
        self.part, self.what, self.expected = part, what, expected
        self.of_shape, self.row = of_shape, row


class _Part:
    """A part of an observation that has no parts itself, and its place in the vector.

    Args:
        path: where it stands in an observation.
        space: its own.
        begin: where its place begins.
    """

    def __init__(self, path: _Path, space: Box | _Finite, begin: int) -> None:
        self.path, self.space = path, space
        self.name = _name(path)
        self.shape: tuple[int, ...] = space.shape or ()
        if isinstance(space, Box):
            self.width = math.prod(self.shape)
        else:  # asked for in every step, so made once
            self.start, self.sides = _start(space), _sides(space)
            self.first = np.cumsum(self.sides) - self.sides
            bits = isinstance(space, MultiBinary)
            self.width = len(self.sides) if bits else sum(self.sides.tolist())
        self.at = slice(begin, begin + self.width)


class FlatObservations:
    """Observations of a space as vectors: one-hots, bits and flattened boxes, one behind the other.

    `Discrete` is a one-hot, `MultiDiscrete` one of each of its numbers, `MultiBinary` its bits, a
    `Box` its numbers as they are, `Dict` and `Tuple` their parts in the space's order. They are
    floating if a part is, and else the smallest whole numbers of a sign that hold all parts; so
    they are never taken for bytes of an image, which networks divide by 255. A `Dict` or `Tuple`
    with nothing in it but one `Box` of several axes is that `Box`: an image stays one.

    Args:
        space: the space.

    Attributes:
        space: the `Box` of the vectors, or the only one there is.

    Raises:
        ConfigurationError: if a part has no fixed number of numbers, or there are none or too many.

    Example:
        >>> flat = FlatObservations(Dict({"at": Discrete(3, start=1), "speed": Box(-1, 1, (2,))}))
        >>> flat.vector({"at": 2, "speed": [0.5, -0.5]})
        array([ 0. ,  1. ,  0. ,  0.5, -0.5], dtype=float32)
        >>> flat.vector({"at": [1, 3], "speed": np.zeros((2, 2))}, lead=(2,))
        array([[1., 0., 0., 0., 0.],
               [0., 0., 1., 0., 0.]], dtype=float32)
    """

    def __init__(self, space: Space[Any]) -> None:
        self.given = space
        self.parts: list[_Part] = []
        size = 0
        for path, part in _parts(space):
            if not _has_vector(part):
                raise _without_vector(space, path, part)
            self.parts.append(_Part(path, part, size))
            size += self.parts[-1].width
        self._size = size
        if not size:
            raise ConfigurationError(
                f"`env` has observations {said(space)}, which hold no number; let it observe a "
                "constant."
            )
        _check_places(space, [part for part in self.parts if not isinstance(part.space, Box)])
        self.dtype = _common_type([part.space for part in self.parts])
        self.space = self._box()

    def _box(self) -> Box:
        only = self.parts[0].space
        if len(self.parts) == 1 and isinstance(only, Box) and len(only.shape) > 1:
            self.dtype = np.dtype(np.float32) if only.dtype.kind == "f" else only.dtype
            return only
        flat: Any = flatten_space(self.given)
        with np.errstate(all="ignore"):  # bounds beyond single precision are infinite
            low, high = (bound.astype(self.dtype) for bound in (flat.low, flat.high))
        return Box(low, high, dtype=self.dtype.type)

    @property
    def layout(self) -> Hashable:
        """What decides how observations become vectors; equal where they become the same."""
        return tuple((part.path, *_identity(part.space)) for part in self.parts)

    def vector(self, given: Any, lead: tuple[int, ...] = ()) -> NDArray[Any]:
        """An observation as a vector, or several.

        Args:
            given: an observation, or several as Gymnasium's vector environments give them: for a
                `Dict` a dict of batches.
            lead: shape in front of that of one observation.

        Raises:
            MisfitError: if it is not one of the space.
        """
        found = np.zeros((*lead, self._size), self.dtype)
        for part in self.parts:
            _write(part, self._picked(given, part.path), lead, found[..., part.at])
        return found.reshape(*lead, *self.space.shape)

    def vectors(self, given: Any) -> tuple[NDArray[Any], bool]:
        """Observations as vectors `(batch, size)`, and whether it was a single one.

        Raises:
            MisfitError: if it is neither an observation nor a batch.
        """
        first = self.parts[0]
        shape = np.shape(self._numbers(given, first))
        axes = len(shape) - len(first.shape)
        if axes not in (0, 1):
            raise _of_shape(first, shape, ())
        lead = shape[:axes]
        found = self.vector(given, lead)
        return (found, False) if lead else (found[None], True)

    def _numbers(self, given: Any, part: _Part) -> NDArray[Any]:
        return _as_numbers(part, self._picked(given, part.path))

    def _picked(self, given: Any, path: _Path) -> Any:
        """What stands in an observation at a path."""
        space: Any = self.given
        for depth, step in enumerate(path):
            if isinstance(space, Dict):
                if not isinstance(given, dict | Mapping) or step not in given:
                    has = f"a dict of {list(given)}" if isinstance(given, Mapping) else _said(given)
                    names = ", ".join(map(repr, space.spaces))
                    raise MisfitError(_name(path[:depth]), has, f"a dict of {names}", of_shape=True)
            elif not isinstance(given, tuple | list) or len(given) != len(space.spaces):
                many = f"a tuple of {len(space.spaces)}"
                raise MisfitError(_name(path[:depth]), _said(given), many, of_shape=True)
            given, space = given[step], space.spaces[step]
        return given

    def outside(self, given: Any) -> tuple[str, Any, Space[Any]] | None:
        """The first part of an observation that its space does not contain, as Gymnasium has it.

        Args:
            given: an observation of which `vector` could be made.

        Returns:
            Its name, what was given and its space; None if there is none.
        """
        for part in self.parts:
            if not part.space.contains(value := self._picked(given, part.path)):
                return part.name, value, part.space
        return None

    @property
    def bytes_within(self) -> list[tuple[str, tuple[int, ...]]]:
        """Names and shapes of boxes of bytes that become a part of a vector."""
        if len(self.space.shape) > 1:
            return []
        boxes = [part for part in self.parts if part.space.dtype == np.uint8]
        return [(part.name, part.shape) for part in boxes]

    @property
    def seen(self) -> str:
        """What agents see, in words."""
        if len(self.space.shape) > 1:
            return f"its {self.parts[0].name}"
        return f"a vector of {self.space.shape[0]:,}"

    def __str__(self) -> str:
        return f"{said(self.given)} as {self.seen}"


class FlatActions:
    """Actions of several finite sets as one: all combinations, numbered.

    The last component changes fastest, as in the order of `itertools.product` and of numpy's
    `unravel_index`.

    Args:
        space: a `MultiDiscrete` or a `MultiBinary`.

    Attributes:
        space: the `Discrete` of the numbers.

    Raises:
        ConfigurationError: if there are more than 10,000 combinations.

    Example:
        >>> flat = FlatActions(MultiDiscrete([2, 3]))
        >>> flat.space, flat.taken(np.arange(6)).tolist()
        (Discrete(6), [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]])
    """

    def __init__(self, space: MultiDiscrete | MultiBinary) -> None:
        self.given = space
        self._sides = _sides(space)
        self._start = _start(space)
        self._shape: tuple[int, ...] = space.shape
        count = math.prod(self._sides.tolist())
        if count > MOST_ACTIONS:
            raise ConfigurationError(
                f"`env` has actions {said(space)} of {_in_words(count)} combinations; expected at "
                f"most {MOST_ACTIONS:,}, each of which has an output of its own: let it take fewer "
                "or coarser components, in a gymnasium.ActionWrapper."
            )
        self.space = Discrete(count)
        # How many numbers there are from one value of a component to its next.
        self._strides = np.array(
            [math.prod(self._sides[i + 1 :].tolist()) for i in range(len(self._sides))], np.int64
        )

    def taken(self, number: NDArray[Any] | int) -> NDArray[Any]:
        """Actions as the environment takes them, `(…, *shape)`, in an array of their own.

        Args:
            number: `(…)`, each from 0 to one less than there are.
        """
        index = np.asarray(number)
        places = index[..., None] // self._strides % self._sides + self._start
        return places.astype(self.given.dtype).reshape(*index.shape, *self._shape)

    def __str__(self) -> str:
        return f"{said(self.given)} as one of {self.space.n:,}"


def flat_observations(space: Space[Any]) -> FlatObservations | None:
    """What makes vectors of observations; None for boxes of at least one axis, kept as they are.

    Raises:
        ConfigurationError: as `FlatObservations`.

    Example:
        >>> print(flat_observations(Discrete(16)))
        Discrete(16) as a vector of 16
    """
    return None if isinstance(space, Box) and space.shape else FlatObservations(space)


def flat_actions(space: Space[Any]) -> FlatActions | None:
    """What makes the environment's actions of numbers; None where there is nothing to be made.

    Raises:
        ConfigurationError: as `FlatActions`.

    Example:
        >>> print(flat_actions(MultiBinary(3)))
        MultiBinary(3) as one of 8
    """
    return FlatActions(space) if isinstance(space, MultiDiscrete | MultiBinary) else None


def stacked(space: Space[Any], observations: Sequence[Any]) -> Any:
    """Observations of a space as one batch, in the form of Gymnasium's vector environments.

    Example:
        >>> stacked(Tuple((Discrete(3), Discrete(2))), [(2, 0), (1, 1)])
        (array([2, 1]), array([0, 1]))
    """
    if isinstance(space, Dict):
        return {k: stacked(s, [each[k] for each in observations]) for k, s in space.items()}
    if isinstance(space, Tuple):
        return tuple(
            stacked(s, [each[i] for each in observations]) for i, s in enumerate(space.spaces)
        )
    return np.stack([np.asarray(each) for each in observations])


def one_of(space: Space[Any], batch: Any, i: int) -> Any:
    """Observation `i` of such a batch, a copy.

    Example:
        >>> one_of(Tuple((Discrete(3), Discrete(2))), (np.array([2, 1]), np.array([0, 1])), 1)
        (np.int64(1), np.int64(1))
    """
    if isinstance(space, Dict):
        return {k: one_of(s, batch[k], i) for k, s in space.items()}
    if isinstance(space, Tuple):
        return tuple(one_of(s, part, i) for s, part in zip(space.spaces, batch, strict=True))
    return np.array(batch[i])[()]


def arrays_in(observation: Any) -> Iterator[NDArray[Any]]:
    """The arrays that an observation holds.

    Example:
        >>> list(arrays_in({"at": 3, "speed": np.array([0.5])}))
        [array([0.5])]
    """
    if isinstance(observation, np.ndarray):
        yield observation
    elif isinstance(observation, Mapping | tuple | list):
        parts = observation.values() if isinstance(observation, Mapping) else observation
        for part in parts:
            yield from arrays_in(part)


def said(space: object) -> str:
    """A space in one line.

    Example:
        >>> said(MultiDiscrete([[2, 2], [3, 3]]))
        'MultiDiscrete([[2 2] [3 3]])'
    """
    return " ".join(str(space).split())


def _parts(space: Space[Any], path: _Path = ()) -> Iterator[tuple[_Path, Space[Any]]]:
    """What has no parts itself, in Gymnasium's order."""
    if isinstance(space, Dict | Tuple):
        named = space.spaces.items() if isinstance(space, Dict) else enumerate(space.spaces)
        for step, part in named:
            yield from _parts(part, (*path, step))
    else:
        yield path, space


def _has_vector(space: Space[Any]) -> TypeGuard[Box | _Finite]:
    return isinstance(space, _Finite) or (isinstance(space, Box) and space.dtype.kind in "biuf")


def _without_vector(space: Space[Any], path: _Path, part: Space[Any]) -> ConfigurationError:
    """What is said of a part of which no vector can be made."""
    what = said(part) if len(said(part)) <= _LONG else type(part).__name__
    where = f"with {what} as {_name(path)}" if path else what
    bad = {path[0] for path, part in _parts(space) if path and not _has_vector(part)}
    names: Any = getattr(space, "spaces", ())
    steps = list(names) if isinstance(space, Dict) else range(len(names))
    leave_out = ""
    if kept := [step for step in steps if step not in bad]:
        leave_out = (
            "leave it out by gymnasium.wrappers.FilterObservation (`--wrap "
            f'"FilterObservation({kept})"`), or '
        )
    return ConfigurationError(
        f"`env` has observations {where}, of which no vector can be made; expected a Box, "
        f"Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of these: {leave_out}make "
        "numbers of it in an observation wrapper of your own."
    )


def _name(path: _Path) -> str:
    """A part as it would be picked."""
    return "".join(f"[{step!r}]" for step in path)


def _sides(space: _Finite) -> NDArray[np.int64]:
    """How many values each component of a finite space has."""
    if isinstance(space, MultiBinary):
        return np.full(math.prod(space.shape), 2, np.int64)
    many = space.n if isinstance(space, Discrete) else space.nvec
    return np.atleast_1d(np.asarray(many, np.int64)).reshape(-1)


def _start(space: _Finite) -> NDArray[np.int64]:
    """The smallest value of each component."""
    start = 0 if isinstance(space, MultiBinary) else space.start
    return np.broadcast_to(np.asarray(start, np.int64).reshape(-1), _sides(space).shape)


def _check_places(space: Space[Any], finite: Sequence[_Part]) -> None:
    places = sum(part.width for part in finite)
    if places > MOST_PLACES:
        raise ConfigurationError(
            f"`env` has observations {said(space)}, {_in_words(places)} places of one-hots; "
            f"expected at most {MOST_PLACES:,}, each a column of the first layer: say what they "
            "mean by fewer numbers, in a Box, in an observation wrapper of your own."
        )


def _common_type(spaces: Sequence[Box | _Finite]) -> np.dtype[Any]:
    kinds = [space.dtype for space in spaces if isinstance(space, Box)]
    common = np.result_type(np.int8, *kinds)  # with uint64 it is a floating one
    return np.dtype(np.float32) if common.kind == "f" else common


def _identity(space: Box | _Finite) -> tuple[Hashable, ...]:
    if isinstance(space, Box):
        kind = "float" if space.dtype.kind == "f" else str(space.dtype)
        return "Box", space.shape, kind
    return type(space).__name__, space.shape, *_sides(space).tolist(), *_start(space).tolist()


def _write(part: _Part, given: Any, lead: tuple[int, ...], to: NDArray[Any]) -> None:
    """Write one part of an observation, or of several, into its place in their vectors."""
    space = part.space
    # As nearly all are: asking for an array, its type and its bounds would take several times it.
    if isinstance(space, Discrete) and not lead and isinstance(given, int | np.int64):
        if not 0 <= (place := int(given) - int(space.start)) < space.n:
            raise _beyond(part, np.asarray(given), np.array(True), lead)
        to[place] = 1
        return
    array = _as_numbers(part, given)
    if array.shape != (shape := lead + part.shape):
        raise _of_shape(part, array.shape, shape)
    if isinstance(space, Box):
        _write_box(part, array, lead, to)
        return
    places = array.reshape(*lead, -1) - part.start
    wrong = (places < 0) | (places >= part.sides)
    if array.dtype.kind == "f":
        wrong |= places != np.floor(places)  # NaN is not equal to itself
    if wrong.any():
        raise _beyond(part, array, wrong.reshape(shape), lead)
    if isinstance(space, MultiBinary):
        to[...] = places
    elif lead:
        np.put_along_axis(to, places.astype(np.int64) + part.first, 1, -1)
    else:
        to[places.astype(np.int64) + part.first] = 1


def _write_box(part: _Part, array: NDArray[Any], lead: tuple[int, ...], to: NDArray[Any]) -> None:
    dtype: Any = part.space.dtype
    if array.dtype != dtype and dtype.kind != "f":
        with np.errstate(all="ignore"):  # what is lost is looked for here
            kept = array.astype(dtype)
        if (wrong := kept != array).any():
            raise _beyond(part, array, wrong, lead)
        array = kept
    with np.errstate(over="ignore"):  # what becomes infinite is found by others
        to[...] = array.reshape(*lead, -1)


def _as_numbers(part: _Part, given: Any) -> NDArray[Any]:
    try:
        array = np.asarray(given)
    except ValueError:  # lists of several lengths
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise MisfitError(part.name, _said(given), f"numbers of {said(part.space)}", of_shape=True)
    return array


def _of_shape(part: _Part, shape: tuple[int, ...], expected: tuple[int, ...]) -> MisfitError:
    own = part.shape
    wanted = (
        f"{expected or own}, that of {said(part.space)}"
        if expected or own
        else (f"one of {said(part.space)}")
    )
    return MisfitError(part.name, f"an array of shape {shape}", wanted, of_shape=True)


def _beyond(
    part: _Part, array: NDArray[Any], wrong: NDArray[Any], lead: tuple[int, ...]
) -> MisfitError:
    """What is said of the first value that a part's space does not have."""
    place = tuple(np.argwhere(wrong)[0].tolist()) if wrong.ndim else ()
    row = place[0] if lead else None
    return MisfitError(
        part.name, f"{array[place]}", f"one of {said(part.space)}", of_shape=False, row=row
    )


def _said(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and type {value.dtype}"
    text = repr(value)
    return text if len(text) <= _LONG and "\n" not in text else f"a {type(value).__name__}"


def _in_words(count: int) -> str:
    """A number that may have thousands of digits."""
    return f"{count:,}" if count < 10**15 else f"about 10^{int(math.log10(count))}"
