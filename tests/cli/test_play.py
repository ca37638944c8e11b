"""`hunch play` as a user meets it."""

import json

import numpy as np
import pytest

from hunch.cli.main import run
from hunch.rl import DQN, Plan, Run, evaluate


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    agent = DQN("CartPole-v1", hidden_sizes=(8,), batch_size=8, replicas=2)
    plan = Plan("DQN", agent.settings, steps=500, evaluate_every=100, evaluate_episodes=3)
    run = Run.begin(tmp_path_factory.mktemp("runs") / "run", plan)
    run.train(progress=False)
    return run


def played(*words):
    assert run(["play", *map(str, words)]) == 0


def test_the_returns_are_those_of_the_best_weights_of_the_best_replica(trained, capsys):
    played(trained.folder, "--episodes=4", "--json", "--seed=5")
    found = json.loads(capsys.readouterr().out)
    best = [trained.evaluation.best(r).mean for r in (0, 1)]
    assert found["replica"] == int(np.argmax(best))
    expected = evaluate(trained.best_agent().replica(found["replica"]), 4, seed=5).returns
    assert found["returns"] == expected.tolist()
    assert found["mean_return"] == expected.mean()


@pytest.mark.parametrize("replica", [0, 1])
def test_last_weights_and_another_replica_may_be_asked_for(replica, trained, capsys):
    played(trained.folder, "--last", f"--replica={replica}", "--episodes=3", "--json")
    found = json.loads(capsys.readouterr().out)
    expected = evaluate(trained.last_agent().replica(replica), 3, seed=0).returns
    assert found["returns"] == expected.tolist()


def test_people_get_two_lines_and_a_video(trained, tmp_path, capsys):
    pytest.importorskip("imageio_ffmpeg")
    played(trained.folder, "--episodes=2", "--video", tmp_path / "a.mp4")
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("Replica ")
    assert out[1].startswith("Episodes: ")
    assert out[2].startswith(f"Video of the first episode: {tmp_path / 'a.mp4'} (")
    steps = int(out[2].partition("(")[2].split()[0])
    assert steps == int(out[1].removeprefix("Episodes: ").split(",")[0])  # 1 of return a step
    assert (tmp_path / "a.mp4").read_bytes()[4:8] == b"ftyp"


def test_a_saved_agent_and_a_checkpoint_may_be_played_too(trained, tmp_path, capsys):
    DQN("CartPole-v1", hidden_sizes=(8,)).save(tmp_path / "agent")
    played(tmp_path / "agent", "--episodes=1")
    played(trained.checkpoint.all()[-1], "--episodes=1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "there is no folder 'nowhere'; expected one that hunch wrote"),
        (["."], "'.' is no run"),
        (["RUN", "--replica=2"], "`r` got 2; expected 0 to 1"),
        (["RUN", "--episodes=0"], "0 is not in the range x>=1"),
        (["RUN", "--video=nowhere/a.mp4", "--episodes=1"], "cannot be written"),
    ],
)
def test_wrong_use_gets_one_line_and_exit_code_2(
    words, message, trained, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    words = [str(trained.folder) if word == "RUN" else word for word in words]
    assert run(["play", *words]) == 2
    lines = [s for s in capsys.readouterr().err.splitlines() if s != "hunch: loading torch"]
    assert len(lines) == 1
    assert message in lines[0]


def test_a_run_without_a_checkpoint_says_so(tmp_path, capsys):
    plan = Plan("DQN", DQN("CartPole-v1").settings, steps=500)
    begun = Run.begin(tmp_path / "run", plan)
    assert run(["play", str(begun.folder)]) == 2
    assert "has no checkpoint to load: there is none yet" in capsys.readouterr().err
