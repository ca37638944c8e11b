"""Callbacks: what they see, what they remember, when they stop."""

import csv
import sys

import gymnasium
import numpy as np
import pytest

from hunch.errors import ConfigurationError, FolderError, MissingDependencyError
from hunch.rl import (
    DQN,
    BootstrappedDQN,
    Checkpoint,
    CsvLog,
    Evaluate,
    StopOnReturn,
    StopWhenSolved,
    TensorBoardLog,
    evaluate,
)
from hunch.rl.runs.callbacks import Player
from hunch.rl.runs.weights import read_weights, set_weights, weights_of

SMALL = dict(hidden_sizes=(8,), batch_size=8, epsilon=0.2)


def agents(**kwargs):
    return DQN("CartPole-v1", **{**SMALL, **kwargs})


def equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


class Once:
    """A callback that keeps the weights of each time it is called."""

    def __init__(self, every):
        self.every, self.seen = every, {}

    def __call__(self, agent):
        self.seen[agent.steps] = [weights_of(agent, r) for r in range(agent.replicas)]


def test_evaluations_are_those_of_evaluate_and_change_nothing():
    check = Evaluate(every=50, episodes=3, seed=7)
    watched = agents(replicas=2, noisy=True).learn(150, callbacks=[check], progress=False)
    plain = agents(replicas=2, noisy=True).learn(150, progress=False)
    a, b = watched.state_dict(), plain.state_dict()
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert [(s.step, s.replica) for s in check.scores] == [
        (s, r) for s in (50, 100, 150) for r in (0, 1)
    ]
    for r in (0, 1):
        expected = evaluate(plain.replica(r), episodes=3, seed=7).returns
        assert check.latest(r).returns == tuple(expected)


@pytest.mark.parametrize("make", [
    lambda: agents(replicas=3),
    lambda: agents(),
    lambda: BootstrappedDQN("CartPole-v1", num_members=2, replicas=2, hidden_sizes=(8,), batch_size=8),
])  # fmt: skip
def test_each_replica_keeps_its_own_best_weights(make, tmp_path):
    check, keeper = Evaluate(every=40, episodes=3), Once(every=40)
    agent = make().learn(240, callbacks=[check, keeper], progress=False)
    check.load_best(agent)
    check.write_best(tmp_path / "best", agent)
    again = read_weights(tmp_path / "best")
    for r in range(agent.replicas):
        own = [s for s in check.scores if s.replica == r]
        best = max(own, key=lambda s: (s.mean, s.step))
        assert check.best(r) == best
        assert equal(weights_of(agent, r), keeper.seen[best.step][r])
        assert equal(weights_of(again, r), keeper.seen[best.step][r])
        assert tuple(evaluate(again.replica(r), 3).returns) == best.returns


def test_weights_of_another_network_are_refused():
    with pytest.raises(ConfigurationError, match="`weights` are those of another network"):
        set_weights(agents(), 0, weights_of(agents(hidden_sizes=(9,)), 0))


def test_evaluations_may_have_an_environment_of_their_own():
    agent = agents(env_kwargs=dict(max_episode_steps=7))
    assert set(evaluate(agent, 3).returns) == {7}
    assert Player(agent, 0, dict(max_episode_steps=5)).another_env().spec.max_episode_steps == 5
    check = Evaluate(every=10, episodes=2, env_kwargs=dict(max_episode_steps=3))
    agent.learn(10, callbacks=[check], progress=False)
    assert check.scores[0].returns == (3, 3)


def test_stop_on_return_looks_at_the_last_training_episodes_of_every_replica():
    stop = StopOnReturn(bar=15, episodes=4)
    agent = agents(replicas=2, epsilon=1.0).learn(3000, callbacks=[stop], progress=False)
    assert stop.reached
    assert agent.steps < 3000
    for history in agent.histories:
        assert len(history.returns) >= 4
        assert np.mean(history.returns[-4:]) >= 15


def test_stop_on_return_looks_at_evaluations_if_it_has_them():
    check = Evaluate(every=20, episodes=2)
    stop = StopOnReturn(bar=0.0, evaluation=check)
    assert agents().learn(300, callbacks=[check, stop], progress=False).steps == 20


@pytest.mark.parametrize(("bound", "earliest", "bad", "solved"), [
    (0.9, 1, [1, 1, 1, 0], 4),  # 3 < 3.6
    (0.9, 1, [1] * 9 + [0], None),  # 9 < 9 is not so
    (0.9, 1, [1] * 9 + [0, 0], 11),
    (0.8, 4, [0, 0, 1, 1, 1], 4),
])  # fmt: skip
def test_solved_is_bsuites_definition(bound, earliest, bad, solved):
    stop = StopWhenSolved(bound, earliest)
    agent = agents()
    for value in bad:
        agent.history.infos.append({"bad_episode": float(value)})
        stop(agent)
    assert stop.solved == [solved]
    at_once = StopWhenSolved(bound, earliest)
    assert at_once(agent) is stop.reached is (solved is not None)
    assert at_once.solved == [solved]


def test_a_checkpoint_is_an_agents_folder_and_only_the_last_are_kept(tmp_path):
    checkpoint = Checkpoint(tmp_path, every=20, keep=2)
    agent = agents().learn(70, callbacks=[checkpoint], progress=False)
    assert [p.name for p in checkpoint.all()] == ["step-000000000040", "step-000000000060"]
    loaded = DQN.load(checkpoint.all()[-1]).learn(70, progress=False)
    assert equal(loaded.state_dict(), agent.state_dict())


