"""Adam against torch's own optimisers."""

import numpy as np
import pytest
import torch

from hunch.adam import Adam, RowAdam


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
def test_tensors_move_as_torchs_adam_moves_them(dtype):
    """Complex ones stand for all that the fused kernel does not know, such as other devices."""
    torch.manual_seed(0)
    ours = [torch.randn(3, 2, dtype=dtype), torch.randn(5, dtype=dtype)]
    theirs = [torch.nn.Parameter(value.clone()) for value in ours]
    adam = Adam(ours)
    optimizer = torch.optim.Adam(theirs, lr=0.1)
    assert adam._fused == (dtype != torch.complex64)
    for _ in range(5):
        gradients = [torch.randn_like(value) for value in ours]
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient.clone()
        adam.step(ours, gradients, learning_rate=0.1)
        optimizer.step()
    for value, parameter in zip(ours, theirs, strict=True):
        torch.testing.assert_close(value, parameter.detach())


def test_tensors_of_several_types_move_together():
    """As members do of which some are in double precision; on some devices one kernel refuses."""
    torch.manual_seed(0)
    ours = [torch.randn(3), torch.randn(2, dtype=torch.float64), torch.randn(4)]
    theirs = [torch.nn.Parameter(value.clone()) for value in ours]
    adam, optimizer = Adam(ours), torch.optim.Adam(theirs, lr=0.1)
    for which in (None, [2, 1], [1]):
        moved = range(3) if which is None else which
        gradients = [torch.randn_like(ours[i]) for i in moved]
        for parameter in theirs:
            parameter.grad = None
        for i, gradient in zip(moved, gradients, strict=True):
            theirs[i].grad = gradient.clone()
        adam.step([ours[i] for i in moved], gradients, 0.1, which)
        optimizer.step()
    for value, parameter in zip(ours, theirs, strict=True):
        torch.testing.assert_close(value, parameter.detach())


def test_each_tensor_counts_its_own_steps():
    values = [torch.zeros(2), torch.zeros(2)]
    adam, alone = Adam(values), [torch.zeros(2)]
    other = Adam(alone)
    adam.step(values, [torch.ones(2), torch.ones(2)], 0.1)
    adam.step(values[1:], [torch.full((2,), 3.0)], 0.1, [1])
    for gradient in (1.0, 3.0):
        other.step(alone, [torch.full((2,), gradient)], 0.1)
    assert torch.equal(values[1], alone[0])
    assert adam.state_dict()["step"].tolist() == [1.0, 2.0]


def test_a_state_goes_on_to_the_same_bits():
    first, second = [torch.zeros(2)], [torch.zeros(2)]
    adam, taken_over = Adam(first), Adam(second)
    adam.step(first, [torch.ones(2)], 0.1)
    taken_over.load_state_dict(adam.state_dict())
    second[0].copy_(first[0])
    for own, values in ((adam, first), (taken_over, second)):
        own.step(values, [torch.full((2,), -0.3)], 0.1)
    assert torch.equal(*first, *second)


def test_rows_move_as_sparse_adam_moves_them():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(6, 3)).astype(np.float32)
    parameter = torch.nn.Parameter(torch.from_numpy(table.copy()))
    optimizer, adam = torch.optim.SparseAdam([parameter], lr=0.1), RowAdam(table)
    for rows in ([0, 2], [2, 5], [2], [0, 1, 5]):
        gradient = rng.normal(size=(len(rows), 3)).astype(np.float32)
        parameter.grad = torch.sparse_coo_tensor(
            torch.tensor([rows]), torch.from_numpy(gradient.copy()), (6, 3), check_invariants=True
        )
        adam.step(table, np.array(rows), gradient, 0.1)
        optimizer.step()
    np.testing.assert_allclose(table, parameter.detach().numpy(), rtol=1e-4, atol=1e-6)


def test_gradients_whose_square_has_no_end_stop_a_number_and_nothing_else():
    values = [torch.ones(2)]
    adam = Adam(values)
    for _ in range(3):
        adam.step(values, [torch.tensor([1e30, 1.0])], 0.1)
    assert values[0][0] == 1.0
    torch.testing.assert_close(values[0][1], torch.tensor(0.7))
