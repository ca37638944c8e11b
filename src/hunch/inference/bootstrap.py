"""What each member of an ensemble gets to see: bootstrap weights and noise on the targets.

Every number here is a pure function of (seed, member, datum id), computed by hashing: nothing is
stored, batches may come in any order, a resumed run sees the same data, and a larger ensemble
begins with the members of a smaller one.
"""

from __future__ import annotations

from typing import Any, Literal, cast, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hunch.errors import ConfigurationError, DataError
from hunch.kernel import kernel
from hunch.seeding import derive, derive_each

Bootstrap = Literal["multinomial", "poisson", "exponential", "double_or_nothing", "none"]
Ids = Tensor | npt.NDArray[np.integer[Any]] | range | list[int]

# P(X <= k) of a Poisson variable with mean 1, up to where float64 reaches 1.
_POISSON_CDF = np.cumsum(np.exp(-1.0) / np.cumprod([1.0, *range(1, 19)]))


def bootstrap_weights(
    kind: Bootstrap,
    num_members: int,
    ids: Ids,
    *,
    seed: int = 0,
    epoch: int = 0,
) -> Tensor:
    """How much each datum counts for each member; every weight has mean 1.

    | kind | weights | variance |
    |---|---|---|
    | `"multinomial"` | counts of n draws with replacement from the n distinct ids | 1 − 1/n |
    | `"poisson"` | Poisson(1): the multinomial without its fixed sum | 1 |
    | `"exponential"` | Exponential(1): the Bayesian bootstrap, up to its sum | 1 |
    | `"double_or_nothing"` | 0 or 2 with probability ½ each | 1 |
    | `"none"` | 1 | 0 |

    Args:
        kind: one of the above.
        num_members: K, at least 1.
        ids: one integer for each datum, `(data,)`; equal ids are one datum and get equal weights.
        seed: at least 0.
        epoch: another epoch is another draw; at least 0.

    Returns:
        Weights `(members, data)`, float32. A weight depends on (seed, epoch, member, id) alone;
        `"multinomial"` alone depends on the set of ids too, though not on their order.

    Raises:
        ConfigurationError: for an unknown kind or a number out of range.
        DataError: if `ids` is empty or holds anything but integers.

    Example:
        >>> weights = bootstrap_weights("poisson", 3, range(4), seed=0)
        >>> weights.shape
        torch.Size([3, 4])
        >>> bool((weights[:, 2:] == bootstrap_weights("poisson", 3, [2, 3], seed=0)).all())
        True

    Reference:
        Rubin (1981), "The Bayesian bootstrap"; Owen & Eckles (2012), "Bootstrapping data arrays of
        arbitrary order", for double-or-nothing.
    """
    return weights_of_epochs(kind, num_members, ids, range(epoch, epoch + 1), seed=seed)[0]


def weights_of_epochs(
    kind: Bootstrap, num_members: int, ids: Ids, epochs: range, *, seed: int = 0, first: int = 0
) -> Tensor:
    """`bootstrap_weights` of several epochs at once, `(epochs, members, data)`.

    Args:
        kind: as there.
        num_members: as there.
        ids: as there.
        epochs: which.
        seed: as there.
        first: the number of the first member.

    Example:
        >>> weights_of_epochs("poisson", 3, range(4), range(10)).shape
        torch.Size([10, 3, 4])
    """
    check_bootstrap(kind)
    if num_members < 1:
        raise ConfigurationError(f"`num_members` got {num_members}; expected at least 1.")
    keys = _as_ids(ids)
    if kind == "none":
        return torch.ones(len(epochs), num_members, len(keys))
    if epochs.start < 0:
        raise ConfigurationError(f"`epoch` got {epochs.start}; expected at least 0.")
    stream = "multinomial" if kind == "multinomial" else "bootstrap"
    starts = _from_member(first, derive_each(seed, stream, last=epochs))
    weights: npt.NDArray[np.floating[Any]]
    if kind == "multinomial":
        weights = _multinomial(starts, num_members, keys)
    elif kind == "poisson":
        weights = _poisson(starts, num_members, keys)
    else:
        u = _uniform(starts, num_members, keys)
        weights = -np.log(u) if kind == "exponential" else 2.0 * (u < 0.5)
    return torch.from_numpy(weights.astype(np.float32, copy=False))


