"""A container that has just been born, by the process that its runtime keeps beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from boxtrace.containers.runtime import Beside, RuntimeContainer
from boxtrace.containers.table import ProcessTable, Task
from boxtrace.units import Pid

__all__ = ["Besides", "Birth"]

_MOST_KNOWN = 4096


@dataclass(frozen=True, slots=True)
class Birth:
    """A process that has come into namespaces of its own, as it was in that moment.

    :ivar ancestors: from whom it descends, the nearest first, all in the pid namespace of that one: further out they
        are beside a container around this one. Some may be gone by now.
    """

    pid: Pid
    ancestors: tuple[Task, ...] = ()


class Besides:
    """Finds the process beside a newborn. Who was found not to be beside anything is not looked at again.

    Threads may share one: what is remembered of a task is the same whoever finds it out.
    """

    def __init__(self, runtimes: Sequence[Beside]) -> None:
        self._runtimes = runtimes
        self._known: dict[tuple[int, str, int, int], tuple[Beside, ...]] = {}

    def of(self, processes: ProcessTable, task: Task) -> tuple[Beside, ...]:
        """Return the runtimes that keep such a process beside each container."""
        key = (task.pid, task.name, task.ppid, task.start)  # a task itself takes long to be hashed
        found = self._known.get(key)
        if found is None:
            found = tuple(runtime for runtime in self._runtimes if runtime.keeps(processes, task))
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = found
        return found

    def find(self, processes: ProcessTable, birth: Birth) -> tuple[str, RuntimeContainer] | None:
        """Return whose container a first process is, and what is known of it; None where nobody is beside it."""
        for task in birth.ancestors:
            for runtime in self.of(processes, task):
                told = runtime.born(processes, task, birth.pid)
                if told is not None:
                    return runtime.name, told
        return None
