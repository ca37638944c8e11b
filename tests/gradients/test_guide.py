"""The figures that the guide "Is my REINFORCE crippled?" quotes are those that the command prints."""

import re
from pathlib import Path

import pytest

from hunch.experiments.gradients.gradient_problems import PROBLEMS

GUIDE = Path(__file__).parents[2] / "docs" / "is-my-reinforce-crippled.md"


def quoted():
    text = GUIDE.read_text("utf-8")
    pattern = r"hunch diagnose ([\w-]+) -n 4\n```.*?(?:```text\n(.*?)```|\n## )"
    return [(name, rows) for name, rows in re.findall(pattern, text, re.DOTALL) if rows]


def test_the_guide_quotes_both():
    assert [name for name, _ in quoted()] == ["forum-start", "forum"]


@pytest.mark.parametrize(("name", "table"), quoted())
def test_quoted_rows_are_those_of_the_command(name, table):
    rows = {row.label: row for row in PROBLEMS[name].diagnose(4).rows}
    lines = table.strip().splitlines()[1:]
    assert len(lines) >= 3
    for line in lines:
        *words, z, bias, variance, cost, both, signal = line.split()
        row = rows[" + ".join(word for word in words if word != "iid")]
        assert bias == ("no" if row.trusted else "yes")
        assert float(z) == pytest.approx(row.bias_z, abs=0.2)
        assert float(variance) == pytest.approx(row.variance, rel=0.05)
        assert int(cost) == row.evaluations
        assert float(both) == pytest.approx(row.variance_cost, rel=0.05)
        assert float(signal) == pytest.approx(row.signal_to_noise, rel=0.05)
