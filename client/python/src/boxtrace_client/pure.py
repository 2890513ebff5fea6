"""The client in Python alone: the protocol of boxtrace (docs/protocol.md), as the C client speaks it.

A thread talks to the host; threads that record only touch memory. Their stores become visible in order on x86, which is
what the protocol needs; on other machines nothing is recorded.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import select
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["Event", "context_changed", "start"]

_HELLO, _WELCOME, _REGISTER, _TYPE, _ENABLE, _RINGS, _RING, _CONTEXT = 1, 2, 4, 5, 6, 7, 8, 9
_OPTIONAL = 1 << 31
_CONTEXTS, _COUNTERS = _OPTIONAL | 10, _OPTIONAL | 11
_IP, _COUNTER_BITS = 1, 0x1FE
_UNKNOWN = b"\xff" * 8
"""Value of a context that is not known: a Python program has no place in machine code, for one."""
_MAGIC, _VERSION = 0x52545842, 1
_PATHS = ("/run/boxtrace-user.sock", "/dev/boxtrace-user.sock")
_SPARE, _MAX_SPARE = 4, 64
_HIGH_DESCRIPTOR = 500
_WITHOUT_FILE: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}
"""Or a memory map has a descriptor of its own, which it closes with itself, whosever it is by then."""
_RETRY_SECONDS = 1.0
_START_SECONDS = 1.5
_YOUNG_SECONDS = 0.05
_STAMP_SECONDS = 0.1
_EXTENDED = struct.Struct("=HIQI")
_COMPACT = struct.Struct("=HII")
_UNKNOWN_CPU = 0xFFFFFFFF
_COMMITTED, _LOST, _STATE, _RELEASED, _STAMPED, _KNOWN = 0, 1, 8, 16, 17, 18
"""Offsets in the memory of a ring, in words of 8 bytes."""


class Event:
    """An event type; *body* is what REGISTER says of it."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.enabled = False
        self.number = 0
        _connector.add(self)

    def record(self, fields: bytes) -> None:
        """Record an event with these fields."""
        ring = getattr(_local, "owner", None)
        if ring is None or ring.connection is not _connector.connection:
            ring = _local.owner = _claim()
            if ring is None:
                _connector.count_lost()
                return
        ring.write(self.number, fields)


class _Connection:
    """What a host gave."""

    def __init__(
        self, host: socket.socket, control: mmap.mmap, wake: int, offset: int, max_record: int, contexts: int
    ) -> None:
        self.host = host
        self.control = control
        self.wake = wake
        self.offset = offset
        self.max_record = max_record
        self.contexts = contexts
        self.counters: dict[int, tuple[int, list[int] | None]] = {}
        """By the index of a ring: its owner's id, and the descriptors of its counters, once they are there."""
        self.rings = 0
        self.free: deque[_Memory] = deque()
        self.closed: deque[_Memory] = deque()

    def notify(self) -> None:
        """Have the host look."""
        with suppress(OSError):
            os.write(self.wake, (1).to_bytes(8, "little"))

    def __del__(self) -> None:
        for _, counters in self.counters.values():
            _close(counters or ())
        _close([self.wake])


class _Memory:
    """A ring; *index* is the host's number for it."""

    def __init__(self, index: int, descriptor: int, size: int, data: int) -> None:
        self.index = index
        self.map = mmap.mmap(descriptor, data + size, **_WITHOUT_FILE)
        self.words = memoryview(self.map)[:data].cast("Q")
        self.size = size
        self.data = data


