"""`hunch train`, `play` and `check-env` with an environment of the user's own."""

import json
import shutil
import sys
import textwrap

import pytest

from hunch.cli.config import run_config
from hunch.cli.environments import env_named
from hunch.cli.main import DONE, FAILED, WRONG_USE, run
from hunch.cli.recipes import RECIPES
from hunch.errors import ConfigurationError
from hunch.rl import DQN, Plan, Run
from hunch.rl.runs.plan import read_run_file

SMALL = ["--steps=120", "--set=hidden_sizes=8", "--set=batch_size=8", "--eval-every=60"]
LAKE = """
import gymnasium
import numpy as np


class Lake(gymnasium.Env):
    def __init__(self, size=4, render_mode=None):
        self.observation_space = gymnasium.spaces.Box(0, size, (2,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)
        self.size, self.render_mode = size, render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.time = int(self.np_random.integers(self.size)), 0
        return self.seen(), {}

    def seen(self):
        return np.array([self.place, self.size], np.float32)

    def step(self, action):
        self.time += 1
        self.place = min(max(self.place + 2 * action - 1, 0), self.size)
        won = self.place == self.size
        return self.seen(), float(won), won, self.time == 9, {}


def make_env(size=4, render_mode=None):
    return Lake(size, render_mode)


def halved(env, factor=0.5):
    return gymnasium.wrappers.TransformReward(env, lambda reward: factor * reward)


made = Lake()
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lake.py").write_text(LAKE)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    yield tmp_path
    forget(tmp_path)


def forget(folder):
    """Each command is a process of its own; in this one no module of before may be left."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


def hunch(here, *words):
    forget(here)
    before = list(sys.path)
    code = run(list(words))
    assert sys.path == before
    return code


def told(capsys):
    """The lines that say something, without those that say how it goes."""
    err = capsys.readouterr().err
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("hunch: ")]
    return [line for line in lines if line != "hunch: loading torch"]


@pytest.mark.parametrize(
    "env",
    [
        "lake.py:make_env",
        "lake:Lake",
        pytest.param("lake.py:Lake", marks=pytest.mark.slow),
        pytest.param("lake:make_env", marks=pytest.mark.slow),
    ],
)
def test_a_function_or_class_of_a_file_or_module_is_trained_in(env, here, capsys):
    assert hunch(here, "train", "dqn", env, *SMALL, "--env=size=3", "--out=a") == DONE
    assert f"dqn on {env}: 120 steps" in capsys.readouterr().out
    plan, about = read_run_file("a")
    assert about["env"] == env
    assert plan.settings["env"] == {"given": "when the agent was made"}
    assert plan.settings["env_kwargs"] == {"size": 3}
    page = (here / "a" / "report.html").read_text("utf-8")
    assert f"hunch train dqn {env} --resume RUN --steps N" in page
    assert f"hunch play RUN {env}" in page
    assert "when the agent was made" not in page


def test_its_runs_have_a_readable_place(here, capsys):
    assert hunch(here, "train", "dqn", "lake.py:make_env", *SMALL, "--eval-every=0") == DONE
    assert [p.name for p in (here / "runs").iterdir()] == ["dqn-lake-make_env-0"]


def test_files_beside_a_file_are_found(here, capsys):
    (here / "envs").mkdir()
    (here / "envs" / "pond.py").write_text("from ripples import Lake\n")
    (here / "envs" / "ripples.py").write_text(LAKE)
    words = ["train", "dqn", "envs/pond.py:Lake", *SMALL, "--eval-every=0", "--out=a"]
    assert hunch(here, *words) == DONE


