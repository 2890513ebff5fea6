"""One event of a trace, as iteration gives it: what it holds is decoded when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from boxtrace._native import CtfEvent
from boxtrace.ctf.decode import plain
from boxtrace.ctf.fields import Scope
from boxtrace.ctf.model import EventClass
from boxtrace.ctf.packet import EventRecord, PacketHead

if TYPE_CHECKING:
    from boxtrace.trace.stream import Packet, Stream

__all__ = ["Event", "EventKind", "EventView"]


@dataclass(frozen=True, slots=True)
class EventKind:
    """The events of one class in one stream, and where the native core keeps their fields."""

    event: EventClass
    stream: Stream
    fields: Mapping[Scope, Mapping[str, int]]
    """By scope, the columns of the fields that are numbers, truth values or text in UTF-8."""
    complete: frozenset[Scope]
    """The scopes that have no other fields."""
    others: frozenset[str]
    """Names that mean a field of another sort."""


class Event(CtfEvent, Mapping[str, Any]):
    """An event: a mapping of its fields' names to their values, payload first, then contexts, then the packet's.

    A name that several of them have means the first; the parts are there one by one, too. A variant's value is that of
    the option that was recorded. An event that is kept keeps the batch of events in memory that it was decoded with.
    """

    __slots__ = ()
    _kind: EventKind
    _record: EventRecord | None

    @property
    def stream(self) -> Stream:
        """The stream that the event is in."""
        return self._kind.stream

    @property
    def record(self) -> EventRecord:
        """Everything as decoded, with :class:`~boxtrace.ctf.decode.Choice` for variants."""
        if self._record is None:
            packet, position, clock = self._where()
            self._record = packet.file.decoder.record(packet.file.data, packet.head, position, clock)
        return self._record

    @property
    def view(self) -> EventView:
        """The event as a record whose fields are decoded one by one, when asked for."""
        return EventView(self)

    @property
    def payload(self) -> Mapping[str, Any]:
        """The event's own fields."""
        return self._fields(Scope.EVENT_PAYLOAD)

    @property
    def context(self) -> Mapping[str, Any]:
        """Context fields: those that all events of the stream have, then those of this event's class."""
        specific = self._fields(Scope.EVENT_SPECIFIC_CONTEXT)
        common = self._fields(Scope.EVENT_COMMON_CONTEXT)
        return {**common, **specific} if specific else common

    @property
    def packet_context(self) -> Mapping[str, Any]:
        """Context fields of the packet that holds the event, such as ``cpu_id``."""
        return {name: plain(value) for name, value in self._where()[0].head.context.items()}

    def _other(self, name: str) -> Any:
        """Return the value of a field that has no column of its own."""
        if name not in self._kind.others:
            return plain(self._where()[0].head.context[name])
        record = self.record
        fields = next(part for part in (record.payload, record.specific, record.common) if part and name in part)
        return plain(fields[name])

    def __iter__(self) -> Iterator[str]:
        return iter({**self.payload, **self.context, **self.packet_context})

    def __len__(self) -> int:
        return len({**self.payload, **self.context, **self.packet_context})

    def __repr__(self) -> str:
        return f"<Event {self.name} at {self.timestamp}: {dict(self.payload)}>"

    def _where(self) -> tuple[Packet, int, int]:
        """Return the event's packet, the bit of it where its record begins, and the value of the clock there."""
        chunk, number, position, clock = self._place()
        packet: Packet = chunk[number][0]
        return packet, position, clock

    def _fields(self, scope: Scope) -> dict[str, Any]:
        kind = self._kind
        if scope in kind.complete:
            value = self._value
            return {name: value(column) for name, column in kind.fields[scope].items()}
        fields = _of_scope(self.record, scope)
        return {} if fields is None else {name: plain(item) for name, item in fields.items()}


class EventView:
    """An event as a :class:`~boxtrace.ctf.packet.RecordView`: what filters look at."""

    __slots__ = ("_event",)

    def __init__(self, event: Event) -> None:
        self._event = event

    @property
    def event(self) -> EventClass:
        """The event's class."""
        return self._event._kind.event

    @property
    def packet(self) -> PacketHead:
        """The packet that holds the event."""
        return self._event._where()[0].head

    @property
    def common(self) -> Mapping[str, Any] | None:
        """The context that all events of the stream have."""
        return _ScopeView(self._event, Scope.EVENT_COMMON_CONTEXT)

    @property
    def specific(self) -> Mapping[str, Any] | None:
        """The context of this event's class."""
        return _ScopeView(self._event, Scope.EVENT_SPECIFIC_CONTEXT)

    @property
    def payload(self) -> Mapping[str, Any] | None:
        """The event's own fields."""
        return _ScopeView(self._event, Scope.EVENT_PAYLOAD)


class _ScopeView(Mapping[str, Any]):
    """The fields of one scope, decoded one by one."""

    __slots__ = ("_event", "_scope")

    def __init__(self, event: Event, scope: Scope) -> None:
        self._event = event
        self._scope = scope

    def __getitem__(self, name: str) -> Any:
        event = self._event
        column = event._kind.fields[self._scope].get(name)
        if column is not None:
            return event._value(column)
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> Mapping[str, Any]:
        return _of_scope(self._event.record, self._scope) or {}


def _of_scope(record: EventRecord, scope: Scope) -> Mapping[str, Any] | None:
    if scope is Scope.EVENT_PAYLOAD:
        return record.payload
    return record.specific if scope is Scope.EVENT_SPECIFIC_CONTEXT else record.common
