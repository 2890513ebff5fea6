"""The readable definition of how each field class is decoded: model in, Python functions out.

The native decoder is measured against this one. Values are int, float, str, bytes, bool, None (an option that is not
there), list, dict (members by name), and :class:`Choice` for a variant. Text that is not valid UTF-8 keeps its bytes
as lone surrogates (``surrogateescape``), so that it can be written again as it was.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from boxtrace.ctf.cursor import Cursor, DecodeError, reverse_bits
from boxtrace.ctf.fields import (
    ArrayField,
    BitArrayField,
    BitMapField,
    BlobField,
    BoolField,
    ByteOrder,
    DynamicBlobField,
    DynamicStringField,
    Encoding,
    FieldClass,
    FieldLocation,
    FloatField,
    IntegerField,
    Member,
    OptionField,
    Role,
    Scope,
    SequenceField,
    StaticStringField,
    StringField,
    StructField,
    VariantField,
    VarIntField,
)
from boxtrace.ctf.layout import alignment_of

__all__ = ["Choice", "Decode", "compile_root", "least_bits", "locations", "plain"]

Decode: TypeAlias = Callable[[Cursor], Any]
_CODES = {8: "B", 16: "H", 32: "I", 64: "Q"}
_FLOATS = {16: "e", 32: "f", 64: "d"}


@dataclass(frozen=True, slots=True)
class Choice:
    """Value of a variant: which option (index in its class), and that option's value."""

    option: int
    value: Any


def plain(value: Any) -> Any:
    """Return a decoded value with each variant replaced by the value of its option."""
    match value:
        case Choice():
            return plain(value.value)
        case dict():
            return {name: plain(item) for name, item in value.items()}
        case list():
            return [plain(item) for item in value]
        case _:
            return value


def locations(field: FieldClass | None) -> Iterator[FieldLocation]:
    """Yield every location that lengths and selectors inside a field class refer to."""
    match field:
        case StructField():
            for member in field.members:
                yield from locations(member.field)
        case ArrayField():
            yield from locations(field.element)
        case SequenceField():
            yield field.length
            yield from locations(field.element)
        case DynamicStringField() | DynamicBlobField():
            yield field.length
        case VariantField():
            yield field.selector
            for option in field.options:
                yield from locations(option.field)
        case OptionField():
            yield field.selector
            yield from locations(field.field)


def compile_root(scope: Scope, field: StructField | None, needed: frozenset[FieldLocation]) -> Decode | None:
    """Return the function that decodes a root structure, None if there is none.

    :param needed: locations whose values other fields will ask for.
    """
    return None if field is None else _Compiler(scope, needed).compile(field, ())


