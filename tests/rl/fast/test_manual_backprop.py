"""Gradients by hand against autograd."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from hunch.kernel import kernel
from hunch.nn import MLP, Constant, Ensemble, NoisyLinear, Streams, compiled_chain
from hunch.nn.compiled_chain import WIDEST, WIDEST_BESIDE_THREADS, CompiledChain
from hunch.rl import A2C, DQN
from hunch.rl.fast.manual_backprop import FastRunner
from hunch.rl.networks.noise import FreshNoise

RELU = nn.ReLU()


class Scaled(nn.Linear):
    """A linear layer that computes something else."""

    def forward(self, x):
        return 2 * super().forward(x)


def tied():
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.Linear(4, 3))


def tied_weights():
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 3))
    net[2].weight = net[0].weight
    return net


def frozen():
    net = nn.Sequential(NoisyLinear(4, 6), nn.ReLU(), NoisyLinear(6, 5), nn.Linear(5, 3))
    net[0].weight.requires_grad_(False)
    net[0].bias_sigma.requires_grad_(False)
    net[2].weight_sigma.requires_grad_(False)
    net[2].bias.requires_grad_(False)
    net[3].weight.requires_grad_(False)
    return net


def no_gradient_for_the_first():
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    net[0].requires_grad_(False)
    return net


def sequential(*layers):
    return lambda: nn.Sequential(*[layer() for layer in layers])


def linear(p, q, **kwargs):
    return lambda: nn.Linear(p, q, **kwargs)


def noisy_linear(p, q, **kwargs):
    return lambda: NoisyLinear(p, q, **kwargs)


def norm(*shape):
    return lambda: nn.LayerNorm(shape, elementwise_affine=False)


# A network, its input's shape, whether it goes by hand.
NETWORKS = {
    "linear": (linear(4, 3), (4,), True),
    "no bias": (sequential(linear(4, 5, bias=False), nn.ReLU, linear(5, 3, bias=False)), (4,), True),
    "mlp": (lambda: MLP(4, [6, 5], 3), (4,), True),
    "norms": (sequential(linear(4, 6), norm(6), nn.ReLU, linear(6, 3)), (4,), True),
    "noisy": (sequential(noisy_linear(4, 6), nn.ReLU, noisy_linear(6, 3)), (4,), True),
    "independent": (
        sequential(noisy_linear(4, 6, noise="independent"), nn.ReLU, linear(6, 3)), (4,), True
    ),
    "noise without bias": (
        sequential(
            noisy_linear(4, 6, bias=False), nn.ReLU,
            noisy_linear(6, 3, bias=False, noise="independent"),
        ), (4,), True,
    ),
    "streams": (
        sequential(
            linear(4, 6), nn.ReLU,
            lambda: Streams(
                nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1)), NoisyLinear(6, 2)
            ),
        ), (4,), True,
    ),
    "streams alone": (lambda: Streams(nn.Linear(4, 1), nn.Linear(4, 2)), (4,), True),
    "nested": (
        sequential(lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU()), linear(6, 3)), (4,), True
    ),
    "flattened": (sequential(nn.Flatten, linear(6, 5), nn.ReLU, linear(5, 3)), (2, 3), True),
    "relu of what comes in": (sequential(nn.Flatten, nn.ReLU, linear(6, 3)), (2, 3), True),
    "frozen": (frozen, (4,), True),
    "frozen first": (no_gradient_for_the_first, (4,), True),
    "one relu twice": (
        sequential(linear(4, 6), lambda: RELU, linear(6, 5), lambda: RELU, linear(5, 3)), (4,), True
    ),
    "tied layers": (tied, (4,), False),
    "tied weights": (tied_weights, (4,), False),
    "flattened later": (sequential(linear(3, 5), nn.Flatten, linear(10, 3)), (2, 3), False),
    "norm, then flattened": (sequential(norm(2, 3), nn.Flatten, linear(6, 3)), (2, 3), False),
    "tanh": (sequential(linear(4, 6), nn.Tanh, linear(6, 3)), (4,), True),
    "tanh alone": (sequential(nn.Flatten, nn.Tanh, linear(6, 3), nn.Tanh, nn.Tanh), (2, 3), True),
    "constant": (
        sequential(
            linear(4, 6), nn.Tanh, lambda: Streams(nn.Linear(6, 1), Constant(torch.ones(2)))
        ), (4,), True,
    ),
    "noise of a few, wide": (sequential(noisy_linear(4, 70), nn.ReLU, linear(70, 3)), (4,), True),
    "elu": (sequential(linear(4, 6), nn.ELU, linear(6, 3)), (4,), False),
    "subclass": (sequential(lambda: Scaled(4, 3)), (4,), False),
    "per sample": (noisy_linear(4, 3, per_sample=True), (4,), False),
    "affine norm": (sequential(linear(4, 6), lambda: nn.LayerNorm(6), linear(6, 3)), (4,), False),
}  # fmt: skip


def generators(count):
    return [torch.Generator().manual_seed(100 + i) for i in range(count)]


def runner(network, count):
    parameters = [p for p in network.parameters() if p.requires_grad]
    gradient = torch.full((sum(p.numel() for p in parameters),), float("nan"))
    return FastRunner(
        network, FreshNoise(network, generators(count)), parameters, gradient
    ), gradient


ALONE = ["tied layers", "tied weights", "per sample"]  # no agent stacks them
BY_HAND = [name for name, (*_, by_hand) in NETWORKS.items() if by_hand]
CASES = [(name, None) for name in NETWORKS] + [(name, 3) for name in NETWORKS if name not in ALONE]


@pytest.fixture(params=["compiled", "torch"])
def engine(request, monkeypatch):
    """Layers in the compiled kernel, if this installation has it, and in torch."""
    if request.param == "torch":
        monkeypatch.setattr(compiled_chain, "kernel", lambda: None)
    elif kernel() is None:
        pytest.skip("hunch was installed without the kernel")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    return request.param


@pytest.mark.parametrize(("name", "members"), CASES)
def test_outputs_and_gradients_equal_autograds(name, members, engine):
    make, shape, by_hand = NETWORKS[name]
    torch_state = torch.get_rng_state()
    torch.manual_seed(0)
    network = make() if members is None else Ensemble(make, members, seed=0)
    x = torch.randn(members or 1, 16, *shape)
    outward = torch.randn(members or 1, 16, 3)
    torch.set_rng_state(torch_state)

    run, gradient = runner(network, members or 1)
    given = x.clone()
    out, backward = run.differentiable(x)
    backward(outward)
    later = run(x)
    few = [run(x[:, :rows]) for rows in (5, 2, 1)]  # noise is applied otherwise to few rows

    twin = copy.deepcopy(network)
    noise = FreshNoise(twin, generators(members or 1))

    def call(x):
        return noise(x[0]).unsqueeze(0) if members is None else noise(x, per_member=True)

    expected = call(x)
    parameters = [p for p in twin.parameters() if p.requires_grad]
    grads = torch.autograd.grad(expected, parameters, outward)
    assert torch.allclose(out, expected, atol=1e-6)
    assert torch.allclose(gradient, torch.cat([g.flatten() for g in grads]), atol=1e-5)
    with torch.no_grad():
        assert torch.allclose(later, call(x), atol=1e-6)
        for found in few:
            assert torch.allclose(found, call(x[:, : found.shape[1]]), atol=1e-6)
    assert not out.requires_grad
    assert torch.equal(x, given)
    assert (run._by_hand(x, None) is not None) == by_hand


@pytest.mark.parametrize(("name", "members"), CASES)
def test_forwards_do_not_mix(name, members, engine):
    """Two forwards, then their backwards in either order, and one again: each its own gradient."""
    make, shape, _ = NETWORKS[name]
    torch_state = torch.get_rng_state()
    torch.manual_seed(0)
    network = make() if members is None else Ensemble(make, members, seed=0)
    first, second = torch.randn(2, members or 1, 16, *shape)
    outward = torch.randn(members or 1, 16, 3)
    torch.set_rng_state(torch_state)

    def gradients(order):
        run, gradient = runner(network, members or 1)
        backwards = []
        for x in (first, second):
            backwards.append(run.differentiable(x)[1])
            if order == "in turns":
                backwards[-1](outward)
                backwards[-1] = gradient.clone()
        if order == "in turns":
            return backwards
        found = {}
        for i in order:
            backwards[i](outward)
            found[i] = gradient.clone()
        return [found[0], found[1]]

    expected = gradients("in turns")
    again = (0, 1, 0) if name in BY_HAND else (0, 1)  # autograd forgets after one backward
    for order in ((1, 0), again):
        for found, right in zip(gradients(order), expected, strict=True):
            assert torch.equal(found, right)


@pytest.mark.parametrize("hook", ["register_forward_hook", "register_forward_pre_hook"])
def test_hooks_are_called(hook):
    network, called = MLP(4, [6], 3), []
    run, _ = runner(network, 1)
    run(torch.ones(1, 2, 4))
    handle = getattr(network[0], hook)(lambda *args: called.append(1))
    run(torch.ones(1, 2, 4))
    run.differentiable(torch.ones(1, 2, 4))
    assert called == [1, 1]
    handle.remove()
    run(torch.ones(1, 2, 4))
    assert called == [1, 1]


def test_backward_hooks_are_called():
    network, called = MLP(4, [6], 3), []
    run, _ = runner(network, 1)
    network[2].register_full_backward_hook(lambda *args: called.append(1))
    _, backward = run.differentiable(torch.ones(1, 2, 4))
    backward(torch.ones(1, 2, 3))
    assert called == [1]


def test_a_forward_put_into_a_layer_is_called():
    network = MLP(4, [6], 3)
    network[0].forward = lambda x: torch.zeros(*x.shape[:-1], 6)
    run, _ = runner(network, 1)
    assert torch.equal(run(torch.ones(1, 2, 4))[0], network(torch.ones(2, 4)))


def test_a_forward_between_does_not_disturb_the_gradient():
    """The same network chooses actions between the loss's forward and its backward."""
    network = nn.Sequential(NoisyLinear(4, 6), nn.ReLU(), nn.LayerNorm(6, elementwise_affine=False))
    x, outward = torch.randn(1, 16, 4), torch.randn(1, 16, 6)
    gradients = []
    for between in (False, True):
        run, gradient = runner(network, 1)
        _, backward = run.differentiable(x)
        if between:
            run(torch.randn(1, 16, 4))
        backward(outward)
        gradients.append(gradient)
    assert torch.equal(*gradients)


