"""Containers that no runtime tells of: seen by their pid namespace and cgroup alone (unshare, bubblewrap)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from boxtrace.containers.model import Cgroup, Container
from boxtrace.containers.proc import Process, Snapshot
from boxtrace.containers.runtime import RuntimeContainer
from boxtrace.containers.text import clean, shorten_id
from boxtrace.units import NamespaceInum

__all__ = ["find_unknown", "pid_ns_id"]


def pid_ns_id(number: int) -> str:
    """Return the id of a container that is known by its pid namespace alone."""
    return f"pidns-{number}"


def find_unknown(snapshot: Snapshot, known: Collection[Container]) -> list[RuntimeContainer]:
    """Return one container per pid namespace that is neither the host's nor that of one of *known*.

    It is named after its cgroup when nobody outside of it is in that cgroup (but for the program that started its first
    process and waits for it) and it is none of those containers' either, else like its id.
    """
    spaces = {container.pid_ns for container in known}
    taken = set(_places(cgroup for container in known for cgroup in container.cgroups))
    members: dict[NamespaceInum, list[Process]] = {}
    for process in snapshot.processes.values():
        number = process.namespaces.pid
        if number not in (0, snapshot.host_pid_ns) and number not in spaces:
            members.setdefault(number, []).append(process)
    population = Counter(cgroup for process in snapshot.processes.values() for cgroup in process.cgroups)
    found = []
    for number, processes in members.items():
        init = min(processes, key=lambda process: (process.vpids[-1], process.start))
        inside = [process for process in snapshot.processes.values() if number in snapshot.pid_ns_ancestors(process)]
        ours = {process.pid: process for process in (*processes, *inside)}
        starter = snapshot.processes.get(init.ppid)
        if starter is not None:
            ours[starter.pid] = starter
        own = Counter(cgroup for process in ours.values() for cgroup in process.cgroups)
        free = [cgroup for cgroup in init.cgroups if not taken.intersection(_places([cgroup]))]
        name = next((_name(cgroup) for cgroup in free if _is_own(cgroup, own, population)), None)
        identifier = pid_ns_id(number)
        found.append(RuntimeContainer(identifier, name or identifier, "running", init.pid))
    return found


def _places(cgroups: Iterable[Cgroup]) -> list[tuple[str, str]]:
    return [(cgroup.hierarchy, cgroup.path) for cgroup in cgroups]


def _is_own(cgroup: Cgroup, own: Counter[Cgroup], population: Counter[Cgroup]) -> bool:
    return cgroup.path != "/" and own[cgroup] == population[cgroup]


def _name(cgroup: Cgroup) -> str:
    return shorten_id(clean(cgroup.path.rsplit("/", 1)[-1]))
