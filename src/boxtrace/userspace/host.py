"""The host: serves the clients of a recording, in a thread of its own.

One loop for all of them. None can make another one wait: each has budgets of messages and wake-ups for the time between
two ticks, and is left alone until the next tick when they are used up.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from boxtrace.errors import BoxtraceError
from boxtrace.limits import raise_descriptor_limit
from boxtrace.userspace.client import Client
from boxtrace.userspace.contexts import EventContexts
from boxtrace.userspace.history import TaskHistory, TaskSource
from boxtrace.userspace.identity import Peer, open_peer
from boxtrace.userspace.layout import PACKET_SIZE
from boxtrace.userspace.output import UserOutput
from boxtrace.userspace.placement import Listener
from boxtrace.userspace.protocol import ProtocolError, Reason, refused_message
from boxtrace.userspace.registry import TypeRegistry
from boxtrace.userspace.rings import Account
from boxtrace.userspace.rules import EventRules

__all__ = ["UserHost"]

_MAX_CLIENTS: Final = 16384
_OTHER_DESCRIPTORS: Final = 1024
_MAX_RINGS: Final = 32768
_TENANT_CLIENTS: Final = 4096
_TENANT_BYTES: Final = 1 << 30
_TENANT_GRANTS_PER_TICK: Final = 2048
_MESSAGES_PER_TICK: Final = 3000
_IDLE_WAKES_PER_TICK: Final = 500
_ACCEPTS_PER_TICK: Final = 500
_MESSAGES_AT_ONCE: Final = 64
_GOODBYE_SECONDS: Final = 0.3
_NOT_RECORDED: Final = "this process is not recorded"
_NO_CONTEXTS: Final = EventContexts()


class _Connected:
    """A client in the loop, and what it has used up since the last tick."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.messages = 0
        self.idle_wakes = 0
        self.reading = True
        self.waking = True


