"""A first, cheap look at every process: who it is and whose child. Runtimes are found by the monitors that they leave.

Most runtimes keep a process beside each container that waits for its end (conmon, a shim, an lxc monitor), with the
container's name on its command line. It tells the name without any daemon being asked, of every user's containers. What
a command line says is believed only of the process's own children.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path

from boxtrace.containers.proc import host_pid_ns, parse_stat, read_text, read_texts
from boxtrace.units import NamespaceInum, Nanoseconds, Pid

__all__ = ["ProcessTable", "Task"]


@dataclass(frozen=True, slots=True)
class Task:
    """One process as ``/proc/PID/stat`` tells of it."""

    pid: Pid
    name: str
    ppid: Pid
    start: Nanoseconds


class ProcessTable:
    """All processes, read when first asked for.

    :param proc: the proc mount to read.
    """

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self.proc = proc

    @cached_property
    def tasks(self) -> dict[Pid, Task]:
        """Every process, by pid."""
        pids = [Pid(int(entry.name)) for entry in self.proc.iterdir() if entry.name.isdecimal()]
        stats = read_texts(self.proc, [f"{pid}/stat" for pid in pids])
        return {pid: task for pid, stat in zip(pids, stats, strict=True) if stat and (task := _parse(pid, stat))}

    def task(self, pid: int) -> Task | None:
        """Return one process, without reading all others; None when it is gone."""
        return self.tasks.get(Pid(pid)) if "tasks" in self.__dict__ else self._read(Pid(pid))

    def _read(self, pid: Pid) -> Task | None:
        try:
            return _parse(pid, read_text(f"{self.proc}/{pid}/stat"))
        except OSError:
            return None

    @cached_property
    def _children(self) -> dict[Pid, list[Task]]:
        found: defaultdict[Pid, list[Task]] = defaultdict(list)
        for task in self.tasks.values():
            found[task.ppid].append(task)
        return found

    def children(self, pid: Pid) -> list[Task]:
        """Return the children of a process, the oldest first."""
        return sorted(self._children.get(pid, []), key=lambda task: (task.start, task.pid))

    def numbers(self, pid: Pid) -> tuple[int, ...]:
        """Return the pid of a process at each pid namespace level, the proc mount's first; empty when it is gone."""
        try:
            lines = read_text(f"{self.proc}/{pid}/status").splitlines()
        except OSError:
            return ()
        return next((tuple(map(int, line.split()[1:])) for line in lines if line.startswith("NStgid:")), ())

    def is_inside(self, pid: Pid) -> bool:
        """Tell whether a process sees other pids than the host's: whether it lives in a container."""
        return _namespace(self.proc, pid, "pid") not in (0, _ours(self.proc)[0])

    def is_apart(self, pid: Pid) -> bool:
        """Tell whether a process lives in a container, or sees other mounts than we do, as a user's own daemons do."""
        if self.is_inside(pid):
            return True
        mounts, ours = _namespace(self.proc, pid, "mnt"), _ours(self.proc)[1]
        return mounts != ours and 0 not in (mounts, ours)

    def numbered(self, pid: Pid) -> dict[str, Pid]:
        """Return the children of a process by the numbers that they have where it lives: inside a container, maybe."""
        level = max(len(self.numbers(pid)), 1)
        known = ((self.numbers(task.pid) or (task.pid,), task.pid) for task in self.children(pid))
        return {str(numbers[level - 1]): child for numbers, child in known if len(numbers) >= level}

    def named(self, name: str) -> Iterator[Task]:
        """Yield the processes of which the kernel's name is *name*."""
        return (task for task in self.tasks.values() if task.name == name)

    def daemons(self, name: str) -> Iterator[tuple[Pid, list[tuple[str, str]]]]:
        """Yield the processes of which the kernel's name is *name* that tell the host's pids, not a container's.

        With each come the words of its command line, each with the next: ``--option value`` as ``--option=value``.
        """
        for task in self.named(name):
            if not self.is_inside(task.pid):
                words = (word for argument in self.arguments(task.pid) for word in argument.split("=", 1))
                yield task.pid, list(pairwise(words))

    def arguments(self, pid: Pid) -> list[str]:
        """Return the command line of a process; empty when it has none or is gone."""
        try:
            content = read_text(f"{self.proc}/{pid}/cmdline")
        except OSError:
            return []
        return content.removesuffix("\0").split("\0") if content else []

    def environment(self, pid: Pid) -> dict[str, str]:
        """Return the environment with which a process was started; empty when it is gone or may not be looked at."""
        try:
            content = read_text(f"{self.proc}/{pid}/environ")
        except OSError:
            return {}
        return dict(item.split("=", 1) for item in content.split("\0") if "=" in item)

    def path(self, pid: Pid, path: str) -> Path:
        """Return where a path that a process uses is found from here."""
        return self.proc / str(pid) / ("root" if path.startswith("/") else "cwd") / path.lstrip("/")

    def seen(self, pid: Pid, path: str) -> Path:
        """Return an absolute path that a process uses as it is, or if it leads elsewhere here, as :meth:`path` does."""
        there = self.path(pid, path)
        try:
            return Path(path) if there.samefile(path) else there
        except PermissionError:  # what the process sees is not ours to look at
            return Path(path)
        except OSError:
            return there


def _namespace(proc: Path, pid: Pid | str, kind: str) -> int:
    try:
        return (proc / str(pid) / "ns" / kind).stat().st_ino
    except OSError:
        return 0


@lru_cache
def _ours(proc: Path) -> tuple[NamespaceInum, int]:
    """Return the host's pid namespace and our mount namespace: always the same, and asked for as containers start."""
    return host_pid_ns(proc), _namespace(proc, "self", "mnt")


def _parse(pid: Pid, stat: str) -> Task | None:
    try:
        name, ppid, start = parse_stat(stat)
    except ValueError:
        return None
    return Task(pid, name, ppid, start)
