"""Docker and containerd that run apart, in containers or in a user's own mounts: by the shim beside each container.

Where their daemon listens and keeps its state is known there alone, and in a container so are the pids that it tells.
A shim's working directory is the bundle of the container that it was started for, next to those of all others, and what
Docker writes down of a container lies beside the files that its bundle mounts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from boxtrace.containers._containerd_api import DOCKERS
from boxtrace.containers.containerd import SHIM, describe_bundle
from boxtrace.containers.engine import describe
from boxtrace.containers.oci import bundle_notes, mapping, read_json, read_number
from boxtrace.containers.runtime import RuntimeAbsentError, RuntimeContainer
from boxtrace.containers.table import ProcessTable, Task
from boxtrace.containers.text import is_safe_id
from boxtrace.units import Pid

__all__ = ["Inside"]

_GROUPED = "io.kubernetes.cri."
"""Begins the annotations of those bundles for which one shim does the work of several containers."""


class Inside:
    """The containers of a runtime that itself runs in a container, or in a user's own mounts (RootlessKit).

    :param name: ``docker`` or ``containerd``.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def containers(self, processes: ProcessTable) -> list[RuntimeContainer]:
        """Return them, see :class:`~boxtrace.containers.runtime.Runtime`."""
        shims = [task for task in processes.tasks.values() if self.keeps(processes, task)]
        found = [container for shim in shims for container in self._served(processes, shim)]
        if not found:
            raise RuntimeAbsentError(f"{self.name}: no container beside a shim that lives apart")
        return found

    def keeps(self, processes: ProcessTable, task: Task) -> bool:
        """Tell whether it may keep this process, see :class:`~boxtrace.containers.runtime.Beside`."""
        return task.name.startswith(SHIM) and processes.is_apart(task.pid)

    def born(self, processes: ProcessTable, monitor: Task, init: Pid) -> RuntimeContainer | None:
        """Return a container that was just born, see :class:`~boxtrace.containers.runtime.Beside`."""
        identifier = self._option(processes, monitor, "-id")
        bundle = processes.path(monitor.pid, ".")
        if _is_of_pod(bundle):
            return None  # of a pod: whose container it is, is not known before its number is written down
        return self._describe(processes, monitor, bundle, identifier, init)

    def _served(self, processes: ProcessTable, shim: Task) -> Iterator[RuntimeContainer]:
        """Yield the containers whose first process is a child of this shim."""
        children = processes.numbered(shim.pid)
        own = processes.path(shim.pid, ".")
        for bundle in (own, *(_siblings(own) if _is_of_pod(own) else ())):
            if not children:
                return
            init = children.pop(read_number(bundle / "init.pid") or "", None)
            identifier = self._option(processes, shim, "-id") if bundle is own else bundle.name
            told = None if init is None else self._describe(processes, shim, bundle, identifier, init)
            if told is not None:
                yield told

    def _describe(
        self, processes: ProcessTable, shim: Task, bundle: Path, identifier: str | None, init: Pid
    ) -> RuntimeContainer | None:
        is_dockers = self._option(processes, shim, "-namespace") == DOCKERS
        if is_dockers != (self.name == "docker") or identifier is None or not is_safe_id(identifier):
            return None
        told = describe_bundle(identifier, bundle_notes(bundle), init)
        if not is_dockers:
            return told
        kept = mapping(read_json(_kept(processes, shim, bundle, identifier)))
        known = describe(
            {"Name": kept.get("Name"), "Config": kept.get("Config"), "Image": kept.get("Image"), "Id": identifier}
        )
        return told if known is None else replace(known, state=told.state, init_pid=init)

    @staticmethod
    def _option(processes: ProcessTable, shim: Task, option: str) -> str | None:
        return dict(pairwise(processes.arguments(shim.pid))).get(option)


def _is_of_pod(bundle: Path) -> bool:
    return any(note.startswith(_GROUPED) for note in bundle_notes(bundle))


def _siblings(bundle: Path) -> Iterator[Path]:
    try:
        yield from (bundle / "..").iterdir()
    except OSError:
        return


def _kept(processes: ProcessTable, shim: Task, bundle: Path, identifier: str) -> Path:
    """Return where Docker has written down what a container is: in the directory of the files that it mounts."""
    mounts = mapping(read_json(bundle / "config.json")).get("mounts")
    for mount in mounts if isinstance(mounts, list) else []:
        source = mapping(mount).get("source")
        if isinstance(source, str) and source.startswith("/") and Path(source).parent.name == identifier:
            return processes.path(shim.pid, str(Path(source).with_name("config.v2.json")))
    return bundle / "config.v2.json"