def test_the_previous_checkpoint_is_there_until_the_new_one_is_whole(tmp_path, monkeypatch):
    import hunch.rl.runs.checkpoints as module

    checkpoint = Checkpoint(tmp_path, every=20, keep=1)
    agent = agents().learn(20, callbacks=[checkpoint], progress=False)
    monkeypatch.setattr(
        module, "write_tensors", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        checkpoint(agent.learn(30, progress=False))
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000000020"]


def test_other_callbacks_than_before_are_refused(tmp_path):
    checkpoint = Checkpoint(tmp_path, every=20)
    agents().learn(20, callbacks=[checkpoint], progress=False)
    said = []
    other = Checkpoint(tmp_path, every=20, callbacks=[Evaluate(every=20)])
    # Whole checkpoints, so what differs is the other side: they stay as they are.
    with pytest.raises(FolderError, match="the callbacks none; expected 0-Evaluate"):
        other.resume(tell=said.append)
    assert said == []
    assert checkpoint.resume().steps == 20


def rows(file):
    return list(csv.DictReader(file.open()))


def test_the_tables_hold_what_happened(tmp_path):
    check = Evaluate(every=100, episodes=2)
    log = CsvLog(tmp_path, every=50, evaluation=check)
    agent = agents(replicas=2).learn(420, callbacks=[check, log], progress=False)
    log.flush(agent)
    episodes = rows(tmp_path / "episodes.csv")
    for r, history in enumerate(agent.histories):
        own = [row for row in episodes if row["replica"] == str(r)]
        assert [float(row["return"]) for row in own] == history.returns
        assert [int(row["step"]) for row in own] == history.ends
        assert [int(row["length"]) for row in own] == history.lengths
        assert [int(row["episode"]) for row in own] == list(range(1, len(own) + 1))
    steps = [int(row["step"]) for row in episodes]
    assert steps == sorted(steps)
    progress = rows(tmp_path / "progress.csv")
    assert [int(row["step"]) for row in progress] == list(range(50, 401, 50))
    before, last = (int(row["updates"]) for row in progress[-2:])
    assert float(progress[-1]["loss"]) == float(np.mean(agent.losses[before:last]))
    scores = rows(tmp_path / "evaluations.csv")
    assert [float(row["mean_return"]) for row in scores] == [s.mean for s in check.scores]


def test_the_numbers_of_info_are_columns(tmp_path):
    agent = DQN("hunch/DeepSea-v0", env_kwargs=dict(size=3), **SMALL)
    log = CsvLog(tmp_path, every=3)
    agent.learn(9, callbacks=[log], progress=False)
    found = rows(tmp_path / "episodes.csv")
    assert [float(row["bad_episode"]) for row in found] == [
        i["bad_episode"] for i in agent.history.infos
    ]


def test_a_log_that_was_lost_is_written_again_from_memory(tmp_path):
    log = CsvLog(tmp_path, every=50)
    agent = agents().learn(200, callbacks=[log], progress=False)
    whole, state = (tmp_path / "episodes.csv").read_text(), log.state_dict()
    (tmp_path / "episodes.csv").unlink()
    log.load_state_dict(state)
    log.flush(agent)
    assert (tmp_path / "episodes.csv").read_text() == whole


def test_a_log_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="cannot write"):
        agents().learn(50, callbacks=[CsvLog(tmp_path / "file", every=10)], progress=False)


def test_tensorboard_is_an_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "torch-hunch\[tensorboard\]"'):
        TensorBoardLog(tmp_path)


def test_tensorboard_gets_the_curves(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    check = Evaluate(every=100, episodes=2)
    log = TensorBoardLog(tmp_path, every=50, evaluation=check)
    agent = agents().learn(200, callbacks=[check, log], progress=False)
    again = TensorBoardLog(tmp_path, every=50, evaluation=check)
    again.load_state_dict(log.state_dict())
    agent.learn(300, callbacks=[check, again], progress=False)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [e.step for e in events.Scalars("episode/return/0")] == agent.history.ends
    assert [e.step for e in events.Scalars("evaluation/return/0")] == [100, 200, 300]
    steps = [50, 100, 150, 200, 250, 300]
    for name in ("train/learning_rate", "train/epsilon", "train/value"):
        assert [e.step for e in events.Scalars(name)] == steps
    assert len(events.Scalars("time/steps_per_second")) == 6
    start = events.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    assert b"hidden_sizes" in start


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Evaluate(every=0), "every"),
        (lambda: Evaluate(every=1, episodes=0), "episodes"),
        (lambda: Checkpoint("x", keep=0), "keep"),
        (lambda: StopOnReturn(bar=float("nan")), "bar"),
        (lambda: StopWhenSolved(bound=0.0), "bound"),
        (lambda: CsvLog("x", every=1.5), "every"),
    ],
)
def test_wrong_numbers_are_named(make, name):
    with pytest.raises(ConfigurationError, match=f"`{name}` got"):
        make()


def test_an_agent_that_cannot_be_evaluated_is_told_so_before_it_learns():
    envs = gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 2)
    agent = DQN(envs, hidden_sizes=(4,))
    with pytest.raises(ConfigurationError, match="unknown origin"):
        agent.learn(100, callbacks=[Evaluate(every=50)], progress=False)
    assert agent.steps == 0
    elsewhere = Evaluate(every=50, episodes=1, env="CartPole-v1")
    assert agent.learn(100, callbacks=[elsewhere], progress=False).steps == 100
