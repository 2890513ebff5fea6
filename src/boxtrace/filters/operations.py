"""What the operators compute, on Python numbers; used where events are read and where constants are folded.

Integers are signed 64-bit numbers, and wrap; bit operations work on the same bits as an unsigned number.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from boxtrace.filters.lexer import signed64

__all__ = ["BINARY", "UNARY", "Undecided", "glob_matches"]

_U64: Final = (1 << 64) - 1


class Undecided(Exception):
    """A shift by too much, or an element that is not there: the whole filter is false, whatever is around it."""


def _shift_left(value: int, count: int) -> int:
    if not 0 <= count <= 63:
        raise Undecided
    return signed64(value << count)


def _shift_right(value: int, count: int) -> int:
    if not 0 <= count <= 63:
        raise Undecided
    return signed64((value & _U64) >> count)


def _negative(value: float) -> float:
    return signed64(-value) if isinstance(value, int) else -value


BINARY: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "<<": _shift_left,
    ">>": _shift_right,
    "&": operator.and_,
    "^": operator.xor,
    "|": operator.or_,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
UNARY: Final[Mapping[str, Callable[[Any], Any]]] = {
    "-": _negative,
    "+": operator.pos,
    "~": operator.invert,
    "!": lambda value: int(not value),
}


def glob_matches(pieces: tuple[bytes, ...], text: bytes) -> bool:
    """Tell whether text is the pieces with anything, or nothing, between them. One piece must be the whole text."""
    first, *inner = pieces
    if not inner:
        return text == first
    last = inner.pop()
    end = len(text) - len(last)
    at = len(first)
    if end < at or not text.startswith(first) or not text.endswith(last):
        return False
    for piece in inner:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True
