"""containerd's API: its containers and what happens to them, as its services tell (containerd 1.6 to 2.x).

Field numbers are those of containerd's ``api/services/*.proto``, ``api/types/task/task.proto`` and
``api/events/*.proto``. What Docker runs (namespace ``moby``) is left to Docker, which knows more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from boxtrace.containers._grpc import GrpcChannel, GrpcError, Message, encode_text
from boxtrace.containers.engine import EngineEvent
from boxtrace.containers.events import ContainerEvent
from boxtrace.containers.oci import mapping, texts
from boxtrace.containers.runtime import RuntimeAbsentError, RuntimeContainer, RuntimeFailedError
from boxtrace.containers.text import clean, is_safe_id
from boxtrace.units import Nanoseconds, Pid

__all__ = ["DOCKERS", "ContainerdEvents", "Describe", "list_by_containerd"]

DOCKERS = "moby"
"""Docker's namespace."""

_NAME = "containerd"
_SECONDS = 3.0
_SERVICES = "/containerd.services"
_STATES = {0: "unknown", 1: "created", 2: "running", 3: "exited", 4: "paused", 5: "paused"}

Describe = Callable[[str, Mapping[str, str], Pid | None], RuntimeContainer]
"""Describes a container by its id, its annotations and its first process."""


def list_by_containerd(address: str, describe: Describe) -> list[RuntimeContainer]:
    """Return the containers of a daemon, in all its namespaces.

    :param address: its socket as ``unix://PATH``.
    :raises RuntimeAbsentError: there is no such socket, or h2 is not installed.
    :raises RuntimeFailedError: who listens there does not answer as containerd does, within seconds.
    """
    with _connect(address) as channel:
        try:
            spaces = channel.call(f"{_SERVICES}.namespaces.v1.Namespaces/List").messages(1)
            names = [name for name in (space.text(1) for space in spaces) if is_safe_id(name) and name != DOCKERS]
            return [container for name in names for container in _list(channel, name, describe)]
        except GrpcError as error:
            raise RuntimeFailedError(f"{_NAME}: the daemon at {address} failed: {clean(str(error))}") from error


def _connect(address: str) -> GrpcChannel:
    path = address.removeprefix("unix://")
    if not Path(path).exists():
        raise RuntimeAbsentError(f"{_NAME}: no daemon at {path}")
    try:
        return GrpcChannel(path, seconds=_SECONDS)
    except ImportError:
        raise RuntimeAbsentError(f"{_NAME}: its API is not asked", hint="pip install 'boxtrace[containerd]'") from None
    except GrpcError as error:
        raise RuntimeFailedError(f"{_NAME}: the daemon at {path} does not answer: {error}") from error


def _list(channel: GrpcChannel, namespace: str, describe: Describe) -> Iterator[RuntimeContainer]:
    call = partial(channel.call, metadata={"containerd-namespace": namespace})
    tasks = {task.text(2): task for task in call(f"{_SERVICES}.tasks.v1.Tasks/List").messages(1)}
    images = {image.text(1): image for image in call(f"{_SERVICES}.images.v1.Images/List").messages(1)}
    for container in call(f"{_SERVICES}.containers.v1.Containers/List").messages(1):
        described = _describe(container, describe, images.get(container.text(3)), tasks.get(container.text(1)))
        if described is not None:
            yield described


def _describe(
    container: Message, describe: Describe, image: Message | None, task: Message | None
) -> RuntimeContainer | None:
    identifier, labels, reference = container.text(1), container.texts(2), clean(container.text(3))
    if not is_safe_id(identifier):
        return None
    try:
        specification = json.loads(container.message(5).text(2) or "{}")
    except (ValueError, RecursionError):
        specification = {}
    # The CRI plugin keeps Kubernetes' names in labels, nerdctl keeps its own in labels, too.
    notes = texts(mapping(specification).get("annotations")) | texts(labels)
    state = "created" if task is None else _STATES.get(task.number(4), "unknown")
    alive = task is not None and task.number(4) in (1, 2, 4, 5)
    described = describe(
        identifier, notes, Pid(task.number(3)) if alive and task is not None and task.number(3) else None
    )
    over = task is not None and state == "exited"
    return replace(
        described,
        state=state,
        image=reference or described.image,
        image_digest=clean(image.message(3).text(2)) or None if image is not None else None,
        exit_code=task.number(9) if over and task is not None else None,
        ended=_time(task.message(10)) if over and task is not None else None,
    )


