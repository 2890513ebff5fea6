"""What is known of containers, and what runtimes told of them, on its way into the trace."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Final

from boxtrace.containers.events import ContainerEvent
from boxtrace.containers.model import BIRTH_RESOLUTION_NS, Cgroup, Container
from boxtrace.session.container_stream import ContainerStream
from boxtrace.units import Nanoseconds

__all__ = ["Telling", "latest"]

_MOST_WAITING: Final = 1000
"""Containers of which nobody knows yet whether they are wanted, and what is told of them is kept."""


def latest(containers: Iterable[Container]) -> Collection[Container]:
    """Return what was said last of each life of a container, for each runtime that tells of it."""
    return {_life(container): container for container in containers}.values()


def _life(container: Container) -> tuple[str, str, object]:
    return (container.runtime, container.id, container.identity)


class Telling:
    """Passes on what is new, in the order that readers need. From any thread.

    :param stream: where to; None where nothing is written, and :attr:`described` is all that is wanted.
    :param selects: whether a part of the containers is selected now: what is told of one waits until that is described.
    """

    def __init__(self, stream: ContainerStream | None, selects: Callable[[], bool]) -> None:
        self._stream = stream
        self._selects = selects
        self._lock = threading.Lock()
        self._births: dict[object, tuple[Nanoseconds, tuple[Cgroup, ...]]] = {}
        self._described: dict[object, Container] = {}
        self._covered: set[tuple[str, str]] = set()
        self._waiting: dict[tuple[str, str], list[ContainerEvent]] = {}

    @property
    def described(self) -> Collection[Container]:
        """The containers that were described so far, as they were last."""
        return self._described.values()

    def describe(self, containers: Iterable[Container], *, dump: bool = False) -> None:
        """Keep what is known of containers, and what was told of them while nobody knew whether they are wanted.

        :param dump: they are there from the beginning.
        :raises OutputError: if it cannot be written.
        """
        with self._lock:
            news = []
            for container in map(self._as_first_seen, containers):
                key = _life(container)
                self._covered.add(key[:2])
                if self._described.get(key) != container:
                    self._described[key] = container
                    news.append(container)
                if self._stream is not None:
                    self._stream.tell(self._waiting.pop(key[:2], ()))
            if self._stream is not None:
                self._stream.describe(news, dump=dump)

    def tell(self, events: Iterable[ContainerEvent]) -> None:
        """Keep what runtimes told; of a container that may not be wanted, until that is known.

        :raises OutputError: if it cannot be written.
        """
        if self._stream is None:
            return
        with self._lock:
            now = []
            for event in events:
                key = (event.runtime, event.id)
                if not self._selects() or key in self._covered:
                    now.append(event)
                    continue
                while len(self._waiting) >= _MOST_WAITING:
                    self._waiting.pop(next(iter(self._waiting)))
                self._waiting.setdefault(key, []).append(event)
            self._stream.tell(now)

    def _as_first_seen(self, container: Container) -> Container:
        """Return the container with the identity that was told first: the kernel and procfs tell it differently."""
        if container.birth is None:
            return container
        key = (container.runtime, container.id, container.init_pid, container.pid_ns)
        birth, cgroups = self._births.setdefault(key, (container.birth, container.cgroups))
        if abs(birth - container.birth) > BIRTH_RESOLUTION_NS:
            return container
        return replace(container, birth=birth, cgroups=cgroups)