@pytest.mark.parametrize(
    "switches",
    [
        {"noisy": True, "double": True, "dueling": True, "layer_norm": True, "n_step": 2},
        {"distributional": True, "atoms": 7, "prioritized": True, "max_gradient_norm": 1.0},
    ],
    ids=["noisy", "categorical"],
)
@pytest.mark.parametrize("replicas", [1, 2])
def test_agents_learn_the_same_by_hand_and_by_autograd(switches, replicas):
    agents = [
        DQN("CartPole-v1", hidden_sizes=(16, 16), batch_size=16, replicas=replicas, **switches)
        for _ in range(2)
    ]
    for network in (agents[1].network, agents[1].target_network):
        list(network.modules())[-1].register_forward_hook(lambda *args: None)
    for agent in agents:
        agent.learn(60, progress=False)
    assert np.allclose(agents[0].losses, agents[1].losses, rtol=1e-3)
    assert torch.allclose(agents[0]._pair.vector, agents[1]._pair.vector, atol=2e-5)
    x = torch.zeros(replicas, 1, 4)
    by_hand = [agent._online._by_hand(x, None) is not None for agent in agents]
    assert by_hand == [True, False]


compiled = pytest.mark.skipif(kernel() is None, reason="hunch was installed without the kernel")


def parts_of(network, count=1):
    return [type(layer) for layer in runner(network, count)[0]._layers]


