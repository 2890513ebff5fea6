"""The user domain's directory of a trace: metadata that grows with the event types, and streams that threads share."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final
from uuid import UUID

from boxtrace.consumer.files import StreamFile
from boxtrace.ctf.index import IndexEntry
from boxtrace.ctf.json_writer import write_json, write_json_event
from boxtrace.ctf.model import EventClass, TraceClass
from boxtrace.ctf.tsdl_writer import packetize, write_event, write_tsdl
from boxtrace.errors import OutputError
from boxtrace.userspace.identity import Thread
from boxtrace.userspace.layout import PACKET_SIZE, pack_packet

__all__ = ["Stream", "UserOutput"]

_MAX_OPEN: Final = 256


class Stream:
    """A stream file. One thread writes to it at a time; when that has ended, another may.

    :param used: called when it is about to be written.
    """

    def __init__(self, directory: Path, number: int, uuid: UUID, used: Callable[[Stream], None]) -> None:
        self._file = StreamFile(directory, f"stream_{number}")
        self._used = used
        self._number = number
        self._uuid = uuid
        self._sequence = 0
        self.last_time = 0
        """Time of its last event."""
        self._discarded = 0

    def write(
        self, packet: memoryview, *, begin: int, end: int, lost: int, thread: Thread, pthread_id: int = 0
    ) -> None:
        """Write a packet.

        :param packet: the events, after room for the packet's beginning.
        :param lost: events lost since the packet before.
        :raises OutputError: if it cannot be written.
        """
        self._used(self)
        if lost and not self._sequence:
            # A loss is counted from one packet to the next: without one before, nobody could tell how much is lost.
            first = memoryview(bytearray(PACKET_SIZE))
            self.write(first, begin=begin, end=begin, lost=0, thread=thread, pthread_id=pthread_id)
        discarded = self._discarded + lost
        packet[:PACKET_SIZE] = pack_packet(
            self._uuid,
            stream=self._number,
            begin=begin,
            end=end,
            size=len(packet),
            sequence=self._sequence,
            discarded=discarded,
            thread=thread,
            pthread_id=pthread_id,
        )
        bits = len(packet) * 8
        entry = IndexEntry(
            offset=self._file.size,
            packet_size=bits,
            content_size=bits,
            timestamp_begin=begin,
            timestamp_end=end,
            events_discarded=discarded,
            stream_id=0,
            stream_instance_id=self._number,
            packet_seq_num=self._sequence,
        )
        self._file.append(packet, entry.pack())
        self._sequence += 1
        self._discarded = discarded
        self.last_time = end

    @property
    def size(self) -> int:
        """Bytes written."""
        return self._file.size

    def close(self) -> None:
        """Close the file; to write opens it again."""
        self._file.close()


class UserOutput:
    """The directory ``TRACE/ust``.

    :param ctf2: its metadata is that of CTF 2.
    :raises OutputError: if it cannot be created.
    """

    def __init__(self, directory: Path, trace: TraceClass, *, ctf2: bool = False) -> None:
        if trace.uuid is None:
            raise ValueError("a trace on disk has a UUID")
        self.directory = directory
        self._uuid = trace.uuid
        self._ctf2 = ctf2
        self._streams: list[Stream] = []
        self._free: list[Stream] = []
        self._open: OrderedDict[Stream, None] = OrderedDict()
        try:
            (directory / "index").mkdir(parents=True)
            self._metadata = (directory / "metadata").open("xb")
            self._append(write_json(trace) if ctf2 else write_tsdl(trace))
        except OSError as error:
            raise OutputError(f"cannot create the trace: {error}", path=str(directory)) from error

    def _append(self, text: str) -> None:
        self._metadata.write(text.encode() if self._ctf2 else packetize(text, self._uuid))
        self._metadata.flush()

    def add_event(self, event: EventClass) -> None:
        """Add an event type to the metadata, before its first event is written.

        :raises OutputError: if it cannot be written.
        """
        try:
            self._append(write_json_event(event) if self._ctf2 else write_event(event))
        except OSError as error:
            raise OutputError(f"cannot write the trace: {error}", path=str(self.directory / "metadata")) from error

    def acquire(self, begin: int) -> Stream:
        """Return a stream that nobody writes to and whose events are all older."""
        for index, stream in enumerate(self._free):
            if stream.last_time <= begin:
                return self._free.pop(index)
        stream = Stream(self.directory, len(self._streams), self._uuid, self._keep_open)
        self._streams.append(stream)
        return stream

    def _keep_open(self, stream: Stream) -> None:
        """Keep the files open that were written last, and not those of every thread there is."""
        self._open[stream] = None
        self._open.move_to_end(stream)
        if len(self._open) > _MAX_OPEN:
            self._open.popitem(last=False)[0].close()

    def release(self, stream: Stream) -> None:
        """Give a stream back: its thread has ended."""
        self._free.append(stream)

    @property
    def size(self) -> int:
        """Bytes of packets written so far."""
        return sum(stream.size for stream in self._streams)

    def close(self) -> None:
        """Close all files."""
        self._metadata.close()
        for stream in self._streams:
            stream.close()
