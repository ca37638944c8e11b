"""What `hunch bench bsuite_sweep` stands on; a stand-in plays bsuite's part where that is missing."""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

WITHOUT = "bsuite is not installed; a stand-in has its part in the other tests"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    import bsuite_sweep

    return bsuite_sweep


class TimeStep:
    """What dm_env hands out."""

    def __init__(self, observation, reward=None, discount=None):
        self.observation, self.reward, self.discount, self.ends = observation, reward, discount, 0

    def last(self):
        return bool(self.ends)


class Toy:
    """Two steps an episode; the second one pays for action 1. Built as bsuite's environments are."""

    bsuite_num_episodes = 20

    def __init__(self, discount=0.0):
        self._rng, self._discount = np.random.RandomState(), discount
        self._step, self.drawn, self.regret, self.bad = 0, [], 0.0, 0

    def observation_spec(self):
        return SimpleNamespace(shape=(1, 2), dtype=np.float32)

    def action_spec(self):
        return SimpleNamespace(num_values=2)

    def _seen(self):
        return np.array([[self._step, 1]], np.float32)

    def reset(self):
        self._step = 0
        self.drawn.append(self._rng.randint(10**6))
        return TimeStep(self._seen())

    def step(self, action):
        self._step += 1
        step = TimeStep(self._seen(), float(action) * (self._step == 2), 1.0)
        if self._step == 2:
            step.ends, step.discount = 1, self._discount
            self.regret += 1 - action
            self.bad += int(action == 0)
        return step

    def bsuite_info(self):
        return {"total_regret": self.regret, "total_bad_episodes": self.bad}


class Logged:
    """Counts what it passes on, as bsuite's logging does."""

    def __init__(self, env):
        self._env, self.episodes, self.steps = env, 0, 0

    def reset(self):
        return self._env.reset()

    def step(self, action):
        step = self._env.step(action)
        self.steps += 1
        self.episodes += step.last()
        return step

    def __getattr__(self, name):
        return getattr(self._env, name)


@pytest.mark.parametrize(("discount", "ends"), [(0.0, (True, False)), (1.0, (False, True))])
def test_an_end_is_a_termination_if_nothing_would_follow(bench, discount, ends):
    env = bench.FromBsuite(Logged(Toy(discount)))
    assert env.observation_space.shape == (1, 2)
    assert env.action_space.n == 2
    seen, info = env.reset()
    assert (seen.tolist(), info) == ([[0, 1]], {})
    assert env.step(0)[1:4] == (0.0, False, False)
    seen, reward, *ended, _ = env.step(np.int64(1))
    assert (seen.tolist(), reward, tuple(ended)) == ([[2, 1]], 1.0, ends)


def test_an_episode_repeats_from_its_seed_and_layers_have_chance_of_their_own(bench):
    env = bench.FromBsuite(Logged(Toy()))
    for seed in (3, 4, 3, None):
        env.reset(seed=seed)
    first, second, again, free = env.env.drawn
    assert first == again
    assert len({first, second, free}) == 3
    outer = Toy()
    outer._env = Toy()
    bench.reseed(outer, 3)
    assert outer._rng.randint(10**6) != outer._env._rng.randint(10**6)


def test_a_sea_ends_at_the_logged_episode_that_solves_it(bench):
    def ends_at(name, bad_ones, episodes=200):
        env = SimpleNamespace(bsuite_info=lambda: {"total_bad_episodes": min(done, bad_ones)})
        enough, agent = bench.Enough(env, name, episodes), SimpleNamespace()
        for done in range(1, 10**4):
            agent.history = SimpleNamespace(returns=[0.0] * done)
            if enough(agent):
                return done
        return None

    assert ends_at("deep_sea", 110) == 140  # below 0.9 from 123 on
    assert ends_at("deep_sea", 108) == 140  # exactly 0.9 at 120, which is not below
    assert ends_at("deep_sea", 10**4) == 200
    assert ends_at("deep_sea_stochastic", 0) == 100
    assert ends_at("deep_sea_stochastic", 110) == 140  # below 0.8 from 138 on
    assert ends_at("catch", 0) == 200


@pytest.fixture
def stand_in(monkeypatch):
    """Modules with the few functions of bsuite that are called; its scores are made up."""
    pd = pytest.importorskip("pandas")
    made = {}

    def load_and_record_to_csv(bsuite_id, folder, overwrite):
        print("Loaded", bsuite_id)
        made[bsuite_id] = Logged(Toy())
        made[bsuite_id].folder = folder
        return made[bsuite_id]

    def load_bsuite(folder):
        ids = [i for i, env in made.items() if env.folder == folder]
        lines = [(i, i.split("/")[0], made[i].regret / made[i].episodes) for i in ids]
        return pd.DataFrame(lines, columns=["bsuite_id", "bsuite_env", "regret"]), []

    def bsuite_score(lines):
        pd.Series([1.0]).append(pd.Series([2.0]))  # as bsuite 0.3.6 does
        means = lines.groupby("bsuite_env").regret.mean()
        return pd.DataFrame({"bsuite_env": means.index, "score": 1 - means.to_numpy()})

    names = ("bandit", "catch", "mnist", "deep_sea", "cartpole")
    sweep = SimpleNamespace(**{n.upper(): [f"{n}/{i}" for i in range(20)] for n in names})
    parts = {
        "bsuite": {"load_and_record_to_csv": load_and_record_to_csv, "sweep": sweep},
        "bsuite.sweep": vars(sweep),
        "bsuite.experiments": {},
        "bsuite.experiments.summary_analysis": {"bsuite_score": bsuite_score},
        "bsuite.logging": {},
        "bsuite.logging.csv_load": {"load_bsuite": load_bsuite},
    }
    for name, content in parts.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return made


