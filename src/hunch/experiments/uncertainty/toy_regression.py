"""The one-dimensional data that papers on uncertainty draw their figures with, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from torch import Tensor

from hunch.errors import ConfigurationError
from hunch.seeding import numpy_generator


def osband2016(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Twenty points in two clusters: 12 with x from U(0, 0.6), 8 from U(0.8, 1).

    y = x + sin(4(x + ε)) + sin(13(x + ε)) + ε with one ε ~ N(0, 0.03²) for each point; plotted on
    [−1, 2].

    Args:
        seed: decides x and ε.

    Returns:
        x and y, each `(20, 1)`.

    Example:
        >>> x, y = osband2016()
        >>> x.shape, y.shape
        (torch.Size([20, 1]), torch.Size([20, 1]))

    Reference:
        Osband, Blundell, Pritzel & Van Roy (2016), "Deep exploration via bootstrapped DQN",
        appendix A; the split into 12 and 8 follows later re-implementations.
    """
    rng = numpy_generator(seed, "osband2016")
    x = np.concatenate([rng.uniform(0, 0.6, 12), rng.uniform(0.8, 1, 8)])
    noise = rng.normal(0, 0.03, 20)
    y = x + np.sin(4 * (x + noise)) + np.sin(13 * (x + noise)) + noise
    return _columns(x, y)


def enn(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Twenty points on two short grids, ten on [0, 0.5] and ten on [1, 1.5].

    y = x + sin(3x) + sin(12x) + w with w = 0.1 times the first twenty draws of numpy's
    `RandomState(seed)`, so that seed 0 gives the published points; plotted on [−1, 2].

    Args:
        seed: decides w.

    Returns:
        x and y, each `(20, 1)`.

    Example:
        >>> x, y = enn()
        >>> round(y[0].item(), 3)
        0.176

    Reference:
        The regression data of google-deepmind/enn, by the first author of the randomised priors.
    """
    x = np.concatenate([np.linspace(0, 0.5, 10), np.linspace(1, 1.5, 10)])
    # The old generator on purpose: it is the published stream.
    w = np.random.RandomState(seed).randn(20) * 0.1
    return _columns(x, x + np.sin(3 * x) + np.sin(12 * x) + w)


def blundell2015(seed: int = 0, num_data: int = 100) -> tuple[Tensor, Tensor]:
    """Points with x from U(0, 0.5) and noise inside the waves.

    y = x + 0.3 sin(2π(x + ε)) + 0.3 sin(4π(x + ε)) + ε with ε ~ N(0, 0.02²).

    Args:
        seed: decides x and ε.
        num_data: number of points.

    Returns:
        x and y, each `(num_data, 1)`.

    Example:
        >>> x, y = blundell2015(num_data=30)
        >>> y.shape
        torch.Size([30, 1])

    Reference:
        Blundell, Cornebise, Kavukcuoglu & Wierstra (2015), "Weight uncertainty in neural
        networks", section 5.2.
    """
    rng = numpy_generator(seed, "blundell2015")
    x = rng.uniform(0, 0.5, num_data)
    noise = rng.normal(0, 0.02, num_data)
    waves = np.sin(2 * np.pi * (x + noise)) + np.sin(4 * np.pi * (x + noise))
    return _columns(x, x + 0.3 * waves + noise)


TOY_DATA: Final[dict[str, Callable[[int], tuple[Tensor, Tensor]]]] = {
    "osband2016": osband2016,
    "enn": enn,
    "blundell2015": blundell2015,
}


def toy_data(name: str, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The data of that name.

    Raises:
        ConfigurationError: if there are none.

    Example:
        >>> toy_data("enn")[0].shape
        torch.Size([20, 1])
    """
    try:
        return TOY_DATA[name](seed)
    except KeyError:
        raise ConfigurationError(
            f"`name` got {name!r}; expected one of {', '.join(TOY_DATA)}."
        ) from None


def _columns(x: np.ndarray, y: np.ndarray) -> tuple[Tensor, Tensor]:
    return (
        torch.from_numpy(x.astype(np.float32)).unsqueeze(1),
        torch.from_numpy(y.astype(np.float32)).unsqueeze(1),
    )