def test_what_only_a_folder_names_is_not_run(here, capsys):
    train = ["train", "dqn", "lake.py:make_env", "--wrap=lake.py:halved(0.25)"]
    assert hunch(here, *train, *SMALL, "--out=a") == DONE
    (here / "lake.py").write_text(LAKE + "\nopen('it ran', 'w')\n")
    for words in (["train", "--resume=a"], ["play", "a"]):
        capsys.readouterr()
        assert hunch(here, *words) == WRONG_USE
        (line,) = told(capsys)
        again = "lake.py:make_env --wrap 'lake.py:halved(0.25)'"
        assert "a folder is no reason to run code" in line
        assert f"`hunch play a {again}`" in line
        assert f"`hunch train dqn {again} --resume a`" in line
    named = ["lake.py:make_env", "--wrap=lake.py:halved(0.25)"]
    for missing in (named[:1], ["--wrap=lake.py:halved(0.25)"]):
        assert hunch(here, "play", "a", *missing) == WRONG_USE
    assert not (here / "it ran").exists()
    assert hunch(here, "play", "a", *named, "--episodes=2") == DONE
    assert (here / "it ran").exists()
    assert hunch(here, *train, "--resume=a", "--steps=150") == DONE
    assert hunch(here, "play", "a", "--episodes=1", "--trust") == DONE


def test_a_checkpoint_is_played_if_its_environment_is_named(here, capsys):
    assert hunch(here, "train", "dqn", "lake.py:make_env", *SMALL, "--out=a") == DONE
    (place, *_) = (here / "a" / "checkpoints").iterdir()
    capsys.readouterr()
    assert hunch(here, "play", str(place)) == WRONG_USE
    assert "name it behind the folder, as file.py:make_env" in told(capsys)[0]
    assert hunch(here, "play", str(place), "lake.py:make_env", "--episodes=1") == DONE


def test_other_names_than_the_runs_are_refused(here, capsys):
    assert hunch(here, "train", "dqn", "lake.py:make_env", *SMALL, "--out=a") == DONE
    for words in (["lake.py:Lake"], ["lake.py:make_env", "--wrap=TimeLimit(3)"]):
        capsys.readouterr()
        assert hunch(here, "play", "a", *words) == WRONG_USE
        assert "expected that one, as `hunch play a lake.py:make_env`" in told(capsys)[0]
    assert hunch(here, "train", "dqn", "CartPole-v1", *SMALL, "--eval-every=0", "--out=b") == DONE
    capsys.readouterr()
    assert hunch(here, "play", "b", "lake.py:make_env") == WRONG_USE
    assert "'b' was trained in CartPole-v1, not in lake.py:make_env" in told(capsys)[0]


FORGED = ["subprocess:run", "os:system", "evil.py", "evil.py:f", "evil(.py:f", "evil:f", "hunch.envs:gymnasium.os.system"]  # fmt: skip


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("once")
    (folder / "pond.py").write_text(LAKE)
    assert run(["train", "dqn", f"{folder}/pond.py:make_env", *SMALL, f"--out={folder}/a"]) == DONE
    forget(folder)
    return folder / "a"


@pytest.mark.parametrize("where", ["env", "wrap", "settings"])
@pytest.mark.parametrize("text", FORGED)
def test_a_forged_folder_runs_no_code(text, where, made_once, here, capsys):
    from hunch.storage import sealed, unsealed, write_json

    shutil.copytree(made_once, here / "a")
    for name in ("evil.py", "evil(.py"):
        (here / name).write_text("open('mark', 'w')\n")
    values = unsealed(json.loads((here / "a" / "run.json").read_text()), here)
    values["plan"]["settings"]["env_kwargs"] = {"args": "touch mark", "shell": True}
    if where == "settings":  # as an id that Gymnasium would be asked for
        values["plan"]["settings"]["env"] = text
    else:
        values |= {"env": "CartPole-v1", "wrap": []} | {where: text if where == "env" else [text]}
    write_json(here / "a" / "run.json", sealed(values))
    for words in (["play", "a"], ["train", "--resume=a"], ["train", "--resume=a", "--dump-config"]):
        capsys.readouterr()
        code = hunch(here, *words)
        assert code == WRONG_USE or (code == DONE and "--dump-config" in words)
        told(capsys)
    assert not (here / "mark").exists()


def test_gymnasiums_wrappers_are_data(here, capsys):
    words = ["train", "dqn", "CartPole-v1", "--wrap=TimeLimit(7)", *SMALL, "--out=a"]
    assert hunch(here, *words) == DONE
    assert max(Run.open("a", env=env_named("CartPole-v1", ["TimeLimit(7)"])).last_agent().history.lengths) == 7  # fmt: skip
    capsys.readouterr()
    assert hunch(here, "play", "a", "--episodes=3") == DONE
    assert "return 7.00" in capsys.readouterr().out
    assert hunch(here, "train", "--resume=a", "--steps=150") == DONE


