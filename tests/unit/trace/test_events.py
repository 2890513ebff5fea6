"""Events decoded natively and lazily, against the records of the decoder in Python."""

import heapq
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import boxtrace
from boxtrace.ctf.decode import plain
from boxtrace.ctf.encode import BitWriter, compile_encoder
from boxtrace.ctf.fields import (
    BoolField,
    ByteOrder,
    IntegerField,
    Member,
    StaticStringField,
    StringField,
    StructField,
)
from boxtrace.ctf.model import ClockClass, EventClass, StreamClass, TraceClass
from boxtrace.ctf.packet import PythonDecoder
from boxtrace.errors import TraceFormatError
from boxtrace.filters import Filter
from boxtrace.trace.merge import merged_events
from boxtrace.trace.stream import Packet, Stream, StreamFile, read_packets
from support.ctf_random import structs, timestamp, values

KERNEL = Path(__file__).parents[2] / "data" / "lttng-kernel-trace"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data(), st.sampled_from(list(ByteOrder)))
def test_fields_are_those_that_were_encoded(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, order: ByteOrder
) -> None:
    payload = data.draw(structs(order, (), 2))
    # Names that the payload has, too: those of the payload come first.
    narrow = IntegerField(size=5, byte_order=order, signed=True, align=1)
    common = StructField(members=(Member("m0", narrow), Member("comm", StaticStringField(length=16))))
    specific = StructField(members=(Member("m1", StringField()), Member("flag", BoolField(size=8))))
    header = StructField(members=(Member("t", timestamp(order)),))
    event_class = EventClass(id=0, name="e", context=specific, fields=payload)
    stream_class = StreamClass(event_header=header, event_context=common, clock="c", events=(event_class,))
    trace = TraceClass(byte_order=order, clocks=(ClockClass(name="c"),), streams=(stream_class,))
    rows = data.draw(st.lists(st.tuples(values(common), values(specific), values(payload)), min_size=1, max_size=3))
    out = BitWriter()
    for number, row in enumerate(rows):
        for root, value in zip((header, common, specific, payload), ({"t": number}, *row), strict=True):
            compile_encoder(root)(out, value)
    path = tmp_path_factory.mktemp("trace") / "stream"
    path.write_bytes(bytes(out.data))
    packets, failure = read_packets(StreamFile(path, trace, PythonDecoder(trace)))
    assert failure is None
    packets[0] = Packet(packets[0].file, replace(packets[0].head, content=out.pos))
    stream = Stream(stream_class, None, packets, None)
    problems: list[TraceFormatError] = []
    events = [event for some in merged_events([stream], None, None, problems, {}) for event in some]
    assert not problems
    records = list(stream.records())
    assert [event.record for event in events] == records
    for event, row, record in zip(events, rows, records, strict=True):
        parts = [plain(part) for part in row]
        assert event.payload == parts[2]
        assert event.context == {**parts[0], **parts[1]}
        merged = {**parts[0], **parts[1], **parts[2]}
        assert dict(event) == merged
        assert {name: event[name] for name in merged} == merged
        view = event.view
        assert (view.event, view.packet) == (record.event, record.packet)
        for scope, expected in ((view.common, row[0]), (view.specific, row[1]), (view.payload, row[2])):
            assert {} if scope is None else dict(scope) == expected
        with pytest.raises(KeyError):
            event["no such field"]


def test_kernel_trace_is_merged_in_the_order_of_time() -> None:
    trace = boxtrace.open(KERNEL)
    heads = [
        [(stream.to_ns(record.cycles) or 0, number, index, record) for index, record in enumerate(stream.records())]
        for number, stream in enumerate(trace.streams)
    ]
    expected = list(heapq.merge(*heads))
    events = list(trace.events())
    assert [event.timestamp for event in events] == [time for time, _, _, _ in expected]
    for event, (_, number, _, record) in zip(events, expected, strict=True):
        assert event.stream is trace.streams[number]
        assert event.record == record
        fields = plain({**record.packet.context, **(record.common or {}), **(record.payload or {})})
        assert {name: event[name] for name in event} == fields


def test_times_and_filter_choose_events() -> None:
    trace = boxtrace.open(KERNEL)
    events = list(trace.events())
    begin, end = events[100].timestamp, events[-100].timestamp
    assert begin is not None and end is not None
    chosen = [event for event in events if event.timestamp is not None and begin <= event.timestamp <= end]
    assert [event.record for event in trace.events(begin=begin, end=end)] == [event.record for event in chosen]
    wanted = Filter("next_tid > 0 && next_comm == '*s*'".replace("'", '"'))
    found = list(trace.events(where=lambda event: wanted.matches(event.view)))
    assert found
    assert [event.record for event in found] == [event.record for event in events if wanted.matches(event.record)]
