"""The messages of the user-space protocol, version 1 (``docs/protocol.md``): numbers, limits, packing and unpacking."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

__all__ = [
    "CLIENT_MAX_RINGS",
    "CLIENT_MAX_TYPES",
    "MESSAGE_MAX",
    "SOCKET_DIRECTORIES",
    "SOCKET_NAME",
    "ContextChange",
    "ContextsWritten",
    "Hello",
    "Message",
    "ProtocolError",
    "Reason",
    "Register",
    "Request",
    "RingsWanted",
    "counters_message",
    "enable_message",
    "parse_message",
    "refused_message",
    "ring_message",
    "type_message",
    "welcome_message",
]

MAGIC: Final = 0x52545842
VERSIONS: Final = (1, 1)
"""Oldest and newest version that this host serves."""
MESSAGE_MAX: Final = 16384
CLIENT_MAX_TYPES: Final = 1024
CLIENT_MAX_RINGS: Final = 256
SOCKET_DIRECTORIES: Final = ("run", "dev")
"""Where clients look, from the root of their mount namespace, in this order."""
SOCKET_NAME: Final = "boxtrace-user.sock"

_OPTIONAL: Final = 1 << 31
_NO_NUMBER: Final = 0xFFFF_FFFF
_HEADER = struct.Struct("=II")
_HELLO = struct.Struct("=IHH32s")
_REGISTER = struct.Struct("=iHH")
_RINGS = struct.Struct("=I")
_CONTEXT = struct.Struct("=IIQ")
_CONTEXTS = struct.Struct("=I")
_WELCOME = struct.Struct("=IIIHHqIIII")
_REFUSED = struct.Struct("=IIHHI")
_TYPE = struct.Struct("=IIIIII")
_ENABLE = struct.Struct("=IIII")
_COUNTERS = struct.Struct("=IIII")
_RING = struct.Struct("=IIIIQQ")


class Message(IntEnum):
    """Types of messages."""

    HELLO = 1
    WELCOME = 2
    REFUSED = 3
    REGISTER = 4
    TYPE = 5
    ENABLE = 6
    RINGS = 7
    RING = 8
    CONTEXT = 9
    CONTEXTS = _OPTIONAL | 10
    COUNTERS = _OPTIONAL | 11


class Reason(IntEnum):
    """Why a client, or what it asked for, is refused; 0 is no error."""

    NONE = 0
    VERSION = 1
    NOT_RECORDED = 2
    PROTOCOL = 3
    TOO_MANY_CLIENTS = 4
    LIMIT = 5
    DECLARATION = 6


class ProtocolError(Exception):
    """A client did not keep to the protocol, and loses its connection by that; never leaves this package.

    :param reason: what it is told.
    """

    def __init__(self, message: str, reason: Reason = Reason.PROTOCOL) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Hello:
    """A client introduces itself: the versions that it speaks, and what it is called."""

    oldest: int
    newest: int
    name: str


@dataclass(frozen=True, slots=True)
class Register:
    """An event type is declared; ``body`` is the declaration as it came, equal for equal types."""

    token: int
    loglevel: int
    name: bytes
    field_count: int
    fields: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class RingsWanted:
    """So many more rings are asked for."""

    token: int
    count: int


@dataclass(frozen=True, slots=True)
class ContextChange:
    """The contexts of a ring's thread are others from a position on."""

    ring: int
    position: int


@dataclass(frozen=True, slots=True)
class ContextsWritten:
    """The records of the client have these contexts, bits of WELCOME's."""

    mask: int


Request = Hello | Register | RingsWanted | ContextChange | ContextsWritten


def parse_message(data: bytes) -> Request | None:
    """Parse a message of a client; None for one that may be ignored.

    :raises ProtocolError: if it is none.
    """
    try:
        kind, token = _HEADER.unpack_from(data)
        match kind:
            case Message.HELLO:
                return _hello(data)
            case Message.REGISTER:
                return _register(data, token)
            case Message.RINGS:
                return RingsWanted(token, *_RINGS.unpack_from(data, _HEADER.size))
            case Message.CONTEXT:
                ring, _, position = _CONTEXT.unpack_from(data, _HEADER.size)
                return ContextChange(ring, position)
            case Message.CONTEXTS:
                return ContextsWritten(*_CONTEXTS.unpack_from(data, _HEADER.size))
    except struct.error as error:
        raise ProtocolError("a message is too short") from error
    if kind & _OPTIONAL:
        return None
    raise ProtocolError(f"a message of type {kind}")


def _hello(data: bytes) -> Hello:
    magic, oldest, newest, name = _HELLO.unpack_from(data, _HEADER.size)
    if magic != MAGIC:
        raise ProtocolError("this is no client")
    text = name.partition(b"\0")[0].decode("ascii", "replace")
    return Hello(oldest, newest, "".join(char if char.isprintable() else "?" for char in text))


def _register(data: bytes, token: int) -> Register:
    loglevel, name_size, field_count = _REGISTER.unpack_from(data, _HEADER.size)
    start = _HEADER.size + _REGISTER.size
    name = data[start : start + name_size]
    if len(name) != name_size:
        raise ProtocolError("a message is too short")
    return Register(token, loglevel, name, field_count, data[start + name_size :], data[_HEADER.size :])


def common_version(hello: Hello) -> int:
    """Return the newest version that a client and this host speak.

    :raises ProtocolError: if there is none.
    """
    version = min(hello.newest, VERSIONS[1])
    if version < max(hello.oldest, VERSIONS[0]):
        raise ProtocolError("no common version", Reason.VERSION)
    return version


def welcome_message(version: int, *, clock_offset: int, max_record: int, contexts: int) -> bytes:
    """Return WELCOME; it goes with the descriptors of the control memory and of the eventfd.

    :param contexts: that each record should have, a bit each.
    """
    limits = (CLIENT_MAX_TYPES, CLIENT_MAX_RINGS, max_record)
    return _WELCOME.pack(Message.WELCOME, 0, MAGIC, version, 0, clock_offset, *limits, contexts)


def refused_message(reason: Reason, text: str) -> bytes:
    """Return REFUSED."""
    return _REFUSED.pack(Message.REFUSED, 0, *VERSIONS, reason) + text.encode()[:200]


def type_message(token: int, *, number: int = _NO_NUMBER, enabled: bool = False, error: Reason = Reason.NONE) -> bytes:
    """Return TYPE; with an error there is no number."""
    return _TYPE.pack(Message.TYPE, token, number, enabled, error, 0)


def enable_message(number: int, enabled: bool) -> bytes:
    """Return ENABLE."""
    return _ENABLE.pack(Message.ENABLE, 0, number, enabled)


def ring_message(token: int, index: int, size: int, data: int, error: Reason = Reason.NONE) -> bytes:
    """Return RING; without error it goes with the ring's descriptor."""
    return _RING.pack(Message.RING, token, index, error, size, data)


def counters_message(ring: int, vtid: int) -> bytes:
    """Return COUNTERS; it goes with the descriptors of the counters of a ring's owner."""
    return _COUNTERS.pack(Message.COUNTERS, 0, ring, vtid)
