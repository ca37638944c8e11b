"""Noisy layers under autograd, deepcopy, pickle, vmap, compile and distributed training."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state

from hunch.errors import ConfigurationError
from hunch.nn import NoisyLinear, noise, reset_noise

KINDS = [
    ("factorized", False),
    ("factorized", True),
    ("independent", False),
    ("independent", True),
]


@pytest.fixture
def g():
    return torch.Generator().manual_seed(0)


def mlp(**settings):
    return nn.Sequential(NoisyLinear(4, 8, **settings), nn.ReLU(), NoisyLinear(8, 2, **settings))


# --- gradients


@pytest.mark.parametrize(("kind", "per_sample"), KINDS)
def test_gradients_of_all_parameters_are_right(kind, per_sample, g):
    layer = NoisyLinear(
        3, 2, noise=kind, per_sample=per_sample, generator=g, dtype=torch.float64, std_init=0.7
    )
    x = torch.randn(4, 3, generator=g, dtype=torch.float64, requires_grad=True)
    draw = layer.draw(g, batch_shape=(4,))
    names = [name for name, _ in layer.named_parameters()]

    def forward(x, *values):
        with layer.using(draw):
            return functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(forward, (x, *layer.parameters()))


@pytest.mark.parametrize(("kind", "per_sample"), KINDS)
def test_stds_receive_gradient(kind, per_sample):
    net = mlp(noise=kind, per_sample=per_sample)
    net(torch.ones(5, 4)).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in net[2].parameters())


def test_gradient_at_zero_std_is_finite():
    layer = NoisyLinear(3, 2, noise="independent", per_sample=True, std_init=0.0)
    x = torch.zeros(2, 3, requires_grad=True)
    layer(x).sum().backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters())
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(("kind", "per_sample"), KINDS)
def test_new_noise_between_forward_and_backward_changes_no_gradient(kind, per_sample, g):
    layer = NoisyLinear(3, 2, noise=kind, per_sample=per_sample, generator=g)
    noise(layer, "held")
    grads = []
    for disturbed in (False, True):
        reset_noise(layer, torch.Generator().manual_seed(1))
        layer.zero_grad()
        loss = layer(torch.ones(4, 3)).square().sum()
        if disturbed:
            reset_noise(layer)
            layer(torch.ones(4, 3))
        loss.backward()
        grads.append([p.grad.clone() for p in layer.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


@pytest.mark.parametrize("mode", ["fresh", "held"])
def test_two_forwards_then_one_backward(mode):
    net, x = mlp(), torch.ones(3, 4)
    noise(net, mode)
    (net(x) + net(x)).sum().backward()
    net.zero_grad()
    first = net(x).sum()
    first.backward()
    second = net(x).sum()  # accumulates
    second.backward()


def test_noise_drawn_in_inference_mode_can_be_trained_with():
    for settings in ({}, {"per_sample": True}):
        net, x = mlp(**settings), torch.ones(3, 4)
        with torch.inference_mode():
            noise(net, "held")
            reset_noise(net)
            net(x)
        net(x).sum().backward()


# --- copies


def test_deepcopy_after_a_forward_keeps_held_noise_and_then_goes_its_own_way():
    net, x = mlp(), torch.ones(3, 4)
    noise(net, "held")
    out = net(x)
    twin = copy.deepcopy(net)
    assert torch.equal(twin(x), out)
    reset_noise(twin)
    assert not torch.equal(twin(x), out)
    assert torch.equal(net(x), out)


def test_deepcopy_does_not_repeat_the_draws_of_a_given_generator():
    online, x = mlp(), torch.ones(3, 4)
    noise(online, "fresh", torch.Generator().manual_seed(0))
    target = copy.deepcopy(online)
    outs = [online(x), target(x), online(x), target(x)]
    assert all(not torch.equal(a, b) for i, a in enumerate(outs) for b in outs[:i])


def test_pickled_layer_repeats_itself():
    net, x = mlp(), torch.ones(3, 4)
    noise(net, "fresh", torch.Generator().manual_seed(0))
    twin = pickle.loads(pickle.dumps(net))
    assert torch.equal(twin(x), net(x))


def test_state_dict_round_trip_keeps_the_readers_noise():
    net, other, x = mlp(), mlp(), torch.ones(3, 4)
    noise(other, "held")
    held = [layer._held for layer in other if isinstance(layer, NoisyLinear)]
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(net.eval()(x), noise(other, "off").__enter__()(x))
    assert held == [layer._held for layer in other if isinstance(layer, NoisyLinear)]


# --- vmap, compile, distributed


@pytest.mark.parametrize(("kind", "per_sample"), KINDS)
def test_vmap_over_stacked_networks(kind, per_sample):
    nets = [mlp(noise=kind, per_sample=per_sample) for _ in range(4)]
    params, buffers = stack_module_state(nets)
    skeleton, x = copy.deepcopy(nets[0]), torch.ones(3, 4)

    def forward(params, buffers):
        return functional_call(skeleton, (params, buffers), (x,))

    out = torch.vmap(forward, randomness="different")(params, buffers)
    assert out.shape == (4, 3, 2)
    out.sum().backward()
    assert all(p.grad is not None for p in params.values())
    with noise(skeleton, "off"):
        means = torch.vmap(forward)(params, buffers)
    for net, mean in zip(nets, means, strict=True):
        torch.testing.assert_close(net.eval()(x), mean)


def test_vmap_gives_every_member_its_own_noise(g):
    layer, x = NoisyLinear(3, 2, generator=g), torch.ones(1, 3)
    stacked = {name: p.expand(2000, *p.shape) for name, p in layer.named_parameters()}
    out = torch.vmap(lambda p: functional_call(layer, p, (x,)), randomness="different")(stacked)
    assert len(out[:, 0, 0].unique()) == 2000


def test_vmap_refuses_to_hold_per_sample_noise_that_would_not_outlive_it():
    layer = NoisyLinear(3, 2, per_sample=True)
    noise(layer, "held")
    with pytest.raises(ConfigurationError, match="inside vmap"):
        torch.vmap(layer, randomness="different")(torch.ones(5, 4, 3))
    assert layer(torch.ones(4, 3)).shape == (4, 2)


@pytest.mark.parametrize(("kind", "per_sample"), KINDS)
def test_draws_with_a_member_axis(kind, per_sample, g):
    layers = [NoisyLinear(3, 2, noise=kind, per_sample=per_sample, generator=g) for _ in range(4)]
    params, _ = stack_module_state(layers)
    skeleton, x = copy.deepcopy(layers[0]), torch.randn(5, 3, generator=g)
    draws = skeleton.draw(g, members=4, batch_shape=x.shape[:-1])

    def forward(params, draw):
        with skeleton.using(draw):
            return functional_call(skeleton, params, (x,))

    out = torch.vmap(forward)(params, draws)
    for k, layer in enumerate(layers):
        with layer.using(tuple(part[k] for part in draws)):
            torch.testing.assert_close(out[k], layer(x))
    assert skeleton._given is None


@pytest.fixture
def fresh_dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize(("kind", "per_sample"), KINDS)
def test_compiles_in_one_graph_and_still_draws(kind, per_sample, backend, fresh_dynamo):
    net, x = mlp(noise=kind, per_sample=per_sample), torch.ones(3, 4)
    compiled = torch.compile(net, backend=backend, fullgraph=True)
    first, second = compiled(x), compiled(x)
    assert not torch.equal(first, second)
    second.sum().backward()
    assert net[2].weight_sigma.grad.abs().sum() > 0
    net.eval()
    torch.testing.assert_close(compiled(x), net(x))


@pytest.mark.parametrize("per_sample", [False, True])
def test_compiled_forward_follows_held_noise_without_compiling_again(per_sample, fresh_dynamo):
    from torch._dynamo.testing import CompileCounter

    counter = CompileCounter()
    net, x = mlp(per_sample=per_sample), torch.ones(3, 4)
    noise(net, "held")
    compiled = torch.compile(net, backend=counter, fullgraph=True)
    seen = []
    for _ in range(4):
        reset_noise(net)
        out = compiled(x)
        assert torch.equal(out, compiled(x))
        torch.testing.assert_close(out, net(x))
        seen.append(out)
    assert not torch.equal(seen[0], seen[1])
    # Held per-sample noise has a second graph, for the forward that draws it.
    assert counter.frame_count == 1 + per_sample


def test_distributed_training_survives_two_forwards(tmp_path):
    import torch.distributed as dist

    if not dist.is_available():
        pytest.skip("torch was built without distributed")
    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        net = nn.parallel.DistributedDataParallel(mlp())
        x = torch.ones(3, 4)
        (net(x) + net(x)).sum().backward()
        assert net.module[0].weight_sigma.grad.abs().sum() > 0
    finally:
        dist.destroy_process_group()
