"""Packets whose records are of candidates, written, decided about, and cut in their files."""

from __future__ import annotations

import mmap
import struct
import tempfile
from pathlib import Path
from uuid import UUID

import pytest

from boxtrace.consumer.files import FileSink
from boxtrace.consumer.rings import Packet
from boxtrace.consumer.tags import CuttingSink, TagLayout, TagLog
from boxtrace.ctf.lttng import PacketHeader
from boxtrace.units import Nanoseconds

SUBBUF = 1 << 12
ENTRIES = 8
LAYOUT = TagLayout(
    cpus=1,
    size=32 + ENTRIES * 32,
    entries=ENTRIES,
    tags={"count": 0, "consumed": 8, "current": 16, "settled": 24, "entry": 32},
    entry_size=32,
    entry={"position": 0, "records": 8, "time": 16, "tag": 24},
)
HEADER = PacketHeader.SIZE
_SIZES = struct.calcsize("<I16sIQQQ")
"""Where a packet has its content size and its own, in bits."""


class Ring:
    """What the programs would have written: a packet of ten records of eight bytes, and who they are of."""

    def __init__(self, directory: Path) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._file.truncate(mmap.PAGESIZE)
        self._map = mmap.mmap(self._file.fileno(), mmap.PAGESIZE)
        self.log = TagLog(self._file.fileno(), LAYOUT)
        self.sink = CuttingSink(FileSink(directory, "channel0", trace_uuid=UUID(int=1)), self.log, SUBBUF)
        self._count = 0

    def tag(self, position: int, records: int, tag: int, *, time: int = 1) -> None:
        at = LAYOUT.tags["entry"] + self._count % ENTRIES * 32
        self._map[at : at + 32] = struct.pack("<4Q", position, records, time, tag)
        self._count += 1
        self._map[:8] = struct.pack("<Q", self._count)

    def write(self, sequence: int, records: bytes | None = None) -> None:
        if records is None:
            records = b"".join(struct.pack("<Q", 100 * sequence + number) for number in range(10))
        data = bytearray(HEADER) + records
        packet = Packet(
            cpu=0,
            sequence=sequence,
            begin=Nanoseconds(1),
            end=Nanoseconds(2),
            discarded=0,
            records=10,
            data=memoryview(data),
        )
        self.sink.write(packet)


def at(sequence: int, record: int) -> int:
    """Return the position of a record in the ring."""
    return sequence * SUBBUF + HEADER + 8 * record


def packets(directory: Path) -> list[list[int]]:
    """Return the records of each packet in the file, checking that nothing is behind them."""
    data, found = (directory / "channel0_0").read_bytes(), []
    while data:
        content, size = struct.unpack_from("<2Q", data, _SIZES)
        assert not any(data[content // 8 : size // 8])
        found.append([value for (value,) in struct.iter_unpack("<Q", data[HEADER : content // 8])])
        data = data[size // 8 :]
    return found


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return Ring(tmp_path)


def test_what_nobody_claims_is_written_as_it_is(ring: Ring, tmp_path: Path) -> None:
    ring.write(0)
    assert packets(tmp_path) == [list(range(10))]


def test_decided_before_it_is_written(ring: Ring, tmp_path: Path) -> None:
    ring.sink.decide({2: False, 4: True})
    for position, records, tag in ((at(0, 2), 2, 2), (at(0, 5), 5, 4), (at(0, 7), 7, 5), (at(0, 8), 8, 0)):
        ring.tag(position, records, tag)
    ring.write(0)
    assert packets(tmp_path) == [[0, 1, 5, 6, 8, 9]], "5 is the runtime's of candidate 4: never wanted"
    assert ring.log.records({0: 10}) == {(0, 0): 4, (2, 0): 3, (4, 0): 2, (5, 0): 1}


def test_decided_afterwards_in_the_file(ring: Ring, tmp_path: Path) -> None:
    ring.tag(at(0, 6), 6, 2)
    ring.write(0)
    ring.tag(at(1, 1), 11, 4)
    ring.tag(at(1, 3), 13, 0)
    ring.write(1)
    ring.write(2)
    before = (tmp_path / "channel0_0").stat().st_size
    whole = [list(range(100 * number, 100 * number + 10)) for number in range(3)]
    assert packets(tmp_path) == whole
    ring.sink.decide({4: True})
    assert packets(tmp_path) == whole
    ring.sink.decide({2: False})
    assert packets(tmp_path) == [whole[0][:6], whole[1][1:], whole[2]]
    assert (tmp_path / "channel0_0").stat().st_size == before
    ring.sink.close()


COMPACT, EXTENDED = struct.Struct("<HIH"), struct.Struct("<HIQH")


def compact(time: int, value: int) -> bytes:
    return COMPACT.pack(7, time & 0xFFFF_FFFF, value)


def extended(time: int, value: int) -> bytes:
    return EXTENDED.pack(0xFFFF, 7, time, value)


@pytest.mark.parametrize("late", [False, True], ids=["decided before", "decided afterwards"])
@pytest.mark.parametrize(
    ("first", "cut", "rest", "expected"),
    [
        ([], [(5 << 32) + 9], [(5 << 32) + 10, (5 << 32) + 11], [True, False]),  # the full time stamp is cut out
        ([50], [(1 << 32) + 60], [(1 << 32) + 61], [True]),
        ([50], [60], [70], [False]),
        ([50], [(1 << 31), (1 << 32) - 9, (1 << 32) + 60], [(1 << 32) + 61], [True]),  # there never was one
        ([50], [(1 << 32) - 9], [(1 << 32) + 40], [False]),
        ([50], [(1 << 32) + 60], [(5 << 32) + 61], [True]),
    ],
)
def test_times_do_not_depend_on_what_is_cut_out(
    ring: Ring, tmp_path: Path, first: list[int], cut: list[int], rest: list[int], expected: list[bool], late: bool
) -> None:
    data, positions, last = b"", [], 1
    times = [*first, *cut, *rest]
    for number, time in enumerate(times):
        positions.append(HEADER + len(data))
        data += extended(time, number) if time - last >= 1 << 31 and time > 1 << 32 else compact(time, number)
        last = time
    ring.tag(positions[len(first)], len(first), 2, time=([0, *first])[-1])
    ring.tag(positions[len(first) + len(cut)], len(first) + len(cut), 0, time=cut[-1])
    if not late:
        ring.sink.decide({2: False})
    ring.write(0, data)
    ring.sink.decide({2: False})
    begun = len(first) + len(cut)
    kept = [compact(time, number) for number, time in enumerate(first)]
    for number, (time, full) in enumerate(zip(rest, expected, strict=True), start=begun):
        kept.append((extended if full else compact)(time, number))
    written = (tmp_path / "channel0_0").read_bytes()
    content, size = struct.unpack_from("<2Q", written, _SIZES)
    assert written[HEADER : content // 8] == b"".join(kept)
    assert not any(written[content // 8 : size // 8])
