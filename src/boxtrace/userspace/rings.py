"""A ring in memory that a client writes to, as the host reads it."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from boxtrace import _native
from boxtrace.mapped_memory import MappedMemory
from boxtrace.userspace.history import TaskHistory
from boxtrace.userspace.identity import Peer, Thread
from boxtrace.userspace.layout import PACKET_SIZE
from boxtrace.userspace.memory import sealed_memory
from boxtrace.userspace.output import Stream, UserOutput
from boxtrace.userspace.protocol import ProtocolError
from boxtrace.userspace.stamps import Stamps

__all__ = ["Account", "Ring"]

_COMMITTED, _LOST, _OWNER, _PTHREAD, _STATE, _RELEASED, _STAMPED, _KNOWN = 0, 8, 16, 24, 64, 128, 136, 144
_FREE, _OWNED, _CLOSED = 0, 1, 2
_LOW: Final = 0xFFFF_FFFF
_MAX_LOST: Final = 1 << 40
"""More events than this cannot be lost between two looks."""


@dataclass(slots=True)
class Account:
    """What a host has recorded.

    :ivar events: in the trace.
    :ivar lost: events that clients counted as lost.
    :ivar spoiled: pieces of rings that were not what they should be; their events are lost, too.
    :ivar refused: clients that were disconnected for what they did.
    """

    events: int = 0
    lost: int = 0
    spoiled: int = 0
    refused: int = 0


class Ring:
    """A ring in memory that a client can write to, read with the distrust that this asks for."""

    def __init__(
        self,
        size: int,
        *,
        peer: Peer,
        records: _native.UserRecords,
        output: UserOutput,
        account: Account,
        history: TaskHistory | None = None,
    ) -> None:
        self.size = size
        self.data = mmap.PAGESIZE
        self._peer = peer
        self._records = records
        self._output = output
        self._account = account
        self._earliest = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self.fd: int | None = sealed_memory("boxtrace-ring", self.data + size)
        try:
            self._memory = MappedMemory(self.fd, self.data + size, writable=True)
        except BaseException:
            self.close_fd()
            raise
        self._words = _native.SharedWords(self._memory.buffer)
        self._taken = 0
        self._lost = 0
        self._counted = 0
        self._stamps = Stamps(peer, history)
        self._pthread_id = 0
        self._counted_owner = False
        self._stream: Stream | None = None
        self._last = 0

    def close_fd(self) -> None:
        """Close the descriptor: the client has its own now."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def uncounted_owner(self) -> Thread | None:
        """Return the thread that has taken the ring, once."""
        thread = self._stamps.thread
        if thread is None or self._counted_owner:
            return None
        self._counted_owner = True
        return thread

    def change_context(self, position: int) -> None:
        """The thread's contexts are others from a position on: read them now."""
        self._note_owner()
        self._stamps.change_at(position, self._owner())
        self._words.store(_STAMPED, position)

    def drain(self, buffer: bytearray, *, alive: Callable[[], bool], flush: bool = False) -> int:
        """Write what the client has committed; return how many bytes of the ring that were.

        :param buffer: room for a packet.
        :param alive: tells whether the client is still the process that it was when it connected.
        :param flush: also write what is no event, the count of lost ones.
        :raises ProtocolError: if the ring holds what it must not; what came before is written.
        """
        state = self._words.load(_STATE) & _LOW
        committed = self._words.load(_COMMITTED)
        lost = self._new_losses()
        if state == _OWNED or committed != self._taken or lost:
            self._note_owner()
            self._stamps.look(self._owner(), alive, idle=committed == self._taken and not lost)
            self._words.store(_KNOWN, 1)
        if self._taken - self.size <= committed < self._taken:
            committed = self._taken  # a signal handler published more than the record that it interrupted knew of
        drained = committed - self._taken
        if not 0 <= drained <= self.size:
            raise ProtocolError("a ring's position is impossible")
        while self._taken != committed:
            lost -= self._take(self._stamps.stop(self._taken, committed), lost, buffer)
        if lost and (flush or state == _CLOSED):
            self.count_lost(lost, buffer)
            lost = 0
        self._counted -= lost  # to be told by the next packet
        if state == _CLOSED and committed == self._words.load(_COMMITTED):
            self._release_owner()
        return drained

    def _new_losses(self) -> int:
        total = self._words.load(_LOST)
        lost = total - self._counted
        if not 0 <= lost <= _MAX_LOST:
            raise ProtocolError("a ring's count of lost events is impossible")
        self._counted = total
        return lost

    @staticmethod
    def _now() -> int:
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC)

    def _owner(self) -> int:
        number = self._words.load(_OWNER) & _LOW
        return number - (1 << 32) if number >> 31 else number

    def _note_owner(self) -> None:
        if self._stamps.thread is None:
            self._pthread_id = self._words.load(_PTHREAD)

    def _take(self, end: int, lost: int, buffer: bytearray) -> int:
        """Write what lies before a position and before the thread's next change; return how many losses that told."""
        length = end - self._taken
        now = self._now()
        change = self._stamps.next_change or now + 1
        size, count, first, last = self._records.take(
            self._memory.buffer,
            self.data,
            self._taken,
            end,
            buffer,
            PACKET_SIZE,
            last=self._last,
            earliest=self._earliest,
            now=min(now, change - 1),
        )
        if count:
            self._write(memoryview(buffer)[: PACKET_SIZE + size], first, last, lost)
            self._last = last
            self._account.events += count
        if size != length:
            if change > now:
                self._account.spoiled += 1
                raise ProtocolError("a ring's content is no sequence of records")
            self._stamps.pass_change()
        self._taken += size
        self._words.store(_RELEASED, self._taken)
        return lost if count else 0

    def _write(self, packet: memoryview, begin: int, end: int, lost: int) -> None:
        if self._stream is None:
            self._stream = self._output.acquire(begin)
        thread = self._stamps.thread or self._peer.main
        self._stream.write(packet, begin=begin, end=end, lost=lost, thread=thread, pthread_id=self._pthread_id)
        self._account.lost += lost

    def _release_owner(self) -> None:
        """The ring's thread has ended, and all its events are written: another one may have the ring."""
        self._release_stream()
        self._stamps.reset()
        self._counted_owner = False
        self._last = 0
        self._words.store(_KNOWN, 0)
        self._words.store(_STATE, _FREE)

    def _release_stream(self) -> None:
        if self._stream is not None:
            self._output.release(self._stream)
            self._stream = None

    def count_lost(self, lost: int, buffer: bytearray) -> None:
        """Write a packet without events that says how many were lost."""
        time_ = self._last or self._earliest
        self._write(memoryview(buffer)[:PACKET_SIZE], time_, time_, lost)

    def close(self) -> None:
        """Give the memory back; the client is gone."""
        self._release_stream()
        self.close_fd()
        del self._words
        self._memory.close()
