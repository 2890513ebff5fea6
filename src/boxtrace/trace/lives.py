"""The processes, threads and pid namespaces of a trace, each from its beginning to its end: values only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from boxtrace.containers.model import CGROUP2, Cgroup
from boxtrace.trace.history import History
from boxtrace.trace.users import Users
from boxtrace.units import CgroupId, NamespaceInum, Nanoseconds, Pid

__all__ = ["UNKNOWN_NS", "PidNamespace", "Process", "Thread"]

UNKNOWN_NS = NamespaceInum(0)
"""Stands for a pid namespace of which only the existence is known."""

_NO_PID = Pid(0)


@dataclass(slots=True)
class _Life:
    """Something that begins and ends.

    :ivar begin: when it was forked, ns since the Unix epoch; None when that was before the trace, or was lost.
    :ivar end: when it exited (a process: its last thread); None when it did not.
    """

    begin: Nanoseconds | None = field(default=None, kw_only=True)
    end: Nanoseconds | None = field(default=None, kw_only=True)

    def lived(self, at: Nanoseconds | None) -> bool:
        """Tell whether it was there at a time; without one, whether it ever was."""
        return at is None or ((self.begin is None or self.begin <= at) and (self.end is None or at < self.end))


@dataclass(slots=True)
class Thread(_Life):
    """One thread from its beginning to its end.

    :ivar tid: on the host.
    :ivar vtids: its tid at each pid namespace level, the host's first; empty when that is not known.
    """

    tid: int
    vtids: tuple[int, ...] = ()


@dataclass(slots=True)
class Process(_Life):
    """One process (thread group) from its beginning to its end.

    :ivar pid: on the host.
    :ivar ppid: of its parent when it began, or as the state dump told; 0 when that is not known.
    :ivar names: its main thread's name (comm).
    :ivar paths: of the program that it runs, as it was given to execve or as the state dump told.
    :ivar users: its user and group ids.
    :ivar vpids: its pid at each pid namespace level, the host's first, its own last.
    :ivar pid_namespaces: the namespaces of these levels; 0 where a number is not known.
    :ivar namespaces: the last that were seen, by type; types that no event told are missing.
    :ivar cgroups: by number of the hierarchy, the id and path of the last one that it was seen in; it begins in its
        parent's.
    :ivar exit_code: of the first process of a pid namespace, as a shell tells it; None where no event told.
    :ivar threads: threads that live.
    :ivar all_threads: every thread that was seen, in the order in which they became known.
    """

    pid: Pid
    ppid: Pid = _NO_PID
    names: History[str] = field(default_factory=History)
    paths: History[str] = field(default_factory=History)
    users: Users = field(default_factory=Users)
    vpids: tuple[int, ...] = ()
    pid_namespaces: tuple[NamespaceInum, ...] = ()
    namespaces: dict[str, NamespaceInum] = field(default_factory=dict)
    cgroups: Mapping[int, tuple[CgroupId, str]] = field(default_factory=dict)
    exit_code: int | None = None
    threads: set[int] = field(default_factory=set)
    all_threads: list[Thread] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The last name that was seen; empty when none was."""
        return self.names.at() or ""

    @property
    def pid_ns(self) -> NamespaceInum:
        """Its own pid namespace; 0 when that is not known."""
        return self.pid_namespaces[-1] if self.pid_namespaces else UNKNOWN_NS

    @property
    def named_cgroups(self) -> tuple[Cgroup, ...]:
        """Its cgroups as a container has them; of version 1 a trace knows the number of the hierarchy alone."""
        return tuple(
            Cgroup(f"{number}" if number else CGROUP2, path, identifier)
            for number, (identifier, path) in sorted(self.cgroups.items())
        )


@dataclass(slots=True)
class PidNamespace:
    """One pid namespace from its first process on.

    :ivar serial: tells it from all others of the trace; namespaces are numbered as they become known.
    :ivar ancestors: the namespaces around it, parent first, the host's last; 0 where a number is not known.
    :ivar around: the nearest of them that the trace tells of; None for the host's.
    :ivar init: its process number 1; None when no event told of that.
    :ivar processes: all processes that were in it, not those of namespaces inside.
    :ivar inside: the namespaces of which it is the nearest around.
    """

    serial: int
    number: NamespaceInum
    ancestors: tuple[NamespaceInum, ...]
    around: PidNamespace | None = None
    init: Process | None = None
    processes: list[Process] = field(default_factory=list)
    inside: list[PidNamespace] = field(default_factory=list)

    @property
    def begin(self) -> Nanoseconds | None:
        """When its process number 1 was forked; None when that was before the trace or is not known."""
        return None if self.init is None else self.init.begin

    @property
    def end(self) -> Nanoseconds | None:
        """When its process number 1 exited (the others are killed then); None when it did not."""
        return None if self.init is None else self.init.end

    def with_inside(self) -> Iterator[PidNamespace]:
        """Yield itself, then all namespaces inside it."""
        yield self
        for inner in self.inside:
            yield from inner.with_inside()

    def members(self) -> list[Process]:
        """Return its processes and those of the namespaces inside it."""
        return [process for space in self.with_inside() for process in space.processes]