def test_wrappers_are_put_on_in_their_order(here):
    twice = env_named("lake.py:make_env", ["lake.py:halved", "lake.py:halved(factor=3)"])
    env = twice(size=1)
    assert env.reset(seed=0)[0].tolist() == [0.0, 1.0]
    assert env.step(1)[1] == 1.5
    assert env.func(1.0) == 3.0  # the outermost
    assert env.env.func(1.0) == 0.5


WRONG = {
    "no such file": ("pond.py:make_env", "there is no file 'pond.py'"),
    "no such module": ("pond:make_env", "there is no module 'pond'"),
    "no such name": ("lake.py:make_nev", "'lake.py' has no 'make_nev'; expected a function or class that makes an environment; the nearest name is 'make_env'."),
    "a file alone": ("lake.py", "expected one of its functions or classes: lake.py:Lake or lake.py:make_env"),
    "made already": ("lake.py:made", "an environment that is made already; expected a function or a class"),
    "no function": ("lake.py:__name__", "expected a function or a class that makes a new one"),
    "no environment": ("broken.py:none", "expected a gymnasium.Env, from which its class has to derive"),
    "one for all": ("broken.py:same", "return a new one at each call"),
    "no spaces": ("broken.py:Bare", "has no observation_space; expected one of gymnasium.spaces"),
    "syntax": ("syntax.py:make_env", "'syntax.py' is no Python: SyntaxError: '(' was never closed (in syntax.py, line 3)"),
    "import": ("imports.py:make_env", "NameError: name 'gymnsium' is not defined (in imports.py, line 2)"),
    "constructor": ("broken.py:fails", "broken.py:fails cannot be made: KeyError: 'no level' (in broken.py, line 18)"),
    "in reset": ("broken.py:FailsInReset", "`env` raised ZeroDivisionError: division by zero (in broken.py, line 30) in reset(seed=0)"),
    "in step": ("broken.py:FailsInStep", "`env` raised ZeroDivisionError: division by zero (in broken.py, line 35) in step 1 after reset(seed=0)"),
}  # fmt: skip
BROKEN = """\
import gymnasium
from lake import Lake


def none():
    return 3


one = Lake()


def same(render_mode=None):
    return one


def fails(render_mode=None):
    levels = {}
    return levels["no level"]


class Bare(gymnasium.Env):
    def __init__(self, render_mode=None):
        pass


class FailsInReset(Lake):
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        # what goes wrong stands in the next line
        return 1 / 0


class FailsInStep(Lake):
    def step(self, action):
        return 1 / (action - action)
"""


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_environment_is_one_sentence(case, here, capsys):
    (here / "broken.py").write_text(BROKEN)
    (here / "syntax.py").write_text("\n\nx = (\n")
    (here / "imports.py").write_text("import gymnasium\ngymnsium.make\n")
    env, says = WRONG[case]
    assert hunch(here, "train", "dqn", env, *SMALL, "--out=a") == WRONG_USE
    (line,) = told(capsys)
    assert says in line
    assert not (here / "a").exists()
    assert hunch(here, "check-env", env) in (WRONG_USE, FAILED)
    captured = capsys.readouterr()
    assert says.removesuffix("in reset(seed=0)") in captured.out + captured.err
    assert "Traceback" not in captured.err


def test_an_error_in_the_middle_of_training_has_its_place(here, capsys):
    text = LAKE.replace("self.time += 1", "self.time += 1; self.all = getattr(self, 'all', 0) + 1; assert self.all < 350, 'worn out'")  # fmt: skip
    (here / "lake.py").write_text(text)
    words = ["train", "dqn", "lake.py:make_env", *SMALL, "--steps=500", "--out=a"]
    assert hunch(here, *words) == WRONG_USE
    assert "AssertionError: worn out (in lake.py, line 21; --debug shows" in told(capsys)[-1]


