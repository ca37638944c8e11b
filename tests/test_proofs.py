"""The claims at their full settings: minutes, not seconds. `make proofs` runs them."""

from pathlib import Path

import pytest
import torch

from hunch.errors import MissingDependencyError
from hunch.experiments.claims.registry import EXPERIMENTS, reproduce_claim

RESULTS = Path(__file__).parents[1] / "results"


@pytest.mark.proof
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_claim_holds(name):
    torch.set_num_threads(1)
    try:
        report = reproduce_claim(name, out=RESULTS)
    except MissingDependencyError as error:
        pytest.skip(str(error))
    print("\n" + report.text)
    assert report.results["holds"]
