"""What a trained estimator is made of, as tensors by name, so that nothing needs to be pickled."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Arrays:
    """A record of numpy's arrays, kept under the names of its fields; a field may be None."""

    def to_state(self) -> dict[str, Tensor]:
        """Those that are there."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: torch.from_numpy(v) for name, v in values.items() if v is not None}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The record that `to_state` was called on; other names are left alone."""
        names = {field.name for field in dataclasses.fields(cls)} & tensors.keys()
        return cls(**{name: tensors[name].numpy() for name in names})


def named(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Tensor]:
    """The tensors of all parts, each with its part's name in front.

    Example:
        >>> named({"input": {"mean": torch.zeros(1)}})
        {'input.mean': tensor([0.])}
    """
    return {f"{part}.{name}": value for part, own in parts.items() for name, value in own.items()}
