"""What changes about the threads of this machine, by the kernel's word: their namespaces and names, and when.

The kernel writes such records for perf (perf_event_open(2)): PERF_RECORD_NAMESPACES at fork, setns and unshare, and
PERF_RECORD_COMM at exec and renaming. A dummy event on each CPU asks for them and for nothing else, so that only these
rare calls cost anything. The time namespace is not among them.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Iterator
from typing import Final

from boxtrace import _native
from boxtrace.kernel.perf import ATTRIBUTE_SIZE, open_on_each_cpu
from boxtrace.units import NamespaceInum
from boxtrace.userspace.history import TaskChange

__all__ = ["TaskRecords"]

# include/uapi/linux/perf_event.h
_SOFTWARE, _DUMMY = 1, 9
_SAMPLE_TID, _SAMPLE_TIME = 1 << 1, 1 << 2
_COMM, _WATERMARK, _SAMPLE_ID_ALL, _USE_CLOCKID, _NAMESPACES = 1 << 9, 1 << 14, 1 << 18, 1 << 25, 1 << 28
_ATTRIBUTE = struct.Struct("<IIQQQQQI40xi")
_RECORD_LOST, _RECORD_COMM, _RECORD_NAMESPACES = 2, 3, 16
_HEADER = struct.Struct("<IHH")
_IDS = struct.Struct("<II")
_TRAILER = struct.Struct("<IIQ")
_HEAD, _TAIL = 1024, 1032
_PAGES: Final = 64
"""Of the data of each CPU; 2^n, and less than what the kernel lets any user lock (perf_event_mlock_kb)."""
_KINDS = ("net", "uts", "ipc", "pid", "user", "mnt", "cgroup")
"""By index in the record: NET_NS_INDEX and so on."""


class TaskRecords:
    """The records of all CPUs, from here on.

    :param cpus: how many CPU numbers there may be.
    :raises OSError: if the kernel does not give them to this process.
    """

    def __init__(self, cpus: int) -> None:
        flags = _COMM | _WATERMARK | _SAMPLE_ID_ALL | _USE_CLOCKID | _NAMESPACES
        size = _PAGES * mmap.PAGESIZE
        attribute = _ATTRIBUTE.pack(
            *(_SOFTWARE, ATTRIBUTE_SIZE, _DUMMY, 0, _SAMPLE_TID | _SAMPLE_TIME, 0, flags, size // 4),
            time.CLOCK_MONOTONIC,
        )
        self.descriptors = tuple(open_on_each_cpu(attribute, cpus).values())
        """Become readable when there is much to read."""
        self._rings: list[_Ring] = []
        try:
            self._rings += (_Ring(descriptor, size) for descriptor in self.descriptors)
        except BaseException:
            self.close()
            raise

    def read(self) -> Iterator[TaskChange | None]:
        """Yield what is new, in the order of time for each CPU; None where some was lost."""
        for ring in self._rings:
            yield from ring.read()

    def close(self) -> None:
        """End it; once."""
        for ring in self._rings:
            ring.close()
        for descriptor in self.descriptors:
            os.close(descriptor)


class _Ring:
    """The records of one CPU."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._memory = mmap.mmap(descriptor, mmap.PAGESIZE + size)
        self._words = _native.SharedWords(self._memory)
        self._size = size

    def read(self) -> Iterator[TaskChange | None]:
        tail, head = self._words.load(_TAIL), self._words.load(_HEAD)
        try:
            while tail != head:
                kind, _, size = _HEADER.unpack(self._bytes(tail, _HEADER.size))
                if kind == _RECORD_LOST:
                    yield None
                elif kind in (_RECORD_COMM, _RECORD_NAMESPACES):
                    body = self._bytes(tail + _HEADER.size, size - _HEADER.size)
                    yield _change(body, with_name=kind == _RECORD_COMM)
                tail += size
        finally:
            self._words.store(_TAIL, tail)

    def _bytes(self, position: int, size: int) -> bytes:
        at = position % self._size
        first = min(size, self._size - at)
        data = mmap.PAGESIZE
        return self._memory[data + at : data + at + first] + self._memory[data : data + size - first]

    def close(self) -> None:
        del self._words
        self._memory.close()


def _change(body: bytes, *, with_name: bool) -> TaskChange:
    pid, tid = _IDS.unpack_from(body)
    _, _, moment = _TRAILER.unpack_from(body, len(body) - _TRAILER.size)
    if with_name:
        return TaskChange(moment, pid, tid, name=body[_IDS.size : -_TRAILER.size].partition(b"\0")[0])
    (count,) = struct.unpack_from("<Q", body, _IDS.size)
    inums = [struct.unpack_from("<Q", body, _IDS.size + 16 + 16 * index)[0] for index in range(count)]
    namespaces = {kind: NamespaceInum(inum) for kind, inum in zip(_KINDS, inums, strict=False)}
    return TaskChange(moment, pid, tid, namespaces=namespaces)
