"""Members that differ in anything: right by some engine, or refused; never member 0 for all."""

import copy
import functools
import types
from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from test_module_zoo import ZOO, K
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map

from hunch.errors import ConfigurationError
from hunch.nn import Ensemble

# vmap asked for by name runs some layers by a slow way of its own, and says so.
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")

ENGINES = ("auto", "bmm", "vmap", "loop")


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@functools.cache
def scaling(base):
    """The class with outputs that `factor()` of the instance scales."""

    class Scaling(base):
        def forward(self, *inputs, **keywords):
            outputs = super().forward(*inputs, **keywords)
            factor = self.factor(self)
            return tree_map(lambda t: t * factor if isinstance(t, torch.Tensor) else t, outputs)

    return Scaling


def scaled(module, factor):
    module.__class__ = scaling(type(module))
    module.factor = factor
    return module


# Each gives a module a factor of 1, 2 or 3, kept in another way.


def in_list(module, k):
    module.factors = [1.0, [k + 1.0]]
    return scaled(module, lambda m: m.factors[1][0])


def in_dict(module, k):
    module.settings = {"factor": {"value": k + 1.0}}
    return scaled(module, lambda m: m.settings["factor"]["value"])


def in_array(module, k):
    module.array = np.array([1.0, k + 1.0])
    return scaled(module, lambda m: float(m.array[1]))


def in_tensor(module, k):
    module.plain = torch.tensor(k + 1.0)
    return scaled(module, lambda m: m.plain)


def in_private(module, k):
    module._factor = k + 1
    return scaled(module, lambda m: m._factor)


def in_hook(module, k):
    module.register_forward_hook(
        lambda m, i, o: tree_map(lambda t: t * (k + 1) if isinstance(t, torch.Tensor) else t, o)
    )
    return module


def in_buffer(module, k):
    module.register_buffer("factor_buffer", torch.tensor(k + 1.0))
    return scaled(module, lambda m: m.factor_buffer)


def in_hidden_modules(module, k):
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, k + 1.0)
    module.hidden = [layer]
    return scaled(module, lambda m: m.hidden[0].weight[0, 0])


@dataclass
class Settings:
    factor: float
    seen: list = field(default_factory=list, compare=False)


class Slotted:
    __slots__ = ("factor",)

    def __init__(self, factor):
        self.factor = factor

    def __eq__(self, other):  # says nothing about what it holds
        return isinstance(other, Slotted)

    __hash__ = None

    def of(self, module):
        return self.factor


def in_dataclass(module, k):
    module.settings = Settings(1.0, [k + 1.0])
    return scaled(module, lambda m: m.settings.seen[0])


def in_method(module, k):
    return scaled(module, Slotted(k + 1.0).of)


def in_partial(module, k):
    return scaled(module, functools.partial(lambda factor, m: factor, k + 1.0))


def in_closure(module, k):
    kept = deque([k + 1.0])
    return scaled(module, lambda m: kept[0])


def in_default(module, k):
    return scaled(module, lambda m, *, factor=k + 1.0: factor)


def in_function_attribute(module, k):
    def factor(m):
        return m.factor.value

    factor.value = k + 1.0
    return scaled(module, factor)


def in_class(module, k):
    class Named(scaling(type(module))):
        value = k + 1.0

    module.__class__ = Named
    module.factor = lambda m: type(m).value
    return module


def in_own_forward(module, k):
    forward = type(module).forward

    def scaled_forward(self, *inputs, **keywords):
        outputs = forward(self, *inputs, **keywords)
        return tree_map(lambda t: t * (k + 1) if isinstance(t, torch.Tensor) else t, outputs)

    module.forward = types.MethodType(scaled_forward, module)
    return module


def in_counter(module, k):
    module.counts = Counter(a=k + 1)
    return scaled(module, lambda m: m.counts["a"])


def in_set(module, k):
    module.kinds = {k + 1.0}
    return scaled(module, lambda m: max(m.kinds))


def in_closure_over_itself(module, k):
    module.register_buffer("own", torch.tensor(k + 1.0))
    return scaled(module, lambda m: module.own)


MUST = (
    in_list,
    in_dict,
    in_array,
    in_tensor,
    in_private,
    in_hook,
    in_buffer,
    in_hidden_modules,
)
MORE = (
    in_dataclass,
    in_method,
    in_partial,
    in_closure,
    in_default,
    in_function_attribute,
    in_class,
    in_own_forward,
    in_counter,
    in_set,
    in_closure_over_itself,
)


def verdict(members, alone, inputs, keywords, engine):
    """What an engine makes of members: "right", "refused", or how far it is off."""
    try:
        outputs = Ensemble.from_modules(members, engine=engine).eval()(*inputs, **keywords)
    except ConfigurationError as refusal:
        return "refused" if "expected" in str(refusal) or "so " in str(refusal) else str(refusal)
    for k, expected in enumerate(alone):
        for a, b in zip(tree_leaves(outputs), tree_leaves(expected), strict=True):
            if isinstance(b, torch.Tensor) and not torch.allclose(a[k], b, atol=1e-5, rtol=1e-5):
                return f"silent: {(a[k] - b).abs().max():.3g}"
    return "right"


def verdicts(name, differ):
    """The verdict of each engine on members of a kind of the zoo."""
    kind = ZOO[name]
    members = [differ(kind.make(), k).eval() for k in range(K)]
    inputs, keywords = kind.inputs(), dict(kind.keywords)
    with torch.no_grad():
        alone = [copy.deepcopy(m)(*inputs, **keywords) for m in members]
        found = {e: verdict(members, alone, inputs, keywords, e) for e in ENGINES}
        # Members that are alike in all this are no worse for having it.
        same = [differ(kind.make(), 0).eval() for _ in range(K)]
        alone = [m(*inputs, **keywords) for m in same]
        found["alike"] = verdict(same, alone, inputs, keywords, "auto")
    return found


# 32 kinds × 8 ways of differing × 4 engines: about 12 s.
@pytest.mark.parametrize("name", ZOO)
def test_members_that_differ_are_run_right_or_refused(name):
    for differ in MUST:
        found = verdicts(name, differ)
        assert not any("silent" in v for v in found.values()), (differ.__name__, found)
        assert found["auto"] == ("right" if differ is in_buffer else "refused")
        assert found["alike"] == ("refused" if differ is in_hidden_modules else "right"), differ


@pytest.mark.parametrize("differ", MORE)
def test_other_places_for_a_difference(differ):
    for name in ("mlp", "bare parameter", "lstm", "nested"):
        found = verdicts(name, differ)
        assert set(found.values()) <= {"right", "refused"}, (name, found)
        assert found["auto"] == "refused"
        assert found["alike"] == ("refused" if differ is in_closure_over_itself else "right")