def test_what_may_be_a_mistake_is_said_and_trained_on(here, capsys):
    text = LAKE.replace("return self.seen(), float(won), won,", "return self.seen(), 500.0, False,")
    (here / "lake.py").write_text(text.replace("super().reset(seed=seed)", "pass"))
    # so many places that unseeded episodes don't begin in the same one by chance
    words = ["train", "dqn", "lake.py:make_env", *SMALL, "--eval-every=0", "--out=a"]
    assert hunch(here, *words, "--env=size=1000000000") == DONE
    printed = capsys.readouterr()
    assert "large rewards were learned from times 0.00195" in printed.out
    said = [s for s in printed.err.splitlines() if s.startswith("hunch: lake.py:make_env: ")]
    assert len(said) == 2
    assert "losses and priors are made for rewards of about 1" in said[0]
    assert "begin reset with super().reset(seed=seed)" in said[1]


WRAPS = {
    "no such name": ("TimeLimits(3)", "the nearest of gymnasium.wrappers are TimeLimit"),
    "nothing like it": ("zzz", "one of yours is file.py:NAME or module:NAME"),
    "without its arguments": ("TimeLimit", "does not take lake.py:make_env: TypeError"),
    "arguments that are no values": ("TimeLimit(open('x'))", "expected NAME or NAME(VALUE, KEY=VALUE)"),
    "an open bracket": ("TimeLimit(3", "expected NAME or NAME(VALUE, KEY=VALUE)"),
    "a film": ("RecordVideo('x')", "--video FILE` makes a film"),
    "no such function": ("lake.py:quartered", "'lake.py' has no 'quartered'"),
    "no function": ("lake.py:made", "expected a function or a class that takes an environment"),
    "no environment": ("lake.py:Lake.seen", "returned ndarray; expected a gymnasium.Env"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRAPS)
def test_a_wrong_wrapper_is_one_sentence(case, here, capsys):
    wrap, says = WRAPS[case]
    words = ["train", "dqn", "lake.py:make_env", f"--wrap={wrap}", *SMALL, "--out=a"]
    (here / "lake.py").write_text(LAKE.replace("    def seen(self):\n        return np.array([self.place, self.size]", "    def seen(self):\n        return np.array([getattr(self, 'place', 0), self.size]"))  # fmt: skip
    assert hunch(here, *words) == WRONG_USE
    assert says in told(capsys)[-1]
    assert not (here / "a").exists()


# Options in a file.


@pytest.mark.every(2)
@pytest.mark.parametrize(
    "agent", [pytest.param(a, marks=[pytest.mark.slow] * (a == "dqn")) for a in RECIPES]
)
def test_what_is_dumped_is_read_to_the_same_plan(agent, here, capsys):
    words = ["train", agent, "CartPole-v1", "--steps=40", "--stop-at=400", "--seed=3", "--env=max_episode_steps=77"]  # fmt: skip
    assert hunch(here, *words, "--dump-config") == DONE
    text = capsys.readouterr().out
    (here / "run.toml").write_text(text)
    assert list(here.glob("runs")) == []
    assert hunch(here, "train", "--config=run.toml", "--dump-config") == DONE
    assert capsys.readouterr().out == text
    small = ["--eval-every=0"] if agent == "a2c" else []
    assert "\nstop-at = 400.0\n" in text
    (here / "run.toml").write_text(text.replace("stop-at = 400.0\n", ""))
    words = [word for word in words if not word.startswith("--stop-at")]
    if agent in ("dqn", "a2c"):
        assert hunch(here, *words, *small, "--out=a") == DONE
        assert hunch(here, "train", "--config=run.toml", *small, "--out=b") == DONE
        assert read_run_file("a")[0] == read_run_file("b")[0]
        assert (here / "a" / "summary.json").read_text() == (here / "b" / "summary.json").read_text()  # fmt: skip


def test_a_run_of_ones_own_environment_is_dumped_too(here, capsys):
    words = ["lake.py:make_env", "--wrap=TimeLimit(3)", "--env=size=5", "--set=epsilon=1:0.1:50"]
    assert hunch(here, "train", "dqn", *words, *SMALL, "--out=a") == DONE
    capsys.readouterr()
    assert hunch(here, "train", "--resume=a", "--dump-config") == DONE
    text = capsys.readouterr().out
    assert 'wrap = ["TimeLimit(3)"]' in text
    (here / "run.toml").write_text(text)
    assert hunch(here, "train", "--config=run.toml", "--out=b") == DONE
    assert read_run_file("a")[0] == read_run_file("b")[0]


def test_what_is_typed_goes_before_the_file(here, capsys):
    (here / "run.toml").write_text(
        textwrap.dedent("""
            agent = "dqn"
            env = "CartPole-v1"
            steps = 90
            seed = 5
            [env_kwargs]
            max_episode_steps = 30
            [set]
            hidden_sizes = [8]
            batch_size = 8
            noisy = true
            max_gradient_norm = inf
        """)
    )
    words = ["--set=batch_size=4", "--env=max_episode_steps=20", "--steps=60", "--out=a"]
    assert hunch(here, "train", "--config=run.toml", "noisy-dqn", *words) == DONE
    plan, about = read_run_file("a")
    settings = plan.settings
    assert (about["recipe"], plan.steps, plan.seed) == ("noisy-dqn", 60, 5)
    assert settings["env_kwargs"] == {"max_episode_steps": 20}
    assert (settings["batch_size"], settings["hidden_sizes"], settings["noisy"]) == (4, [8], True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("stepz = 3", "'stepz', which is no option; did you mean 'steps'?"),
        ("[sets]\na = 1", "'sets', which is no option; did you mean 'set'?"),
        ("set = 3", "expected a table, [set] with a line for each name"),
        ("[set]\nlearning_rat = 1e-3", "the nearest names are learning_rate"),
        ("[set]\nlearning_rate = true", "--set learning_rate got 'true'; expected a number"),
        ("trust = true", "'trust', which is no option"),
        ("steps = 0", "0 is not in the range x>=1"),
        ('agent = "ddqn"', "'ddqn' is not one of"),
        ("[env_kwargs]\nwind = 3", "unexpected keyword argument 'wind'"),
        ("tensorboard = 1", "expected true or false"),
        ("= 1", "is no TOML"),
    ],
)
def test_a_wrong_file_of_options_is_one_sentence(text, says, here, capsys):
    words = [] if "agent" in text else ["dqn", "CartPole-v1"]
    if words:
        text = f"{text}\n"
    (here / "run.toml").write_text(text)
    assert hunch(here, "train", *words, "--config=run.toml") == WRONG_USE
    (line,) = told(capsys)
    assert says in line
    assert not (here / "runs").exists()


