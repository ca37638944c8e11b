"""`hunch train` as a user meets it."""

import json
import os
import shutil
import sys

import gymnasium
import numpy as np
import pytest
import torch

from hunch.cli.main import program, run
from hunch.cli.recipes import RECIPES
from hunch.rl import Run

SMALL = ["--steps=300", "--set=hidden_sizes=8", "--set=batch_size=8", "--eval-every=100"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    place = tmp_path_factory.mktemp("made") / "a"
    assert run(["train", "dqn", "CartPole-v1", *SMALL, "--out", str(place)]) == 0
    return place


@pytest.fixture
def trained(made_once, here, capsys):
    capsys.readouterr()
    shutil.copytree(made_once, here / "a")
    return here / "a"


def last_line(capsys):
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [s for s in captured.err.splitlines() if s != "hunch: loading torch"]
    assert len(lines) == 1, captured.err
    return lines[0]


@pytest.mark.parametrize("command", ["train", "play"])
def test_help_has_examples(command, capsys):
    assert run([command, "--help"]) == 0
    assert f"Example: hunch {command} " in capsys.readouterr().out


QUICK = ("boot-dqn", "noisy-dqn", "a2c", "noisy-pqn")


@pytest.mark.parametrize(
    "agent", [pytest.param(a, marks=[pytest.mark.slow] * (a not in QUICK)) for a in RECIPES]
)
def test_every_agent_trains_leaves_a_run_and_says_how_it_went(agent, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = [*SMALL, "--set=num_members=3"] if agent == "boot-dqn" else SMALL
    if RECIPES[agent].agent in ("A2C", "Reinforce"):
        small = [word for word in SMALL if "batch_size" not in word] + ["--num-envs=1"]
    if RECIPES[agent].agent == "PQN":
        small = [*SMALL, "--num-envs=4"]
    assert run(["train", agent, "CartPole-v1", *small, "--replicas=2"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].startswith(f"{agent} on CartPole-v1: 300 steps, ")
    assert lines[1].startswith("seed 0: return ")
    assert lines[2].startswith("seed 1: return ")
    place = tmp_path / "runs" / f"{agent}-CartPole-v1-0"
    assert lines[3].startswith("random play: return ")
    assert lines[4] == f"Report: {os.path.relpath(place / 'report.html')}"
    assert {p.name for p in place.iterdir()} >= {
        "run.json",
        "logs",
        "checkpoints",
        "best",
        "report.html",
    }
    page = (place / "report.html").read_text()
    for said in ("Mean of the last 20 episodes", "random play", "wall time", "mean over seeds"):
        assert said in page
    assert ("The noise " in page) == ("noisy" in agent)
    assert Run.open(place).finished == "complete"


@pytest.mark.parametrize("env", ["ALE/Pong-v5", "MinAtar/Breakout-v1"])
def test_settings_for_games_fit_the_agents_they_are_for(env):
    from hunch.rl.agents.saving import from_json
    from hunch.rl.runs.weights import agent_class

    for recipe in RECIPES.values():
        settings = {k: from_json(v) for k, v in recipe.settings_for(env).items()}
        if "replay_capacity" in settings:
            settings["replay_capacity"] = 20_000
        agent_class(recipe.agent)("CartPole-v1", **settings)


def test_a_second_run_gets_a_place_of_its_own(here, capsys):
    for _ in range(2):
        assert run(["train", "dqn", "CartPole-v1", *SMALL, "--seed=4"]) == 0
    names = ["dqn-CartPole-v1-4", "dqn-CartPole-v1-4-2"]
    assert sorted(p.name for p in (here / "runs").iterdir()) == names
    first, second = (json.loads((here / "runs" / n / "summary.json").read_text()) for n in names)
    assert first == second


def test_json_is_the_summary_and_nothing_else_on_standard_output(here, capsys):
    assert run(["train", "dqn", "CartPole-v1", *SMALL, "--json", "--out", "a"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed.pop("folder") == str(here / "a")
    assert printed == json.loads((here / "a" / "summary.json").read_text())
    assert printed["steps"] == 300


def test_deep_sea_is_trained_until_it_is_solved(here, capsys):
    arguments = ["boot-dqn", "hunch/DeepSea-v0", "--size=4", "--set=num_members=5", "--out=a"]
    assert run(["train", *arguments]) == 0
    out = capsys.readouterr().out
    assert ", solved\n" in out
    assert "; solved in " in out
    assert Run.open("a").finished == "solved"
    assert Run.open("a").plan.settings["env_kwargs"] == {"size": 4}
    assert "with the best (of step" in out


def test_set_and_env_reach_the_agent(here, capsys):
    words = ["--set", "epsilon=1:0.1:50", "--set", "n_step=2", "--env", "max_episode_steps=9"]
    assert run(["train", "dqn", "CartPole-v1", *SMALL, *words, "--out=a"]) == 0
    agent = Run.open("a").last_agent()
    assert agent.epsilon.end == 0.1
    assert agent.settings["n_step"] == 2
    assert max(agent.history.lengths) == 9


def test_the_run_says_how_it_was_made(trained):
    command = json.loads((trained / "run.json").read_text())["command"]
    assert command.startswith("hunch train dqn CartPole-v1 --steps=300")


def test_stop_at_ends_the_training(here, capsys):
    assert run(["train", "dqn", "CartPole-v1", *SMALL, "--stop-at=1", "--out=a"]) == 0
    assert "stopped at the return asked for" in capsys.readouterr().out
    assert Run.open("a").last_agent().steps == 100


def test_resume_adds_steps_and_a_finished_run_is_only_reported(trained, capsys):
    assert run(["train", "--resume", "a", "--steps=500"]) == 0
    assert "500 steps" in capsys.readouterr().out
    assert (
        run(["train", "dqn", "CartPole-v1", "--seed=0", "--resume", "a", "--set=hidden_sizes=8"])
        == 0
    )
    captured = capsys.readouterr()
    assert "nothing to train" in captured.err
    assert "500 steps" in captured.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed=1"], "--seed is 0, not 1"),
        (["--replicas=2", "--num-envs=3"], "--replicas is 1, not 2; --num-envs is 1, not 3"),
        (["--set=n_step=2"], "--set n_step is 5, not 2"),
        (["--set=hidden_sizes=9"], "--set hidden_sizes is [8], not [9]"),
        (["--size=3"], "--env size is None, not 3"),
        (["--eval-every=7"], "--eval-every is 100, not 7"),
        (["--stop-at=7"], "--stop-at is None, not 7.0"),
        (["--tensorboard"], "--tensorboard is False, not True"),
        (["double-dqn"], "AGENT is 'dqn', not 'double-dqn'"),
        (["dqn", "Acrobot-v1"], "ENV is 'CartPole-v1', not 'Acrobot-v1'"),
        (["--steps=200"], "`steps` got 200, but the run was begun with 300"),
        (["--set=n_stop=3"], "--set got 'n_stop'"),
        (["--out=b"], "leave --out away"),
    ],
)
def test_resume_with_other_settings_says_which_differ(words, message, trained, capsys):
    before = {p: p.read_bytes() for p in trained.rglob("*") if p.is_file()}
    assert run(["train", "--resume", "a", *words]) == 2
    assert message in last_line(capsys)
    assert {p: p.read_bytes() for p in trained.rglob("*") if p.is_file()} == before


def test_a_damaged_checkpoint_is_told_of_and_the_one_before_is_taken(trained, capsys):
    whole = (trained / "logs" / "episodes.csv").read_text()
    newest = sorted((trained / "checkpoints").iterdir())[-1]
    (newest / "state.safetensors").write_bytes(b"short")
    assert run(["train", "--resume", "a", "--steps=301"]) == 0
    said = [s for s in capsys.readouterr().err.splitlines() if "truncated" in s]
    assert len(said) == 1
    assert said[0].startswith("hunch: ")
    assert "the checkpoint before it is taken" in said[0]
    assert (trained / "logs" / "episodes.csv").read_text().startswith(whole)


WRONG = {
    "no environment": (["dqn"], "give an AGENT and an ENV, or --resume RUN"),
    "unknown agent": (["ddqn", "CartPole-v1"], "'ddqn' is not one of 'dqn'"),
    "misspelt agent": (["dqqn", "CartPole-v1"], "'noisy-a2c'; did you mean 'dqn'?"),
    "unknown environment": (["dqn", "CartPol-v1"], "the nearest names are 'CartPole-v1'"),
    "ours without its namespace": (["dqn", "deepsea"], "the nearest names are 'hunch/DeepSea-v0'"),
    "continuous actions": (["dqn", "Pendulum-v1"], "a finite set: this agent compares"),
    "batch beyond replay": (["dqn", "CartPole-v1", "--set=replay_capacity=50"], "`batch_size` got 128; expected at most"),
    "no steps ahead": (["dqn", "CartPole-v1", "--set=n_step=0"], "`n_step` got 0"),
    "unknown argument": (["dqn", "CartPole-v1", "--set=nstep=3"], "the nearest names are n_step"),
    "wrong type": (["dqn", "CartPole-v1", "--set=noisy=5"], "--set noisy got '5'; expected true or false."),
    "no value": (["dqn", "CartPole-v1", "--set=noisy"], "--set got 'noisy'; expected key=value."),
    "twice": (["dqn", "CartPole-v1", "--env=a=1", "--env=a=2"], "--env got 'a' twice"),
    "an option of its own": (["dqn", "CartPole-v1", "--set=seed=3"], "use --seed for that"),
    "unknown env argument": (["dqn", "CartPole-v1", "--env=wind=3"], "unexpected keyword argument 'wind'"),
    "bad env argument": (["boot-dqn", "hunch/DeepSea-v0", "--size=1"], "`size` got 1"),
    "no run": (["--resume", "nowhere"], "there is no folder 'nowhere'"),
    "foreign folder": (["dqn", "CartPole-v1", "--out=notes"], "'notes' is not empty"),
    "stop without evaluations": (["dqn", "CartPole-v1", "--stop-at=9", "--eval-every=0"], "`evaluate_every` is 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_gets_one_line_and_exit_code_2_and_leaves_nothing(case, here, capsys):
    (here / "notes").mkdir()
    (here / "notes" / "mine.txt").write_text("mine")
    arguments, message = WRONG[case]
    assert run(["train", *arguments]) == 2
    line = last_line(capsys)
    assert line.startswith("hunch: ")
    assert message in line
    assert [p.name for p in here.iterdir()] == ["notes"]
    assert (here / "notes" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [
        ("ale_py", ["rainbow", "ALE/Pong-v5"], "atari"),
        ("minatar.gym", ["pqn", "MinAtar/Breakout-v1"], "minatar"),
        ("torch.utils.tensorboard", ["dqn", "CartPole-v1", "--tensorboard"], "tensorboard"),
    ],
)
def test_a_missing_extra_is_named_with_its_installation(
    module, arguments, extra, here, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, module, None)
    assert run(["train", *arguments]) == 2
    assert f'pip install "torch-hunch[{extra}]"' in last_line(capsys)
    assert list(here.iterdir()) == []


def test_an_atari_game_gets_its_usual_preprocessing(here, capsys):
    pytest.importorskip("ale_py")
    pytest.importorskip("cv2")
    words = [
        "--steps=60",
        "--set=replay_capacity=500",
        "--set=min_replay_size=32",
        "--set=hidden_sizes=16",
    ]
    assert run(["train", "rainbow", "ALE/Pong-v5", *words, "--eval-every=0", "--out=a"]) == 0
    agent = Run.open("a").last_agent()
    assert agent.observation_shape == (4, 84, 84)
    assert agent._replay._frame_stack == 4


def test_a_run_that_ends_before_its_first_evaluation_has_no_best_weights(here, capsys):
    assert run(["train", "dqn", "CartPole-v1", *SMALL, "--eval-every=5000", "--out=a"]) == 0
    said = capsys.readouterr().out
    assert "with the last weights\n" in said
    assert "best" not in said
    assert json.loads((here / "a" / "summary.json").read_text())["replicas"][0]["best"] is None
    assert run(["play", "a", "--episodes=1"]) == 0


def test_a_minatar_game_is_trained_killed_and_resumed(here, capsys):
    pytest.importorskip("minatar.gym")
    words = ["--steps=300", "--num-envs=4", "--set=hidden_sizes=8", "--set=batch_size=16"]
    words += ["--set=rollout_length=9", "--eval-every=0", "--checkpoint-every=100"]
    assert run(["train", "pqn", "MinAtar/Breakout-v1", *words, "--out=a"]) == 0
    agent = Run.open("a").last_agent()
    assert agent.observation_shape == (10, 10, 4)
    assert agent.settings["env_kwargs"] == {"game": "MinAtar/Breakout-v1"}
    assert any(isinstance(m, torch.nn.Conv2d) for m in agent.network.modules())
    assert run(["train", "pqn", "MinAtar/Breakout-v1", *words, "--steps=100", "--out=b"]) == 0
    assert run(["train", "--resume", "b", "--steps=300"]) == 0
    again = Run.open("b").last_agent()
    for name, value in agent.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name])


class Undrawn(gymnasium.Env):
    """Three steps; a kind of drawing that does not work."""

    def __init__(self, render_mode=None):
        self.observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.zeros(2, np.float32), 1.0, self.t == 3, False, {}


class NoMode(Undrawn):
    def __init__(self):
        super().__init__()


class HumanOnly(Undrawn):
    metadata = {"render_modes": ["human"]}  # noqa: RUF012

    def __init__(self, render_mode=None):
        assert render_mode in (None, "human")
        super().__init__(render_mode)


class NoScreen(Undrawn):
    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def render(self):
        raise OSError("no display")


class DrawsInStep(NoScreen):
    def step(self, action):
        if self.render_mode is not None:
            raise RuntimeError("no context")
        return super().step(action)

    def render(self):
        return np.zeros((8, 8, 3), np.uint8)


UNDRAWN = {
    Undrawn: "cannot draw: it has no render method",
    NoMode: "takes no `render_mode`",
    HumanOnly: "cannot be made with env_kwargs={'render_mode': 'rgb_array'}",
    NoScreen: "(OSError: no display.)",
    DrawsInStep: "There is no video (RuntimeError: no context.)",
}


@pytest.fixture
def registered():
    names = []

    def register(kind, **kwargs):
        names.append(f"test/{kind.__name__}-v0")
        gymnasium.register(names[-1], entry_point=kind, disable_env_checker=True, **kwargs)
        return names[-1]

    yield register
    for name in names:
        del gymnasium.registry[name]


@pytest.mark.parametrize("kind", UNDRAWN)
def test_a_video_is_optional_and_the_report_is_not(kind, here, capsys, registered):
    pytest.importorskip("imageio_ffmpeg")
    assert run(["train", "dqn", registered(kind), *SMALL, "--out=a"]) == 0
    captured = capsys.readouterr()
    assert (here / "a" / "report.html").exists()
    said = [line for line in captured.err.splitlines() if "video" in line]
    assert len(said) == 1
    assert said[0].startswith("hunch: There is no video")
    assert UNDRAWN[kind] in said[0]
    assert "There is no video" in (here / "a" / "report.html").read_text("utf-8")


class Endless(Undrawn):
    """The only end is action 1; standing still is paid."""

    def step(self, action):
        return np.zeros(2, np.float32), 1.0 - 2.0 * action, bool(action), False, {}


def test_an_evaluation_without_an_end_is_cut_and_the_summary_says_so(
    here, capsys, registered, monkeypatch
):
    monkeypatch.setattr("hunch.rl.runs.evaluation.MAX_STEPS", 200)
    words = ["--set=epsilon=0.5", "--set=learning_rate=0.01", "--set=min_replay_size=8"]
    assert run(["train", "dqn", registered(Endless), *SMALL, *words, "--out=a"]) == 0
    captured = capsys.readouterr()
    assert "hunch: 10 of 10 evaluation episodes had no end after 200 steps" in captured.err
    assert "episodes had no end and were cut after 200 steps" in captured.out
    summary = json.loads((here / "a" / "summary.json").read_text())
    assert summary["replicas"][0]["cut_episodes"] == 40
    assert summary["replicas"][0]["last"]["mean_return"] == 200.0
    assert "40 of them had no end" in (here / "a" / "report.html").read_text("utf-8")


def test_ctrl_c_while_evaluating_says_how_to_go_on(here, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hunch.rl.runs.summary.summarize", interrupted)
        assert run(["train", "dqn", "CartPole-v1", *SMALL, "--out=a"]) == 130
    assert "go on with: hunch train --resume a" in capsys.readouterr().err
    assert run(["train", "--resume", "a"]) == 0
    assert (here / "a" / "report.html").exists()


def test_an_environment_that_cannot_be_evaluated_in_is_refused_before_training(
    here, capsys, registered
):
    name = registered(
        Undrawn,
        additional_wrappers=(gymnasium.wrappers.NormalizeObservation.wrapper_spec(epsilon=1e-8),),
    )
    assert run(["train", "dqn", name, *SMALL, "--out=a"]) == 2
    assert "NormalizeObservation, with running means" in last_line(capsys)
    assert list(here.iterdir()) == []


MODULE = """
import gymnasium


class Env(gymnasium.Wrapper):
    def __init__(self, render_mode=None):
        super().__init__(gymnasium.make("CartPole-v1", render_mode=render_mode))


gymnasium.register("{name}/Own-v0", "{name}:Env")
"""


def test_an_environment_in_a_module_of_the_working_folder(here, capsys, monkeypatch):
    (here / "mypoles.py").write_text(MODULE.format(name="mypoles"))
    # As for the installed program, on whose path the working folder is not.
    before = [place for place in sys.path if place not in ("", str(here))]
    monkeypatch.setattr(sys, "path", list(before))

    def hunch(*words):
        sys.modules.pop("mypoles", None)  # each command is a process of its own
        gymnasium.registry.pop("mypoles/Own-v0", None)
        code = run(list(words))
        assert sys.path == before
        return code, capsys.readouterr()

    train = ["train", "dqn", "mypoles:mypoles/Own-v0"]
    assert hunch(*train, *SMALL, "--out=a")[0] == 0
    # What only the folder names is not imported: see tests/rl/agents/test_trust.py.
    for words in (["train", "--resume=a"], ["play", "a"]):
        code, said = hunch(*words)
        assert code == 2
        assert "the module 'mypoles' would be imported" in said.err
        assert "`hunch … --import mypoles`" in said.err
    code, said = hunch("train", "--resume=a", "--steps=400", "--import=mypoles")
    assert (code, "400 steps" in said.out) == (0, True)
    assert hunch("train", "dqn", "mypoles:mypoles/Own-v0", "--resume=a")[0] == 0
    assert hunch("play", "a", "--episodes=2", "--trust")[0] == 0
    code, said = hunch("train", "dqn", "nopoles:Own-v0")
    assert code == 2
    assert "No module named 'nopoles'" in said.err
    assert "the folder that it is started in" in said.err


def test_no_file_of_the_working_folder_stands_in_for_an_installed_module(here, monkeypatch):
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    seen = []
    monkeypatch.setattr(program, "main", lambda *args, **kwargs: seen.extend(sys.path))
    assert run(["train"]) == 0
    assert seen == [*sys.path, ""]
