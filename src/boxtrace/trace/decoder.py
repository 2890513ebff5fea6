"""The native decoder of a stream class, and how packets of a stream are given to it, a part at a time."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from threading import Lock
from typing import NamedTuple, Protocol, TypeAlias

from boxtrace._native import CtfDecoder
from boxtrace.ctf.cursor import DecodeError
from boxtrace.ctf.plan import signed_word
from boxtrace.ctf.plan_compile import StreamPlan
from boxtrace.errors import TraceFormatError
from boxtrace.trace.stream import Packet, Stream, decode_failure

__all__ = ["EVER", "FULL", "Chunk", "Known", "Stopped", "StreamDecoder", "feed", "packet_chunks", "why_not"]

BATCH_BYTES = 1 << 21
"""Of packets: what is decoded from them is still in the processor's cache when it is used."""
EVER = (-(1 << 63), (1 << 63) - 1)
"""The longest range of times."""

Stopped: TypeAlias = tuple[int, int, int, int | None]
"""Where the native decoder stopped: packet, bit of it, clock, and the event id if it knows no class of that id, or
:data:`FULL`."""
FULL = -1
"""Nothing is wrong: there was enough for one batch."""


class Known(NamedTuple):
    """A decoder, and of how many of its plan's event classes it knows."""

    native: CtfDecoder
    events: int


class StreamDecoder:
    """The native decoder of a stream class, which learns event classes when they are met. Threads may share it."""

    def __init__(self, plan: StreamPlan) -> None:
        self.plan = plan
        self._size = plan.plan.size
        slots = [plan.plan.slots[location] for location in plan.packet_slots]
        native = CtfDecoder(plan.plan.words(), plan.plan.names(), slots, 1 + len(plan.packet_columns))
        self.known = Known(native, self._size.events)
        """What decodes packets from now on."""
        self._lock = Lock()

    def learn(self, number: int) -> bool:
        """Learn the event class of an id; False if none is declared."""
        with self._lock:
            if not self.plan.add(number):
                return False
            since, self._size = self._size, self.plan.plan.size
            if self._size != since:
                words, names = self.plan.plan.words(since), self.plan.plan.names(since)
                self.known = Known(self.known.native.extended(words, names), self._size.events)
            return True


class Chunk:
    """Packets of one file of a stream that are decoded together, or what is left of them.

    :param packets: with the value of the clock at the first record of each.
    :param number: the stream's number in the trace.
    """

    def __init__(self, plan: StreamPlan, packets: list[tuple[Packet, int]], number: int) -> None:
        self.packets = packets
        self.words = array("q")
        """What the native decoder must know of them."""
        self._passed = 0
        """Bits of the first packet that are decoded."""
        for packet, clock in packets:
            head = packet.head
            self.words.extend((head.offset, head.content, head.body, signed_word(clock), number))
            self.words.extend(signed_word(head.context[name]) for name in plan.packet_columns)
            self.words.extend(signed_word(head.slots.get(location, 0)) for location in plan.packet_slots)

    @property
    def size(self) -> int:
        """Bytes that are left."""
        return (sum(packet.head.content for packet, _ in self.packets) - self._passed) // 8

    @property
    def data(self) -> memoryview[int]:
        """The file's bytes."""
        return self.packets[0][0].file.data

    def go_on(self, decoder: StreamDecoder, stopped: Stopped | None) -> TraceFormatError | None:
        """Leave out what was decoded. Return why what is left cannot be; ``packets`` is empty if nothing is left."""
        self._passed = 0
        if stopped is None:
            self.packets = []
            return None
        at, position, clock, event = stopped
        if event is None or (event != FULL and not decoder.learn(event)):
            failed = self.packets[at][0]
            self.packets = []
            return why_not(failed)
        each = len(self.words) // len(self.packets)
        self.words = self.words[at * each :]
        self.words[2], self.words[3] = position, signed_word(clock)
        self._passed = position
        self.packets = self.packets[at:]
        return None


def packet_chunks(
    stream: Stream, begin: int | None, end: int | None, size_wanted: int = BATCH_BYTES
) -> Iterator[list[tuple[Packet, int]]]:
    """Yield packets of one file with the value of the clock at the first record, about so many bytes at a time."""
    chunk: list[tuple[Packet, int]] = []
    size = 0
    before: Packet | None = None
    for packet in stream.packets:
        if stream.outside(packet.bounds, begin, end):
            continue
        try:
            head = packet.head
        except TraceFormatError as error:
            stream.cut_off(packet, error)
            break
        independent = head.begin is not None or (before is not None and before.head.end is not None)
        full = size >= size_wanted and independent
        if chunk and (full or chunk[-1][0].file is not packet.file):
            yield chunk
            chunk, size = [], 0
        clock = head.clock
        if head.begin is None and before is not None:
            clock = -1 if before.head.end is None else before.head.end
        chunk.append((packet, clock))
        size += head.content // 8
        before = packet
    if chunk:
        yield chunk


class Merger(Protocol):
    """What merges the records of streams."""

    def finish(self, number: int) -> None:
        """Nothing more comes of a stream."""


def feed(
    merger: Merger,
    number: int,
    stream: Stream,
    chunks: Iterable[Chunk],
    decoder: StreamDecoder,
    decode: Callable[[Known, Chunk], Stopped | None],
    failures: list[TraceFormatError],
) -> Iterator[None]:
    """Feed a part of a stream to a merger each time when it is asked to go on.

    :param decode: gives the merger what it can of a chunk, and returns where it stopped.
    :param failures: gets why the stream ends too early.
    """
    for chunk in chunks:
        failure = None
        while chunk.packets:
            failure = chunk.go_on(decoder, decode(decoder.known, chunk))
            if failure is not None:
                failures.append(failure)
                merger.finish(number)
            yield
        if failure is not None:
            return
    if stream.failure is not None:
        failures.append(stream.failure)
    merger.finish(number)
    yield


def why_not(packet: Packet) -> TraceFormatError:
    """Return why a packet cannot be decoded: the decoder in Python tells better than the native one."""
    try:
        for _ in packet.file.decoder.events(packet.file.data, packet.head):
            pass
    except DecodeError as error:
        return decode_failure(error, packet.file.path, packet.head.offset)
    return TraceFormatError("a record cannot be decoded", path=str(packet.file.path), offset=packet.head.offset)
