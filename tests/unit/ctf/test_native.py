"""The native decoder against the decoder in Python, on generated traces and on a real one."""

import re
import struct
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import boxtrace
from boxtrace.ctf import plan
from boxtrace.ctf.encode import BitWriter, compile_encoder
from boxtrace.ctf.fields import (
    ArrayField,
    ByteOrder,
    FieldClass,
    IntegerField,
    Member,
    OptionField,
    Role,
    SequenceField,
    StructField,
    VariantField,
)
from boxtrace.ctf.json_writer import write_json
from boxtrace.ctf.model import ClockClass, EventClass, StreamClass, TraceClass
from boxtrace.ctf.packet import PythonDecoder
from boxtrace.ctf.text_plan import TextCode
from boxtrace.errors import SelectionError, TraceFormatError
from boxtrace.trace.stream import Packet, Stream, StreamFile, read_packets
from boxtrace.trace.table import TableSources, read_tables
from boxtrace.view.fast_text import text_pieces
from boxtrace.view.text import TextView
from support.ctf_random import structs, timestamp, values

polars = pytest.importorskip("polars", reason="polars is not installed")
pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
KERNEL = Path(__file__).parents[2] / "data" / "lttng-kernel-trace"


def is_empty(field: FieldClass) -> bool:
    """Whether a field has no column, because it can hold no value."""
    match field:
        case StructField():
            return all(is_empty(member.field) for member in field.members)
        case ArrayField() | SequenceField():
            return is_empty(field.element)
        case VariantField():
            return all(is_empty(option.field) for option in field.options)
        case _:
            return False


def as_arrow(field: FieldClass, value: Any) -> Any:
    """A decoded value as pyarrow shows the same."""
    match field:
        case StructField():
            members = [member for member in field.members if not is_empty(member.field)]
            return {member.name: as_arrow(member.field, value[member.name]) for member in members}
        case ArrayField() | SequenceField():
            return [as_arrow(field.element, item) for item in value]
        case VariantField():
            return {
                option.name: as_arrow(option.field, value.value) if index == value.option else None
                for index, option in enumerate(field.options)
                if not is_empty(option.field)
            }
        case OptionField():
            return None if value is None else as_arrow(field.field, value)
        case _:
            return (
                value.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if isinstance(value, str) else value
            )


def test_enums_are_those_of_the_native_header() -> None:
    header = (Path(boxtrace.__file__).parents[2] / "native" / "core" / "ctf_plan.hpp").read_text()
    for native, ours in (("ColumnKind", plan.ColumnKind), ("OpCode", plan.OpCode), ("Role", plan.PlanRole)):
        found = re.search(rf"enum class {native} : int64_t {{(.*?)}}", header, re.DOTALL)
        assert found is not None
        names = [name.strip().lower() for name in found.group(1).split(",")]
        assert names == [item.name.replace("_", "").lower() for item in ours]
    text = (Path(boxtrace.__file__).parents[2] / "native" / "core" / "ctf_text.hpp").read_text()
    found = re.search(r"enum class TextCode : int64_t {(.*?)}", text, re.DOTALL)
    assert found is not None
    assert [name.strip().upper() for name in found.group(1).split(",")] == [item.name for item in TextCode]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data(), st.sampled_from(list(ByteOrder)))
def test_both_decoders_give_what_was_encoded(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, order: ByteOrder
) -> None:
    payload = data.draw(structs(order, (), 2))
    header = StructField(members=(Member("t", timestamp(order)),))
    event = EventClass(id=0, name="e", fields=payload)
    stream_class = StreamClass(event_header=header, clock="c", events=(event,))
    trace = TraceClass(byte_order=order, clocks=(ClockClass(name="c"),), streams=(stream_class,))
    rows = data.draw(st.lists(values(payload), min_size=1, max_size=4))
    out = BitWriter()
    for number, row in enumerate(rows):
        compile_encoder(header)(out, {"t": number})
        compile_encoder(payload)(out, row)
    path = tmp_path_factory.mktemp("trace") / "stream"
    path.write_bytes(bytes(out.data))
    decoder = PythonDecoder(trace)
    file = StreamFile(path, trace, decoder)
    packets, failure = read_packets(file)
    assert failure is None and len(packets) == 1
    packets[0] = Packet(packets[0].file, replace(packets[0].head, content=out.pos))
    stream = Stream(stream_class, None, packets, None)
    records = list(stream.records())
    assert [record.payload for record in records] == rows
    tables = list(read_tables(TableSources([stream], ["e"], None)))
    assert len(tables) == 1
    found = pyarrow.table(tables[0]["e"])
    found.validate(full=True)
    assert polars.DataFrame(found).height == len(rows)
    native = found.to_pylist()
    for row in native:
        del row["timestamp"], row["stream"]
        row.update({name.removeprefix("payload."): row[name] for name in row})
    assert native == [as_arrow(payload, row) for row in rows]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data(), st.sampled_from(list(ByteOrder)))
