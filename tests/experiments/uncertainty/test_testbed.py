"""The Neural Testbed's problems, its score, and the experiment's path."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from hunch.experiments.claims.drawing import figures
from hunch.experiments.uncertainty import testbed_2d
from hunch.experiments.uncertainty.testbed_2d import (
    AGENTS,
    ENSEMBLE,
    EPINET,
    MLP,
    Result,
    Settings,
    Trial,
)
from hunch.experiments.uncertainty.testbed_agents import (
    Classification,
    joint_kl,
    train_ensemble,
)

PROBLEM = Classification(num_train=30, temperature=0.1, seed=3)


def true_logits(x):
    return (PROBLEM.truth()(x) / PROBLEM.temperature).unsqueeze(0)


def test_the_truth_has_no_divergence_from_itself():
    joint, alone = joint_kl(true_logits, PROBLEM, tau=10, num_batches=200)
    assert abs(joint) < 1e-5
    assert abs(alone) < 1e-5


def test_the_divergence_of_two_guesses_is_the_formula():
    def two(x):
        return torch.cat([true_logits(x), torch.zeros(1, len(x), 2)])

    joint, alone = joint_kl(two, PROBLEM, tau=3, num_batches=50)
    _, _, log_prob = PROBLEM.draw("test data", 50, 3)
    expected, each = [], []
    for i in range(50):
        p = [math.exp(log_prob[i].sum()), 0.5**3]
        expected.append(math.log(p[0]) - math.log(sum(p) / 2))
        each += [math.log(p[0] / q) for q in p]
    assert joint == pytest.approx(np.mean(expected), rel=1e-4)
    assert alone == pytest.approx(np.mean(each), rel=1e-4)


def test_classes_come_with_the_probabilities_of_the_truth():
    x, y, log_prob = PROBLEM.draw("test data", 20_000)
    p = torch.softmax(true_logits(x)[0], -1)[:, 1]
    # A sum of 20,000 draws leaves six standard errors once in 10⁹.
    error = (p * (1 - p)).sum().sqrt()
    assert abs(float(y.sum() - p.sum())) < 6 * float(error)
    own = torch.where(y == 1, p, 1 - p)
    assert torch.allclose(log_prob.exp(), own, atol=1e-5)


def test_the_problem_is_its_seed_and_training_data_are_no_test_data():
    again = Classification(30, 0.1, 3).draw("training data", 30)
    other = Classification(30, 0.1, 4).draw("training data", 30)
    ours = PROBLEM.draw("training data", 30)
    assert all(torch.equal(a, b) for a, b in zip(ours, again, strict=True))
    assert not torch.equal(ours[0], other[0])
    assert not torch.equal(ours[0], PROBLEM.draw("test data", 30)[0])


def test_training_moves_the_prediction_towards_the_truth():
    def kl(steps):
        trained = train_ensemble(PROBLEM, num_members=5, steps=steps, prior_scale=0.0, seed=0)
        return joint_kl(trained.sample_logits, PROBLEM, tau=10, num_batches=200)[0]

    assert kl(300) < 0.7 * kl(0)


def test_the_whole_path_runs():
    result = testbed_2d.run(Settings.quick(), progress=False)
    assert {t.agent for t in result.trials} == set(AGENTS)
    assert all(check.holds for check in testbed_2d.check(result))
    assert "epinet" in result.to_markdown()
    assert list(figures("testbed-2d", result)) == ["testbed-2d"]


def test_the_same_seed_gives_the_same_result():
    short = dataclasses.replace(Settings.quick(), steps=20, num_members=3, temperatures=(0.1,))
    first, again, other = (
        testbed_2d.run(short, seed=seed, progress=False).to_json() for seed in (0, 0, 1)
    )
    assert first == again != other


def test_the_claim_can_fail():
    def result(ensemble, prior, epinet):
        kls = dict.fromkeys(AGENTS, 1.0) | {
            MLP: 1.0,
            ENSEMBLE: ensemble,
            testbed_2d.PRIOR: prior,
            EPINET: epinet,
        }
        trials = [Trial(a, PROBLEM, kl, 1.0 if a != EPINET else 0.05) for a, kl in kls.items()]
        return Result(Settings(), tuple(trials))

    def holds(*kls):
        return [check.holds for check in testbed_2d.check(result(*kls))]

    assert holds(1.0, 0.7, 0.7) == [True, True, True]
    assert holds(0.8, 0.7, 0.7) == [False, True, True]
    assert holds(1.0, 0.7, 0.8) == [True, False, True]
