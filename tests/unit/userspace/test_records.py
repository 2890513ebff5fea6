"""Records taken out of shared memory: the native walk, against one in Python that is meant to be read."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxtrace import _native

TYPES = {3: [(0, 4)], 4: [(1, 0), (2, 2)], 70000: []}
EARLIEST, NOW = 10_000_000_000, 14_000_000_000


def records() -> _native.UserRecords:
    made = _native.UserRecords()
    for number, parts in TYPES.items():
        made.add(number, parts)
    return made


def take(ring: bytes, begin: int, end: int, last: int = 0) -> tuple[tuple[int, int, int, int], bytes]:
    out = bytearray(len(ring))
    return records().take(ring, 0, begin, end, out, 0, last=last, earliest=EARLIEST, now=NOW), bytes(out)


def walk(data: bytes, last: int) -> tuple[int, int, int, int]:
    """What :meth:`UserRecords.take` must say of bytes."""
    at = count = 0
    first = last
    while len(data) - at >= 10:
        number, low = struct.unpack_from("=HI", data, at)
        size = 10
        if number == 0xFFFF:
            if len(data) - at < 18:
                break
            number, time = struct.unpack_from("=IQ", data, at + 2)
            size = 18
        elif last:
            time = last + (low - last) % (1 << 32)
        else:
            break
        end = fields_end(data, at + size, number)
        if end is None or not (last or EARLIEST) <= time <= NOW:
            break
        first = first if count else time
        at, last, count = end, time, count + 1
    return at, count, first, last


def fields_end(data: bytes, at: int, number: int) -> int | None:
    if number not in TYPES:
        return None
    for kind, size in TYPES[number]:
        if kind == 0:
            at += size
        elif kind == 1:
            found = data.find(b"\0", at)
            if found < 0:
                return None
            at = found + 1
        else:
            if len(data) - at < 4:
                return None
            at += 4 + size * struct.unpack_from("=I", data, at)[0]
        if at > len(data):
            return None
    return at


def extended(number: int, time: int, fields: bytes) -> bytes:
    return struct.pack("=HIQI", 0xFFFF, number, time, 0) + fields


def compact(number: int, time: int, fields: bytes) -> bytes:
    return struct.pack("=HII", number, time & 0xFFFFFFFF, 0) + fields


GOOD = (
    extended(3, EARLIEST, b"abcd")
    + compact(4, EARLIEST + 5, b"text\0" + struct.pack("=Ihh", 2, 1, 2))
    + extended(70000, NOW, b"")
)


def test_good_records() -> None:
    ring = GOOD.ljust(128, b"\0")
    found, copy = take(ring, 0, len(GOOD))
    assert found == (len(GOOD), 3, EARLIEST, NOW) == walk(GOOD, 0)
    assert copy[: len(GOOD)] == GOOD


@pytest.mark.parametrize("start", [1, 60, 127, 128 * 5 + 100])
def test_a_ring_wraps(start: int) -> None:
    ring = bytearray(128)
    for index, byte in enumerate(GOOD):
        ring[(start + index) % 128] = byte
    found, copy = take(bytes(ring), start, start + len(GOOD))
    assert found[:2] == (len(GOOD), 3) and copy[: len(GOOD)] == GOOD


@pytest.mark.parametrize(
    "bad",
    [
        compact(9, EARLIEST + 6, b"abcd"),
        compact(3, EARLIEST - 1, b"abcd"),
        extended(3, EARLIEST - 1, b"abcd"),
        extended(3, NOW + 1, b"abcd"),
        compact(3, EARLIEST + 6, b"abc"),
        compact(4, EARLIEST + 6, b"without end"),
        compact(4, EARLIEST + 6, b"\0" + struct.pack("=I", 0xFFFFFFFF)),
        b"\xff\xff\x03\x00\x00\x00",
    ],
)
def test_what_follows_a_wrong_record_is_left_out(bad: bytes) -> None:
    good = extended(3, EARLIEST + 5, b"abcd")
    data = good + bad
    found, _ = take(data.ljust(64, b"\0"), 0, len(data))
    assert found == (len(good), 1, EARLIEST + 5, EARLIEST + 5) == walk(data, 0)


def test_the_first_record_must_tell_its_whole_time() -> None:
    data = compact(3, EARLIEST, b"abcd")
    assert take(data.ljust(16, b"\0"), 0, len(data))[0][:2] == (0, 0)
    assert take(data.ljust(16, b"\0"), 0, len(data), last=EARLIEST)[0] == (len(data), 1, EARLIEST, EARLIEST)


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=30),
            st.just(GOOD),
            st.builds(extended, st.sampled_from([3, 4, 5]), st.integers(EARLIEST - 9, NOW + 9), st.binary(max_size=9)),
            st.builds(compact, st.sampled_from([3, 4, 5]), st.integers(0, 1 << 32), st.binary(max_size=9)),
        ),
        max_size=8,
    ),
    st.sampled_from([0, EARLIEST + 3]),
)
def test_the_native_walk_is_the_one_in_python(pieces: list[bytes], last: int) -> None:
    data = b"".join(pieces)[:512]
    assert take(data.ljust(512, b"\0"), 0, len(data), last)[0] == walk(data, last)


@pytest.mark.parametrize(("begin", "end"), [(0, 129), (5, 4), (1 << 63, 0)])
def test_impossible_positions_are_refused(begin: int, end: int) -> None:
    with pytest.raises(ValueError):
        take(bytes(128), begin, end)
