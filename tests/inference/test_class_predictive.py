import math

import pytest
import torch

from hunch.errors import ConfigurationError, ShapeError
from hunch.inference import ClassPredictive, fit, out_of_bag, predict
from hunch.nn import MLP, Ensemble

G = torch.Generator().manual_seed(0)
LOGITS = 2 * torch.randn(30, 5, 3, generator=G, dtype=torch.float64)


def test_entropy_is_the_sum_of_its_parts():
    p = ClassPredictive(LOGITS)
    probs = LOGITS.softmax(-1)
    torch.testing.assert_close(p.probs, probs.mean(0))
    torch.testing.assert_close(p.log_probs.exp(), p.probs)
    torch.testing.assert_close(p.entropy, torch.distributions.Categorical(p.probs).entropy())
    own = torch.distributions.Categorical(probs).entropy()
    torch.testing.assert_close(p.aleatoric, own.mean(0))
    divergence = (probs * (probs / p.probs).log()).sum(-1).mean(0)  # of members from their mean
    torch.testing.assert_close(p.epistemic, divergence)
    assert (p.epistemic > 0.1).all()


def test_members_that_agree_have_no_epistemic_part_and_sure_ones_no_aleatoric_part():
    same = ClassPredictive(LOGITS[:1].expand(4, 5, 3))
    assert same.epistemic.max() < 1e-12
    certain = ClassPredictive(torch.tensor([[[0.0, -torch.inf]], [[-torch.inf, 0.0]]]))
    assert certain.aleatoric.item() == 0
    assert math.isclose(certain.epistemic.item(), math.log(2), rel_tol=1e-6)


def test_no_entropy_is_less_than_zero_nor_minus_zero():
    size = torch.tensor([1e6, 1e4, 30.0, 17.0, 9.0])
    logits = size[:, None] * torch.tensor([1.0, 0.0, -1.0])
    p = ClassPredictive(logits.expand(100, 5, 3))
    for part in (p.entropy, p.aleatoric, p.epistemic):
        assert not part.signbit().any()


def test_samples_follow_the_members():
    p = ClassPredictive(LOGITS)
    draws = p.sample(100_000, generator=torch.Generator().manual_seed(0))
    shares = torch.nn.functional.one_hot(draws, 3).double().mean(0)
    assert (shares - p.probs).abs().max() < 0.01  # six standard errors
    # One sample is one member over the whole batch, so sure members go together.
    sure = ClassPredictive(torch.tensor([[40.0, 0.0], [0.0, 40.0]]).unsqueeze(1).expand(2, 9, 2))
    together = sure.sample(20)
    assert (together == together[:, :1]).all()
    assert together.float().mean() not in (0, 1)


def test_distribution_and_log_likelihood():
    p = ClassPredictive(LOGITS)
    y = torch.tensor([0, 2, 1, 1, 0])
    torch.testing.assert_close(p.distribution().probs, p.probs)
    members = p.member_log_prob(y)
    assert members.shape == (30, 5)
    torch.testing.assert_close(members.exp().mean(0), p.distribution().log_prob(y).exp())


def test_predict_gives_classes_when_asked():
    x = torch.linspace(-1, 1, 40).reshape(-1, 1)
    y = (x[:, 0] > 0).long()
    net = Ensemble(lambda: MLP(1, [10], 2), 8, seed=0)
    fit(net, x, y, loss="cross_entropy", lr=0.02, steps=200, progress=False)
    p = predict(net, x, classes=True, batch_size=7)
    assert (p.probs.argmax(-1) == y).float().mean() > 0.9
    assert p.aleatoric[20] > p.aleatoric[0]
    with pytest.raises(
        ConfigurationError, match=r"`noise_std` got a value, but .* classes' probabilities"
    ):
        predict(net, x, classes=True, noise_std=0.1)


def test_members_are_predictions_whose_mean_is_that_of_the_ensemble():
    p = ClassPredictive(LOGITS)
    assert torch.equal(p.members, LOGITS.softmax(-1))
    assert torch.equal(p.members.mean(0), p.probs)
    weights = (torch.arange(30) != 7).float().unsqueeze(1).expand(30, 5)
    assert torch.equal(out_of_bag(p.members, weights).mean, LOGITS[7].softmax(-1))


def test_wrong_shapes_are_refused():
    with pytest.raises(
        ShapeError, match=r"`logits` got shape \(3, 2\); expected \(members, batch, classes\)"
    ):
        ClassPredictive(torch.zeros(3, 2))
    with pytest.raises(ShapeError, match=r"`y` got shape \(4,\); expected \(5,\)"):
        ClassPredictive(LOGITS).member_log_prob(torch.zeros(4))
