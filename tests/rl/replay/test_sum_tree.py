import numpy as np
import pytest

from hunch.errors import ConfigurationError, DataError, ShapeError
from hunch.rl.replay.sum_tree import SumTree

# One leaf; less than a block; a full block; a block and a leaf; several sizes of blocks.
CAPACITIES = [1, 2, 7, 8, 9, 64, 1000, 4096, 40_001]


def tree_of(*rows):
    values = np.array(rows)
    tree = SumTree(values.shape[1], len(values))
    tree.load(values)
    return tree


def naive_find(values, mass):
    return np.searchsorted(np.cumsum(values), mass, side="right")


@pytest.mark.parametrize("capacity", CAPACITIES)
@pytest.mark.parametrize("trees", [1, 3])
def test_it_agrees_with_running_sums(capacity, trees):
    rng = np.random.default_rng(capacity)
    # Integers, so that sums are exact in any order; many zeros.
    values = rng.integers(0, 5, (trees, capacity)).astype(float)
    values[:, rng.integers(capacity)] = 3
    tree = tree_of(*values)
    assert np.array_equal(tree.total, values.sum(axis=1))
    assert np.array_equal(tree.leaves, values)
    mass = rng.random((trees, 500)) * tree.total[:, None]
    mass[:, :100] = np.floor(mass[:, :100])  # on the edge of a leaf the next one owns the mass
    expected = np.stack([naive_find(v, m) for v, m in zip(values, mass, strict=True)])
    found = tree.find(mass)
    assert found.dtype == np.int64
    assert np.array_equal(found, expected)
    assert np.array_equal(tree.get(found), np.take_along_axis(values, found, axis=1))


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_a_changed_tree_equals_a_new_one_bit_by_bit(capacity):
    rng = np.random.default_rng(capacity)
    tree, values = SumTree(capacity, trees=2), np.zeros((2, capacity))
    for _ in range(50):
        leaf = rng.integers(capacity, size=(2, 20))
        value = rng.lognormal(0, 10, (2, 20))
        tree.set(leaf, value)
        for row in range(2):
            for i, v in zip(leaf[row], value[row], strict=True):  # the last of several counts
                values[row, i] = v
        one = int(rng.integers(capacity))
        tree.set(one, rng.random(2))
        values[:, one] = tree.get([[one], [one]])[:, 0]
    assert np.array_equal(tree.leaves, values)
    again = tree_of(*values)
    assert np.array_equal(again.total, tree.total)
    mass = rng.random((2, 1000)) * tree.total[:, None]
    assert np.array_equal(again.find(mass), tree.find(mass))


def test_a_leaf_named_twice_keeps_its_last_value():
    tree = SumTree(10)
    tree.set([[3, 3, 4, 3]], [[1.0, 2.0, 5.0, 0.5]])
    assert tree.get([[3, 4]]).tolist() == [[0.5, 5.0]]
    assert tree.total == 5.5


