"""What goes wrong in one's first environment and first run is said with what to do about it."""

import re

import pytest

from hunch.cli.main import DONE, FAILED, WRONG_USE, run
from hunch.cli.train import INTERRUPTED
from hunch.plots.run_charts import BANDS_FROM, learning_curves
from hunch.rl.runs.plan import read_run_file

POND = """
import gymnasium, numpy as np
TL = gymnasium.wrappers.TimeLimit

class Pond(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-9, 9, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    def __init__(self, render_mode=None): self.render_mode = render_mode
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = float(self.np_random.uniform(-1, 1))
        return self.seen(), {}
    def step(self, action):
        self.x = min(9.0, max(-9.0, self.x + (0.1 if action else -0.1)))
        return self.seen(), -abs(self.x), False, False, {}
    def seen(self): return np.array([self.x], np.float32)

class Four(Pond):
    def step(self, action):
        seen, reward, end, _, info = super().step(action)
        return seen, reward, end, info

class Old(Pond):
    def reset(self):
        self.x = 0.0
        return self.seen()

class NoReturn(Pond):
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)

class NoStep(Pond):
    def step(self, action): pass

class OneOfAFew(Pond):
    observation_space = gymnasium.spaces.Dict(a=Pond.observation_space, m=gymnasium.spaces.Text(9))
    def seen(self): return {"a": np.array([self.x], np.float32), "m": "go"}

class Pushed(Pond):
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    def step(self, action): return super().step(action[0] > 0)

class Zero(Pond):
    metadata = {"render_modes": ["rgb_array"]}
    def step(self, action): return self.seen(), 0.0 if action else -5.5, False, False, {}

def limited(kind):
    return lambda render_mode=None: TL(kind(render_mode), 20)

four, old, no_return, no_step = limited(Four), limited(Old), limited(NoReturn), limited(NoStep)
a_few, pushed, zero = limited(OneOfAFew), limited(Pushed), limited(Zero)
pond = limited(Pond)
"""
SMALL = ["--set=hidden_sizes=4", "--set=batch_size=4"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pond.py").write_text(POND)
    return tmp_path


def told(capsys):
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if line.startswith("hunch: ") and "loading" not in line]


@pytest.mark.parametrize(
    ("name", "thing", "says"),
    [
        (
            "four",
            "step",
            "answered step with a tuple of 4 .*; expected .*0.26 .in pond.py, line 19",
        ),
        ("old", "reset", "reset without `seed` .in pond.py, line 24.*seed=None, options=None"),
        ("no_return", "reset", "answered reset with None .*; expected .observation, info."),
        ("no_step", "step", "answered step with None .*; expected .observation, reward, "),
    ],
)
def test_what_was_written_for_the_old_gym_is_told_how_it_is_written_now(name, thing, says, capsys):
    assert run(["check-env", f"pond.py:{name}"]) == FAILED
    lines = capsys.readouterr().out.splitlines()
    (line,) = (line for line in lines if line.startswith("FAIL"))
    assert re.match(rf"FAIL  {thing} .*{says}", line)
    assert f"ok    {thing}" not in "\n".join(lines)
    assert run(["train", "dqn", f"pond.py:{name}"]) == WRONG_USE
    assert re.search(says, told(capsys)[-1])


def test_spaces_name_the_option_and_the_agents_that_help(capsys):
    assert run(["train", "dqn", "pond.py:a_few"]) == WRONG_USE
    assert "gymnasium.wrappers.FilterObservation (`--wrap" in told(capsys)[-1]
    assert run(["check-env", "pond.py:a_few", "--wrap", "FilterObservation(['a'])"]) == DONE
    capsys.readouterr()
    assert run(["train", "dqn", "pond.py:pushed"]) == WRONG_USE
    assert "`a2c`, `reinforce`" in told(capsys)[-1]


def test_rewards_of_zero_have_no_sign(capsys):
    run(["check-env", "pond.py:zero"])
    assert "finite, from -5.5 to 0" in capsys.readouterr().out


