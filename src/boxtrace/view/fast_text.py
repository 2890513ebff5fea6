"""The text of :mod:`boxtrace.view.text`, made by the native core: for whole traces, and for types of events."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping
from weakref import WeakKeyDictionary

from boxtrace._native import CtfTextMerger
from boxtrace.ctf.fields import Scope, StructField
from boxtrace.ctf.model import EventClass, StreamClass
from boxtrace.ctf.plan_compile import StreamPlan, column_names
from boxtrace.ctf.text_plan import TextFormat, can_show
from boxtrace.errors import TraceFormatError
from boxtrace.filters import Filter
from boxtrace.trace import Stream, Trace
from boxtrace.trace.decoder import EVER, Chunk, Known, Stopped, StreamDecoder, feed, packet_chunks
from boxtrace.trace.filtering import RowFilter
from boxtrace.trace.stream import check_clocks
from boxtrace.view.text import host_text
from boxtrace.view.values import escape, packet_members, shower

__all__ = ["TextPlan", "text_pieces"]

_PIECE = 1 << 18
_KNOWN: WeakKeyDictionary[Trace, tuple[object, dict[tuple[int, int], TextPlan]]] = WeakKeyDictionary()


def text_pieces(
    trace: Trace,
    *,
    utc: bool = False,
    wanted: Callable[[str], bool] = lambda name: True,
    matching: Filter | None = None,
    begin: int | None = None,
    end: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Iterator[bytes]:
    """Yield the text of a trace's events in the order of time, in pieces of whole lines.

    :param wanted: tells whether events of a name are shown.
    :param matching: only events that it matches.
    :param begin: only events at or after this time, in ns.
    :param end: only events at or before this time.
    :param progress: told how many bytes of packets have been decoded since it was told before.
    :raises NotImplementedError: at once, if the trace has a field that the native core cannot show.
    :raises UsageError: if clocks of several traces cannot be compared.
    :raises TraceFormatError: at the end, if something could not be read.
    """
    check_clocks(trace.streams)
    merger = CtfTextMerger(utc)
    plans = _plans(trace, wanted, matching)
    feeders: list[Iterator[None]] = []
    failures = list(trace.failures)
    first, last = (EVER[0] if begin is None else begin), (EVER[1] if end is None else end)
    for stream in trace.streams:
        key = (id(stream.trace), stream.cls.id)
        if key not in plans:
            plans[key] = TextPlan(stream, wanted, matching)
        number = merger.add_stream(array("q", (0, 0)), [])
        feeders.append(_feed(merger, number, stream, plans[key], (first, last), failures, progress))
    return _merged(merger, feeders, failures)


def _plans(trace: Trace, wanted: Callable[[str], bool], matching: Filter | None) -> dict[tuple[int, int], TextPlan]:
    """Return the plans of a trace's stream classes; those of the last selection are kept with the trace."""
    chosen = tuple(name for name in trace.event_names() if wanted(name))
    selection = (chosen, None if matching is None else matching.expression)
    known = _KNOWN.get(trace)
    if known is None or known[0] != selection:
        known = _KNOWN[trace] = (selection, {})
    return known[1]


def _merged(merger: CtfTextMerger, feeders: list[Iterator[None]], failures: list[TraceFormatError]) -> Iterator[bytes]:
    while True:
        piece, needy = merger.next(_PIECE)
        if piece:
            yield piece
        if needy == -1:
            break
        if needy >= 0:
            next(feeders[needy])
    if failures:
        raise failures[0]


def _feed(
    merger: CtfTextMerger,
    number: int,
    stream: Stream,
    plan: TextPlan,
    times: tuple[int, int],
    failures: list[TraceFormatError],
    progress: Callable[[int], None],
) -> Iterator[None]:
    """Feed a part of the stream each time when it is asked to go on."""
    told = 0

    def decode(known: Known, chunk: Chunk) -> Stopped | None:
        nonlocal told
        for words, strings in plan.formats(known)[told:]:
            merger.extend_stream(number, words, strings)
            told += 1
        contexts = [plan.context_text(packet.head.context) for packet, _ in chunk.packets]
        tests = () if plan.rows is None else plan.rows.arguments(plan.decoder, known, chunk)
        return known.native.decode_to(merger, number, chunk.data, chunk.words, *times, contexts, *tests)

    def chunks() -> Iterator[Chunk]:
        for packets in packet_chunks(stream, *times):
            chunk = Chunk(plan.plan, packets, number)
            size = chunk.size
            yield chunk
            progress(size)

    return feed(merger, number, stream, chunks(), plan.decoder, decode, failures)


class TextPlan:
    """How the streams of one class become text: of an event class when the first event of it is met.

    :param stream: one of them.
    :raises NotImplementedError: if that is beyond the native core.
    """

    def __init__(self, stream: Stream, wanted: Callable[[str], bool], matching: Filter | None = None) -> None:
        self._cls = cls = stream.cls
        if not can_show(cls):
            raise NotImplementedError("a field that has no column")
        self._wanted = wanted
        self.rows = None if matching is None else RowFilter(cls, matching)
        self.plan = StreamPlan(cls, stream.clock, self._keep, raw_text=True)
        self.decoder = StreamDecoder(self.plan)
        self._host = host_text(stream.trace.environment)
        shown = packet_members(cls.packet_context)
        self._show = shower(StructField(members=tuple(shown))) if shown else None
        self._format = TextFormat(self.plan.plan, escape)
        self._formats: list[tuple[array[int], list[bytes]]] = []

    def context_text(self, context: Mapping[str, object]) -> str:
        """Return the text of a packet's context."""
        return "" if self._show is None else self._show(context)

    def formats(self, known: Known) -> list[tuple[array[int], list[bytes]]]:
        """Return the text formats of the event classes that the decoder knows, one after the other."""
        for number in range(len(self._formats), known.events):
            event, found = self.plan.events[number], self.plan.fields[number]
            if self.plan.plan.events[number].space < 0:
                self._format.add_unwanted()
            else:
                roots = [
                    (root, {name: column for (at, name), column in found.items() if at is scope})
                    for scope, root in _roots(self._cls, event)
                    if root is not None
                ]
                head = f"{self._host}{event.name or '<unknown>'}: "
                self._format.add_event(head, roots, after_context=self._show is not None)
            self._formats.append(self._format.words())
        return self._formats[: known.events]

    def _keep(self, event: EventClass) -> Callable[[str], bool] | None:
        if not self._wanted(event.name) or (self.rows is not None and self.rows.fields_of(event) is None):
            return None
        columns = column_names(self._cls, event)
        return {name for name, scope, _ in columns if scope not in (None, Scope.PACKET_CONTEXT)}.__contains__


def _roots(cls: StreamClass, event: EventClass) -> list[tuple[Scope, StructField | None]]:
    return [
        (Scope.EVENT_COMMON_CONTEXT, cls.event_context),
        (Scope.EVENT_SPECIFIC_CONTEXT, event.context),
        (Scope.EVENT_PAYLOAD, event.fields),
    ]
