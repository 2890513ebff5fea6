"""An event class with every kind of field that filters know, and records of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from boxtrace.ctf.fields import (
    ArrayField,
    BlobField,
    BoolField,
    EnumMapping,
    FieldLocation,
    FloatField,
    IntegerField,
    Member,
    OptionField,
    Scope,
    SequenceField,
    StaticStringField,
    StringField,
    StructField,
    VariantField,
    VariantOption,
)
from boxtrace.ctf.model import EventClass, StreamClass
from boxtrace.ctf.packet import EventRecord, PacketHead

LENGTH = FieldLocation(Scope.EVENT_PAYLOAD, ("length",))
I32 = IntegerField(size=32, signed=True)


def struct(**members: Any) -> StructField:
    return StructField(members=tuple(Member(name, field) for name, field in members.items()))


EVENT = EventClass(
    id=1,
    name="sample",
    fields=struct(
        fd=I32,
        tiny=IntegerField(size=8, signed=True),
        flags=IntegerField(size=64),
        state=IntegerField(size=8, mappings=(EnumMapping("running", ((3, 3),)),)),
        yes=BoolField(size=8),
        ratio=FloatField(size=64),
        comm=StaticStringField(length=16),
        filename=StringField(),
        length=IntegerField(size=8),
        numbers=SequenceField(element=I32, length=LENGTH),
        three=ArrayField(element=I32, length=3),
        inner=struct(x=I32, deep=struct(y=I32)),
        wide=IntegerField(size=128),
        raw=BlobField(length=4),
        maybe=OptionField(selector=LENGTH, field=I32),
        either=VariantField(selector=LENGTH, options=(VariantOption("one", I32, ((0, 9),)),)),
    ),
    context=struct(own=I32),
)
STREAM = StreamClass(
    packet_context=struct(cpu_id=IntegerField(size=32)),
    event_context=struct(
        pid_ns=IntegerField(size=32),
        tid=I32,
        procname=StaticStringField(length=16),
        _app_shop_order=I32,
    ),
    events=(EVENT, EventClass(id=2, name="nothing")),
)
PAYLOAD: Mapping[str, Any] = {
    "fd": -1,
    "tiny": -3,
    "flags": (1 << 63) + 5,
    "state": 3,
    "yes": True,
    "ratio": 1.5,
    "comm": "nginx",
    "filename": "/etc/ssl/é\udcff",
    "length": 2,
    "numbers": [10, 11],
    "three": [1, 2, 3],
    "inner": {"x": 7, "deep": {"y": 8}},
    "wide": 1 << 100,
    "raw": b"abcd",
    "maybe": None,
    "either": 3,
}
COMMON = {"pid_ns": 4026532572, "tid": 42, "procname": "a*b", "_app_shop_order": 9}


def record(event: EventClass = EVENT, stream: StreamClass = STREAM, **payload: Any) -> EventRecord:
    """A record with some of the payload's values changed."""
    values = {**PAYLOAD, **payload}
    return event_record(event, stream, payload=values, common=COMMON, specific={"own": 5}, packet={"cpu_id": 1})


def event_record(
    event: EventClass,
    stream: StreamClass,
    *,
    payload: Mapping[str, Any],
    common: Mapping[str, Any],
    specific: Mapping[str, Any] | None = None,
    packet: Mapping[str, Any] | None = None,
) -> EventRecord:
    """A record in a packet of which nothing but its context matters."""
    head = PacketHead(
        offset=0,
        size=0,
        content=0,
        body=0,
        stream=stream,
        stream_id=0,
        begin=None,
        end=None,
        discarded=None,
        sequence=None,
        clock=0,
        header={},
        context=packet or {},
        slots={},
    )
    return EventRecord(event=event, cycles=0, packet=head, header={}, common=common, specific=specific, payload=payload)