def test_without_a_time_limit_evaluations_end_all_the_same(here, capsys):
    words = ["train", "dqn", "pond.py:Pond", *SMALL, "--steps=20", "--eval-every=20", "--out=a"]
    assert run(words) == DONE
    lines = told(capsys)
    assert any("there is no time limit" in line for line in lines)
    assert any("evaluation episodes are cut after 1,000 steps" in line for line in lines)
    assert read_run_file("a")[0].evaluation_max_steps == 1_000
    assert "cut after 1,000 steps" in (here / "a" / "report.html").read_text("utf-8")
    assert run(["play", "a", "pond.py:Pond", "--episodes=2"]) == DONE
    assert any("2 of 2 evaluation episodes had no end after 1,000" in s for s in told(capsys))
    # An environment that has one is not cut by another.
    words = ["train", "dqn", "pond.py:pond", *SMALL, "--steps=20", "--eval-every=0", "--out=b"]
    assert run(words) == DONE
    assert read_run_file("b")[0].evaluation_max_steps == 108_000


def test_running_means_are_refused_by_what_holds_them(capsys):
    for agent in ("a2c", "dqn"):
        words = ["train", agent, "pond.py:pond", "--wrap=NormalizeObservation"]
        assert run(words) == WRONG_USE
        (line,) = told(capsys)
        assert line.startswith("hunch: --wrap got 'NormalizeObservation', whose running means")
        assert "--set normalize=true" in line
    assert run(["train", "a2c", "CartPole-v1", "--wrap=NormalizeReward"]) == WRONG_USE
    assert "--set reward_scale" in told(capsys)[-1]


def test_a_film_has_the_name_of_what_it_is(capsys):
    words = ["train", "dqn", "CartPole-v1", *SMALL, "--steps=20", "--eval-every=0", "--out=a"]
    assert run(words) == DONE
    capsys.readouterr()
    assert run(["play", "a", "--video", "pole.gif"]) == WRONG_USE
    assert "expected a name that ends with .mp4" in told(capsys)[-1]
    assert "'pole.mp4'" not in capsys.readouterr().out


def test_a_run_may_be_ended_before_its_last_step(here, capsys, monkeypatch):
    from hunch.rl import Run

    learn = Run._learn

    def interrupted(self, agent, progress):
        self.plan, whole = type(self.plan)(**{**vars(self.plan), "steps": 40}), self.plan
        learn(self, agent, False)
        self.plan = whole
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "_learn", interrupted)
    words = ["train", "dqn", "CartPole-v1", *SMALL, "--steps=400", "--eval-every=20", "--out=a"]
    assert run(words) == INTERRUPTED
    lines = told(capsys)
    again = "hunch train --resume a (with --steps 40 it ends here, with its report)"
    assert lines[-1] == f"hunch: interrupted; go on with: {again}"
    monkeypatch.setattr(Run, "_learn", learn)
    assert not (here / "a" / "report.html").exists()
    assert run(["train", "--resume=a", "--steps=1"]) == DONE  # never fewer than it has made
    out = capsys.readouterr().out
    assert "40 steps" in out
    assert "seed 0: return" in out
    assert (here / "a" / "report.html").exists()
    assert run(["train", "--resume=a", "--steps=10"]) == WRONG_USE
    assert "made them; expected at least as many" in told(capsys)[-1]
    assert run(["train", "--resume=a", "--steps=60"]) == DONE


def test_numbers_after_a_run_say_what_they_are(capsys):
    words = ["train", "dqn", "CartPole-v1", *SMALL, "--steps=20", "--eval-every=0", "--out=a"]
    assert run(words) == DONE
    out = capsys.readouterr().out
    assert "(20 episodes each; ± is their standard deviation)" in out
    assert run(["play", "a", "--episodes=2"]) == DONE
    assert "(standard deviation)" in capsys.readouterr().out


def test_the_report_says_where_the_file_of_options_is_to_be_had(here, capsys):
    assert run(["train", "dqn", "CartPole-v1", *SMALL, "--steps=20", "--dump-config"]) == DONE
    (here / "my run.toml").write_text(capsys.readouterr().out)
    assert run(["train", "--config", "my run.toml", "--eval-every=0", "--out=a"]) == DONE
    page = (here / "a" / "report.html").read_text("utf-8")
    again = "hunch train --resume RUN --dump-config &gt; &#x27;my run.toml&#x27;"
    assert again in page or again.replace("&#x27;", "'") in page


@pytest.mark.parametrize("seeds", [2, BANDS_FROM])
def test_a_band_of_few_seeds_hides_no_curve(seeds, tmp_path):
    rows = ["step,replica,mean_return,std_return"]
    rows += [f"{s},{r},{-10.0 * r - s / 100},0.0" for s in (100, 200) for r in range(seeds)]
    (tmp_path / "evaluations.csv").write_text("\n".join(rows) + "\n")
    (chart, _) = learning_curves(tmp_path)["evaluation-return"]
    bands = re.findall(r'<path fill="[^"]*"[^>]*Z"/>', chart.to_svg())
    assert bool(bands) == (seeds >= BANDS_FROM)


