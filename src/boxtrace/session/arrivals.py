"""Containers that start while recording: what a state dump would tell of them is recorded when their program runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable

from boxtrace.containers.model import Container
from boxtrace.units import Pid

__all__ = ["Arrivals"]

_MOST = 1000
"""First processes of which nobody knows yet whether their containers are wanted."""


class Arrivals:
    """Finds out whose arrival is to be recorded: first processes of containers, once they have executed a program.

    Before, they are their runtime's, and see the host's files. From any thread.

    :param everyone: tells whether the whole host is recorded; if not, only containers that were named are.
    :param arrived: called once for each.
    """

    def __init__(self, everyone: Callable[[], bool], arrived: Callable[[Pid], None]) -> None:
        self._everyone = everyone
        self._arrived = arrived
        self._lock = threading.Lock()
        self._executed: dict[Pid, None] = {}
        self._wanted: dict[Pid, None] = {}

    def executed(self, pids: Collection[Pid]) -> None:
        """Take processes that have executed their first program in namespaces of their own."""
        if self._everyone():
            now = list(pids)
        else:
            with self._lock:
                now = [pid for pid in pids if pid in self._wanted]
                _remember(self._executed, pids)
        for pid in now:
            self._arrived(pid)

    def named(self, containers: Iterable[Container]) -> None:
        """Take containers that the recording is about."""
        if self._everyone():
            return
        inits = [item.init_pid for item in containers if item.init_pid is not None]
        with self._lock:
            now = [pid for pid in inits if pid in self._executed]
            for pid in now:
                del self._executed[pid]
            _remember(self._wanted, inits)
        for pid in now:
            self._arrived(pid)


def _remember(found: dict[Pid, None], pids: Iterable[Pid]) -> None:
    found |= dict.fromkeys(pids)
    while len(found) > _MOST:
        del found[next(iter(found))]
