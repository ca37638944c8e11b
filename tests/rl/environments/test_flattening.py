"""Spaces as vectors and numbers: Gymnasium's own order, nothing lost, nothing taken for another."""

import itertools

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.spaces.utils import flatdim, flatten, flatten_space
from gymnasium.vector.utils import concatenate as batch_of
from gymnasium.vector.utils import create_empty_array

from hunch.errors import ConfigurationError
from hunch.rl.environments.flattening import (
    FlatActions,
    FlatObservations,
    MisfitError,
    arrays_in,
    flat_actions,
    flat_observations,
    one_of,
    stacked,
)

LEAVES = {
    "discrete": spaces.Discrete(5),
    "from minus 2": spaces.Discrete(4, start=-2),
    "one value": spaces.Discrete(1, start=7),
    "several": spaces.MultiDiscrete([2, 1, 4]),
    "several with starts": spaces.MultiDiscrete([2, 3], start=[5, -1]),
    "a table of them": spaces.MultiDiscrete([[5, 5], [2, 3], [5, 1]]),
    "bits": spaces.MultiBinary(3),
    "a table of bits": spaces.MultiBinary([2, 2]),
    "numbers": spaces.Box(-1, 1, (3,), np.float32),
    "doubles": spaces.Box(-np.inf, np.inf, (2, 2), np.float64),
    "bytes": spaces.Box(0, 255, (2, 3), np.uint8),
    "flags": spaces.Box(0, 1, (2,), np.bool_),
    "no axis": spaces.Box(-3, 3, (), np.float32),
    "integers": spaces.Box(-9, 9, (2,), np.int64),
}
SPACES = {
    **LEAVES,
    "a dict of all": spaces.Dict(LEAVES),
    "a tuple of all": spaces.Tuple(LEAVES.values()),
    "nested": spaces.Dict(
        {"z": spaces.Tuple([LEAVES["bits"], spaces.Dict(b=LEAVES["numbers"], a=LEAVES["bytes"])]),
         "a": LEAVES["from minus 2"]}
    ),
    "an order of its own": spaces.Dict([("z", LEAVES["bits"]), ("a", LEAVES["discrete"])]),
}  # fmt: skip


def sampled(space, count, seed=0):
    space.seed(seed)
    return [space.sample() for _ in range(count)]


@pytest.mark.parametrize("name", SPACES)
def test_vectors_are_those_of_gymnasium(name):
    space = SPACES[name]
    flat = FlatObservations(space)
    alone = name in ("doubles", "bytes")  # of several axes, which are kept
    assert flat.space.shape == (space.shape if alone else (flatdim(space),))
    for seen in sampled(space, 20):
        vector = flat.vector(seen)
        assert vector.dtype == flat.dtype
        assert flat.dtype == flat.space.dtype or alone
        expected = np.asarray(flatten(space, seen)).astype(np.float32)
        np.testing.assert_array_equal(vector.ravel(), expected)
        assert flat.outside(seen) is None


@pytest.mark.parametrize("name", SPACES)
def test_batches_are_the_observations_one_by_one(name):
    """In the form of Gymnasium's vector environments, which its own function makes."""
    space = SPACES[name]
    flat, seen = FlatObservations(space), sampled(space, 4)
    each = [flat.vector(one) for one in seen]
    theirs = batch_of(space, seen, create_empty_array(space, 4))
    for batch in (theirs, stacked(space, seen)):
        np.testing.assert_array_equal(flat.vector(batch, lead=(4,)), each)
        found, single = flat.vectors(batch)
        assert not single
        np.testing.assert_array_equal(found, each)
        for i in range(4):
            np.testing.assert_array_equal(flat.vector(one_of(space, batch, i)), each[i])
    found, single = flat.vectors(seen[1])
    assert single
    np.testing.assert_array_equal(found, each[1:2])


def test_a_box_alone_stays_what_it_is():
    """Of `FilterObservation`, which leaves a dict of one part, an image is to come out an image."""
    image = spaces.Box(0, 255, (7, 7, 3), np.uint8)
    flat = FlatObservations(spaces.Dict(image=image))
    (seen,) = sampled(image, 1)
    found = flat.vector({"image": seen})
    assert (found.dtype, found.shape, flat.space) == (np.uint8, (7, 7, 3), image)
    np.testing.assert_array_equal(found, seen)
    batch, single = flat.vectors({"image": np.stack([seen, seen])})
    assert (batch.shape, single) == ((2, 7, 7, 3), False)
    assert (
        FlatObservations(spaces.Tuple([LEAVES["doubles"]])).vector(([[1, 2], [3, 4]],)).dtype
        == "f4"
    )