def test_a_setting_without_effect_is_told_of(capsys):
    words = ["train", "noisy-dqn", "CartPole-v1", *SMALL, "--dump-config"]
    assert run([*words, "--set=epsilon=0.5"]) == DONE
    assert "hunch: --set epsilon is without effect beside" in told(capsys)[-1]
    assert run(words) == DONE
    assert not told(capsys)


def test_a_file_alone_lists_what_may_be_meant(here, capsys):
    text = "def make(): pass\n\ndef _hidden(): pass\n\ndef helper(env): pass\n\nclass Other: pass\n"
    (here / "mine.py").write_text(text)
    for words, ways in ((["check-env"], "mine.py:make."), (["diagnose"], "mine.py:make.")):
        assert run([*words, "mine.py"]) == WRONG_USE
        assert told(capsys)[-1].endswith(f": {ways}")


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ("pond.make", "named file.py:make_env or module:make_env"),
        ("pond.py:make_env", "import make_env from the file and give that"),
        ("CartPole-v7", "the nearest names are"),
    ],
)
def test_a_name_that_is_no_id_is_told_what_to_give(env, says, capsys):
    from hunch.errors import ConfigurationError
    from hunch.rl import DQN

    with pytest.raises(ConfigurationError, match=says):
        DQN(env)


@pytest.mark.parametrize(
    "words",
    [
        ["fit", "gone.csv", "--target=y"],
        ["predict", "m", "gone.csv", "--out=p"],
        ["monitor", "m", "gone.csv"],
    ],
)
def test_a_file_that_is_not_there_is_missed_before_torch_is_loaded(words, capsys):
    assert run(words) == WRONG_USE
    said = capsys.readouterr().err
    assert said.startswith("hunch: there is no file 'gone.csv'")


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "gone", "a.csv", "--out=p"],
        ["monitor", "gone", "a.csv"],
        ["play", "gone"],
        ["train", "--resume", "gone"],
        ["compare", "a.csv", "gone"],
        ["study", "gone"],
        ["study", "work", "gone"],
    ],
)
def test_a_folder_that_is_not_there_is_missed_before_torch_is_loaded(
    words, capsys, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("x\n1\n")
    assert run(words) == WRONG_USE
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("hunch: ")
    assert "'gone'" in said


@pytest.mark.parametrize(
    "words",
    [
        ["fit", "https://host/x", "--target=y"],
        ["fit", "a.csv", "--target=y", "--out=https://host/x"],
        ["predict", "m", "https://host/x", "--out=p"],
        ["predict", "https://host/x", "a.csv", "--out=p"],
        ["monitor", "m", "https://host/x"],
        ["play", "https://host/x"],
        ["train", "--resume=https://host/x"],
        ["train", "dqn", "CartPole-v1", "--out=https://host/x"],
        ["compare", "https://host/x"],
        ["compare", "m", "--out=https://host/x.html"],
        ["study", "https://host/x"],
        ["study", "work", "https://host/x"],
        ["study", "a.toml", "--out=https://host/x"],
        ["demo", "--out=https://host/x"],
        ["reproduce", "noisy-layers", "--out=https://host/x"],
        ["diagnose", "--out=https://host/x.html"],
        ["sample", "--out=https://host/x"],
        ["bench", "--out=https://host/x", "dqn"],
    ],
)
def test_an_address_is_no_file_and_is_named_as_it_was_typed(words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("x,y\n" + "1,2\n" * 20)
    (tmp_path / "m").mkdir()
    (tmp_path / "a.toml").write_text('agents = ["dqn"]\nenvs = ["CartPole-v1"]\nsteps = 9\n')
    assert run(words) == WRONG_USE
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("hunch: 'https://host/x"), said
    assert "is an address, and hunch reads and writes on this machine alone" in said


def test_a_home_is_expanded_by_hunch_where_the_shell_did_not(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    assert run(["monitor", "gone", "~/a.csv"]) == WRONG_USE
    assert "no folder 'gone'" in capsys.readouterr().err
    assert run(["monitor", "gone", "~nobody-here/a.csv"]) == WRONG_USE
    assert "the home folder of a user that is not known" in capsys.readouterr().err
