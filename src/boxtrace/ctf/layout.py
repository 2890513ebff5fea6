"""Where the fields of a structure of constant layout lie, for code that fills them in without a general writer."""

from __future__ import annotations

from dataclasses import dataclass

from boxtrace.ctf.fields import (
    ArrayField,
    BitArrayField,
    BitMapField,
    BlobField,
    BoolField,
    FieldClass,
    FloatField,
    IntegerField,
    OptionField,
    SequenceField,
    StaticStringField,
    StructField,
    VariantField,
)

__all__ = ["FieldSpan", "alignment", "alignment_of", "align_up", "struct_layout"]


MOST_ALIGNMENT = 1 << 30
"""No larger ones are read, in bits."""


@dataclass(frozen=True, slots=True)
class FieldSpan:
    """Place of a field, in bits from the start of its root structure's origin."""

    offset: int
    size: int


def alignment(value: object) -> int:
    """Return an alignment that metadata asks for. Raises ValueError if it is none, or too large."""
    if not isinstance(value, int) or value <= 0 or value & (value - 1):
        raise ValueError(f"alignment {value} is not a power of two")
    if value > MOST_ALIGNMENT:
        raise ValueError(f"an alignment of {value} bits cannot be read")
    return value


def align_up(position: int, align: int) -> int:
    """Return the first multiple of ``align`` (a power of two) at or after ``position``."""
    return (position + align - 1) & -align


def alignment_of(field: FieldClass) -> int:
    """Return the alignment in bits that a field's first bit needs.

    A variant or option has none of its own (1): that of the chosen field applies when it is decoded.
    """
    match field:
        case IntegerField() | FloatField() | BoolField() | BitArrayField() | BitMapField():
            return field.align
        case StructField():
            return max([field.align, *(alignment_of(member.field) for member in field.members)])
        case ArrayField() | SequenceField():
            return max(field.align, alignment_of(field.element))
        case VariantField() | OptionField():
            return 1
        case _:
            return 8


def _size_of(field: FieldClass, position: int) -> int:
    match field:
        case IntegerField() | FloatField() | BoolField() | BitArrayField() | BitMapField():
            return field.size
        case StaticStringField() | BlobField():
            return field.length * 8
        case ArrayField():
            end = position
            for _ in range(field.length):
                end = align_up(end, alignment_of(field.element))
                end += _size_of(field.element, end)
            return end - position
        case StructField():
            return struct_layout(field, position)[1] - position
        case _:
            raise ValueError(f"{type(field).__name__} has no constant size")


def struct_layout(struct: StructField, start: int = 0) -> tuple[dict[str, FieldSpan], int]:
    """Lay out a structure of constant layout that begins at bit ``start``.

    :return: the place of each direct member, and the bit after the last.
    :raises ValueError: if a member's size is not constant.
    """
    position = align_up(start, alignment_of(struct))
    spans: dict[str, FieldSpan] = {}
    for member in struct.members:
        position = align_up(position, alignment_of(member.field))
        size = _size_of(member.field, position)
        spans[member.name] = FieldSpan(position, size)
        position += size
    return spans, position