def test_boxes_with_axes_are_left_as_they_are():
    assert flat_observations(LEAVES["numbers"]) is None
    assert flat_observations(LEAVES["bytes"]) is None
    assert flat_observations(LEAVES["no axis"]).space.shape == (1,)


@pytest.mark.parametrize(
    ("names", "dtype"),
    [
        (["discrete", "several", "bits"], "int8"),
        (["discrete", "flags"], "int8"),
        (["bytes"], "uint8"),
        (["bytes", "discrete"], "int16"),  # as bytes both would be divided by 255
        (["integers", "bytes"], "int64"),
        (["integers", "numbers"], "float32"),
        (["doubles", "discrete"], "float32"),
    ],
)
def test_vectors_take_no_more_room_than_they_need(names, dtype):
    space = spaces.Tuple([LEAVES[name] for name in names])
    assert FlatObservations(space).dtype == dtype
    assert FlatObservations(spaces.Tuple([spaces.Box(0, 9, (2,), np.uint64)])).dtype == "float32"


def test_bounds_are_those_of_gymnasium():
    space = SPACES["a dict of all"]
    expected, found = flatten_space(space), FlatObservations(space).space
    np.testing.assert_array_equal(found.low, expected.low.astype(np.float32))
    np.testing.assert_array_equal(found.high, expected.high.astype(np.float32))


@pytest.mark.parametrize(
    ("space", "given", "says"),
    [
        (spaces.Discrete(5), -1, ": -1; expected one of Discrete(5)"),
        (spaces.Discrete(5), 5, ": 5; expected one of Discrete(5)"),
        (spaces.Discrete(5), np.array(7), ": 7; expected"),
        (spaces.Discrete(5), 0.5, ": 0.5; expected"),
        (spaces.Discrete(5), np.nan, ": nan; expected"),
        (spaces.Discrete(5, start=3), 2, ": 2; expected one of Discrete(5, start=3)"),
        (spaces.Discrete(5), None, ": None; expected numbers of Discrete(5)"),
        (spaces.Discrete(5), "2", ": '2'; expected numbers"),
        (spaces.Discrete(5), [1], ": an array of shape (1,); expected one of Discrete(5)"),
        (spaces.MultiDiscrete([2, 3]), [1, 3], ": 3; expected one of MultiDiscrete([2 3])"),
        (spaces.MultiDiscrete([2, 3]), 1, ": an array of shape (); expected (2,), that of"),
        (spaces.MultiBinary(2), [0, 2], ": 2; expected one of MultiBinary(2)"),
        (spaces.Dict(a=spaces.Box(0, 9, (2,), np.uint8)), {"a": [1, 0.7]}, "['a']: 0.7; expected"),
        (spaces.Dict(a=spaces.Box(0, 9, (2,), np.uint8)), {"a": [1, -1]}, "['a']: -1; expected"),
        (spaces.Dict(a=spaces.Box(0, 1, (2,), bool)), {"a": [1, 2]}, "['a']: 2; expected"),
        (spaces.Dict(a=spaces.Box(0, 9, (2,))), {"a": [[1, 2]]}, "['a']: an array of shape (1, 2)"),
        (spaces.Dict(a=spaces.Box(0, 9, (2,))), {"b": 1}, ": a dict of ['b']; expected a dict of 'a'"),
        (spaces.Dict(a=spaces.Box(0, 9, (2,))), [1, 2], ": [1, 2]; expected a dict of 'a'"),
        (spaces.Tuple([spaces.Discrete(2)] * 2), (1,), ": (1,); expected a tuple of 2"),
        (spaces.Dict(a=spaces.Tuple([spaces.Discrete(2)] * 2)), {"a": (1, 2)}, "['a'][1]: 2; exp"),
        (spaces.Dict(a=spaces.Tuple([spaces.Discrete(2)])), {"a": 1}, "['a']: 1; expected a tuple"),
    ],
)  # fmt: skip
def test_what_is_not_of_the_space_is_named(space, given, says):
    with pytest.raises(MisfitError) as misfit:
        FlatObservations(space).vector(given)
    assert says in str(misfit.value)


