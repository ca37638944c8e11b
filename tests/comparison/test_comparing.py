"""Folders of trainings to groups, figures and sentences."""

import json

import numpy as np
import pytest
from training_folders import some, write_monitor, write_run

from hunch.comparison import compare, interquartile_mean, probability_of_improvement
from hunch.comparison.groups import largest_part
from hunch.errors import ConfigurationError, FolderError

QUICK = dict(resamples=300)


def test_runs_become_groups_by_agent_and_environment(tmp_path):
    write_run(tmp_path / "a", some(300))
    write_run(tmp_path / "deep" / "er" / "b", some(100, seed=1), recipe="noisy-dqn")
    write_run(tmp_path / "c", some(-100), env="Acrobot-v1", chance=-500.0)
    write_run(
        tmp_path / "d", some(-400, seed=2), recipe="noisy-dqn", env="Acrobot-v1", chance=-500.0
    )
    found = compare([tmp_path], **QUICK)
    assert [group.name for group in found.groups] == ["dqn", "noisy-dqn"]
    assert set(found.environments) == {"CartPole-v1", "Acrobot-v1"}
    assert found.groups[0].seeds == (8, 8)
    scale = found.scales["CartPole-v1"]
    assert (scale.low, scale.high) == (20.0, 475.0)  # random play, and what Gymnasium says
    scores = {
        "a": (np.array(some(300)) - 20) / 455,
        "b": (np.array(some(-100)) + 500) / 400,
    }
    assert found.groups[0].figures["interquartile_mean"].value == pytest.approx(
        interquartile_mean(scores)
    )
    assert "dqn is ahead" in found.verdict
    assert found.is_clear()
    assert json.loads(json.dumps(found.to_json()))["groups"][0]["name"] == "dqn"


def test_settings_that_differ_name_the_groups(tmp_path):
    write_run(tmp_path / "a", some(300), n_step=1, batch_size=32)
    write_run(tmp_path / "b", some(200), n_step=3, batch_size=32)
    names = [group.name for group in compare([tmp_path], **QUICK).groups]
    assert names == ["dqn n_step=1", "dqn n_step=3"]


def test_groups_that_differ_in_much_have_numbers(tmp_path):
    many = dict(n_step=1, batch_size=32, double=True, dueling=True, discount=0.9)
    write_run(tmp_path / "a", some(300), **many)
    write_run(tmp_path / "b", some(200), **dict.fromkeys(many, 3))
    write_run(tmp_path / "c", some(200), seed=50, **many)
    found = compare([tmp_path], **QUICK)
    assert [(group.name, group.seeds) for group in found.groups] == [
        ("dqn #1", (16, 16)),
        ("dqn #2", (8, 8)),
    ]
    assert any("dqn #1 to #2 differ in n_step, batch_size" in said for said in found.remarks)


def test_logs_of_an_agent_of_the_same_name_are_a_group_of_their_own(tmp_path):
    write_run(tmp_path / "a", [300.0, 200.0], n_step=1, episodes=[(10, 300.0)])
    write_monitor(tmp_path / "dqn" / "monitor.csv", some(100))
    found = compare([tmp_path / "a", tmp_path / "dqn"], **QUICK)
    assert [group.name for group in found.groups] == ["dqn", "dqn (SB3)"]


def test_a_schedule_in_a_name_is_as_one_types_it(tmp_path):
    for end in (0.1, 0.2):
        write_run(tmp_path / str(end), some(300), epsilon={"Linear": [1.0, end, 500]})
    assert sorted(group.name for group in compare([tmp_path], **QUICK).groups) == [
        "dqn epsilon=1:0.1:500",
        "dqn epsilon=1:0.2:500",
    ]


def test_a_setting_that_each_environment_has_of_its_own_makes_no_groups(tmp_path):
    write_run(tmp_path / "a", some(300), n_step=1)
    write_run(tmp_path / "b", some(-100), env="Acrobot-v1", chance=-500.0, n_step=3, steps=9000)
    found = compare([tmp_path], **QUICK)
    assert [group.name for group in found.groups] == ["dqn"]
    assert any("other n_step" in said for said in found.remarks)
    assert found.steps == "share of the steps"


def test_arguments_of_an_environment_tell_it_from_others(tmp_path):
    for size in (5, 9):
        write_run(
            tmp_path / str(size),
            [1.0, 0.5],
            env="hunch/DeepSea-v0",
            env_kwargs=dict(size=size),
            chance=0.0,
        )
    assert compare([tmp_path], **QUICK).environments == (
        "hunch/DeepSea-v0 size=5",
        "hunch/DeepSea-v0 size=9",
    )


