"""The claims at their full settings: minutes, not seconds. `make proofs` runs them."""

import os
from pathlib import Path

import pytest
import torch

from hunch.errors import MissingDependencyError
from hunch.experiments.claims.registry import EXPERIMENTS, reproduce_claim, takes
from hunch.experiments.tables import real_tables

RESULTS = Path(__file__).parents[1] / "results"
UCI = os.environ.get("HUNCH_UCI", "")  # the folder for `hunch reproduce uci --data`


@pytest.mark.proof
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_claim_holds(name):
    if takes(name, "data") and not UCI:
        pytest.skip("its tables are not here: HUNCH_UCI=FOLDER make proofs")
    if name == "tables" and (absent := real_tables.missing(real_tables.Settings())):
        pytest.skip(f"not installed: {' '.join(absent)}")
    torch.set_num_threads(1)
    try:
        report = reproduce_claim(name, out=RESULTS, data=UCI)
    except MissingDependencyError as error:
        pytest.skip(str(error))
    print("\n" + report.text)
    assert report.results["holds"]
