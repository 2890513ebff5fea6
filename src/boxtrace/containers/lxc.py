"""LXC, by the monitor process of each container, whose title is ``[lxc monitor] LXCPATH NAME``."""

from __future__ import annotations

import re

from boxtrace.containers.runtime import RuntimeAbsentError, RuntimeContainer
from boxtrace.containers.table import ProcessTable, Task
from boxtrace.containers.text import is_safe_id
from boxtrace.units import Pid

__all__ = ["Lxc", "parse_title"]

_OTHERS = frozenset({"crun", "runc"})
"""Processes that are born for each container; their command lines need not be read."""
_TITLE = re.compile(r"\[lxc monitor\] (/.*) (\S+)")


def parse_title(title: str) -> str | None:
    """Return the container's name from a monitor's title; None for another process."""
    match = _TITLE.fullmatch(title.rstrip())
    return match[2] if match is not None and is_safe_id(match[2]) else None


class Lxc:
    """The LXC containers of this host, of all users (LXD and Incus run theirs with the same monitor)."""

    name = "lxc"

    def containers(self, processes: ProcessTable) -> list[RuntimeContainer]:
        """Return them, see :class:`~boxtrace.containers.runtime.Runtime`."""
        found = []
        for task in processes.tasks.values():
            # Its kernel name is that of what forked it (lxc-start, python3, ...) or "lxc monitor", cut.
            name = _title(processes, task.pid) if processes.children(task.pid) else None
            if name is not None:
                found.append(RuntimeContainer(name, name, "running", processes.children(task.pid)[0].pid))
        if not found:
            raise RuntimeAbsentError("lxc: no container runs")
        return found

    def keeps(self, processes: ProcessTable, task: Task) -> bool:
        """Tell whether it may keep this process, see :class:`~boxtrace.containers.runtime.Beside`."""
        return task.name not in _OTHERS and _title(processes, task.pid) is not None

    def born(self, processes: ProcessTable, monitor: Task, init: Pid) -> RuntimeContainer | None:
        """Return a container that was just born, see :class:`~boxtrace.containers.runtime.Beside`."""
        name = _title(processes, monitor.pid)
        return None if name is None else RuntimeContainer(name, name, "running", init)


def _title(processes: ProcessTable, pid: Pid) -> str | None:
    return parse_title(" ".join(processes.arguments(pid)))
