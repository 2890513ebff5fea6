"""Facts about processes from ``/proc``: namespaces, ids at every pid namespace level, cgroups, time of birth.

A process is read through one descriptor of its directory, which stays bound to that process: when it ends in between,
the reads fail instead of telling of another process that took its pid.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from boxtrace._native import namespaces_around, read_entries
from boxtrace.containers.cgroups import parse_cgroups
from boxtrace.containers.model import CGROUP2, Cgroup, Namespaces
from boxtrace.containers.text import clean
from boxtrace.units import NamespaceInum, Nanoseconds, Pid

__all__ = [
    "HOST_PID_NS",
    "TICK_NS",
    "Process",
    "Snapshot",
    "host_pid_ns",
    "parse_stat",
    "pid_ns_ancestors",
    "read_process",
    "read_text",
    "read_texts",
    "thread_ids",
    "within",
]

HOST_PID_NS = NamespaceInum(0xEFFFFFFC)
"""Inode number of the initial pid namespace on every Linux (PROC_PID_INIT_INO in include/linux/proc_ns.h)."""

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
"""How coarse the kernel tells times of birth, in ns."""

_PROC = Path("/proc")
_PF_EXITING = 0x4
"""In the flags of ``/proc/PID/stat``: it is shutting down (include/linux/sched.h)."""
_IDS = ("NStgid:", "Uid:", "Gid:")
_FILES = ("status", "cgroup", "stat")
_LINKS = tuple(f"ns/{kind}" for kind in Namespaces.names())


@dataclass(frozen=True, slots=True)
class Process:
    """One process (thread group) at the moment when it was read.

    :ivar pid: in the pid namespace of the proc mount.
    :ivar ppid: its parent there; 0 where the parent is outside.
    :ivar name: the kernel's name of its main thread (comm), made printable.
    :ivar start: CLOCK_BOOTTIME in ns, as coarse as a clock tick.
    :ivar vpids: its pid at each pid namespace level, that of the proc mount first, its own last.
    :ivar namespaces: 0 for those that it has left because it is exiting.
    :ivar cgroups: one per hierarchy, without ids.
    :ivar uid: its real user id, as this process's user namespace shows it; None when that is not known.
    :ivar gid: its real group id.
    :ivar is_exiting: whether it had begun to exit when it was read: namespaces, cgroups may be missing or not its own.
    """

    pid: Pid
    ppid: Pid
    name: str
    start: Nanoseconds
    vpids: tuple[int, ...]
    namespaces: Namespaces
    cgroups: tuple[Cgroup, ...]
    uid: int | None = None
    gid: int | None = None
    is_exiting: bool = False


def parse_stat(text: str) -> tuple[str, Pid, Nanoseconds]:
    """Parse ``/proc/PID/stat``: name, parent, start. The name may itself hold parentheses, spaces and newlines."""
    fields = _after_name(text)
    name = text[text.index("(") + 1 : text.rindex(")")]
    return name, Pid(int(fields[1])), Nanoseconds(int(fields[19]) * TICK_NS)


def _after_name(stat: str) -> list[str]:
    return stat[stat.rindex(")") + 2 :].split()


def read_process(pid: int, proc: Path = _PROC, *, ids: bool = True) -> Process | None:
    """Read one process; None when it does not exist (any more).

    :param ids: its pids at each level and its users, too: the kernel takes longest for the file that tells them.
    :raises PermissionError: the process belongs to another user, and its namespaces are not ours to read.
    """
    # The order matters. Stat after the cgroups: who is not exiting by now was not when they were read. Namespaces last:
    # who still has them was whole when the rest was read.
    files = _FILES if ids else _FILES[1:]
    try:
        found = read_entries(f"{proc}/{pid}", files, _LINKS)
        *about, cgroup, stat = map(_text, found[: len(files)])
        namespaces = Namespaces(*map(_namespace, found[len(files) :]))
    except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
        return None
    lines = [line for text in about for line in text.splitlines() if line.startswith(_IDS)]
    status = dict(line.split(":", 1) for line in lines)
    vpids = _numbers(status, "NStgid") or (pid,)
    (uid, *_), (gid, *_) = _numbers(status, "Uid") or (None,), _numbers(status, "Gid") or (None,)
    cgroups = tuple(parse_cgroups(cgroup))
    name, ppid, start = parse_stat(stat)
    # But for cgroups of version 1: of who begins to exit the kernel says "/" (proc_cgroup_show in kernel/cgroup).
    doubtful = any(cgroup.path == "/" and cgroup.hierarchy != CGROUP2 for cgroup in cgroups)
    exiting = not namespaces.uts or (doubtful and _is_exiting(stat))
    return Process(Pid(pid), ppid, clean(name), start, vpids, namespaces, cgroups, uid, gid, exiting)


def thread_ids(pid: int, proc: Path = _PROC) -> list[tuple[int, ...]]:
    """Return the ids of a process's threads at each pid namespace level, by tid; empty when it is gone."""
    found = []
    with suppress(OSError):
        for task in (proc / str(pid) / "task").iterdir():
            with suppress(OSError):
                lines = (task / "status").read_text(errors="replace").splitlines()
                found.append(_numbers(dict(line.partition(":")[::2] for line in lines), "NSpid") or (int(task.name),))
    return sorted(found)


