"""Rows that belong together, as all visits of a patient: one unit, in or out as a whole.

If what is wanted is a promise about new patients, a patient left out must be left out whole, and
counts once, however often they came.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hunch.errors import DataError, ShapeError

# 0.9 is a little more than nine tenths, which must not cost a whole unit.
ROUNDING: Final = 1e-9


def group_ids(groups: npt.ArrayLike, num_rows: int) -> npt.NDArray[np.int64]:
    """A number for each row, the same within a group, to be the `ids` of `fit`.

    Args:
        groups: numbers, texts or dates that name the group of each row, `(num_rows,)`; `3` and
            `3.0` are one group.
        num_rows: how many rows there are.

    Returns:
        `(num_rows,)`. A number depends on the group's name, not on where its rows stand or which
        other groups there are.

    Raises:
        ShapeError: if there is not one entry for each row.
        DataError: if a row has no group: None, NaN or NaT.

    Example:
        >>> ids = group_ids(["ann", "bob", "ann"], 3)
        >>> bool(ids[0] == ids[2]), bool(ids[0] == ids[1])
        (True, False)
    """
    array = np.asarray(groups)
    if array.shape != (num_rows,):
        raise ShapeError(
            f"`groups` got shape {array.shape}; expected ({num_rows},), one entry for each row."
        )
    absent = _absent(array)
    if absent.any():
        raise DataError(
            f"`groups` holds {array[absent][0]!s} in row {int(absent.argmax())}; expected a group "
            "for each row: give a row without one a name that no other has."
        )
    names = np.array([_name(value) for value in array.tolist()], dtype=object)
    different, place = np.unique(names, return_inverse=True)
    return np.array([_hashed(name) for name in different], np.int64)[place]


def shares_of_groups(ids: npt.NDArray[Any], weight: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """How much each row counts if all groups count alike, with sum 1 in each group.

    Args:
        ids: of each row's group, `(rows,)`.
        weight: of each row within its group, above 0.

    Example:
        >>> shares_of_groups(np.array([7, 7, 9]), np.array([1.0, 3.0, 5.0]))
        array([0.25, 0.75, 1.  ])
    """
    _, place = np.unique(ids, return_inverse=True)
    shares: npt.NDArray[np.float64] = weight / np.bincount(place, weight)[place]
    return shares


@dataclass(frozen=True)
class Units:
    """What is exchangeable: data, or groups of them, among which each datum has a share.

    Args:
        count: how many there are.
        share: of each datum in its group, `(data,)`; None if each stands for itself.
        name: of several, for messages.

    Example:
        >>> units = Units.of(4, ["a", "a", "a", "b"])
        >>> units.count, units.smallest(torch.tensor([1.0, 2.0, 3.0, 4.0]), rank=1.2)
        (2, tensor(4.))
    """

    count: int
    share: Tensor | None = None
    name: str = "data"

    @classmethod
    def of(cls, num_data: int, groups: npt.ArrayLike | None) -> Units:
        """Of so many data, given what names each one's group, if they come in groups."""
        if groups is None:
            return cls(num_data)
        ids = group_ids(groups, num_data)
        share = torch.from_numpy(shares_of_groups(ids, np.ones(num_data)))
        return cls(len(np.unique(ids)), share, "groups")

    def smallest(self, values: Tensor, rank: float) -> Tensor:
        """Along the first axis, the least value up to which there are so many units."""
        if self.share is None:
            return values.kthvalue(math.ceil(rank - ROUNDING), dim=0).values
        ordered, order = values.sort(dim=0)
        total = self.share.to(values.device)[order].cumsum(dim=0)
        place = (total < rank - ROUNDING).sum(dim=0, keepdim=True).clamp_max(len(values) - 1)
        return ordered.gather(0, place).squeeze(0)


def _absent(array: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(array), bool)
    if array.dtype.kind in "Mf":
        found[:] = np.isnat(array) if array.dtype.kind == "M" else np.isnan(array)
    elif array.dtype.kind == "O":
        # Whatever stands for "missing" is not equal to itself, or is None.
        found[:] = [value is None or _differs(value) for value in array]
    return found


def _differs(value: Any) -> bool:
    """Whether a value is none: pandas's NA does not even say whether it equals itself."""
    try:
        return bool(value != value)
    except TypeError:
        return True


def _name(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _hashed(name: str) -> int:
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
