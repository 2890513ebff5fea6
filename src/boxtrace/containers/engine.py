"""Daemons that speak Docker's API: Docker itself, and Podman's API service (docs.docker.com/reference/api/engine)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boxtrace.containers.events import ContainerEvent
from boxtrace.containers.oci import mapping, texts
from boxtrace.containers.runtime import RuntimeAbsentError, RuntimeContainer, RuntimeFailedError
from boxtrace.containers.text import clean, is_safe_id
from boxtrace.units import Nanoseconds

if TYPE_CHECKING:
    from docker import APIClient

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
    client = _connect(runtime, address)
    try:
        found = (_inspect(client, listed["Id"]) for listed in client.containers(all=True))
        return [container for container in found if container is not None]
    except _errors() as error:
        raise RuntimeFailedError(f"{runtime}: the daemon at {address} failed: {_reason(error)}") from error
    finally:
        client.close()


def inspect_by_api(runtime: str, address: str, identifier: str) -> RuntimeContainer | None:
    """Return one container of a daemon, None if it has none of this id; see :func:`list_by_api`."""
    client = _connect(runtime, address)
    try:
        return _inspect(client, identifier)
    except _errors() as error:
        raise RuntimeFailedError(f"{runtime}: the daemon at {address} failed: {_reason(error)}") from error
    finally:
        client.close()


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
        self._client = _connect(runtime, address)
        try:
            if until is None:
                self._client.timeout = None  # type: ignore[assignment]  # requests' word for no limit
            wanted = {"type": "container"}
            self._stream = self._client.events(decode=True, filters=wanted, since=int(since), until=_moment(until))
            self._client.timeout = _TIMEOUT_SECONDS
        except _errors() as error:
            self._client.close()
            raise RuntimeFailedError(f"{runtime}: no events from {address}: {_reason(error)}") from error

    def __iter__(self) -> Iterator[EngineEvent]:
        try:
            for item in self._stream:
                event, told = runtime_event(self._runtime, mapping(item)), describe_event(mapping(item))
                if event is None or (event.time is not None and event.time < self._since_ns):
                    continue
                if told is not None and event.kind in _LOOKED_AT:
                    told = _inspect(self._client, told.id) or told
                yield EngineEvent(event, told)
        except _errors():
            return
        except AttributeError:
            return  # the SDK's answer when its stream is closed meanwhile

    def close(self) -> None:
        """End the iteration, from any thread."""
        with suppress(AttributeError, *_errors()):  # the SDK's stream cannot be closed twice
            self._stream.close()


def _moment(seconds: float | None) -> Any:
    """Return a time as daemons take it, but the SDK does not say: whole seconds would end before what was last."""
    return None if seconds is None else f"{seconds:.9f}"


def _errors() -> tuple[type[Exception], ...]:
    # The SDK takes a tenth of a second to import: only where a daemon may be.
    import docker.errors
    import requests
    import urllib3.exceptions

    known = (docker.errors.DockerException, requests.RequestException, urllib3.exceptions.HTTPError)
    return (*known, HTTPException, OSError, ValueError, TypeError, KeyError)


def _connect(runtime: str, address: str) -> APIClient:
    path = Path(address.removeprefix("unix://"))
    if not path.exists():
        raise RuntimeAbsentError(f"{runtime}: no daemon at {path}", hint="set DOCKER_HOST if its socket is elsewhere")
    import docker

    try:
        client = docker.APIClient(base_url=address, timeout=_TIMEOUT_SECONDS)
    except _errors() as error:
        raise RuntimeFailedError(f"{runtime}: the daemon at {path} does not answer: {_reason(error)}") from error
    client.trust_env = False  # proxies and .netrc, which are looked up anew for each request, mean nothing to a socket
    return client


def _inspect(client: APIClient, identifier: str) -> RuntimeContainer | None:
    import docker.errors

    try:
        return describe(client.inspect_container(identifier))
    except docker.errors.NotFound:
        return None  # removed since


def _reason(error: BaseException) -> str:
    """The innermost cause: the SDK wraps a socket's error several times."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return clean(str(error)) or type(error).__name__
