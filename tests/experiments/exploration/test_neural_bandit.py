"""The neural bandit: its chance, its gradient step, and that a broken agent is seen."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from hunch.errors import ConfigurationError
from hunch.experiments.claims.drawing import figures
from hunch.experiments.exploration import neural_bandit, neural_bandit_play
from hunch.experiments.exploration.neural_bandit import (
    Settings,
    agents,
    check,
    make_bandits,
    play_all,
    run,
    summary,
)
from hunch.experiments.exploration.neural_bandit_play import (
    SLOPE,
    Agent,
    BanditProblem,
    Networks,
    make_bandit,
    make_networks,
    play,
)
from hunch.nn import Ensemble

TINY = Settings(
    num_seeds=3,
    agents=tuple(a for a in agents((2, 10)) if a.name not in ("ε = 0.01", "ε = 0.2")),
    problem=BanditProblem(num_steps=6, num_actions=7, num_inputs=5, hidden_size=4, batch_size=3),
)


def test_a_seed_decides_everything_and_another_changes_it():
    first, again, other = (run(TINY, seed=s, progress=False).to_json() for s in (0, 0, 1))
    assert first == again
    assert first != other
    json.dumps(first, allow_nan=False)


def test_a_bandit_does_not_depend_on_how_many_there_are(monkeypatch):
    few = play_all(TINY, make_bandits(TINY, 0), 0)
    five = dataclasses.replace(TINY, num_seeds=5)
    more = play_all(five, make_bandits(five, 0), 0)
    for row, wider in zip(few, more, strict=True):
        np.testing.assert_allclose(row.regret, wider.regret[:3], rtol=1e-9)
    monkeypatch.setattr(neural_bandit, "NETWORKS", 2)  # bandits of an ensemble one by one
    for row, alone in zip(few, play_all(TINY, make_bandits(TINY, 0), 0), strict=True):
        np.testing.assert_allclose(row.regret, alone.regret, rtol=1e-9)


def test_expected_rewards_have_the_variance_of_the_prior():
    # E[f(x)²] = hidden · λ² |x|² / 2, as a ReLU keeps half of the second moment. A bandit's mean
    # square has a relative standard deviation of about 0.5, so 0.2 is about 6 standard errors.
    problem = BanditProblem(prior_variance=1.5)
    ratios = []
    for number in range(250):
        bandit = make_bandit(problem, 0, number)
        square = (bandit.actions**2).sum(axis=1)
        ratios.append((bandit.means**2 / (50 * 1.5**2 * square / 2)).mean())
    assert abs(np.mean(ratios) - 1) < 0.2
    noise = np.concatenate([make_bandit(problem, 0, number).noise for number in range(50)])
    assert abs(noise.var() / 100 - 1) < 0.04  # 50,000 draws: standard error 0.0063


def test_acting_at_random_has_the_regret_of_the_mean_action():
    # 40 bandits x 300 steps; regrets have a standard deviation of about 2, so their mean one of
    # about 0.02: 0.15 is beyond chance.
    problem = BanditProblem(num_steps=300, num_inputs=6, hidden_size=5, batch_size=1)
    random = Agent("random", "fixed ε", epsilon=1.0)
    settings = Settings(40, (random,), problem)
    assert play_all(settings, make_bandits(settings, 0), 0)[0].regret.std() < 3
    result = run(settings, progress=False)
    assert abs(result.agents[0].regret - result.regret_at_random) < 0.15


def networks_and_data(prior, keep_some):
    g = torch.Generator().manual_seed(0)

    def draw(*size):
        return torch.randn(*size, generator=g, dtype=torch.float64)

    nets = Networks(draw(4, 6, 5), draw(4, 1, 5))
    if prior:
        nets.first_prior, nets.last_prior = draw(4, 6, 5), draw(4, 1, 5)
    keep = (draw(4, 8, 5) > 0).double() if keep_some else None
    return nets, draw(4, 8, 6), draw(4, 8), keep


@pytest.mark.parametrize("prior", [False, True])
@pytest.mark.parametrize("keep_some", [False, True])
def test_a_gradient_step_is_the_formula(prior, keep_some):
    nets, x, y, keep = networks_and_data(prior, keep_some)
    problem, t = BanditProblem(prior_variance=2.0, noise_variance=9.0, learning_rate=0.3), 7
    expected = []
    for n in range(4):
        first, last = nets.first[n].numpy(), nets.last[n, 0].numpy()
        theta0 = (nets.first_prior[n], nets.last_prior[n, 0]) if prior else (0.0, 0.0)
        pre = x[n].numpy() @ first
        slope = np.where(pre > 0, 1.0, SLOPE) * (keep[n].numpy() if keep_some else 1.0)
        error = 2 * ((pre * slope) @ last - y[n].numpy()) / (9.0 * 8)
        d_last = error @ (pre * slope) + 2 / (2.0 * t) * (last - np.asarray(theta0[1]))
        d_first = x[n].numpy().T @ (error[:, None] * slope * last)
        d_first = d_first + 2 / (2.0 * t) * (first - np.asarray(theta0[0]))
        expected.append((first - 0.3 * d_first, last - 0.3 * d_last))
    nets.descend(x, y, keep, problem, t)
    np.testing.assert_allclose(nets.first, [first for first, _ in expected], rtol=1e-10)
    np.testing.assert_allclose(nets.last[:, 0], [last for _, last in expected], rtol=1e-10)


def test_a_gradient_step_is_that_of_an_ensemble_of_modules():
    nets, x, y, _ = networks_and_data(prior=True, keep_some=False)
    problem = BanditProblem()

    def member():
        layers = nn.Linear(6, 5, bias=False), nn.LeakyReLU(SLOPE), nn.Linear(5, 1, bias=False)
        return nn.Sequential(*layers).double()

    ensemble = Ensemble(member, 4, seed=0)
    weights = [ensemble.get_parameter(name) for name in ("0.weight", "2.weight")]
    with torch.no_grad():
        weights[0].copy_(nets.first.mT)
        weights[1].copy_(nets.last)
    priors = [nets.first_prior.mT, nets.last_prior]
    torch.testing.assert_close(nets(x), ensemble(x, per_member=True)[..., 0].detach())
    optimizer = torch.optim.SGD(weights, lr=problem.learning_rate)
    loss = ((ensemble(x, per_member=True)[..., 0] - y) ** 2).mean(1).sum() / 100
    pull = sum(((w - p) ** 2).sum() for w, p in zip(weights, priors, strict=True)) / 3
    (loss + pull).backward()
    optimizer.step()
    nets.descend(x, y, None, problem, 3)
    torch.testing.assert_close(nets.first, weights[0].detach().mT)
    torch.testing.assert_close(nets.last, weights[1].detach())


def spy_on_descent(monkeypatch):
    seen = []

    def descend(self, x, y, keep, problem, time):
        seen.append((x.clone(), y.clone(), keep, time))

    monkeypatch.setattr(Networks, "descend", descend)
    return seen


def test_members_see_the_same_rewards_with_noise_of_their_own_drawn_once(monkeypatch):
    seen = spy_on_descent(monkeypatch)
    problem = BanditProblem(num_steps=40, batch_size=200, num_actions=1)
    bandits = [make_bandit(problem, 0, number) for number in (0, 1)]
    play(Agent("e", "ensemble", num_members=3), bandits, [0, 1], problem, seed=0)
    _, last, _, time = seen[-1]
    assert time == 40
    targets = [set(np.round(row.tolist(), 3)) for row in last]
    # 200 draws of 40 rewards: some are missed, but nearly all are there, and none has changed.
    assert all(30 < len(values) <= 40 for values in targets)
    assert not targets[0] & targets[1]
    rewards = bandits[0].means[0] + bandits[0].noise
    first = [float(y[0, 0]) for _, y, _, t in seen if t == 1]
    assert abs(first[0] - rewards[0]) > 1e-3
    # Over members and steps the noise on rewards has variance σ² = 100, and no mean.
    gaps = [float(y[n, 0]) - rewards[0] for _, y, _, t in seen[:1] for n in range(3)]
    assert max(map(abs, gaps)) < 50


def test_single_networks_see_the_rewards_as_they_are(monkeypatch):
    seen = spy_on_descent(monkeypatch)
    problem = BanditProblem(num_steps=30, batch_size=100)
    bandit = make_bandit(problem, 0, 0)
    play(Agent("g", "fixed ε", epsilon=1.0), [bandit], [0], problem, seed=0)
    x, y, _, _ = seen[-1]
    arms = [int((bandit.actions == row).all(1).argmax()) for row in x[0].numpy()]
    noise = y[0].numpy() - bandit.means[arms]
    distance = np.abs(noise[:, None] - bandit.noise).min(axis=1)
    assert distance.max() < 1e-3
    assert len(set(arms)) > 10


def test_an_ensemble_follows_one_member_at_a_time(monkeypatch):
    spy_on_descent(monkeypatch)  # nothing is learnt, so each member always wants the same
    problem = BanditProblem(num_steps=60)
    bandit = make_bandit(problem, 0, 0)
    agent = Agent("e", "ensemble", num_members=3)
    regret = play(agent, [bandit], [0], problem, seed=0)[0]
    draws = [neural_bandit_play.numpy_generator(0, "e", 0)]
    nets = make_networks(agent, draws, problem)
    wanted = nets(torch.from_numpy(bandit.actions).expand(3, -1, -1)).argmax(1).numpy()
    expected = bandit.means.max() - bandit.means[wanted]
    assert set(np.round(regret, 6)) == set(np.round(expected, 6))
    counts = [np.isclose(regret, value).sum() for value in expected]
    assert min(counts) > 5  # binomial(60, 1/3): 5 or fewer has a probability below 1e-4


def test_dropout_hides_its_share_of_units_and_no_other_agent_does(monkeypatch):
    seen = spy_on_descent(monkeypatch)
    problem = BanditProblem(num_steps=20)
    bandits = [make_bandit(problem, 0, number) for number in range(2)]
    regret = play(Agent("d", "dropout", dropout=0.25), bandits, [0, 1], problem, seed=0)
    assert all(len(set(row)) > 3 for row in regret)  # its choices vary though nothing is learnt
    keep = torch.stack([keep for _, _, keep, _ in seen])
    assert keep.shape == (20, 2, 64, 50)
    assert abs(float(keep.mean()) - 0.75) < 0.01  # 128,000 draws: standard error 0.0012
    assert (keep[:, 0] != keep[:, 1]).any()
    seen.clear()
    play(Agent("g", "fixed ε"), bandits, [0, 1], problem, seed=0)
    assert all(keep is None for _, _, keep, _ in seen)


@pytest.mark.parametrize(
    "agent", [Agent("a", "fixed ε", epsilon=0.3), Agent("b", "annealed ε", anneal=20)]
)
def test_random_actions_come_as_often_as_epsilon_says(monkeypatch, agent):
    spy_on_descent(monkeypatch)  # untrained networks always want the same action
    problem = BanditProblem(num_steps=400, num_inputs=6, hidden_size=5, batch_size=1)
    bandits = [make_bandit(problem, 0, number) for number in range(60)]
    regret = play(agent, bandits, range(60), problem, seed=0)
    usual = np.array([np.median(row[-200:]) for row in regret])
    other = ~np.isclose(regret, usual[:, None])
    steps = np.arange(400)
    epsilon = agent.anneal / (agent.anneal + steps) if agent.anneal else np.full(400, 0.3)
    # One random action in 100 is the usual one. At least 1,200 steps in each span: the standard
    # error is at most 0.014.
    for span in (slice(0, 20), slice(350, 400)):
        assert abs(other[:, span].mean() - 0.99 * epsilon[span].mean()) < 0.08


LEARNERS = ("ε = 0.05", "dropout 0.5", "ensemble of 10")


def short_run():
    chosen = tuple(agent for agent in agents((10,)) if agent.name in LEARNERS)
    return run(Settings(8, chosen, BanditProblem(num_steps=150)), progress=False)


def test_agents_learn_and_a_broken_one_is_seen(monkeypatch):
    result = short_run()
    late = {row.agent: row.late_regret for row in result.agents}
    assert all(late[name] < 0.75 * result.regret_at_random for name in LEARNERS)
    assert late["ensemble of 10"] < late["ε = 0.05"]
    monkeypatch.setattr(Networks, "descend", lambda *args: None)
    broken = {row.agent: row.late_regret for row in short_run().agents}
    assert all(broken[name] > 0.8 * result.regret_at_random for name in LEARNERS)


def test_checks_fail_when_the_order_is_another():
    result, played = run(TINY, progress=False), play_all(TINY, make_bandits(TINY, 0), 0)

    def with_regret(fixed, dropout, annealed, ensemble, control=40):
        level = {"fixed ε": fixed, "dropout": dropout, "annealed ε": annealed}
        level |= {"ensemble": ensemble, "no prior": control}
        spread = np.array([-1.0, 0.0, 1.0])
        rows = [dataclasses.replace(row, regret=spread + level[row.agent.family]) for row in played]
        return summary(Settings(), rows, 70.0, 60.0)

    assert all(c.holds for c in check(with_regret(30, 20, 15, 10)))
    assert [c.holds for c in check(with_regret(20, 30, 15, 10))] == [False, True, True, True, True]
    assert [c.holds for c in check(with_regret(30, 20, 25, 10))] == [True, False, True, True, True]
    assert [c.holds for c in check(with_regret(30, 20, 15, 16))] == [True, True, False, True, True]
    assert [c.holds for c in check(with_regret(30, 20, 15, 10, 9))] == [True] * 3 + [False, True]
    assert not check(with_regret(70, 20, 15, 10))[-1].holds
    gap = with_regret(30, 20, 15, 10).order[0]
    assert (gap.difference, gap.half_width) == (10, 0)
    assert len(check(result)) == 1  # too few bandits for the order


def test_the_table_has_every_agent_and_figures_are_made():
    result = run(TINY, progress=False)
    table = result.to_markdown()
    assert all(f"| {agent.name} |" in table for agent in TINY.agents)
    assert table.count("**") == 2 * 5  # the best of each family
    assert set(figures("neural-bandit", result)) == {"neural-bandit-curves", "neural-bandit-agents"}
    alone = run(dataclasses.replace(TINY, agents=TINY.agents[:1]), progress=False)
    assert alone.order == ()
    assert math.isfinite(alone.to_json()["agents"][0]["half_width"])
    figures("neural-bandit", alone)


def test_the_quick_settings_have_an_agent_of_each_kind():
    quick, full = Settings.quick(), Settings()
    assert {a.name for a in quick.agents} == set(neural_bandit.QUICK_AGENTS)
    assert {a.family for a in full.agents} == set(neural_bandit.FAMILIES)
    assert full.num_seeds >= 100
    assert len({a.name for a in full.agents}) == len(full.agents)


def test_too_few_seeds_and_no_agents_are_refused():
    with pytest.raises(ConfigurationError, match="`num_seeds` got 1; expected at least 2"):
        run(Settings(num_seeds=1))
    with pytest.raises(ConfigurationError, match="`agents` is empty"):
        run(Settings(agents=()))


def test_only_members_with_a_prior_start_from_it():
    problem = BanditProblem()
    for agent in agents((3,)):
        nets = make_networks(agent, [np.random.default_rng(0)], problem)
        wanted = 1.0 if agent.family == "ensemble" else neural_bandit_play.START
        # 5,000 weights or more: the standard error is 1 %.
        assert abs(float(nets.first.std()) / wanted - 1) < 0.07
        assert abs(float(nets.last.std()) / wanted - 1) < 0.6
        if agent.family == "ensemble":
            torch.testing.assert_close(nets.first_prior, nets.first)
            assert nets.first_prior.data_ptr() != nets.first.data_ptr()
        else:
            assert nets.first_prior is None
            assert nets.last_prior is None
