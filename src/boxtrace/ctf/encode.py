"""How each field class is encoded: the inverse of :mod:`boxtrace.ctf.decode`, for the same values."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any, TypeAlias

from boxtrace.ctf.cursor import reverse_bits
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
    FloatField,
    IntegerField,
    OptionField,
    SequenceField,
    StaticStringField,
    StringField,
    StructField,
    VariantField,
    VarIntField,
)
from boxtrace.ctf.layout import alignment_of

__all__ = ["BitWriter", "Encode", "compile_encoder"]

Encode: TypeAlias = "Callable[[BitWriter, Any], None]"


class BitWriter:
    """Bits written one after another, from the start of a packet."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.pos = 0

    def align(self, align: int) -> None:
        """Move to the next multiple of ``align`` bits."""
        if not self.pos & align - 1:
            return
        self.pos = (self.pos + align - 1) & -align
        self._reach(self.pos)

    def _reach(self, bits: int) -> None:
        self.data.extend(bytes((bits + 7) // 8 - len(self.data)))

    def bits(self, value: int, size: int, order: ByteOrder) -> None:
        """Write the low ``size`` bits of a number, at any bit."""
        first, skip = divmod(self.pos, 8)
        self.pos += size
        self._reach(self.pos)
        last = (self.pos + 7) // 8
        length = last - first
        value &= (1 << size) - 1
        if order is ByteOrder.LITTLE:
            old = int.from_bytes(self.data[first:last], "little")
            self.data[first:last] = (old | value << skip).to_bytes(length, "little")
        else:
            old = int.from_bytes(self.data[first:last], "big")
            self.data[first:last] = (old | value << (length * 8 - skip - size)).to_bytes(length, "big")

    def raw(self, data: bytes) -> None:
        """Write bytes; the position is on a byte."""
        self.data[self.pos // 8 :] = data
        self.pos += len(data) * 8


def compile_encoder(field: FieldClass) -> Encode:
    """Return the function that writes values of a field class.

    Lengths and selectors are written as the values of their own fields say: they must agree with what they are of.
    """
    match field:
        case IntegerField() | BitArrayField() | BitMapField() | BoolField():
            return _number(field)
        case FloatField():
            return _float(field)
        case VarIntField():
            return lambda out, value: _leb128(out, value, field.signed)
        case StringField(encoding=Encoding.UTF_8):
            return _usual_text
        case StringField():
            return lambda out, value: _text(out, value, field.encoding, None)
        case StaticStringField():
            return lambda out, value: _text(out, value, field.encoding, field.length)
        case DynamicStringField():
            return lambda out, value: _text(out, value, field.encoding, -1)
        case BlobField() | DynamicBlobField():
            return _blob
        case StructField():
            return _struct(field)
        case ArrayField() | SequenceField():
            return _array(field)
        case VariantField():
            options = [compile_encoder(option.field) for option in field.options]
            return lambda out, choice: options[choice.option](out, choice.value)
        case OptionField():
            inner = compile_encoder(field.field)
            return lambda out, value: None if value is None else inner(out, value)


def _number(field: IntegerField | BitArrayField | BitMapField | BoolField) -> Encode:
    size, align, order, backwards = field.size, field.align, field.byte_order, field.reversed_bits
    if size % 8 == align % 8 == 0 and order is ByteOrder.LITTLE and not backwards:
        return _whole_number(size, align)

    def write(out: BitWriter, value: int) -> None:
        out.align(align)
        bits = int(value) & ((1 << size) - 1)
        out.bits(reverse_bits(bits, size) if backwards else bits, size, order)

    return write


def _whole_number(size: int, align: int) -> Encode:
    """Return what does the same for those that nearly all are: whole bytes, the least significant first."""
    length, mask = size // 8, (1 << size) - 1

    def write(out: BitWriter, value: int) -> None:
        if out.pos & align - 1:
            out.align(align)
        out.raw((int(value) & mask).to_bytes(length, "little"))

    return write


def _float(field: FloatField) -> Encode:
    def write(out: BitWriter, value: float) -> None:
        out.align(field.align)
        if field.size >= 128:
            bits = _wide(value, field.size, field.exponent_bits)
        else:
            code = {16: ">e", 32: ">f", 64: ">d"}[field.size]
            bits = int.from_bytes(struct.pack(code, value), "big")
        out.bits(reverse_bits(bits, field.size) if field.reversed_bits else bits, field.size, field.byte_order)

    return write


def _wide(value: float, size: int, width: int) -> int:
    fraction_bits = size - 1 - width
    sign = (1 << (size - 1)) if math.copysign(1.0, value) < 0 else 0
    special = ((1 << width) - 1) << fraction_bits
    if math.isnan(value):
        return sign | special | 1 << (fraction_bits - 1)
    if math.isinf(value):
        return sign | special
    if value == 0:
        return sign
    mantissa, exponent = math.frexp(abs(value))
    biased = exponent - 1 + (1 << (width - 1)) - 1
    return sign | biased << fraction_bits | (int(mantissa * (1 << 113)) - (1 << 112)) << (fraction_bits - 112)


def _leb128(out: BitWriter, value: int, signed: bool) -> None:
    out.align(8)
    data = bytearray()
    while True:
        byte = value & 0x7F
        value >>= 7
        done = value == (-1 if byte & 0x40 else 0) if signed else value == 0
        data.append(byte if done else byte | 0x80)
        if done:
            break
    out.raw(bytes(data))


def _text(out: BitWriter, value: str, encoding: Encoding, length: int | None) -> None:
    """Write a text: ended by a NUL (length None), filled with NULs to so many bytes, or as long as it is (-1)."""
    out.align(8)
    errors = "surrogateescape" if encoding is Encoding.UTF_8 else "strict"
    data = value.encode(encoding.value, errors)
    if length is None:
        data += bytes(encoding.unit)
    elif length >= 0:
        data = data[:length].ljust(length, b"\0")
    out.raw(data)


def _usual_text(out: BitWriter, value: str) -> None:
    """Write what nearly all texts are: UTF-8, ended by a NUL."""
    if out.pos & 7:
        out.align(8)
    out.raw(value.encode("utf-8", "surrogateescape") + b"\0")


def _blob(out: BitWriter, value: bytes) -> None:
    out.align(8)
    out.raw(value)


def _struct(field: StructField) -> Encode:
    members = [(member.name, compile_encoder(member.field)) for member in field.members]
    align = alignment_of(field)

    def write(out: BitWriter, values: dict[str, Any]) -> None:
        out.align(align)
        for name, member in members:
            member(out, values[name])

    return write


def _array(field: ArrayField | SequenceField) -> Encode:
    element = compile_encoder(field.element)
    align = alignment_of(field)

    def write(out: BitWriter, values: list[Any]) -> None:
        out.align(align)
        for value in values:
            element(out, value)

    return write