def test_numbers_and_words_of_every_kind_are_toml():
    import tomllib

    settings = {
        "env": "CartPole-v1",
        "env_kwargs": {'a "key"': [1, "x\ny"], "deep": {"on": True, "none": None}},
        "epsilon": {"Linear": [1.0, 0.05, 5000]},
        "max_gradient_norm": {"float": "inf"},
        "learning_rate": 1e-05,
        "min_replay_size": None,
    }
    found = tomllib.loads(run_config(Plan("DQN", settings, steps=3), {}))
    assert found["env_kwargs"] == {'a "key"': [1, "x\ny"], "deep": {"on": True, "none": "none"}}
    assert found["set"] == {
        "epsilon": "1.0:0.05:5000",
        "max_gradient_norm": float("inf"),
        "learning_rate": 1e-05,
        "min_replay_size": "none",
    }


# In Python: a run of a function.


def test_a_run_takes_what_its_plan_cannot_hold(here):
    make = env_named("lake.py:make_env")
    plan = Plan("DQN", DQN(make, hidden_sizes=(4,)).settings, steps=60, evaluate_every=30)
    run = Run.begin("a", plan, env=make)
    run.train(progress=False)
    run = Run.open("a", env=make)
    assert run.best_agent().steps == 0
    assert run.last_agent().steps == 60
    run.extend(90)
    assert run.train(progress=False).steps == 90
    with pytest.raises(ConfigurationError, match="`env` that cannot be written"):
        Run.open("a").best_agent()
    with pytest.raises(ConfigurationError, match="`env` that cannot be written"):
        Run.open("a").new_agent()
    with pytest.raises(ConfigurationError, match="`seed` was given to a run whose plan says"):
        Run.open("a", env=make, seed=3)
