import pytest
import torch

from hunch.errors import DataError, ShapeError
from hunch.inference import bootstrap_weights, fit, out_of_bag, predict
from hunch.nn import MLP, Ensemble


@pytest.mark.parametrize("out", [(), (1,), (2, 3)])
def test_equals_a_loop_over_data(out):
    members = torch.randn(8, 30, *out, dtype=torch.float64, generator=torch.Generator())
    weights = bootstrap_weights("multinomial", 8, range(30), seed=1)
    weights[:, 4] = 1  # one datum that every member saw
    weights[0, 5] = 0
    weights[1:, 5] = 2  # and one with a single out-of-bag member
    bag = out_of_bag(members, weights)
    for i in range(30):
        absent = members[weights[:, i] == 0, i]
        assert bag.count[i] == len(absent)
        torch.testing.assert_close(bag.mean[i], absent.mean(0), equal_nan=True)
        expected = absent.std(0) if len(absent) > 1 else torch.full(out, torch.nan).double()
        torch.testing.assert_close(bag.std[i], expected, equal_nan=True)
    assert bag.mean[4].isnan().all()
    assert bag.count[4] == 0
    assert bag.mean[5].equal(members[0, 5])


def test_the_predictions_of_those_who_saw_a_datum_do_not_count():
    members = torch.zeros(2, 3)
    members[0] = torch.nan
    weights = torch.tensor([[1.0, 1, 1], [0, 0, 0]])
    assert out_of_bag(members, weights).mean.equal(torch.zeros(3))


def test_the_out_of_bag_error_is_that_on_new_data():
    g = torch.Generator().manual_seed(0)
    x, noise = 2 * torch.rand(80, 1, generator=g) - 1, torch.randn(80, 1, generator=g)
    y = noise  # nothing to learn: what a network learns is noise
    net = Ensemble(lambda: MLP(1, [50], 1), 40, seed=0)
    fit(net, x, y, lr=0.02, steps=1500, progress=False)
    members = predict(net, x).members
    bag = out_of_bag(members, bootstrap_weights("multinomial", 40, range(80), seed=0))
    new_x, new_y = 2 * torch.rand(2000, 1, generator=g) - 1, torch.randn(2000, 1, generator=g)

    def error(mean, y):
        return (mean - y).square().mean().item()

    fresh = error(predict(net, new_x).mean, new_y)
    assert abs(error(bag.mean, y) - fresh) < 0.25 * fresh
    assert error(members.mean(0), y) < 0.85 * fresh


def test_wrong_use_is_refused():
    with pytest.raises(ShapeError, match=r"`members` got shape \(3, 5, 1\) and `weights` \(3, 4\)"):
        out_of_bag(torch.zeros(3, 5, 1), torch.zeros(3, 4))
    with pytest.raises(DataError, match="every member saw every datum"):
        out_of_bag(torch.zeros(3, 5), bootstrap_weights("exponential", 3, range(5)))