@compiled
def test_beside_several_threads_of_torch_the_kernel_runs_what_they_would_not_share(monkeypatch):
    many = Ensemble(lambda: MLP(4, [6], 3), 2, seed=0)
    narrow, wide = MLP(4, [WIDEST_BESIDE_THREADS], 3), MLP(4, [WIDEST_BESIDE_THREADS + 1], 3)
    for threads, expected in ((1, [True] * 3), (2, [True, False, False])):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=threads: n)
        found = [parts_of(narrow), parts_of(wide), parts_of(many, 2)]
        assert [CompiledChain in parts for parts in found] == expected


@compiled
def test_the_kernel_runs_as_many_layers_as_it_can_in_one_call(one_thread):
    assert parts_of(MLP(4, [6, 5], 3)) == [CompiledChain]
    assert parts_of(MLP(4, [WIDEST, WIDEST], 3)) == [CompiledChain]
    wide = parts_of(MLP(4, [8, WIDEST + 1], 3))
    assert wide[0] is CompiledChain
    assert CompiledChain not in wide[1:]
    assert CompiledChain not in parts_of(MLP(4, [6], 3).double())
    norms = nn.Sequential(
        nn.Linear(4, 6), nn.LayerNorm(6, elementwise_affine=False), nn.Linear(6, 2)
    )
    assert [part is CompiledChain for part in parts_of(norms)] == [True, False, True]


@compiled
@pytest.mark.parametrize("rows", [1, 2, 3, 7, 16, 17, 31, 100, 1000])
@pytest.mark.parametrize("widths", [(1, 1, 1), (3, 5, 2), (16, 17, 33), (9, 128, 4)])
def test_batches_and_layers_of_any_size(rows, widths):
    first, hidden, last = widths
    torch_state = torch.get_rng_state()
    torch.manual_seed(rows)
    network = nn.Sequential(NoisyLinear(first, hidden), nn.Tanh(), nn.Linear(hidden, last))
    x, outward = torch.randn(1, rows, first), torch.randn(1, rows, last)
    torch.set_rng_state(torch_state)
    run, gradient = runner(network, 1)
    out, backward = run.differentiable(x)
    backward(outward)
    given = x.clone().requires_grad_()
    expected = FreshNoise(network, generators(1))(given[0]).unsqueeze(0)
    grads = torch.autograd.grad(expected, list(network.parameters()), outward)
    right = torch.cat([grad.flatten() for grad in grads])
    assert torch.allclose(out, expected, atol=1e-5)
    assert torch.allclose(gradient, right, atol=1e-5 * float(right.abs().max() + 1))


