"""The kernel trace that LTTng 2.13 recorded, as it is read and shown."""

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from boxtrace.errors import TraceFormatError
from boxtrace.trace import Trace, open_trace
from boxtrace.view.text import TextView

TRACE = Path(__file__).parents[1] / "data" / "lttng-kernel-trace"
TEXT_SHA256 = "b2c710f45e14bcf29412025223cde059de88077cbb87f2f803e5f4e81b632a89"


@pytest.fixture(scope="module")
def trace() -> Trace:
    return open_trace(TRACE)


def test_events_of_each_type(trace: Trace) -> None:
    lines = (TRACE / "event-counts.txt").read_text().split("\n")
    expected = {name: int(count) for name, count in (line.split() for line in lines if line)}
    assert Counter(event.name for event in trace.events()) == expected


def test_text(trace: Trace) -> None:
    digest = hashlib.sha256()
    for line in TextView(utc=True).lines(trace.events()):
        digest.update(line.encode("utf-8", "surrogateescape"))
    assert digest.hexdigest() == TEXT_SHA256


def test_time_order_and_range(trace: Trace) -> None:
    times = [event.timestamp or 0 for event in trace.events()]
    assert times == sorted(times)
    begin, end = times[1000], times[2000]
    part = [event.timestamp for event in trace.events(begin=begin, end=end)]
    assert part == [time for time in times if begin <= time <= end]


def test_container_contexts(trace: Trace) -> None:
    spaces = Counter(event["pid_ns"] for event in trace.events())
    assert (spaces[4026532148], spaces[4026532205], spaces[4026532258]) == (2098, 6233, 128)


def test_event_is_a_mapping(trace: Trace) -> None:
    event = next(trace.events(where=lambda event: event.name == "sched_process_fork"))
    assert event["vtids"] == [183]
    assert event["cpu_id"] == 0
    assert event["procname"] == "work.sh"
    assert set(event.payload) < set(event)
    assert dict(event)["child_tid"] == event.payload["child_tid"]
    with pytest.raises(KeyError):
        event["nothing"]


def damaged_copy(directory: Path) -> Path:
    kernel = directory / "kernel"
    kernel.mkdir()
    for name in ("metadata", "ch_0", "ch_1"):
        (kernel / name).write_bytes((TRACE / "kernel" / name).read_bytes())
    return kernel / "ch_0"


def test_cut_off_stream_is_read_up_to_its_end(tmp_path: Path) -> None:
    whole = sum(1 for _ in open_trace(TRACE).events())
    stream = damaged_copy(tmp_path)
    with stream.open("r+b") as file:
        file.truncate(600_000)
    read = 0
    with pytest.raises(TraceFormatError, match="bits expected") as caught:
        for _ in open_trace(tmp_path).events():
            read += 1
    assert whole / 2 < read < whole
    assert caught.value.path == str(stream)
    assert caught.value.offset is not None and 599_000 < caught.value.offset <= 600_000


def test_corrupt_packet_keeps_what_is_before(tmp_path: Path) -> None:
    stream = damaged_copy(tmp_path)
    with stream.open("r+b") as file:
        file.seek(1048576)
        file.write(b"garbage")
    read = 0
    with pytest.raises(TraceFormatError, match="not a packet: magic") as caught:
        for _ in open_trace(tmp_path).events():
            read += 1
    assert read > 20_000
    assert (caught.value.offset, caught.value.field) == (1048576, "magic")


def test_parts_of_a_rotated_trace_are_one(tmp_path: Path) -> None:
    cut = 1048576  # the first of two packets of ch_0
    data = (TRACE / "kernel" / "ch_0").read_bytes()
    for name, part in (("20261123T1-2", data[:cut]), ("20261123T2-3", data[cut:])):
        kernel = tmp_path / "archives" / name / "kernel"
        kernel.mkdir(parents=True)
        (kernel / "metadata").write_bytes((TRACE / "kernel" / "metadata").read_bytes())
        (kernel / "ch_0").write_bytes(part)
    trace = open_trace(tmp_path)
    assert [len(stream.packets) for stream in trace.streams] == [2]
    whole = [event.timestamp for event in open_trace(TRACE).events(where=lambda event: event["cpu_id"] == 0)]
    assert [event.timestamp for event in trace.events(where=lambda event: event["cpu_id"] == 0)] == whole
    assert len(trace.table("sched_switch")) > 100