def test_given_names_make_the_groups(tmp_path):
    write_run(tmp_path / "a", some(300))
    write_run(tmp_path / "b", some(200), n_step=3)
    write_run(tmp_path / "c", some(100))
    found = compare({"new": tmp_path / "a", "old": [tmp_path / "b", tmp_path / "c"]}, **QUICK)
    assert [(group.name, group.seeds) for group in found.groups] == [
        ("new", (8, 8)),
        ("old", (16, 16)),
    ]
    assert any(said.startswith("old is of trainings with other n_step") for said in found.remarks)


def test_one_training_counts_once(tmp_path):
    write_run(tmp_path / "a", [300.0, 200.0])
    write_run(tmp_path / "again", [300.0, 200.0])
    write_run(tmp_path / "more", [250.0], seed=2)
    found = compare([tmp_path, tmp_path / "a"], **QUICK)
    assert found.groups[0].seeds == (3, 3)
    assert any("the same training" in said and "again" in said for said in found.remarks)


def test_an_open_run_is_left_out_and_named(tmp_path):
    write_run(tmp_path / "a", [300.0, 200.0])
    write_run(tmp_path / "b", [300.0], seed=7, finished=None)
    found = compare([tmp_path], **QUICK)
    assert found.groups[0].seeds == (2, 2)
    assert any("not finished" in said and "b" in said for said in found.remarks)


def search_in(place, trials=3):
    """As a study leaves it: settings and seed of each trial are its own."""
    for trial in range(trials):
        settings = dict(learning_rate=0.001 * (trial + 1))
        write_run(
            place / "jobs" / "dqn-CartPole-v1" / str(trial) / "run",
            some(100 * (trial + 1), 2, seed=trial),
            seed=trial,
            about=dict(trial={k: str(v) for k, v in settings.items()}),
            **settings,
        )


def test_trials_of_a_search_are_neither_seeds_nor_groups(tmp_path):
    search_in(tmp_path / "search")
    write_run(tmp_path / "plain", some(200, 5))
    found = compare([tmp_path], **QUICK)
    assert [(group.name, group.seeds) for group in found.groups] == [("dqn", (5, 5))]
    (said,) = [said for said in found.remarks if "trial" in said]
    assert said.startswith("Left out: 3 trials of a search (")
    assert "train its settings on other seeds" in said
    with pytest.raises(ConfigurationError, match=r"no finished .* Trials are no seeds"):
        compare({"tuned": tmp_path / "search"}, **QUICK)


def test_a_trial_that_is_named_by_itself_is_compared_with_a_warning(tmp_path):
    search_in(tmp_path / "search")
    write_run(tmp_path / "plain", some(200, 5))
    place = tmp_path / "search" / "jobs" / "dqn-CartPole-v1" / "2"
    for named in (place, place / "run"):
        found = compare({"tuned": named, "plain": tmp_path / "plain"}, **QUICK)
        assert [(group.name, group.seeds) for group in found.groups] == [
            ("tuned", (2, 2)),
            ("plain", (5, 5)),
        ]
        (said,) = [said for said in found.remarks if "rial" in said]
        assert "If one was chosen by its return, that is too high" in said


def test_of_one_seed_nothing_is_said_of_spread(tmp_path):
    write_run(tmp_path / "a", [300.0])
    write_run(tmp_path / "b", [200.0], recipe="noisy-dqn")
    found = compare([tmp_path], **QUICK)
    assert found.verdict.startswith("One seed of each: nothing can be said about spread")
    assert found.groups[0].figures["interquartile_mean"].low is None
    assert not found.is_clear()
    assert "(" not in found.table()[1][3]


def test_equal_agents_are_not_told_apart(tmp_path):
    write_run(tmp_path / "a", some(300))
    write_run(tmp_path / "b", some(300, seed=1), recipe="noisy-dqn")
    found = compare([tmp_path], **QUICK)
    assert "do not tell it from" in found.verdict
    assert not found.is_clear()


def test_unequal_steps_are_said_once(tmp_path):
    write_run(tmp_path / "a", some(300), steps=1000)
    write_run(tmp_path / "b", some(200), steps=3000, recipe="noisy-dqn")
    said = [text for text in compare([tmp_path], **QUICK).remarks if "unequal steps" in text]
    assert said == [
        "Trained for unequal steps in CartPole-v1 (dqn 1,000, noisy-dqn 3,000): the figures do not correct that."
    ]


