"""Types of fields, and how declarations and values of them are written (docs/protocol.md of boxtrace)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = [
    "F32",
    "F64",
    "HEX64",
    "I8",
    "I16",
    "I32",
    "I64",
    "STRING",
    "TASK",
    "U8",
    "U16",
    "U32",
    "U64",
    "Field",
    "array",
    "enumeration",
    "sequence",
]

_CODES = {(1, 8): "B", (1, 16): "H", (1, 32): "I", (1, 64): "Q", (2, 8): "b", (2, 16): "h", (2, 32): "i", (2, 64): "q"}
_CODES.update({(3, 32): "f", (3, 64): "d"})
UNSIGNED, SIGNED, FLOAT, TEXT, ENUMERATION, ARRAY, SEQUENCE = 1, 2, 3, 4, 5, 6, 7


@dataclass(frozen=True)
class Field:
    """A type of field; use the constants and functions of this module.

    :ivar kind: as in the protocol.
    :ivar element: kind of the number, or of the numbers that it holds.
    :ivar count: elements of an array.
    """

    kind: int
    element: int = 0
    bits: int = 0
    base: int = 10
    count: int = 0
    labels: Mapping[str, tuple[int, int]] = field(default_factory=dict, hash=False)
    task: bool = False

    @property
    def code(self) -> str:
        """Letter of :mod:`struct` for a number, empty for a string."""
        return _CODES.get((self.element, self.bits), "")

    def declare(self, name: str) -> bytes:
        """Return the declaration of a field of this type."""
        text = name.encode()
        head = struct.pack("=BB", self.kind, len(text)) + text
        element = struct.pack("=BBB", self.element, self.bits, 0 if self.element == FLOAT else self.base)
        if self.kind in (UNSIGNED, SIGNED):
            return head + element[1:]
        if self.kind == FLOAT:
            return head + element[1:2]
        if self.kind == ARRAY:
            return head + struct.pack("=I", self.count) + element
        if self.kind == SEQUENCE:
            return head + element
        if self.kind == ENUMERATION:
            head += struct.pack("=BBH", self.bits, self.element == SIGNED, len(self.labels))
            for label, (first, last) in self.labels.items():
                coded = label.encode()
                head += struct.pack("=qqB", first, last, len(coded)) + coded
        return head


def _number(kind: int, bits: int, base: int = 10) -> Field:
    return Field(kind, kind, bits, base)


U8, U16, U32, U64 = (_number(UNSIGNED, bits) for bits in (8, 16, 32, 64))
I8, I16, I32, I64 = (_number(SIGNED, bits) for bits in (8, 16, 32, 64))
HEX64 = _number(UNSIGNED, 64, 16)
F32, F64 = (_number(FLOAT, bits) for bits in (32, 64))
STRING = Field(TEXT)
TASK = Field(TEXT, task=True)
"""A string that is filled in by itself: the name of the asyncio task, empty outside of tasks."""


def array(element: Field, count: int) -> Field:
    """Return the type of so many numbers."""
    return Field(ARRAY, element.element, element.bits, element.base, count)


def sequence(element: Field) -> Field:
    """Return the type of any number of numbers."""
    return Field(SEQUENCE, element.element, element.bits, element.base)


def enumeration(element: Field, labels: Mapping[str, int | tuple[int, int]]) -> Field:
    """Return the type of an integer whose values, or ranges of values, have names."""
    ranges = {name: (value, value) if isinstance(value, int) else value for name, value in labels.items()}
    return Field(ENUMERATION, element.element, element.bits, 10, 0, ranges)
