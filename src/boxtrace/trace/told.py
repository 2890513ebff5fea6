"""What a trace's recording was told of containers: by the events of runtimes, or by the file of older recordings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from boxtrace.containers.discovery import RUNTIMES
from boxtrace.containers.events import EVENT_TYPES, LEFT_OUT, METADATA, from_values
from boxtrace.containers.model import UNKNOWN_RUNTIME, Container
from boxtrace.containers.paths import possible_ids
from boxtrace.containers.store import FILE_NAME, ContainerStore
from boxtrace.containers.text import clean
from boxtrace.errors import TraceFormatError
from boxtrace.trace.event import Event
from boxtrace.trace.trace import Trace, open_trace
from boxtrace.units import Nanoseconds

__all__ = ["PART", "Told", "is_told", "read_told"]

PART = "containers"
"""Directory of the events of runtimes in a trace."""

Deaths: TypeAlias = "Mapping[str, Sequence[tuple[Nanoseconds, int | None]]]"

_RANKS = {runtime.name: rank for rank, runtime in enumerate(RUNTIMES)}


class Told:
    """What was told.

    :ivar containers: each life of a container that is known apart, else each container, with the last name it had; in
        the order in which they became known. What runs for another runtime is listed as that one's.
    :ivar boottime_offset: CLOCK_BOOTTIME less the trace's clock, ns.
    :ivar deaths: by id, when its runtime saw a container die, and with which exit code.
    """

    def __init__(self, containers: tuple[Container, ...], boottime_offset: int, deaths: Deaths | None = None) -> None:
        self.containers = containers
        self.boottime_offset = boottime_offset
        self.deaths: Deaths = deaths or {}
        self._known = {(container.runtime, container.id) for container in containers}
        self._by_path: dict[str, str | None] = {}

    def by_path(self, paths: Iterable[str]) -> str | None:
        """Return the id of the container in whose cgroup one of these paths lies; None where none was told of."""
        for path in paths:
            if path not in self._by_path:
                self._by_path[path] = next(
                    (id_ for name, id_ in possible_ids(path) if (name, id_) in self._known), None
                )
            if self._by_path[path] is not None:
                return self._by_path[path]
        return None


def read_told(trace: Trace) -> Told:
    """Read it; nothing but the clock's offset where the trace was not written by us.

    :raises TraceFormatError: what older recordings stored is damaged.
    """
    above = trace.path.parent  # somebody may have given the directory of the kernel domain
    parts = [directory for directory, _ in trace.parts if directory.name == PART]
    if not parts and (above / PART / "metadata").is_file():
        parts = [above / PART]
    if not parts:
        store = ContainerStore(above if (above / FILE_NAME).exists() else trace.path)
        return Told(store.containers, store.boottime_offset)
    told = [open_trace(part) for part in parts]
    reader = _Reader()
    for each in told:
        try:
            for event in each.events():
                reader.feed(event)
        except TraceFormatError as error:
            trace.failures.append(error)
    offset = next((int(part.environment.get("boottime_offset", 0)) for each in told for _, part in each.parts), 0)
    return Told(reader.containers(), offset, reader.deaths)


def is_told(event: Event) -> bool:
    """Tell whether an event is one that a runtime told."""
    return event.stream.path.parent.name == PART and event.name.startswith("container_")


class _Reader:
    """Puts together what the events of runtimes tell."""

    def __init__(self) -> None:
        self._described: dict[object, Container] = {}
        self._told: dict[tuple[str, str], Container] = {}
        self._names: dict[str, tuple[int, str]] = {}
        self.deaths: dict[str, list[tuple[Nanoseconds, int | None]]] = {}

    def feed(self, event: Event) -> None:
        """Take one event, which must not be earlier than the one before."""
        if event.name not in EVENT_TYPES or event.name == LEFT_OUT or "id" not in event.payload:
            return
        payload = event.payload
        if event.name == METADATA:
            container = from_values(payload)
            self._described[container.identity or (container.runtime, container.id)] = container
            if container.runtime != UNKNOWN_RUNTIME:  # whose ids are numbers that are used again
                self._note_name(container.runtime, container.id, container.name)
            return
        runtime, identifier, name = (clean(payload[key]) for key in ("runtime", "id", "name"))
        self._note_name(runtime, identifier, name)
        known = self._told.get((runtime, identifier)) or Container(runtime, identifier, name, "created")
        if image := clean(payload.get("image", "")):
            known = replace(known, image=image)
        if event.name in ("container_start", "container_unpause"):
            known = replace(known, state="running")
        elif event.name == "container_die":
            when = Nanoseconds(int(payload["time"] or event.timestamp or 0))
            code = None if payload["exit_code"] < 0 else int(payload["exit_code"])
            self.deaths.setdefault(identifier, []).append((when, code))
            known = replace(known, state="exited", exit_code=code, ended=when)
        elif event.name == "container_remove" and known.state != "exited":
            known = replace(known, state="exited")
        self._told[runtime, identifier] = replace(known, name=name)

    def _note_name(self, runtime: str, identifier: str, name: str) -> None:
        """The runtime that knows most names a container, with the last name that it told."""
        rank = _RANKS.get(runtime, len(_RANKS))
        if rank <= self._names.get(identifier, (rank, ""))[0]:
            self._names[identifier] = rank, name

    def containers(self) -> tuple[Container, ...]:
        """Return what :attr:`Told.containers` is."""
        best = {identifier: rank for identifier, (rank, _) in self._names.items()}
        found: dict[object, Container] = {}
        with_life = {container.id for container in self._described.values() if container.identity is not None}
        for key, container in (*self._described.items(), *self._told.items()):
            if container.identity is None and container.id in with_life:
                continue
            if container.runtime == UNKNOWN_RUNTIME:
                found[key] = container
                continue
            rank = _RANKS.get(container.runtime, len(_RANKS))
            if rank > best[container.id] and container.identity is None:
                continue
            if container.identity is None and (container.runtime, container.id) in found:
                continue
            found[key] = self._named(container)
        return tuple(found.values())

    def _named(self, container: Container) -> Container:
        rank, name = self._names[container.id]
        runtime = next((name for name, number in _RANKS.items() if number == rank), container.runtime)
        if container.runtime != runtime:
            told = self._told.get((runtime, container.id))
            container = replace(container, runtime=runtime, image=container.image or (told.image if told else None))
        return replace(container, name=name)
