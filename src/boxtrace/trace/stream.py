"""Streams of a trace: which files they are made of, their packets, what was lost between them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from boxtrace.ctf.cursor import DecodeError
from boxtrace.ctf.index import parse_index
from boxtrace.ctf.model import ClockClass, StreamClass, TraceClass
from boxtrace.ctf.packet import EventRecord, PacketDecoder, PacketHead
from boxtrace.errors import TraceFormatError, UsageError
from boxtrace.mapped_memory import MappedMemory
from boxtrace.units import Nanoseconds

__all__ = [
    "Loss",
    "Packet",
    "PacketBounds",
    "Stream",
    "StreamFile",
    "check_clocks",
    "decode_failure",
    "read_packets",
]


@dataclass(frozen=True, slots=True)
class Loss:
    """Events, or whole packets, that the tracer could not keep.

    ``count`` is None when it is not known: before a stream's first packet. Times are ns from the clock's origin.
    """

    stream: Stream
    kind: str
    """``event`` or ``packet``."""
    count: int | None
    begin: Nanoseconds | None
    end: Nanoseconds | None


class StreamFile:
    """A stream file, mapped into memory, and what decodes it."""

    def __init__(self, path: Path, trace: TraceClass, decoder: PacketDecoder) -> None:
        self.path = path
        self.trace = trace
        self.decoder = decoder
        with path.open("rb") as file:
            self.data = MappedMemory(file.fileno(), os.fstat(file.fileno()).st_size, writable=False).buffer


@dataclass(frozen=True, slots=True)
class PacketBounds:
    """What an index tells of a packet; as of the same attributes of a :class:`~boxtrace.ctf.packet.PacketHead`."""

    offset: int
    size: int
    content: int
    begin: int | None
    end: int | None
    discarded: int | None
    sequence: int | None


class Packet:
    """A packet and the file that it lies in. Of one that an index told of, the head is read when it is asked for."""

    __slots__ = ("_head", "bounds", "file")

    def __init__(self, file: StreamFile, bounds: PacketHead | PacketBounds) -> None:
        self.file = file
        self.bounds = bounds
        self._head = bounds if isinstance(bounds, PacketHead) else None

    @property
    def head(self) -> PacketHead:
        """The packet's header and context.

        :raises TraceFormatError: if they cannot be read, or are not as the index says.
        """
        if self._head is None:
            bounds = self.bounds
            try:
                head = self.file.decoder.head(self.file.data, bounds.offset, bounds.begin or 0)
            except DecodeError as error:
                raise decode_failure(error, self.file.path, bounds.offset) from error
            if _bounds(head) != bounds:
                message = "the packet is not as the stream's index says"
                raise TraceFormatError(message, path=str(self.file.path), offset=bounds.offset)
            self._head = head
        return self._head


def _bounds(head: PacketHead) -> PacketBounds:
    return PacketBounds(head.offset, head.size, head.content, head.begin, head.end, head.discarded, head.sequence)


def read_packets(file: StreamFile) -> tuple[list[Packet], TraceFormatError | None]:
    """Return the packets of a file, up to what cannot be read, and why that cannot be read.

    Where the stream has an index that is whole, only the first packet is looked at.
    """
    indexed = _indexed_packets(file)
    if indexed is not None:
        return indexed, None
    packets: list[Packet] = []
    offset = clock = 0
    while offset < len(file.data):
        try:
            head = file.decoder.head(file.data, offset, clock)
        except DecodeError as error:
            return packets, decode_failure(error, file.path, offset)
        packets.append(Packet(file, head))
        if head.cut:
            missing = offset + head.size // 8 - len(file.data)
            message = f"the file ends {missing} bytes before its last packet does"
            return packets, TraceFormatError(message, path=str(file.path), offset=len(file.data))
        offset += head.size // 8
        clock = head.clock if head.end is None else head.end
    return packets, None


def _indexed_packets(file: StreamFile) -> list[Packet] | None:
    """Return the packets that the stream's index tells of; None if it has none, or one that is not of this file."""
    path = file.path.parent / "index" / f"{file.path.name}.idx"
    try:
        entries = parse_index(path.read_bytes(), str(path))
        first = file.decoder.head(file.data, 0)
    except (OSError, TraceFormatError, DecodeError):
        return None
    if first.begin is None or first.end is None:
        return None
    packets: list[Packet] = []
    offset = 0
    for entry in entries:
        if entry.offset != offset or entry.packet_size % 8 or not 0 < entry.content_size <= entry.packet_size:
            return None
        bounds = PacketBounds(
            entry.offset,
            entry.packet_size,
            entry.content_size,
            entry.timestamp_begin,
            entry.timestamp_end,
            None if first.discarded is None else entry.events_discarded,
            None if first.sequence is None else entry.packet_seq_num,
        )
        packets.append(Packet(file, bounds))
        offset += entry.packet_size // 8
    numbered = first.sequence is None or len({packet.bounds.sequence for packet in packets}) == len(packets)
    return packets if offset == len(file.data) and numbered and _bounds(first) == packets[0].bounds else None


