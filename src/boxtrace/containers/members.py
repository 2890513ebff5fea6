"""Which processes are in which container, and which container is inside which."""

from __future__ import annotations

from collections.abc import Sequence

from boxtrace.containers.model import Cgroup, Container
from boxtrace.containers.proc import Process, Snapshot

__all__ = ["members", "owns_pid_ns", "parent"]


def members(container: Container, containers: Sequence[Container], snapshot: Snapshot) -> list[Process]:
    """Return the processes of a container and of the containers inside it, by pid.

    They are those in its pid namespace or one below. Where it shares that namespace with the host or with another
    container, they are those in its cgroup or one below.
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
        own = container.cgroup
        found = [
            process
            for process in snapshot.processes.values()
            if own is not None and own.path != "/" and any(own.contains(cgroup) for cgroup in process.cgroups)
        ]
        init = snapshot.processes.get(container.init_pid) if container.init_pid is not None else None
        if not found and init is not None:
            found = [init]
    return sorted(found, key=lambda process: process.pid)


def parent(container: Container, containers: Sequence[Container]) -> Container | None:
    """Return the innermost container around *container*; None when only the host is around it.

    Around it is what has one of the pid namespaces outside of its own, or the same pid namespace and a cgroup above its
    own.
    """
    own = container.cgroup
    around: list[tuple[int, bool, int, Container]] = []
    for other in containers:
        cgroup = other.cgroup
        if other == container or other.namespaces is None or container.namespaces is None or other.shares_host_pid_ns:
            continue
        above = own is not None and cgroup is not None and _is_above(cgroup, own)
        if other.pid_ns in container.pid_ns_ancestors or (other.pid_ns == container.pid_ns and above):
            depth = len(other.pid_ns_ancestors)
            around.append((depth, above, len(cgroup.path) if above and cgroup is not None else 0, other))
    return max(around, key=lambda entry: entry[:3])[3] if around else None


def owns_pid_ns(container: Container, containers: Sequence[Container]) -> bool:
    """Tell whether the container's pid namespace is its own: neither the host's nor that of another container, too."""
    if container.namespaces is None or container.shares_host_pid_ns:
        return False
    return not any(other.pid_ns == container.pid_ns for other in containers if other != container)


def _is_above(outer: Cgroup, inner: Cgroup) -> bool:
    return outer.path not in ("/", inner.path) and outer.contains(inner)
