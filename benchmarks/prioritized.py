"""What a prioritized draw and the update of its priorities cost, by the tree that holds them.

One round draws 128 stratified leaves, reads their priorities and gives them new ones. A second
figure is the cost of one new transition. The Python trees are written the way tutorials write them:
one leaf at a time, a binary tree in a list, one tree for sums and a second one for the minimum. The
binary tree in numpy walks its levels for all draws at once.

    python benchmarks/prioritized.py [--seed 0]
"""

from __future__ import annotations

import argparse
import operator
from collections.abc import Callable

import numpy as np

from hunch.rl.replay.sum_tree import SumTree
from measuring import Way, spread, turns

DRAWS = 128


class PythonTree:
    """A binary tree in a list, one leaf at a time."""

    def __init__(self, capacity: int, combine: Callable[[float, float], float], empty: float):
        self.size = 1 << (capacity - 1).bit_length()
        self.values = [empty] * (2 * self.size)
        self.combine = combine

    def set(self, leaf: int, value: float) -> None:
        """Change one leaf and all nodes above it."""
        node = leaf + self.size
        self.values[node] = value
        while node > 1:
            node //= 2
            self.values[node] = self.combine(self.values[2 * node], self.values[2 * node + 1])

    def find(self, mass: float) -> int:
        """Walk from the root to the leaf under `mass`."""
        node = 1
        while node < self.size:
            node *= 2
            if mass >= self.values[node]:
                mass -= self.values[node]
                node += 1
        return node - self.size


class PythonTrees:
    """Sums alone, or sums and the minimum."""

    def __init__(self, priorities: np.ndarray, *, minimum: bool) -> None:
        self.trees = [PythonTree(len(priorities), operator.add, 0.0)]
        if minimum:
            self.trees.append(PythonTree(len(priorities), min, float("inf")))
        for leaf, priority in enumerate(priorities.tolist()):
            self.add(leaf, priority)

    def add(self, leaf: int, priority: float) -> None:
        """Give one new transition its priority."""
        for tree in self.trees:
            tree.set(leaf, priority)

    def round(self, rng: np.random.Generator, new: np.ndarray) -> None:
        """Draw, read, update."""
        sums = self.trees[0]
        part = sums.values[1] / DRAWS
        masses = (part * (i + u) for i, u in enumerate(rng.random(DRAWS).tolist()))
        leaves = [sums.find(mass) for mass in masses]
        self.read = [sums.values[leaf + sums.size] for leaf in leaves]
        for leaf, priority in zip(leaves, new.tolist(), strict=True):
            self.add(leaf, priority)


class NumpyBinaryTree:
    """A binary tree in an array; all draws go down, and all updates up, one level at a time."""

    def __init__(self, priorities: np.ndarray) -> None:
        self.size = 1 << (len(priorities) - 1).bit_length()
        self.values = np.zeros(2 * self.size)
        self.set(np.arange(len(priorities)), priorities)

    def set(self, leaf: np.ndarray, value: np.ndarray) -> None:
        """Change leaves and all nodes above them."""
        node = leaf + self.size
        self.values[node] = value
        while node[0] > 1:
            node = node >> 1
            self.values[node] = self.values[2 * node] + self.values[2 * node + 1]

    def add(self, leaf: int, priority: float) -> None:
        """Give one new transition its priority."""
        self.set(np.array([leaf]), np.array([priority]))

    def round(self, rng: np.random.Generator, new: np.ndarray) -> None:
        """Draw, read, update."""
        mass = (np.arange(DRAWS) + rng.random(DRAWS)) * (self.values[1] / DRAWS)
        node = np.ones(DRAWS, np.int64)
        while node[0] < self.size:
            node *= 2
            left = self.values[node]
            right = mass >= left
            mass -= left * right
            node += right
        self.read = self.values[node]
        self.set(node - self.size, new)


class Ours:
    """`hunch.rl.replay.sum_tree.SumTree`."""

    def __init__(self, priorities: np.ndarray) -> None:
        self.tree = SumTree(len(priorities))
        self.tree.load(priorities[None])

    def add(self, leaf: int, priority: float) -> None:
        """Give one new transition its priority."""
        self.tree.set(leaf, priority)

    def round(self, rng: np.random.Generator, new: np.ndarray) -> None:
        """Draw, read, update."""
        mass = (np.arange(DRAWS) + rng.random((1, DRAWS))) * (self.tree.total / DRAWS)
        leaves = self.tree.find(mass)
        self.read = self.tree.get(leaves)
        self.tree.set(leaves, new[None])


def measure(stored: int, rounds: int, seed: int) -> dict[str, tuple[float, float]]:
    """Median microseconds of a round and of one new transition, by tree."""
    rng = np.random.default_rng(seed)
    priorities = rng.random(stored)
    trees = {
        "Python, sums and minimum": PythonTrees(priorities, minimum=True),
        "Python, sums": PythonTrees(priorities, minimum=False),
        "numpy, binary": NumpyBinaryTree(priorities),
        "hunch": Ours(priorities),
    }
    ways: dict[str, Way] = {}
    for name, tree in trees.items():
        ways[f"{name} round"] = lambda tree=tree: tree.round(rng, rng.random(DRAWS))
        ways[f"{name} add"] = lambda tree=tree: tree.add(int(rng.integers(stored)), 0.5)
    times = turns(ways, rounds)
    return {
        name: tuple(1e6 * spread(times[f"{name} {what}"]).median for what in ("round", "add"))
        for name in trees
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sizes = [10_000, 131_072, 1_000_000]
    tables = [measure(size, options.rounds, options.seed) for size in sizes]
    print("# Prioritized replay\n")
    print(
        f"Draw {DRAWS} leaves, read and replace their priorities / add one transition: median of "
        f"{options.rounds} rounds, µs, one thread, numpy {np.__version__}. In brackets how many "
        "times faster than the first line.\n"
    )
    print("| tree |", " | ".join(f"{size:,} stored" for size in sizes), "|")
    print("|---|" + "---|" * len(sizes))
    for name in tables[0]:
        cells = []
        for table in tables:
            ratio = table["Python, sums and minimum"][0] / table[name][0]
            cells.append(f"{table[name][0]:,.0f} ({ratio:.1f}×) / {table[name][1]:.1f}")
        print(f"| {name} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
