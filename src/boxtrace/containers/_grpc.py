"""Calls of a gRPC service on a Unix socket, and the wire format of its messages: no more of either than is needed.

The protocol: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, on HTTP/2 as h2 speaks it (the extra
``containerd``). Messages: https://protobuf.dev/programming-guides/encoding/. Who answers is not trusted: what it sends
is bounded, and what makes no sense is an error.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from h2.connection import H2Connection
    from h2.events import Event

__all__ = ["GrpcChannel", "GrpcError", "Message", "encode_text"]

_PREFIX = 5
_MOST_BYTES = 64 << 20
_WINDOW = 1 << 20
_RECEIVE = 1 << 16


class GrpcError(OSError):
    """The other side does not answer, or refuses; its words are in the text."""


class Message:
    """A message as fields by number; a field that is not there is empty, and so is one of another type.

    :raises GrpcError: these are not the bytes of a message.
    """

    def __init__(self, data: bytes = b"") -> None:
        self._numbers: dict[int, int] = {}
        self._pieces: dict[int, list[bytes]] = {}
        at = 0
        while at < len(data):
            key, at = _varint(data, at)
            field, kind = key >> 3, key & 7
            if kind == 0:
                self._numbers[field], at = _varint(data, at)
                continue
            if kind == 2:
                length, at = _varint(data, at)
            elif kind in (1, 5):
                length = 8 if kind == 1 else 4
            else:
                raise GrpcError(f"no message: a field of type {kind}")
            if at + length > len(data):
                raise GrpcError("no message: it ends within a field")
            if kind == 2:
                self._pieces.setdefault(field, []).append(data[at : at + length])
            at += length

    def number(self, field: int) -> int:
        """Return an integer; 0 where there is none."""
        return self._numbers.get(field, 0)

    def text(self, field: int) -> str:
        """Return a text; empty where there is none."""
        return self.pieces(field)[-1].decode(errors="replace") if field in self._pieces else ""

    def pieces(self, field: int) -> list[bytes]:
        """Return every value of a repeated field of texts, bytes or messages."""
        return self._pieces.get(field, [])

    def messages(self, field: int) -> list[Message]:
        """Return every value of a repeated field of messages."""
        return [Message(piece) for piece in self.pieces(field)]

    def message(self, field: int) -> Message:
        """Return a message; an empty one where there is none."""
        return Message(b"".join(self.pieces(field)))

    def texts(self, field: int) -> dict[str, str]:
        """Return a map of texts."""
        return {entry.text(1): entry.text(2) for entry in self.messages(field)}


def encode_text(field: int, text: str) -> bytes:
    """Return the bytes of a message's text field."""
    raw = text.encode()
    return _to_varint(field << 3 | 2) + _to_varint(len(raw)) + raw


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        value |= (data[at] & 0x7F) << shift
        at += 1
        if not data[at - 1] & 0x80:
            return value, at
        shift += 7
    raise GrpcError("no message: a number does not end")


def _to_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


class GrpcChannel:
    """A connection for one call after the other. A call of which not all was read must be the last.

    :param path: of the socket.
    :param seconds: how long to wait for an answer.
    :raises GrpcError: nobody listens there.
    :raises ImportError: h2 is not installed.
    """

    def __init__(self, path: str, *, seconds: float) -> None:
        from h2.config import H2Configuration
        from h2.connection import H2Connection

        self._seconds = seconds
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(seconds)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise GrpcError(error.errno or 0, error.strerror or str(error)) from error
        self._h2: H2Connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_WINDOW)
        self._send()

    def __enter__(self) -> GrpcChannel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every call, from any thread."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def call(self, method: str, request: bytes = b"", metadata: Mapping[str, str] | None = None) -> Message:
        """Call a method that answers once.

        :param method: ``/SERVICE/METHOD``.
        :raises GrpcError: it fails, or does not answer in time.
        """
        answers = list(self.stream(method, request, metadata))
        if len(answers) != 1:
            raise GrpcError(f"{method}: {len(answers)} answers")
        return Message(answers[0])

    def stream(
        self, method: str, request: bytes = b"", metadata: Mapping[str, str] | None = None, *, patient: bool = False
    ) -> Iterator[bytes]:
        """Call a method, and yield what it answers.

        :param patient: wait for ever.
        :raises GrpcError: it fails, or (without *patient*) does not answer in time.
        """
        number = self._h2.get_next_available_stream_id()
        fixed = {
            ":method": "POST",
            ":scheme": "http",
            ":path": method,
            ":authority": "localhost",
            "te": "trailers",
            "content-type": "application/grpc",
        }
        self._h2.send_headers(number, [*fixed.items(), *(metadata or {}).items()])
        self._h2.send_data(number, b"\0" + len(request).to_bytes(4, "big") + request, end_stream=True)
        self._send()
        self._socket.settimeout(None if patient else self._seconds)
        return self._answers(method, number)

    def _answers(self, method: str, number: int) -> Iterator[bytes]:
        from h2 import events

        data = bytearray()
        status: Mapping[str, str] = {}
        for event in self._events():
            if getattr(event, "stream_id", number) != number:
                continue
            if isinstance(event, events.DataReceived):
                data += event.data or b""
                self._h2.acknowledge_received_data(event.flow_controlled_length or 0, number)
                yield from _take(data)
            elif isinstance(event, events.ResponseReceived | events.TrailersReceived):
                status = {**status, **{str(name): str(value) for name, value in event.headers or ()}}
            elif isinstance(event, events.StreamReset | events.ConnectionTerminated):
                raise GrpcError(f"{method}: the call was broken off")
            elif isinstance(event, events.StreamEnded):
                break
        if status.get("grpc-status") != "0":
            raise GrpcError(f"{method}: {status.get('grpc-message') or 'no answer'}")

    def _events(self) -> Iterator[Event]:
        """Yield what comes from the other side, until it hangs up."""
        from h2.exceptions import H2Error

        while True:
            try:
                data = self._socket.recv(_RECEIVE)
                received = self._h2.receive_data(data) if data else []
            except (OSError, H2Error) as error:
                raise GrpcError(str(error) or type(error).__name__) from error
            if not data:
                raise GrpcError("the connection was closed")
            for event in received:
                yield event
                self._send()
            self._send()

    def _send(self) -> None:
        data = self._h2.data_to_send()
        if not data:
            return
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise GrpcError(error.errno or 0, error.strerror or str(error)) from error


def _take(data: bytearray) -> Iterator[bytes]:
    """Take the whole messages off the beginning of what was received."""
    while len(data) >= _PREFIX:
        length = int.from_bytes(data[1:_PREFIX], "big")
        if data[0] or length > _MOST_BYTES:
            raise GrpcError(f"an answer of {length} bytes, compressed: {bool(data[0])}")
        if len(data) < _PREFIX + length:
            return
        yield bytes(data[_PREFIX : _PREFIX + length])
        del data[: _PREFIX + length]
