"""What Podman writes down of its containers: the events of those who have no API service.

Podman appends a line of JSON for each event to ``events/events.log`` in its temporary directory, if its
``events_logger`` is ``file`` (podman-events(1); with ``journald`` only its API service tells). Each user has such a
directory; a conmon's command line tells others. Anybody may have written such a file: it tells of the containers alone
that it told of first, or whose conmon belongs to it.
"""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from boxtrace.containers.conmon import is_conmon, parse_arguments
from boxtrace.containers.engine import KINDS, nanoseconds
from boxtrace.containers.events import ContainerEvent
from boxtrace.containers.oci import directories, mapping
from boxtrace.containers.table import ProcessTable, Task
from boxtrace.containers.text import clean, is_safe_id
from boxtrace.units import Nanoseconds

__all__ = ["PodmanLogs"]

_PLACES = ("/run/libpod", "/run/user/*/libpod/tmp", "/tmp/podman-run-*/libpod/tmp")
_NAME = Path("events/events.log")
_PODMAN = "podman"
_AT_ONCE = 1 << 20
"""Bytes that are read of a file at once, and at most of what it has from before it was known: podman keeps no more."""


class PodmanLogs:
    """The event files of all users that may be read.

    :param since: events before that are not told; CLOCK_REALTIME in ns.
    """

    def __init__(self, since: Nanoseconds) -> None:
        self._since = since
        self._lock = threading.Lock()
        self._files: dict[Path, _File] = {}
        self._whose: dict[str, Path] = {}
        self._names: dict[str, str] = {}

    def refresh(self, processes: ProcessTable) -> None:
        """Look for files that were not there before."""
        with self._lock:
            for pattern in _PLACES:
                for directory in directories(pattern):
                    self._add(directory)
        self.notice(processes, processes.named("conmon"))

    def notice(self, processes: ProcessTable, tasks: Iterable[Task]) -> None:
        """Take the files of those among some processes that are conmons; other places are not looked at."""
        for task in tasks:
            if not is_conmon(task):
                continue
            told = parse_arguments(processes.arguments(task.pid))
            exits = Path(told.get("exits", "")) if told is not None else None
            if told is None or exits is None or not exits.is_absolute() or not _sees_our_files(processes, task):
                continue
            with self._lock:
                self._whose[told["id"]] = self._add(exits.parent)

    def read(self) -> list[ContainerEvent]:
        """Return what has been written since the last time."""
        with self._lock:
            return [
                event for file in self._files.values() for line in file.lines() for event in self._event(file, line)
            ]

    def _add(self, directory: Path) -> Path:
        path = directory / _NAME
        self._files.setdefault(path, _File(path))
        return path

    def _event(self, file: _File, line: bytes) -> Iterator[ContainerEvent]:
        try:
            told = mapping(json.loads(line))
        except (ValueError, RecursionError):
            return
        identifier, kind, when = told.get("ID"), KINDS.get(clean(told.get("Status"))), nanoseconds(told.get("Time"))
        if told.get("Type") != "container" or kind is None or not is_safe_id(identifier) or when is None:
            return
        identifier = str(identifier)
        if self._whose.setdefault(identifier, file.path) != file.path:
            return
        name, code = clean(told.get("Name")) or identifier[:12], told.get("ContainerExitCode", 0)
        before, self._names[identifier] = self._names.get(identifier, ""), name
        if when >= self._since:
            yield ContainerEvent(
                kind=kind,
                runtime=_PODMAN,
                id=identifier,
                name=name,
                time=when,
                image=clean(told.get("Image")) or None,
                exit_code=code if kind == "die" and isinstance(code, int) and 0 <= code < 256 else None,
                old_name=before if kind == "rename" else "",
            )


class _File:
    """One file, of which each line is read once; another file that takes its place is read from its start."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._inode = 0
        self._read = 0

    def lines(self) -> Iterator[bytes]:
        try:
            # Not blocking: what should be a file may be a pipe that nobody writes.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW)
        except OSError:
            return
        try:
            now = os.fstat(descriptor)
            if not stat.S_ISREG(now.st_mode):
                return
            if now.st_ino != self._inode or now.st_size < self._read:
                self._inode, self._read = now.st_ino, max(0, now.st_size - _AT_ONCE)
            content = os.pread(descriptor, _AT_ONCE, self._read)
        except OSError:
            return
        finally:
            os.close(descriptor)
        whole = content.rfind(b"\n") + 1  # the rest is still being written
        self._read += whole or (len(content) if len(content) == _AT_ONCE else 0)
        yield from content[:whole].splitlines()


def _sees_our_files(processes: ProcessTable, task: Task) -> bool:
    try:
        return processes.path(task.pid, "/").samefile("/")
    except OSError:
        return False
