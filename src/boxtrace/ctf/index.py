"""LTTng's index files: where each packet of a stream lies, and what time it covers.

``index/<stream>.idx`` beside the stream file: a 16-byte header, then one entry per packet, all big-endian. Format 1.0
has entries without the last two fields.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar

from boxtrace.errors import TraceFormatError

__all__ = ["INDEX_HEADER", "IndexEntry", "parse_index"]

_MAGIC = 0xC1F1DCC1
_HEADER = struct.Struct(">IIII")


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One packet: ``offset`` in bytes, sizes in bits, time stamps in clock cycles."""

    SIZE: ClassVar[int] = 72
    """Bytes that :meth:`pack` gives."""
    _FORMAT: ClassVar[struct.Struct] = struct.Struct(">9Q")

    offset: int
    packet_size: int
    content_size: int
    timestamp_begin: int
    timestamp_end: int
    events_discarded: int
    stream_id: int
    stream_instance_id: int
    packet_seq_num: int

    def pack(self) -> bytes:
        """Return the entry as it is in the file."""
        return self._FORMAT.pack(
            self.offset,
            self.packet_size,
            self.content_size,
            self.timestamp_begin,
            self.timestamp_end,
            self.events_discarded,
            self.stream_id,
            self.stream_instance_id,
            self.packet_seq_num,
        )


INDEX_HEADER = _HEADER.pack(_MAGIC, 1, 1, IndexEntry.SIZE)
"""What an index file begins with."""


def parse_index(data: bytes, path: str) -> list[IndexEntry]:
    """Return the entries of an index file's contents; an incomplete last entry is left out.

    :param path: where ``data`` was read, for the error.
    :raises TraceFormatError: if it is not an index file of a known version.
    """
    if len(data) < _HEADER.size:
        raise TraceFormatError("an index file has at least 16 bytes", path=path, offset=0)
    magic, major, minor, entry_size = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise TraceFormatError(f"not an index file: magic {magic:#x}, expected {_MAGIC:#x}", path=path, offset=0)
    if major != 1 or entry_size < 56 or entry_size % 8:
        raise TraceFormatError(f"unknown index version {major}.{minor}, {entry_size} bytes each", path=path, offset=4)
    words = min(entry_size // 8, 9)
    entries = []
    for offset in range(_HEADER.size, len(data) - entry_size + 1, entry_size):
        values = struct.unpack_from(f">{words}Q", data, offset)
        entries.append(IndexEntry(*values, *([0] * (9 - words))))
    return entries
