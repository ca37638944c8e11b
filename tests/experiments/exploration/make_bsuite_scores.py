"""Write tests/experiments/exploration/data/bsuite_scores.json: runs and what bsuite 0.3.6 scores them.

Run in an environment that has bsuite: `python tests/experiments/exploration/make_bsuite_scores.py`. Needs
nothing of hunch. A run is stored as pairs of a value and how often it is repeated.
"""

import importlib
import json
import warnings
from pathlib import Path

import numpy as np

PATH = Path(__file__).parent / "data" / "bsuite_scores.json"
SEAS = ("deep_sea", "deep_sea_stochastic")
# The values that returns are drawn from in random runs.
RETURNS = {
    "cartpole_swingup": (-100, 0, 0, 99, 101, 300, 800),
    "cartpole": (0, 30, 200, 499, 501, 1000),
    "mountain_car": (-1000, -1000, -500, -150, -100, -90),
    "catch": (-1, 1),
    "bandit": (0, 0.1, 0.5, 0.9, 1),
}


def expand(pieces):
    """The run, `(episodes,)`."""
    return np.repeat([value for value, _ in pieces], [count for _, count in pieces])


def bsuite_score(name, runs):
    """What bsuite's own logger and analysis make of runs {id: values of its episodes}."""
    return bsuite_analysis(name, [bsuite_log(name, index, run) for index, run in runs.items()])


def bsuite_analysis(name, frames):
    """The score of logs, one for each id, with bsuite's own function."""
    import pandas as pd

    # bsuite calls a method that pandas has dropped; the rest of its scoring works.
    pd.Series.append = lambda self, other: pd.concat([self, other])
    analysis = importlib.import_module(f"bsuite.experiments.{name}.analysis")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(analysis.score(pd.concat(frames, ignore_index=True)))


def bsuite_log(name, index, run):
    """The lines that bsuite's logger writes for a run, with the settings of its id."""
    import pandas as pd
    from bsuite import sweep
    from bsuite.utils.wrappers import Logging

    env, log = Scripted(name, run), Rows()
    logging = Logging(env, log)
    for _ in run:
        logging.reset()
        logging.step(0)
    settings = sweep.SETTINGS[f"{name}/{index}"]
    return pd.DataFrame(log.rows).assign(bsuite_id=f"{name}/{index}", **settings)


class Rows:
    def __init__(self):
        self.rows = []

    def write(self, data):
        self.rows.append(data)


class Scripted:
    """A bsuite environment of one-step episodes that go as they were written down."""

    bsuite_num_episodes = 10_000

    def __init__(self, name, run):
        self.name, self.run, self.episode = name, run, 0

    def reset(self):
        import dm_env

        return dm_env.restart(None)

    def step(self, action):
        import dm_env

        value = self.run[self.episode]
        self.episode += 1
        return dm_env.termination(0.0 if self.name in SEAS else float(value), None)

    def bsuite_info(self):
        done = np.asarray(self.run[: self.episode], float)
        if self.name in SEAS:
            return {"total_bad_episodes": int(done.sum()), "denoised_return": 0}
        if self.name in ("catch", "bandit"):
            return {"total_regret": float((1 - done).sum())}
        best = max(0.0, done.max()) if len(done) else 0.0
        return {"raw_return": float(done.sum()), "best_episode": best}


def random_run(name, generator, episodes):
    """Pieces of a run of so many episodes, whose parts differ."""
    pieces = []
    while episodes > 0:
        count = int(min(episodes, generator.integers(1, 2 ** generator.integers(1, 13))))
        if name in SEAS:
            value = int(generator.random() < 0.7)
        else:
            value = generator.choice(RETURNS[name]).item()
        pieces.append((value, count))
        episodes -= count
    return pieces


def logged_stop(pieces, bound, first):
    """The run cut at the first logged episode at which the share of bad ones is below the bound."""
    from bsuite.utils.wrappers import _logarithmic_logging

    run = expand(pieces)
    share = np.cumsum(run) / np.arange(1, len(run) + 1)
    for episode in np.flatnonzero(share < bound) + 1:
        if episode >= first and _logarithmic_logging(int(episode)):
            return [(int(value), 1) for value in run[:episode]]
    return pieces


