"""Daemons that speak Docker's API: Docker itself, and Podman's API service (docs.docker.com/reference/api/engine)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from boxtrace.containers._http import HttpApi, HttpApiError
from boxtrace.containers.events import ContainerEvent
from boxtrace.containers.oci import mapping, texts
from boxtrace.containers.runtime import RuntimeAbsentError, RuntimeContainer, RuntimeFailedError
from boxtrace.containers.text import clean, is_safe_id
from boxtrace.units import Nanoseconds

__all__ = [
    "KINDS",
    "EngineEvent",
    "EngineEvents",
    "describe",
    "describe_event",
    "inspect_by_api",
    "list_by_api",
    "nanoseconds",
    "runtime_event",
]

_TIMEOUT_SECONDS = 3
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")

KINDS = {
    "create": "create",
    "start": "start",
    "exec": "exec",
    "exec_start": "exec",
    "pause": "pause",
    "unpause": "unpause",
    "die": "die",
    "died": "die",
    "oom": "oom",
    "destroy": "remove",
    "remove": "remove",
    "rename": "rename",
}
"""What Docker and Podman call what happens to a container, and what we call it."""

# State after an event, where the container cannot be looked at any more.
_STATES = {"start": "running", "unpause": "running", "pause": "paused", "die": "exited"}
_TELLING = frozenset({*_STATES, "rename"})
_LOOKED_AT = _TELLING - {"die"}
"""Events after which the container is asked for. What a death tells is all there is to know."""


def describe(inspected: Mapping[str, Any]) -> RuntimeContainer | None:
    """Turn one answer of ``GET /containers/ID/json`` into a description; None when it tells no proper id."""
    identifier = inspected.get("Id")
    if not is_safe_id(identifier):
        return None
    config, state = mapping(inspected.get("Config")), mapping(inspected.get("State"))
    pid, status, code = state.get("Pid"), clean(state.get("Status")), state.get("ExitCode")
    over = status in ("exited", "dead", "removing")
    return RuntimeContainer(
        id=str(identifier),
        name=clean(inspected.get("Name")).removeprefix("/") or str(identifier)[:12],
        state=status or "unknown",
        init_pid=pid if isinstance(pid, int) and pid > 0 else None,
        image=clean(config.get("Image")) or None,
        image_digest=clean(inspected.get("Image")) or None,
        labels=texts(config.get("Labels")),
        exit_code=code if isinstance(code, int) and over else None,
        ended=nanoseconds(state.get("FinishedAt")) if over else None,
    )


def nanoseconds(moment: object) -> Nanoseconds | None:
    """Parse a time as Docker and Podman write it, ``2026-01-31T12:00:00.123456789Z``; None for anything else."""
    match = _MOMENT.fullmatch(moment) if isinstance(moment, str) else None
    if match is None:
        return None
    try:
        seconds = datetime.fromisoformat(f"{match[1]}{match[3]}").timestamp()
    except ValueError:
        return None
    return Nanoseconds(int(seconds) * 1_000_000_000 + int((match[2] or "").ljust(9, "0"))) if seconds > 0 else None


def describe_event(event: Mapping[str, Any]) -> RuntimeContainer | None:
    """Turn an event of ``GET /events`` into what it alone tells of its container; None for an event of no concern."""
    actor, kind = mapping(event.get("Actor")), _kind(event)[0]
    identifier, attributes, when = actor.get("ID"), texts(actor.get("Attributes")), event.get("timeNano")
    if kind not in _TELLING or not is_safe_id(identifier):
        return None
    name, image, *codes = (attributes.pop(key, "") for key in ("name", "image", "exitCode", "containerExitCode"))
    code = next(filter(None, codes), "")
    return RuntimeContainer(
        id=str(identifier),
        name=name or str(identifier)[:12],
        state=_STATES.get(str(kind), "unknown"),
        image=image or None,
        labels=attributes,
        exit_code=int(code) if code.isdecimal() else None,
        ended=Nanoseconds(when) if kind == "die" and isinstance(when, int) else None,
    )


def _kind(event: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return our word for what happened, and the command that it was about."""
    action, _, command = str(event.get("Action")).partition(": ")
    return KINDS.get(action), command


