"""Which processes are in which container, and which container is inside which."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from boxtrace.containers.model import Cgroup, Container
from boxtrace.containers.proc import Process, Snapshot
from boxtrace.units import Pid

__all__ = ["members", "owns_pid_ns", "parent"]


def members(container: Container, containers: Sequence[Container], snapshot: Snapshot) -> list[Process]:
    """Return the processes of a container and of the containers inside it, by pid.

    They are those in its pid namespace or one below. Where it shares that namespace with the host or with another
    container, they are those in its cgroup or one below; its first process and what descends from it where the cgroup
    is also that of who started it.
    """
    if container.namespaces is None:
        return []
    if owns_pid_ns(container, containers):
        number = container.namespaces.pid
        found = [
            process
            for process in snapshot.processes.values()
            if process.namespaces.pid == number or number in snapshot.pid_ns_ancestors(process)
        ]
    else:
        found = _sharing(container, snapshot)
    return sorted(found, key=lambda process: process.pid)


def _sharing(container: Container, snapshot: Snapshot) -> list[Process]:
    own, processes = container.cgroup, snapshot.processes
    init = None if container.init_pid is None else processes.get(container.init_pid)
    starter = None if init is None else processes.get(init.ppid)
    if own is not None and own.path != "/" and not (starter and any(own.contains(item) for item in starter.cgroups)):
        found = [item for item in processes.values() if any(own.contains(cgroup) for cgroup in item.cgroups)]
        if found:
            return found
    return [] if init is None else _family(init, processes.values())


def _family(first: Process, processes: Iterable[Process]) -> list[Process]:
    children: dict[Pid, list[Process]] = {}
    for process in processes:
        children.setdefault(process.ppid, []).append(process)
    found = [first]
    for process in found:
        found += children.get(process.pid, [])
    return found


def parent(container: Container, containers: Sequence[Container], snapshot: Snapshot | None = None) -> Container | None:
    """Return the innermost container around *container*; None when only the host is around it.

    Around it is what has one of the pid namespaces outside of its own, or the same pid namespace and a cgroup above its
    own; of those in the host's pid namespace, what has its first process among its own (where *snapshot* tells).
    """
    own = container.cgroup
    around: list[tuple[int, bool, int, Container]] = []
    for other in containers:
        cgroup = other.cgroup
        if other == container or other.namespaces is None or container.namespaces is None:
            continue
        above = own is not None and cgroup is not None and _is_above(cgroup, own)
        if other.shares_host_pid_ns:
            inside = not container.shares_host_pid_ns and _holds(other, container, snapshot)
        else:
            inside = other.pid_ns in container.pid_ns_ancestors or (other.pid_ns == container.pid_ns and above)
        if inside:
            depth = len(other.pid_ns_ancestors)
            around.append((depth, above, len(cgroup.path) if above and cgroup is not None else 0, other))
    return max(around, key=lambda entry: entry[:3])[3] if around else None


def _holds(outer: Container, inner: Container, snapshot: Snapshot | None) -> bool:
    return snapshot is not None and any(process.pid == inner.init_pid for process in _sharing(outer, snapshot))


def owns_pid_ns(container: Container, containers: Sequence[Container]) -> bool:
    """Tell whether the container's pid namespace is its own: neither the host's nor that of another container, too."""
    if container.namespaces is None or container.shares_host_pid_ns:
        return False
    return not any(other.pid_ns == container.pid_ns for other in containers if other != container)


def _is_above(outer: Cgroup, inner: Cgroup) -> bool:
    return outer.path not in ("/", inner.path) and outer.contains(inner)
