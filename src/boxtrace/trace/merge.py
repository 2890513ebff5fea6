"""Events of several streams in the order of time, decoded and merged by the native core."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from boxtrace._native import CtfEventMerger
from boxtrace.ctf.fields import (
    BoolField,
    DynamicStringField,
    Encoding,
    FieldClass,
    FloatField,
    IntegerField,
    Scope,
    StaticStringField,
    StringField,
    StructField,
    VarIntField,
)
from boxtrace.ctf.model import EventClass, StreamClass
from boxtrace.ctf.plan_compile import StreamPlan, column_names
from boxtrace.errors import TraceFormatError
from boxtrace.filters import Filter
from boxtrace.trace.decoder import EVER, Chunk, Known, Stopped, StreamDecoder, feed, packet_chunks
from boxtrace.trace.event import Event, EventKind
from boxtrace.trace.filtering import RowFilter
from boxtrace.trace.stream import Stream, check_clocks

__all__ = ["EventSource", "merged_events"]

_AT_ONCE = 8192


def merged_events(
    streams: Sequence[Stream],
    begin: int | None,
    end: int | None,
    failures: list[TraceFormatError],
    sources: dict[tuple[int, int], EventSource],
    wanted: Filter | None = None,
) -> Iterator[list[Event]]:
    """Yield the events of streams in the order of time, some at once; of equal times the first stream's comes first.

    :param begin: only events at or after this time (ns).
    :param end: only events at or before this time (ns).
    :param failures: where errors in streams are put, when all that comes before them in the stream was decoded.
    :param sources: how streams of each class are decoded; what is missing is added. They are for one filter.
    :param wanted: only events that match.
    :raises UsageError: if the streams' clocks cannot be compared.
    """
    check_clocks(streams)
    merger = CtfEventMerger(Event)
    feeders = []
    for stream in streams:
        key = (id(stream.trace), stream.cls.id)
        if key not in sources:
            sources[key] = EventSource(stream, wanted)
        number = merger.add_stream([])
        feeders.append(_feed(merger, number, stream, sources[key], begin, end, failures))
    needy = -2
    while needy != -1:
        events, needy = merger.next(_AT_ONCE)
        yield events
        if needy >= 0:
            next(feeders[needy])


class EventSource:
    """How the streams of one class are decoded.

    :param stream: one of them.
    :param wanted: only events that match.
    """

    def __init__(self, stream: Stream, wanted: Filter | None) -> None:
        self._cls = cls = stream.cls
        self.rows = None if wanted is None else RowFilter(cls, wanted)
        self.plan = StreamPlan(cls, stream.clock, self._keep, raw_text=True)
        self.decoder = StreamDecoder(self.plan)
        self._kinds: dict[int, list[tuple[EventKind, str, dict[str, int]]]] = {}

    def _keep(self, event: EventClass) -> Callable[[str], bool] | None:
        cls = self._cls
        tested = frozenset() if self.rows is None else self.rows.fields_of(event)
        if tested is None:
            return None
        kept = _simple_fields(cls, event) | tested
        return {name for name, scope, own in column_names(cls, event) if (scope, own) in kept}.__contains__

    def kinds(self, stream: Stream, count: int) -> list[tuple[EventKind, str, dict[str, int]]]:
        """Return what the merger is told of the first event classes of the plan, for one of the streams."""
        known = self._kinds.setdefault(id(stream), [])
        for number in range(len(known), count):
            known.append(self._kind(number, stream))
        return known[:count]

    def _kind(self, number: int, stream: Stream) -> tuple[EventKind, str, dict[str, int]]:
        event = self.plan.events[number]
        roots = _roots(stream.cls, event)
        fields: dict[Scope, dict[str, int]] = {scope: {} for scope in roots}
        simple = _simple_fields(stream.cls, event)
        # In the order of the members, which is that of the columns.
        for (scope, name), column in self.plan.fields[number].items():
            if (scope, name) in simple:
                fields[scope][name] = column
        columns: dict[str, int] = {}
        seen: set[str] = set()
        for scope, root in roots.items():
            for name in () if root is None else (member.name for member in root.members):
                if name not in seen and name in fields[scope]:
                    columns[name] = fields[scope][name]
                seen.add(name)
        complete = {scope for scope, root in roots.items() if root is None or len(root.members) == len(fields[scope])}
        kind = EventKind(event, stream, fields, frozenset(complete), frozenset(seen - columns.keys()))
        return kind, event.name, columns


def _simple_fields(cls: StreamClass, event: EventClass) -> frozenset[tuple[Scope, str]]:
    """Return the members of an event's structures whose values the native core makes objects of."""
    return frozenset(
        (scope, member.name)
        for scope, root in _roots(cls, event).items()
        for member in (() if root is None else root.members)
        if _is_simple(member.field)
    )


def _roots(cls: StreamClass, event: EventClass) -> dict[Scope, StructField | None]:
    """Return an event's structures in the order in which a name is looked up."""
    return {
        Scope.EVENT_PAYLOAD: event.fields,
        Scope.EVENT_SPECIFIC_CONTEXT: event.context,
        Scope.EVENT_COMMON_CONTEXT: cls.event_context,
    }


def _is_simple(fc: FieldClass) -> bool:
    match fc:
        case IntegerField() | VarIntField() | BoolField():
            return True
        case FloatField():
            return fc.size in (32, 64)
        case StringField() | StaticStringField() | DynamicStringField():
            return fc.encoding is Encoding.UTF_8
        case _:
            return False


def _feed(
    merger: CtfEventMerger,
    number: int,
    stream: Stream,
    source: EventSource,
    begin: int | None,
    end: int | None,
    failures: list[TraceFormatError],
) -> Iterator[None]:
    """Feed a part of the stream each time when it is asked to go on."""
    first, last = (EVER[0] if begin is None else begin), (EVER[1] if end is None else end)
    told = 0

    def decode(known: Known, chunk: Chunk) -> Stopped | None:
        nonlocal told
        merger.extend_stream(number, source.kinds(stream, known.events)[told:])
        told = known.events
        tests = () if source.rows is None else source.rows.arguments(source.decoder, known, chunk)
        return known.native.decode_events(merger, number, chunk.data, chunk.words, first, last, chunk.packets, *tests)

    chunks = (Chunk(source.plan, packets, number) for packets in packet_chunks(stream, begin, end))
    return feed(merger, number, stream, chunks, source.decoder, decode, failures)
