"""Checkpoints written by other layers load into noisy layers through these key maps.

Only names differ: every library stores weights as (out, in). The noise that some of them store is
dropped, since ours is no part of a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class _Layout(NamedTuple):
    weight: str
    weight_sigma: str
    bias: str
    bias_sigma: str
    noise: tuple[str, ...]


LAYOUTS: Mapping[str, _Layout] = {
    # rainbow-is-all-you-need, CleanRL, torchrl and Kaixhin/Rainbow
    "rainbow": _Layout(
        "weight_mu", "weight_sigma", "bias_mu", "bias_sigma", ("weight_epsilon", "bias_epsilon")
    ),
    # thomashirtz/noisy-networks, factorised and independent
    "noisy-networks": _Layout(
        "mu_weight",
        "sigma_weight",
        "mu_bias",
        "sigma_bias",
        ("epsilon_input", "epsilon_output", "epsilon_weight", "epsilon_bias"),
    ),
    "tianshou": _Layout("mu_W", "sigma_W", "mu_bias", "sigma_bias", ("eps_p", "eps_q")),
    "pfrl": _Layout("mu.weight", "sigma.weight", "mu.bias", "sigma.bias", ()),
}


def adopt_layout(state: dict[str, Any], prefix: str, own: Mapping[str, Any]) -> None:
    """Rename one layer's entries of `state`, in place, from a known layout to ours.

    A checkpoint of `nn.Linear` or `nn.Conv2d` has no stds: the layer keeps its own. A layout that
    is incomplete or mixed with another is left alone, so that torch reports what is missing.

    Args:
        state: what `load_state_dict` hands to the layer; may hold other layers too.
        prefix: the layer's dotted name in `state`, with its final dot.
        own: the layer's parameters by name; None for a bias that it does not have.

    Example:
        >>> state = {"fc.weight_mu": 1, "fc.weight_sigma": 2, "fc.weight_epsilon": 3}
        >>> adopt_layout(state, "fc.", {"weight": 0, "weight_sigma": 0, "bias": None})
        >>> state
        {'fc.weight': 1, 'fc.weight_sigma': 2}
    """
    ours = [name for name, value in own.items() if value is not None]
    means = [name for name in ours if not name.endswith("_sigma")]
    present = {name for name in ("weight", "weight_sigma", "bias", "bias_sigma")
               if prefix + name in state}  # fmt: skip
    if present == set(means):
        state.update({prefix + name: own[name] for name in ours if name not in means})
        return
    for layout in LAYOUTS.values():
        theirs = {name: getattr(layout, name) for name in ours}
        complete = all(prefix + name in state for name in theirs.values())
        if complete and present <= set(theirs.values()):
            moved = {prefix + name: state.pop(prefix + key) for name, key in theirs.items()}
            for name in layout.noise:
                state.pop(prefix + name, None)
            state.update(moved)
            return