def test_draws_follow_the_values():
    rng = np.random.default_rng(0)
    values = np.arange(100.0)
    found = tree_of(values).find(rng.random((1, 400_000)) * values.sum())
    counts = np.bincount(found[0], minlength=100)
    expected = 400_000 * values / values.sum()
    assert counts[0] == 0
    # χ² with 98 degrees of freedom exceeds 180 once in 10⁶.
    assert ((counts - expected)[1:] ** 2 / expected[1:]).sum() < 180


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_all_mass_on_the_last_leaf_or_the_first(capacity):
    for leaf in {0, capacity - 1}:
        tree = SumTree(capacity)
        tree.set(leaf, 0.1)
        mass = [[0.0, 0.05, np.nextafter(0.1, 0), 0.1]]
        assert tree.find(mass).tolist() == [[leaf] * 4]


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_mass_at_the_total_finds_the_last_leaf_with_a_value(capacity):
    # 0.1 sums to another number in another order, so nodes and running sums disagree by an ulp.
    values = np.full(capacity, 0.1)
    values[capacity // 2 + 1 :] = 0
    tree = tree_of(values)
    mass = np.array([[tree.total[0], np.nextafter(tree.total[0], 0)]])
    assert tree.find(mass).tolist() == [[capacity // 2] * 2]


def test_a_zero_is_never_found_whatever_rounds():
    rng = np.random.default_rng(0)
    for _ in range(100):
        values = rng.lognormal(0, 30, (2, 300)) * (rng.random((2, 300)) < 0.1)
        values[:, 150] = 1e-300
        tree = tree_of(*values)
        edges = np.cumsum(values, axis=1)
        near = np.concatenate([edges, np.nextafter(edges, 0), np.nextafter(edges, np.inf)], axis=1)
        near = np.minimum(near, tree.total[:, None])
        assert (tree.get(tree.find(near)) > 0).all()


def test_mass_at_the_end_of_a_block_stays_in_it():
    rng = np.random.default_rng(0)
    for _ in range(100):
        values = rng.random((1, 400))
        tree = tree_of(*values)
        values[:, :: tree._size] = 0  # where a search that finds nothing would end
        tree.load(values)
        ends = np.cumsum(tree._nodes, axis=1)
        mass = np.minimum(np.nextafter(ends, 0), tree.total)
        found = tree.find(mass)
        assert (tree.get(found) > 0).all()
        assert np.array_equal(found[0] // tree._size, np.arange(ends.size))


def test_tiny_values_beside_huge_ones_keep_their_share():
    values = np.zeros(1000)
    values[:10] = 1e-9
    values[10] = 1e6
    tree = tree_of(values)
    assert tree.find([[0.5e-9, 9.5e-9, 10.5e-9, 1e6]]).tolist() == [[0, 9, 10, 10]]
    tree.set(10, 0.0)  # nothing of the huge value is left behind in a sum
    assert tree.total == pytest.approx(1e-8, rel=1e-12)
    smallest = np.full(9, 5e-324)
    assert tree_of(smallest).find([smallest.cumsum() - 5e-324]).tolist() == [list(range(9))]


def test_trees_do_not_mix():
    tree = SumTree(5000, trees=3)
    tree.set([[1], [4999], [0]], [[1.0], [2.0], [4.0]])
    assert tree.total.tolist() == [1, 2, 4]
    assert tree.find([[0.5], [1.5], [3.5]]).tolist() == [[1], [4999], [0]]
    tree.set(7, [8.0, 16.0, 32.0])
    assert tree.total.tolist() == [9, 18, 36]
    assert tree.get([[7]] * 3).tolist() == [[8], [16], [32]]


def test_leaves_are_a_copy():
    tree = SumTree(3)
    tree.leaves[:] = 1
    assert tree.total == 0


def test_curt_park_88_the_last_item_is_drawn_too():
    """There the draw ended one before the last: an item just stored waited for the next one."""
    for stored in (1, 2, 100):
        tree = SumTree(128)
        for leaf in range(stored):
            tree.set(leaf, 1.0)
        strata = (np.arange(10 * stored) + 0.5) / (10 * stored) * tree.total
        counts = np.bincount(tree.find(strata[None])[0], minlength=128)
        assert counts.tolist() == [10] * stored + [0] * (128 - stored)


def test_flashbax_58_whole_numbers_and_float32_do_not_make_zero_priorities():
    """There a whole number as priority made the sums whole, and float32 lost small ones."""
    tree = SumTree(4)
    tree.set(0, 1)
    tree.set(np.array([[1, 2]], np.int32), np.array([[1, 2]]))
    tree.set([[3]], np.array([[0.3]], np.float32))
    assert tree.leaves.dtype == np.float64
    assert tree.total == pytest.approx(4.3)
    tree.set(0, 0.25)
    assert tree.leaves[0, 0] == 0.25
    tree.set(0, 2**24)  # in float32 16777216 + 1 is 16777216
    tree.set([[1, 2, 3]], [[1, 0, 0]])
    assert tree.total == 2**24 + 1
    assert tree.find([[2**24]]).item() == 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: SumTree(0), ConfigurationError, "`capacity` got 0"),
        (lambda t: SumTree(5, 0), ConfigurationError, "`trees` got 0"),
        (lambda t: t.set([[5, 0], [0, 0]], [[1, 1], [1, 1]]), DataError, "from 0 to 5; expected 0"),
        (lambda t: t.set([[-1], [0]], [[1], [1]]), DataError, "`leaf` got values from -1"),
        (lambda t: t.set([[0.0], [1.0]], [[1], [1]]), DataError, "`leaf` got values of type"),
        (lambda t: t.set([[0, 1]], [[1, 1]]), ShapeError, r"`leaf` got shape \(1, 2\)"),
        (lambda t: t.set([[0], [1]], [1, 1]), ShapeError, r"`value` got shape \(2,\)"),
        (lambda t: t.set([[0], [1]], [[1], [-1]]), DataError, "`value` has negative"),
        (lambda t: t.set(0, np.nan), DataError, "`value` has negative or non-finite"),
        (lambda t: t.set(0, np.inf), DataError, "`value` has negative or non-finite"),
        (lambda t: t.set(5, 1.0), DataError, "`leaf` got 5"),
        (lambda t: t.set(-1, 1.0), DataError, "`leaf` got -1"),
        (lambda t: t.set(0, [1.0, 2.0, 3.0]), ShapeError, r"`value` got shape \(3,\)"),
        (lambda t: t.get([[5], [0]]), DataError, "`leaf`"),
        (lambda t: t.load(np.ones(5)), ShapeError, r"`leaves` got shape \(5,\)"),
        (lambda t: t.load(-np.ones((2, 5))), DataError, "`leaves` has negative"),
        (lambda t: t.find([0.1]), ShapeError, r"`mass` got shape \(1,\)"),
        (lambda t: t.find([[0.1], [0.1]]), DataError, "nothing but zeros"),
    ],
)
def test_misuse_is_named(call, error, message):
    tree = SumTree(5, trees=2)
    with pytest.raises(error, match=message):
        call(tree)
    assert tree.total.tolist() == [0, 0]


@pytest.mark.parametrize("mass", [-1e-9, 1.1, np.nan])
def test_mass_outside_is_refused(mass):
    tree = tree_of([0.5, 0.5])
    with pytest.raises(DataError, match="`mass` got values"):
        tree.find([[0.1, mass]])


def test_cleanrl_sums_priorities_in_single_precision():
    """Small priorities vanished in a large float32 sum, and errors added up."""
    tree = SumTree(4096)
    tree.set([[0]], [[1e8]])
    for _ in range(50):
        tree.set([range(1, 4001)], [[0.5] * 4000])  # a float32 sum would not feel one of them
    assert tree.total[0] == 1e8 + 2000
    assert tree.find([[1e8 + 0.6, 1e8 + 1999.9]]).tolist() == [[2, 4000]]
    tree.set([[0]], [[0.0]])
    assert tree.total[0] == 2000
