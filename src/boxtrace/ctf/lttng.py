"""LTTng's conventions for what CTF leaves open: packet header and context, event header, environment.

Readers that know LTTng kernel traces (Trace Compass, lttng-analyses) look for these names. Facts from lttng-modules
2.13 (``lttng-events.c``, metadata printing) and from traces that it wrote.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from boxtrace.ctf.fields import (
    ArrayField,
    EnumMapping,
    FieldLocation,
    IntegerField,
    Member,
    Role,
    Scope,
    StructField,
    VariantField,
    VariantOption,
)
from boxtrace.ctf.model import Environment

__all__ = [
    "CLOCK_NAME",
    "EVENT_HEADER_LARGE",
    "EXTENDED_EVENT_ID",
    "PACKET_CONTEXT",
    "PACKET_HEADER",
    "PACKET_MAGIC",
    "PacketHeader",
    "kernel_environment",
]

PACKET_MAGIC = 0xC1FC1FC1
CLOCK_NAME = "monotonic"
EXTENDED_EVENT_ID = 0xFFFF
"""Id in the large event header that says: the true id (32 bits) and a full time stamp (64 bits) follow."""


def _unsigned(size: int, *roles: Role, clock: str | None = None) -> IntegerField:
    return IntegerField(size=size, roles=roles, clock=clock)


PACKET_HEADER = StructField(
    members=(
        Member("magic", _unsigned(32, Role.PACKET_MAGIC)),
        Member("uuid", ArrayField(element=_unsigned(8), length=16, roles=(Role.METADATA_UUID,))),
        Member("stream_id", _unsigned(32, Role.STREAM_CLASS_ID)),
        Member("stream_instance_id", _unsigned(64, Role.STREAM_ID)),
    )
)
PACKET_CONTEXT = StructField(
    members=(
        Member("timestamp_begin", _unsigned(64, Role.TIMESTAMP, clock=CLOCK_NAME)),
        Member("timestamp_end", _unsigned(64, Role.TIMESTAMP_END, clock=CLOCK_NAME)),
        Member("content_size", _unsigned(64, Role.CONTENT_SIZE)),
        Member("packet_size", _unsigned(64, Role.PACKET_SIZE)),
        Member("packet_seq_num", _unsigned(64, Role.PACKET_SEQ_NUM)),
        Member("events_discarded", _unsigned(64, Role.EVENTS_DISCARDED)),
        Member("cpu_id", _unsigned(32)),
    )
)
_COMPACT = ((0, EXTENDED_EVENT_ID - 1),)
_EXTENDED = ((EXTENDED_EVENT_ID, EXTENDED_EVENT_ID),)
EVENT_HEADER_LARGE = StructField(
    align=8,
    members=(
        Member(
            "id",
            IntegerField(
                size=16,
                roles=(Role.EVENT_ID,),
                mappings=(EnumMapping("compact", _COMPACT), EnumMapping("extended", _EXTENDED)),
            ),
        ),
        Member(
            "v",
            VariantField(
                selector=FieldLocation(Scope.EVENT_HEADER, ("id",)),
                options=(
                    VariantOption(
                        "compact",
                        StructField(members=(Member("timestamp", _unsigned(32, Role.TIMESTAMP, clock=CLOCK_NAME)),)),
                        _COMPACT,
                    ),
                    VariantOption(
                        "extended",
                        StructField(
                            members=(
                                Member("id", _unsigned(32, Role.EVENT_ID)),
                                Member("timestamp", _unsigned(64, Role.TIMESTAMP, clock=CLOCK_NAME)),
                            )
                        ),
                        _EXTENDED,
                    ),
                ),
            ),
        ),
    ),
)
"""u16 id and the low 32 bits of the clock; or ``EXTENDED_EVENT_ID``, u32 id and the clock's 64 bits; not padded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketHeader:
    """What :data:`PACKET_HEADER` and :data:`PACKET_CONTEXT` hold for one packet, little-endian and not padded.

    Time stamps are clock cycles; ``content_size`` and ``packet_size`` are bits and count these bytes as well;
    ``events_discarded`` counts from the start of the stream.
    """

    SIZE: ClassVar[int] = 84
    """Bytes that :meth:`pack` gives."""
    _FORMAT: ClassVar[struct.Struct] = struct.Struct("<I16sIQQQQQQQI")

    uuid: UUID
    stream_id: int
    stream_instance_id: int
    timestamp_begin: int
    timestamp_end: int
    content_size: int
    packet_size: int
    packet_seq_num: int
    events_discarded: int
    cpu_id: int

    def pack(self) -> bytes:
        """Return the first bytes of the packet; the first event follows directly."""
        return self._FORMAT.pack(
            PACKET_MAGIC,
            self.uuid.bytes,
            self.stream_id,
            self.stream_instance_id,
            self.timestamp_begin,
            self.timestamp_end,
            self.content_size,
            self.packet_size,
            self.packet_seq_num,
            self.events_discarded & 0xFFFF_FFFF_FFFF_FFFF,
            self.cpu_id,
        )


def kernel_environment(
    *,
    hostname: str,
    kernel_release: str,
    kernel_version: str,
    session_name: str,
    created: datetime,
    tracer_name: str = "lttng-modules",
    tracer_version: tuple[int, int, int] = (2, 13, 0),
) -> Environment:
    """Return the environment by which readers recognise a kernel trace.

    Trace Compass picks the event layout (names of events and fields) by tracer name and version, and knows no other
    name than LTTng's for the layout that our events have: the default says which layout it is, not who wrote it.

    :param created: when the session was created, with its time zone.
    """
    return {
        "hostname": hostname,
        "domain": "kernel",
        "sysname": "Linux",
        "kernel_release": kernel_release,
        "kernel_version": kernel_version,
        "tracer_name": tracer_name,
        "tracer_major": tracer_version[0],
        "tracer_minor": tracer_version[1],
        "tracer_patchlevel": tracer_version[2],
        "trace_buffering_scheme": "global",
        "trace_name": session_name,
        "trace_creation_datetime": created.strftime("%Y%m%dT%H%M%S%z"),
    }
