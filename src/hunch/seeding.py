"""One seed becomes many independent streams: for torch, for numpy, for environments.

A stream is named by the seed and a path of keys (`"init", 3`): the same path gives the same stream
on every machine, and no stream depends on how much another was used. Nothing here touches the
global random state, except inside `default_generator_seeded` and `drawing_from`, which put it back.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hunch.errors import ConfigurationError
from hunch.validation import whole_number

if TYPE_CHECKING:
    import torch

Key = int | str


def check_seed(seed: int) -> int:
    """Return `seed` as an int, or say why it is none.

    Raises:
        ConfigurationError: if `seed` is not an integer of at least 0.

    Example:
        >>> check_seed(7)
        7
    """
    return whole_number("seed", seed, at_least=0, at_most=math.inf)


def _sequence(seed: int, keys: tuple[Key, ...]) -> np.random.SeedSequence:
    # Text keys are hashed with a fixed function: Python's own `hash` changes from run to run.
    path = [
        int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest(), "little")
        if isinstance(key, str)
        else int(key)
        for key in keys
    ]
    return np.random.SeedSequence(check_seed(seed), spawn_key=path)


def derive(seed: int, *keys: Key) -> int:
    """A 63-bit seed that is a fixed function of `seed` and `keys`.

    Args:
        seed: the run's seed, at least 0.
        keys: what the stream is for, as text and non-negative integers.

    Example:
        >>> derive(0, "init", 1) == derive(0, "init", 1)
        True
        >>> derive(0, "init", 1) == derive(0, "init", 2)
        False
    """
    return int(_sequence(seed, keys).generate_state(1, np.uint64)[0] >> np.uint64(1))


def derive_each(seed: int, *keys: Key, last: range) -> npt.NDArray[np.uint64]:
    """`derive(seed, *keys, k)` for each k of `last`; of many at once at a hundredth of the time.

    Args:
        seed: the run's seed, at least 0.
        keys: what the streams are for; at least one.
        last: what tells them apart.

    Example:
        >>> derive_each(7, "epoch", last=range(3, 5)).tolist() == [
        ...     derive(7, "epoch", 3),
        ...     derive(7, "epoch", 4),
        ... ]
        True

    Reference:
        O'Neill (2015), "Developing a seed_seq alternative", which numpy's `SeedSequence` follows.
    """
    if last.stop > 2**32:  # numbers that are two words
        return np.array([derive(seed, *keys, k) for k in last], dtype=np.uint64)
    before = _sequence(seed, keys)
    words = max(4, -(-seed.bit_length() // 32)) + len(keys)
    # Each word has been mixed into each of the pool's four, the first four also into each other.
    constant = _INIT_A * pow(_MULT_A, 4 * words, 2**32) % 2**32
    word = np.arange(last.start, last.stop, last.step, dtype=np.uint32)
    state = []
    for into in before.pool[:2]:
        hashed = word ^ np.uint32(constant)
        constant = constant * _MULT_A % 2**32
        hashed *= np.uint32(constant)
        hashed ^= hashed >> np.uint32(16)
        mixed = np.uint32(int(into) * _MIX_L % 2**32) - hashed * np.uint32(_MIX_R)
        state.append(mixed ^ mixed >> np.uint32(16))
    constant = _INIT_B
    for part in state:
        part ^= np.uint32(constant)
        constant = constant * _MULT_B % 2**32
        part *= np.uint32(constant)
        part ^= part >> np.uint32(16)
    low, high = (part.astype(np.uint64) for part in state)
    return (low | high << np.uint64(32)) >> np.uint64(1)


# Constants of numpy's `SeedSequence`, whose streams numpy has promised not to change.
_INIT_A, _MULT_A, _INIT_B, _MULT_B = 0x43B0D7E5, 0x931E8875, 0x8B51F9DD, 0x58F38DED
_MIX_L, _MIX_R = 0xCA01F9DD, 0x4973F715


def numpy_generator(seed: int, *keys: Key) -> np.random.Generator:
    """A numpy generator for the stream named by `seed` and `keys`.

    Example:
        >>> int(numpy_generator(0, "shuffle").integers(10)) in range(10)
        True
    """
    return np.random.default_rng(_sequence(seed, keys))


def torch_generator(seed: int, *keys: Key) -> torch.Generator:
    """A torch CPU generator for the stream named by `seed` and `keys`.

    Example:
        >>> import torch
        >>> a = torch.rand(3, generator=torch_generator(0, "noise"))
        >>> bool((a == torch.rand(3, generator=torch_generator(0, "noise"))).all())
        True
    """
    import torch

    return torch.Generator().manual_seed(derive(seed, *keys))


@contextmanager
def default_generator_seeded(seed: int | None, *keys: Key) -> Iterator[None]:
    """Within this block torch's default generators start from `seed`; then all is as before.

    For code that can only draw from torch's default generator, such as the initialisation of
    `torch.nn.Linear`. With `seed=None` the block changes nothing.

    Example:
        >>> import torch
        >>> before = torch.get_rng_state()
        >>> with default_generator_seeded(0):
        ...     _ = torch.rand(3)
        >>> bool((before == torch.get_rng_state()).all())
        True
    """
    if seed is None:
        yield
        return
    import torch

    value = derive(seed, *keys)
    # `torch.manual_seed` would also leave a mark on a CUDA context that does not exist yet.
    cuda = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(value)
        if cuda:
            torch.cuda.manual_seed_all(value)
        yield


@contextmanager
def drawing_from(generator: torch.Generator | None) -> Iterator[None]:
    """Within this block torch's default CPU generator is `generator`, which advances.

    For functions that take no generator, such as `torch.distributions.Distribution.sample`.

    Raises:
        ConfigurationError: if the generator is not on the CPU.

    Example:
        >>> import torch
        >>> g = torch.Generator().manual_seed(0)
        >>> with drawing_from(g):
        ...     a = torch.distributions.Normal(0.0, 1.0).sample()
        >>> b = torch.randn((), generator=torch.Generator().manual_seed(0))
        >>> bool(a == b)
        True
    """
    if generator is None:
        yield
        return
    import torch

    from hunch.draws import drawing_again

    if generator.device.type != "cpu":
        raise ConfigurationError(
            f"`generator` is on {generator.device}; expected a CPU generator: torch.Generator()."
        )
    with drawing_again(generator):
        outside = torch.default_generator.get_state()
        torch.default_generator.set_state(generator.get_state())
        try:
            yield
        finally:
            generator.set_state(torch.default_generator.get_state())
            torch.default_generator.set_state(outside)
