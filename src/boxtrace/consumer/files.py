"""A sink that writes a CTF trace in LTTng's layout: one file per CPU, and its index."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from boxtrace.consumer.rings import Packet
from boxtrace.ctf.index import INDEX_HEADER, IndexEntry
from boxtrace.ctf.lttng import PacketHeader
from boxtrace.errors import OutputError

__all__ = ["FileSink", "Place", "StreamFile"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a packet was written.

    :ivar offset: in its stream's file.
    :ivar size: bytes that it takes there.
    :ivar index_offset: of its entry in the index.
    """

    cpu: int
    offset: int
    size: int
    index_offset: int


class StreamFile:
    """A new file of one stream in a trace's directory, and its index; both only ever hold whole packets.

    :raises OutputError: if they cannot be created.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.path = directory / name
        self.index_path = directory / "index" / f"{name}.idx"
        self.fd = self.index_fd = -1
        try:
            self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            self.index_fd = os.open(self.index_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            _write_all(self.index_fd, memoryview(INDEX_HEADER))
        except OSError as error:
            raise OutputError(f"cannot create {self.path}: {error.strerror}", path=str(self.path)) from error
        self.size = 0
        self.index_size = len(INDEX_HEADER)

    def append(self, data: memoryview, entry: bytes) -> None:
        """Write a packet and its entry in the index.

        :raises OutputError: if that is not possible; the files end with the packet before it.
        """
        if self.fd < 0:
            self._open_again()
        try:
            _write_all(self.fd, data)
            _write_all(self.index_fd, memoryview(entry))
        except OSError as error:
            os.ftruncate(self.fd, self.size)
            os.ftruncate(self.index_fd, self.index_size)
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise OutputError(
                f"cannot write the trace: {error.strerror}",
                path=str(self.path),
                hint="free some space, or record elsewhere with -o DIR; what was written until now can be read"
                if full
                else None,
            ) from error
        self.size += len(data)
        self.index_size += len(entry)

    def _open_again(self) -> None:
        try:
            self.fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            self.index_fd = os.open(self.index_path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            self.close()
            raise OutputError(f"cannot write {self.path}: {error.strerror}", path=str(self.path)) from error

    def close(self) -> None:
        """Close both files; to append opens them again."""
        for descriptor in (self.fd, self.index_fd):
            if descriptor >= 0:
                os.close(descriptor)
        self.fd = self.index_fd = -1


class FileSink:
    """Writes packets to ``DIRECTORY/CHANNEL_CPU`` and ``DIRECTORY/index/CHANNEL_CPU.idx``.

    A file holds whole packets only, whatever happens: one that could not be written is cut off again.

    :param directory: of the trace's domain, such as ``TRACE/kernel``; it exists.
    :param trace_uuid: the trace's.
    :param stream_id: the stream class in the metadata.
    """

    def __init__(self, directory: Path, channel: str, *, trace_uuid: UUID, stream_id: int = 0) -> None:
        self._directory = directory
        self._channel = channel
        self._uuid = trace_uuid
        self._stream_id = stream_id
        self._streams: dict[int, StreamFile] = {}
        (directory / "index").mkdir(exist_ok=True)

    def write(self, packet: Packet) -> Place:
        """Write one packet; return where it is.

        :raises OutputError: if it cannot be written; the files end with the packet before it.
        """
        stream = self._streams.get(packet.cpu) or self._open(packet.cpu)
        place = Place(packet.cpu, stream.size, len(packet.data), stream.index_size)
        header, entry = self._describe(packet, place)
        kept = bytes(packet.data[: len(header)])
        packet.data[: len(header)] = header
        try:
            stream.append(packet.data, entry)
        except OutputError:
            packet.data[: len(header)] = kept
            raise
        return place

    def read(self, place: Place) -> bytearray:
        """Return the bytes of a packet that was written."""
        data = bytearray(place.size)
        os.preadv(self._streams[place.cpu].fd, [data], place.offset)
        return data

    def rewrite(self, place: Place, packet: Packet) -> None:
        """Write a packet again, where it was: it has less content now, and zeros behind that.

        :raises OutputError: if it cannot be written.
        """
        stream = self._streams[place.cpu]
        header, entry = self._describe(packet, place)
        data = bytearray(packet.data).ljust(place.size, b"\0")
        data[: len(header)] = header
        try:
            os.pwrite(stream.fd, data, place.offset)
            os.pwrite(stream.index_fd, entry, place.index_offset)
        except OSError as error:
            raise OutputError(f"cannot write the trace: {error.strerror}", path=str(stream.path)) from error

    def _describe(self, packet: Packet, place: Place) -> tuple[bytes, bytes]:
        """Return a packet's header and its entry in the index."""
        header = PacketHeader(
            uuid=self._uuid,
            stream_id=self._stream_id,
            stream_instance_id=packet.cpu,
            timestamp_begin=packet.begin,
            timestamp_end=packet.end,
            content_size=len(packet.data) * 8,
            packet_size=place.size * 8,
            packet_seq_num=packet.sequence,
            events_discarded=packet.discarded,
            cpu_id=packet.cpu,
        ).pack()
        entry = IndexEntry(
            offset=place.offset,
            packet_size=place.size * 8,
            content_size=len(packet.data) * 8,
            timestamp_begin=packet.begin,
            timestamp_end=packet.end,
            events_discarded=packet.discarded,
            stream_id=self._stream_id,
            stream_instance_id=packet.cpu,
            packet_seq_num=packet.sequence,
        ).pack()
        return header, entry

    def _open(self, cpu: int) -> StreamFile:
        stream = self._streams[cpu] = StreamFile(self._directory, f"{self._channel}_{cpu}")
        return stream

    @property
    def size(self) -> int:
        """Bytes of packets written so far."""
        return sum(stream.size for stream in self._streams.values())

    def close(self) -> None:
        """Close all files."""
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()


def _write_all(fd: int, data: memoryview) -> None:
    while data:
        written = os.write(fd, data)
        if written == len(data):
            return
        data = data[written:]
