"""A container as its runtime describes it, joined with what the kernel tells of its first process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from boxtrace.containers.cgroups import Hierarchies
from boxtrace.containers.model import Container
from boxtrace.containers.proc import Process, host_pid_ns, pid_ns_ancestors, read_process, within
from boxtrace.containers.runtime import RuntimeContainer
from boxtrace.units import NamespaceInum

__all__ = ["Joiner", "join"]


def join(
    runtime: str,
    told: RuntimeContainer,
    process: Process | None,
    ancestors: tuple[NamespaceInum, ...],
    hierarchies: Hierarchies,
) -> Container:
    """Return the container; without a first process it has only what the runtime told.

    :param ancestors: pid namespaces around that of the process, parent first, the host's last.
    """
    container = Container(
        runtime=runtime,
        id=told.id,
        name=told.name,
        state=told.state,
        image=told.image,
        image_digest=told.image_digest,
        labels=told.labels,
        exit_code=told.exit_code,
        ended=told.ended,
    )
    if process is None:
        return container
    return replace(
        container,
        init_pid=process.pid,
        namespaces=process.namespaces,
        pid_ns_ancestors=ancestors,
        birth=process.start,
        cgroups=hierarchies.with_ids(process.cgroups),
    )


class Joiner:
    """Joins single containers, without looking at any process but their first.

    :param proc: the proc mount to read.
    """

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._hierarchies = Hierarchies(proc)
        self._host = host_pid_ns(proc)

    def join(self, runtime: str, told: RuntimeContainer) -> Container:
        """Return the container, see :func:`join`."""
        process, ancestors = None, None
        if told.init_pid is not None:
            try:
                process = read_process(told.init_pid, self._proc, ids=False)
            except PermissionError:
                process = None
            if process is not None and process.namespaces.pid not in (0, self._host):
                ancestors = pid_ns_ancestors(told.init_pid, self._proc)
        if process is None or process.is_exiting:
            return join(runtime, replace(told, init_pid=None), None, (), self._hierarchies)
        return join(runtime, told, process, within(ancestors or (), self._host), self._hierarchies)
