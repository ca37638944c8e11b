"""One update of K members: BootstrappedDQN beside a loop over members.

    python benchmarks/bootstrapped_dqn.py [--rounds 60] [--seed 0]

The loop is built as bsuite's agents are: for each member a network, a prior network, their copies
as targets, and an Adam of its own; members take their turns. The second loop is the same with one
fused Adam for all. Batch 128, 20 members, 100 inputs, two layers of 50 units, two actions: a deep
sea of size 10, without its one-hot short cut. All take turns; one thread, CPU time.
"""

from __future__ import annotations

import argparse
import copy
import itertools

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete

from hunch.nn import MLP
from hunch.rl import BootstrappedDQN
from measuring import Rates, Way, rate_ways, ratio, rounded, spread, table, turns, with_spread

BATCH, MEMBERS, INPUTS, HIDDEN, ACTIONS, DISCOUNT, SCALE = 128, 20, 100, (50, 50), 2, 0.99, 10.0


class Blank(gymnasium.Env):
    """Random observations of the size at hand; an episode has 10 steps."""

    def __init__(self) -> None:
        self.observation_space = Box(-1, 1, (INPUTS,), np.float32)
        self.action_space = Discrete(ACTIONS)

    def reset(self, *, seed=None, options=None):
        """Begin an episode."""
        super().reset(seed=seed)
        self.t = 0
        return self._observation(), {}

    def step(self, action):
        """Make a step."""
        self.t += 1
        return self._observation(), float(action), self.t == 10, False, {}

    def _observation(self):
        return self.np_random.uniform(-1, 1, INPUTS).astype(np.float32)


class Loop:
    """Members one after another."""

    def __init__(self, fused: bool) -> None:
        self.models = [MLP(INPUTS, HIDDEN, ACTIONS) for _ in range(MEMBERS)]
        self.priors = [MLP(INPUTS, HIDDEN, ACTIONS).requires_grad_(False) for _ in range(MEMBERS)]
        self.targets = [copy.deepcopy(model).requires_grad_(False) for model in self.models]
        groups = [list(model.parameters()) for model in self.models]
        if fused:
            groups = [[parameter for group in groups for parameter in group]]
        self.optimizers = [torch.optim.Adam(group, fused=fused) for group in groups]

    def update(self, batch) -> None:
        """Make one update of all members."""
        x, following, action, reward, discount = batch
        total = torch.zeros(())
        for model, prior, target in zip(self.models, self.priors, self.targets, strict=True):
            with torch.no_grad():
                best = (target(following) + SCALE * prior(following)).max(1).values
            q = (model(x) + SCALE * prior(x)).gather(1, action[:, None])[:, 0]
            loss = (reward + discount * best - q).square().mean()
            if len(self.optimizers) > 1:
                loss.backward()
            total = total + loss
        if len(self.optimizers) == 1:
            total.backward()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60, help="updates of each")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    agent = BootstrappedDQN(
        Blank,
        num_members=MEMBERS,
        hidden_sizes=(50, 50),
        prior_scale=SCALE,
        n_step=1,
        update_period=1,
        target_update_period=4,
        target_update_rate=1.0,
        loss="squared",
        random_steps=0,
        seed=options.seed,
    )
    agent.learn(500, progress=False)
    drawn = agent._replay.sample(BATCH, agent._sampling)
    fields = (drawn.observation, drawn.next_observation, drawn.action, drawn.reward, drawn.discount)
    batch = [torch.from_numpy(field[0]) for field in fields]
    loops = [Loop(fused=False), Loop(fused=True)]
    runs: dict[str, Way] = {
        "loop, an Adam for each member": lambda: loops[0].update(batch),
        "loop, one fused Adam": lambda: loops[1].update(batch),
        "hunch": lambda: agent._update(agent._replay.sample(BATCH, agent._sampling)),
    }
    times = turns({**runs, **rate_ways()}, options.rounds, warm=5)
    rates = Rates.of(times)
    print("# An update of 20 members\n")
    print(
        f"Batch {BATCH}, {INPUTS}-50-50-{ACTIONS}, randomised priors, one thread, CPU time, torch "
        f"{torch.__version__.split('+')[0]}. Median of {options.rounds} rounds in turns, and "
        "the middle half; ours draws its batch from the replay buffer as well. Priors are computed "
        "once an observation, not in every update.\n"
    )
    rows = [
        [
            name,
            with_spread(spread([1e3 * t for t in times[name]])),
            with_spread(ratio(times[name], times["hunch"])),
        ]
        for name in runs
    ]
    rows.append(["the floor", rounded(1e3 * least(rates)), "–"])
    print(table(["", "ms", "hunch is faster by"], rows))
    print(
        "The floor: the products of a forward of the networks, one of their targets and a backward "
        "of the former, Adam, and nothing else, at the rates the machine had in these turns: "
        f"{rates}."
    )


def least(rates: Rates) -> float:
    """Seconds of an update's products and Adam."""
    sizes = [INPUTS, *HIDDEN, ACTIONS]
    weights = [a * b for a, b in itertools.pairwise(sizes)]
    operations = 2 * BATCH * (4 * sum(weights) - weights[0])
    parameters = sum(weights) + sum(sizes[1:])
    return MEMBERS * (operations * rates.operation + parameters * rates.adam)


if __name__ == "__main__":
    main()