class _Owner:
    """A thread's hold of a ring; it ends with the thread."""

    def __init__(self, connection: _Connection, memory: _Memory) -> None:
        self.connection = connection
        self.memory = memory
        self.position: int = memory.words[_COMMITTED]
        self.last = 0
        self.since = time.monotonic()
        self.busy = False
        self.tid = threading.get_native_id()
        struct.pack_into("@I", memory.map, 16, self.tid)
        struct.pack_into("@Q", memory.map, 24, threading.get_ident())
        if connection.contexts & _COUNTER_BITS:
            connection.counters[memory.index] = (self.tid, None)
        memory.words[_STATE] = 1
        connection.notify()

    @property
    def counters(self) -> list[int] | None:
        """Descriptors of the thread's counters; None where the host has not answered yet."""
        return self.connection.counters.get(self.memory.index, (0, None))[1]

    def _contexts(self) -> bytes:
        contexts = self.connection.contexts
        values = [_UNKNOWN] if contexts & _IP else []
        count = bin(contexts).count("1")
        for counter in self.counters or ():
            try:
                value = os.read(counter, 8)
            except OSError:
                value = _UNKNOWN
            values.append(value if len(value) == 8 else _UNKNOWN)
        return b"".join(values).ljust(8 * count, b"\xff")

    def write(self, number: int, fields: bytes) -> None:
        """Write a record."""
        memory = self.memory
        words = memory.words
        if self.busy:  # a signal handler, amid another record
            words[_LOST] += 1
            return
        self.busy = True
        if self.connection.contexts:
            fields = self._contexts() + fields
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + self.connection.offset
        if now - self.last < 1 << 32 and number < 0xFFFF:
            record = _COMPACT.pack(number, now & 0xFFFFFFFF, _UNKNOWN_CPU) + fields
        else:
            record = _EXTENDED.pack(0xFFFF, number, now, _UNKNOWN_CPU) + fields
        size = len(record)
        position = self.position
        if size > self.connection.max_record or position + size - words[_RELEASED] > memory.size:
            words[_LOST] += 1
            self.busy = False
            return
        start = position & (memory.size - 1)
        room = memory.size - start
        at = memory.data + start
        if size <= room:
            memory.map[at : at + size] = record
        else:
            memory.map[at : at + room] = record[:room]
            memory.map[memory.data : memory.data + size - room] = record[room:]
        self.last = now
        self.position = words[_COMMITTED] = position + size
        self.busy = False
        if (position ^ self.position) & -(memory.size // 4):
            self.connection.notify()

    def __del__(self) -> None:
        connection = self.connection
        if connection is not _connector.connection:
            return
        words = self.memory.words
        # A host needs a moment to look up a young thread in /proc.
        while not words[_KNOWN] & 1 and time.monotonic() - self.since < _YOUNG_SECONDS:
            time.sleep(0.0002)
        _close(connection.counters.pop(self.memory.index, (0, None))[1] or ())
        words[_STATE] = 2
        connection.closed.append(self.memory)
        connection.notify()


def _claim() -> _Owner | None:
    connection = _connector.connection
    if connection is None:
        return None
    memory = None
    try:
        memory = connection.free.popleft()
    except IndexError:
        for _ in range(len(connection.closed)):
            candidate = connection.closed.popleft()
            if candidate.words[_STATE] == 0:
                memory = candidate
                break
            connection.closed.append(candidate)
    _connector.kick()
    return None if memory is None else _Owner(connection, memory)


class _Connector:
    """Keeps a connection to a host, in a thread of its own."""

    def __init__(self) -> None:
        self.connection: _Connection | None = None
        self.events: list[Event] = []
        self._reset()

    def _reset(self) -> None:
        self._asked: dict[int, Event] = {}
        self._next = 0
        self._rings_asked = 0
        self._no_more_rings = False
        self._host: socket.socket | None = None
        self._settled = threading.Event()
        self._stalled = False
        self._kick_read, self._kick_write = -1, -1
        self._running = False

    def start(self) -> None:
        """Begin, in this process."""
        chosen = os.environ.get("BOXTRACE_SOCKET")
        if chosen == "" or os.uname().machine not in ("x86_64", "i686", "AMD64") or self._running:
            return
        self._kick_read, self._kick_write = _pipe()
        self._running = True
        threading.Thread(target=self._run, name="boxtrace", daemon=True).start()
        self._wait_for_host()

    def add(self, event: Event) -> None:
        """Have an event type known to hosts."""
        self._settled.clear()
        self.events.append(event)
        if self._running:
            self.kick()
            self._wait_for_host()

    def _wait_for_host(self) -> None:
        """Wait until the host, if there is one, has answered, and has given this thread the counters that it wants.

        A host that has not answered is not waited for again until it has.
        """
        until = time.monotonic() + _START_SECONDS
        self._stalled = not self._settled.wait(0 if self._stalled else _START_SECONDS)
        connection = self.connection
        if connection is None or not connection.contexts & _COUNTER_BITS or self._stalled:
            return
        owner: _Owner | None = getattr(_local, "owner", None)
        if owner is None or owner.connection is not connection:
            owner = _local.owner = _claim()
        while owner and owner.counters is None and self.connection is connection and time.monotonic() < until:
            time.sleep(0.0002)

    def count_lost(self) -> None:
        """Count an event that was lost because its thread had no ring."""
        connection = self.connection
        if connection is not None:
            memoryview(connection.control).cast("Q")[0] += 1  # stored whole, as struct would not

    def kick(self) -> None:
        """Have the thread look."""
        with suppress(OSError):
            os.write(self._kick_write, b"k")

    def forked(self) -> None:
        """A child is another client."""
        was_traced, was_running = self.connection is not None, self._running
        self.connection = None  # before the ring is let go: it is the parent's
        _local.__dict__.clear()
        if self._host is not None:
            self._host.close()
        for event in self.events:
            event.enabled = False
        for descriptor in (self._kick_read, self._kick_write):
            if descriptor >= 0:
                os.close(descriptor)
        self._reset()
        if was_running:
            if not was_traced:
                self._settled.set()
            self.start()

    def _run(self) -> None:
        while True:
            host = _connect()
            if host is not None:
                self._host = host
                with suppress(OSError, ValueError, struct.error), host:
                    self._converse(host)
            self.connection = None
            for event in self.events:
                event.enabled = False
            self._asked.clear()
            self._next = self._rings_asked = 0
            self._no_more_rings = False
            self._host = None
            self._settled.set()
            self._wait(-1)

    def _wait(self, descriptor: int) -> bool:
        """Wait for somebody to kick, or for a descriptor; tell whether that has something.

        Not for ever: a program that closes both wakes nobody who waits for them.
        """
        poll = select.poll()
        for each in (descriptor, self._kick_read):
            if each >= 0:
                poll.register(each, select.POLLIN)
        found = dict(poll.poll(_RETRY_SECONDS * 1000))
        if found.get(self._kick_read, 0) & select.POLLNVAL:  # the program has closed it
            self._kick_read, self._kick_write = _pipe()
        elif self._kick_read in found:
            with suppress(BlockingIOError):
                os.read(self._kick_read, 4096)
        return descriptor in found

    def _converse(self, host: socket.socket) -> None:
        hello = struct.pack("=IIIHH32s", _HELLO, 0, _MAGIC, _VERSION, _VERSION, b"boxtrace-client 1.0.0 (pure)")
        host.send(hello)
        while True:
            if self._wait(host.fileno()):
                data, descriptors, _, _ = socket.recv_fds(host, 16384, 8)
                try:
                    if not data or not self._take(host, data, descriptors):
                        return
                finally:
                    _close(descriptors)
            if self.connection is not None:
                self._ask(host, self.connection)
                if not self._asked and not self._rings_asked:
                    self._settled.set()

    def _ask(self, host: socket.socket, connection: _Connection) -> None:
        free, closed = len(connection.free), list(connection.closed)
        there = free + self._rings_asked + sum(memory.words[_STATE] == 0 for memory in closed)
        taken = connection.rings - free - len(closed)
        wanted = min(max(_SPARE, _count_threads() - taken), _MAX_SPARE)
        if there < wanted and not self._no_more_rings:
            host.send(struct.pack("=III", _RINGS, 0, wanted - there))
            self._rings_asked += wanted - there
        while self._next < len(self.events):
            event = self.events[self._next]
            self._asked[self._next] = event
            host.send(struct.pack("=II", _REGISTER, self._next) + event.body)
            self._next += 1

    def _take(self, host: socket.socket, data: bytes, descriptors: list[int]) -> bool:
        kind, token = struct.unpack_from("=II", data)
        if kind == _WELCOME and self.connection is None:
            _, version, _, offset, _, _, max_record, wanted = struct.unpack_from("=IHHqIIII", data, 8)
            contexts = wanted & (_IP | _COUNTER_BITS)
            if contexts:
                host.send(struct.pack("=III", _CONTEXTS, 0, contexts))
            control = mmap.mmap(descriptors[0], mmap.PAGESIZE, **_WITHOUT_FILE)
            self.connection = _Connection(host, control, _high(descriptors[1]), offset, max_record, contexts)
            return bool(version == _VERSION)
        if kind == _TYPE:
            number, enabled, error = struct.unpack_from("=III", data, 8)
            event = self._asked.pop(token, None)
            if event is not None:
                event.number = 0xFFFFFFFF if error else number
                event.enabled = bool(enabled) and not error
            return True
        if kind == _ENABLE:
            number, enabled = struct.unpack_from("=II", data, 8)
            for event in self.events[: self._next]:
                if event.number == number:
                    event.enabled = bool(enabled)
            return True
        if kind == _RING and self.connection is not None:
            index, error, size, start_of_data = struct.unpack_from("=IIQQ", data, 8)
            self._rings_asked -= 1
            if error:
                self._no_more_rings = True
            else:
                self.connection.rings += 1
                self.connection.free.append(_Memory(index, descriptors[0], size, start_of_data))
            return True
        if kind == _COUNTERS and self.connection is not None:
            index, tid = struct.unpack_from("=II", data, 8)
            owner, held = self.connection.counters.get(index, (0, None))
            if owner == tid and held is None:
                self.connection.counters[index] = (tid, [_high(descriptor) for descriptor in descriptors])
        return bool(kind & _OPTIONAL)


def _count_threads() -> int:
    with suppress(OSError):
        return Path("/proc/self/task").stat().st_nlink - 2
    return 0


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        with suppress(OSError):
            os.close(descriptor)


def _high(descriptor: int) -> int:
    """Return another one for the same file, where a program that closes what it has not opened seldom opens its own."""
    with suppress(OSError):
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _HIGH_DESCRIPTOR)
    return os.dup(descriptor)