def test_the_same_settings_with_other_steps_are_another_group(tmp_path):
    write_run(tmp_path / "a", some(200), steps=1000)
    write_run(tmp_path / "b", some(300), steps=3000)
    names = [group.name for group in compare([tmp_path], **QUICK).groups]
    assert names == ["dqn steps=3000", "dqn steps=1000"]


@pytest.mark.parametrize(
    ("score", "expected"),
    [("last", 10.0), ("best", 90.0), ("evaluations", 6.0), ("training", 25.5)],
)
def test_what_is_compared_is_as_asked(tmp_path, score, expected):
    write_run(
        tmp_path / "a",
        [10.0, 10.0],
        best=[90.0, 90.0],
        evaluations=[(100 * i, float(i)) for i in range(1, 9)],  # the last five: 4 to 8
        episodes=[(10 * i, float(i)) for i in range(1, 36)],  # the last twenty: 16 to 35
    )
    found = compare([tmp_path], score=score, **QUICK)
    assert found.groups[0].returns["CartPole-v1"] == (expected, expected)
    assert found.score == score


def test_curves_carry_the_last_value_on(tmp_path):
    write_run(tmp_path / "a", [10.0], evaluations=[(500, 1.0), (1000, 2.0)])
    write_run(tmp_path / "b", [10.0], seed=1, evaluations=[(500, 4.0)], finished="solved")
    x, (middle, low, high) = compare([tmp_path], **QUICK).groups[0].curve
    assert x.tolist() == [500.0, 1000.0]
    assert middle.tolist() == [2.5, 3.0]
    assert low.tolist() == [1.0, 2.0]
    assert high.tolist() == [4.0, 4.0]


def test_an_environment_that_one_group_lacks_is_left_out_of_sums(tmp_path):
    write_run(tmp_path / "a", some(300))
    write_run(tmp_path / "b", some(200), recipe="noisy-dqn")
    write_run(tmp_path / "c", some(-100), env="Acrobot-v1", chance=-500.0)
    found = compare([tmp_path], **QUICK)
    assert found.environments == ("CartPole-v1",)
    assert found.others == ("Acrobot-v1",)
    assert any("Acrobot-v1: left out of all sums" in said for said in found.remarks)
    assert "Acrobot-v1" in found.groups[0].by_environment


def test_groups_without_a_common_environment_are_shown_apart(tmp_path):
    write_run(tmp_path / "a", some(300))
    write_run(tmp_path / "b", some(-100), env="Acrobot-v1", chance=-500.0, recipe="noisy-dqn")
    found = compare([tmp_path], **QUICK)
    assert found.environments == ()
    assert found.verdict.startswith("No two groups were trained in the same environment")
    assert len(found.lines()) > 3
    assert not any("highest score" in said for said in found.remarks)


def test_the_largest_common_part_is_compared_where_nothing_is_common_to_all(tmp_path):
    for env, chance, base in (("Acrobot-v1", -500.0, -100), ("CartPole-v1", 20.0, 300)):
        write_run(tmp_path / "a" / env, some(base), env=env, chance=chance)
        write_run(tmp_path / "b" / env, some(base - 50), env=env, chance=chance, recipe="noisy-dqn")
    write_run(tmp_path / "c", some(10), env="Mine-v0", chance=0.0, recipe="own")
    write_run(tmp_path / "d", some(20), env="CartPole-v1", recipe="own")  # c and d: one group
    write_run(tmp_path / "e", some(30), env="Mine-v0", chance=0.0, recipe="other")
    found = compare([tmp_path], **QUICK)
    assert [own.name for own in found.groups] == ["dqn", "noisy-dqn"]
    assert set(found.environments) == {"Acrobot-v1", "CartPole-v1"}
    assert found.others == ()
    assert dict(found.left_out) == {"own": ("CartPole-v1", "Mine-v0"), "other": ("Mine-v0",)}
    assert found.verdict.startswith(
        "Of dqn and noisy-dqn alone, in Acrobot-v1 and CartPole-v1: dqn is ahead"
    )
    assert "left out: own (of CartPole-v1 and Mine-v0) and other (of Mine-v0)" in found.remarks[0]
    assert found.groups[0].profile is not None
    assert found.to_json()["left_out"]["other"] == ["Mine-v0"]