def test_the_row_of_a_batch_is_named():
    with pytest.raises(MisfitError, match="9; expected") as misfit:
        FlatObservations(spaces.Discrete(5)).vector(np.array([0, 4, 9]), lead=(3,))
    assert misfit.value.row == 2


@pytest.mark.parametrize(
    ("space", "says"),
    [
        (spaces.Text(9), "has observations Text, of which no"),
        (spaces.Dict(x=spaces.Discrete(2), mission=spaces.Text(9)), "as ['mission'], of which no"),
        (spaces.Tuple([spaces.Dict(m=spaces.Text(9))]), "as [0]['m'], of which no"),
        (spaces.Graph(spaces.Box(0, 1, (2,)), None), "of which no vector can be made"),
        (spaces.Sequence(spaces.Discrete(2)), "of which no vector can be made"),
        (spaces.OneOf([spaces.Discrete(2), spaces.Discrete(3)]), "of which no vector can be made"),
        (spaces.Dict({}), "hold no number"),
        (spaces.Dict(a=spaces.Box(0, 1, (0,))), "hold no number"),
        (spaces.Discrete(100_001), "100,001 places of one-hots; expected at most 100,000"),
        (spaces.MultiDiscrete([10**18] * 9), "about 10^18 places"),
    ],
)
def test_spaces_without_a_vector_are_refused_in_one_line(space, says):
    with pytest.raises(ConfigurationError) as refusal:
        flat_observations(space)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_parts_of_a_dict_may_be_left_out_by_gymnasiums_wrapper():
    """As a refusal advises: MiniGrid's missions are text."""
    mixed = spaces.Dict(at=spaces.Discrete(4), mission=spaces.Text(9))

    class Grid(gymnasium.Env):
        observation_space, action_space = mixed, spaces.Discrete(3)

    with pytest.raises(ConfigurationError, match="FilterObservation"):
        flat_observations(Grid().observation_space)
    env = gymnasium.wrappers.FilterObservation(Grid(), ["at"])
    assert flat_observations(env.observation_space).space.shape == (4,)


@pytest.mark.parametrize(
    ("space", "values"),
    [
        (spaces.MultiDiscrete([2, 3, 4]), [range(2), range(3), range(4)]),
        (spaces.MultiDiscrete([3]), [range(3)]),
        (spaces.MultiDiscrete([3, 2], start=[-1, 5]), [range(-1, 2), range(5, 7)]),
        (spaces.MultiDiscrete([[2, 3], [1, 2]]), [range(2), range(3), range(1), range(2)]),
        (spaces.MultiDiscrete([1] * 100), [range(1)] * 100),
        (spaces.MultiBinary(4), [range(2)] * 4),
        (spaces.MultiBinary([2, 2]), [range(2)] * 4),
        (spaces.MultiDiscrete([10] * 4), [range(10)] * 4),
    ],
)
def test_numbers_stand_for_all_combinations_in_the_order_of_itertools(space, values):
    flat = flat_actions(space)
    expected = [np.reshape(each, space.shape) for each in itertools.product(*values)]
    assert flat.space == spaces.Discrete(len(expected))
    batch = flat.taken(np.arange(len(expected)))
    np.testing.assert_array_equal(batch, expected)
    assert batch.dtype == space.dtype
    for i in (0, len(expected) // 2, len(expected) - 1):
        one = flat.taken(i)
        assert space.contains(one)
        np.testing.assert_array_equal(one, expected[i])
        assert not np.may_share_memory(one, flat.taken(i))


@pytest.mark.parametrize(
    ("space", "says"),
    [
        (spaces.MultiDiscrete([100, 101]), "10,100 combinations; expected at most 10,000"),
        (spaces.MultiBinary(14), "16,384 combinations"),
        (spaces.MultiDiscrete([10**9] * 9), "about 10^81 combinations"),
    ],
)
def test_too_many_combinations_are_refused(space, says):
    with pytest.raises(ConfigurationError) as refusal:
        flat_actions(space)
    assert says in str(refusal.value)
    assert FlatActions(spaces.MultiDiscrete([100, 100])).space.n == 10_000
    assert flat_actions(spaces.Discrete(10**6)) is None


def test_arrays_are_found_in_whatever_holds_them():
    a, b = np.zeros(1), np.ones(2)
    assert [x.size for x in arrays_in({"a": (1, a), "b": {"c": [b]}})] == [1, 2]
    assert list(arrays_in(3)) == []
