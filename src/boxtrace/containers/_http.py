"""Requests of an HTTP API that answers with JSON on a Unix socket: no more of HTTP than Docker and Podman need.

Each container that starts is asked for once, while CPUs may be busy with its start; Docker's SDK takes many times as
long for that. Who answers is not trusted: what comes is bounded, and what is no JSON is an error.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlencode

from boxtrace.containers.oci import mapping
from boxtrace.containers.text import clean

__all__ = ["HttpApi", "HttpApiError"]

_MOST_BYTES = 64 << 20
_RECEIVE = 1 << 16


class HttpApiError(OSError):
    """The other side does not answer, or refuses; its words are in the text.

    :ivar status: of HTTP; 0 where there was no answer.
    """

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class HttpApi:
    """A connection for one request after the other, made with the first one.

    :param path: of the socket.
    :param seconds: how long to wait for an answer.
    """

    def __init__(self, path: str, *, seconds: float) -> None:
        self._connection = _UnixConnection(path, seconds)
        self._is_read = False

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """Return what a path answers.

        :raises HttpApiError: it fails, does not answer in time, or not with JSON.
        """
        with _told():
            response = self._ask(path, query)
            data = response.read(_MOST_BYTES + 1)
            if len(data) > _MOST_BYTES:
                raise HttpApiError(f"{path}: an answer of more than {_MOST_BYTES} bytes")
            return json.loads(data)

    def stream(self, path: str, query: Mapping[str, str] | None = None, *, patient: bool = False) -> Iterator[Any]:
        """Yield the values that a path answers with, one in each line, until the other side ends it.

        :param patient: wait for ever.
        :raises HttpApiError: as :meth:`get`; and when it is broken off, as :meth:`close` does.
        """
        if patient:
            self._connection.timeout = None
        with _told():
            response = self._ask(path, query)
        return self._values(response)

    def _values(self, response: HTTPResponse) -> Iterator[Any]:
        self._is_read = True
        rest = b""
        try:
            with _told():
                while data := response.read1(_RECEIVE):
                    *lines, rest = (rest + data).split(b"\n")
                    if len(rest) > _MOST_BYTES:
                        raise HttpApiError(f"a line of more than {_MOST_BYTES} bytes")
                    yield from (json.loads(line) for line in lines if line.strip())
        finally:
            self._is_read = False
            self._connection.close()

    def close(self) -> None:
        """End every request, from any thread."""
        connected = self._connection.connected
        if connected is not None:
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
        if not self._is_read:  # else its reader, who wakes up now, does that
            self._connection.close()

    def _ask(self, path: str, query: Mapping[str, str] | None) -> HTTPResponse:
        target = f"{path}?{urlencode(query)}" if query else path
        was_open = self._connection.sock is not None
        try:
            response = self._connection.ask(target)
        except (ConnectionError, HTTPException):
            self._connection.close()
            if not was_open:
                raise
            response = self._connection.ask(target)  # it had been closed since the last request
        if response.status != 200:
            raise HttpApiError(_reason(response), response.status)
        return response


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path
        self.connected: socket.socket | None = None
        """The socket, which a response takes away from the connection that ends with it."""

    def connect(self) -> None:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        made.settimeout(self.timeout)
        try:
            made.connect(self._path)
        except OSError:
            made.close()
            raise
        self.sock = self.connected = made

    def ask(self, target: str) -> HTTPResponse:
        self.request("GET", target, headers={"Accept": "application/json"})
        return self.getresponse()


@contextmanager
def _told() -> Iterator[None]:
    """Make one kind of error of all."""
    try:
        yield
    except HttpApiError:
        raise
    except (OSError, HTTPException, ValueError, RecursionError) as error:
        raise HttpApiError(clean(str(error)) or type(error).__name__) from error


def _reason(response: HTTPResponse) -> str:
    """Return what a daemon says of a request that it refuses: an object with a ``message``."""
    try:
        message = clean(mapping(json.loads(response.read(_RECEIVE))).get("message"))
    except (ValueError, RecursionError):
        message = ""
    return message or f"HTTP status {response.status} ({clean(response.reason)})"