@pytest.mark.parametrize(
    ("environments", "part"),
    [
        ({"a": "xyz", "b": "xyz", "c": "x"}, "ab"),  # 2 groups in 3, not 3 groups in 1
        ({"a": "xy", "b": "xy", "c": "x", "d": "x", "e": "x"}, "abcde"),  # 5 in 1, not 2 in 2
        ({"a": "xyz", "b": "xyz", "c": "xy"}, "abc"),  # of equals, 2 in 3 and 3 in 2, more groups
        ({"a": "xyz", "b": "v", "c": "v"}, "bc"),  # one alone is no comparison
        ({"a": "xy", "b": "yz", "c": "vyz", "d": "v"}, "bc"),  # what only two share wholly
        ({"a": "uxy", "b": "vxy", "c": "wx"}, "ab"),  # what is no group's own set
        ({"a": "x", "b": "y"}, ""),
    ],
)
def test_the_largest_part_is_of_most_groups_times_environments(environments, part):
    assert "".join(largest_part(environments)) == part


def test_a_scale_that_is_not_used_is_not_spoken_of(tmp_path):
    write_run(tmp_path / "a", some(300))
    write_run(tmp_path / "b", some(200), recipe="noisy-dqn")
    write_run(tmp_path / "c", some(10), env="Mine-v0", chance=0.0)
    found = compare([tmp_path], **QUICK)
    assert (found.environments, found.scales) == (("CartPole-v1",), {})
    assert not any("highest score" in said for said in found.remarks)


def test_a_stated_scale_is_taken(tmp_path):
    write_run(tmp_path / "a", [100.0, 300.0])
    found = compare([tmp_path], scales={"CartPole-v1": (0, 500)}, **QUICK)
    assert found.groups[0].figures["mean"].value == pytest.approx(0.4)
    assert found.groups[0].figures["optimality_gap"].value == pytest.approx(0.6)


def test_a_single_environment_is_compared_by_its_returns(tmp_path):
    write_run(tmp_path / "a", [100.0, 300.0])
    figures = compare([tmp_path], **QUICK).groups[0].figures
    assert figures["mean"].value == 200.0
    assert set(figures) == {"interquartile_mean", "mean"}


def test_without_a_threshold_the_highest_score_is_one(tmp_path):
    for i, env in enumerate(("Mine-v0", "Other-v0")):
        write_run(tmp_path / env, [10.0 + i, 30.0 + i], env=env, chance=None if i else 0.0)
    found = compare([tmp_path], **QUICK)
    assert (found.scales["Mine-v0"].low, found.scales["Mine-v0"].high) == (0.0, 30.0)
    assert (found.scales["Other-v0"].low, found.scales["Other-v0"].high) == (11.0, 31.0)
    assert any("scores change with what is compared" in said for said in found.remarks)


def test_nothing_in_a_folder_is_imported(tmp_path):
    write_run(tmp_path / "a", [100.0, 300.0], env="stranger:Env-v0", about={"command": "rm"})
    assert compare([tmp_path], **QUICK).environments == ("Env-v0",)


