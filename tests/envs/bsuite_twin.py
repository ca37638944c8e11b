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

    def randint(self, below):
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


def basic(name, **settings):
    """One of bsuite's easier problems and the tape it reads."""
    from bsuite.environments import bandit, cartpole, catch, mountain_car

    classes = {
        "catch": catch.Catch,
        "bandit": bandit.SimpleBandit,
        "mountain_car": mountain_car.MountainCar,
        "cartpole": cartpole.Cartpole,
    }
    env, tape = classes[name](**settings), Tape()
    env._rng = tape
    return env, tape


def draw_starts(name, generator, settings):
    """What an episode of an easier problem starts from, as its generator is asked for it."""
    if name == "catch":
        return [int(generator.integers(settings.get("columns", 5)))]
    if name == "mountain_car":
        return [float(generator.uniform(-0.6, -0.4))]
    reach = settings.get("init_range", 0.05)
    return generator.uniform(-reach, reach, 4).tolist() if name == "cartpole" else []


def skilled(name, observation):
    """An action that gets far: swings with the car, pushes the cart under the pole."""
    seen = observation.reshape(-1)
    if name == "mountain_car":
        return 2 if seen[1] >= 0 else 0
    # Centers the cart as well: x and dx/dt are small beside the pole's angle.
    return 2 if 10 * seen[2] + seen[4] + 0.9 * seen[0] + 2.4 * seen[1] > 0 else 0


def deep_sea_actions(env, generator):
    """Actions for one episode: half of the time all to the right, half at random."""
    size = env._size
    actions = generator.integers(0, 2, size)
    if generator.random() < 0.5:
        actions = np.diag(env._action_mapping).astype(int)
        if generator.random() < 0.5:
            actions[generator.integers(size)] ^= 1
    return actions
