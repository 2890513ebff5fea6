"""Model to CTF 2 metadata: a JSON text sequence of fragments."""

from __future__ import annotations

import json
from typing import Any

from boxtrace.ctf.fields import (
    ArrayField,
    BitArrayField,
    BitMapField,
    BlobField,
    BoolField,
    ByteOrder,
    DisplayBase,
    DynamicBlobField,
    DynamicStringField,
    EnumMapping,
    FieldClass,
    FieldLocation,
    FloatField,
    IntegerField,
    OptionField,
    Ranges,
    Role,
    SequenceField,
    StaticStringField,
    StringField,
    StructField,
    VariantField,
    VarIntField,
)
from boxtrace.ctf.json_fields import ENCODING_NAMES
from boxtrace.ctf.model import UNIX_EPOCH, ClockClass, EventClass, StreamClass, TraceClass

__all__ = ["write_json", "write_json_event"]


def write_json(trace: TraceClass) -> str:
    """Return the metadata of a trace."""
    preamble: dict[str, Any] = {"type": "preamble", "version": 2}
    if trace.uuid is not None:
        preamble["uuid"] = list(trace.uuid.bytes)
    parts = [_fragment(preamble), _fragment(_trace_class(trace))]
    parts += [_fragment(_clock_class(clock)) for clock in trace.clocks]
    for stream in trace.streams:
        parts.append(_fragment(_stream_class(stream)))
        parts += [write_json_event(event) for event in stream.events]
    return "".join(parts)


def write_json_event(event: EventClass) -> str:
    """Return the metadata of one event class, to be appended to that of a trace."""
    fragment: dict[str, Any] = {"type": "event-record-class", "id": event.id, "data-stream-class-id": event.stream_id}
    if event.name:
        fragment["name"] = event.name
    _identity(fragment, event)
    kept = {key: value for key, value in (("loglevel", event.loglevel), ("uri", event.uri)) if value is not None}
    if kept:
        fragment["attributes"] = {**event.attributes, "boxtrace": kept}
    _root(fragment, "specific-context-field-class", event.context, clocked=True)
    _root(fragment, "payload-field-class", event.fields, clocked=True)
    return _fragment(fragment)


def _fragment(value: dict[str, Any]) -> str:
    return f"\x1e{json.dumps(value, ensure_ascii=False, indent=1)}\n"


def _identity(fragment: dict[str, Any], value: TraceClass | ClockClass | StreamClass | EventClass) -> None:
    for name in ("namespace", "uid"):
        if (text := getattr(value, name)) is not None:
            fragment[name] = text
    if value.attributes:
        fragment["attributes"] = dict(value.attributes)


def _root(fragment: dict[str, Any], name: str, field: StructField | None, *, clocked: bool) -> None:
    if field is not None:
        fragment[name] = _field(field, clocked)


def _trace_class(trace: TraceClass) -> dict[str, Any]:
    fragment: dict[str, Any] = {"type": "trace-class"}
    if trace.name is not None:
        fragment["name"] = trace.name
    _identity(fragment, trace)
    if trace.environment:
        fragment["environment"] = dict(trace.environment)
    _root(fragment, "packet-header-field-class", trace.packet_header, clocked=True)
    return fragment


def _clock_class(clock: ClockClass) -> dict[str, Any]:
    fragment: dict[str, Any] = {"type": "clock-class", "id": clock.name, "name": clock.title or clock.name}
    _identity(fragment, clock)
    fragment["frequency"] = clock.frequency
    if clock.origin == UNIX_EPOCH:
        fragment["origin"] = "unix-epoch"
    elif clock.origin is not None:
        fragment["origin"] = {"name": clock.origin.name, "uid": clock.origin.uid}
        if clock.origin.namespace is not None:
            fragment["origin"]["namespace"] = clock.origin.namespace
    fragment["offset-from-origin"] = {"seconds": clock.offset_seconds, "cycles": clock.offset_cycles}
    for name in ("description", "precision", "accuracy"):
        if (value := getattr(clock, name)) is not None:
            fragment[name] = value
    return fragment


def _stream_class(stream: StreamClass) -> dict[str, Any]:
    fragment: dict[str, Any] = {"type": "data-stream-class", "id": stream.id}
    if stream.name is not None:
        fragment["name"] = stream.name
    _identity(fragment, stream)
    clocked = stream.clock is not None
    if clocked:
        fragment["default-clock-class-id"] = stream.clock
    _root(fragment, "packet-context-field-class", stream.packet_context, clocked=clocked)
    _root(fragment, "event-record-header-field-class", stream.event_header, clocked=clocked)
    _root(fragment, "event-record-common-context-field-class", stream.event_context, clocked=True)
    return fragment


def _field(field: FieldClass, clocked: bool) -> dict[str, Any]:
    out = _described(field, clocked)
    if field.attributes:
        out["attributes"] = dict(field.attributes)
    return out


