"""Model to TSDL (CTF 1.8 metadata text), in the form in which LTTng writes it.

Names of payload and context members get the extra leading underscore that keeps them apart from TSDL's keywords;
readers take it off again. Of CTF 2's own field classes, BLOBs become arrays and booleans and bit arrays numbers, which
take the same bits; others (options, variable-length integers, UTF-16, ...) have no TSDL form.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from uuid import UUID

from boxtrace.ctf import lttng
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
    Encoding,
    FieldClass,
    FieldLocation,
    FloatField,
    IntegerField,
    Member,
    Role,
    Scope,
    SequenceField,
    StaticStringField,
    StringField,
    StructField,
    VariantField,
)
from boxtrace.ctf.model import UNIX_EPOCH, ClockClass, EventClass, StreamClass, TraceClass
from boxtrace.ctf.tsdl_tags import Tags
from boxtrace.errors import UsageError

__all__ = ["METADATA_MAGIC", "packetize", "write_event", "write_tsdl"]

METADATA_MAGIC = 0x75D11D57
_PACKET_SIZE = 4096
_PACKET_HEADER = struct.Struct("<I16sIIIBBBBB")

_SCOPES = {
    Scope.PACKET_HEADER: "trace.packet.header",
    Scope.PACKET_CONTEXT: "stream.packet.context",
    Scope.EVENT_HEADER: "stream.event.header",
    Scope.EVENT_COMMON_CONTEXT: "stream.event.context",
    Scope.EVENT_SPECIFIC_CONTEXT: "event.context",
    Scope.EVENT_PAYLOAD: "event.fields",
}
Roots = Mapping[Scope, StructField | None]
_RESERVED = {
    Role.PACKET_MAGIC: "magic",
    Role.METADATA_UUID: "uuid",
    Role.STREAM_CLASS_ID: "stream_id",
    Role.STREAM_ID: "stream_instance_id",
    Role.PACKET_SIZE: "packet_size",
    Role.CONTENT_SIZE: "content_size",
    Role.TIMESTAMP_END: "timestamp_end",
    Role.EVENTS_DISCARDED: "events_discarded",
    Role.PACKET_SEQ_NUM: "packet_seq_num",
    Role.EVENT_ID: "id",
}
"""Names by which CTF 1.8 knows what CTF 2 knows by roles; the time when a packet begins has one in its context only."""
_PREFIXED = frozenset({Scope.EVENT_COMMON_CONTEXT, Scope.EVENT_SPECIFIC_CONTEXT, Scope.EVENT_PAYLOAD})
_MANTISSA = {32: (8, 24), 64: (11, 53), 16: (5, 11), 128: (15, 113)}


def write_tsdl(trace: TraceClass) -> str:
    """Return the metadata text of a trace.

    :raises UsageError: if the trace has a field class that CTF 1.8 does not know.
    """
    parts = ["/* CTF 1.8 */\n", _trace_block(trace)]
    if trace.environment:
        parts.append(_block("env", [f"{key} = {_value(value)};" for key, value in trace.environment.items()]))
    parts += [_clock_block(clock) for clock in trace.clocks]
    for stream in trace.streams:
        parts.append(_stream_block(trace, stream))
        around = Tags(_roots(trace, stream))
        parts += [write_event(event, trace.byte_order, around) for event in stream.events]
    return "\n".join(parts)


def write_event(event: EventClass, byte_order: ByteOrder = ByteOrder.LITTLE, around: Tags | None = None) -> str:
    """Return the metadata text of one event class, to be appended to that of a trace of that byte order.

    :param around: those of its stream class, needed if the event's variants are selected by fields of that.
    """
    tags = Tags({Scope.EVENT_SPECIFIC_CONTEXT: event.context, Scope.EVENT_PAYLOAD: event.fields}, around)
    lines = [f"name = {_value(event.name)};", f"id = {event.id};", f"stream_id = {event.stream_id};"]
    if event.loglevel is not None:
        lines.append(f"loglevel = {event.loglevel};")
    if event.uri is not None:
        lines.append(f"model.emf.uri = {_value(event.uri)};")
    if event.context is not None:
        lines += _scope("context", event.context, Scope.EVENT_SPECIFIC_CONTEXT, byte_order, tags)
    if event.fields is not None:
        lines += _scope("fields", event.fields, Scope.EVENT_PAYLOAD, byte_order, tags)
    return _block("event", lines)


def packetize(text: str, uuid: UUID) -> bytes:
    """Return metadata text as the packets of a metadata stream file.

    :param uuid: the trace's own; every packet carries it.
    """
    data = text.encode()
    room = _PACKET_SIZE - _PACKET_HEADER.size
    packets = []
    for start in range(0, len(data), room):
        content = data[start : start + room]
        bits = (_PACKET_HEADER.size + len(content)) * 8
        header = _PACKET_HEADER.pack(METADATA_MAGIC, uuid.bytes, 0, bits, _PACKET_SIZE * 8, 0, 0, 0, 1, 8)
        packets.append((header + content).ljust(_PACKET_SIZE, b"\0"))
    return b"".join(packets)


def _block(name: str, lines: list[str]) -> str:
    return f"{name} {{\n" + "".join(f"\t{line}\n" for line in lines) + "};\n"


def _value(value: int | str) -> str:
    if isinstance(value, int):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def _trace_block(trace: TraceClass) -> str:
    lines = ["major = 1;", "minor = 8;"]
    if trace.uuid is not None:
        lines.append(f'uuid = "{trace.uuid}";')
    lines.append(f"byte_order = {trace.byte_order.value};")
    if trace.packet_header is not None:
        tags = Tags({Scope.PACKET_HEADER: trace.packet_header})
        lines += _scope("packet.header", trace.packet_header, Scope.PACKET_HEADER, trace.byte_order, tags)
    return _block("trace", lines)


def _clock_block(clock: ClockClass) -> str:
    lines = [f"name = {clock.name};"]
    if clock.uid is not None:
        lines.append(f'uuid = "{clock.uid}";')
    if clock.description is not None:
        lines.append(f"description = {_value(clock.description)};")
    lines.append(f"freq = {clock.frequency};")
    if clock.precision is not None:
        lines.append(f"precision = {clock.precision};")
    if clock.offset_seconds:
        lines.append(f"offset_s = {clock.offset_seconds};")
    lines.append(f"offset = {clock.offset_cycles};")
    if clock.origin == UNIX_EPOCH and clock.name != lttng.CLOCK_NAME:
        lines.append("absolute = true;")
    return _block("clock", lines)


def _roots(trace: TraceClass, stream: StreamClass) -> Roots:
    return {
        Scope.PACKET_HEADER: trace.packet_header,
        Scope.PACKET_CONTEXT: stream.packet_context,
        Scope.EVENT_HEADER: stream.event_header,
        Scope.EVENT_COMMON_CONTEXT: stream.event_context,
    }


def _stream_block(trace: TraceClass, stream: StreamClass) -> str:
    lines = [f"id = {stream.id};"]
    tags = Tags(_roots(trace, stream))
    for name, scope, root in (
        ("event.header", Scope.EVENT_HEADER, stream.event_header),
        ("packet.context", Scope.PACKET_CONTEXT, stream.packet_context),
        ("event.context", Scope.EVENT_COMMON_CONTEXT, stream.event_context),
    ):
        if root is not None:
            lines += _scope(name, root, scope, trace.byte_order, tags)
    return _block("stream", lines)


def _scope(name: str, fields: StructField, scope: Scope, byte_order: ByteOrder, tags: Tags) -> list[str]:
    return _ScopeWriter(scope, byte_order, tags).declare(fields, f"{name} := ")


class _ScopeWriter:
    """Writes the fields of one root structure."""

    def __init__(self, scope: Scope, byte_order: ByteOrder, tags: Tags) -> None:
        self._tags = tags
        self._scope = scope
        self._byte_order = byte_order
        self._path: list[str] = []
        self._open: list[tuple[int, list[str]]] = []
        """Structures being written: how long the path to each is, and the members written so far."""

    def declare(self, struct_class: StructField, prefix: str) -> list[str]:
        lines = self._struct(struct_class)
        return [prefix + lines[0], *lines[1:-1], lines[-1] + ";"]

    def _member_name(self, member: Member) -> str:
        if isinstance(member.field, IntegerField | BlobField | ArrayField) and self._scope not in _PREFIXED:
            for role in member.field.roles:
                if role in _RESERVED:
                    return _RESERVED[role]
                if role is Role.TIMESTAMP and self._scope is Scope.PACKET_CONTEXT:
                    return "timestamp_begin"
        return self._name(member.name, self._scope)

    def _name(self, name: str, scope: Scope) -> str:
        return f"_{name}" if scope in _PREFIXED or name.startswith("_") else name

    def _reference(self, location: FieldLocation) -> str:
        names = [self._name(name, location.scope) for name in location.path]
        if location.scope is self._scope:
            nearer: set[str] = set()
            for depth, members in reversed(self._open):
                if location.path[:depth] == tuple(self._path[:depth]) and location.path[depth] in members:
                    if location.path[depth] in nearer:
                        break  # the plain name would mean the nearer member
                    return ".".join(names[depth:])
                nearer.update(members)
        return ".".join([_SCOPES[location.scope], *names])

    def _struct(self, struct_class: StructField) -> list[str]:
        lines = ["struct {"]
        members: list[str] = []
        self._open.append((len(self._path), members))
        for member in struct_class.members:
            lines += [f"\t{line}" for line in self._member(member)]
            members.append(member.name)
        self._open.pop()
        return [*lines, "}" if struct_class.align == 1 else f"}} align({struct_class.align})"]

    def _member(self, member: Member) -> list[str]:
        self._path.append(member.name)
        lines = self._declarator(member.field, self._member_name(member))
        self._path.pop()
        return lines

    def _declarator(self, field: FieldClass, name: str) -> list[str]:
        suffix = ""
        while isinstance(field, ArrayField | SequenceField):
            length = field.length if isinstance(field, ArrayField) else self._reference(field.length)
            suffix = f"{suffix}[{length}]"
            field = field.element
        if isinstance(field, BlobField | DynamicBlobField):
            length = field.length if isinstance(field, BlobField) else self._reference(field.length)
            return [f"integer {{ size = 8; align = 8; signed = 0; }} {name}{suffix}[{length}];"]
        if isinstance(field, StaticStringField | DynamicStringField):
            length = field.length if isinstance(field, StaticStringField) else self._reference(field.length)
            suffix = f"{suffix}[{length}]"
        lines = self._type(field)
        return [*lines[:-1], f"{lines[-1]} {name}{suffix};"]

    def _type(self, field: FieldClass) -> list[str]:
        match field:
            case IntegerField():
                return self._integer(field)
            case BoolField() | BitArrayField() | BitMapField():
                return self._integer(IntegerField(size=field.size, align=field.align, byte_order=field.byte_order))
            case FloatField() if field.size in _MANTISSA:
                exponent, mantissa = _MANTISSA[field.size]
                order = self._order(field.byte_order)
                return [
                    f"floating_point {{ exp_dig = {exponent}; mant_dig = {mantissa}; align = {field.align};{order} }}"
                ]
            case StringField(encoding=Encoding.UTF_8):
                return ["string"]
            case StaticStringField(encoding=Encoding.UTF_8) | DynamicStringField(encoding=Encoding.UTF_8):
                return ["integer { size = 8; align = 8; signed = 1; encoding = UTF8; base = 10; }"]
            case StructField():
                return self._struct(field)
            case VariantField():
                return self._variant(field)
            case _:
                raise UsageError(f"CTF 1.8 has no {type(field).__name__}", hint="write CTF 2 instead")

    def _order(self, byte_order: ByteOrder) -> str:
        return "" if byte_order is self._byte_order else f" byte_order = {byte_order.value};"

    def _integer(self, field: IntegerField) -> list[str]:
        if field.reversed_bits:
            raise UsageError("CTF 1.8 has no reversed bit order", hint="write CTF 2 instead")
        parts = [f"size = {field.size};", f"align = {field.align};", f"signed = {int(field.signed)};"]
        if self._scope in _PREFIXED or field.base is not DisplayBase.DECIMAL:
            parts += ["encoding = none;", f"base = {field.base.value};"]
        if field.clock is not None:
            parts.append(f"map = clock.{field.clock}.value;")
        text = f"integer {{ {' '.join(parts)}{self._order(field.byte_order)} }}"
        mappings = self._tags.mappings(FieldLocation(self._scope, tuple(self._path)), field)
        if not mappings:
            return [text]
        labels = [
            f"{_value(mapping.label)} = {low if low == high else f'{low} ... {high}'},"
            for mapping in mappings
            for low, high in mapping.ranges
        ]
        return [f"enum : {text} {{", *[f"\t{label}" for label in labels], "}"]

    def _variant(self, field: VariantField) -> list[str]:
        lines = [f"variant <{self._reference(field.selector)}> {{"]
        for option in field.options:
            declared = self._declarator(option.field, self._tags.label(field, option.name, option.ranges))
            lines += [f"\t{line}" for line in declared]
        return [*lines, "}"]