def test_native_text_is_that_of_the_python_view(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, order: ByteOrder
) -> None:
    payload = data.draw(structs(order, (), 2))
    header = StructField(members=(Member("t", timestamp(order)),))
    sizes = IntegerField(size=64, byte_order=order, roles=(Role.PACKET_SIZE,))
    context = StructField(
        members=(Member("size", sizes), Member("content", replace(sizes, roles=(Role.CONTENT_SIZE,))))
    )
    event = EventClass(id=0, name="e", fields=payload)
    stream = StreamClass(packet_context=context, event_header=header, clock="c", events=(event,))
    trace = TraceClass(byte_order=order, clocks=(ClockClass(name="c"),), streams=(stream,))
    rows = data.draw(st.lists(values(payload), min_size=1, max_size=3))
    content = size = 0
    for _ in range(2):  # the first time to learn the sizes
        out = BitWriter()
        compile_encoder(context)(out, {"size": size, "content": content})
        for number, row in enumerate(rows):
            compile_encoder(header)(out, {"t": number * 1_000_000_007})
            compile_encoder(payload)(out, row)
        content, size = out.pos, (out.pos + 7) // 8 * 8
    path = tmp_path_factory.mktemp("trace")
    (path / "metadata").write_text(write_json(trace))
    (path / "stream").write_bytes(out.data)
    opened = boxtrace.open(path)
    try:
        pieces = text_pieces(opened, utc=True)
    except NotImplementedError:
        return  # a field without column: shown by the Python view only
    expected = "".join(TextView(utc=True).lines(opened.events()))
    assert b"".join(pieces).decode("utf-8", "surrogateescape") == expected


def test_kernel_trace() -> None:
    trace = boxtrace.open(KERNEL)
    expected = defaultdict(list)
    for event in trace.events():
        expected[event.name].append(event)
    for tables in trace.batches(list(expected)):
        for name, events in expected.items():
            table = pyarrow.table(tables[name])
            table.validate(full=True)
            rows = sorted(table.to_pylist(), key=lambda row: (row["timestamp"], row["stream"]))
            assert len(rows) == len(events)
            for row, event in zip(rows, events, strict=True):
                assert row["timestamp"] == event.timestamp
                fields = event.record.event.fields
                assert fields is not None and event.record.payload is not None
                for member in (member for member in fields.members if not is_empty(member.field)):
                    assert row[member.name] == as_arrow(member.field, event.record.payload[member.name])
                assert row["procname"] == event.context["procname"]


def test_chosen_columns_and_times() -> None:
    trace = boxtrace.open(KERNEL)
    whole = pyarrow.table(trace.table("sched_switch", columns=["timestamp", "next_tid"]))
    assert whole.column_names == ["timestamp", "next_tid"]
    times = sorted(whole["timestamp"].to_pylist())
    assert len(times) == 1090
    part = trace.table("sched_switch", columns=["timestamp"], begin=times[100], end=times[200])
    assert sorted(pyarrow.table(part)["timestamp"].to_pylist()) == [t for t in times if times[100] <= t <= times[200]]
    assert len(trace.table("sched_switch", begin=times[-1] + 1)) == 0


def test_what_is_not_there() -> None:
    trace = boxtrace.open(KERNEL)
    with pytest.raises(SelectionError, match="no event 'nothing'"):
        trace.table("nothing")
    with pytest.raises(SelectionError, match="no column 'nothing'"):
        trace.table("sched_switch", columns=["nothing"])


def test_batches_give_what_comes_before_damage(tmp_path: Path) -> None:
    kernel = tmp_path / "kernel"
    kernel.mkdir()
    (kernel / "metadata").write_bytes((KERNEL / "kernel" / "metadata").read_bytes())
    data = bytearray((KERNEL / "kernel" / "ch_0").read_bytes())
    data[500_000:500_032] = b"\xee" * 32
    (kernel / "ch_0").write_bytes(data)
    trace = boxtrace.open(tmp_path)
    read = 0
    with pytest.raises(TraceFormatError) as caught:
        for tables in trace.batches(["sched_switch", "syscall_entry_openat"]):
            read += len(tables["sched_switch"])
    assert read > 100
    assert caught.value.offset is not None and abs(caught.value.offset - 500_000) < 200
    with pytest.raises(TraceFormatError):
        trace.table("sched_switch")


def test_a_packet_larger_than_a_batch(tmp_path: Path) -> None:
    number = StructField(members=(Member("n", IntegerField(size=32, byte_order=ByteOrder.LITTLE)),))
    header = StructField(
        members=(Member("id", IntegerField(size=8, byte_order=ByteOrder.LITTLE, roles=(Role.EVENT_ID,))),)
    )
    classes = tuple(EventClass(id=kind, name=f"e{kind}", fields=number) for kind in range(3))
    (tmp_path / "metadata").write_text(
        write_json(TraceClass(streams=(StreamClass(event_header=header, events=classes),)))
    )
    count = 1_000_000
    # The last kind is met late, and few times.
    kinds = [2 if n > count - 5 else n % 2 for n in range(count)]
    (tmp_path / "stream").write_bytes(b"".join(struct.pack("<BI", kind, n) for n, kind in enumerate(kinds)))
    trace = boxtrace.open(tmp_path)
    batches = list(trace.batches(trace.event_names()))
    assert len(batches) > 1 or len(batches[0]["e0"].pieces()) > 1
    for kind in range(3):
        found = [n for part in batches for n in pyarrow.table(part[f"e{kind}"])["n"].to_pylist()]
        assert found == [n for n in range(count) if kinds[n] == kind]
    assert sum(event["n"] for event in trace.events()) == sum(range(count))
    lines = b"".join(text_pieces(trace)).splitlines()
    assert len(lines) == count
    assert lines[-1].endswith(f"n = {count - 1} }}".encode())
