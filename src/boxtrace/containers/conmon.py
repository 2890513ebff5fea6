"""Podman and CRI-O without their daemons: by conmon, the process that both leave beside each container.

Its command line (https://github.com/containers/conmon) names the container and its bundle; the bundle's annotations say
which manager made it, and, for CRI-O, of which image and pod it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from boxtrace.containers.oci import bundle_notes, mapping, read_json, read_number, texts
from boxtrace.containers.runtime import RuntimeContainer
from boxtrace.containers.table import ProcessTable, Task
from boxtrace.containers.text import clean, is_safe_id
from boxtrace.units import Pid

__all__ = ["Monitored", "born_beside", "is_conmon", "monitored", "parse_arguments", "stored"]

_VALUES = {
    "-c": "id",
    "--cid": "id",
    "-n": "name",
    "--name": "name",
    "-b": "bundle",
    "--bundle": "bundle",
    "-p": "pidfile",
    "--container-pidfile": "pidfile",
    "--exit-dir": "exits",
}
_COMM = "conmon"
_EXEC = "--exec-process-spec"


@dataclass(frozen=True, slots=True)
class Monitored:
    """A container that a conmon watches.

    :ivar manager: what the bundle's annotation ``io.container.manager`` says: ``libpod`` or ``cri-o``.
    """

    manager: str
    container: RuntimeContainer


def parse_arguments(arguments: Sequence[str]) -> dict[str, str] | None:
    """Return id, name and bundle from a conmon's command line; None for one that belongs to an ``exec``."""
    found: dict[str, str] = {}
    rest = iter(arguments[1:])
    for argument in rest:
        option, equals, value = argument.partition("=")
        if option == _EXEC:
            return None
        if option == "--exit-command-arg":
            next(rest, None)  # its value may look like an option of conmon's
        elif option in _VALUES:
            found.setdefault(_VALUES[option], value if equals else next(rest, ""))
    return found if is_safe_id(found.get("id")) and found.get("bundle", "").startswith("/") else None


def monitored(processes: ProcessTable) -> Iterator[Monitored]:
    """Yield the containers of all conmons that run, of all users that may be looked at."""
    for monitor in processes.named(_COMM):
        told = parse_arguments(processes.arguments(monitor.pid))
        if told is not None:
            yield _describe(processes, monitor, told, _init(processes, monitor.pid, told))


def is_conmon(task: Task) -> bool:
    """Tell whether a process is one."""
    return task.name == _COMM


def born_beside(manager: str, processes: ProcessTable, monitor: Task, init: Pid) -> RuntimeContainer | None:
    """Return a container that was born beside a conmon of this manager."""
    told = parse_arguments(processes.arguments(monitor.pid))
    found = None if told is None else _describe(processes, monitor, told, init)
    return found.container if found is not None and found.manager == manager else None


def _describe(processes: ProcessTable, monitor: Task, told: dict[str, str], init: Pid | None) -> Monitored:
    bundle = processes.path(monitor.pid, told["bundle"])
    notes = bundle_notes(bundle)
    container = _from_crio(told, notes, init) or _from_storage(told, notes, bundle, init)
    return Monitored(notes.get("io.container.manager", "libpod"), container)


def _init(processes: ProcessTable, monitor: Pid, told: dict[str, str]) -> Pid | None:
    """Return the container's first process; None when it has none yet, or not any more.

    Its number is in a file when the runtime has made it; until then a child of conmon's is the runtime.
    """
    if "pidfile" not in told:
        return next((task.pid for task in processes.children(monitor)), None)
    number = read_number(processes.path(monitor, told["pidfile"]))
    return None if number is None else processes.numbered(monitor).get(number)


def _from_crio(told: dict[str, str], notes: dict[str, str], init: Pid | None) -> RuntimeContainer | None:
    if notes.get("io.container.manager") != "cri-o":
        return None
    try:
        labels = texts(json.loads(notes.get("io.kubernetes.cri-o.Labels", "{}")))
    except ValueError:
        labels = {}
    return RuntimeContainer(
        id=told["id"],
        name=notes.get("io.kubernetes.cri-o.Name") or clean(told.get("name")) or told["id"][:12],
        state="running" if init is not None else "unknown",
        init_pid=init,
        image=notes.get("io.kubernetes.cri-o.ImageName"),
        image_digest=notes.get("io.kubernetes.cri-o.ImageRef"),
        labels={key: value for key, value in notes.items() if key.startswith("io.kubernetes.pod.")} | labels,
    )


def _from_storage(told: dict[str, str], notes: dict[str, str], bundle: Path, init: Pid | None) -> RuntimeContainer:
    # A conmon knows the name that its container began with.
    name, image, digest = stored(told["id"], bundle.parent.parent / "containers.json")
    return RuntimeContainer(
        id=told["id"],
        name=name or clean(told.get("name")) or told["id"][:12],
        state="running" if init is not None else "unknown",
        init_pid=init,
        image=image,
        image_digest=digest,
        labels={key: value for key, value in notes.items() if not key.startswith("io.")},
    )


def stored(identifier: str, index: Path) -> tuple[str | None, str | None, str | None]:
    """Return a container's name, and name and digest of its image, from the index of containers/storage.

    :param index: ``*-containers/containers.json``; what it does not tell is None.
    """
    entries = read_json(index)
    for entry in entries if isinstance(entries, list) else []:
        if mapping(entry).get("id") != identifier:
            continue
        names = mapping(entry).get("names")
        try:
            metadata = texts(json.loads(mapping(entry).get("metadata", "{}")))
        except (TypeError, ValueError):
            metadata = {}
        digest = metadata.get("image-id")
        name = clean(names[0]) if isinstance(names, list) and names else None
        return name or None, metadata.get("image-name") or None, f"sha256:{digest}" if digest else None
    return None, None, None
