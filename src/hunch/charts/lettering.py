"""Text beside a chart: how wide it is about, and how it is cut to fit.

No font is asked. Widths are those of a common sans-serif face, rounded up a little, so that text of
another face fits too.
"""

from __future__ import annotations

from typing import Final

_NARROW: Final = frozenset("iljtfrI.,:;'|!()[] ")
_WIDE: Final = frozenset("mwMW@%—…")
_FIRST_OF_THE_EAST: Final = 0x2E80  # from here on letters are as wide as they are high


def width_of(text: str, size: float) -> float:
    """About how wide a line of text is, in the units of its size.

    Example:
        >>> width_of("ill", 10.0) < width_of("mmm", 10.0)
        True
    """
    return size * sum(map(_letter, text))


def cut(text: str, most: int) -> str:
    """Text of at most so many letters.

    Example:
        >>> cut("a long name", 6)
        'a lon…'
    """
    return text if len(text) <= most else text[: most - 1] + "…"


def fitted(text: str, room: float, size: float) -> str:
    """Text that fits into so much room.

    Example:
        >>> fitted("a rather long title", 60.0, 10.0)
        'a rather l…'
    """
    while text and width_of(text, size) > room:
        text = text[:-2] + "…" if len(text) > 2 else ""
    return text


def wrapped(text: str, room: float, size: float) -> list[str]:
    """Lines of text, each of which fits into so much room, as far as its words are short enough.

    Example:
        >>> wrapped("one two three", 50.0, 10.0)
        ['one two', 'three']
    """
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width_of(longer, size) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _letter(letter: str) -> float:
    if letter in _NARROW:
        return 0.36
    if letter in _WIDE or ord(letter) >= _FIRST_OF_THE_EAST:
        return 1.0
    return 0.72 if letter.isupper() else 0.61
