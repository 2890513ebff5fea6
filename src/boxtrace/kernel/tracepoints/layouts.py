"""LTTng's names and layouts for the kernel's tracepoints, filled from the kernel's own records (``data/lttng.txt``)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from boxtrace.ctf.fields import (
    ArrayField,
    ByteOrder,
    DisplayBase,
    DynamicStringField,
    FieldLocation,
    IntegerField,
    Member,
    Scope,
    StaticStringField,
    StringField,
)
from boxtrace.kernel.tracefs import EventFormat, FormatField
from boxtrace.kernel.tracepoints.fields import INTEGER_SIZES, element_size, is_text, sequence
from boxtrace.kernel.tracepoints.model import Copy, Layout
from boxtrace.kernel.tracepoints.network import NETWORK_HEADERS
from boxtrace.kernel.tracepoints.symbols import flag_bit, print_symbols

__all__ = ["LayoutField", "LttngEvent", "fill_layout", "lttng_events", "page_array", "parse_layouts"]

_FIELD = re.compile(
    r"(?P<name>\w+):(?P<type>[^=?]+)(?:=(?P<source>@?\w+?)(?:(?P<add>[+-]\d+)|&(?P<flag>\w+))?)?(?P<optional>\?)?"
)
_INTEGER = re.compile(
    r"(?P<sign>[ui])(?P<bits>8|16|32|64)(?P<hex>x)?(?P<big>be)?(?P<enum>\{\})?"
    r"(?:\[(?P<array>\d+)\]|<u(?P<length>\d+)>)?"
)
_TEXT = re.compile(r"text(?:(?P<size>\d+)|<u(?P<length>\d+)>)")
_COMM_SIZE = 16
_SYMBOLS = "/proc/kallsyms"


@dataclass(frozen=True, slots=True)
class LayoutField:
    """A field as LTTng has it.

    :param source: the kernel's field, or what begins with ``@``.
    :param add: what is added to its value.
    :param flag: by which name the kernel prints the one flag that is wanted of its value.
    :param optional: whether an event without it is still LTTng's.
    """

    name: str
    type: str
    source: str
    add: int = 0
    optional: bool = False
    flag: str | None = None


@dataclass(frozen=True, slots=True)
class LttngEvent:
    """An event of LTTng: its name, and its layouts, the one to be preferred first."""

    name: str
    layouts: tuple[tuple[LayoutField, ...], ...]


def _parse_field(text: str) -> LayoutField:
    match = _FIELD.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not NAME:TYPE=SOURCE")
    source = match["source"] or match["name"]
    return LayoutField(
        match["name"], match["type"], source, int(match["add"] or 0), bool(match["optional"]), match["flag"]
    )


def parse_layouts(text: str) -> dict[tuple[str, str], LttngEvent]:
    """Parse the data file; by the kernel's group and event.

    :raises ValueError: for a line that is not of its form.
    """
    found: dict[tuple[str, str], LttngEvent] = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        name, tracepoint, *parts = line.split()
        group, _, event = tracepoint.partition(":")
        layout = tuple(map(_parse_field, parts))
        before = found.get((group, event))
        found[group, event] = LttngEvent(name, (*(before.layouts if before else ()), layout))
    return found


@cache
def lttng_events() -> Mapping[tuple[str, str], LttngEvent]:
    """Return the events that LTTng has, by the kernel's group and event."""
    path = files("boxtrace.kernel.tracepoints").joinpath("data", "lttng.txt")
    return MappingProxyType(parse_layouts(path.read_text(encoding="ascii")))


@cache
def page_array() -> int:
    """Return the address at which the kernel keeps that of its array of pages; 0 if it does not tell."""
    with open(_SYMBOLS, encoding="ascii") as symbols:
        return next((int(line.split()[0], 16) for line in symbols if " vmemmap_base" in line), 0)


def fill_layout(fields: tuple[LayoutField, ...], described: EventFormat) -> tuple[Layout, tuple[str, ...]] | None:
    """Return a payload in LTTng's layout and the names of optional fields that the record does not give.

    :return: None when the record lacks more than that.
    """
    record = {field.name: field for field in described.fields}
    members: list[Member] = []
    copies: list[Copy] = []
    missing: list[str] = []
    for wanted in fields:
        part = _fill(wanted, record, described.print_format)
        if part is not None:
            members += part.members
            copies += part.copies
        elif wanted.optional:
            missing.append(wanted.name)
        else:
            return None
    return Layout(tuple(members), tuple(copies)), tuple(missing)


