"""Names of containers inside older traces: the file ``containers.json`` in the top directory. Newer ones have events.

Events carry numbers only (design: names arrive apart, and are joined when the trace is read). The file is JSON, UTF-8,
replaced as a whole on every change::

    {
      "format": "boxtrace-containers",
      "version": 1,
      "boottime_offset": 0,
      "containers": [
        {
          "runtime": "docker", "id": "...", "name": "web", "state": "running",
          "image": "redis:7", "image_digest": "sha256:...",        null where unknown
          "init_pid": 11734,                                       pid on the host; null without a process
          "namespaces": {"cgroup": 4026531835, "ipc": ..., "mnt": ..., "net": ..., "pid": ..., "time": ...,
                         "user": ..., "uts": ...},                 null without a process
          "pid_ns_ancestors": [4026531836],                        parent first, the host's last; empty: the host's own
          "birth": 123450000000,                                   CLOCK_BOOTTIME, ns; null without a process
          "cgroups": [{"hierarchy": "cgroup2", "path": "/docker/...", "id": 1234}],
          "labels": {"key": "value"},
          "exit_code": null,
          "ended": null                                            CLOCK_REALTIME, ns: when its runtime saw the end
        }
      ]
    }

``boottime_offset`` is CLOCK_BOOTTIME minus CLOCK_MONOTONIC (the clock of events) in ns when the file was first written.
One container appears once for each life that was seen: a restart has another birth. Readers ignore keys that they do
not know; a change that breaks them has another version.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from boxtrace.containers.match import match
from boxtrace.containers.model import Cgroup, Container, Namespaces
from boxtrace.containers.text import clean
from boxtrace.errors import OutputError, SelectionError, TraceFormatError
from boxtrace.units import CgroupId, NamespaceInum, Nanoseconds, Pid

__all__ = ["FILE_NAME", "ContainerStore", "from_record", "to_record"]

FILE_NAME = "containers.json"
_FORMAT = "boxtrace-containers"
_VERSION = 1


def to_record(container: Container) -> dict[str, Any]:
    """Return the container as the JSON object that the file holds."""
    record = asdict(container)
    record["labels"] = dict(container.labels)
    return record


def from_record(record: Mapping[str, Any]) -> Container:
    """Make a container of a JSON object of the file.

    :raises (KeyError, TypeError, ValueError): it is not one.
    """
    namespaces = record["namespaces"]
    return Container(
        runtime=_text(record["runtime"]),
        id=_text(record["id"]),
        name=_text(record["name"]),
        state=_text(record["state"]),
        image=_optional_text(record["image"]),
        image_digest=_optional_text(record["image_digest"]),
        init_pid=None if record["init_pid"] is None else Pid(int(record["init_pid"])),
        namespaces=None
        if namespaces is None
        else Namespaces(*(NamespaceInum(int(namespaces[name])) for name in Namespaces.names())),
        pid_ns_ancestors=tuple(NamespaceInum(int(number)) for number in record["pid_ns_ancestors"]),
        birth=None if record["birth"] is None else Nanoseconds(int(record["birth"])),
        cgroups=tuple(
            Cgroup(
                _text(item["hierarchy"]),
                _text(item["path"]),
                None if item["id"] is None else CgroupId(int(item["id"])),
            )
            for item in record["cgroups"]
        ),
        labels={_text(key): _text(value) for key, value in record["labels"].items()},
        exit_code=None if record["exit_code"] is None else int(record["exit_code"]),
        ended=None if record.get("ended") is None else Nanoseconds(int(record["ended"])),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return clean(value)


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)


class ContainerStore:
    """The containers that a recording knew, kept in its trace.

    :param trace: top directory of the trace.
    :raises TraceFormatError: the file exists, and is not such a file.
    """

    def __init__(self, trace: Path) -> None:
        self._path = trace / FILE_NAME
        self._boottime_offset = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
        self._containers: dict[object, Container] = {}
        self._load()

    @property
    def containers(self) -> tuple[Container, ...]:
        """All lives of containers that were recorded, in the order in which they became known."""
        return tuple(self._containers.values())

    @property
    def boottime_offset(self) -> int:
        """CLOCK_BOOTTIME minus CLOCK_MONOTONIC in ns, to place :attr:`Container.birth` among the events."""
        return self._boottime_offset

    def record(self, containers: Iterable[Container]) -> None:
        """Add containers, or what is new about them, and replace the file when that changed anything.

        :raises OutputError: the file cannot be written; what it held before is kept.
        """
        merged = dict(self._containers)
        for container in containers:
            merged[container.life] = container
        if merged == self._containers and self._path.exists():
            return
        self._containers = merged
        document = {
            "format": _FORMAT,
            "version": _VERSION,
            "boottime_offset": self._boottime_offset,
            "containers": [to_record(container) for container in merged.values()],
        }
        partial = self._path.with_suffix(".json.partial")
        try:
            partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
            partial.replace(self._path)
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}", path=str(self._path)) from error

    def resolve(self, word: str) -> set[NamespaceInum]:
        """Return the pid namespaces of the container that *word* means, and of the containers inside it.

        An event whose pid namespace is one of them is an event of the container. Where the container shared its pid
        namespace with another container, that cannot be told from pid namespaces.

        :raises ContainerNotFoundError: the trace knows no such container.
        :raises SelectionError: several are meant, or the one that is meant has no pid namespace of its own.
        """
        container = match(word, self._latest())
        number = container.pid_ns
        if number is None or container.shares_host_pid_ns:
            why = "had no process" if number is None else "shares the host's pid namespace"
            raise SelectionError(f"container {container.name!r} {why}: its events cannot be told from others")
        inside = {other.pid_ns for other in self._containers.values() if number in other.pid_ns_ancestors}
        return {number} | {inner for inner in inside if inner is not None}

    def _latest(self) -> list[Container]:
        lives: dict[tuple[str, str], Container] = {}
        for container in self._containers.values():
            key = (container.runtime, container.id)
            if key not in lives or (container.birth or 0) >= (lives[key].birth or 0):
                lives[key] = container
        return list(lives.values())

    def _load(self) -> None:
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as error:
            raise TraceFormatError(f"cannot be read: {error}", path=str(self._path)) from error
        try:
            document = json.loads(text)
            if document["format"] != _FORMAT or document["version"] != _VERSION:
                raise ValueError(f"it is not {_FORMAT} version {_VERSION}")
            self._boottime_offset = int(document["boottime_offset"])
            found = [from_record(record) for record in document["containers"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TraceFormatError(f"not a list of containers: {error}", path=str(self._path)) from error
        self._containers = {container.life: container for container in found}
