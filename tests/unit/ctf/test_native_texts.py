"""Texts between parts of constant size, which the native decoder passes over and copies many at once."""

import random
import struct
from pathlib import Path

import pytest

import boxtrace
from boxtrace.ctf import lttng
from boxtrace.ctf.fields import IntegerField, Member, Role, StringField, StructField
from boxtrace.ctf.model import ClockClass, EventClass, StreamClass, TraceClass
from boxtrace.ctf.tsdl_writer import packetize, write_tsdl
from boxtrace.errors import TraceFormatError
from boxtrace.units import Nanoseconds
from boxtrace.view.fast_text import text_pieces
from boxtrace.view.text import TextView
from support.ctf_sample import UUID_
from support.twins import assert_twins_agree

pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")

COUNT = 3000
U16, U32 = IntegerField(size=16), IntegerField(size=32)
TIME = IntegerField(size=32, roles=(Role.TIMESTAMP,), clock=lttng.CLOCK_NAME)
HEADERS = {
    "large": lttng.EVENT_HEADER_LARGE,
    "plain": StructField(members=(Member("id", IntegerField(size=16, roles=(Role.EVENT_ID,))), Member("t", TIME))),
}
EVENTS = (
    EventClass(
        id=0,
        name="between",
        fields=StructField(members=(Member("a", U32), Member("text", StringField()), Member("b", U16))),
    ),
    EventClass(id=1, name="last", fields=StructField(members=(Member("a", U32), Member("text", StringField())))),
    EventClass(id=2, name="only", fields=StructField(members=(Member("text", StringField()),))),
    EventClass(
        id=3,
        name="two",
        fields=StructField(members=(Member("text", StringField()), Member("a", U32), Member("more", StringField()))),
    ),
    EventClass(id=4, name="none", fields=StructField(members=(Member("a", U32),))),
)
LENGTHS = (0, 1, 15, 16, 17, 62, 63, 64, 65, 127, 128, 129, 191, 192, 300)


def texts(chance: random.Random) -> str:
    text = "".join(chance.choices("abcdefgh", k=chance.choice(LENGTHS)))
    if text and chance.random() < 0.05:
        at = chance.randrange(len(text))
        text = text[:at] + chance.choice("é€𝄞") + text[at + 1 :]
    return text


def record(chance: random.Random, number: int) -> tuple[int, str | None, bytes]:
    """Return an event's id, text, and bytes."""
    kind = chance.choice((0, 0, 0, 1, 1, 2, 3, 4, 4))
    text = texts(chance)
    bytes_ = text.encode() + b"\0"
    a = struct.pack("<I", number)
    body = {0: a + bytes_ + b"\x05\x06", 1: a + bytes_, 2: bytes_, 3: bytes_ + a + b"more\0", 4: a}[kind]
    return kind, (None if kind == 4 else text), struct.pack("<HI", kind, number) + body


def write_texts(directory: Path, header: str) -> list[tuple[int, str | None]]:
    """Write a trace of three packets, each without room after its last record, and return ids and texts."""
    clock = ClockClass(name=lttng.CLOCK_NAME, uid="e0617b4f-30f7-4920-94c9-f1e0b1aacef2")
    streams = (
        StreamClass(
            packet_context=lttng.PACKET_CONTEXT, event_header=HEADERS[header], clock=lttng.CLOCK_NAME, events=EVENTS
        ),
    )
    trace = TraceClass(uuid=UUID_, packet_header=lttng.PACKET_HEADER, clocks=(clock,), streams=streams)
    (directory / "metadata").write_bytes(packetize(write_tsdl(trace), UUID_))
    chance = random.Random(1)
    records = [record(chance, number) for number in range(COUNT)]
    data = b""
    for sequence, (first, end) in enumerate(((0, 1000), (1000, 1003), (1003, COUNT))):
        body = b"".join(bytes_ for _, _, bytes_ in records[first:end])
        size = (lttng.PacketHeader.SIZE + len(body)) * 8
        packet = lttng.PacketHeader(
            uuid=UUID_,
            stream_id=0,
            stream_instance_id=0,
            timestamp_begin=first,
            timestamp_end=end,
            content_size=size,
            packet_size=size,
            packet_seq_num=sequence,
            events_discarded=0,
            cpu_id=0,
        )
        data += packet.pack() + body
    (directory / "channel0_0").write_bytes(data)
    return [(kind, text) for kind, text, _ in records]


@pytest.mark.parametrize("header", HEADERS)
def test_texts_are_read_as_by_the_twin(tmp_path: Path, header: str) -> None:
    written = write_texts(tmp_path, header)
    trace = boxtrace.open(tmp_path)
    assert assert_twins_agree(trace) == COUNT
    [tables] = trace.batches(trace.event_names())
    for kind, event in enumerate(EVENTS):
        table = pyarrow.table(tables[event.name])
        expected = [number for number, (other, _) in enumerate(written) if other == kind]
        assert table["timestamp"].to_pylist() == expected
        if kind != 2:
            assert table["a"].to_pylist() == expected
        if kind != 4:
            assert table["text"].to_pylist() == [written[number][1] for number in expected]
    assert set(pyarrow.table(tables["between"])["b"].to_pylist()) == {0x0605}
    text = b"".join(text_pieces(trace, utc=True)).decode("utf-8", "surrogateescape")
    assert text == "".join(TextView(utc=True).lines(trace.events()))


@pytest.mark.parametrize("header", HEADERS)
def test_texts_of_some_columns_and_times(tmp_path: Path, header: str) -> None:
    written = write_texts(tmp_path, header)
    trace = boxtrace.open(tmp_path)
    between = [number for number, (kind, _) in enumerate(written) if kind == 0]
    table = pyarrow.table(trace.table("between", columns=["a", "b"]))
    assert table["a"].to_pylist() == between and table["b"].to_pylist() == [0x0605] * len(between)
    table = pyarrow.table(trace.table("between", columns=["text"], begin=Nanoseconds(990), end=Nanoseconds(1500)))
    assert table["text"].to_pylist() == [written[number][1] for number in between if 990 <= number <= 1500]
    assert len(trace.table("last", begin=Nanoseconds(5), end=Nanoseconds(4))) == 0


@pytest.mark.parametrize("header", HEADERS)
def test_a_text_without_end_is_where_reading_stops(tmp_path: Path, header: str) -> None:
    written = write_texts(tmp_path, header)
    path = tmp_path / "channel0_0"
    data = bytearray(path.read_bytes())
    # Of the last packet: no NUL after the middle.
    half = len(data) - len(data) // 4
    data[half:] = bytes(byte or 0x41 for byte in data[half:])
    path.write_bytes(data)
    trace = boxtrace.open(tmp_path)
    read = 0
    with pytest.raises(TraceFormatError):
        for tables in trace.batches(trace.event_names()):
            read += sum(len(table) for table in tables.values())
    records = 0
    with pytest.raises(TraceFormatError):
        for _ in trace.streams[0].records():
            records += 1
    assert 1003 < read == records < len(written)