def read_text(path: str) -> str:
    """Return the content of one of the kernel's small files: many are read while a container starts.

    :param path: absolute.
    :raises OSError: it cannot be read.
    """
    return _text(*read_entries("/", (path,), ()))


def read_texts(directory: Path, paths: Sequence[str]) -> list[str | None]:
    """Return the contents of many small files of a directory; None for those that cannot be read.

    :raises OSError: there is no such directory.
    """
    found = read_entries(str(directory), paths, ())
    return [None if isinstance(content, int) else _text(content) for content in found]


def _text(content: bytes | int) -> str:
    if isinstance(content, int):
        raise OSError(content, os.strerror(content))
    return content.decode(errors="backslashreplace")


def _numbers(status: Mapping[str, str], name: str) -> tuple[int, ...]:
    return tuple(int(number) for number in status.get(name, "").split())


def _is_exiting(stat: str) -> bool:
    return bool(int(_after_name(stat)[6]) & _PF_EXITING)


def _namespace(target: bytes | int) -> NamespaceInum:
    if target == errno.ENOENT:  # the kernel has no such namespace type, or the process is exiting and has left it
        return NamespaceInum(0)
    text = _text(target)
    return NamespaceInum(int(text[text.index("[") + 1 : -1]))


def host_pid_ns(proc: Path = _PROC) -> NamespaceInum:
    """Return the pid namespace that counts as the host's: that of pid 1 as the proc mount shows it.

    Without the permission to see that, it is the kernel's initial one.
    """
    try:
        init = read_process(1, proc)
    except PermissionError:
        init = None
    return HOST_PID_NS if init is None or not init.namespaces.pid else init.namespaces.pid


def pid_ns_ancestors(pid: int, proc: Path = _PROC) -> tuple[NamespaceInum, ...] | None:
    """Return the pid namespaces around that of a process, parent first, as far as this process may see (ioctl_ns(2)).

    None when the process does not exist (any more), or is not ours to look at: the kernel says "permission denied" for
    both when the process ends while its link is followed (proc_ns_get_link in fs/proc/namespaces.c).
    """
    try:
        return tuple(map(NamespaceInum, namespaces_around(f"{proc}/{pid}/ns/pid")))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def within(ancestors: tuple[NamespaceInum, ...], host: NamespaceInum) -> tuple[NamespaceInum, ...]:
    """Cut a list of ancestors after the host's pid namespace."""
    return ancestors[: ancestors.index(host) + 1] if host in ancestors else ancestors


class Snapshot:
    """All processes of the host, read one after the other (not at one instant: the system goes on meanwhile).

    :ivar processes: what could be read, by pid.
    :ivar unreadable: number of processes whose namespaces this user may not read.
    :ivar host_pid_ns: the host's pid namespace.
    """

    def __init__(self, proc: Path = _PROC) -> None:
        self._proc = proc
        self._ancestors: dict[NamespaceInum, tuple[NamespaceInum, ...]] = {}
        self.processes: dict[Pid, Process] = {}
        self.unreadable = 0
        self.host_pid_ns = host_pid_ns(proc)
        for pid in _pids(proc):
            try:
                process = read_process(pid, proc)
            except PermissionError:
                self.unreadable += 1
                continue
            if process is not None:
                self.processes[process.pid] = process

    def pid_ns_ancestors(self, process: Process) -> tuple[NamespaceInum, ...]:
        """Return the pid namespaces around that of *process*, parent first, up to the host's; empty for the host's."""
        inner = process.namespaces.pid
        if inner == self.host_pid_ns:
            return ()
        known = self._ancestors.get(inner)
        if known is None:
            found = pid_ns_ancestors(process.pid, self._proc)
            known = within(found, self.host_pid_ns) if found else ()
            if known:
                self._ancestors[inner] = known
        return known or (self.host_pid_ns,)


def _pids(proc: Path) -> Iterator[int]:
    for entry in proc.iterdir():
        if entry.name.isdecimal():
            yield int(entry.name)
