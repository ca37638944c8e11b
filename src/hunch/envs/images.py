"""Small images of the environments, painted with numpy alone."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

WATER, SHADE, BLOCK, GOAL = (24, 60, 110), (34, 80, 140), (250, 200, 70), (90, 190, 120)
PAPER, TRACK, CART, POLE = (255, 255, 255), (160, 160, 160), (40, 60, 100), (210, 120, 60)


def _enlarge(cells: Image, pixels: int) -> Image:
    return cells.repeat(pixels, axis=0).repeat(pixels, axis=1)


def _pixels(size: int) -> int:
    # Even, because most video codecs refuse images with an odd side.
    return 2 * max(2, 120 // size)


def grid_image(mapping: NDArray[np.int64], cell: int) -> Image:
    """A deep sea with its block at `cell`; past the last cell there is no block.

    Example:
        >>> grid_image(np.ones((10, 10), dtype=np.int64), 0).shape
        (240, 240, 3)
    """
    size = len(mapping)
    cells = np.where(mapping[:, :, None] == 1, SHADE, WATER).astype(np.uint8)
    cells[-1, -1] = GOAL
    if cell < size * size:
        cells[divmod(cell, size)] = BLOCK
    return _enlarge(cells, _pixels(size))


def chain_image(size: int, position: int) -> Image:
    """A chain with the agent at `position`.

    Example:
        >>> chain_image(10, 1).shape
        (24, 240, 3)
    """
    cells = np.empty((1, size, 3), dtype=np.uint8)
    cells[:] = WATER
    cells[0, 0], cells[0, -1] = SHADE, GOAL
    cells[0, position] = BLOCK
    return _enlarge(cells, _pixels(size))


def cartpole_image(x: float, theta: float) -> Image:
    """A cart at `x`, from −1 to 1 along the track, with a pole at `theta` radians from upright.

    Example:
        >>> cartpole_image(0.0, 3.14).shape
        (200, 300, 3)
    """
    height, width, pole = 200, 300, 60
    rows, columns = np.indices((height, width))
    image = np.empty((height, width, 3), dtype=np.uint8)
    image[:] = PAPER
    image[height // 2 - 1 : height // 2 + 1] = TRACK
    down, across = rows - height / 2, columns - width / 2 * (1 + 0.85 * x)
    image[(np.abs(down) < 8) & (np.abs(across) < 18)] = CART
    # Coordinates along and across the pole: it is what lies within its length and thickness.
    along = across * math.sin(theta) - down * math.cos(theta)
    beside = across * math.cos(theta) + down * math.sin(theta)
    image[(along >= 0) & (along <= pole) & (np.abs(beside) < 3)] = POLE
    return image


def catch_image(shape: tuple[int, int], ball: tuple[int, int], paddle: int) -> Image:
    """A board (rows, columns) with a ball in a cell and a paddle in a column of the last row.

    Example:
        >>> catch_image((10, 5), (0, 3), 2).shape
        (240, 120, 3)
    """
    cells = np.empty((*shape, 3), dtype=np.uint8)
    cells[:] = WATER
    cells[-1, paddle] = GOAL
    cells[ball] = BLOCK
    return _enlarge(cells, _pixels(max(shape)))


def mountain_image(position: float) -> Image:
    """Hills of height sin(3x) for x from −1.2 to 0.6, a car at `position`, a flag at 0.5.

    Example:
        >>> mountain_image(-0.5).shape
        (200, 300, 3)
    """
    height, width, left, span = 200, 300, -1.2, 1.8
    rows, columns = np.indices((height, width))
    image = np.empty((height, width, 3), dtype=np.uint8)
    image[:] = PAPER

    def row_of(x: float | NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(height * (0.55 - 0.4 * np.sin(3 * x)))

    ground = row_of(left + span * columns / width)
    image[rows >= ground] = TRACK
    flag = (0.5 - left) / span * width
    image[(np.abs(columns - flag) < 2) & (np.abs(rows - row_of(0.5) + 15) < 15)] = GOAL
    across, down = columns - (position - left) / span * width, rows - row_of(position) + 6
    image[across * across + down * down < 64] = CART
    return image
