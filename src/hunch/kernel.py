"""The compiled kernel, if this installation has it: networks, trees and processes in few calls.

The C files beside this one are compiled when the package is installed, if a compiler is there.
Without them, or with `HUNCH_KERNEL=0` in the environment, all runs on torch and numpy alone.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, Structure, c_double, c_float, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import Final

_INTERFACE: Final = 14  # as in _kernel.c
_FILE: Final = Path(__file__).with_name("_kernel.so")


class Layer(Structure):
    """A linear layer of all members and what follows it; see `_kernel.c`."""

    _fields_ = (
        ("weight", c_void_p),
        ("bias", c_void_p),
        ("inputs", c_int64),
        ("outputs", c_int64),
        ("activation", c_int64),
    )


class Training(Structure):
    """What all steps of a training have in common; see `_kernel.c`."""

    _fields_ = (
        ("layer", POINTER(Layer)),
        ("layers", c_int64),
        ("data", c_int64),
        ("parameters", c_int64),
        ("loss", c_int64),
        ("x", c_void_p),
        ("y", c_void_p),
        ("y_apart", c_int64),
        ("prior", c_void_p),
        ("importance", c_void_p),
        ("evidence", c_void_p),
        ("mean", c_void_p),
        ("square", c_void_p),
        ("rate", c_void_p),
        ("pull", c_void_p),
        ("beta1", c_double),
        ("beta2", c_double),
        ("epsilon", c_double),
        ("longest", c_double),
    )


class Task(Structure):
    """What one call is to do, and where its results go; see `_kernel.c`."""

    _fields_ = (
        ("first", c_int64),
        ("last", c_int64),
        ("members", c_int64),
        ("steps", c_int64),
        ("done", c_int64),
        ("loss", c_void_p),
        ("unseen_loss", c_void_p),
        ("unseen", c_void_p),
        ("scratch", c_void_p),
    )


class Forest(Structure):
    """Boosted trees; see `_trees.c`."""

    _fields_ = (
        ("edge", c_void_p),
        ("first", c_void_p),
        ("choice", c_void_p),
        ("value", c_void_p),
        ("choices", c_void_p),
        ("count", c_void_p),
        ("leaves", c_void_p),
        ("place", c_void_p),
        ("trees", c_int64),
        ("features", c_int64),
        ("most", c_int64),
    )


class Process(Structure):
    """A Gaussian process that has learned; see `_bumps.c`."""

    _fields_ = (
        ("knot", c_void_p),
        ("square", c_void_p),
        ("share", c_void_p),
        ("knots", c_int64),
        ("features", c_int64),
        ("single", c_int64),
    )


class Wide(Structure):
    """A noisy layer of many weights; see `_wide.c`."""

    _fields_ = (
        ("weight", c_void_p),
        ("sigma", c_void_p),
        ("rows", c_void_p),
        ("columns", c_void_p),
        ("bias", c_void_p),
        ("x", c_void_p),
        ("y", c_void_p),
        ("dy", c_void_p),
        ("of_weight", c_void_p),
        ("of_sigma", c_void_p),
        ("dx", c_void_p),
        ("scratch", c_void_p),
        ("batch", c_int64),
        ("inputs", c_int64),
        ("outputs", c_int64),
    )


class Own(Structure):
    """A tensor of each member; see `_kernel.c`."""

    _fields_ = (("first", c_void_p), ("apart", c_int64))


class Link(Structure):
    """A layer of a chain; see `_kernel.c`."""

    _fields_ = (
        ("weight", Own),
        ("bias", Own),
        ("spread", Own),
        ("bias_spread", Own),
        ("rows", Own),
        ("columns", Own),
        ("noise", Own),
        ("bias_noise", Own),
        ("slope", Own * 4),
        ("inputs", c_int64),
        ("outputs", c_int64),
        ("activation", c_int64),
    )


class Chain(Structure):
    """A call of a chain, forwards or backwards; see `_kernel.c`."""

    _fields_ = (
        ("link", POINTER(Link)),
        ("links", c_int64),
        ("members", c_int64),
        ("rows", c_int64),
        ("draws", c_int64),
        ("x", c_void_p),
        ("x_apart", c_int64),
        ("y", c_void_p),
        ("dy", c_void_p),
        ("y_width", c_int64),
        ("dx", c_void_p),
        ("tape", c_void_p),
        ("scratch", c_void_p),
        ("member", c_void_p),
    )


class Moved(Structure):
    """Numbers that Adam moves; see `_kernel.c`."""

    _fields_ = (
        ("value", c_void_p),
        ("mean", c_void_p),
        ("square", c_void_p),
        ("gradient", c_void_p),
        ("count", c_int64),
        ("beta1", c_double),
        ("beta2", c_double),
        ("epsilon", c_double),
        ("rate", c_double),
        ("factor", c_double),
        ("done", c_int64),
        ("row", c_void_p),
        ("width", c_int64),
    )


class Difference(Structure):
    """One-step errors of values; see `_objectives.c`."""

    _fields_ = (
        ("output", c_void_p),
        ("following", c_void_p),
        ("selecting", c_void_p),
        ("action", c_void_p),
        ("reward", c_void_p),
        ("discount", c_void_p),
        ("weight", c_void_p),
        ("gradient", c_void_p),
        ("error", c_void_p),
        ("members", c_int64),
        ("rows", c_int64),
        ("actions", c_int64),
        ("dueling", c_int64),
        ("loss", c_float),
    )


class MemberDifference(Structure):
    """One-step errors of values of members with priors; see `_objectives.c`."""

    _fields_ = (
        ("output", c_void_p),
        ("following", c_void_p),
        ("selecting", c_void_p),
        ("prior", c_void_p),
        ("next_prior", c_void_p),
        ("action", c_void_p),
        ("reward", c_void_p),
        ("discount", c_void_p),
        ("mask", c_void_p),
        ("weight", c_void_p),
        ("gradient", c_void_p),
        ("error", c_void_p),
        ("replicas", c_int64),
        ("members", c_int64),
        ("rows", c_int64),
        ("actions", c_int64),
        ("huber", c_int64),
        ("loss", c_float),
    )


class Drawn(Structure):
    """A batch of transitions from where they are stored; see `_q_learning.c`."""

    _fields_ = (
        ("observation", c_void_p),
        ("action", c_void_p),
        ("reward", c_void_p),
        ("terminated", c_void_p),
        ("truncated", c_void_p),
        ("slots", c_int64),
        ("width", c_int64),
        ("bytes", c_int64),
        ("steps", c_int64),
        ("power", c_void_p),
        ("slot", c_void_p),
        ("row", c_void_p),
        ("count", c_int64),
        ("seen", c_void_p),
        ("led_to", c_void_p),
        ("taken", c_void_p),
        ("gain", c_void_p),
        ("discount", c_void_p),
        ("index", c_void_p),
        ("last", c_void_p),
        ("cut", c_int64),
    )


class Advantage(Structure):
    """What a policy and its value learn from; see `_objectives.c`."""

    _fields_ = (
        ("output", c_void_p),
        ("action", c_void_p),
        ("target", c_void_p),
        ("gradient", c_void_p),
        ("members", c_int64),
        ("rows", c_int64),
        ("actions", c_int64),
        ("value_weight", c_double),
        ("entropy_weight", c_double),
        ("loss", c_float),
    )


class Cart(Structure):
    """Constants of carts with poles; see `_play.c`."""

    _fields_ = tuple(
        (name, c_double)
        for name in (
            "gravity",
            "pole",
            "mass",
            "mass_of_pole",
            "length",
            "force",
            "time",
            "farthest",
            "steepest",
        )
    )


class Play(Structure):
    """Rounds of an agent in a batch of carts; see `_play.c`."""

    _fields_ = (
        ("policy", POINTER(Chain)),
        ("lanes", c_int64),
        ("cart", Cart),
        ("rounds", c_int64),
        ("replicas", c_int64),
        ("envs", c_int64),
        ("limit", c_int64),
        ("stride", c_int64),
        ("state", c_void_p),
        ("age", c_void_p),
        ("told", c_void_p),
        ("first", c_void_p),
        ("ready", c_void_p),
        ("episode", c_void_p),
        ("observation", c_void_p),
        ("ended", c_void_p),
        ("total", c_void_p),
        ("length", c_void_p),
        ("logit", c_void_p),
        ("uniform", c_void_p),
        ("seen", c_void_p),
        ("led_to", c_void_p),
        ("action", c_void_p),
        ("terminated", c_void_p),
        ("truncated", c_void_p),
        ("end", c_void_p),
        ("done", c_int64),
        ("ends", c_int64),
        ("unknown", c_int64),
    )


# A step: pointers to its rows, their number, the weights, and where to keep the parameters.
STEP: Final = [("rows", "u8"), ("count", "i8"), ("weights", "u8"), ("kept", "u8")]
ACTIVATIONS: Final = ("identity", "relu", "tanh", "sigmoid", "silu", "elu", "selu", "gelu")
LOSSES: Final = ("mse", "cross_entropy")


def kernel() -> ctypes.CDLL | None:
    """The compiled library; None if there is none, or it is not wanted.

    Example:
        >>> library = kernel()
        >>> library is None or library.hunch_lanes() in (4, 8, 16)
        True
    """
    found = loaded()
    return None if isinstance(found, str) else found


@cache
def loaded() -> ctypes.CDLL | str:
    """The compiled library, or why there is none.

    Example:
        >>> (kernel() is None) == isinstance(loaded(), str)
        True
    """
    if os.environ.get("HUNCH_KERNEL") == "0":
        return "switched off by HUNCH_KERNEL=0"
    if not _FILE.exists():
        return "not compiled when hunch was installed, for want of a C compiler"
    try:
        library = ctypes.CDLL(str(_FILE))
        interface = library.hunch_interface()
    except (OSError, AttributeError) as error:
        return f"its library cannot be loaded ({error})"
    # One that was built from another version of the source is as good as none.
    if interface != _INTERFACE:
        return "compiled from another version of hunch; install this one again"
    library.hunch_lanes.restype = c_int64
    library.hunch_scratch.restype = c_int64
    library.hunch_scratch.argtypes = (POINTER(Training), c_int64)
    library.hunch_trees.restype = None
    trees = (POINTER(Forest), c_void_p, c_int64, c_int64, c_int64, c_void_p, c_void_p)
    library.hunch_trees.argtypes = trees
    library.hunch_process.restype = None
    library.hunch_process.argtypes = (POINTER(Process), c_void_p, c_int64, c_int64, c_void_p)
    library.hunch_multinomial.restype = library.hunch_poisson.restype = None
    counts = (c_void_p, c_int64, c_int64)
    library.hunch_multinomial.argtypes = (*counts, c_int64, c_void_p)
    library.hunch_poisson.argtypes = (*counts, c_void_p, c_int64, c_void_p, c_int64, c_void_p)
    for size in (library.hunch_tape, library.hunch_chain_scratch):
        size.restype, size.argtypes = c_int64, (POINTER(Link), c_int64, c_int64)
    library.hunch_outputs_scratch.restype = c_int64
    library.hunch_outputs_scratch.argtypes = (POINTER(Link), c_int64)
    for way in (library.hunch_forward, library.hunch_backward, library.hunch_outputs):
        way.restype, way.argtypes = None, (POINTER(Chain), c_int64)
    library.hunch_adam.restype, library.hunch_adam.argtypes = None, (POINTER(Moved), c_int64)
    library.hunch_difference.restype = library.hunch_advantage.restype = None
    library.hunch_difference.argtypes = (POINTER(Difference),)
    library.hunch_advantage.argtypes = (POINTER(Advantage),)
    library.hunch_gather.restype = library.hunch_q_gradient.restype = None
    library.hunch_gather.argtypes = (POINTER(Drawn),)
    chain = POINTER(Chain)
    errors = (POINTER(Difference), POINTER(MemberDifference))
    library.hunch_q_gradient.argtypes = (chain, chain, chain, *errors, c_int64)
    library.hunch_lambda_returns.restype = None
    library.hunch_lambda_returns.argtypes = (
        *[c_void_p] * 3,
        c_int64,
        *[c_void_p] * 3,
        *[c_int64] * 3,
        *[c_double] * 3,
        *[c_void_p] * 2,
    )
    library.hunch_carts.restype = library.hunch_play.restype = None
    library.hunch_cart_starts.restype = None
    library.hunch_cart_starts.argtypes = (c_void_p, c_int64, c_void_p)
    library.hunch_carts.argtypes = (POINTER(Cart), c_int64, *[c_void_p] * 4)
    library.hunch_play.argtypes = (POINTER(Play),)
    library.hunch_look_up.restype = library.hunch_sum_rows.restype = None
    library.hunch_look_up.argtypes = (c_void_p, c_void_p, *[c_int64] * 4, c_void_p)
    library.hunch_sum_rows.argtypes = (c_void_p, c_void_p, *[c_int64] * 5, c_void_p)
    for way in (library.hunch_images, library.hunch_images_of_bytes):
        way.restype, way.argtypes = None, (c_void_p, *[c_int64] * 3, c_float, c_void_p)
    library.hunch_ranks.restype = None
    library.hunch_ranks.argtypes = (c_void_p, *[c_int64] * 2, *[c_void_p] * 2, c_int64, c_void_p)
    library.hunch_draw.restype = c_int64
    library.hunch_draw.argtypes = (c_void_p, c_int64, c_int64, c_int64, c_void_p, c_void_p)
    library.hunch_wide_scratch.restype = c_int64
    library.hunch_wide_scratch.argtypes = (c_int64, c_int64)
    for way in (library.hunch_wide_forward, library.hunch_wide_backward):
        way.restype, way.argtypes = None, (POINTER(Wide), c_int64)
    library.hunch_wide_squares.restype = c_double
    library.hunch_wide_squares.argtypes = (POINTER(Wide), c_int64)
    moved = POINTER(Moved)
    library.hunch_wide_step.restype = None
    library.hunch_wide_step.argtypes = (POINTER(Wide), moved, moved, c_int64)
    library.hunch_train.restype = None
    library.hunch_train.argtypes = (POINTER(Training), c_void_p, POINTER(Task), c_int64)
    return library
