"""Opening traces, and their events in global time order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from boxtrace.ctf.metadata import read_metadata
from boxtrace.ctf.model import TraceClass
from boxtrace.ctf.packet import PythonDecoder
from boxtrace.errors import TraceFormatError
from boxtrace.filters import Filter
from boxtrace.trace.event import Event
from boxtrace.trace.merge import EventSource, merged_events
from boxtrace.trace.stream import Loss, Stream, StreamFile, read_packets
from boxtrace.trace.table import Table, TableSources, read_tables
from boxtrace.units import Nanoseconds

if TYPE_CHECKING:
    from boxtrace.trace.annotate import AnnotatedTable
    from boxtrace.trace.containers import TraceContainers

__all__ = ["Trace", "open_trace"]


def open_trace(path: str | Path) -> Trace:
    """Open every trace in a directory tree, to be read as one.

    Directories that hold parts of the same trace (the same UUID: LTTng's rotation) give one trace.

    :raises TraceFormatError: if there is no trace, or its metadata is wrong. What is wrong in streams is raised when
        they are read, after everything that could be read was given.
    :raises OSError: if a file cannot be read.
    """
    root = Path(path)
    if not root.exists():
        raise FileNotFoundError(2, "No such file or directory", str(root))
    metadata = sorted(root.rglob("metadata")) if root.is_dir() else [root]
    metadata = [file for file in metadata if file.is_file()]
    if not metadata:
        hint = "give the directory of a trace, one that has a file named metadata below it"
        raise TraceFormatError("no trace is there", path=str(root), hint=hint)
    return Trace(root, metadata)


class Trace:
    """One or more traces that are read together."""

    def __init__(self, path: Path, metadata: list[Path]) -> None:
        self.path = path
        self.parts: list[tuple[Path, TraceClass]] = []
        """Directories with the trace class of each."""
        self.failures: list[TraceFormatError] = []
        """Why files, or the ends of streams, cannot be read. Grows while events are read."""
        self.streams: list[Stream] = []
        self._event_sources: dict[tuple[int, int], EventSource] = {}
        self._filtered_sources: tuple[str, dict[tuple[int, int], EventSource]] = ("", {})
        self._table_sources: tuple[tuple[object, object], TableSources] | None = None
        groups: dict[tuple[object, ...], list[_FileContent]] = {}
        for file in metadata:
            trace = read_metadata(file)
            self.parts.append((file.parent, trace))
            decoder = PythonDecoder(trace)
            for data_file in sorted(_data_files(file.parent)):
                content = _FileContent(StreamFile(data_file, trace, decoder))
                if content.packets:
                    groups.setdefault(content.key, []).append(content)
                elif content.failure is not None:
                    self.failures.append(content.failure)
        for contents in groups.values():
            self.streams.append(_stream(contents))
        self.streams.sort(key=_stream_order)

    def events(
        self,
        *,
        begin: Nanoseconds | None = None,
        end: Nanoseconds | None = None,
        filter: str | Filter | None = None,
        where: Callable[[Event], bool] | None = None,
    ) -> Iterator[Event]:
        """Return the events of all streams in the order of their time stamps; those without one come first.

        They are decoded natively, a batch at a time, and become Python objects when they are asked for.

        :param begin: only events at or after this time, in ns from the clock's origin.
        :param end: only events at or before this time.
        :param filter: only events that match this expression of LTTng's filter language (docs/filters.md). It is
            evaluated by the native core, so that other events never become objects.
        :param where: only events for which this is true.
        :raises FilterError: if the expression is none, or means nothing for any class of events.
        :raises TraceFormatError: at the end, the first of ``failures`` if there are any.
        """
        wanted = Filter(filter) if isinstance(filter, str) else filter
        if wanted is not None:
            wanted.check(stream for _, part in self.parts for stream in part.streams)
        events = chain.from_iterable(self._event_lists(begin, end, wanted))
        return events if where is None else (event for event in events if where(event))

    def _event_lists(
        self, begin: Nanoseconds | None, end: Nanoseconds | None, wanted: Filter | None
    ) -> Iterator[list[Event]]:
        sources = self._event_sources
        if wanted is not None:
            if self._filtered_sources[0] != wanted.expression:
                self._filtered_sources = (wanted.expression, {})
            sources = self._filtered_sources[1]
        yield from merged_events(self.streams, begin, end, self.failures, sources, wanted)
        if self.failures:
            raise self.failures[0]

    def table(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        begin: Nanoseconds | None = None,
        end: Nanoseconds | None = None,
        progress: Callable[[int], None] = lambda done: None,
    ) -> Table | AnnotatedTable:
        """Return all events of one type as a table.

        :param columns: only these columns; all fields of the event and its contexts otherwise. Those of
            :data:`boxtrace.trace.annotate.ADDED` tell the container, and the thread's ids at each level.
        :param progress: told how many bytes of packets have been decoded since it was told before.
        :raises SelectionError: if there is no such event, or no such column.
        :raises TraceFormatError: if something cannot be read. :meth:`batches` gives what comes before that.
        """
        if columns is not None:
            from boxtrace.trace.annotate import ADDED, annotated_table, recorded_columns

            if ADDED & (set(columns) - recorded_columns(self, name).keys()):
                return annotated_table(self, name, columns, begin, end)
        whole: Table | None = None
        for tables in self.batches([name], columns=columns, begin=begin, end=end, progress=progress):
            whole = tables[name] if whole is None else whole.extended(tables[name])
        return self._sources_of([name], columns).new_tables()[name] if whole is None else whole

    @cached_property
    def containers(self) -> TraceContainers:
        """Who lived in which container; read from the trace once, when first asked for."""
        from boxtrace.trace.containers import TraceContainers

        return TraceContainers(self)

    def batches(
        self,
        names: Iterable[str],
        *,
        columns: Sequence[str] | None = None,
        begin: Nanoseconds | None = None,
        end: Nanoseconds | None = None,
        progress: Callable[[int], None] = lambda done: None,
    ) -> Iterator[dict[str, Table]]:
        """Yield tables of event types a part at a time, so that not all of them are in memory at once.

        Of each part there are the tables that have rows; those of other names have none, if they are asked for.

        :param progress: told how many bytes of packets have been decoded since it was told before.
        :raises TraceFormatError: at the end, if something could not be read.
        """
        failures = list(self.failures)
        yield from read_tables(self._sources_of(names, columns), begin, end, failures, progress)
        if failures:
            raise failures[0]

    def _sources_of(self, names: Iterable[str], columns: Sequence[str] | None) -> TableSources:
        """Return how tables are decoded; that is compiled once for the names and columns that were asked for last."""
        key = (tuple(names), None if columns is None else tuple(columns))
        if self._table_sources is None or self._table_sources[0] != key:
            self._table_sources = (key, TableSources(self.streams, *key))
        return self._table_sources[1]

    @property
    def begin(self) -> Nanoseconds | None:
        """When the first packet begins."""
        return min((stream.begin for stream in self.streams if stream.begin is not None), default=None)

    @property
    def end(self) -> Nanoseconds | None:
        """When the last packet ends."""
        return max((stream.end for stream in self.streams if stream.end is not None), default=None)

    def event_names(self) -> list[str]:
        """Return the names of all event types that the streams' metadata declares, sorted."""
        return sorted({event.name for stream in self.streams for event in stream.cls.events})

    def losses(self) -> Iterator[Loss]:
        """Yield what the tracer says to have lost, stream by stream."""
        for stream in self.streams:
            yield from stream.losses()


class _FileContent:
    """A stream file with its packets."""

    def __init__(self, file: StreamFile) -> None:
        self.file = file
        self.packets, self.failure = read_packets(file)

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for the files of one stream."""
        head = self.packets[0].head
        trace = self.file.trace.uuid or self.file.path.parent
        return (trace, head.stream.id, self.file.path if head.stream_id is None else head.stream_id)


def _data_files(directory: Path) -> Iterator[Path]:
    for path in directory.iterdir():
        if not path.name.startswith(".") and path.name != "metadata" and path.is_file() and path.stat().st_size:
            yield path


def _stream(contents: list[_FileContent]) -> Stream:
    contents.sort(key=lambda content: content.packets[0].bounds.begin or 0)
    packets = [packet for content in contents for packet in content.packets]
    head = packets[0].head
    failure = next((content.failure for content in contents if content.failure is not None), None)
    return Stream(head.stream, head.stream_id, packets, failure)


def _stream_order(stream: Stream) -> tuple[str, int, int, str]:
    """Sort key: the order in which events of equal time are given."""
    return (str(stream.trace.uuid), stream.cls.id, -1 if stream.id is None else stream.id, str(stream.path))
