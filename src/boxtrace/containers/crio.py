"""CRI-O (Kubernetes), by the conmons of its containers and the annotations in their bundles."""

from __future__ import annotations

from boxtrace.containers.conmon import born_beside, is_conmon, monitored
from boxtrace.containers.runtime import RuntimeAbsentError, RuntimeContainer
from boxtrace.containers.table import ProcessTable, Task
from boxtrace.units import Pid

__all__ = ["Crio"]


class Crio:
    """The CRI-O containers of this host."""

    name = "cri-o"

    def containers(self, processes: ProcessTable) -> list[RuntimeContainer]:
        """Return them, see :class:`~boxtrace.containers.runtime.Runtime`."""
        found = [item.container for item in monitored(processes) if item.manager == "cri-o"]
        if not found:
            raise RuntimeAbsentError("cri-o: no container runs")
        return found

    def keeps(self, processes: ProcessTable, task: Task) -> bool:
        """Tell whether it may keep this process, see :class:`~boxtrace.containers.runtime.Beside`."""
        return is_conmon(task)

    def born(self, processes: ProcessTable, monitor: Task, init: Pid) -> RuntimeContainer | None:
        """Return a container that was just born, see :class:`~boxtrace.containers.runtime.Beside`."""
        return born_beside("cri-o", processes, monitor, init)