class _Compiler:
    def __init__(self, scope: Scope, needed: frozenset[FieldLocation]) -> None:
        self._scope = scope
        self._needed = needed

    def compile(self, field: FieldClass, path: tuple[str, ...]) -> Decode:
        name = ".".join(path)
        match field:
            case IntegerField():
                return self._with_roles(_integer(field, name), field.roles, field.size, path)
            case VarIntField():
                return self._with_roles(_varint(field, name), field.roles, 64, path)
            case BoolField():
                return self._kept(_boolean(field, name), path)
            case BitArrayField() | BitMapField():
                return _bits(field, name)
            case FloatField():
                return _float(field, name)
            case StringField():
                return _string(field.encoding, name)
            case StaticStringField():
                return _text(field.encoding, lambda cursor: field.length, name)
            case DynamicStringField():
                return _text(field.encoding, _lookup(field.length, name), name)
            case BlobField():
                return _blob(lambda cursor: field.length, name, keep=Role.METADATA_UUID in field.roles)
            case DynamicBlobField():
                return _blob(_lookup(field.length, name), name, keep=False)
            case StructField():
                return self._struct(field, path)
            case ArrayField():
                return self._array(field, lambda cursor: field.length, path, Role.METADATA_UUID in field.roles)
            case SequenceField():
                return self._array(field, _lookup(field.length, name), path, False)
            case VariantField():
                return self._variant(field, path)
            case OptionField():
                return self._option(field, path)

    def _with_roles(self, decode: Decode, roles: tuple[Role, ...], size: int, path: tuple[str, ...]) -> Decode:
        if roles:
            inner = decode
            ticks = Role.TIMESTAMP in roles

            def decode(cursor: Cursor) -> int:
                value: int = inner(cursor)
                for role in roles:
                    cursor.roles[role] = value
                if ticks:
                    cursor.set_clock(value, size)
                return value

        return self._kept(decode, path)

    def _kept(self, decode: Decode, path: tuple[str, ...]) -> Decode:
        location = FieldLocation(self._scope, path)
        if location not in self._needed:
            return decode

        def keep(cursor: Cursor) -> Any:
            value = decode(cursor)
            cursor.slots[location] = int(value)
            return value

        return keep

    def _struct(self, field: StructField, path: tuple[str, ...]) -> Decode:
        align = alignment_of(field)
        parts: list[Callable[[Cursor, dict[str, Any]], None]] = []
        for numbers in self._runs(field, path):
            if len(numbers) > 1:
                parts.append(_numbers(numbers, ".".join(path)))
            else:
                parts.append(_member(numbers[0].name, self.compile(numbers[0].field, (*path, numbers[0].name))))
        if len(parts) == 1:
            only = parts[0]

            def decode_one(cursor: Cursor) -> dict[str, Any]:
                cursor.align(align)
                values: dict[str, Any] = {}
                only(cursor, values)
                return values

            return decode_one

        def decode(cursor: Cursor) -> dict[str, Any]:
            cursor.align(align)
            values: dict[str, Any] = {}
            for part in parts:
                part(cursor, values)
            return values

        return decode

    def _runs(self, field: StructField, path: tuple[str, ...]) -> Iterator[list[Member]]:
        """Yield members one by one, but together plain numbers on bytes of one byte order that follow each other."""
        run: list[Member] = []
        for member in field.members:
            fc = member.field
            plain = (
                isinstance(fc, IntegerField)
                and fc.size in (8, 16, 32, 64)
                and fc.align == 8
                and not (fc.roles or fc.reversed_bits)
                and FieldLocation(self._scope, (*path, member.name)) not in self._needed
            )
            if run and not (plain and run[0].field.byte_order is fc.byte_order):  # type: ignore[union-attr]
                yield run
                run = []
            if plain:
                run.append(member)
            else:
                yield [member]
        if run:
            yield run

    def _array(self, field: ArrayField | SequenceField, length: Decode, path: tuple[str, ...], is_uuid: bool) -> Decode:
        element = self.compile(field.element, path)
        least = least_bits(field.element)
        align = alignment_of(field)
        name = ".".join(path)

        def decode(cursor: Cursor) -> list[Any]:
            cursor.align(align)
            count = length(cursor)
            if least:
                cursor.need(count * least, name)
            else:
                cursor.spend(count, name)
            values = [element(cursor) for _ in range(count)]
            if is_uuid:
                cursor.uuid = bytes(values)
            return values

        return decode

    def _variant(self, field: VariantField, path: tuple[str, ...]) -> Decode:
        selector = _lookup(field.selector, ".".join(path))
        options = [(low, high, index) for index, option in enumerate(field.options) for low, high in option.ranges]
        decoders = [self.compile(option.field, path) for option in field.options]

        def decode(cursor: Cursor) -> Choice:
            value = selector(cursor)
            for low, high, index in options:
                if low <= value <= high:
                    return Choice(index, decoders[index](cursor))
            raise DecodeError(f"no option of the variant is for selector {value}", cursor.pos, ".".join(path))

        return decode

    def _option(self, field: OptionField, path: tuple[str, ...]) -> Decode:
        selector = _lookup(field.selector, ".".join(path))
        inner = self.compile(field.field, path)
        ranges = field.ranges

        def decode(cursor: Cursor) -> Any:
            value = selector(cursor)
            chosen = value != 0 if ranges is None else any(low <= value <= high for low, high in ranges)
            return inner(cursor) if chosen else None

        return decode


def _member(name: str, decode: Decode) -> Callable[[Cursor, dict[str, Any]], None]:
    def part(cursor: Cursor, values: dict[str, Any]) -> None:
        values[name] = decode(cursor)

    return part


def _numbers(members: list[Member], path: str) -> Callable[[Cursor, dict[str, Any]], None]:
    names = [member.name for member in members]
    fields = [member.field for member in members if isinstance(member.field, IntegerField)]
    order = "<" if fields[0].byte_order is ByteOrder.LITTLE else ">"
    codes = [_CODES[field.size].lower() if field.signed else _CODES[field.size] for field in fields]
    form = struct.Struct(order + "".join(codes))
    unpack, bits = form.unpack_from, form.size * 8
    decoders = [_integer(field, f"{path}.{name}" if path else name) for field, name in zip(fields, names, strict=True)]

    def part(cursor: Cursor, values: dict[str, Any]) -> None:
        cursor.align(8)
        if cursor.pos + bits <= cursor.end:
            values.update(zip(names, unpack(cursor.data, cursor.pos >> 3), strict=True))
            cursor.pos += bits
        else:  # one by one, to tell which of them is cut off
            for name, decode in zip(names, decoders, strict=True):
                values[name] = decode(cursor)

    return part


