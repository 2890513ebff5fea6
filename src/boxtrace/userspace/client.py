"""One client: its connection, its rings, and what it may ask for."""

from __future__ import annotations

import mmap
import os
import select
import socket
from collections import deque
from collections.abc import Mapping
from typing import Final, Protocol

from boxtrace import _native
from boxtrace.mapped_memory import MappedMemory
from boxtrace.userspace.contexts import EventContexts
from boxtrace.userspace.history import TaskHistory
from boxtrace.userspace.identity import Peer
from boxtrace.userspace.memory import sealed_memory
from boxtrace.userspace.output import UserOutput
from boxtrace.userspace.protocol import (
    CLIENT_MAX_RINGS,
    CLIENT_MAX_TYPES,
    MESSAGE_MAX,
    ContextChange,
    ContextsWritten,
    Hello,
    ProtocolError,
    Reason,
    Register,
    RingsWanted,
    common_version,
    counters_message,
    enable_message,
    parse_message,
    refused_message,
    ring_message,
    type_message,
    welcome_message,
)
from boxtrace.userspace.registry import TypeRegistry
from boxtrace.userspace.rings import Account, Ring

__all__ = ["Client", "Shared"]

_MAX_LOST: Final = 1 << 40
_NO_DESCRIPTORS: Final = ()


class Shared(Protocol):
    """What the clients of a host have in common."""

    types: TypeRegistry
    output: UserOutput
    account: Account
    history: TaskHistory | None
    contexts: EventContexts
    ring_size: int
    buffer: bytearray

    def reserve_ring(self, tenant: str, *, first: bool) -> bool:
        """Count one more ring on somebody's account, perhaps its client's first; False if that is full."""

    def release_rings(self, tenant: str, count: int) -> None:
        """Count so many less."""

    def grant_counters(self, tenant: str) -> bool:
        """Tell whether somebody's clients may have the counters of one more thread now."""


