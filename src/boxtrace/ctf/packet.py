"""Packets and event records: what a decoder gives, and the decoder in Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from boxtrace.ctf.cursor import MAX_EMPTY_ELEMENTS, Cursor, DecodeError
from boxtrace.ctf.decode import Decode, compile_root, locations
from boxtrace.ctf.fields import FieldLocation, Role, Scope, StructField
from boxtrace.ctf.lttng import PACKET_MAGIC
from boxtrace.ctf.model import EventClass, StreamClass, TraceClass

__all__ = ["EventRecord", "PacketDecoder", "PacketHead", "PythonDecoder", "RecordView"]

Buffer: TypeAlias = "memoryview[int]"
Fields: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PacketHead:
    """A packet's header and context. Sizes in bits; times in cycles of the stream's clock; None where not recorded."""

    offset: int
    """Where the packet begins in its file, in bytes."""
    size: int
    content: int
    """Header, context and event records, without the padding after them."""
    body: int
    """Where the first event record begins, in bits from the start of the packet."""
    stream: StreamClass
    stream_id: int | None
    begin: int | None
    end: int | None
    discarded: int | None
    """Events discarded since the start of the stream, up to the end of this packet."""
    sequence: int | None
    clock: int
    """Value of the clock where the first event record begins."""
    header: Fields
    context: Fields
    slots: Mapping[FieldLocation, int]
    cut: bool = False
    """The file ends before the packet does."""


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One event as decoded. ``cycles`` is None in a stream without clock."""

    event: EventClass
    cycles: int | None
    packet: PacketHead
    header: Fields | None
    common: Fields | None
    specific: Fields | None
    payload: Fields | None


class RecordView(Protocol):
    """What can be asked of an event: of an :class:`EventRecord`, and of one whose fields are decoded when asked for."""

    @property
    def event(self) -> EventClass:
        """The event's class."""
        ...

    @property
    def packet(self) -> PacketHead:
        """The packet that holds the event."""
        ...

    @property
    def common(self) -> Fields | None:
        """The context that all events of the stream have."""
        ...

    @property
    def specific(self) -> Fields | None:
        """The context of this event's class."""
        ...

    @property
    def payload(self) -> Fields | None:
        """The event's own fields."""
        ...


class PacketDecoder(Protocol):
    """Decodes the packets of one trace; the native and the Python decoder are its two forms."""

    def head(self, data: Buffer, offset: int, clock: int = 0) -> PacketHead:
        """Decode header and context of the packet at a byte offset of a stream file.

        :param clock: the clock's value at the end of the packet before.
        :raises DecodeError: if that is not possible; positions count from the start of the packet.
        """
        ...

    def events(self, data: Buffer, head: PacketHead) -> Iterator[EventRecord]:
        """Yield the event records of a packet in the order of the file.

        :raises DecodeError: where a record cannot be decoded, after those before it were given.
        """
        ...

    def record(self, data: Buffer, head: PacketHead, position: int, clock: int) -> EventRecord:
        """Decode one event record of a packet.

        :param position: the bit of the packet where it begins.
        :param clock: the clock's value there.
        :raises DecodeError: if that is not possible.
        """
        ...


@dataclass(frozen=True, slots=True)
class _StreamPlan:
    context: Decode | None
    header: Decode | None
    common: Decode | None
    events: dict[int, EventClass]


