"""Index files: what they spare, and what they cannot make wrong."""

import shutil
import struct
from dataclasses import replace
from pathlib import Path

import pytest

import boxtrace
from boxtrace.ctf.index import INDEX_HEADER, IndexEntry, parse_index
from boxtrace.ctf.packet import PythonDecoder
from boxtrace.errors import TraceFormatError
from support.ctf_sample import write_sample
from support.twins import assert_twins_agree

KERNEL = Path(__file__).parents[2] / "data" / "lttng-kernel-trace"
SECOND = 1 << 20  # where the second packet of ch_0 begins


@pytest.fixture
def trace_copy(tmp_path: Path) -> Path:
    shutil.copytree(KERNEL, tmp_path / "trace")
    return tmp_path / "trace"


def heads_read(trace: Path, monkeypatch: pytest.MonkeyPatch, begin: int | None, end: int | None) -> list[int]:
    """Read a range of time, and return the offsets of the packets that were looked at."""
    offsets: list[int] = []
    whole = PythonDecoder.head

    def head(self: PythonDecoder, data: "memoryview[int]", offset: int, clock: int = 0) -> object:
        offsets.append(offset)
        return whole(self, data, offset, clock)

    with monkeypatch.context() as patch:
        patch.setattr(PythonDecoder, "head", head)
        for tables in boxtrace.open(trace).batches(["sched_switch"], begin=begin, end=end):
            assert set(tables) <= {"sched_switch"}
    return offsets


def test_packets_outside_the_range_are_not_looked_at(trace_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = boxtrace.open(trace_copy)
    begins = [packet.bounds.begin for stream in trace.streams for packet in stream.packets]
    assert len(begins) > len(trace.streams)
    early = min(stream.begin or 0 for stream in trace.streams)
    with_index = heads_read(trace_copy, monkeypatch, None, early + 1)
    assert SECOND not in with_index
    shutil.rmtree(trace_copy / "kernel" / "index")
    assert SECOND in heads_read(trace_copy, monkeypatch, None, early + 1)


def test_the_same_with_and_without(trace_copy: Path) -> None:
    indexed = boxtrace.open(trace_copy)
    packets = [packet for stream in indexed.streams for packet in stream.packets]
    told = [packet.bounds for packet in packets]
    losses = [(loss.kind, loss.count) for loss in indexed.losses()]
    assert assert_twins_agree(indexed) == 23771
    shutil.rmtree(trace_copy / "kernel" / "index")
    walked = boxtrace.open(trace_copy)
    heads = [packet.head for stream in walked.streams for packet in stream.packets]
    for head, bounds in zip(heads, told, strict=True):
        assert (head.offset, head.size, head.content) == (bounds.offset, bounds.size, bounds.content)
        assert (head.begin, head.end, head.sequence) == (bounds.begin, bounds.end, bounds.sequence)
    assert [(loss.kind, loss.count) for loss in walked.losses()] == losses


def test_damage_is_found_when_the_packet_is_read(trace_copy: Path) -> None:
    stream = trace_copy / "kernel" / "ch_0"
    data = bytearray(stream.read_bytes())
    data[SECOND : SECOND + 4] = b"\0\0\0\0"
    stream.write_bytes(data)
    trace = boxtrace.open(trace_copy)
    assert not trace.failures
    read = 0
    with pytest.raises(TraceFormatError, match="magic"):
        for _ in trace.events():
            read += 1
    assert read > 10_000
    with pytest.raises(TraceFormatError, match="magic"):
        trace.table("sched_switch")


@pytest.mark.parametrize("damage", ["cut", "other sizes", "garbage", "empty", "shifted"])
def test_an_index_of_something_else_is_not_used(trace_copy: Path, damage: str) -> None:
    index = trace_copy / "kernel" / "index" / "ch_0.idx"
    entries = parse_index(index.read_bytes(), "index")
    packed = [entry.pack() for entry in entries]
    content = {
        "cut": INDEX_HEADER + packed[0],
        "other sizes": INDEX_HEADER + struct.pack(">9Q", 0, 8 << 20, 1 << 20, 1, 2, 0, 0, 0, 0),
        "garbage": b"\xff" * 500,
        "empty": b"",
        "shifted": INDEX_HEADER + b"".join(IndexEntry(*(8,) * 9).pack() for _ in entries),
    }[damage]
    index.write_bytes(content)
    assert sum(1 for _ in boxtrace.open(trace_copy).events()) == 23771


def test_an_index_that_lies_about_a_later_packet(trace_copy: Path) -> None:
    index = trace_copy / "kernel" / "index" / "ch_0.idx"
    first, second, *others = parse_index(index.read_bytes(), "index")
    lie = replace(second, content_size=second.content_size - 8)
    index.write_bytes(INDEX_HEADER + b"".join(entry.pack() for entry in (first, lie, *others)))
    with pytest.raises(TraceFormatError, match="not as the stream's index says"):
        for _ in boxtrace.open(trace_copy).events():
            pass


def test_a_trace_without_index(tmp_path: Path) -> None:
    assert list(boxtrace.open(write_sample(tmp_path)).events())