def _pipe() -> tuple[int, int]:
    ends = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    reading, writing = map(_high, ends)
    for end in ends:
        os.close(end)
    return reading, writing


def _connect() -> socket.socket | None:
    chosen = os.environ.get("BOXTRACE_SOCKET")
    for path in (chosen,) if chosen else _PATHS:
        host = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            host.settimeout(_RETRY_SECONDS)
            host.connect(path)
        except OSError:
            host.close()
            continue
        with host:
            moved = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, _high(host.fileno()))
        moved.settimeout(_RETRY_SECONDS)
        return moved
    return None


_local = threading.local()
_connector = _Connector()
os.register_at_fork(after_in_child=_connector.forked)


def start() -> None:
    """Begin."""
    _connector.start()


def context_changed() -> None:
    """Have the host read the calling thread's user and group ids, and wait for it."""
    owner: _Owner | None = getattr(_local, "owner", None)
    if owner is None:
        return
    connection = owner.connection
    if connection is not _connector.connection:
        return
    position, memory = owner.position, owner.memory
    try:
        connection.host.send(struct.pack("=IIIIQ", _CONTEXT, 0, memory.index, 0, position))
    except OSError:
        return
    until = time.monotonic() + _STAMP_SECONDS
    while memory.words[_STAMPED] < position and time.monotonic() < until:
        time.sleep(0.0001)