def _described(field: FieldClass, clocked: bool) -> dict[str, Any]:
    match field:
        case IntegerField():
            sign = "signed" if field.signed else "unsigned"
            return {"type": f"fixed-length-{sign}-integer", **_bits(field), **_number(field, clocked)}
        case VarIntField():
            sign = "signed" if field.signed else "unsigned"
            return {"type": f"variable-length-{sign}-integer", **_number(field, clocked)}
        case BitArrayField():
            return {"type": "fixed-length-bit-array", **_bits(field)}
        case BitMapField():
            return {"type": "fixed-length-bit-map", **_bits(field), "flags": _mappings(field.flags)}
        case BoolField():
            return {"type": "fixed-length-boolean", **_bits(field)}
        case FloatField():
            return {"type": "fixed-length-floating-point-number", **_bits(field)}
        case StringField():
            return {"type": "null-terminated-string", "encoding": ENCODING_NAMES[field.encoding]}
        case StaticStringField():
            encoding = ENCODING_NAMES[field.encoding]
            return {"type": "static-length-string", "length": field.length, "encoding": encoding}
        case DynamicStringField():
            encoding = ENCODING_NAMES[field.encoding]
            return {"type": "dynamic-length-string", **_length(field.length), "encoding": encoding}
        case BlobField():
            return _blob(field.length, field.media_type, field.roles)
        case DynamicBlobField():
            return {"type": "dynamic-length-blob", **_length(field.length), "media-type": field.media_type}
        case ArrayField(element=IntegerField(size=8), roles=(Role.METADATA_UUID,)):
            return _blob(field.length, "application/octet-stream", field.roles)
        case ArrayField() | SequenceField():
            return _array(field, clocked)
        case StructField():
            return _struct(field, clocked)
        case VariantField():
            return _variant(field, clocked)
        case OptionField():
            out: dict[str, Any] = {"type": "optional", "selector-field-location": _location(field.selector)}
            if field.ranges is not None:
                out["selector-field-ranges"] = _ranges(field.ranges)
            return {**out, "field-class": _field(field.field, clocked)}


def _bits(field: IntegerField | BitArrayField | BitMapField | BoolField | FloatField) -> dict[str, Any]:
    little = field.byte_order is ByteOrder.LITTLE
    out: dict[str, Any] = {
        "length": field.size,
        "byte-order": "little-endian" if little else "big-endian",
        "alignment": field.align,
    }
    if field.reversed_bits:
        out["bit-order"] = "last-to-first" if little else "first-to-last"
    return out


def _number(field: IntegerField | VarIntField, clocked: bool) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if field.base is not DisplayBase.DECIMAL:
        out["preferred-display-base"] = field.base.value
    if field.mappings:
        out["mappings"] = _mappings(field.mappings)
    times = (Role.TIMESTAMP, Role.TIMESTAMP_END)
    roles = [role.value for role in field.roles if clocked or role not in times]
    if roles:
        out["roles"] = roles
    return out


def _mappings(mappings: tuple[EnumMapping, ...]) -> dict[str, Any]:
    return {mapping.label: _ranges(mapping.ranges) for mapping in mappings}


def _ranges(ranges: Ranges) -> list[list[int]]:
    return [list(pair) for pair in ranges]


def _location(location: FieldLocation) -> dict[str, Any]:
    return {"origin": location.scope.value, "path": list(location.path)}


def _length(location: FieldLocation) -> dict[str, Any]:
    return {"length-field-location": _location(location)}


def _blob(length: int, media_type: str, roles: tuple[Role, ...]) -> dict[str, Any]:
    out: dict[str, Any] = {"type": "static-length-blob", "length": length, "media-type": media_type}
    return {**out, "roles": [role.value for role in roles]} if roles else out


def _array(field: ArrayField | SequenceField, clocked: bool) -> dict[str, Any]:
    out: dict[str, Any] = {"element-field-class": _field(field.element, clocked)}
    if field.align > 1:
        out["minimum-alignment"] = field.align
    if isinstance(field, ArrayField):
        return {"type": "static-length-array", "length": field.length, **out}
    return {"type": "dynamic-length-array", **_length(field.length), **out}


def _struct(field: StructField, clocked: bool) -> dict[str, Any]:
    members = []
    for member in field.members:
        item: dict[str, Any] = {"name": member.name, "field-class": _field(member.field, clocked)}
        if member.attributes:
            item["attributes"] = dict(member.attributes)
        members.append(item)
    out: dict[str, Any] = {"type": "structure", "member-classes": members}
    return {**out, "minimum-alignment": field.align} if field.align > 1 else out


def _variant(field: VariantField, clocked: bool) -> dict[str, Any]:
    options = []
    for option in field.options:
        if not option.ranges:
            continue  # what no selector chooses cannot be written, and is not needed
        item: dict[str, Any] = {"name": option.name, "field-class": _field(option.field, clocked)}
        item["selector-field-ranges"] = _ranges(option.ranges)
        options.append(item)
    return {"type": "variant", "selector-field-location": _location(field.selector), "options": options}
