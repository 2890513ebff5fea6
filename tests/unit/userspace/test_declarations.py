"""Declarations of event types: what is right becomes CTF, what is not is refused, and nothing else happens."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxtrace.ctf.model import EventClass, StreamClass, TraceClass
from boxtrace.ctf.tsdl_parser import parse_tsdl
from boxtrace.ctf.tsdl_writer import write_tsdl
from boxtrace.userspace.declarations import parse_declaration
from boxtrace.userspace.protocol import ProtocolError, Reason, Register, parse_message


def field(kind: int, name: bytes, rest: bytes = b"") -> bytes:
    return struct.pack("=BB", kind, len(name)) + name + rest


def register(*fields: bytes, name: bytes = b"app:event", loglevel: int = -1) -> Register:
    head = struct.pack("=IIiHH", 4, 9, loglevel, len(name), len(fields))
    message = parse_message(head + name + b"".join(fields))
    assert isinstance(message, Register) and message.token == 9
    return message


ENUM = struct.pack("=BBHqqB", 8, 1, 1, -1, 1, 1)


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ([field(1, b"a", b"\x08\x0a"), field(3, b"b", b"\x40")], ((0, 9),)),
        ([field(4, b"a")], ((1, 0),)),
        ([field(5, b"a", ENUM + b"x")], ((0, 1),)),
        ([field(6, b"a", struct.pack("=IBBB", 3, 2, 16, 10))], ((0, 6),)),
        ([field(7, b"a", b"\x03\x20\x00"), field(8, b"b", struct.pack("=I", 5))], ((2, 4), (0, 5))),
        ([field(9, b"a")], ((2, 1),)),
        ([], ()),
    ],
)
def test_sizes(fields: list[bytes], parts: tuple[tuple[int, int], ...]) -> None:
    assert parse_declaration(register(*fields)).parts == parts


@pytest.mark.parametrize(
    "message",
    [
        register(name=b""),
        register(name=b"with space"),
        register(name=b'quote"'),
        register(loglevel=15),
        register(field(0, b"a")),
        register(field(10, b"a")),
        register(field(4, b"9a")),
        register(field(4, b"")),
        register(field(4, b"a"), field(4, b"a")),
        register(field(4, b"_a_length"), field(9, b"a")),
        register(field(1, b"a", b"\x07\x0a")),
        register(field(1, b"a", b"\x08\x0b")),
        register(field(1, b"a", b"\x08")),
        register(field(3, b"a", b"\x10")),
        register(field(5, b"a", struct.pack("=BBH", 8, 1, 0))),
        register(field(5, b"a", ENUM + b"\n")),
        register(field(5, b"a", ENUM + b"\xff")),
        register(field(5, b"a", struct.pack("=BBHqqB", 8, 0, 1, -1, 1, 1) + b"x")),
        register(field(5, b"a", struct.pack("=BBHqqB", 8, 1, 1, 2, 1, 1) + b"x")),
        register(field(6, b"a", struct.pack("=IBBB", 0, 1, 8, 10))),
        register(field(6, b"a", struct.pack("=IBBB", 1 << 31, 1, 64, 10))),
        register(field(6, b"a", struct.pack("=IBBB", 1, 4, 8, 10))),
        register(field(8, b"a", struct.pack("=I", 4097))),
        register(*[field(4, b"a%d" % n) for n in range(65)]),
    ],
)
def test_what_is_wrong_is_refused(message: Register) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_declaration(message)
    assert caught.value.reason is Reason.DECLARATION


KINDS = st.one_of(
    st.tuples(st.just(1), st.sampled_from([b"\x08\x0a", b"\x40\x10"])),
    st.tuples(st.just(4), st.just(b"")),
    st.tuples(
        st.just(5),
        st.text(min_size=1, max_size=3)
        .map(str.encode)
        .map(lambda label: ENUM[:-1] + struct.pack("=B", len(label)) + label),
    ),
    st.tuples(st.just(7), st.just(b"\x02\x20\x0a")),
    st.tuples(st.just(9), st.just(b"")),
    st.tuples(st.integers(0, 12), st.binary(max_size=12)),
)


@given(
    st.lists(st.tuples(st.from_regex(r"[a-z_]{1,4}", fullmatch=True) | st.text(max_size=3), KINDS), max_size=5),
    st.integers(0, 6),
)
def test_metadata_of_what_is_accepted_can_be_read(fields: list[tuple[str, tuple[int, bytes]]], count: int) -> None:
    pieces = [field(kind, name.encode()[:255], rest) for name, (kind, rest) in fields]
    head = struct.pack("=IIiHH", 4, 0, -1, 3, count)
    message = parse_message(head + b"a:b" + b"".join(pieces))
    assert isinstance(message, Register)
    try:
        declaration = parse_declaration(message)
    except ProtocolError as error:
        assert error.reason is Reason.DECLARATION
        return
    event = EventClass(id=0, name=declaration.name, fields=declaration.fields)
    trace = parse_tsdl(write_tsdl(TraceClass(streams=(StreamClass(events=(event,)),))))
    assert trace.streams[0].events[0].fields == event.fields


@given(st.binary(max_size=80))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        parse_message(data)
    except ProtocolError as error:
        assert error.reason is Reason.PROTOCOL
