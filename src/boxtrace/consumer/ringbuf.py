"""The user-space end of a ``BPF_MAP_TYPE_RINGBUF``: entries in the order in which they were begun."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Final

from boxtrace import _native

__all__ = ["RingBuffer"]

# include/uapi/linux/bpf.h
_BUSY: Final = 1 << 31
_DISCARDED: Final = 1 << 30
_HEADER: Final = 8


class RingBuffer:
    """Entries that BPF programs wrote; ``fd`` is readable for epoll when there is one.

    :param fd: of the map.
    :param size: of its data, as the map was created.
    """

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self._size = size
        page = mmap.PAGESIZE
        self._consumer = _native.SharedWords(mmap.mmap(fd, page))
        # The data is mapped twice in a row, so that an entry is in one piece wherever it begins.
        self._view = memoryview(mmap.mmap(fd, page + 2 * size, prot=mmap.PROT_READ, offset=page))
        self._at = 0

    def entries(self) -> Iterator[bytes]:
        """Yield what has been written since the last time."""
        page = mmap.PAGESIZE
        while self._at < int.from_bytes(self._view[:8], "little"):
            start = page + (self._at & self._size - 1)
            head = int.from_bytes(self._view[start : start + 4], "little")
            if head & _BUSY:
                return
            length = head & ~_DISCARDED
            data = bytes(self._view[start + _HEADER : start + _HEADER + length])
            self._at += _HEADER + (length + 7 & ~7)
            self._consumer.store(0, self._at)
            if not head & _DISCARDED:
                yield data
