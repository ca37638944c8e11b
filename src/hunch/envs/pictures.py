"""Small pictures of the environments, painted with numpy alone."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

WATER, SHADE, BLOCK, GOAL = (24, 60, 110), (34, 80, 140), (250, 200, 70), (90, 190, 120)
PAPER, TRACK, CART, POLE = (255, 255, 255), (160, 160, 160), (40, 60, 100), (210, 120, 60)


def _enlarge(cells: Picture, pixels: int) -> Picture:
    return cells.repeat(pixels, axis=0).repeat(pixels, axis=1)


def _pixels(size: int) -> int:
    # Even, because most video codecs refuse pictures with an odd side.
    return 2 * max(2, 120 // size)


def grid_picture(mapping: NDArray[np.int64], cell: int) -> Picture:
    """A deep sea with its block at `cell`; past the last cell there is no block.

    Example:
        >>> grid_picture(np.ones((10, 10), dtype=np.int64), 0).shape
        (240, 240, 3)
    """
    size = len(mapping)
    cells = np.where(mapping[:, :, None] == 1, SHADE, WATER).astype(np.uint8)
    cells[-1, -1] = GOAL
    if cell < size * size:
        cells[divmod(cell, size)] = BLOCK
    return _enlarge(cells, _pixels(size))


def chain_picture(size: int, position: int) -> Picture:
    """A chain with the agent at `position`.

    Example:
        >>> chain_picture(10, 1).shape
        (24, 240, 3)
    """
    cells = np.empty((1, size, 3), dtype=np.uint8)
    cells[:] = WATER
    cells[0, 0], cells[0, -1] = SHADE, GOAL
    cells[0, position] = BLOCK
    return _enlarge(cells, _pixels(size))


def cartpole_picture(x: float, theta: float) -> Picture:
    """A cart at `x`, from −1 to 1 along the track, with a pole at `theta` radians from upright.

    Example:
        >>> cartpole_picture(0.0, 3.14).shape
        (200, 300, 3)
    """
    height, width, pole = 200, 300, 60
    rows, columns = np.indices((height, width))
    picture = np.empty((height, width, 3), dtype=np.uint8)
    picture[:] = PAPER
    picture[height // 2 - 1 : height // 2 + 1] = TRACK
    down, across = rows - height / 2, columns - width / 2 * (1 + 0.85 * x)
    picture[(np.abs(down) < 8) & (np.abs(across) < 18)] = CART
    # Coordinates along and across the pole: it is what lies within its length and thickness.
    along = across * math.sin(theta) - down * math.cos(theta)
    beside = across * math.cos(theta) + down * math.sin(theta)
    picture[(along >= 0) & (along <= pole) & (np.abs(beside) < 3)] = POLE
    return picture
