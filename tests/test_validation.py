"""Numbers that are refused in one sentence."""

import math

import numpy as np
import pytest

from hunch.errors import ConfigurationError
from hunch.validation import real_number, whole_number


@pytest.mark.parametrize("value", [0, -1, 2.5, "3", None, True])
def test_whole_numbers(value):
    with pytest.raises(ConfigurationError, match=r"`n` got .* an integer of at least 1"):
        whole_number("n", value, at_least=1)


@pytest.mark.parametrize(
    "value", [0.0, -1, 1.5, math.nan, math.inf, "0.5", b"0.5", None, True, np.True_]
)
def test_real_numbers(value):
    with pytest.raises(ConfigurationError, match=r"`x` got .* finite number above 0 and at most 1"):
        real_number("x", value, above=0.0, at_most=1.0)


def test_a_bound_that_must_not_be_reached():
    assert real_number("coverage", np.float32(0.5), above=0.0, below=1.0) == 0.5
    with pytest.raises(ConfigurationError, match=r"`coverage` got 1.0; .* above 0 and below 1"):
        real_number("coverage", 1.0, above=0.0, below=1.0)
