"""The two decoders on one trace: what the native one gives must be what the one in Python does."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from boxtrace.ctf.decode import plain
from boxtrace.ctf.packet import EventRecord
from boxtrace.trace import Event, Trace


def fields(record: EventRecord) -> dict[str, Any]:
    """Return the fields of a record of the decoder in Python, by name, as an event has them."""
    parts: list[Mapping[str, Any] | None] = [record.packet.context, record.common, record.specific, record.payload]
    return plain({name: value for part in parts for name, value in (part or {}).items()})


def same(one: Any, other: Any) -> bool:
    """Compare values, where not a number is equal to itself."""
    return one == other or (one != one and other != other)


def assert_twins_agree(trace: Trace) -> int:
    """Compare every event and every row of every table with the records of the decoder in Python; return how many."""
    given: dict[int, list[Event]] = defaultdict(list)
    for event in trace.events():
        given[id(event.stream)].append(event)
    counts: dict[str, int] = defaultdict(int)
    for stream in trace.streams:
        records = list(stream.records())
        events = given[id(stream)]
        assert len(events) == len(records)
        for event, record in zip(events, records, strict=True):
            assert event.name == record.event.name
            assert event.timestamp == stream.to_ns(record.cycles)
            expected = fields(record)
            assert set(event) == set(expected)
            for name, value in expected.items():
                assert same(event[name], value), (event, name)
            counts[event.name] += 1
    rows: dict[str, int] = defaultdict(int)
    for tables in trace.batches(trace.event_names()):
        for name, table in tables.items():
            rows[name] += len(table)
    assert {name: count for name, count in rows.items() if count} == counts
    return sum(counts.values())
