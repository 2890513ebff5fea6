"""Filter expressions on the rows that the native core decodes."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence

from boxtrace._native import CtfFilter
from boxtrace.ctf.fields import Scope
from boxtrace.ctf.model import EventClass, StreamClass
from boxtrace.ctf.plan_compile import StreamPlan, column_names
from boxtrace.errors import FilterError
from boxtrace.filters import Filter
from boxtrace.filters.binding import Binding, EventScopes
from boxtrace.filters.columns import ColumnFilter
from boxtrace.trace.decoder import EVER, Chunk, Known, StreamDecoder, packet_chunks
from boxtrace.trace.stream import Stream

__all__ = ["RowFilter", "Verdicts"]


class RowFilter:
    """A filter of the rows of a stream class, made for a decoder and again when that has learnt more event classes.

    Its plan keeps text as it is (``raw_text``), and has columns of all root members that :meth:`fields_of` tells.
    """

    def __init__(self, cls: StreamClass, wanted: Filter) -> None:
        self._cls = cls
        self._wanted = wanted
        self._made: tuple[Known, ColumnFilter, CtfFilter] | None = None

    def fields_of(self, event: EventClass) -> frozenset[tuple[Scope, str]] | None:
        """Return the root members of an event class that are looked at; None if none of its events can match."""
        binding = self._binding(event)
        if binding is None:
            return None
        return frozenset((field.scope, str(field.path[0])) for field in binding.fields.values())

    def made_for(self, decoder: StreamDecoder, known: Known) -> tuple[ColumnFilter, CtfFilter]:
        """Return the filter for a decoder."""
        if self._made is None or self._made[0] is not known:
            plan = decoder.plan
            columns = ColumnFilter(plan.plan)
            kept = [each.space >= 0 for each in plan.plan.events[: known.events]]
            for event, fields, is_kept in zip(plan.events[: known.events], plan.fields, kept, strict=False):
                binding = self._binding(event) if is_kept else None
                if binding is None:
                    columns.add_unwanted()
                else:
                    columns.add_event(binding, fields)
            self._made = (known, columns, known.native.filter(*columns.words()))
        return self._made[1:]

    def arguments(
        self, decoder: StreamDecoder, known: Known, chunk: Chunk
    ) -> tuple[CtfFilter, array[int], list[bytes]]:
        """Return what a decoder is told of the filter when it decodes packets."""
        columns, native = self.made_for(decoder, known)
        return native, *columns.packet_values(packet.head for packet, _ in chunk.packets)

    def _binding(self, event: EventClass) -> Binding | None:
        try:
            return self._wanted.bind(EventScopes.of(self._cls, event))
        except FilterError:
            return None


class Verdicts:
    """Which events of streams match: a byte for each, those of a class in one stream in their order."""

    def __init__(self) -> None:
        self._passed: dict[tuple[int, int], bytearray] = {}

    @classmethod
    def of_filter(cls, streams: Sequence[Stream], wanted: Filter, begin: int | None, end: int | None) -> Verdicts:
        """Return what a filter says, as the native core evaluates it, up to what cannot be read."""
        verdicts = cls()
        tests: dict[tuple[int, int], tuple[RowFilter, StreamDecoder]] = {}
        for number, stream in enumerate(streams):
            key = (id(stream.trace), stream.cls.id)
            if key not in tests:
                tests[key] = _tested(stream, wanted)
            for event, passed in _verdicts(stream, *tests[key], begin, end):
                verdicts.add(number, event, passed)
        return verdicts

    def add(self, stream: int, event: int, passed: bytes) -> None:
        """Add verdicts on the next events of a stream and a class: 1 for those that match, else 0."""
        self._passed.setdefault((stream, event), bytearray()).extend(passed)

    def take(self, stream: int, event: int, count: int) -> bytes:
        """Return what is known of the next events of a stream, by its number, and of a class, by its id.

        Those of classes that cannot match do not.
        """
        passed = self._passed.get((stream, event))
        if passed is None:
            return bytes(count)
        taken = bytes(passed[:count])
        del passed[:count]
        return taken


def _tested(stream: Stream, wanted: Filter) -> tuple[RowFilter, StreamDecoder]:
    cls = stream.cls
    rows = RowFilter(cls, wanted)

    def keep(event: EventClass) -> Callable[[str], bool] | None:
        fields = rows.fields_of(event)
        if fields is None:
            return None
        return {name for name, scope, own in column_names(cls, event) if (scope, own) in fields}.__contains__

    return rows, StreamDecoder(StreamPlan(cls, stream.clock, keep, raw_text=True))


def _verdicts(
    stream: Stream, rows: RowFilter, decoder: StreamDecoder, begin: int | None, end: int | None
) -> Iterator[tuple[int, bytes]]:
    """Yield ids of event classes with verdicts on their next events, up to what cannot be read."""
    first, last = (EVER[0] if begin is None else begin), (EVER[1] if end is None else end)
    for packets in packet_chunks(stream, begin, end):
        chunk = Chunk(decoder.plan, packets, 0)
        while chunk.packets:
            known = decoder.known
            tests = rows.arguments(decoder, known, chunk)
            tables, stopped = known.native.verdicts(chunk.data, chunk.words, first, last, *tests)
            for table, passed in tables:
                yield decoder.plan.tables[table].id, passed
            if chunk.go_on(decoder, stopped) is not None:
                return
