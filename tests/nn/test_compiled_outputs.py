"""What members say by the kernel, held against the ensemble's own forward in double precision."""

import pytest
import torch
from torch import nn

from hunch.inference import predict
from hunch.kernel import kernel
from hunch.nn import MLP, Ensemble, RandomizedPrior, compiled_outputs
from hunch.nn.compiled_outputs import mean_compiled, outputs_compiled
from hunch.nn.mlp import ACTIVATIONS

pytestmark = pytest.mark.skipif(kernel() is None, reason="the kernel is not compiled here")


def pairs(members, hidden=(50, 50), activation="silu", out=1):
    """As the estimators have them: every second prior is its neighbour's with the other sign."""

    def network():
        return MLP(7, hidden, out, activation=activation)

    torch.manual_seed(0)
    found, prior = [], network()
    for k in range(members):
        if k % 2:
            with torch.no_grad():
                for parameter in prior[-1].parameters():
                    parameter.neg_()
        else:
            prior = network()
        found.append(RandomizedPrior(network(), prior, 0.5 + k))
    return Ensemble.from_modules(found).double()


def rows(n):
    return torch.randn(n, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(n))


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_it_is_what_the_ensemble_says(activation, lanes, monkeypatch):
    if lanes > kernel().hunch_lanes():
        pytest.skip("this processor has no wider vectors")
    monkeypatch.setattr(kernel(), "hunch_lanes", lambda: lanes)
    for net in (pairs(5, activation=activation), pairs(1, (3,), activation, 4)):
        for n in (1, 2, 49, 700):
            with torch.no_grad():
                expected = net(rows(n))
            found = outputs_compiled(net, rows(n))
            assert found.dtype == torch.float64
            torch.testing.assert_close(found, expected, rtol=2e-5, atol=1e-5)


def test_members_without_a_prior_and_linear_ones():
    for net in (
        Ensemble(lambda: MLP(7, [20], 2), 3, seed=0),
        Ensemble(lambda: nn.Linear(7, 1, bias=False), 3, seed=0),
    ):
        x = rows(60).float()
        torch.testing.assert_close(outputs_compiled(net, x), net(x).detach(), rtol=1e-5, atol=1e-6)


def test_priors_that_are_alike_by_chance_of_their_hidden_layers_are_told_apart():
    net = pairs(4)
    with torch.no_grad():
        net.get_parameter("prior.4.bias")[1] += 1.0
    with torch.no_grad():
        torch.testing.assert_close(
            outputs_compiled(net, rows(9)), net(rows(9)), rtol=1e-5, atol=1e-5
        )


def asked_of(net, x, monkeypatch):
    """What the mean is, and of how many networks the kernel was asked in one call and the next."""
    asked, ask = [], compiled_outputs._outputs

    def counted(layers, x):
        asked.append(len(layers[0].weight))
        return ask(layers, x)

    monkeypatch.setattr(compiled_outputs, "_outputs", counted)
    return mean_compiled(net, x), asked


# Five members have two pairs and one prior without its opposite; scales differ, or are all one.
@pytest.mark.parametrize(("members", "alike", "asked"), [
    (5, True, [5, 1]), (4, True, [4]), (5, False, [5, 3]), (1, True, [1, 1]),
])  # fmt: skip
def test_the_mean_needs_no_priors_that_cancel(members, alike, asked, monkeypatch):
    net, x = pairs(members, out=3), rows(60)
    if alike:
        net.get_buffer("scale").fill_(1.5)
    expected = outputs_compiled(net, x).mean(dim=0)
    found, of = asked_of(net, x, monkeypatch)
    assert of == asked
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_the_mean_of_members_without_a_prior_or_with_one_of_all():
    for net in (
        Ensemble(lambda: MLP(7, [20], 2), 3, seed=0),
        Ensemble(lambda: RandomizedPrior(MLP(7, [20], 2), MLP(7, [9], 2)), 3, seed=0),
    ):
        found = mean_compiled(net, rows(20).float())
        expected = outputs_compiled(net, rows(20).float()).mean(dim=0)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    assert mean_compiled(net, rows(5)[None]) is None


def test_bits_depend_neither_on_other_rows_nor_on_threads(monkeypatch):
    net, x = pairs(6), rows(1000)
    said = outputs_compiled(net, x)
    for some in (slice(5, 6), slice(0, 333), slice(990, None), torch.arange(999, -1, -1)):
        assert torch.equal(outputs_compiled(net, x[some]), said[:, some])
    monkeypatch.setattr("hunch.nn.compiled_outputs._WORK_OF_A_THREAD", 1.0)
    for threads in (2, 3, 9):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert torch.equal(outputs_compiled(net, x), said)


def test_what_it_would_pass_over_is_left_to_torch():
    x = rows(5)
    hooked = pairs(2)
    hooked.skeleton.model[0].register_forward_hook(lambda *_: None)
    normed = Ensemble(lambda: nn.Sequential(nn.Linear(7, 3), nn.LayerNorm(3)), 2, seed=0)
    other = pairs(2)
    other.engine = "vmap"
    for net in (hooked, normed, other, Ensemble(lambda: MLP(7, [2_100], 1), 2, seed=0)):
        assert outputs_compiled(net, x) is None
    net = pairs(2)
    assert outputs_compiled(net, x[:, :6]) is None
    assert outputs_compiled(net, x[None]) is None
    assert outputs_compiled(net, x.clone().requires_grad_()) is None


def test_predictions_are_those_of_torch_and_of_a_row_by_itself():
    net = pairs(5).float()
    x = rows(300).float()
    said = predict(net, x).members
    assert torch.equal(predict(net, x[7:8]).members, said[:, 7:8])
    net.engine = "bmm"
    torch.testing.assert_close(said, predict(net, x).members, rtol=2e-5, atol=1e-5)


def test_weights_changed_behind_torchs_back_are_those_that_are_asked():
    net, x = pairs(4).float(), rows(20)
    before = predict(net, x).members
    for p in net.parameters():
        p.data.mul_(0.5)
        p.detach().numpy()[...] += 0.25
    said = predict(net, x).members
    assert not torch.allclose(said, before)
    net.engine = "bmm"
    torch.testing.assert_close(said, predict(net, x).members, rtol=2e-5, atol=1e-5)