class Client:
    """A client that has connected.

    :ivar tenant: on whose account its memory goes: its cgroup.
    :ivar wake_fd: becomes readable when the client wants to be looked at.
    """

    def __init__(self, connection: socket.socket, peer: Peer, shared: Shared) -> None:
        self.connection = connection
        self.peer = peer
        self.tenant = peer.cgroup
        self.name = ""
        self._shared = shared
        self._welcomed = False
        self._contexts: int | None = None
        self._counting = False
        self._types = 0
        self._numbers: set[int] = set()
        self._rings: list[Ring] = []
        self._outgoing: deque[tuple[bytes, tuple[int, ...]]] = deque()
        control = sealed_memory("boxtrace-control", mmap.PAGESIZE)
        try:
            self._control = MappedMemory(control, mmap.PAGESIZE, writable=True)
            self._control_fd: int | None = control
            self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        except BaseException:
            os.close(control)
            raise
        self._words = _native.SharedWords(self._control.buffer)

    def connected(self) -> bool:
        """Tell whether the process that connected still runs the program that did."""
        poll = select.poll()
        poll.register(self.connection, 0)
        return not poll.poll(0) and not self.peer.ended()

    @property
    def blocked(self) -> bool:
        """Whether it has not read what it was sent: until then nothing more is read of it."""
        return bool(self._outgoing)

    def read(self, budget: int) -> int:
        """Handle messages, at most so many; return how many there were.

        :raises EOFError: if the client has ended the connection.
        :raises ProtocolError: if it did not keep to the protocol.
        """
        for count in range(budget):
            if self._outgoing:
                return count
            try:
                data = self.connection.recv(MESSAGE_MAX + 1)
            except BlockingIOError:
                return count
            except OSError as error:
                raise EOFError from error
            if not data:
                raise EOFError
            if len(data) > MESSAGE_MAX:
                raise ProtocolError("a message is too long")
            self._handle(data)
        return budget

    def _handle(self, data: bytes) -> None:
        match parse_message(data):
            case Hello() as hello if not self._welcomed:
                self._welcome(hello)
            case None if self._welcomed:
                pass
            case ContextsWritten(mask) if self._welcomed and self._contexts is None and not self._types:
                self._take_contexts(mask)
            case Register() as message if self._welcomed:
                self._send(self._register(message))
            case RingsWanted(token, count) if self._welcomed:
                for _ in range(min(count, CLIENT_MAX_RINGS + 1 - len(self._rings))):
                    self._add_ring(token)
            case ContextChange(index, position) if self._welcomed and index < len(self._rings):
                self._rings[index].change_context(position)
            case _:
                raise ProtocolError("a message out of place")

    def _welcome(self, hello: Hello) -> None:
        version = common_version(hello)
        self.name = hello.name
        message = welcome_message(
            version,
            clock_offset=self.peer.clock_offset,
            max_record=self._shared.ring_size // 4,
            contexts=self._shared.contexts.mask,
        )
        if self._control_fd is None:
            raise ProtocolError("a message out of place")
        self._send(message, (self._control_fd, self.wake_fd))
        self._welcomed = True

    def _take_contexts(self, mask: int) -> None:
        if mask & ~self._shared.contexts.mask:
            raise ProtocolError("contexts that nobody wanted")
        self._contexts = mask
        self._counting = self._shared.contexts.has_counters(mask)

    def _register(self, message: Register) -> bytes:
        self._types += 1
        if self._types > CLIENT_MAX_TYPES:
            return type_message(message.token, error=Reason.LIMIT)
        try:
            number = self._shared.types.register(message, self.tenant, self._contexts or 0)
        except ProtocolError as error:
            return type_message(message.token, error=error.reason)
        self._numbers.add(number)
        return type_message(message.token, number=number, enabled=self._shared.types.enabled(number))

    def enable(self, changed: Mapping[int, bool]) -> None:
        """Tell it which of its event types are enabled, or disabled, from now on."""
        for number, enabled in changed.items():
            if number in self._numbers:
                self._send(enable_message(number, enabled))

    def _add_ring(self, token: int) -> None:
        ring = self._make_ring()
        if ring is None:
            self._send(ring_message(token, 0, 0, 0, Reason.LIMIT))
            return
        self._rings.append(ring)
        if ring.fd is not None:
            self._send(ring_message(token, len(self._rings) - 1, ring.size, ring.data), (ring.fd,))
        self._close_sent()

    def _make_ring(self) -> Ring | None:
        shared = self._shared
        if len(self._rings) >= CLIENT_MAX_RINGS or not shared.reserve_ring(self.tenant, first=not self._rings):
            return None
        try:
            return Ring(
                shared.ring_size,
                peer=self.peer,
                records=shared.types.records,
                output=shared.output,
                account=shared.account,
                history=shared.history,
            )
        except OSError:  # descriptors, or maps (vm.max_map_count), have run out
            shared.release_rings(self.tenant, 1)
            return None

    def _close_sent(self) -> None:
        if not self._outgoing:
            if self._welcomed and self._control_fd is not None:
                os.close(self._control_fd)
                self._control_fd = None
            for ring in reversed(self._rings):
                if ring.fd is None:
                    break
                ring.close_fd()

    def _send(self, message: bytes, descriptors: tuple[int, ...] = _NO_DESCRIPTORS) -> None:
        self._outgoing.append((message, descriptors))
        self.flush()

    def flush(self) -> None:
        """Send what could not be sent before, as far as that is possible now."""
        while self._outgoing:
            message, descriptors = self._outgoing[0]
            try:
                socket.send_fds(self.connection, [message], descriptors, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            except OSError:
                self._outgoing.clear()  # its end shows when it is read
                return
            self._outgoing.popleft()
        self._close_sent()

    def refuse(self, reason: Reason, text: str) -> None:
        """Tell the client why it is disconnected, if it can be told."""
        self._outgoing.clear()
        self._send(refused_message(reason, text))

    def drain(self, *, flush: bool = False) -> int:
        """Write what is in the rings; return how many bytes that were.

        :raises ProtocolError: if a ring holds what it must not.
        """
        drained = 0
        for index, ring in enumerate(self._rings):
            drained += ring.drain(self._shared.buffer, alive=self.connected, flush=flush)
            if self._counting:
                self._give_counters(index, ring)
        return drained

    def _give_counters(self, index: int, ring: Ring) -> None:
        """Let a ring's new owner have its counters. Who does not take what it is sent gets none."""
        owner = None if self._outgoing else ring.uncounted_owner()
        if owner is None or not owner.tid:
            return
        granted = self._shared.grant_counters(self.tenant)
        descriptors = self._shared.contexts.open_counters(self._contexts or 0, owner.tid) if granted else ()
        try:
            message = counters_message(index, owner.vtid)
            socket.send_fds(self.connection, [message], descriptors, socket.MSG_NOSIGNAL)
        except OSError:
            pass  # it does without, or its end shows when it is read
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def finish(self) -> None:
        """The client is gone: write what it has left, with its losses, and give everything back.

        :raises OutputError: if it cannot be written; everything is given back nevertheless.
        """
        try:
            for ring in self._rings:
                self._finish_ring(ring)
            lost = self._words.load(0)
            if self._rings and 0 < lost <= _MAX_LOST:
                self._rings[0].count_lost(lost, self._shared.buffer)
        finally:
            self._close()

    def _finish_ring(self, ring: Ring) -> None:
        try:
            ring.drain(self._shared.buffer, alive=lambda: False, flush=True)
        except ProtocolError:
            self._shared.account.refused += 1

    def _close(self) -> None:
        self._shared.release_rings(self.tenant, len(self._rings))
        for ring in self._rings:
            ring.close()
        self._rings.clear()
        self._outgoing.clear()
        del self._words
        self._control.close()
        if self._control_fd is not None:
            os.close(self._control_fd)
            self._control_fd = None
        os.close(self.wake_fd)
        self.connection.close()
        self.peer.close()