def squeezed(pieces):
    """The same run with neighbors of one value put together."""
    out = []
    for value, count in pieces:
        if out and out[-1][0] == value:
            out[-1][1] += count
        else:
            out.append([value, count])
    return out


def sea_cases(name):
    bound, first = (0.9, 1) if name == "deep_sea" else (0.8, 100)
    edge = round(100 * bound)
    cases = {
        # Exactly at the bound after 10 or 100 episodes, which is not below it.
        "at the bound": {0: [(1, edge // 10), (0, 1), (1, 9991 - edge // 10)]},
        "below the bound between two logged episodes": {
            3: [(1, edge), (0, 103 - edge), (1, 17), (1, 9880)]
        },
        "at 100 episodes": {3: [(1, edge), (0, 100 - edge), (1, 9900)]},
        "just below at 100": {3: [(1, edge - 1), (0, 101 - edge), (1, 9900)]},
        "good before 100, then bad": {3: [(0, 20), (1, 9980)]},
        "in time": {0: [(1, 1000), (0, 9000)], 1: [(1, 1000), (0, 9000)]},
        "too late for its size": {0: [(1, 1100), (0, 8900)], 1: [(1, 3000), (0, 7000)]},
        "never": {0: [(1, 10000)], 20: [(1, 10000)]},
        "at once": {i: [(0, 10000)] for i in range(21)},
        "in the last episode": {20: [(1, 8999), (0, 1001)], 19: [(1, 7999), (0, 2001)]},
    }
    generator = np.random.default_rng(len(name))
    for number in range(4):
        ids = generator.permutation(21)[:7].tolist()
        cases[f"random {number}"] = {i: random_run(name, generator, 10_000) for i in ids}
    whole = {i: [(1, int(generator.integers(20, 9000))), (0, 10_000)] for i in range(21)}
    cases["whole sweep, stopped when solved"] = {
        i: logged_stop(run, bound, first) for i, run in whole.items()
    }
    return cases


def return_cases(name, episodes):
    generator = np.random.default_rng(len(name))
    values = RETURNS[name]
    good = {"cartpole": 500, "cartpole_swingup": 100}.get(name, values[-1])
    cases = {
        "worst": {0: [(values[0], episodes)]},
        "best": {0: [(values[-1], episodes)], 5: [(values[-1], episodes)]},
        "learns": {i: [(values[0], 37 * (i + 1)), (values[-1], episodes)] for i in range(20)},
        "one good episode": {0: [(values[0], 9), (good, 1), (values[0], episodes)]},
        "one just better": {0: [(values[0], 9), (good + 1, 1), (values[0], episodes)]},
        "good after the end only": {0: [(values[0], episodes), (good + 1, 5)]},
        "short": {0: [(values[0], 15), (values[-1], 18)]},
        "good after the last logged": {0: [(values[0], 101), (values[-1] + 1, 7)]},
        "of different lengths": {
            0: [(values[0], 130)],
            1: [(values[-1], 70)],
            2: [(values[-1], 60), (values[0], 70)],
        },
    }
    for number in range(3):
        cases[f"random {number}"] = {i: random_run(name, generator, episodes) for i in range(5)}
    return cases


def main():
    records = []
    for name in (*SEAS, *RETURNS):
        episodes = 10_000 if name in ("catch", "bandit") else 1_000
        cases = sea_cases(name) if name in SEAS else return_cases(name, episodes)
        for case, runs in cases.items():
            runs = {int(i): squeezed(pieces) for i, pieces in runs.items()}
            score = bsuite_score(name, {i: expand(pieces) for i, pieces in runs.items()})
            records.append({"name": name, "case": case, "score": score, "runs": runs})
    schedule = [e for e in range(1, 20_001) if _logged(e)]
    PATH.parent.mkdir(exist_ok=True)
    lines = ",\n".join(json.dumps(record, separators=(",", ":")) for record in records)
    PATH.write_text(f'{{"schedule":{json.dumps(schedule)},\n"cases":[\n{lines}\n]}}\n')
    print(PATH.name, PATH.stat().st_size, "bytes")


def _logged(episode):
    from bsuite.utils.wrappers import _logarithmic_logging

    return _logarithmic_logging(episode)


if __name__ == "__main__":
    main()
