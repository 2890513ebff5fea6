"""Events as columns: an Arrow table for each type of event, decoded by the native core."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from boxtrace._native import CtfBatch, CtfTable, ctf_add_tables
from boxtrace.ctf.model import EventClass
from boxtrace.ctf.plan import Column, Plan
from boxtrace.ctf.plan_compile import StreamPlan, column_names
from boxtrace.errors import SelectionError, TraceFormatError, UsageError
from boxtrace.trace.decoder import EVER, FULL, Chunk, StreamDecoder, packet_chunks
from boxtrace.trace.stream import Stream

__all__ = ["Table", "TableSources", "read_tables"]

_FOR_EACH_WORKER = 4
"""So many streams are decoded before their tables are given: few enough for memory, enough to keep workers busy."""
P = ParamSpec("P")
T = TypeVar("T")


class Table(CtfTable):
    """Rows of one type of event, for any library that takes Arrow data (``__arrow_c_stream__``), without copying.

    Rows of one stream are in the order of time; those of several streams are not merged.
    """

    __slots__ = ()

    _event: EventClass
    _source: _Source
    _parts: list[tuple[CtfBatch, int, EventClass]]

    @property
    def column_names(self) -> list[str]:
        """Names of the columns, in order."""
        plan = self._source.plan.plan
        root = plan.columns[plan.tables[self._source.table_of(self._event)]]
        return [plan.columns[child].name for child in root.children]

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the rows as a PyCapsule (Arrow's PyCapsule interface)."""
        number = self._source.table_of(self._event)
        return self._source.decoder.known.native.stream(number, [part[:2] for part in self._parts])

    def to_polars(self) -> Any:
        """Return the table as a polars DataFrame (needs polars)."""
        import polars

        return polars.DataFrame(self)

    def extended(self, other: Table) -> Table:
        """Return a table of the rows of both, which have the same columns."""
        return Table(self.name, self._event, self._source, [*self._parts, *other._parts], len(self) + len(other))

    def pieces(self) -> list[tuple[EventClass, int]]:
        """Return the event class of each of the arrays that the table consists of, with the number of its rows."""
        return [(event, batch.rows(number)) for batch, number, event in self._parts]

    def has_columns_of(self, other: Table) -> bool:
        """Tell whether another table has the same columns."""
        return self is other or self._shape() == other._shape()

    def _shape(self) -> tuple[object, ...]:
        plan = self._source.plan.plan
        return _shape(plan, plan.tables[self._source.table_of(self._event)])


def _shape(plan: Plan, index: int) -> tuple[object, ...]:
    column: Column = plan.columns[index]
    inner = tuple(_shape(plan, child) for child in column.children)
    return (column.kind, column.name, column.width, column.nullable, inner)


@dataclass(slots=True)
class _Source:
    """Streams that are decoded by one plan."""

    plan: StreamPlan
    decoder: StreamDecoder
    events: list[EventClass]
    """Of which tables are wanted."""
    streams: list[tuple[int, Stream]] = field(default_factory=list)

    def table_of(self, event: EventClass) -> int:
        """Return the number of an event class's table."""
        self.decoder.learn(event.id)
        return next(number for number, other in enumerate(self.plan.tables) if other is event)


@dataclass(slots=True)
class _Work:
    """A stream that is not read to its end."""

    source: _Source
    number: int
    stream: Stream
    chunks: Iterator[Chunk]
    chunk: Chunk | None = None
    """What is not decoded yet of a chunk that holds more than one batch."""


