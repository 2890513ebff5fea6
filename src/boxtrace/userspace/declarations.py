"""Event types as clients declare them, turned into CTF field classes. What clients send is hostile input."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from boxtrace.ctf.fields import (
    ArrayField,
    DisplayBase,
    DynamicStringField,
    EnumMapping,
    FieldClass,
    FieldLocation,
    FloatField,
    IntegerField,
    Member,
    Scope,
    SequenceField,
    StaticStringField,
    StringField,
    StructField,
)
from boxtrace.userspace.protocol import ProtocolError, Reason, Register

__all__ = ["Declaration", "parse_declaration"]

_MAX_FIELDS: Final = 64
_MAX_LABELS: Final = 256
_MAX_FIXED: Final = 4096
_EVENT_NAME = re.compile(rb"[A-Za-z0-9_.:-]{1,255}")
_FIELD_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")
_LENGTH = IntegerField(size=32)

Part = tuple[int, int]
_SKIP, _STRING, _SEQUENCE = range(3)


@dataclass(frozen=True, slots=True)
class Declaration:
    """An event type.

    :param fields: its payload.
    :param parts: sizes of its fields, for :meth:`boxtrace._native.UserRecords.add`.
    """

    name: str
    loglevel: int | None
    fields: StructField
    parts: tuple[Part, ...]


class _Reader:
    """Reads a declaration from its beginning to its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def numbers(self, layout: str) -> tuple[int, ...]:
        size = struct.calcsize(layout)
        return struct.unpack(layout, self.take(size))

    def take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) != size:
            raise _wrong("it ends in the middle")
        self._at += size
        return piece


def _wrong(what: str) -> ProtocolError:
    return ProtocolError(f"a declaration is wrong: {what}", Reason.DECLARATION)


def parse_declaration(message: Register) -> Declaration:
    """Parse an event type's declaration.

    :raises ProtocolError: with :attr:`Reason.DECLARATION`, if it is not right.
    """
    if not _EVENT_NAME.fullmatch(message.name):
        raise _wrong("the name")
    if not -1 <= message.loglevel <= 14:
        raise _wrong("the loglevel")
    if message.field_count > _MAX_FIELDS:
        raise _wrong("too many fields")
    reader = _Reader(message.fields)
    members: list[Member] = []
    parts: list[Part] = []
    for _ in range(message.field_count):
        kind, size = reader.numbers("=BB")
        name = reader.take(size)
        if not _FIELD_NAME.fullmatch(name) or kind not in _KINDS:
            raise _wrong("a field")
        added, part = _KINDS[kind](reader, name.decode("ascii"))
        members += added
        parts.append(part)
    if len({member.name for member in members}) != len(members):
        raise _wrong("two fields of one name")
    return Declaration(
        message.name.decode("ascii"),
        None if message.loglevel < 0 else message.loglevel,
        StructField(members=tuple(members)),
        _join(parts),
    )


def _join(parts: list[Part]) -> tuple[Part, ...]:
    """Make one part of neighbours of fixed size."""
    joined: list[Part] = []
    for kind, size in parts:
        if kind == _SKIP and joined and joined[-1][0] == _SKIP and joined[-1][1] + size <= 0xFFFF:
            joined[-1] = (_SKIP, joined[-1][1] + size)
        else:
            joined.append((kind, size))
    return tuple(joined)


def _integer(signed: bool, bits: int, base: int, mappings: tuple[EnumMapping, ...] = ()) -> IntegerField:
    if bits not in (8, 16, 32, 64) or base not in (2, 8, 10, 16):
        raise _wrong("an integer")
    return IntegerField(size=bits, signed=signed, base=DisplayBase(base), mappings=mappings)


def _float(bits: int) -> FloatField:
    if bits not in (32, 64):
        raise _wrong("a floating-point number")
    return FloatField(size=bits)


def _element(reader: _Reader) -> IntegerField | FloatField:
    kind, bits, base = reader.numbers("=BBB")
    if kind == 3:
        return _float(bits)
    if kind not in (1, 2):
        raise _wrong("an element")
    return _integer(kind == 2, bits, base)


_Parsed = tuple[list[Member], Part]


def _one(name: str, field: FieldClass, part: Part) -> _Parsed:
    return [Member(name, field)], part


def _parse_unsigned(reader: _Reader, name: str) -> _Parsed:
    bits, base = reader.numbers("=BB")
    return _one(name, _integer(False, bits, base), (_SKIP, bits // 8))


def _parse_signed(reader: _Reader, name: str) -> _Parsed:
    bits, base = reader.numbers("=BB")
    return _one(name, _integer(True, bits, base), (_SKIP, bits // 8))


def _parse_float(reader: _Reader, name: str) -> _Parsed:
    (bits,) = reader.numbers("=B")
    return _one(name, _float(bits), (_SKIP, bits // 8))


def _parse_string(reader: _Reader, name: str) -> _Parsed:
    return _one(name, StringField(), (_STRING, 0))


def _parse_enumeration(reader: _Reader, name: str) -> _Parsed:
    bits, signed, count = reader.numbers("=BBH")
    if signed > 1 or not 0 < count <= _MAX_LABELS or bits not in (8, 16, 32, 64):
        raise _wrong("an enumeration")
    lowest, highest = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    mappings = []
    for _ in range(count):
        first, last, size = reader.numbers("=qqB")
        label = reader.take(size)
        try:
            text = label.decode()
        except UnicodeDecodeError as error:
            raise _wrong("a label") from error
        if not text.isprintable() or not text or not lowest <= first <= last <= highest:
            raise _wrong("a label")
        mappings.append(EnumMapping(text, ((first, last),)))
    return _one(name, _integer(bool(signed), bits, 10, tuple(mappings)), (_SKIP, bits // 8))


def _parse_array(reader: _Reader, name: str) -> _Parsed:
    (count,) = reader.numbers("=I")
    element = _element(reader)
    size = count * element.size // 8
    if not 0 < size <= _MAX_FIXED:
        raise _wrong("an array")
    return _one(name, ArrayField(element=element, length=count), (_SKIP, size))


def _with_length(name: str, make: Callable[[FieldLocation], FieldClass], element_size: int) -> _Parsed:
    length = f"_{name}_length"
    field = make(FieldLocation(Scope.EVENT_PAYLOAD, (length,)))
    return [Member(length, _LENGTH), Member(name, field)], (_SEQUENCE, element_size)


def _parse_sequence(reader: _Reader, name: str) -> _Parsed:
    element = _element(reader)
    return _with_length(name, lambda length: SequenceField(element=element, length=length), element.size // 8)


def _parse_text(reader: _Reader, name: str) -> _Parsed:
    (size,) = reader.numbers("=I")
    if not 0 < size <= _MAX_FIXED:
        raise _wrong("a text")
    return _one(name, StaticStringField(length=size), (_SKIP, size))


def _parse_text_sequence(reader: _Reader, name: str) -> _Parsed:
    return _with_length(name, lambda length: DynamicStringField(length=length), 1)


_KINDS: Final[dict[int, Callable[[_Reader, str], _Parsed]]] = {
    1: _parse_unsigned,
    2: _parse_signed,
    3: _parse_float,
    4: _parse_string,
    5: _parse_enumeration,
    6: _parse_array,
    7: _parse_sequence,
    8: _parse_text,
    9: _parse_text_sequence,
}
