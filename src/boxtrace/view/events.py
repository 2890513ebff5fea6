"""Events that can be recorded, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TextIO

from boxtrace.ctf.fields import (
    ArrayField,
    ByteOrder,
    DisplayBase,
    DynamicStringField,
    FieldClass,
    IntegerField,
    Member,
    SequenceField,
    StaticStringField,
    StringField,
    StructField,
    VariantField,
)
from boxtrace.kernel.listing import ListedEvent
from boxtrace.view.table import write_table

__all__ = ["type_name", "write_events", "write_events_json"]


def type_name(field: FieldClass) -> str:
    """Return a short name of a field's type: ``u32``, ``i64``, ``u64/hex``, ``string``, ``text[16]``, ``u8[...]``."""
    match field:
        case IntegerField():
            base = {DisplayBase.HEXADECIMAL: "/hex", DisplayBase.OCTAL: "/oct"}.get(field.base, "")
            order = "/be" if field.byte_order is ByteOrder.BIG else ""
            name = f"{'i' if field.signed else 'u'}{field.size}{base}{order}"
            return f"enum {name}" if field.mappings else name
        case StringField():
            return "string"
        case StaticStringField(length=length):
            return f"text[{length}]"
        case DynamicStringField():
            return "text[...]"
        case ArrayField(element=element, length=length):
            return f"{type_name(element)}[{length}]"
        case SequenceField(element=element):
            return f"{type_name(element)}[...]"
        case StructField(members=members):
            return "{" + ", ".join(f"{member.name} {type_name(member.field)}" for member in members) + "}"
        case VariantField(options=options):
            return "variant of " + ", ".join(option.name for option in options)
        case _:
            return type(field).__name__.removesuffix("Field").lower()


def _shown(members: Sequence[Member]) -> list[Member]:
    """Leave out what only tells the length of another member."""
    return [member for member in members if not (member.name.startswith("_") and member.name.endswith("_length"))]


def write_events(events: Sequence[ListedEvent], stream: TextIO) -> None:
    """Write a table: name, the kernel's tracepoint, fields with types."""
    rows = [
        [
            event.name,
            event.source,
            ", ".join(f"{member.name} {type_name(member.field)}" for member in _shown(event.fields)) or None,
        ]
        for event in events
    ]
    write_table(["EVENT", "TRACEPOINT", "FIELDS"], rows, stream)


def write_events_json(events: Sequence[ListedEvent], stream: TextIO) -> None:
    """Write a JSON array; ``lttng`` tells how far an event is the one that LTTng has."""
    document = [
        {
            "name": event.name,
            "tracepoint": event.source,
            "fields": [
                {
                    "name": member.name,
                    "type": type_name(member.field),
                    **_labels(member.field),
                }
                for member in _shown(event.fields)
            ],
            "lttng": {
                "name": event.lttng,
                "layout": event.missing is not None and not event.missing,
                "missing": list(event.missing or ()),
            },
        }
        for event in events
    ]
    json.dump(document, stream, indent=1)
    stream.write("\n")


def _labels(field: FieldClass) -> dict[str, object]:
    if not isinstance(field, IntegerField) or not field.mappings:
        return {}
    return {"labels": {mapping.label: [list(pair) for pair in mapping.ranges] for mapping in field.mappings}}