class UserHost:
    """Records what the applications of this machine give.

    :param output: where to; stays open after :meth:`stop`.
    :param patterns: shell patterns of the event types to record, see :class:`~boxtrace.userspace.rules.EventRules`.
    :param accept: whether a process is to be recorded.
    :param contexts: what each event should tell beside those contexts that are a thread's.
    :param ring_size: bytes of each ring, a power of two, at least four pages.
    :param flush_seconds: how long an event may stay in a ring.
    :param tasks: opens what tells when the contexts of threads change, for as long as there are clients; without, that
        is seen some time later. It may raise OSError.
    """

    def __init__(
        self,
        output: UserOutput,
        patterns: Sequence[str],
        *,
        accept: Callable[[Peer], bool] = lambda peer: True,
        contexts: EventContexts = _NO_CONTEXTS,
        ring_size: int = 1 << 18,
        flush_seconds: float = 1.0,
        tasks: Callable[[], TaskSource] | None = None,
    ) -> None:
        self.output = output
        self.contexts = contexts
        self.types = TypeRegistry(EventRules.of(patterns), output, contexts)
        self.account = Account()
        self.ring_size = ring_size
        self.buffer = bytearray(PACKET_SIZE + ring_size)
        self._accept = accept
        self._flush_seconds = flush_seconds
        self._rings = 0
        self._tenant_rings: Counter[str] = Counter()
        self._tenant_clients: Counter[str] = Counter()
        self._grants: Counter[str] = Counter()
        self._clients: set[_Connected] = set()
        self._listeners: list[Listener] = []
        self._accepts: dict[int, int] = {}
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._stopping = False
        self._stop_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._wanted: EventRules | None = None
        self._review = False
        self._watch(self._stop_fd, select.EPOLLIN, lambda mask: self._on_word())
        self._thread = threading.Thread(target=self._run, name="boxtrace-user", daemon=True)
        self._failure: BoxtraceError | None = None
        self._tasks = tasks
        self.history: TaskHistory | None = None
        # A client holds up to six descriptors, and each ring one until it is sent.
        descriptors = raise_descriptor_limit(8 * _MAX_CLIENTS + _OTHER_DESCRIPTORS) - _OTHER_DESCRIPTORS
        self._max_clients = max(1, min(_MAX_CLIENTS, descriptors // 8))
        self._max_rings = max(1, min(_MAX_RINGS, descriptors // 4))

    @property
    def clients(self) -> int:
        """Clients that are connected."""
        return len(self._clients)

    def add_listener(self, listener: Listener) -> None:
        """Serve who connects to a socket, from any thread. It is closed by :meth:`stop`."""
        self._listeners.append(listener)
        number = listener.socket.fileno()
        self._accepts[number] = 0
        self._watch(number, select.EPOLLIN, lambda mask: self._on_connect(listener))

    def enable(self, rules: EventRules) -> None:
        """Record the types that these rules enable from now on, and no others. From any thread."""
        self._wanted = rules
        os.eventfd_write(self._stop_fd, 1)

    def review(self) -> None:
        """Let those clients go which would not be accepted any more. From any thread."""
        self._review = True
        os.eventfd_write(self._stop_fd, 1)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> Account:
        """Let all clients go, write what they have left, and return what was recorded.

        :raises OutputError: if something could not be written.
        """
        self._stopping = True
        os.eventfd_write(self._stop_fd, 1)
        if self._thread.is_alive():
            self._thread.join()
        for listener in self._listeners:
            listener.close()
        os.close(self._stop_fd)
        self._close_history()
        self._epoll.close()
        if self._failure is not None:
            raise self._failure
        return self.account

    def reserve_ring(self, tenant: str, *, first: bool) -> bool:
        """Count one more ring on somebody's account; False if that is full.

        :param first: of its client: there is room for one of each, whatever the others have taken.
        """
        full = self._rings >= self._max_rings or (self._tenant_rings[tenant] + 1) * self.ring_size > _TENANT_BYTES
        if full and not first:
            return False
        self._rings += 1
        self._tenant_rings[tenant] += 1
        return True

    def release_rings(self, tenant: str, count: int) -> None:
        """Count so many less."""
        self._rings -= count
        self._tenant_rings[tenant] -= count

    def grant_counters(self, tenant: str) -> bool:
        """Tell whether somebody's clients may have the counters of one more thread before the next tick.

        They are memory of the kernel's on nobody's account, for as long as the client keeps the descriptors.
        """
        self._grants[tenant] += 1
        return self._grants[tenant] <= _TENANT_GRANTS_PER_TICK

    def _watch(self, descriptor: int, mask: int, handler: Callable[[int], None]) -> None:
        self._epoll.register(descriptor, mask)
        self._handlers[descriptor] = handler

    def _unwatch(self, descriptor: int) -> None:
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def _run(self) -> None:
        try:
            next_tick = time.monotonic() + self._flush_seconds
            while not self._stopping:
                self._serve(max(0.0, next_tick - time.monotonic()))
                if time.monotonic() >= next_tick:
                    self._tick()
                    next_tick = time.monotonic() + self._flush_seconds
            self._say_goodbye()
        except BoxtraceError as error:
            self._failure = error
        finally:
            for connected in list(self._clients):
                with suppress(BoxtraceError):
                    self._end(connected)

    def _serve(self, seconds: float) -> None:
        for descriptor, mask in self._epoll.poll(seconds):
            handler = self._handlers.get(descriptor)
            if handler is not None:
                handler(mask)

    def _say_goodbye(self) -> None:
        """Close our side of all connections, and wait a moment for the clients to stop recording."""
        for listener in tuple(self._listeners):
            self._unwatch(listener.socket.fileno())
        for connected in self._clients:
            with suppress(OSError):
                connected.client.connection.shutdown(socket.SHUT_WR)
        until = time.monotonic() + _GOODBYE_SECONDS
        while self._clients and time.monotonic() < until:
            self._unwatch(self._stop_fd)
            self._serve(max(0.0, until - time.monotonic()))

    def _on_word(self) -> None:
        """Another thread has told us something; if it is the end, the loop sees that."""
        if self._stopping:
            return
        os.eventfd_read(self._stop_fd)
        if self._review:
            self._review = False
            for connected in [each for each in self._clients if not self._accept(each.client.peer)]:
                self._refuse(connected, Reason.NOT_RECORDED, _NOT_RECORDED)
        wanted, self._wanted = self._wanted, None
        changed = {} if wanted is None else self.types.apply(wanted)
        for connected in list(self._clients) if changed else ():
            self._guarded(connected, lambda client: client.enable(changed))
            if connected in self._clients:
                self._set_reading(connected, connected.reading)

    def _open_history(self) -> None:
        """Before a client is looked at: what changes from then on is in the history."""
        if self.history is None and self._tasks is not None:
            try:
                self.history = TaskHistory(self._tasks())
            except OSError:
                self._tasks = None
                return
            for descriptor in self.history.descriptors:
                self._watch(descriptor, select.EPOLLIN, self._on_history)

    def _on_history(self, mask: int) -> None:
        if self.history is not None:
            self.history.update()

    def _close_history(self) -> None:
        """It costs every fork of the machine some microseconds."""
        if self.history is not None:
            for descriptor in self.history.descriptors:
                self._unwatch(descriptor)
            self.history.close()
            self.history = None

    def _tick(self) -> None:
        if self._clients:
            self._on_history(0)
        else:
            self._close_history()
        self._grants.clear()
        for number in list(self._accepts):
            self._accepts[number] = 0
            self._epoll.modify(number, select.EPOLLIN)
        for connected in list(self._clients):
            connected.messages = connected.idle_wakes = 0
            self._set_reading(connected, True)
            self._set_waking(connected, True)
            self._guarded(connected, lambda client: client.drain(flush=True))

    def _on_connect(self, listener: Listener) -> None:
        number = listener.socket.fileno()
        self._accepts[number] += 1
        if self._accepts[number] > _ACCEPTS_PER_TICK:
            self._epoll.modify(number, 0)
            return
        try:
            connection, _ = listener.socket.accept()
        except OSError:
            return  # it has gone again, or we have no descriptor left for it
        connection.setblocking(False)
        self._open_history()
        try:
            peer = open_peer(connection)
        except OSError:
            connection.close()
            return
        reason = self._reason_to_refuse(peer)
        if reason is not Reason.NONE:
            with suppress(OSError):
                connection.send(refused_message(reason, _NOT_RECORDED))
            connection.close()
            peer.close()
            return
        try:
            client = Client(connection, peer, self)
        except OSError:
            connection.close()
            peer.close()
            return
        self._tenant_clients[client.tenant] += 1
        connected = _Connected(client)
        self._clients.add(connected)
        self._watch(connection.fileno(), select.EPOLLIN, lambda mask: self._on_message(connected, mask))
        self._watch(client.wake_fd, select.EPOLLIN, lambda mask: self._on_wake(connected))
        self._watch(peer.pidfd, select.EPOLLIN, lambda mask: self._end(connected))

    def _reason_to_refuse(self, peer: Peer) -> Reason:
        if len(self._clients) >= self._max_clients or self._tenant_clients[peer.cgroup] >= _TENANT_CLIENTS:
            return Reason.TOO_MANY_CLIENTS
        return Reason.NONE if self._accept(peer) else Reason.NOT_RECORDED

    def _set_reading(self, connected: _Connected, reading: bool) -> None:
        blocked = connected.client.blocked
        mask = select.EPOLLOUT if blocked else select.EPOLLIN if reading else 0
        self._epoll.modify(connected.client.connection.fileno(), mask)
        connected.reading = reading

    def _set_waking(self, connected: _Connected, waking: bool) -> None:
        if connected.waking != waking:
            self._epoll.modify(connected.client.wake_fd, select.EPOLLIN if waking else 0)
            connected.waking = waking

    def _on_message(self, connected: _Connected, mask: int) -> None:
        def handle(client: Client) -> None:
            client.flush()
            connected.messages += client.read(_MESSAGES_AT_ONCE)
            self._set_reading(connected, connected.messages < _MESSAGES_PER_TICK)

        if mask & (select.EPOLLHUP | select.EPOLLERR) and not mask & select.EPOLLIN:
            self._end(connected)
        else:
            self._guarded(connected, handle)

    def _on_wake(self, connected: _Connected) -> None:
        def handle(client: Client) -> None:
            with suppress(BlockingIOError):
                os.eventfd_read(client.wake_fd)
            if client.drain() < self.ring_size // 8:
                connected.idle_wakes += 1
                self._set_waking(connected, connected.idle_wakes < _IDLE_WAKES_PER_TICK)

        self._guarded(connected, handle)

    def _guarded(self, connected: _Connected, work: Callable[[Client], object]) -> None:
        """Do something for a client, and disconnect it for what it should not have done."""
        try:
            work(connected.client)
        except EOFError:
            self._end(connected)
        except ProtocolError as error:
            self.account.refused += 1
            self._refuse(connected, error.reason, str(error))

    def _refuse(self, connected: _Connected, reason: Reason, text: str) -> None:
        connected.client.refuse(reason, text)
        self._end(connected)

    def _end(self, connected: _Connected) -> None:
        if connected not in self._clients:
            return
        client = connected.client
        self._clients.remove(connected)
        self._tenant_clients[client.tenant] -= 1
        for descriptor in (client.connection.fileno(), client.wake_fd, client.peer.pidfd):
            self._unwatch(descriptor)
        client.finish()
