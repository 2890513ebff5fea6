"""A trace with every kind of field that filters can name, and expressions that name them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from boxtrace.ctf.fields import (
    BitArrayField,
    Encoding,
    FieldLocation,
    FloatField,
    IntegerField,
    Member,
    OptionField,
    Role,
    Scope,
    SequenceField,
    StaticStringField,
    StructField,
)
from boxtrace.ctf.json_writer import write_json
from boxtrace.ctf.model import EventClass, StreamClass, TraceClass
from boxtrace.ctf.repack import StreamWriter
from support.filter_events import EVENT, I32, PAYLOAD, STREAM, event_record, struct

__all__ = ["EXPRESSIONS", "write_filter_trace"]

FIRST, SECOND = (FieldLocation(Scope.EVENT_PAYLOAD, (name,)) for name in ("length", "state"))
MEMBERS = (
    *(member for member in EVENT.fields.members if member.name not in ("wide", "maybe", "either")),  # type: ignore[union-attr]
    Member("maybe", OptionField(selector=FIRST, field=I32, ranges=((1, 2),))),
    Member("pairs", SequenceField(element=struct(x=I32, name=StaticStringField(length=4)), length=FIRST)),
    Member("box", OptionField(selector=SECOND, field=struct(empty=StructField(), y=I32), ranges=((3, 3),))),
    Member("half", FloatField(size=32)),
    Member("bits", BitArrayField(size=5)),
    Member("wild", StaticStringField(length=8, encoding=Encoding.UTF_16LE)),
    Member("tenth", FloatField(size=16)),
    Member("wide_ratio", FloatField(size=128)),
)
SAMPLE = EventClass(id=0, name="sample", fields=StructField(members=MEMBERS))
BITS = IntegerField(size=64)
PACKET = struct(
    size=replace(BITS, roles=(Role.PACKET_SIZE,)),
    content=replace(BITS, roles=(Role.CONTENT_SIZE,)),
    cpu_id=IntegerField(size=32),
    place=StaticStringField(length=4),
    load=FloatField(size=64),
    has=IntegerField(size=8),
    there=OptionField(
        selector=FieldLocation(Scope.PACKET_CONTEXT, ("has",)), field=IntegerField(size=32), ranges=((1, 1),)
    ),
)
CLASS = StreamClass(packet_context=PACKET, event_context=STREAM.event_context, events=(SAMPLE,))
EXPRESSIONS = [
    "fd == -1", "fd > 5 || tiny < 0", "flags == 0x8000000000000005", "flags < 0", "-fd == 1", "~fd == 0", "!fd",
    "state == 3", "yes", "!yes", "yes == 1", "ratio > 1", "ratio == 1.5", "-ratio < half", "half == 0.5", "fd < ratio",
    "ratio", '"nginx" == comm', 'comm == "ng*x"', 'comm != "*"', 'filename < "/f"', 'filename == "*\u00e9*"',
    "numbers[0] == 10", "numbers[1] == 11", "numbers[1] != 11", "!(numbers[1] == 11)", "three[2] == 3",
    "inner.x == 7 && inner.deep.y == 8", "maybe == 4", "maybe != 4", "!(maybe == 4)", "pairs[1].x == 2",
    'pairs[0].name == "p0"', "box.y == 6", "!box.y", "bits & 3", "$ctx.tid == 42", '$ctx.procname == "a\\*b"',
    "$ctx.cpu_id == 1", "$ctx.cpu_id << 3 > 8", "$app.shop:order == 9", "1 << tiny == 2", "1 << fd == 2 || 1",
    'fd == 1 || comm == "bash"', "fd & 1 && ratio < 2 && flags", "~0", "0",
    'wild == "\u00e9*"', 'wild == "a" || fd == 3', 'wild < "b"', '$ctx.place == "here" && fd < 0', '$ctx.place != "h*"',
    "tenth > 0.5", "tenth == 1",
    "wide_ratio < 1", "$ctx.load > 0.25 && $ctx.load < 1", "$ctx.there == 3", "!$ctx.there",
]  # fmt: skip


def write_filter_trace(path: Path) -> Path:
    """Write 24 events, each in its own packet, and return the directory, which is made."""
    path.mkdir(parents=True)
    trace = TraceClass(streams=(CLASS,))
    (path / "metadata").write_text(write_json(trace))
    known = {name: PAYLOAD[name] for name in PAYLOAD if name not in ("wide", "maybe", "either")}
    with (path / "stream").open("wb") as file:
        writer = StreamWriter(file, trace, CLASS)
        for number in range(24):
            length = number % 4
            payload = {
                **known,
                "fd": number % 5 - 1,
                "tiny": number % 7 - 3,
                "flags": (1 << 63) + 5 if number % 2 else number,
                "state": 3 if number % 3 else 4,
                "yes": number % 2 == 0,
                "ratio": number / 2 - 1,
                "comm": "nginx" if number % 4 else "bash",
                "length": length,
                "numbers": [10 + at for at in range(length)],
                "maybe": number % 8 if length in (1, 2) else None,
                "pairs": [{"x": number - 7 + at, "name": f"p{number % 2}"} for at in range(length)],
                "box": {"empty": {}, "y": number % 5 + 3} if number % 3 else None,
                "half": number % 3 / 2,
                "bits": number,
                "wild": "\u00e9\u4e2d" if number % 2 else "a",
                "tenth": number % 4 / 2,
                "wide_ratio": number / 16,
            }
            context = {"size": 0, "content": 0, "cpu_id": number % 6, "place": "here" if number % 3 else "no"}
            context |= {"load": number / 8, "has": number % 2, "there": number % 5 if number % 2 else None}
            common = {"pid_ns": 4026532572, "tid": 40 + number % 4, "procname": "a*b", "_app_shop_order": number}
            writer.write(event_record(SAMPLE, CLASS, payload=payload, common=common, packet=context))
        writer.close()
    return path
