"""The report's arithmetic, and a report of a run without any finished episode."""

import re

import numpy as np
import pytest

from hunch.charts import running_mean
from hunch.errors import FolderError
from hunch.plots.run_charts import columns_of_log, held, learning_curves, mean_and_interval
from hunch.plots.run_report import _verdict, write_report
from hunch.rl import DQN, Plan, Run
from hunch.rl.networks.value_networks import noise_size, noisy_layers
from hunch.rl.runs.callbacks import RandomPlayer
from hunch.rl.runs.summary import summarize


@pytest.mark.parametrize("count", [2, 3, 8, 14, 20, 60])
def test_the_band_is_students_interval(count):
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(0).normal(size=(count, 5))
    mean, half = mean_and_interval(values)
    low, high = stats.t.interval(0.95, count - 1, values.mean(0), stats.sem(values))
    np.testing.assert_allclose(mean, values.mean(0))
    np.testing.assert_allclose(half, (high - low) / 2, rtol=0.01)


def test_a_replica_without_an_episode_yet_is_left_out():
    mean, half = mean_and_interval(np.array([[np.nan, 1.0], [2.0, 3.0], [4.0, 5.0]]))
    np.testing.assert_allclose(mean, [3.0, 3.0])
    np.testing.assert_allclose(half, [12.71, 4.30 * 2 / np.sqrt(3)])


def test_running_means_and_held_values():
    values = np.arange(1.0, 6.0)
    np.testing.assert_allclose(running_mean(values, 3), [1, 1.5, 2, 3, 4])
    found = held(np.array([0.0, 1, 2, 5]), np.array([1.0, 3]), np.array([10.0, 30]))
    np.testing.assert_array_equal(found, [np.nan, 10, 10, 30])


def test_a_report_before_the_first_episode_ended(tmp_path):
    run = Run.begin(tmp_path / "run", Plan("DQN", DQN("MountainCar-v0").settings, steps=3))
    run.train(progress=False)
    page = write_report(run).read_text("utf-8")
    assert "There is no finished episode yet." in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


COMMAND = "hunch train noisy-dqn CartPole-v1 --steps=40 --out runs/a --seed 0"


def noisy_run(place, steps=40, **plan):
    agent = DQN("CartPole-v1", noisy=True, random_steps=0, hidden_sizes=(4,), batch_size=8)
    return Run.begin(place, Plan("DQN", agent.settings, steps=steps, **plan), {"command": COMMAND})


def test_the_settings_are_those_in_force(tmp_path):
    run = noisy_run(tmp_path / "run")
    run.train(progress=False)
    page = write_report(run).read_text("utf-8")
    table = page[page.index("What was run") :]
    for name in ("noisy", "double", "batch_size", "n_step"):
        assert f"<code>{name}</code></td>" in table
    for name in ("epsilon", "priority_exponent", "priority_correction", "atoms", "value_range"):
        assert f"<code>{name}</code></td>" not in table
    assert "Without effect beside these, and so left out: <code>epsilon</code>" in table


def test_a_run_that_was_given_more_steps_says_so(tmp_path):
    run = noisy_run(tmp_path / "run")
    run.train(progress=False)
    summarize(run, run.last_agent(), episodes=1)
    assert "40 environment steps" in write_report(run).read_text("utf-8")
    again = Run.open(run.folder)
    again.extend(70)
    page = write_report(again).read_text("utf-8")
    assert "40 environment steps of each replica, of 70 that it was asked for" in page
    again.train(progress=False)
    page = write_report(again).read_text("utf-8")
    assert "70 environment steps of each replica, which is all it was asked for" in page
    assert "hunch train --resume RUN --steps 70" in page
    assert "Not evaluated yet." in page  # the summary was of fewer steps


def test_a_report_does_not_depend_on_where_the_run_lies(tmp_path):
    pages = []
    for name in ("a", "b"):
        run = noisy_run(tmp_path / name)
        run.about["command"] = COMMAND.replace("runs/a", f"runs/{name}")
        run.train(progress=False)
        page = write_report(run).read_bytes()
        pages.append(re.sub(rb"<div><dt>wall time</dt>.*?</div>", b"", page))
    assert pages[0] == pages[1]
    assert b"--out RUN" in pages[0]


