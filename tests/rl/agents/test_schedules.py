"""Settings that change with the steps."""

import math

import pytest

from hunch.errors import ConfigurationError
from hunch.rl import Linear


def test_linear_schedule_is_straight_and_then_stays():
    line = Linear(2.0, 1.0, steps=4)
    assert [line(t) for t in (0, 1, 2, 4, 9)] == [2.0, 1.75, 1.5, 1.0, 1.0]
    with pytest.raises(ConfigurationError, match="`steps` got 0"):
        Linear(1.0, 0.0, steps=0)
    with pytest.raises(ConfigurationError, match="`end` got nan"):
        Linear(1.0, math.nan, steps=1)