def _lookup(location: FieldLocation, name: str) -> Decode:
    def lookup(cursor: Cursor) -> int:
        try:
            return cursor.slots[location]
        except KeyError:
            where = f"{location.scope.value} {'.'.join(location.path)}"
            raise DecodeError(f"{where} was not decoded before", cursor.pos, name) from None

    return lookup


def _integer(field: IntegerField, name: str) -> Decode:
    size, align, order, signed = field.size, field.align, field.byte_order, field.signed
    if size in (8, 16, 32, 64) and align % 8 == 0 and not field.reversed_bits:
        code = _CODES[size]
        form = struct.Struct(("<" if order is ByteOrder.LITTLE else ">") + (code.lower() if signed else code))
        unpack = form.unpack_from

        def aligned(cursor: Cursor) -> int:
            pos = (cursor.pos + align - 1) & -align
            cursor.pos = pos + size
            if cursor.pos > cursor.end:
                cursor.pos = pos
                cursor.need(size, name)
            value: int = unpack(cursor.data, pos >> 3)[0]
            return value

        return aligned
    bits = _bits(field, name)
    if not signed:
        return bits
    half = 1 << (size - 1)
    return lambda cursor: (bits(cursor) ^ half) - half


def _bits(field: IntegerField | BitArrayField | BitMapField | BoolField | FloatField, name: str) -> Decode:
    size, align, order = field.size, field.align, field.byte_order

    def read(cursor: Cursor) -> int:
        cursor.align(align)
        return cursor.bits(size, order, name)

    if not field.reversed_bits:
        return read
    return lambda cursor: reverse_bits(read(cursor), size)


def _boolean(field: BoolField, name: str) -> Decode:
    read = _bits(field, name)
    return lambda cursor: read(cursor) != 0


def _varint(field: VarIntField, name: str) -> Decode:
    def read(cursor: Cursor) -> int:
        cursor.align(8)
        return cursor.leb128(field.signed, name)

    return read


def _float(field: FloatField, name: str) -> Decode:
    read = _bits(field, name)
    if field.size >= 128:
        return lambda cursor: _wide(read(cursor), field.size, field.exponent_bits)
    code = _FLOATS[field.size]
    size = field.size // 8

    def decode(cursor: Cursor) -> float:
        value: float = struct.unpack(">" + code, read(cursor).to_bytes(size, "big"))[0]
        return value

    return decode


def _wide(bits: int, size: int, width: int) -> float:
    """Return a number of 128 bits or more, of whose mantissa the first 112 bits count."""
    sign = -1.0 if bits >> (size - 1) else 1.0
    fraction_bits = size - 1 - width
    exponent = bits >> fraction_bits & ((1 << width) - 1)
    fraction = bits & ((1 << fraction_bits) - 1)
    if exponent == (1 << width) - 1:
        return sign * (float("nan") if fraction else float("inf"))
    significand = (fraction >> (fraction_bits - 112)) / (1 << 112) + (1.0 if exponent else 0.0)
    power = max(exponent, 1) - ((1 << (width - 1)) - 1)
    try:
        return sign * math.ldexp(significand, max(power, -(1 << 20)))
    except OverflowError:
        return sign * float("inf")


def _string(encoding: Encoding, name: str) -> Decode:
    unit, codec = encoding.unit, encoding.value

    def decode(cursor: Cursor) -> str:
        cursor.align(8)
        return _decoded(cursor.until_nul(unit, name), codec)

    return decode


def _text(encoding: Encoding, length: Decode, name: str) -> Decode:
    unit, codec = encoding.unit, encoding.value
    nul = b"\0" * unit

    def decode(cursor: Cursor) -> str:
        cursor.align(8)
        raw = cursor.raw(length(cursor), name)
        at = raw.find(nul)
        while at >= 0 and at % unit:
            at = raw.find(nul, at + 1)
        return _decoded(raw if at < 0 else raw[:at], codec)

    return decode


def _decoded(raw: bytes, codec: str) -> str:
    return raw.decode(codec, "surrogateescape" if codec == "utf-8" else "replace")


def _blob(length: Decode, name: str, *, keep: bool) -> Decode:
    def decode(cursor: Cursor) -> bytes:
        cursor.align(8)
        value = cursor.raw(length(cursor), name)
        if keep:
            cursor.uuid = value
        return value

    return decode


def least_bits(field: FieldClass) -> int:
    """Return how many bits a field takes at least."""
    match field:
        case IntegerField() | FloatField() | BoolField() | BitArrayField() | BitMapField():
            return field.size
        case VarIntField() | StringField():
            return 8
        case StaticStringField() | BlobField():
            return field.length * 8
        case StructField():
            return sum(least_bits(member.field) for member in field.members)
        case ArrayField():
            return field.length * least_bits(field.element)
        case VariantField():
            return min((least_bits(option.field) for option in field.options), default=0)
        case _:
            return 0