@pytest.mark.parametrize("name", ["summary.json", "logs/episodes.csv"])
def test_nothing_is_drawn_from_a_damaged_file(name, tmp_path):
    run = noisy_run(tmp_path / "run")
    summarize(run, run.train(progress=False), episodes=1)
    place = run.folder / name
    place.write_text(place.read_text().replace("0", "1"))
    with pytest.raises(FolderError, match="is not as hunch wrote it; `hunch train --resume`"):
        write_report(run)


def test_the_size_of_the_noise_is_logged_and_drawn(tmp_path):
    run = noisy_run(tmp_path / "run", steps=60, log_every=20)
    agent = run.train(progress=False)
    log = columns_of_log(run.folder / "logs" / "noise.csv")
    sizes = [noise_size(layer) for layer in noisy_layers(agent.network)]
    assert [log[f"layer_{i + 1}"][-1] for i in range(len(sizes))] == sizes
    charts = learning_curves(run.folder / "logs")
    assert charts["noise"][0].title.startswith("The noise ")
    plain = Plan("DQN", DQN("CartPole-v1", hidden_sizes=(4,)).settings, steps=40)
    Run.begin(tmp_path / "plain", plain).train(progress=False)
    assert not (tmp_path / "plain" / "logs" / "noise.csv").exists()


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [(1.0, 0.5, "shrank to 0.50"), (1.0, 1.2, "grew to 1.20"), (1.0, 1.01, "stayed at 1.01")],
)
def test_the_title_of_the_noise_says_where_it_went(before, after, said, tmp_path):
    (tmp_path / "noise.csv").write_text(f"step,layer_1\n10,{before}\n20,{after}\n")
    assert said in learning_curves(tmp_path)["noise"][0].title


def summary_of(returns, chance):
    def figures(values):
        return {
            "mean_return": float(np.mean(values)),
            "std_return": float(np.std(values)),
            "returns": list(values),
        }

    replicas = [
        {"seed": i, "last": figures(own), "best": None, "best_step": None} for i, own in returns
    ]
    return {"replicas": replicas, "random": figures(chance)}


@pytest.mark.parametrize(
    ("mean", "tone", "said"),
    [(30.0, "good", "returns 30.0 in the mean"), (21.0, "bad", "not clearly more than chance")],
)
def test_the_verdict_is_beside_random_play(mean, tone, said):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=20)
    noise -= noise.mean()
    found = summary_of([(0, mean + 5 * noise)], 20 + 5 * noise)
    (notice,) = _verdict(found)
    assert notice.tone == tone
    assert said in notice.paragraphs
    assert "random play returns 20.0" in notice.paragraphs


def test_a_summary_holds_random_play_from_a_seed_of_its_own(tmp_path):
    run = noisy_run(tmp_path / "run")
    agent = run.train(progress=False)
    first, again = (summarize(run, agent, episodes=5).random for _ in range(2))
    assert first == again
    assert len(set(first)) > 1
    assert max(first) < 120  # what chance makes of CartPole
    page = write_report(run).read_text("utf-8")
    assert "random play" in page
    player = RandomPlayer(agent, 0)
    assert set(player.predict(np.zeros((50, 4))).tolist()) == {0, 1}


def test_the_wall_time_is_that_of_all_trainings_of_a_run(tmp_path):
    run = noisy_run(tmp_path / "run")
    assert run.seconds is None
    run.train(progress=False)
    first = run.seconds
    assert first > 0
    again = Run.open(run.folder)
    assert again.seconds == first
    again.train(progress=False)  # it is at its end
    assert again.seconds == first
    again.extend(70)
    again.train(progress=False)
    assert Run.open(run.folder).seconds > first


def test_all_seeds_are_drawn_and_told(tmp_path):
    settings = DQN("CartPole-v1", hidden_sizes=(4,), batch_size=8, replicas=12).settings
    run = Run.begin(tmp_path / "run", Plan("DQN", settings, steps=150, evaluate_every=50))
    summarize(run, run.train(progress=False), episodes=2)
    page = write_report(run).read_text("utf-8")
    table = page[page.index('id="evaluation"') : page.index('id="settings"')]
    for seed in range(12):
        assert f"<td>{seed}</td>" in table
    chart = learning_curves(run.folder / "logs")["evaluation-return"][0].to_svg()
    assert chart.count('opacity="0.333"') == 12
