"""Podman, of root and of every other user.

Podman has no daemon. What runs is found by its conmons; where a user has Podman's API service on, it tells labels, too.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from functools import partial

from boxtrace.containers.conmon import born_beside, is_conmon, monitored
from boxtrace.containers.engine import inspect_by_api, list_by_api
from boxtrace.containers.oci import directories
from boxtrace.containers.runtime import RuntimeAbsentError, RuntimeContainer, RuntimeFailedError, answer, ask_all
from boxtrace.containers.table import ProcessTable, Task
from boxtrace.units import Pid

__all__ = ["Podman"]

_SOCKETS = ("/run/podman/podman.sock", "/run/user/*/podman/podman.sock")


class Podman:
    """The Podman containers of this host, of all users that may be looked at."""

    name = "podman"

    @staticmethod
    def addresses() -> list[str]:
        """Return the sockets of the API services that are on."""
        chosen = os.environ.get("CONTAINER_HOST", "")
        found = [f"unix://{path}" for pattern in _SOCKETS for path in directories(pattern)]
        return [chosen, *found] if chosen.startswith("unix://") else found

    def containers(self, processes: ProcessTable) -> list[RuntimeContainer]:
        """Return them, see :class:`~boxtrace.containers.runtime.Runtime`."""
        told, failure = ask_all(self.addresses(), partial(list_by_api, self.name))
        found = {container.id: container for container in told}
        for item in monitored(processes):
            if item.manager == "libpod":
                found.setdefault(item.container.id, item.container)
        if not found and failure is None:
            raise RuntimeAbsentError("podman: no container runs")
        return answer(found.values(), failure)

    def keeps(self, processes: ProcessTable, task: Task) -> bool:
        """Tell whether it may keep this process, see :class:`~boxtrace.containers.runtime.Beside`."""
        return is_conmon(task)

    def born(self, processes: ProcessTable, monitor: Task, init: Pid) -> RuntimeContainer | None:
        """Return a container that was just born, see :class:`~boxtrace.containers.runtime.Beside`."""
        found = born_beside("libpod", processes, monitor, init)
        if found is None:
            return None
        for address in self.addresses():
            # Its events tell the labels, too, but later: it is decided by what is told here whether it is wanted.
            with suppress(RuntimeAbsentError, RuntimeFailedError):
                told = inspect_by_api(self.name, address, found.id)
                if told is not None:
                    return replace(found, labels=told.labels)
        return found
