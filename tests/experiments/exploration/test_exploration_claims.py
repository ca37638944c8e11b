"""The exploration claims: what counts as solved, and that small runs go all the way."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest

from hunch.experiments.claims.drawing import figures
from hunch.experiments.exploration import bsuite, bsuite_scores, chain, deep_sea
from hunch.rl import History, StopWhenSolved


def trial(size, seed, solved, agent=deep_sea.PRIOR, seconds=1.0):
    return deep_sea.Trial(agent, size, seed, solved, solved, solved or 2_500, seconds)


def full(episodes=lambda n: n**2, **changes):
    settings = deep_sea.Settings()
    trials = [trial(n, s, int(episodes(n))) for n in settings.sizes for s in range(5)]
    trials += [trial(n, s, 25 * n, deep_sea.TABLES) for n in settings.tables for s in range(5)]
    trials += [trial(n, s, None, deep_sea.GREEDY) for n in settings.beside for s in range(5)]
    trials += [
        trial(n, s, None, agent)
        for agent in (deep_sea.NO_PRIOR, deep_sea.NOISY)
        for n in settings.beside
        for s in range(5)
    ]
    return dataclasses.replace(deep_sea.Result(settings, tuple(trials)), **changes)


@pytest.mark.parametrize(("name", "bound", "earliest"), [
    ("deep_sea", 0.9, 1), ("deep_sea_stochastic", 0.8, 100),
])  # fmt: skip
def test_a_sea_is_solved_while_training_when_the_score_says_so(name, bound, earliest):
    rng = np.random.default_rng(0)
    for share in (0.95, 0.89, 0.79, 0.5, 0.1):
        flags = rng.random(400) < share
        history = History(infos=[{"bad_episode": bool(flag)} for flag in flags])
        stop = StopWhenSolved(bound, earliest)
        stop(SimpleNamespace(replicas=1, histories=[history]))
        assert stop.solved == [bsuite_scores.solved(flags, name=name).exact]


def test_the_first_good_episode_is_counted_from_1():
    flags = [True] * 90 + [False] * 10
    assert deep_sea.first_good(History(infos=[{"bad_episode": f} for f in flags])) == 91
    assert deep_sea.first_good(History(infos=[{"bad_episode": True}])) is None


def test_the_deep_sea_claim_holds_where_it_should_and_fails_where_it_should():
    result = full()
    assert result.exponent == pytest.approx(2.0)
    assert all(check.holds for check in deep_sea.check(result))
    cubic = full(lambda n: 0.0199 * n**3)
    assert not all(check.holds for check in deep_sea.check(cubic))
    lost = full()
    trials = [
        dataclasses.replace(t, solved=None)
        if t.agent == deep_sea.PRIOR and (t.size, t.seed) == (30, 2)
        else t
        for t in lost.trials
    ]
    failed = deep_sea.check(dataclasses.replace(lost, trials=tuple(trials)))
    assert [c.what for c in failed if not c.holds] == [
        "seeds that solve N = 30 within 2,500 episodes"
    ]


def test_two_large_seas_that_tables_do_not_solve_break_the_claim():
    result = full()
    for lost, holds in ((1, True), (2, False)):
        trials = [
            dataclasses.replace(t, solved=None)
            if t.agent == deep_sea.TABLES and t.size == 100 and t.seed < lost
            else t
            for t in result.trials
        ]
        checks = deep_sea.check(dataclasses.replace(result, trials=tuple(trials)))
        assert all(check.holds for check in checks) is holds


def test_seas_that_were_played_are_not_played_again(tmp_path, monkeypatch):
    settings = deep_sea.Settings(
        sizes=(3,), num_seeds=2, beside=(3,), beside_seeds=2, max_episodes=20, tables=(3,),
        table_episodes=30, keep=str(tmp_path),
    )  # fmt: skip
    played = []

    def play(task):
        played.append(task)
        return [trial(task[1], task[2] + r, None, task[0]) for r in range(task[3])]

    monkeypatch.setattr(deep_sea, "_play", play)
    first = deep_sea.run(settings, progress=False)
    assert len(played) == 6
    again = deep_sea.run(settings, progress=False)
    assert len(played) == 6
    assert again == first
    longer = dataclasses.replace(settings, table_episodes=40)
    deep_sea.run(longer, progress=False)
    assert [task[0] for task in played[6:]] == [deep_sea.TABLES] * 2


def test_a_greedy_agent_that_solves_a_large_sea_breaks_the_claim():
    result = full()
    trials = [
        dataclasses.replace(t, solved=2_000) if t.agent == deep_sea.GREEDY and t.size == 20 else t
        for t in result.trials
    ]
    checks = deep_sea.check(dataclasses.replace(result, trials=tuple(trials)))
    assert [c.holds for c in checks][-1] is False


@pytest.mark.slow
def test_small_deep_seas_go_all_the_way_and_repeat_themselves():
    settings = deep_sea.Settings(
        sizes=(4,), num_seeds=1, beside=(3, 4), beside_seeds=1, max_episodes=150, tables=(4,)
    )
    first, again = (deep_sea.run(settings, seed=3, progress=False) for _ in range(2))
    assert first.to_json() == again.to_json()
    assert first.of(deep_sea.PRIOR, 4)[0].solved is not None
    json.dumps(first.to_json(), allow_nan=False)
    for agent in (deep_sea.PRIOR, deep_sea.TABLES):
        assert f"| {agent} | 4 | 1 of 1 |" in first.to_markdown()
    assert set(figures("deep-sea", first)) == {"deep-sea"}


def test_a_chain_is_solved_by_a_hundred_best_episodes_in_a_row():
    assert chain.solved_at([10.0] * 50 + [9.0] + [10.0] * 99) is None
    assert chain.solved_at([10.0] * 50 + [9.0] + [10.0] * 100) == 151


@pytest.mark.slow
def test_a_short_chain_goes_all_the_way():
    settings = chain.Settings(sizes=(4,), num_seeds=1, max_episodes=120)
    result = chain.run(settings, progress=False)
    assert len(result.trials) == 3
    json.dumps(result.to_json(), allow_nan=False)
    assert "| bootstrapped, prior |" in result.to_markdown()


def test_bsuite_scores_of_a_short_run():
    settings = bsuite.Settings(
        {"deep_sea": (0,), "catch": (0,), "bandit": (3,)}, max_sea_episodes=30, max_episodes=10
    )
    result = bsuite.run(settings, progress=False)
    assert result.problems["deep_sea"].score == 0.0  # thirty episodes are too few
    assert 0.0 <= result.problems["catch"].score <= 1.0
    assert [check.holds for check in bsuite.check(result)] == [False]
    json.dumps(result.to_json(), allow_nan=False)
    assert set(figures("bsuite", result)) == {"bsuite"}


def test_bsuite_score_reads_what_was_played():
    settings = bsuite.Settings({"deep_sea": (0, 20)}, max_sea_episodes=200)
    bad = np.array([1.0] * 100 + [0.0] * 100)
    runs = [
        bsuite.PlayedId("deep_sea", 0, bad, 2_000),
        bsuite.PlayedId("deep_sea", 20, bad * 0 + 1, 10_000),
    ]
    assert bsuite.summary(settings, runs).problems["deep_sea"].score == 0.5
