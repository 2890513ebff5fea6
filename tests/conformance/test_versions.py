"""What a host does with clients of other versions (docs/protocol.md, Compatibility), spoken to by hand."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from boxtrace.userspace.contexts import EventContexts
from support.user import Recording

HELLO, WELCOME, REFUSED, REGISTER, TYPE, RINGS, RING = 1, 2, 3, 4, 5, 7, 8
OPTIONAL = 1 << 31
Start = Callable[..., Recording]


@contextmanager
def connection(recording: Recording) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as host:
        host.settimeout(5)
        host.connect(str(recording.path))
        yield host


def hello(host: socket.socket, oldest: int, newest: int, more: bytes = b"") -> tuple[int, ...]:
    """Say which versions we speak; return the first numbers of the answer."""
    host.send(struct.pack("=IIIHH32s", HELLO, 0, 0x52545842, oldest, newest, b"by hand") + more)
    answer, descriptors, *_ = socket.recv_fds(host, 4096, 2)
    for descriptor in descriptors:
        os.close(descriptor)
    kind, _ = struct.unpack_from("=II", answer)
    if kind == WELCOME:
        assert len(descriptors) == 2
        return kind, struct.unpack_from("=H", answer, 12)[0]
    return kind, *struct.unpack_from("=HHI", answer, 8)


@pytest.mark.parametrize(("oldest", "newest"), [(1, 1), (0, 1), (1, 2), (0, 65535)])
def test_the_newest_common_version_is_spoken(record_user: Start, oldest: int, newest: int) -> None:
    with connection(record_user()) as host:
        assert hello(host, oldest, newest) == (WELCOME, 1)


@pytest.mark.parametrize(("oldest", "newest"), [(2, 2), (0, 0), (2, 65535), (5, 3)])
def test_without_a_common_version_a_client_is_told_which_there_are(
    record_user: Start, oldest: int, newest: int
) -> None:
    with connection(record_user()) as host:
        assert hello(host, oldest, newest) == (REFUSED, 1, 1, 1)
        assert host.recv(4096) == b""


def test_messages_may_get_longer_and_more(record_user: Start) -> None:
    with connection(record_user()) as host:
        assert hello(host, 1, 1, more=b"what a later version adds") == (WELCOME, 1)
        host.send(struct.pack("=II", OPTIONAL | 77, 0) + b"what a later version says")
        host.send(struct.pack("=III", RINGS, 5, 1) + b"more")
        answer, descriptors, *_ = socket.recv_fds(host, 4096, 1)
        for descriptor in descriptors:
            os.close(descriptor)
        assert struct.unpack_from("=II", answer) == (RING, 5)


CONTEXTS = OPTIONAL | 10


@pytest.mark.parametrize("mask", [1, 0])
def test_contexts_are_for_who_says_so(record_user: Start, mask: int) -> None:
    """Equal declarations are of different types where the records have different contexts."""
    recording = record_user(contexts=EventContexts(ip=True))
    numbers = []
    for first in (b"", struct.pack("=III", CONTEXTS, 0, mask)):
        with connection(recording) as host:
            assert hello(host, 1, 1) == (WELCOME, 1)
            if first:
                host.send(first)
            host.send(struct.pack("=IIiHH", REGISTER, 7, -1, 1, 0) + b"x")
            numbers.append(struct.unpack("=IIIIII", host.recv(4096)))
    assert [answer[:2] for answer in numbers] == [(TYPE, 7)] * 2
    assert (numbers[0][2] == numbers[1][2]) == (mask == 0)


@pytest.mark.parametrize("contexts", [[2], [3], [1 << 31], [1, 1], [0, 1], ["register", 1]])
def test_contexts_out_of_place_end_the_connection(record_user: Start, contexts: list[int | str]) -> None:
    with connection(record_user(contexts=EventContexts(ip=True))) as host:
        assert hello(host, 1, 1) == (WELCOME, 1)
        for each in contexts:
            if each == "register":
                host.send(struct.pack("=IIiHH", REGISTER, 7, -1, 1, 0) + b"x")
                assert struct.unpack_from("=I", host.recv(4096)) == (TYPE,)
            else:
                host.send(struct.pack("=III", CONTEXTS, 0, each))
        assert struct.unpack_from("=I", host.recv(4096)) == (REFUSED,)


def test_a_type_that_is_refused_has_no_number(record_user: Start) -> None:
    """So that no client takes the number of another type for it when that is enabled."""
    with connection(record_user()) as host:
        assert hello(host, 1, 1) == (WELCOME, 1)
        host.send(struct.pack("=IIiHH", REGISTER, 7, -1, 1, 0) + b"?")
        assert struct.unpack("=IIIIII", host.recv(4096)) == (TYPE, 7, 0xFFFFFFFF, 0, 6, 0)


def test_what_is_not_understood_and_not_optional_ends_the_connection(record_user: Start) -> None:
    with connection(record_user()) as host:
        assert hello(host, 1, 1) == (WELCOME, 1)
        host.send(struct.pack("=II", 77, 0))
        answer = host.recv(4096)
        assert struct.unpack_from("=I", answer) == (REFUSED,) and struct.unpack_from("=HHI", answer, 8) == (1, 1, 3)
        assert host.recv(4096) == b""
