"""What the user domain's part of a trace looks like: the environment, the contexts of a packet, the event header."""

from __future__ import annotations

import struct
from datetime import datetime
from typing import Final
from uuid import UUID

from boxtrace.ctf.fields import IntegerField, Member, StaticStringField, StructField
from boxtrace.ctf.lttng import CLOCK_NAME, EVENT_HEADER_LARGE, PACKET_CONTEXT, PACKET_HEADER, PACKET_MAGIC
from boxtrace.ctf.model import ClockClass, StreamClass, TraceClass
from boxtrace.userspace.identity import Thread

__all__ = ["PACKET_SIZE", "pack_packet", "user_trace_class"]

_I32 = IntegerField(size=32, signed=True)
_U32 = IntegerField(size=32)
_U64 = IntegerField(size=64)
_IDS = ("vuid", "veuid", "vsuid", "vgid", "vegid", "vsgid")
_NAMESPACES = ("cgroup_ns", "ipc_ns", "mnt_ns", "net_ns", "pid_ns", "time_ns", "user_ns", "uts_ns")
_CONTEXTS = (
    Member("procname", StaticStringField(length=16)),
    *(Member(name, _I32) for name in ("pid", "tid", "ppid", "vpid", "vtid")),
    Member("pthread_id", _U64),
    *(Member(name, _U32) for name in _IDS),
    *(Member(name, _U64) for name in _NAMESPACES),
)
"""Constant for a thread, so they stand once per packet. Names and types are LTTng's; it has no pid, tid and ppid."""

# A stream is a thread's here, not a CPU's: that stands in each event.
_PACKET_CONTEXT = StructField(
    members=(*(member for member in PACKET_CONTEXT.members if member.name != "cpu_id"), *_CONTEXTS)
)
_EVENT_CONTEXT = StructField(members=(Member("cpu_id", _U32),))
_FORMAT = struct.Struct("<I16sIQ" + "QQQQQQ" + "16s5iQ6I8Q")

PACKET_SIZE: Final = _FORMAT.size
"""Bytes of a packet before its first event."""


def user_trace_class(
    *, name: str, hostname: str, uuid: UUID, clock: ClockClass, created: datetime, version: str
) -> TraceClass:
    """Describe a trace of the user domain, without any event type yet."""
    environment: dict[str, int | str] = {
        "hostname": hostname,
        "domain": "ust",
        "tracer_name": "lttng-ust",
        "tracer_major": 2,
        "tracer_minor": 13,
        "tracer_buffering_scheme": "thread",
        "architecture_bit_width": struct.calcsize("P") * 8,
        "trace_name": name,
        "trace_creation_datetime": created.strftime("%Y%m%dT%H%M%S%z"),
        "boxtrace_version": version,
    }
    stream = StreamClass(
        id=0,
        packet_context=_PACKET_CONTEXT,
        event_header=EVENT_HEADER_LARGE,
        event_context=_EVENT_CONTEXT,
        clock=CLOCK_NAME,
    )
    return TraceClass(
        uuid=uuid, environment=environment, packet_header=PACKET_HEADER, clocks=(clock,), streams=(stream,)
    )


def pack_packet(
    uuid: UUID,
    *,
    stream: int,
    begin: int,
    end: int,
    size: int,
    sequence: int,
    discarded: int,
    thread: Thread,
    pthread_id: int,
) -> bytes:
    """Return what a packet begins with.

    :param begin: CLOCK_MONOTONIC of the first event.
    :param size: bytes of the whole packet, all of them content.
    :param discarded: events lost in this stream so far.
    """
    ids = (thread.pid, thread.tid, thread.ppid, thread.vpid, thread.vtid)
    spaces = thread.namespaces
    inums = (
        *(spaces.cgroup, spaces.ipc, spaces.mnt, spaces.net),
        *(spaces.pid, spaces.time, spaces.user, spaces.uts),
    )
    times = (begin, end, size * 8, size * 8, sequence, discarded & 0xFFFF_FFFF_FFFF_FFFF)
    header = (PACKET_MAGIC, uuid.bytes, 0, stream)
    return _FORMAT.pack(*header, *times, thread.name, *ids, pthread_id, *thread.ids, *inums)