@pytest.mark.parametrize(
    ("make", "how", "error", "says"),
    [
        (lambda p: None, {}, FolderError, "holds no run"),
        (
            lambda p: write_run(p / "a", [1.0], finished=None),
            {},
            ConfigurationError,
            "no finished training",
        ),
        (
            lambda p: write_run(p / "a", [1.0]),
            dict(score="best"),
            ConfigurationError,
            "no best weights",
        ),
        (
            lambda p: write_run(p / "a", [1.0]),
            dict(score="evaluations"),
            ConfigurationError,
            "no evaluations",
        ),
        (
            lambda p: write_run(p / "a", [1.0]),
            dict(score="fame"),
            ConfigurationError,
            "`score` got 'fame'",
        ),
        (
            lambda p: write_run(p / "a", [1.0]),
            dict(scales={"B": (0, 1)}),
            ConfigurationError,
            "not compared",
        ),
        (
            lambda p: write_run(p / "a", [1.0]),
            dict(scales={"CartPole-v1": (5, 5)}),
            ConfigurationError,
            "5, 5",
        ),
        (lambda p: write_run(p / "a", [1.0]), dict(resamples=0), ConfigurationError, "resamples"),
        (
            lambda p: [write_run(p / e, [1.0], env=e, chance=5.0) for e in ("A-v0", "B-v0")],
            {},
            ConfigurationError,
            "no score in A-v0 is above random play, 5",
        ),
        (
            lambda p: write_run(p / "a", [1.0]).folder.joinpath("summary.json").write_text("{}"),
            {},
            FolderError,
            "not as hunch wrote it",
        ),
        (
            lambda p: write_run(p / "a", [1.0]).folder.joinpath("run.json").write_text("{"),
            {},
            FolderError,
            "run.json",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path, make, how, error, says):
    make(tmp_path)
    with pytest.raises(error) as caught:
        compare([tmp_path], **{**QUICK, **how})
    assert says in str(caught.value)


def test_a_monitor_is_grouped_by_its_folder_and_judged_by_training(tmp_path):
    write_monitor(tmp_path / "sb3" / "0.monitor.csv", some(100, 30), every=2.0)
    write_monitor(tmp_path / "sb3" / "1.monitor.csv", some(100, 30, seed=1), begun=131.0, every=2.0)
    write_run(tmp_path / "ours", [1.0, 1.0], episodes=[(10 * i, 50.0) for i in range(1, 30)])
    found = compare([tmp_path / "sb3", tmp_path / "ours"], **QUICK)
    assert found.score == "training"
    theirs, ours = found.groups
    assert (theirs.name, theirs.seeds, ours.name) == ("sb3 (SB3)", (1, 1), "dqn")
    assert ours.returns["CartPole-v1"] == (50.0, 50.0)
    # Two environments of one training, of which the second was begun in the middle of the first: its
    # episodes are in turn with the last fifteen of that one, and steps are those of both.
    first, second = some(100, 30), some(100, 30, seed=1)
    rows = np.concatenate([first[:15], np.stack([first[15:], second[:15]], 1).ravel(), second[15:]])
    x, (middle, _, _) = theirs.curve
    assert theirs.returns["CartPole-v1"][0] == pytest.approx(rows[-20:].mean())
    assert theirs.steps["CartPole-v1"] == (600,)
    assert x.tolist() == [10.0 * i for i in range(1, 61)]
    assert middle == pytest.approx([rows[max(0, i - 20) : i].mean() for i in range(1, 61)])


def test_folders_of_agents_below_one_folder_name_the_groups(tmp_path):
    for agent in ("dqn", "ppo"):
        for seed in range(3):
            write_monitor(
                tmp_path / "logs" / agent / f"CartPole-v1_{seed}" / "monitor.csv", some(100 + seed)
            )
    found = compare([tmp_path / "logs"], **QUICK)
    assert sorted((group.name, group.seeds) for group in found.groups) == [
        ("dqn (SB3)", (3, 3)),
        ("ppo (SB3)", (3, 3)),
    ]


def test_a_monitor_alone_is_read_as_a_file(tmp_path):
    write_monitor(tmp_path / "a2c" / "seed3.monitor.csv", [1.0, 2.0])
    write_monitor(tmp_path / "a2c" / "seed4.monitor.csv", [3.0, 4.0])
    assert compare([tmp_path / "a2c"], **QUICK).groups[0].seeds == (2, 2)
    assert compare([tmp_path / "a2c" / "seed3.monitor.csv"], **QUICK).groups[0].name == "a2c (SB3)"


def test_half_a_line_of_a_killed_training_is_no_episode(tmp_path):
    write_monitor(tmp_path / "x" / "monitor.csv", [1.0, 2.0, 3.0], end="")
    assert compare([tmp_path / "x"], **QUICK).groups[0].returns["CartPole-v1"] == (1.5,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "r,l,t\n1,2,3\n",
        "#{}\na,b\n1,2\n",
        '#{"t_start": 0}\nr,l,t\nx,2,3\n',
        '#{"t_start": 0}\nr,l,t\nnan,2,3\n',
        "#3\nr,l,t\n1,2,3\n",
    ],
)
def test_what_is_no_monitor_is_refused(tmp_path, text):
    (tmp_path / "monitor.csv").write_text(text)
    with pytest.raises(FolderError, match="no monitor log"):
        compare([tmp_path], **QUICK)


def test_monitors_have_no_last_weights(tmp_path):
    write_monitor(tmp_path / "monitor.csv", [1.0])
    with pytest.raises(ConfigurationError, match="returns of training alone"):
        compare([tmp_path], score="last", **QUICK)


def test_the_first_group_is_the_one_of_the_higher_scores(tmp_path):
    low, high = some(100), some(400, seed=3)
    write_run(tmp_path / "a", low)
    write_run(tmp_path / "b", high, recipe="noisy-dqn")
    found = compare([tmp_path], **QUICK)
    assert found.groups[0].name == "noisy-dqn"
    expected = probability_of_improvement({"e": high}, {"e": low})
    assert found.ahead["noisy-dqn", "dqn"].value == pytest.approx(expected)
    assert found.ahead["dqn", "noisy-dqn"].value == pytest.approx(1 - expected)