@pytest.fixture
def small(bench, stand_in, monkeypatch):
    """The benchmark with three experiments and a small agent."""
    some = {name: bench.Experiment(0.5, 10) for name in ("bandit", "mnist", "cartpole")}
    monkeypatch.setattr(bench, "EXPERIMENTS", some)
    monkeypatch.setattr(bench, "ORDER", tuple(some))
    monkeypatch.setattr(bench, "SETTINGS", dict(num_members=2, batch_size=4, hidden_sizes=(4,)))
    return bench


def test_every_id_is_played_once_and_scored(small, stand_in, monkeypatch, capsys, tmp_path):
    words = ["bsuite_sweep.py", "--logs", str(tmp_path / "logs"), "--only", "bandit", "mnist"]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr(small, "MNIST", tmp_path / "nowhere")
    small.main()
    said = capsys.readouterr().out
    assert list(stand_in) == ["bandit/0", "bandit/10"]
    assert [env.episodes for env in stand_in.values()] == [20, 20]
    alone = [1 - env.regret / 20 for env in stand_in.values()]
    score = float(np.mean(alone))
    met = "yes" if round(score, 2) >= 0.5 else "no"
    row = f"| bandit | {score:.2f} | 0.50 | {met} | 0, 10 of 20 | {alone[0]:.2f}, {alone[1]:.2f} |"
    assert row in said
    assert "Not played: mnist (0.50), cartpole (0.50).\n" in said
    assert "Loaded" not in said
    # The same words again play nothing, and more of them only what is new.
    kept = dict(stand_in)
    monkeypatch.setattr(sys, "argv", words[:3])
    small.main()
    assert [i for i in stand_in if i not in kept] == ["cartpole/0", "cartpole/10"]
    assert all(stand_in[i] is kept[i] for i in kept)
    lines = (tmp_path / "logs/finished.jsonl").read_text().splitlines()
    assert [json.loads(line)["steps"] for line in lines] == [40] * 4
    monkeypatch.setattr(sys, "argv", [*words[:3], "--seed", "1"])
    with pytest.raises(SystemExit, match="other settings"):
        small.main()


def test_a_miss_has_its_name_and_figure(small):
    played = [{"id": "bandit/0"}, {"id": "cartpole/0"}]
    said = small.report(played, {"bandit": (0.494, [0.494]), "cartpole": (0.496, [0.496])})
    assert "Missed: bandit 0.49 of 0.50.\n" in said
    assert "Not played: mnist (0.50).\n" in said
    assert "| cartpole | 0.50 | 0.50 | yes |" in said


def test_all_ids_are_every_nth_one(bench, stand_in, monkeypatch):
    some = {"bandit": bench.Experiment(0.5, 8), "catch": bench.Experiment(0.5, 20)}
    monkeypatch.setattr(bench, "EXPERIMENTS", some)
    assert bench.chosen(["catch", "bandit"]) == ["bandit/0", "catch/0", "bandit/8", "bandit/16"]


def test_the_23_experiments_are_those_of_bsuite(bench):
    assert set(bench.ORDER) == set(bench.EXPERIMENTS)
    assert len(bench.ORDER) == 23
    analysis = pytest.importorskip("bsuite.experiments.summary_analysis", reason=WITHOUT)
    assert set(bench.ORDER) == set(analysis.BSUITE_INFO)


@pytest.mark.parametrize("name", ["bandit", "catch_noise", "umbrella_length", "memory_size"])
def test_bsuite_logs_and_scores_what_is_played(bench, name, tmp_path):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("bsuite", reason=WITHOUT)
    line = bench.play(f"{name}/0", tmp_path, seed=0, episodes=25)
    log = pd.read_csv(tmp_path / f"bsuite_id_-_{name}-0.csv")
    assert log.episode.tolist() == [*range(1, 11), 12, 14, 17, 20, 25]
    assert (line["episodes"], line["steps"]) == (25, log.steps.iloc[-1])
    score, alone = bench.scores(tmp_path, [f"{name}/0"])[name]
    assert alone == [score]
    again = tmp_path / "again"
    bench.play(f"{name}/0", again, seed=0, episodes=25)
    assert pd.read_csv(again / f"bsuite_id_-_{name}-0.csv").equals(log)


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # bsuite's, beside pandas 3.1
@pytest.mark.parametrize("name", ["deep_sea", "deep_sea_stochastic"])
def test_what_comes_after_a_sea_is_solved_does_not_enter_its_score(bench, name, tmp_path):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("bsuite", reason=WITHOUT)
    line = bench.play(f"{name}/0", tmp_path, seed=0, episodes=1000)
    assert line["episodes"] < 1000
    file = tmp_path / f"bsuite_id_-_{name}-0.csv"
    log, stopped = pd.read_csv(file), bench.scores(tmp_path, [f"{name}/0"])
    assert stopped[name][0] == 1.0
    worse = log.iloc[[-1]].assign(episode=10_000, total_bad_episodes=9_999)
    pd.concat([log, worse]).to_csv(file, index=False)
    assert bench.scores(tmp_path, [f"{name}/0"]) == stopped