def _fill(wanted: LayoutField, record: Mapping[str, FormatField], print_format: str) -> Layout | None:
    if wanted.source == "@tid":
        return _single(wanted, IntegerField(size=32, signed=True), Copy("BT_COPY_TID"))
    if wanted.source == "@page":
        if "pfn" not in record or not page_array():
            return None
        address = IntegerField(size=64, base=DisplayBase.HEXADECIMAL)
        return _single(wanted, address, Copy("BT_COPY_PAGE", record["pfn"].offset))
    field = record.get(wanted.source)
    if field is None:
        return None
    if wanted.type == "network":
        return Layout(NETWORK_HEADERS, (Copy("BT_COPY_NETWORK", field.offset),)) if field.is_pointer else None
    if wanted.type == "rwbs":
        return _single(wanted, IntegerField(size=32), Copy("BT_COPY_RWBS", field.offset)) if is_text(field) else None
    if wanted.type == "string":
        return _string(wanted, field)
    if text := _TEXT.fullmatch(wanted.type):
        return _text(wanted, field, text)
    integer = _INTEGER.fullmatch(wanted.type)
    if integer is None:
        raise ValueError(f"{wanted.type!r} of {wanted.name} is no type")
    return _integer(wanted, field, integer, print_format)


def _single(
    wanted: LayoutField, field: IntegerField | StringField | StaticStringField | ArrayField, copy: Copy
) -> Layout:
    return Layout((Member(wanted.name, field),), (copy,))


def _string(wanted: LayoutField, field: FormatField) -> Layout | None:
    if not is_text(field):
        return None
    if field.dynamic:
        return _single(wanted, StringField(), Copy("BT_COPY_STRING", field.offset, relative=field.dynamic == "rel"))
    if field.elements is not None:
        return _single(wanted, StringField(), Copy("BT_COPY_CHARACTERS", field.offset, field.size))
    return _single(wanted, StringField(), Copy("BT_COPY_POINTED", field.offset)) if field.is_pointer else None


def _text(wanted: LayoutField, field: FormatField, text: re.Match[str]) -> Layout | None:
    if not is_text(field):
        return None
    relative = field.dynamic == "rel"
    if text["size"]:
        size = int(text["size"])
        static = StaticStringField(length=size)
        if field.elements is not None and field.size == size:
            return _single(wanted, static, Copy("BT_COPY_BYTES", field.offset, size))
        if field.dynamic and size == _COMM_SIZE:
            return _single(wanted, static, Copy("BT_COPY_COMM", field.offset, relative=relative))
        return None
    if not field.dynamic:
        return None
    bits = int(text["length"])
    length = f"_{wanted.name}_length"
    return Layout(
        (
            Member(length, IntegerField(size=bits)),
            Member(wanted.name, DynamicStringField(length=FieldLocation(Scope.EVENT_PAYLOAD, (length,)))),
        ),
        (Copy("BT_COPY_TEXT", field.offset, bits // 8, relative=relative),),
    )


def _integer(wanted: LayoutField, field: FormatField, kind: re.Match[str], print_format: str) -> Layout | None:
    size, signed = int(kind["bits"]) // 8, kind["sign"] == "i"
    plain = IntegerField(
        size=size * 8,
        signed=signed,
        base=DisplayBase.HEXADECIMAL if kind["hex"] else DisplayBase.DECIMAL,
        byte_order=ByteOrder.BIG if kind["big"] else ByteOrder.LITTLE,
    )
    if kind["length"]:
        if not field.dynamic or element_size(field) != size:
            return None
        return sequence(wanted.name, plain, size.bit_length() - 1, field, int(kind["length"]) // 8)
    if field.dynamic:
        return None
    if kind["array"]:
        length = int(kind["array"])
        if field.elements is None or field.size != length * size:
            return None
        return _single(wanted, ArrayField(element=plain, length=length), _copy_bytes(field, field.size))
    if field.elements is not None or field.size not in INTEGER_SIZES:
        return None
    if wanted.flag is not None:
        bit = flag_bit(print_format, wanted.flag)
        return (
            None
            if bit is None
            else _single(wanted, plain, Copy("BT_COPY_BIT", field.offset, width=field.size, add=bit))
        )
    if kind["enum"]:
        symbols = print_symbols(print_format, field.name, field.c_type, size, signed)
        plain = IntegerField(size=plain.size, signed=signed, base=plain.base, mappings=symbols)
    if size <= field.size and not wanted.add and not kind["big"]:
        return _single(wanted, plain, _copy_bytes(field, size))
    copy = Copy(
        "BT_COPY_INTEGER",
        field.offset,
        size,
        width=field.size,
        add=wanted.add,
        signed=field.signed,
        swapped=bool(kind["big"]),
    )
    return _single(wanted, plain, copy)


def _copy_bytes(field: FormatField, size: int) -> Copy:
    return Copy("BT_COPY_BYTES", field.offset, size)
