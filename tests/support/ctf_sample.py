"""A small trace made by hand, for tests of writers and readers."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from boxtrace.ctf import lttng
from boxtrace.ctf.fields import (
    EnumMapping,
    FieldLocation,
    IntegerField,
    Member,
    Scope,
    SequenceField,
    StaticStringField,
    StringField,
    StructField,
)
from boxtrace.ctf.index import INDEX_HEADER, IndexEntry
from boxtrace.ctf.model import ClockClass, EventClass, StreamClass, TraceClass
from boxtrace.ctf.tsdl_writer import packetize, write_tsdl

UUID_ = UUID("34f8a151-19a9-4d66-a7c7-cc3490b2c119")
I32 = IntegerField(size=32, signed=True)
FORK = EventClass(
    id=0,
    name="sched_process_fork",
    fields=StructField(
        members=(
            Member("comm", StaticStringField(length=16)),
            Member("_vtids_length", IntegerField(size=8)),
            Member("vtids", SequenceField(element=I32, length=FieldLocation(Scope.EVENT_PAYLOAD, ("_vtids_length",)))),
            Member(
                "state",
                IntegerField(size=8, mappings=(EnumMapping("A", ((0, 0), (3, 5))), EnumMapping("b c", ((7, 9),)))),
            ),
            Member("filename", StringField()),
        )
    ),
)
TRACE = TraceClass(
    uuid=UUID_,
    environment=lttng.kernel_environment(
        hostname="host",
        kernel_release="6.1.0",
        kernel_version='#1 "quoted" \\',
        session_name="sample",
        created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    ),
    packet_header=lttng.PACKET_HEADER,
    clocks=(
        ClockClass(
            name=lttng.CLOCK_NAME, uid="e0617b4f-30f7-4920-94c9-f1e0b1aacef2", offset_cycles=1_000_000_000_000_000_000
        ),
    ),
    streams=(
        StreamClass(
            packet_context=lttng.PACKET_CONTEXT,
            event_header=lttng.EVENT_HEADER_LARGE,
            event_context=StructField(members=(Member("pid", I32),)),
            clock=lttng.CLOCK_NAME,
            events=(FORK, EventClass(id=1, name="nothing")),
        ),
    ),
)
RECORDS = (
    struct.pack("<HIi16sBii", 0, 5, 42, b"comm", 2, 10, 11) + b"\x04hello\0",
    struct.pack("<HIQi", 0xFFFF, 1, 0x1_0000_0006, 43),
)
TEXT = """\
[01:46:40.000000005] (+?.?????????) host sched_process_fork: { cpu_id = 0 }, { pid = 42 }, \
{ comm = "comm", _vtids_length = 2, vtids = [ [0] = 10, [1] = 11 ], state = ( "A" : container = 4 ), \
filename = "hello" }
[01:46:44.294967302] (+4.294967297) host nothing: { cpu_id = 0 }, { pid = 43 }, { }
"""


def write_sample(directory: Path) -> Path:
    """Write the trace below ``directory`` as the recorder would, and return ``directory``."""
    kernel = directory / "kernel"
    (kernel / "index").mkdir(parents=True)
    (kernel / "metadata").write_bytes(packetize(write_tsdl(TRACE), UUID_))
    body = b"".join(RECORDS)
    content = (lttng.PacketHeader.SIZE + len(body)) * 8
    header = lttng.PacketHeader(
        uuid=UUID_,
        stream_id=0,
        stream_instance_id=0,
        timestamp_begin=5,
        timestamp_end=0x1_0000_0006,
        content_size=content,
        packet_size=4096 * 8,
        packet_seq_num=0,
        events_discarded=0,
        cpu_id=0,
    ).pack()
    (kernel / "channel0_0").write_bytes((header + body).ljust(4096, b"\0"))
    entry = IndexEntry(0, 4096 * 8, content, 5, 0x1_0000_0006, 0, 0, 0, 0)
    (kernel / "index" / "channel0_0.idx").write_bytes(INDEX_HEADER + entry.pack())
    return directory