def _time(moment: Message) -> Nanoseconds | None:
    """Return a google.protobuf.Timestamp as ns since the epoch; None where there is none."""
    return Nanoseconds(moment.number(1) * 1_000_000_000 + moment.number(2)) if moment.number(1) else None


class ContainerdEvents:
    """The events of a daemon's containers. Iteration waits for the next one, and ends with the connection.

    :raises RuntimeAbsentError: as :func:`list_by_containerd`.
    :raises RuntimeFailedError: as :func:`list_by_containerd`.
    """

    def __init__(self, address: str, describe: Describe) -> None:
        self._address = address
        self._describe = describe
        self._known: dict[tuple[str, str], RuntimeContainer] = {}
        self._channel = _connect(address)
        try:
            # Docker's, of which its daemon tells, are a dozen for each container.
            others = encode_text(1, f"namespace!={DOCKERS}")
            self._answers = self._channel.stream(f"{_SERVICES}.events.v1.Events/Subscribe", others, patient=True)
        except GrpcError as error:
            self.close()
            raise RuntimeFailedError(f"{_NAME}: no events from {address}: {clean(str(error))}") from error

    def __iter__(self) -> Iterator[EngineEvent]:
        try:
            for answer in self._answers:
                told = self._read(Message(answer))
                if told is not None:
                    yield told
        except (GrpcError, OSError):
            return

    def close(self) -> None:
        """End the iteration, from any thread."""
        self._channel.close()

    def _read(self, envelope: Message) -> EngineEvent | None:
        namespace, topic, event = envelope.text(2), envelope.text(3), envelope.message(4).message(2)
        kind, identifier = _KINDS.get(topic), event.text(1)
        if kind is None or not is_safe_id(identifier) or namespace == DOCKERS:
            return None
        if topic == "/tasks/exit" and event.text(2) != identifier:
            return None  # a process that was executed in it
        key = (namespace, identifier)
        known = self._known.get(key)
        if known is None or kind in ("create", "start"):
            known = self._look(key) or known or self._describe(identifier, {}, None)
        when = _time(envelope.message(1))
        code = None
        if kind == "start":
            known = replace(known, state="running", init_pid=event.number(2) or None, exit_code=None, ended=None)
        elif kind in ("pause", "unpause"):
            known = replace(known, state="paused" if kind == "pause" else "running")
        elif kind == "die":
            code, when = event.number(4), _time(event.message(5)) or when
            known = replace(known, state="exited", init_pid=None, exit_code=code, ended=when)
        self._known[key] = known
        if kind == "remove":
            del self._known[key]
        told = ContainerEvent(
            kind=kind,
            runtime=_NAME,
            id=identifier,
            name=known.name,
            time=when,
            image=known.image,
            exit_code=code,
            command=clean(event.text(2)) if kind == "exec" else "",
        )
        return EngineEvent(told, known if kind in ("start", "pause", "unpause", "die") else None)

    def _look(self, key: tuple[str, str]) -> RuntimeContainer | None:
        """Ask for a container, while more events may be waiting on the other connection."""
        metadata = {"containerd-namespace": key[0]}
        try:
            with _connect(self._address) as channel:
                asked = channel.call(f"{_SERVICES}.containers.v1.Containers/Get", encode_text(1, key[1]), metadata)
                container = asked.message(1)
                try:
                    named = encode_text(1, container.text(3))
                    image = channel.call(f"{_SERVICES}.images.v1.Images/Get", named, metadata).message(1)
                except GrpcError:
                    image = None
                return _describe(container, self._describe, image, None)
        except (GrpcError, RuntimeFailedError, RuntimeAbsentError):
            return None  # gone by now


_KINDS: Mapping[str, str] = {
    "/containers/create": "create",
    "/containers/delete": "remove",
    "/tasks/start": "start",
    "/tasks/exec-started": "exec",
    "/tasks/paused": "pause",
    "/tasks/resumed": "unpause",
    "/tasks/exit": "die",
    "/tasks/oom": "oom",
}
"""What containerd calls what happens to a container, and what we call it."""
