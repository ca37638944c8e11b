"""What results show of themselves: short lines, small tables, data frames, and what is missing."""

import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch import nn

from hunch.errors import MissingDependencyError
from hunch.gradients import diagnose
from hunch.inference import ClassPredictive, History, Predictive
from hunch.nn import MLP, Ensemble, RandomizedPrior
from hunch.rl import DQN
from hunch.rl import History as Episodes
from hunch.shown import span_of


def results():
    return {
        "predictive": Predictive(torch.randn(50, 2000, 1), noise_std=0.1),
        "classes": ClassPredictive(torch.randn(5, 1000, 3)),
        "history": History(torch.rand(5000, 50), torch.rand(10)),
        "episodes": Episodes([1.0] * 3000, [5] * 3000, list(range(5, 15005, 5)), [{}] * 3000),
        "diagnosis": diagnose(torch.square, torch.distributions.Exponential, torch.ones(1), n=4),
        "agent": DQN("CartPole-v1", hidden_sizes=(8,)).learn(150, progress=False),
        "ensemble": Ensemble(
            lambda: RandomizedPrior(MLP(2, [4], 1), prior=MLP(2, [4], 1)), num_members=3
        ),
    }


@pytest.mark.parametrize("name", list(results()))
def test_a_notebook_gets_a_small_whole_table(name):
    result = results()[name]
    html = result._repr_html_()
    assert ElementTree.fromstring(html).tag == "div"
    assert len(html) < 20_000


@pytest.mark.parametrize(
    "name", ["predictive", "classes", "history", "episodes", "diagnosis", "agent"]
)
def test_reprs_are_a_short_line(name):
    said = repr(results()[name])
    assert len(said) < 200
    assert "\n" not in said
    assert "tensor(" not in said


def test_a_repr_gives_shapes_and_ranges():
    p = Predictive(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    assert repr(p) == "Predictive(2 members, predictions (2,), mean 2 to 5, std 0 to 1.414)"
    assert "2 seeds" not in repr(DQN("CartPole-v1", replicas=2, hidden_sizes=(4,), seed=3))
    assert "seeds 3 to 4" in repr(DQN("CartPole-v1", replicas=2, hidden_sizes=(4,), seed=3))


def test_a_repr_fails_on_nothing():
    seen = []

    def look(members):
        seen.append(repr(Predictive(members)))
        return members

    torch.vmap(look)(torch.zeros(3, 2, 4))
    repr(Predictive(torch.zeros(2, 4, device="meta")))
    assert "of shape (4,)" in seen[0]
    assert "NaN" in repr(Predictive(torch.full((2, 3), torch.nan)))
    assert repr(Predictive(torch.zeros(2, 0))) == "Predictive(2 members, predictions (0,))"
    assert span_of(torch.zeros(0)) == "empty"
    assert "no step" in repr(History(torch.zeros(0, 3)))
    assert "no episode" in repr(Episodes())
    assert span_of(torch.zeros(2, dtype=torch.bfloat16)) == "0"


def test_html_is_escaped():
    class Odd(nn.Linear):
        pass

    Odd.__name__ = "<b>"
    assert "&lt;b&gt;" in Ensemble(lambda: Odd(1, 1), num_members=2)._repr_html_()


def test_frames_hold_the_figures():
    pytest.importorskip("pandas")
    p = Predictive(torch.randn(6, 4, 2), noise_std=0.3)
    frame = p.to_frame(coverage=0.5)
    np.testing.assert_array_equal(frame["mean_1"], p.mean[:, 1].numpy())
    np.testing.assert_array_equal(frame["lower_0"], p.interval(0.5)[0][:, 0].numpy())
    one = Predictive(torch.randn(6, 4, 1))
    np.testing.assert_array_equal(one.to_frame()["std"], one.std[:, 0].numpy())
    c = ClassPredictive(torch.randn(5, 4, 3))
    np.testing.assert_array_equal(c.to_frame()["probability_2"], c.probs[:, 2].numpy())
    np.testing.assert_array_equal(c.to_frame()["epistemic"], c.epistemic.numpy())
    loss = torch.rand(7, 2)
    np.testing.assert_array_equal(History(loss).to_frame()["loss_1"], loss[:, 1].numpy())
    episodes = Episodes([1.0, 2.0], [3, 4], [3, 7], [{"won": 1.0}, {}]).to_frame()
    assert episodes["return"].tolist() == [1.0, 2.0]
    assert np.isnan(episodes["info.won"][1])
    found = results()["diagnosis"]
    assert found.to_frame()["variance"].tolist() == [row.variance for row in found.rows]


def test_without_pandas_the_error_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependencyError, match="pip install pandas"):
        Predictive(torch.randn(2, 3)).to_frame()


def test_without_matplotlib_the_error_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for result in (
        Predictive(torch.randn(2, 3)),
        History(torch.rand(3, 2)),
        Episodes([1.0], [1], [1]),
    ):
        with pytest.raises(MissingDependencyError, match=r'pip install "torch-hunch\[plot\]"'):
            result.plot()


def test_latex_has_a_row_for_each_way_and_escapes():
    found = results()["diagnosis"]
    text = found.to_latex()
    head, *rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == len(found.rows)
    assert {line.count(" & ") for line in (head, *rows)} == {9}
    assert r"$\vert$" in head
    assert "×" not in text