def runtime_event(runtime: str, event: Mapping[str, Any]) -> ContainerEvent | None:
    """Turn an event of ``GET /events`` into one of a trace; None for what traces have no event for."""
    actor, (kind, command) = mapping(event.get("Actor")), _kind(event)
    identifier, attributes, when = actor.get("ID"), texts(actor.get("Attributes")), event.get("timeNano")
    if kind is None or not is_safe_id(identifier):
        return None
    code = attributes.get("exitCode") or attributes.get("containerExitCode") or ""
    return ContainerEvent(
        kind=kind,
        runtime=runtime,
        id=str(identifier),
        name=attributes.get("name") or str(identifier)[:12],
        time=Nanoseconds(when) if isinstance(when, int) and when > 0 else None,
        image=attributes.get("image") or None,
        exit_code=int(code) if code.isdecimal() and len(code) < 4 else None,
        old_name=attributes.get("oldName", "").removeprefix("/"),
        command=clean(command),
    )


def list_by_api(runtime: str, address: str) -> list[RuntimeContainer]:
    """Return the containers of a daemon.

    :param runtime: its name, for errors.
    :param address: its socket as ``unix://PATH``.
    :raises RuntimeAbsentError: there is no such socket.
    :raises RuntimeFailedError: who listens there does not answer as a daemon should, within seconds.
    """
    with _asking(runtime, address) as api:
        listed = api.get("/containers/json", {"all": "1"})
        ids = [mapping(item).get("Id") for item in listed] if isinstance(listed, list) else []
        found = (_inspect(api, str(identifier)) for identifier in ids if is_safe_id(identifier))
        return [container for container in found if container is not None]


def inspect_by_api(runtime: str, address: str, identifier: str) -> RuntimeContainer | None:
    """Return one container of a daemon, None if it has none of this id; see :func:`list_by_api`."""
    with _asking(runtime, address) as api:
        return _inspect(api, identifier)


@dataclass(frozen=True, slots=True)
class EngineEvent:
    """What a daemon told: the event, and the container after it where something of it is new."""

    event: ContainerEvent
    container: RuntimeContainer | None


class EngineEvents:
    """The events of a daemon's containers. Iteration waits for the next one, and ends with the connection.

    :param since: also tell of events from this time on, as far as the daemon remembers them; seconds, CLOCK_REALTIME.
    :param until: end with those of this time, or when the daemon does not answer for some seconds; None: never.
    :raises RuntimeAbsentError: as :func:`list_by_api`.
    :raises RuntimeFailedError: as :func:`list_by_api`.
    """

    def __init__(self, runtime: str, address: str, *, since: float, until: float | None = None) -> None:
        self._runtime = runtime
        self._since_ns = int(since * 1_000_000_000)
        self._address = address
        self._following = _connect(runtime, address)
        query = {"filters": json.dumps({"type": ["container"]}), "since": str(int(since))}
        if until is not None:
            query["until"] = f"{until:.9f}"  # whole seconds would end before what was last
        try:
            self._stream = self._following.stream("/events", query, patient=until is None)
        except HttpApiError as error:
            self.close()
            raise RuntimeFailedError(f"{runtime}: no events from {address}: {error}") from error

    def __iter__(self) -> Iterator[EngineEvent]:
        gone = suppress(RuntimeAbsentError, RuntimeFailedError, HttpApiError)
        with gone, _asking(self._runtime, self._address) as api:
            for item in self._stream:
                event, told = runtime_event(self._runtime, mapping(item)), describe_event(mapping(item))
                if event is None or (event.time is not None and event.time < self._since_ns):
                    continue
                if told is not None and event.kind in _LOOKED_AT:
                    told = _inspect(api, told.id) or told
                yield EngineEvent(event, told)

    def close(self) -> None:
        """End the iteration, from any thread."""
        self._following.close()


def _connect(runtime: str, address: str) -> HttpApi:
    path = Path(address.removeprefix("unix://"))
    if not path.exists():
        raise RuntimeAbsentError(f"{runtime}: no daemon at {path}")
    return HttpApi(str(path), seconds=_TIMEOUT_SECONDS)


@contextmanager
def _asking(runtime: str, address: str) -> Iterator[HttpApi]:
    api = _connect(runtime, address)
    try:
        yield api
    except HttpApiError as error:
        raise RuntimeFailedError(f"{runtime}: the daemon at {address} does not answer: {error}") from error
    finally:
        api.close()


def _inspect(api: HttpApi, identifier: str) -> RuntimeContainer | None:
    try:
        return describe(mapping(api.get(f"/containers/{identifier}/json")))
    except HttpApiError as error:
        if error.status == 404:
            return None  # removed since
        raise
