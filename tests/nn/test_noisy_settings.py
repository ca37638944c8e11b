"""The tables and examples of docs/noisy-layers.md hold."""

import math
import re
from pathlib import Path

import pytest
import torch

from hunch.nn import NoisyLinear

PAGE = (Path(__file__).parents[2] / "docs" / "noisy-layers.md").read_text(encoding="utf-8")
P, Q = 64, 10

# Written down from each code's own source, apart from the page.
EXPECTED = {
    "the paper, DQN and dueling": (1 / math.sqrt(P), 0.5 / math.sqrt(P), 0.5 / math.sqrt(P)),
    "the paper, A3C": (math.sqrt(3 / P), 0.017, 0.017),
    "noisy-networks, factorised": (P**-0.5, 0.5 * P**-0.5, 0.5 * P**-0.5),
    "noisy-networks, independent": ((3 / P) ** 0.5, 0.017, 0.017),
    "rainbow-is-all-you-need 05, torchrl": (
        1 / math.sqrt(P),
        0.5 / math.sqrt(P),
        0.5 / math.sqrt(Q),
    ),
    "Kaixhin/Rainbow, as its script sets it": (
        1 / math.sqrt(P),
        0.1 / math.sqrt(P),
        0.1 / math.sqrt(Q),
    ),
    "CleanRL rainbow": (1 / math.sqrt(P), 0.5 / math.sqrt(P), 0.5 / math.sqrt(Q)),
    "tianshou": (1 / math.sqrt(P), 0.5 / math.sqrt(P), 0.5 / math.sqrt(P)),
    "pfrl": (math.sqrt(3 / P) / math.sqrt(3), 0.4 / math.sqrt(P), 0.4 / math.sqrt(Q)),
    "dopamine": (1 / math.sqrt(P), 0.1 / math.sqrt(P), 0.1 / math.sqrt(P)),
    "dqn_zoo": (math.sqrt(1 / P), 0.1 / math.sqrt(P), 0.1 / math.sqrt(P)),
}
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.split("## When")[0].splitlines()
    if line.startswith("| ")
][1:]


def number(text):
    text = re.sub(r"√\((.*?)\)", r"math.sqrt(\1)", text)
    text = re.sub(r"√(\w)", r"math.sqrt(\1)", text)
    return eval(text, {"math": math, "p": P, "q": Q})


def test_the_table_names_every_code():
    assert {row[0] for row in ROWS} == set(EXPECTED)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_settings_give_the_values_of_that_code(row):
    code, settings, *values, drawn = row
    layer = NoisyLinear(P, Q, **eval(f"dict({settings.strip('`')})"))
    bound, std, bias_std = EXPECTED[code]
    assert [number(value) for value in values] == pytest.approx([bound, std, bias_std])
    assert 0.95 * bound < layer.weight.abs().max() <= bound
    assert layer.bias.abs().max() <= bound
    torch.testing.assert_close(layer.weight_sigma, torch.full((Q, P), std))
    torch.testing.assert_close(layer.bias_sigma, torch.full((Q,), bias_std))
    shapes = [tuple(part.shape) for part in layer.draw()]
    assert shapes == ([(Q, P), (Q,)] if drawn == "independent" else [(P,), (Q,)])
    largest = max(layer.draw(members=1000)[0].square().max() for _ in range(3))
    assert (largest <= 2.0) == (
        drawn == "truncated"
    )  # 192,000 draws: f(ε)² = |ε| passes 2 for sure


def test_the_examples_run():
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, {})
