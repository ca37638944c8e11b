"""Which arguments of an agent are without effect beside the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

_Settings = Mapping[str, Any]


def _without(switch: str) -> Callable[[_Settings], bool]:
    return lambda settings: switch in settings and not settings[switch]


def _own_network(settings: _Settings) -> bool:
    return settings.get("network") is not None


def _learns_policy(settings: _Settings) -> bool:
    return "bounds" in settings  # whose networks normalise themselves, if they are ready-made


def _finite(settings: _Settings) -> bool:
    return settings.get(_ACTIONS) is True


def _no_range(settings: _Settings) -> bool:
    return settings.get("distributional") in (False, "quantile")


_ACTIONS: Final = "finite actions"  # no argument: what the environment has
_IDLE: Final[Mapping[str, Callable[[_Settings], bool]]] = {
    "epsilon": lambda settings: bool(settings.get("noisy")),
    "random_steps": _without("noisy"),
    "noise_draws": _without("noisy"),
    "priority_exponent": _without("prioritized"),
    "priority_correction": _without("prioritized"),
    "atoms": _without("distributional"),
    "value_range": _no_range,
    "index_dim": _without("epinet"),
    "epinet_hidden_sizes": _without("epinet"),
    "value_weight": lambda settings: settings.get("baseline", "value") != "value",
    "hidden_sizes": _own_network,
    "layer_norm": lambda settings: _own_network(settings) or settings.get("hidden_sizes") == [],
    "activation": _own_network,
    "normalize": lambda settings: _learns_policy(settings) and _own_network(settings),
    "bounds": _finite,
    "std": _finite,
    "initial_std": _finite,
}


def idle_settings(settings: Mapping[str, Any], finite_actions: bool | None = None) -> list[str]:
    """The arguments that are without effect beside the others, such as ε beside noise.

    Args:
        settings: of an agent of hunch's, as `Agent.settings` gives them.
        finite_actions: whether its actions are a finite set; None if that is not known.

    Example:
        >>> from hunch.rl import DQN
        >>> idle_settings(DQN("CartPole-v1", noisy=True, prioritized=True).settings)
        ['epsilon', 'atoms', 'value_range']
    """
    known = {**settings, _ACTIONS: finite_actions}
    return [name for name in settings if name in _IDLE and _IDLE[name](known)]
