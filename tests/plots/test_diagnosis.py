"""The figure of a diagnosis."""

import pytest
import torch
from torch.distributions import Normal, OneHotCategorical

from hunch.gradients import diagnose

pytest.importorskip("matplotlib")
from hunch.plots import diagnosis_figure, to_svg


def test_every_row_has_a_line_and_biased_ones_another_mark():
    table = torch.tensor([3.0, -1.0, 0.5])
    found = diagnose(
        lambda z: (z @ table) ** 2, lambda l: OneHotCategorical(logits=l), torch.zeros(3), 4
    )
    figure, caption = diagnosis_figure(found)
    (ax,) = figure.axes
    assert [t.get_text() for t in ax.get_yticklabels()] == [row.label for row in found.rows]
    marks = [line.get_marker() for line in ax.lines if line.get_marker() != "None"]
    assert marks.count("X") == 2
    assert [t.get_text() for t in ax.texts] == ["exact"]
    assert "n=4" in caption
    assert figure.get_figwidth() == pytest.approx(4.6)
    assert "<svg" in to_svg(figure)


def test_nothing_but_exact_estimators():
    found = diagnose(
        lambda z: z, lambda mu: Normal(mu, 1.0), torch.ones(1), estimators=["pathwise"], repeats=20
    )
    figure, _ = diagnosis_figure(found)
    assert len(figure.axes[0].texts) == 3
