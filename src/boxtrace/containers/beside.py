"""A container that has just been born, by the process that its runtime keeps beside it."""

from __future__ import annotations

from collections.abc import Sequence

from boxtrace.containers.runtime import Beside, RuntimeContainer
from boxtrace.containers.table import ProcessTable
from boxtrace.units import Pid

__all__ = ["find_beside"]

_GENERATIONS = 6
"""Between a container's first process and the one beside it: the steps in which runc clones, and runc itself."""


def find_beside(runtimes: Sequence[Beside], processes: ProcessTable, init: Pid) -> tuple[str, RuntimeContainer] | None:
    """Return whose container a first process is, and what is known of it; None where nobody is beside it any more.

    The process beside it is one of those from which the first process descends, in the pid namespace of the first one's
    parent: further out it is beside a container around this one.
    """
    task = processes.task(init)
    around = None
    for _ in range(_GENERATIONS):
        task = None if task is None else processes.task(task.ppid)
        if task is None:
            break
        try:
            space = (processes.proc / str(task.pid) / "ns/pid").readlink()
        except OSError:
            break
        around = around or space
        if space != around:
            break
        for runtime in runtimes:
            told = runtime.born(processes, task, init)
            if told is not None:
                return runtime.name, told
    return None