@compiled
def test_parts_of_a_large_batch_of_several_members(one_thread):
    """Of which the gradients of inputs and parameters come together part by part."""

    def member():
        norm = nn.LayerNorm(40, elementwise_affine=False)
        return nn.Sequential(
            nn.Linear(5, 40), norm, NoisyLinear(40, 30), nn.ReLU(), nn.Linear(30, 2)
        )

    network = Ensemble(member, 3, seed=0)
    random = torch.Generator().manual_seed(0)
    x, outward = (torch.randn(3, 1500, width, generator=random) for width in (5, 2))
    run, gradient = runner(network, 3)
    out, backward = run.differentiable(x)
    backward(outward)
    expected = FreshNoise(network, generators(3))(x, per_member=True)
    grads = torch.autograd.grad(expected, list(network.parameters()), outward)
    right = torch.cat([grad.flatten() for grad in grads])
    assert torch.allclose(out, expected, atol=1e-5)
    assert torch.allclose(gradient, right, atol=1e-5 * float(right.abs().max()))


@compiled
def test_rows_with_gaps_between_them_and_members_that_share_them(one_thread):
    network = Ensemble(lambda: MLP(3, [5], 2), 4, seed=0)
    run, _ = runner(network, 4)
    wide = torch.randn(1, 6, 10, generator=torch.Generator().manual_seed(0))
    for x in (wide[..., 2:5], wide[..., ::4], wide[..., :3].expand(4, -1, -1)):
        given = x.expand(4, -1, -1)
        assert torch.allclose(run(given), network(given, per_member=True), atol=1e-6)


@compiled
def test_the_type_and_device_of_new_tensors_do_not_matter():
    run, _ = runner(MLP(2, [4], 1), 1)
    x = torch.ones(1, 3, 2)
    expected = run(x).clone()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            found = run.differentiable(x)[0]
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, expected)


@compiled
def test_no_rows_at_all():
    run, gradient = runner(MLP(2, [4], 1), 1)
    out, backward = run.differentiable(torch.ones(1, 0, 2))
    backward(torch.ones(1, 0, 1))
    assert out.shape == (1, 0, 1)
    assert not gradient.any()
    assert run(torch.ones(1, 0, 2)).shape == (1, 0, 1)


@compiled
def test_what_is_no_number_stays_none():
    run, gradient = runner(MLP(2, [4], 1), 1)
    out, backward = run.differentiable(torch.tensor([[[1.0, 2.0], [float("nan"), 0.0]]]))
    assert out.isnan().flatten().tolist() == [False, True]
    backward(torch.ones(1, 2, 1))
    assert gradient.isnan().any()


@compiled
@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_actor_critics_learn_the_same_in_the_kernel_and_in_torch(env, monkeypatch, one_thread):
    def learned():
        agent = A2C(env, num_envs=4, rollout_length=8, replicas=2, hidden_sizes=(16,), seed=3)
        return agent.learn(640, progress=False)

    ours = learned()
    monkeypatch.setattr(compiled_chain, "kernel", lambda: None)
    theirs = learned()
    assert np.allclose(ours.losses, theirs.losses, rtol=1e-3, atol=1e-4)
    weights = [torch.cat([p.flatten() for p in a.network.parameters()]) for a in (ours, theirs)]
    assert torch.allclose(*weights, atol=1e-4)


@pytest.mark.slow
@compiled
def test_losses_of_a_thousand_updates_agree_to_a_hundred_thousandth(monkeypatch):
    """On data that do not depend on what was learned."""

    def losses():
        agent = DQN("CartPole-v1", hidden_sizes=(32, 32), batch_size=32, epsilon=1.0, noisy=True,
                    learning_rate=1e-4, seed=5)  # fmt: skip
        monkeypatch.setattr(agent, "noisy", False)  # so that actions are drawn, not chosen
        return np.array(agent.learn(1032, progress=False).losses)

    ours = losses()
    monkeypatch.setattr(compiled_chain, "kernel", lambda: None)
    theirs = losses()
    assert len(ours) > 1000
    print("largest", np.abs(ours / theirs - 1).max())
    assert np.allclose(ours, theirs, rtol=1e-5)
