"""The kernel's own description of a trace record as the payload of an event: every field, without the padding."""

from __future__ import annotations

import re

from boxtrace.ctf.fields import (
    ArrayField,
    DisplayBase,
    FieldLocation,
    IntegerField,
    Member,
    Scope,
    SequenceField,
    StaticStringField,
    StringField,
)
from boxtrace.ctf.fields import FieldClass as Field
from boxtrace.kernel.tracefs import EventFormat, FormatField
from boxtrace.kernel.tracepoints.model import Copy, Layout
from boxtrace.kernel.tracepoints.symbols import print_symbols

__all__ = ["INTEGER_SIZES", "element_size", "is_text", "kernel_layout", "sequence"]

INTEGER_SIZES = frozenset({1, 2, 4, 8})
_LENGTH_SIZE = 2
_ELEMENT_SIZES = {
    **dict.fromkeys(("char", "signed char", "unsigned char", "u8", "__u8", "s8", "uint8_t", "bool"), 1),
    **dict.fromkeys(("short", "unsigned short", "u16", "__u16", "s16", "__be16", "__le16", "uint16_t"), 2),
    **dict.fromkeys(("int", "unsigned", "unsigned int", "u32", "__u32", "s32", "__be32", "__le32", "uint32_t"), 4),
    **dict.fromkeys(("long", "unsigned long", "long long", "unsigned long long", "u64", "__u64", "s64", "uint64_t"), 8),
    **dict.fromkeys(("phys_addr_t", "dma_addr_t", "sector_t", "size_t", "loff_t"), 8),
}
_QUALIFIERS = re.compile(r"\b(?:const|volatile)\b")


def _plain(c_type: str) -> str:
    return " ".join(_QUALIFIERS.sub(" ", c_type).split())


def is_text(field: FormatField) -> bool:
    """Whether a field, or what it points to, is characters."""
    return _plain(field.c_type).replace(" ", "") in ("char", "char*")


def element_size(field: FormatField) -> int:
    """Return the bytes of an element of an array; those of unknown types are taken for bytes."""
    return _ELEMENT_SIZES.get(_plain(field.c_type), 1)


def sequence(name: str, element: Field, shift: int, field: FormatField, length_size: int = _LENGTH_SIZE) -> Layout:
    """Lay out a dynamic array behind its length, LTTng's way.

    :param shift: log2 of an element's bytes.
    """
    length_name = f"_{name}_length"
    location = FieldLocation(Scope.EVENT_PAYLOAD, (length_name,))
    copy = Copy("BT_COPY_SEQUENCE", field.offset, length_size, width=shift, relative=field.dynamic == "rel")
    return Layout(
        (
            Member(length_name, IntegerField(size=length_size * 8)),
            Member(name, SequenceField(element=element, length=location)),
        ),
        (copy,),
    )


def _bytes(field: FormatField, ctf: Field) -> Layout:
    return Layout((Member(field.name, ctf),), (Copy("BT_COPY_BYTES", field.offset, field.size),))


def _array(field: FormatField) -> Layout:
    if is_text(field):
        return _bytes(field, StaticStringField(length=field.size))
    size = element_size(field)
    if field.size % size:
        size = 1
    element = IntegerField(size=size * 8, signed=field.signed)
    return _bytes(field, ArrayField(element=element, length=field.size // size))


def _field(field: FormatField, print_format: str) -> Layout:
    relative = field.dynamic == "rel"
    if field.dynamic and is_text(field):
        return Layout((Member(field.name, StringField()),), (Copy("BT_COPY_STRING", field.offset, relative=relative),))
    if field.dynamic:
        size = element_size(field)
        return sequence(field.name, IntegerField(size=size * 8, signed=field.signed), size.bit_length() - 1, field)
    if field.elements is not None:
        return _array(field)
    if field.is_pointer and is_text(field):
        return Layout((Member(field.name, StringField()),), (Copy("BT_COPY_POINTED", field.offset),))
    if field.size not in INTEGER_SIZES:
        return _bytes(field, ArrayField(element=IntegerField(size=8), length=field.size))
    symbols = print_symbols(print_format, field.name, field.c_type, field.size, field.signed)
    base = DisplayBase.HEXADECIMAL if field.is_pointer else DisplayBase.DECIMAL
    return _bytes(field, IntegerField(size=field.size * 8, signed=field.signed, base=base, mappings=symbols))


def kernel_layout(described: EventFormat) -> Layout:
    """Return every field of the record, in the record's order."""
    parts = [_field(field, described.print_format) for field in described.fields if field.size]
    return Layout(
        tuple(member for part in parts for member in part.members),
        tuple(copy for part in parts for copy in part.copies),
    )
