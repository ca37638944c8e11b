"""Data, networks and scores of the claim on frozen networks, and that it can fail."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from hunch.experiments.claims.drawing import figures
from hunch.experiments.uncertainty import frozen_networks as frozen
from hunch.experiments.uncertainty.frozen_networks import (
    FAR,
    LARGEST,
    NOVELTY,
    Result,
    Row,
    Scaled,
    Settings,
    Trained,
    auroc,
)
from hunch.experiments.uncertainty.frozen_problems import CHAINS, DIGITS, WINE, make_problem

pytest.importorskip("matplotlib")  # whose fonts draw the letters


def test_auroc_is_scikit_learns():
    rng = np.random.default_rng(0)
    own, other = rng.integers(9, size=40), rng.integers(3, 12, size=30)
    truth = np.repeat([0, 1], [40, 30])
    expected = roc_auc_score(truth, np.concatenate([own, other]))
    assert auroc(torch.from_numpy(own), torch.from_numpy(other)) == pytest.approx(expected)


def test_the_whole_path_runs_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    result = frozen.run(Settings.quick(), progress=False)
    assert torch.equal(before, torch.get_rng_state())
    assert all(n.same for n in result.networks)
    assert all(check.holds for check in frozen.check(result))
    assert result.mean(WINE, NOVELTY) > result.mean(WINE, LARGEST)
    assert "8 and 9, never seen" in result.to_markdown()
    assert {s.problem for s in result.scaled} == {WINE, DIGITS}
    assert all(s.network.min() > s.largest.max() for s in result.scaled)
    assert list(figures("frozen-networks", result)) == ["frozen-networks"]
    again = Result.from_json(result.to_json(), result.settings)
    assert again.to_json() == result.to_json()


def test_sentences_are_of_the_kind_they_are_called():
    problem = make_problem(CHAINS, seed=3, thrift=12)
    words = problem.x.max().item()
    assert words < 20
    assert problem.far["new words"].min() >= 20
    assert problem.far["twice as long"].shape[1] == 2 * problem.x.shape[1]
    share = (problem.far["a tenth new words"] >= 20).double().mean()
    assert 0.05 < share < 0.15
    shuffled = problem.near["words shuffled"]
    assert torch.equal(shuffled.sort(1).values, problem.test.sort(1).values)


HOLDS = {
    (0.96, 0.9, True): True,
    (0.94, 0.9, True): False,
    (0.96, 0.7, True): False,
    (0.96, 0.9, False): False,
}


@pytest.mark.parametrize("found", HOLDS)
def test_the_claim_can_fail(found):
    novelty, doubt, same = found
    names = Settings().problems
    rows = tuple(Row(n, "noise", FAR, NOVELTY, np.full(10, novelty)) for n in names)
    networks = tuple(Trained(n, 0, 0.9, same, 0.1, 0.1, 0.1, 0.1) for n in names)
    ones = np.ones(10)
    scaled = tuple(
        Scaled(WINE, size, ones, ones, ones, share * ones, ones)
        for size, share in (("times 4", doubt), ("times 16", 0.95))
    )
    checks = frozen.check(Result(Settings(), rows, networks, scaled))
    assert all(check.holds for check in checks) == HOLDS[found]