def standard_normals(
    num_members: int, ids: Ids, shape: tuple[int, ...], *, seed: int, first: int = 0
) -> Tensor:
    """Standard normal numbers that are a fixed function of (seed, member, id, position).

    Args:
        num_members: K, at least 1.
        ids: one integer for each datum, `(data,)`.
        shape: of one datum's target.
        seed: at least 0.
        first: the number of the first member.

    Returns:
        `(members, data, *shape)`, float64.

    Example:
        >>> standard_normals(3, range(4), (1,), seed=0).shape
        torch.Size([3, 4, 1])
    """
    keys = _as_ids(ids)
    columns = range(int(np.prod(shape)))
    starts = np.array([derive(seed, "target noise", c) for c in columns], dtype=np.uint64)
    starts = _from_member(first, starts)
    u = torch.from_numpy(_uniform(starts, num_members, keys)).movedim(0, -1)
    normals: Tensor = torch.special.ndtri(u)
    return normals.reshape(num_members, len(keys), *shape)


def check_bootstrap(kind: str) -> None:
    """Refuse an unknown kind of bootstrap.

    Raises:
        ConfigurationError: naming the kinds there are.
    """
    if kind not in get_args(Bootstrap):
        raise ConfigurationError(
            f"`bootstrap` got {kind!r}; expected one of {', '.join(get_args(Bootstrap))}."
        )


def _as_ids(ids: Ids) -> npt.NDArray[np.uint64]:
    array = np.asarray(ids)
    if array.ndim != 1 or not array.size or not np.issubdtype(array.dtype, np.integer):
        raise DataError(
            f"`ids` got {array.dtype} of shape {array.shape}; expected one integer for each datum."
        )
    return array.astype(np.int64).view(np.uint64)


def _multinomial(
    starts: npt.NDArray[np.uint64], num_members: int, keys: npt.NDArray[np.uint64]
) -> npt.NDArray[np.floating[Any]]:
    if (keys[1:] > keys[:-1]).all():
        return _draws(starts, num_members, len(keys))
    distinct, position = np.unique(keys, return_inverse=True)
    return _draws(starts, num_members, len(distinct))[..., position]


def _draws(
    starts: npt.NDArray[np.uint64], num_members: int, n: int
) -> npt.NDArray[np.floating[Any]]:
    """How often each of n things came in n draws of each member, `(starts, members, n)`."""
    library = kernel()
    if library is not None:
        found = np.empty((len(starts), num_members, n), np.float32)
        sizes = len(starts), num_members, n
        library.hunch_multinomial(starts.ctypes.data, *sizes, found.ctypes.data)
        return found
    rows = len(starts) * num_members
    u = _uniform(starts, num_members, np.arange(n, dtype=np.uint64)).reshape(rows, n)
    drawn = np.minimum((u * n).astype(np.int64), n - 1)
    offset = n * np.arange(rows)[:, None]  # one bincount for all members
    counts = np.bincount((drawn + offset).ravel(), minlength=n * rows)
    return counts.reshape(len(starts), num_members, n).astype(np.float64)


def _poisson(
    starts: npt.NDArray[np.uint64], num_members: int, keys: npt.NDArray[np.uint64]
) -> npt.NDArray[np.floating[Any]]:
    library = kernel()
    if library is None:
        u = _uniform(starts, num_members, keys)
        return np.searchsorted(_POISSON_CDF, u).astype(np.float64)
    keys = np.ascontiguousarray(keys)
    found = np.empty((len(starts), num_members, len(keys)), np.float32)
    library.hunch_poisson(
        starts.ctypes.data,
        len(starts),
        num_members,
        keys.ctypes.data,
        len(keys),
        _POISSON_CDF.ctypes.data,
        len(_POISSON_CDF),
        found.ctypes.data,
    )
    return found


def _uniform(
    starts: npt.NDArray[np.uint64], num_members: int, keys: npt.NDArray[np.uint64]
) -> npt.NDArray[np.float64]:
    """Uniform numbers in (0, 1), `(starts, members, keys)`, each a hash of the three."""
    members = np.arange(num_members, dtype=np.uint64)
    mixed = scattered(starts[:, None] + members * _WEYL)
    mixed = scattered(mixed[..., None] + keys * _WEYL)
    # The upper 53 bits, moved by half a step so that neither 0 nor 1 occurs.
    return ((mixed >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


_WEYL = np.uint64(0x9E3779B97F4A7C15)


def _from_member(first: int, starts: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Where streams start for those who count members from another than 0."""
    return starts + np.array([first], dtype=np.uint64) * _WEYL


def scattered(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finalizer (Steele, Lea & Flood 2014): a bijection that scatters all bits.

    Zero stays zero.

    Example:
        >>> scattered(np.array([0, 1], dtype=np.uint64))
        array([                  0, 6238072747940578789], dtype=uint64)
    """
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return cast("npt.NDArray[np.uint64]", x ^ (x >> np.uint64(31)))