class PythonDecoder:
    """Decodes field by field in Python: slow, and meant to be read."""

    def __init__(self, trace: TraceClass) -> None:
        self._trace = trace
        self._streams = {stream.id: stream for stream in trace.streams}
        self._plans: dict[int, _StreamPlan] = {}
        self._events: dict[tuple[int, int], tuple[Decode | None, Decode | None]] = {}
        self._needed = frozenset(
            location for stream in trace.streams for root in _roots(stream) for location in locations(root)
        ) | frozenset(locations(trace.packet_header))
        self._header = compile_root(Scope.PACKET_HEADER, trace.packet_header, self._needed)

    def head(self, data: Buffer, offset: int, clock: int = 0) -> PacketHead:
        """Decode header and context of the packet at a byte offset of a stream file."""
        available = (len(data) - offset) * 8
        cursor = Cursor(data[offset:], available, clock)
        header: Fields = {} if self._header is None else self._header(cursor)
        roles = cursor.roles
        if roles.get(Role.PACKET_MAGIC, PACKET_MAGIC) != PACKET_MAGIC:
            raise DecodeError(f"not a packet: magic {roles[Role.PACKET_MAGIC]:#x}", 0, "magic")
        if cursor.uuid is not None and self._trace.uuid is not None and cursor.uuid != self._trace.uuid.bytes:
            raise DecodeError("the packet's UUID is not the trace's", 0, "uuid")
        stream = self._stream_class(roles.get(Role.STREAM_CLASS_ID), cursor)
        plan = self._plan(stream)
        context: Fields = {} if plan.context is None else plan.context(cursor)
        size, content = self._sizes(roles, available, cursor.pos)
        cut = size > available
        return PacketHead(
            offset=offset,
            size=size,
            content=min(content, available),
            body=cursor.pos,
            stream=stream,
            stream_id=roles.get(Role.STREAM_ID),
            begin=roles.get(Role.TIMESTAMP),
            end=roles.get(Role.TIMESTAMP_END),
            discarded=roles.get(Role.EVENTS_DISCARDED),
            sequence=roles.get(Role.PACKET_SEQ_NUM),
            clock=cursor.clock,
            header=header,
            context=context,
            slots=cursor.slots,
            cut=cut,
        )

    def events(self, data: Buffer, head: PacketHead) -> Iterator[EventRecord]:
        """Yield the event records of a packet in the order of the file."""
        plan = self._plan(head.stream)
        cursor = self._cursor(data, head, head.body, head.clock)
        while cursor.pos < cursor.end:
            start = cursor.pos
            yield self._record(plan, head, cursor)
            if cursor.pos == start:
                raise DecodeError("an event record of no size", start, "")

    def record(self, data: Buffer, head: PacketHead, position: int, clock: int) -> EventRecord:
        """Decode one event record of a packet."""
        return self._record(self._plan(head.stream), head, self._cursor(data, head, position, clock))

    def _cursor(self, data: Buffer, head: PacketHead, position: int, clock: int) -> Cursor:
        stop = head.offset + (head.content + 7) // 8
        cursor = Cursor(data[head.offset : stop], head.content, clock)
        cursor.pos = position
        cursor.slots.update(head.slots)
        return cursor

    def _record(self, plan: _StreamPlan, head: PacketHead, cursor: Cursor) -> EventRecord:
        cursor.roles.clear()
        cursor.empties = MAX_EMPTY_ELEMENTS
        header = None if plan.header is None else plan.header(cursor)
        event = self._event_class(plan, head.stream, cursor)
        cycles = None if head.stream.clock is None else cursor.clock
        common = None if plan.common is None else plan.common(cursor)
        specific, payload = self._event_plan(head.stream, event)
        own = None if specific is None else specific(cursor)
        fields = None if payload is None else payload(cursor)
        if cursor.pos > cursor.end:
            raise DecodeError("an event record's alignment leads out of the packet", cursor.pos, "")
        return EventRecord(event, cycles, head, header, common, own, fields)

    def _stream_class(self, number: int | None, cursor: Cursor) -> StreamClass:
        if number is None:
            if len(self._streams) != 1:
                raise DecodeError("the packet does not tell its stream class", cursor.pos, "stream_id")
            return next(iter(self._streams.values()))
        if number not in self._streams:
            raise DecodeError(f"stream class {number} is not in the metadata", cursor.pos, "stream_id")
        return self._streams[number]

    def _sizes(self, roles: Mapping[Role, int], available: int, body: int) -> tuple[int, int]:
        size = roles.get(Role.PACKET_SIZE, roles.get(Role.CONTENT_SIZE, available))
        content = roles.get(Role.CONTENT_SIZE, size)
        if content > size:
            raise DecodeError(f"content of {content} bits in a packet of {size} bits", body, "content_size")
        if content < body or size % 8:
            raise DecodeError(f"a packet cannot have {size} bits, {content} of them content", body, "packet_size")
        return size, content

    def _plan(self, stream: StreamClass) -> _StreamPlan:
        plan = self._plans.get(stream.id)
        if plan is None:
            plan = self._plans[stream.id] = _StreamPlan(
                context=compile_root(Scope.PACKET_CONTEXT, stream.packet_context, self._needed),
                header=compile_root(Scope.EVENT_HEADER, stream.event_header, self._needed),
                common=compile_root(Scope.EVENT_COMMON_CONTEXT, stream.event_context, self._needed),
                events={event.id: event for event in stream.events},
            )
        return plan

    def _event_class(self, plan: _StreamPlan, stream: StreamClass, cursor: Cursor) -> EventClass:
        number = cursor.roles.get(Role.EVENT_ID)
        if number is None:
            if len(stream.events) != 1:
                raise DecodeError("the event record does not tell its class", cursor.pos, "id")
            return stream.events[0]
        event = plan.events.get(number)
        if event is None:
            raise DecodeError(
                f"event class {number} of stream class {stream.id} is not in the metadata", cursor.pos, "id"
            )
        return event

    def _event_plan(self, stream: StreamClass, event: EventClass) -> tuple[Decode | None, Decode | None]:
        key = (stream.id, event.id)
        found = self._events.get(key)
        if found is None:
            found = self._events[key] = (
                compile_root(Scope.EVENT_SPECIFIC_CONTEXT, event.context, self._needed),
                compile_root(Scope.EVENT_PAYLOAD, event.fields, self._needed),
            )
        return found


def _roots(stream: StreamClass) -> Iterator[StructField | None]:
    yield from (stream.packet_context, stream.event_header, stream.event_context)
    for event in stream.events:
        yield from (event.context, event.fields)