def read_tables(
    sources: TableSources,
    begin: int | None = None,
    end: int | None = None,
    failures: list[TraceFormatError] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Iterator[dict[str, Table]]:
    """Yield the tables of event types, a batch of packets at a time: of some streams in parallel, 2 or 3 MiB of each.

    :param sources: what is read. A batch has the tables that have rows, and those without if asked for by name.
    :param begin: only events at or after this time (ns).
    :param end: only events at or before this time (ns).
    :param failures: where errors in streams are put, when all that comes before them has been given.
    :param progress: told how many bytes have been decoded since it was told before.
    """
    first, last = (EVER[0] if begin is None else begin), (EVER[1] if end is None else end)
    problems = [] if failures is None else failures
    work = deque(
        _Work(source, number, stream, _chunks(source, number, stream, begin, end))
        for source in sources.all
        for number, stream in source.streams
    )
    workers = min(len(os.sched_getaffinity(0)), len(work))
    together = 1 if workers == 1 else _FOR_EACH_WORKER * workers
    with ThreadPoolExecutor(max_workers=workers) if workers > 1 else _Here() as pool:
        while work:
            # No name here holds the tables: where the caller has dropped them, the next ones take their memory, which
            # is still in the cache.
            yield from _batch(sources, work, together, pool, (first, last), problems, progress)


def _batch(
    sources: TableSources,
    work: deque[_Work],
    together: int,
    pool: Executor,
    times: tuple[int, int],
    problems: list[TraceFormatError],
    progress: Callable[[int], None],
) -> list[dict[str, Table]]:
    """Decode a chunk of each of the first streams, which come last then, unless they end; return none at their end."""
    jobs: list[tuple[_Work, int, Future[tuple[list[CtfBatch], TraceFormatError | None]]]] = []
    while work and len(jobs) < together:
        item = work.popleft()
        chunk = item.chunk or next(item.chunks, None)
        if chunk is not None:
            item.chunk = chunk
            jobs.append((item, chunk.size, pool.submit(_decode, item.source, chunk, *times)))
        elif item.stream.failure is not None:
            problems.append(item.stream.failure)
    tables = sources.new_tables()
    for item, size, job in jobs:
        batches, failure = job.result()
        assert item.chunk is not None
        progress(size - item.chunk.size)
        if not item.chunk.packets:
            item.chunk = None
        if failure is None:
            work.append(item)
        else:
            problems.append(failure)
        for batch in batches:
            tables.add(item.source, batch)
    return [tables] if jobs else []


class _Here(Executor):
    """Does what it is given at once: threads that cannot run side by side would only cost time."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call a function."""
        done: Future[T] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


class _Tables(dict[str, Table]):
    """The tables of a batch that have rows; there are those without rows, too, if they are asked for by name."""

    def __init__(self, empty: dict[str, Table]) -> None:
        self._empty = empty

    def __missing__(self, name: str) -> Table:
        return self._empty[name]

    def add(self, source: _Source, batch: CtfBatch) -> None:
        """Add the rows of a batch to the tables that they are of."""
        ctf_add_tables(self, Table, source.plan.tables, source, batch)


class TableSources:
    """The tables of event types, compiled once: how the streams are decoded that have events of them.

    :param names: names of event types.
    :param columns: only these columns, in the table's own order.
    :raises SelectionError: if no stream has events of a name, or no event of that name has one of the columns.
    :raises UsageError: if events of one name have columns of different types, in several traces.
    """

    def __init__(self, streams: Sequence[Stream], names: Iterable[str], columns: Sequence[str] | None) -> None:
        self.all = _sources(streams, list(dict.fromkeys(names)), columns)
        self._tables: dict[str, Table] = {}
        for source in self.all:
            for event in source.events:
                table = Table(event.name, event, source, [], 0)
                if not self._tables.setdefault(event.name, table).has_columns_of(table):
                    raise UsageError(
                        f"events {event.name!r} have different fields in several traces",
                        hint="choose columns that they share",
                    )

    def new_tables(self) -> _Tables:
        """Return tables without rows."""
        return _Tables(self._tables)


def _sources(streams: Sequence[Stream], names: list[str], columns: Sequence[str] | None) -> list[_Source]:
    sources: dict[tuple[int, int], _Source] = {}
    found: set[str] = set()
    seen_columns: set[str] = set()
    for number, stream in enumerate(streams):
        key = (id(stream.trace), stream.cls.id)
        source = sources.get(key)
        if source is None:
            by_name: dict[str, list[EventClass]] = {}
            for event in stream.cls.events:
                by_name.setdefault(event.name, []).append(event)
            events = [event for name in names for event in by_name.get(name, ())]
            for event in events if columns else ():
                seen_columns.update(name for name, _, _ in column_names(stream.cls, event))
            found.update(event.name for event in events)
            source = sources[key] = _source(stream, events, columns)
        source.streams.append((number, stream))
    if missing := [name for name in names if name not in found]:
        raise SelectionError(f"the trace declares no event {missing[0]!r}", hint="boxtrace info lists its events")
    if missing := [name for name in columns or () if name not in seen_columns]:
        raise SelectionError(f"no column {missing[0]!r}; there are {', '.join(sorted(seen_columns))}")
    return [source for source in sources.values() if source.events]


def _source(stream: Stream, events: list[EventClass], columns: Sequence[str] | None) -> _Source:
    kept: Callable[[str], bool] = (lambda name: True) if columns is None else set(columns).__contains__
    wanted = {id(event) for event in events}
    plan = StreamPlan(stream.cls, stream.clock, lambda event: kept if id(event) in wanted else None)
    return _Source(plan, StreamDecoder(plan), events)


def _chunks(source: _Source, number: int, stream: Stream, begin: int | None, end: int | None) -> Iterator[Chunk]:
    return (Chunk(source.plan, packets, number) for packets in packet_chunks(stream, begin, end))


def _decode(source: _Source, chunk: Chunk, begin: int, end: int) -> tuple[list[CtfBatch], TraceFormatError | None]:
    """Decode a chunk, or what is enough of it for one batch; what is decoded again with more event classes is one."""
    batches = []
    failure = None
    while chunk.packets:
        batch, stopped = source.decoder.known.native.decode(chunk.data, chunk.words, begin, end)
        batches.append(batch)
        failure = chunk.go_on(source.decoder, stopped)
        if stopped is not None and stopped[3] == FULL:
            break
    return batches, failure
