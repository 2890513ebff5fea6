"""What the host, and each container around a process, see of it: its pid, user and group, the path of its program."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from boxtrace.containers.members import members, owns_pid_ns
from boxtrace.containers.model import Container
from boxtrace.containers.mounts import MountTable, read_mounts, translate
from boxtrace.containers.proc import Process, Snapshot
from boxtrace.containers.text import clean
from boxtrace.units import NamespaceInum

__all__ = ["OVERFLOW_ID", "LiveViews", "View"]

OVERFLOW_ID = 65534
"""What a user namespace sees of an id that it has no name for (``/proc/sys/kernel/overflowuid``)."""

_DELETED = " (deleted)"


@dataclass(frozen=True, slots=True)
class View:
    """A process as one level sees it.

    :ivar container: whose view it is; None for the host's.
    :ivar pid: in the pid namespace of that container's first process; None when it is not known.
    :ivar uid: its real user id there; None when it is not known.
    :ivar gid: its real group id there.
    :ivar path: of its program there; None when it is not known, or cannot be seen from there.
    """

    container: Container | None
    pid: int | None
    uid: int | None = None
    gid: int | None = None
    path: str | None = None


class LiveViews:
    """Views of the processes of this host, as of a snapshot. What they need besides is read when asked for.

    :param containers: those that run.
    :param proc: the proc mount that the snapshot was read from.
    """

    def __init__(self, containers: Sequence[Container], snapshot: Snapshot, proc: Path = Path("/proc")) -> None:
        self._snapshot = snapshot
        self._proc = proc
        running = [item for item in containers if item.namespaces is not None]
        self._by_pid_ns = {item.pid_ns: item for item in running if owns_pid_ns(item, running)}
        self._sharing = [
            (item, {process.pid for process in members(item, running, snapshot)})
            for item in running
            if item.pid_ns not in self._by_pid_ns
        ]
        self._mounts: Callable[[int], MountTable | None] = cache(lambda pid: read_mounts(pid, proc))
        self._ids: Callable[[int, str], list[tuple[int, ...]]] = cache(self._read_map)

    def of(self, process: Process) -> tuple[View, ...]:
        """Return the views of a process: the host's, then those of the containers around it, its own last."""
        path = self._path(process)
        viewer = 1 if 1 in self._snapshot.processes else os.getpid()
        host = View(None, process.vpids[0], process.uid, process.gid, self._path_for(process, path, viewer))
        return (host, *(self._view(process, path, container) for container in self.around(process)))

    def around(self, process: Process) -> list[Container]:
        """Return the containers that a process is in, the outermost first."""
        chain = (process.namespaces.pid, *self._snapshot.pid_ns_ancestors(process))
        found = [self._by_pid_ns[number] for number in chain if number in self._by_pid_ns]
        found += [container for container, pids in self._sharing if process.pid in pids]
        return sorted(found, key=_depth)

    def _view(self, process: Process, path: str | None, container: Container) -> View:
        init, level = container.init_pid or 0, len(container.pid_ns_ancestors)
        pid = process.vpids[level] if level < len(process.vpids) else None
        return View(
            container,
            pid,
            _inside(process.uid, self._ids(init, "uid_map")),
            _inside(process.gid, self._ids(init, "gid_map")),
            self._path_for(process, path, init),
        )

    def _path(self, process: Process) -> str | None:
        try:
            path = (self._proc / str(process.pid) / "exe").readlink()
        except OSError:
            return None
        return clean(str(path).removesuffix(_DELETED))

    def _path_for(self, process: Process, path: str | None, viewer: int) -> str | None:
        """Return where another process finds what is *path* for the process."""
        own = self._mount_ns(viewer)
        if path is None or own in (None, process.namespaces.mnt):
            return path if own is not None else None
        inside, outside = self._mounts(process.pid), self._mounts(viewer)
        return None if inside is None or outside is None else translate(path, inside, outside)

    def _mount_ns(self, pid: int) -> NamespaceInum | None:
        process = self._snapshot.processes.get(pid)  # type: ignore[call-overload]
        return None if process is None else process.namespaces.mnt

    def _read_map(self, pid: int, name: str) -> list[tuple[int, ...]]:
        try:
            lines = (self._proc / str(pid) / name).read_text().splitlines()
        except OSError:
            return []
        return [tuple(map(int, line.split())) for line in lines]


def _inside(number: int | None, extents: list[tuple[int, ...]]) -> int | None:
    """Return what a user namespace calls an id of ours (user_namespaces(7): inside, outside, length)."""
    if number is None or not extents:
        return None
    for inside, outside, length in extents:
        if outside <= number < outside + length:
            return inside + number - outside
    return OVERFLOW_ID


def _depth(container: Container) -> tuple[int, int]:
    own = container.cgroup
    return (len(container.pid_ns_ancestors), 0 if own is None else len(own.path))
