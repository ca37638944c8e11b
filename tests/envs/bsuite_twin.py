"""bsuite's own environments fed with the chance that ours use; needs bsuite, nothing of hunch."""

import numpy as np


class Tape:
    """Stands in for the `RandomState` of a bsuite environment and plays back given draws."""

    def __init__(self):
        self.moves, self.noise, self.starts = [], 0.0, []
        self.row = lambda: 0

    def rand(self):
        return self.moves[self.row()]

    def randn(self):
        return self.noise

    def uniform(self, low, high):
        return self.starts.pop(0)


def deep_sea(size, mapping_seed, stochastic):
    """bsuite's deep sea and the tape it reads."""
    from bsuite.environments.deep_sea import DeepSea

    env, tape = DeepSea(size, deterministic=not stochastic, mapping_seed=mapping_seed), Tape()
    env._rng, tape.row = tape, lambda: env._row
    tape.moves = [1.0] * size
    return env, tape


def swingup(**settings):
    """bsuite's swing-up and the tape it reads."""
    from bsuite.experiments.cartpole_swingup.cartpole_swingup import CartpoleSwingup

    env, tape = CartpoleSwingup(**settings), Tape()
    env._rng = tape
    return env, tape


def deep_sea_actions(env, generator):
    """Actions for one episode: half of the time all to the right, half at random."""
    size = env._size
    actions = generator.integers(0, 2, size)
    if generator.random() < 0.5:
        actions = np.diag(env._action_mapping).astype(int)
        if generator.random() < 0.5:
            actions[generator.integers(size)] ^= 1
    return actions
