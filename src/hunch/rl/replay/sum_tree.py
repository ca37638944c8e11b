"""Sums over many values that change one at a time: what prioritized replay draws from.

The tree has two levels below its root: leaves, each with a value of at least 0, in blocks, and one
node per block with its sum. To find the leaf under a given mass, one running sum over all nodes
names the block and one over the block names the leaf. Compared with a binary tree that is more
additions and far fewer steps: at 131,072 leaves 4,096 nodes and 32 leaves a block in place of
17 levels, and in numpy the steps are what costs time. Everything is float64, and a changed block
is summed anew, so no error adds up however long the tree lives.

Which values to keep, exponents and weights are the replay buffer's business, not this file's.
"""

from __future__ import annotations

import math
from typing import Final, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hunch.errors import DataError, ShapeError
from hunch.validation import whole_number

# Draws at a time for which the block size is chosen; a wrong choice costs time alone.
_TYPICAL_DRAWS: Final = 128


class SumTree:
    """Values in order, and quickly the one at which their running sum passes a given mass.

    Several trees of the same capacity live side by side on axis 0, one for each replica of an
    agent; they never mix.

    Args:
        capacity: number of leaves of a tree, at least 1; all are 0 at first.
        trees: number of trees, at least 1.

    Raises:
        ConfigurationError: if `capacity` or `trees` is below 1.

    Example:
        >>> tree = SumTree(capacity=4)
        >>> tree.set([[0, 1, 3]], [[1.0, 2.0, 5.0]])
        >>> tree.total
        array([8.])
        >>> tree.find([[0.5, 1.0, 2.9, 3.0, 7.9]])
        array([[0, 1, 1, 3, 3]])

    Source: Schaul et al., "Prioritized experience replay", ICLR 2016, arXiv 1511.05952, appendix
    B.2.1.

    Note:
        The paper's tree is binary, so its cost grows with the logarithm of the capacity. Here it
        grows with the square root but starts lower; benchmarks/prioritized.py has the figures up
        to a million leaves, where the two are about equal.
    """

    def __init__(self, capacity: SupportsIndex, trees: SupportsIndex = 1) -> None:
        self.capacity = whole_number("capacity", capacity, at_least=1)
        self.trees = whole_number("trees", trees, at_least=1)
        # Additions per draw: nodes / draws + leaves of a block, least where the two are equal.
        self._shift = max(3, round(math.log2(self.capacity / _TYPICAL_DRAWS) / 2))
        self._size = 1 << self._shift  # leaves of a block
        self._blocks = -(-self.capacity // self._size)
        # Rows are blocks, those of the first tree first; the last block is filled up with zeros.
        self._leaves = np.zeros((self.trees * self._blocks, self._size))
        self._nodes = np.zeros((self.trees, self._blocks))
        self._row = np.arange(self.trees)[:, None]
        self._first_block = self._row * self._blocks

    @property
    def total(self) -> NDArray[np.float64]:
        """Sum of each tree, `(trees,)`."""
        total: NDArray[np.float64] = np.add.reduce(self._nodes, axis=1)
        return total

    @property
    def leaves(self) -> NDArray[np.float64]:
        """A copy of all values, `(trees, capacity)`: the whole state of the trees."""
        return self._leaves.reshape(self.trees, -1)[:, : self.capacity].copy()

    def load(self, leaves: ArrayLike) -> None:
        """Set all values at once; afterwards the trees equal those that had them, bit by bit.

        Args:
            leaves: values of at least 0, `(trees, capacity)`, such as `leaves` of other trees.

        Raises:
            ShapeError: if the shape is another.
            DataError: if a value is negative or not finite.

        Example:
            >>> tree = SumTree(capacity=3)
            >>> tree.load([[1, 0, 2]])
            >>> tree.total
            array([3.])
        """
        values = np.asarray(leaves, np.float64)
        if values.shape != (self.trees, self.capacity):
            raise ShapeError(
                f"`leaves` got shape {values.shape}; expected {(self.trees, self.capacity)}, one "
                "value for each leaf of each tree."
            )
        _check_values("leaves", values)
        self._leaves.reshape(self.trees, -1)[:, : self.capacity] = values
        self._nodes[:] = np.add.reduce(self._leaves, axis=1).reshape(self._nodes.shape)

    def set(self, leaf: ArrayLike, value: ArrayLike) -> None:
        """Give leaves new values; where a leaf is named twice, the last value counts.

        Args:
            leaf: indices from 0 to `capacity - 1`, `(trees, n)`; or one integer, the leaf
                of that index in every tree, which is the quick way to add one transition.
            value: values of at least 0, finite, `(trees, n)`; for one integer leaf, a number or
                `(trees,)`.

        Raises:
            ShapeError: if the shapes do not fit.
            DataError: if a leaf does not exist, or a value is negative or not finite.

        Example:
            >>> tree = SumTree(capacity=100, trees=2)
            >>> tree.set(7, 1.5)
            >>> tree.set([[7], [8]], [[2.0], [0.25]])
            >>> tree.total
            array([2.  , 1.75])
        """
        values = np.asarray(value, np.float64)
        _check_values("value", values)
        if isinstance(leaf, int | np.integer):
            self._set_one(int(leaf), values)
            return
        index = self._checked_leaves(leaf)
        if values.shape != index.shape:
            raise ShapeError(
                f"`value` got shape {values.shape}; expected {index.shape}, that of `leaf`."
            )
        block = index >> self._shift
        rows = block + self._first_block
        self._leaves[rows, index & (self._size - 1)] = values
        self._nodes[self._row, block] = np.add.reduce(self._leaves.take(rows, axis=0), axis=-1)

    def _set_one(self, leaf: int, values: NDArray[np.float64]) -> None:
        if not 0 <= leaf < self.capacity:
            raise DataError(f"`leaf` got {leaf}; expected 0 to {self.capacity - 1}.")
        if values.ndim and values.shape != (self.trees,):
            raise ShapeError(
                f"`value` got shape {values.shape}; expected a number or {(self.trees,)}, one "
                "value for each tree."
            )
        block, place = divmod(leaf, self._size)
        rows = self._leaves[block :: self._blocks]  # this block in each tree
        rows[:, place] = values
        self._nodes[:, block] = np.add.reduce(rows, axis=1)

    def get(self, leaf: ArrayLike) -> NDArray[np.float64]:
        """The values of leaves.

        Args:
            leaf: indices, `(trees, n)`.

        Returns:
            Their values, `(trees, n)`.

        Raises:
            ShapeError: if the shape is another.
            DataError: if a leaf does not exist.

        Example:
            >>> tree = SumTree(capacity=3)
            >>> tree.load([[1, 0, 2]])
            >>> tree.get([[2, 2, 1]])
            array([[2., 2., 0.]])
        """
        index = self._checked_leaves(leaf)
        rows = (index >> self._shift) + self._first_block
        values: NDArray[np.float64] = self._leaves[rows, index & (self._size - 1)]
        return values

    def find(self, mass: ArrayLike) -> NDArray[np.int64]:
        """The leaf in whose part of the running sum each mass lies.

        Leaf i owns the masses from v_0 + … + v_{i-1} up to, not including, v_0 + … + v_i. With
        masses uniform over [0, total), leaf i is found with probability v_i / total. A leaf of
        value 0 owns nothing and is never found, whatever sums round to.

        Args:
            mass: from 0 to the tree's total, `(trees, n)`. The total itself, which a product such
                as `0.9999… * total` may round to, finds the last leaf that
                raises the running sum.

        Returns:
            Indices of leaves, `(trees, n)`.

        Raises:
            ShapeError: if the shape is another.
            DataError: if a mass lies outside, or a tree has nothing but zeros.

        Example:
            >>> tree = SumTree(capacity=3)
            >>> tree.load([[1, 0, 2]])
            >>> tree.find([[0, 1, 2, 3]])
            array([[0, 2, 2, 2]])
        """
        masses = np.asarray(mass, np.float64)
        self._check_mass(masses)
        # The first running sum above a mass belongs to a child that raised it, so never to a zero.
        # There is one if the mass is below the last sum, which may be an ulp from the parent's.
        sums = np.add.accumulate(self._nodes, axis=1)
        masses = np.minimum(masses, np.nextafter(sums[:, -1:], 0.0))
        block = np.empty(masses.shape, np.int64)
        for tree in range(self.trees):
            block[tree] = sums[tree].searchsorted(masses[tree], side="right")
        rest = masses - np.where(block > 0, sums[self._row, block - 1], 0.0)

        rows = self._leaves.take(block + self._first_block, axis=0)
        sums = np.add.accumulate(rows, axis=-1)
        rest = np.minimum(rest, np.nextafter(sums[..., -1], 0.0))
        place = (sums > rest[..., None]).argmax(axis=-1)
        found: NDArray[np.int64] = (block << self._shift) + place
        return found

    def _check_mass(self, mass: NDArray[np.float64]) -> None:
        if mass.ndim != 2 or len(mass) != self.trees:
            raise ShapeError(
                f"`mass` got shape {mass.shape}; expected ({self.trees}, n), a row for each tree."
            )
        total = self.total
        if not total.min() > 0:
            raise DataError("a tree holds nothing but zeros; set a leaf before drawing from it.")
        if mass.size and not (mass.min() >= 0 and (mass <= total[:, None]).all()):
            raise DataError(
                f"`mass` got values from {mass.min():g} to {mass.max():g}; expected 0 to the "
                f"tree's `total`, which is {total.tolist()}."
            )

    def _checked_leaves(self, leaf: ArrayLike) -> NDArray[np.int64]:
        index = np.asarray(leaf)
        if index.ndim != 2 or len(index) != self.trees:
            raise ShapeError(
                f"`leaf` got shape {index.shape}; expected ({self.trees}, n), a row for each tree."
            )
        if index.dtype.kind not in "iu":
            raise DataError(f"`leaf` got values of type {index.dtype}; expected integers.")
        if index.size and not (index.min() >= 0 and index.max() < self.capacity):
            raise DataError(
                f"`leaf` got values from {index.min()} to {index.max()}; expected 0 to "
                f"{self.capacity - 1}."
            )
        return index.astype(np.int64, copy=False)


def _check_values(name: str, values: NDArray[np.float64]) -> None:
    # A NaN makes the minimum NaN, which is not >= 0.
    if values.size and not (values.min() >= 0 and values.max() < math.inf):
        raise DataError(f"`{name}` has negative or non-finite values; expected finite ones >= 0.")
