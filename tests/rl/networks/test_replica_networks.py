"""Networks of replicas against networks by themselves under torch's Adam."""

import pytest
import torch
from torch import nn

from hunch.nn import Constant, Normalizer, Streams
from hunch.rl.networks.replica_networks import ReplicaNetworks


def nets(count):
    torch.manual_seed(0)
    return [
        nn.Sequential(Normalizer(3), nn.Linear(3, 4), nn.Tanh(), Streams(nn.Linear(4, 1), Constant(torch.zeros(2))))
        for _ in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("count", [1, 3])
def test_networks_share_memory_and_move_as_under_adam(count):
    networks = ReplicaNetworks(nets(count), max_gradient_norm=0.5)
    twins = nets(count)
    optimizers = [torch.optim.Adam(twin.parameters(), lr=0.01) for twin in twins]
    x = torch.randn(count, 7, 3)

    def squares(out):
        return out.square().sum()

    for turn in range(6):
        due = list(range(count)) if turn % 2 == 0 else [count - 1]
        if len(due) == count:
            out = networks.stacked(x, per_member=True) if count > 1 else networks.stacked(x[0])
            grads = torch.autograd.grad(squares(out), networks.trained_stacked)
            gradient = torch.cat([grad.reshape(count, -1) for grad in grads], dim=1)
        else:
            gradient = networks.gradient(squares(networks.per_replica[due[0]](x[due[0]])), due[0])
        networks.step(due, gradient, 0.01)
        for r in due:
            optimizers[r].zero_grad()
            squares(twins[r](x[r])).backward()
            nn.utils.clip_grad_norm_(twins[r].parameters(), 0.5)
            optimizers[r].step()
        for r in due:
            networks.per_replica[r][0].update(x[r])
            twins[r][0].update(x[r])
    with torch.no_grad():
        for r in range(count):
            assert torch.allclose(networks.per_replica[r](x[r]), twins[r](x[r]), atol=1e-5)
            if count > 1:
                together = networks.stacked(x, per_member=True)[r]
                assert torch.allclose(together, twins[r](x[r]), atol=1e-5)
    assert networks.updates[-1] == 6
