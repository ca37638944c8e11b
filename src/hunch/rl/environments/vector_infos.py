"""What the infos of a vector environment say of one of its environments.

Gymnasium's are a dict of arrays, with masks under "_" + key that say for whom an entry holds;
others', and Gymnasium's own behind `DictInfoToList`, are a list of dicts. The last observation of
an episode that was reset in the same step was called `final_observation` before it was `final_obs`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

Infos: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]]

_FINAL_OBSERVATION: Final = ("final_obs", "final_observation")
_FINAL_INFO: Final = "final_info"


def info_of(infos: Infos, i: int) -> Mapping[str, Any]:
    """What is said of environment `i`.

    Example:
        >>> info_of({"x": np.array([1, 2]), "_x": np.array([True, False])}, 1)
        {}
        >>> info_of([{"x": 1}, {"x": 2}], 1)
        {'x': 2}
    """
    if not isinstance(infos, Mapping):
        return infos[i] or {}
    return {
        key: values[i]
        for key, values in infos.items()
        if _is_by_environment(values, i)
        and not key.startswith("_")
        and _holds(infos.get(f"_{key}"), i)
    }


def final_observation_of(infos: Infos, i: int) -> Any | None:
    """The last observation of the episode of environment `i` that ended in this step, if given.

    Example:
        >>> final_observation_of({"final_obs": [np.array([3.0]), None]}, 0)
        array([3.])
    """
    own = info_of(infos, i)
    found = (own.get(name) for name in _FINAL_OBSERVATION)
    return next((observation for observation in found if observation is not None), None)


def final_info_of(infos: Infos, i: int) -> Mapping[str, Any]:
    """What is said of that episode's last step; all that is said where nothing is set apart.

    Example:
        >>> final_info_of({"x": np.array([1.0]), "final_info": {"x": np.array([2.0])}}, 0)
        {'x': np.float64(2.0)}
    """
    final = infos.get(_FINAL_INFO) if isinstance(infos, Mapping) else None
    if isinstance(final, Mapping):
        return info_of(final, i)
    own = info_of(infos, i)
    final = own.get(_FINAL_INFO)
    return final if isinstance(final, Mapping) else own


def _is_by_environment(values: Any, i: int) -> bool:
    if isinstance(values, np.ndarray):
        return values.ndim > 0 and len(values) > i
    return isinstance(values, list | tuple) and len(values) > i


def _holds(mask: Any, i: int) -> bool:
    return mask is None or bool(mask[i])
