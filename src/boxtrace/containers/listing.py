"""The containers of a host, or of a trace, as rows: what lists, trees and maps of process ids are made from."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from boxtrace.containers.discovery import Survey
from boxtrace.containers.members import members, parent
from boxtrace.containers.model import Container
from boxtrace.containers.proc import Process, thread_ids
from boxtrace.containers.views import LiveViews, View
from boxtrace.units import NamespaceInum, Nanoseconds

__all__ = ["ContainerRow", "PidRow", "list_containers", "list_pids", "list_processes"]


@dataclass(frozen=True, slots=True)
class ContainerRow:
    """A container among others.

    :ivar parent: the container around it; None when only the host is around it.
    :ivar processes: number of its processes, those of containers inside it included. Of a trace: all that were seen.
    :ivar command: name of its first process.
    :ivar begin: when its first process began, ns since the Unix epoch (of the host as coarse as a clock tick); of a
        trace None when it was there before.
    :ivar end: of a trace: when its first process ended; None when that was not seen.
    """

    container: Container
    parent: Container | None
    processes: int
    command: str | None = None
    begin: Nanoseconds | None = None
    end: Nanoseconds | None = None


@dataclass(frozen=True, slots=True)
class PidRow:
    """The ids of one process.

    :ivar pids: its pid at each pid namespace level, the host's first, its own last.
    :ivar level: index in *pids* of the level at which the container in question lives.
    :ivar pid_ns: its own pid namespace.
    :ivar ppid: its parent's pid on the host; 0 when that is not known.
    :ivar container: the container in question; None for the host.
    :ivar views: how the host and the containers around it see it, the host's first, its own last.
    :ivar threads: the ids of its threads at each level.
    """

    name: str
    pids: tuple[int, ...]
    level: int
    pid_ns: NamespaceInum
    ppid: int = field(default=0, kw_only=True)
    container: Container | None = field(default=None, kw_only=True)
    views: tuple[View, ...] = field(default=(), kw_only=True)
    threads: tuple[tuple[int, ...], ...] = field(default=(), kw_only=True)
    begin: Nanoseconds | None = field(default=None, kw_only=True)
    end: Nanoseconds | None = field(default=None, kw_only=True)

    @property
    def host_pid(self) -> int:
        """Its pid on the host."""
        return self.pids[0]

    @property
    def pid(self) -> int:
        """Its pid in the container."""
        return self.pids[self.level]

    @property
    def own(self) -> View | None:
        """How the container in question sees it; None when there are no views."""
        return next((view for view in self.views if view.container == self.container), None)

    @property
    def nested(self) -> tuple[int, ...]:
        """Its pids in the pid namespaces inside that of the container, its own last."""
        return self.pids[self.level + 1 :]


def list_containers(found: Survey) -> list[ContainerRow]:
    """Return the containers of the host, in the order of the survey."""
    processes = found.snapshot.processes
    booted = _boot_time()
    return [
        ContainerRow(
            container,
            parent(container, found.containers, found.snapshot),
            len(members(container, found.containers, found.snapshot)),
            processes[container.init_pid].name if container.init_pid in processes else None,
            begin=None if container.birth is None else Nanoseconds(booted + container.birth),
        )
        for container in found.containers
    ]


def list_pids(container: Container, found: Survey, *, threads: bool = False) -> list[PidRow]:
    """Return the ids of every process of a container of the host, by their pid in the container.

    :param threads: also those of its threads.
    """
    views = LiveViews(found.containers, found.snapshot)
    level = len(container.pid_ns_ancestors)
    chosen = members(container, found.containers, found.snapshot)
    booted = _boot_time()
    rows = [
        _pid_row(process, container, level, views, booted, threads=threads)
        for process in chosen
        if len(process.vpids) > level
    ]
    return sorted(rows, key=lambda row: row.pid)


def list_processes(found: Survey) -> list[PidRow]:
    """Return every process of the host, each with the innermost container that it is in, by pid."""
    views = LiveViews(found.containers, found.snapshot)
    booted = _boot_time()
    rows = []
    for process in found.snapshot.processes.values():
        around = views.around(process)
        container = around[-1] if around else None
        level = 0 if container is None else len(container.pid_ns_ancestors)
        if len(process.vpids) > level:
            rows.append(_pid_row(process, container, level, views, booted))
    return sorted(rows, key=lambda row: row.host_pid)


def _pid_row(
    process: Process, container: Container | None, level: int, views: LiveViews, booted: int, *, threads: bool = False
) -> PidRow:
    return PidRow(
        process.name,
        process.vpids,
        level,
        process.namespaces.pid,
        ppid=process.ppid,
        container=container,
        views=views.of(process),
        threads=tuple(thread_ids(process.pid)) if threads else (),
        begin=Nanoseconds(booted + process.start),
    )


def _boot_time() -> int:
    """Return when the machine started, ns since the Unix epoch: another number each time, since two clocks are read."""
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
