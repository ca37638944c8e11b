"""A predictive as a graph: torch.export and ONNX Runtime say what `predict` says."""

import importlib.util

import pytest
import torch
from torch import nn

from hunch.errors import ConfigurationError
from hunch.inference import PredictiveModule, predict
from hunch.nn import (
    MLP,
    Ensemble,
    Epinet,
    GaussianHead,
    NoisyLinear,
    PostHocEpinet,
    RandomizedPrior,
    noisy,
)

X = torch.randn(11, 4, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(11, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def prior_member():
    return RandomizedPrior(MLP(4, [16], 2), MLP(4, [8], 2))


def gaussian():
    return GaussianHead(prior_member(), MLP(4, [8], 2))


def convolutional():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
    )


class OwnClass(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))


def normed():
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.SiLU(), nn.Linear(8, 3))


def attentive():
    layer = nn.TransformerEncoderLayer(1, 1, 4, dropout=0.0, batch_first=True)
    return nn.Sequential(nn.Unflatten(1, (4, 1)), layer, nn.Flatten(), nn.Linear(4, 3))


def noisy_member():
    return nn.Sequential(NoisyLinear(4, 8), nn.ReLU(), NoisyLinear(8, 3))


def epinet():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Epinet(MLP(4, [16], 3), index_dim=5)


def frozen():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PostHocEpinet(OwnClass(), X)


# How it is built, what `predict` is told, its inputs.
CASES = {
    "stacked linear layers": (lambda: Ensemble(prior_member, 7, seed=0), {"noise_std": 0.3}, X),
    "without noise": (lambda: Ensemble(prior_member, 7, seed=0), {}, X),
    "learned noise": (lambda: Ensemble(gaussian, 5, seed=0), {}, X),
    "classes": (lambda: Ensemble(lambda: MLP(4, [16], 3), 7, seed=0), {"classes": True}, X),
    "vmap": (lambda: Ensemble(OwnClass, 5, seed=0), {"classes": True}, X),
    "batch norm": (lambda: Ensemble(normed, 5, seed=0, engine="vmap"), {"classes": True}, X),
    "layer norm": (
        lambda: Ensemble(
            lambda: nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8)), 5, seed=0, engine="vmap"
        ),
        {},
        X,
    ),
    "group norm": (
        lambda: Ensemble(lambda: nn.Sequential(nn.Linear(4, 8), nn.GroupNorm(2, 8)), 5, seed=0),
        {},
        X,
    ),
    "attention": (lambda: Ensemble(attentive, 3, seed=0), {"classes": True}, X),
    "loop": (lambda: Ensemble(convolutional, 3, seed=0), {"classes": True}, IMAGES),
    "epinet": (epinet, {"noise_std": 0.1}, X),
    "epinet of classes": (epinet, {"classes": True, "num_members": 20, "seed": 3}, X),
    "frozen network": (frozen, {"classes": True, "num_members": 30}, X),
    "noisy layers": (lambda: Ensemble(noisy_member, 5, seed=0), {"classes": True}, X),
    "converted": (lambda: Ensemble(lambda: noisy(MLP(4, [8], 2)), 5, seed=0), {}, X),
}


def built(case):
    make, how, x = CASES[case]
    net = make()
    if isinstance(net, Ensemble):  # batch norm gets statistics of its own
        with torch.no_grad(), torch.random.fork_rng():
            net(x)
    p = predict(net, x, **how)
    said = (p.probs, p.epistemic) if how.get("classes") else (p.mean, p.std)
    return net, PredictiveModule(net, **how), x, said


def exported(module, x):
    batch = torch.export.Dim("batch")
    return torch.export.export(module, (x[:3],), dynamic_shapes=({0: batch},))


@pytest.mark.every(2)
@pytest.mark.parametrize("case", CASES)
def test_the_exported_graph_says_what_predict_says_for_any_batch(case):
    _, module, x, said = built(case)
    torch.testing.assert_close(module(x), said, rtol=0, atol=1e-5)
    program = exported(module, x).module()
    torch.testing.assert_close(program(x), said, rtol=0, atol=1e-5)
    one = program(x[:1])
    torch.testing.assert_close(one, tuple(t[:1] for t in said), rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore")  # from what the converter imports
def test_onnx_runtime_says_what_predict_says_for_any_batch(case, tmp_path):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    import onnxruntime

    _, module, x, said = built(case)
    path = str(tmp_path / "net.onnx")
    torch.onnx.export(
        module,
        (x[:3],),
        path,
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        input_names=["x"],
        output_names=["mean", "std"],
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for rows in (len(x), 1):
        found = tuple(map(torch.from_numpy, session.run(None, {"x": x[:rows].numpy()})))
        torch.testing.assert_close(found, tuple(t[:rows] for t in said), rtol=0, atol=1e-5)


def test_it_holds_a_copy_that_stays_in_eval_mode_and_leaves_the_ensemble_alone():
    net, module, x, said = built("batch norm")
    assert net.training
    assert all(p.requires_grad for p in net.parameters())
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
    module.train()
    torch.testing.assert_close(module(x), said, rtol=0, atol=1e-5)
    assert not any(part.training for part in module.modules())
    assert not any(p.requires_grad for p in module.parameters())


def test_its_indices_move_and_are_kept_with_it():
    _, module, x, said = built("epinet")
    assert module.double()(x.double())[0].dtype == torch.float64
    again = PredictiveModule(epinet(), noise_std=0.1, seed=9)
    again.load_state_dict(module.float().state_dict())
    torch.testing.assert_close(again(x), said, rtol=0, atol=1e-5)


def test_wrong_use_is_refused():
    with pytest.raises(ConfigurationError, match="`ensemble` got MLP"):
        PredictiveModule(MLP(4, [3], 1))
    with pytest.raises(ConfigurationError, match="`noise_std` got -1; expected"):
        PredictiveModule(epinet(), noise_std=-1)
    with pytest.raises(ConfigurationError, match="the noise is in the GaussianHead already"):
        PredictiveModule(Ensemble(gaussian, 2, seed=0), noise_std=0.1)
    with pytest.raises(ConfigurationError, match="the noise is in the classes' probabilities"):
        PredictiveModule(epinet(), noise_std=0.1, classes=True)
    with pytest.raises(ConfigurationError, match="`num_members` got 3 for an ensemble of 2"):
        PredictiveModule(Ensemble(gaussian, 2, seed=0), num_members=3)