class Stream:
    """One stream: packets in the order in which they were written, from one file or several.

    ``failure`` tells why what follows the last packet cannot be read; None if nothing follows.
    """

    def __init__(
        self, cls: StreamClass, number: int | None, packets: list[Packet], failure: TraceFormatError | None
    ) -> None:
        self.cls = cls
        self.id = number
        self.packets = packets
        self.failure = failure
        self.trace = packets[0].file.trace
        self.clock: ClockClass | None = None if cls.clock is None else self.trace.clock(cls.clock)
        self._base = 0 if self.clock is None else self.clock.base_ns

    @property
    def path(self) -> Path:
        """Path of the stream's first file."""
        return self.packets[0].file.path

    @property
    def begin(self) -> Nanoseconds | None:
        """When the first packet begins."""
        return self.to_ns(self.packets[0].bounds.begin)

    @property
    def end(self) -> Nanoseconds | None:
        """When the last packet ends."""
        return self.to_ns(self.packets[-1].bounds.end)

    def to_ns(self, cycles: int | None) -> Nanoseconds | None:
        """Return a clock value in ns from the clock's origin."""
        if cycles is None or self.clock is None:
            return None
        return Nanoseconds(self._base + self.clock.duration_ns(cycles))

    def content(self, begin: int | None = None, end: int | None = None) -> int:
        """Return how many bytes the packets hold that may have events in ``begin ... end`` (ns)."""
        chosen = (packet.bounds for packet in self.packets if not self.outside(packet.bounds, begin, end))
        return sum(bounds.content for bounds in chosen) // 8

    def losses(self) -> Iterator[Loss]:
        """Yield what the packets say to be missing before or between them."""
        before: PacketHead | PacketBounds | None = None
        for packet in self.packets:
            head = packet.bounds
            yield from self._lost_events(before, head)
            if before is not None and before.sequence is not None and head.sequence is not None:
                missing = (head.sequence - before.sequence) % (1 << 64) - 1
                if missing > 0:
                    yield Loss(self, "packet", missing, self.to_ns(before.end), self.to_ns(head.begin))
            before = head

    def _lost_events(self, before: PacketHead | PacketBounds | None, head: PacketHead | PacketBounds) -> Iterator[Loss]:
        if head.discarded is None:
            return
        if before is None or before.discarded is None:
            if head.discarded:
                yield Loss(self, "event", None, self.to_ns(head.begin), self.to_ns(head.end))
        elif head.discarded != before.discarded:
            count = (head.discarded - before.discarded) % (1 << 64)
            yield Loss(self, "event", count, self.to_ns(before.end), self.to_ns(head.end))

    def records(self, begin: int | None = None, end: int | None = None) -> Iterator[EventRecord]:
        """Yield the stream's events in the order of its packets, leaving out packets outside ``begin ... end`` (ns).

        :raises TraceFormatError: where the stream cannot be read further, after what comes before was given.
        """
        carried: int | None = None
        for packet in self.packets:
            if self.outside(packet.bounds, begin, end):
                continue
            head = packet.head
            if head.begin is None and carried is not None:
                head = replace(head, clock=carried)
            record = None
            try:
                for record in packet.file.decoder.events(packet.file.data, head):
                    yield record
            except DecodeError as error:
                raise decode_failure(error, packet.file.path, head.offset) from error
            last = None if record is None else record.cycles
            carried = head.end if head.end is not None else last if last is not None else carried
        if self.failure is not None:
            raise self.failure

    def cut_off(self, packet: Packet, failure: TraceFormatError) -> None:
        """Take note that the stream cannot be read from a packet on."""
        del self.packets[self.packets.index(packet) :]
        self.failure = failure

    def outside(self, head: PacketHead | PacketBounds, begin: int | None, end: int | None) -> bool:
        """Tell whether no event of a packet can lie in ``begin ... end`` (ns)."""
        first, last = self.to_ns(head.begin), self.to_ns(head.end)
        if first is None or last is None:
            return False
        # A crash leaves the end of a stream's last packet at 0.
        return (begin is not None and first <= last < begin) or (end is not None and first > end)


def decode_failure(error: DecodeError, path: Path, packet: int) -> TraceFormatError:
    """Return a decoding error with its place in the file. ``packet`` is the byte where the packet begins."""
    message = f"{error} (packet at byte {packet}, bit {error.position} of it)"
    offset = packet + error.position // 8
    return TraceFormatError(message, path=str(path), offset=offset, field=error.field or None)


def check_clocks(streams: Iterable[Stream]) -> None:
    """Check that the clocks of streams have one origin, so that their events have one order.

    Clocks whose origin nobody tells (CTF 1.8: that are not absolute) are compared if they have the same UUID, or none.

    :raises UsageError: if they have not, as in babeltrace2.
    """
    origins: dict[object, Stream] = {}
    for stream in streams:
        if stream.clock is not None:
            origins.setdefault(stream.clock.origin or ("unknown", stream.clock.uid), stream)
    if len(origins) > 1:
        first, second = list(origins.values())[:2]
        raise UsageError(
            f"the clocks of {first.path} and {second.path} have different origins: their events have no order",
            hint="read these traces one at a time, or events of each type as tables",
        )
