"""Field values as babeltrace2 2.0 prints them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from boxtrace.ctf.fields import (
    ArrayField,
    BitArrayField,
    BitMapField,
    BlobField,
    BoolField,
    DisplayBase,
    DynamicBlobField,
    FieldClass,
    FloatField,
    IntegerField,
    Member,
    OptionField,
    SequenceField,
    StructField,
    VariantField,
    VarIntField,
)

__all__ = ["Show", "escape", "packet_members", "shower"]

Show: TypeAlias = Callable[[Any], str]
Named: TypeAlias = Callable[[str], Show | None]
_ESCAPES = {
    **{code: f"\\x{code:02x}" for code in (*range(32), 127)},
    **{ord(char): "\\" + char for char in "\\'\"?"},
    0: "\\0",
    7: "\\a",
    8: "\\b",
    9: "\\t",
    10: "\\n",
    11: "\\v",
    12: "\\f",
    13: "\\r",
    27: "\\e",
}


def escape(text: str) -> str:
    """Return a text in quotes, with escapes for quotes, backslash, question mark and control characters."""
    return f'"{text.translate(_ESCAPES)}"'


def shower(field: FieldClass, named: Named = lambda path: None, path: str = "") -> Show:
    """Return the function that shows values of a field class.

    :param named: what shows a member of a structure otherwise, by its path (``how_value.flags``: what is in sequences
        has the sequence's path).
    :param path: that of the field, with a dot at its end if there is any.
    """
    match field:
        case IntegerField():
            show = _integer(field.base, field.signed, field.size)
            return _enumeration(field, show) if field.mappings else show
        case VarIntField():
            show = _integer(field.base, field.signed, 64)
            return _enumeration(field, show) if field.mappings else show
        case BoolField():
            return lambda value: "true" if value else "false"
        case BitArrayField() | BitMapField():
            return lambda value: f"0x{value:X}"
        case FloatField():
            return _float
        case BlobField() | DynamicBlobField():
            return lambda value: f"{{ {' '.join(f'{byte:02x}' for byte in value)} }}" if value else "{ }"
        case StructField():
            return _struct(field, named, path)
        case ArrayField() | SequenceField():
            return _array(shower(field.element, named, path))
        case VariantField():
            options = [shower(option.field) for option in field.options]
            return lambda choice: f"{{ {options[choice.option](choice.value)} }}"
        case OptionField():
            inner = shower(field.field)
            return lambda value: "<none>" if value is None else f"{{ {inner(value)} }}"
        case _:
            return escape


def packet_members(field: StructField | None) -> list[Member]:
    """Return the members of a packet context that are shown: not those that the reader uses up (sizes, times, ...)."""
    members = () if field is None else field.members
    return [
        member
        for member in members
        if not (isinstance(member.field, IntegerField | VarIntField) and member.field.roles)
    ]


def _integer(base: DisplayBase, signed: bool, size: int) -> Show:
    match base:
        case DisplayBase.DECIMAL:
            return str
        case DisplayBase.HEXADECIMAL:
            mask = (1 << min(-(-size // 4) * 4, 64)) - 1
            return lambda value: f"0x{value & mask:X}"
        case DisplayBase.OCTAL:
            # Negative numbers show as many octal digits as their size has, all of them at 64 bits.
            mask = (1 << min(-(-size // 3) * 3, 64) if signed else 1 << 64) - 1
            return lambda value: f"0{value & mask:o}"
        case DisplayBase.BINARY:
            mask = (1 << size) - 1
            return lambda value: f"0b{value & mask:0{size}b}"


def _enumeration(field: IntegerField | VarIntField, show: Show) -> Show:
    mappings = [(escape(mapping.label), mapping.ranges) for mapping in field.mappings]
    seen: dict[int, str] = {}

    def enumeration(value: int) -> str:
        text = seen.get(value)
        if text is None:
            labels = [label for label, ranges in mappings if any(low <= value <= high for low, high in ranges)]
            text = f"( {', '.join(labels) or '<unknown>'} : container = {show(value)} )"
            if len(seen) < 4096:
                seen[value] = text
        return text

    return enumeration


def _float(value: float) -> str:
    return "-nan" if math.isnan(value) and math.copysign(1.0, value) < 0 else f"{value:g}"


def _struct(field: StructField, named: Named, path: str) -> Show:
    members = [
        (
            member.name,
            f"{member.name} = ",
            named(f"{path}{member.name}") or shower(member.field, named, f"{path}{member.name}."),
        )
        for member in field.members
    ]

    def struct(values: dict[str, Any]) -> str:
        if not members:
            return "{ }"
        return f"{{ {', '.join([label + show(values[name]) for name, label, show in members])} }}"

    return struct


def _array(element: Show) -> Show:
    def array(values: list[Any]) -> str:
        if not values:
            return "[ ]"
        return f"[ {', '.join([f'[{index}] = {element(value)}' for index, value in enumerate(values)])} ]"

    return array
