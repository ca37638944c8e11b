import pytest
import torch

from hunch.rl.objectives.value_targets import bootstrapped_target, chosen, double_value


def test_targets_equal_the_formula_row_by_row():
    g = torch.Generator().manual_seed(0)
    reward, value = torch.randn(2, 6, generator=g)
    discount = torch.tensor([0.9, 0.0, 0.81, 0.0, 0.0, 0.5])
    target = bootstrapped_target(reward, discount, value)
    for i in range(6):
        expected = reward[i].item() + discount[i].item() * value[i].item()
        assert target[i].item() == pytest.approx(expected)


def test_a_worthless_value_behind_the_end_does_not_leak():
    target = bootstrapped_target(torch.ones(1), torch.zeros(1), torch.full((1,), 1e30))
    assert target.item() == 1.0


def test_double_value_chooses_with_one_and_judges_with_the_other():
    g = torch.Generator().manual_seed(0)
    q, selecting = torch.randn(2, 5, 3, generator=g)
    by_hand = [q[i, max(range(3), key=lambda a: selecting[i, a])] for i in range(5)]
    assert double_value(q, selecting).tolist() == [v.item() for v in by_hand]
    assert (double_value(q, selecting) <= q.amax(-1)).all()
    assert torch.equal(double_value(q, q), q.amax(-1))


def test_chosen_passes_gradient_to_the_chosen_entry_only():
    q = torch.zeros(3, 4, requires_grad=True)
    action = torch.tensor([1, 0, 3])
    chosen(q, action).sum().backward()
    assert torch.equal(q.grad, torch.nn.functional.one_hot(action, 4).float())
