"""Filters that the native core evaluates: the same events as by the evaluation in Python of what Python decoded."""

import re
from array import array
from pathlib import Path

import pytest

import boxtrace
from boxtrace.errors import FilterError
from boxtrace.filters import Filter
from boxtrace.filters.binding import EventScopes
from boxtrace.filters.columns import ColumnFilter, FilterCode, ValueType
from boxtrace.trace import Event, Trace
from boxtrace.view.fast_text import text_pieces
from boxtrace.view.text import TextView
from support.filter_expressions import EVENT as RANDOM
from support.filter_expressions import STREAM as RANDOM_STREAM
from support.filter_rows import ROWS
from support.filter_trace import EXPRESSIONS, write_filter_trace

KERNEL = Path(__file__).parents[2] / "data" / "lttng-kernel-trace"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return boxtrace.open(write_filter_trace(tmp_path_factory.mktemp("filter") / "sample"))


def by_python(trace: Trace, expression: str) -> list[tuple[int, int]]:
    """Where the records are that the evaluation in Python finds."""
    wanted = Filter(expression)
    return [place(event) for event in trace.events() if wanted.matches(event.record)]


def place(event: Event) -> tuple[int, int]:
    packet, position, _ = event._where()
    return packet.head.offset, position


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_kind_of_field(sample: Trace, expression: str) -> None:
    expected = by_python(sample, expression)
    assert [place(event) for event in sample.events(filter=expression)] == expected


def test_the_expressions_tell_events_apart(sample: Trace) -> None:
    counts = [len(by_python(sample, expression)) for expression in EXPRESSIONS]
    assert sum(0 < count < 24 for count in counts) > 35


@pytest.mark.parametrize(
    "expression", ["fd > 2", 'filename == "/etc*" || $ctx.tid > 1000', "prev_tid == 0", "$ctx.cpu_id == 1", "ret < 0"]
)
def test_text_and_events_of_a_real_trace(expression: str) -> None:
    trace = boxtrace.open(KERNEL)
    wanted = Filter(expression)
    expected = by_python(trace, expression)
    events = list(trace.events(filter=wanted))
    assert [place(event) for event in events] == expected
    assert 0 < len(expected) < sum(1 for _ in trace.events())
    lines = "".join(TextView(utc=True).lines(iter(events)))
    assert b"".join(text_pieces(trace, utc=True, matching=wanted)).decode() == lines


def test_together_with_times_and_other_tests() -> None:
    trace = boxtrace.open(KERNEL)
    times = [event.timestamp for event in trace.events(filter="fd >= 0")]
    begin, end = times[len(times) // 4], times[len(times) // 2]
    events = list(trace.events(filter="fd >= 0", begin=begin, end=end, where=lambda event: event["fd"] == 3))
    wanted = [event for event in trace.events(begin=begin, end=end) if event.get("fd") == 3]
    assert [place(event) for event in events] == [place(event) for event in wanted]
    assert events


def test_what_means_nothing_is_told_at_once() -> None:
    with pytest.raises(FilterError, match="has no field 'nope'"):
        boxtrace.open(KERNEL).events(filter="prev_tid == 0 && nope")


def test_the_codes_are_those_of_the_native_core() -> None:
    text = (Path(boxtrace.__file__).parents[2] / "native" / "core" / "ctf_filter.hpp").read_text()
    for ours in (FilterCode, ValueType):
        found = re.search(rf"enum class {ours.__name__} : int64_t {{(.*?)}}", text, re.DOTALL)
        assert found is not None
        names = [name.strip().lower() for name in found.group(1).split(",")]
        assert names == [item.name.replace("_", "").lower() for item in ours]


def test_the_native_core_refuses_what_contradicts_itself() -> None:
    native, plan = ROWS.decoder.known.native, ROWS.decoder.plan
    columns = ColumnFilter(plan.plan)
    columns.add_event(Filter("pair[1] == 4").bind(EventScopes.of(RANDOM_STREAM, RANDOM)), plan.fields[0])
    words = list(columns.words()[0])
    native.filter(array("q", words), [])
    wrong = [words[:size] for size in range(len(words))]
    wrong.append([*words, 0])
    # Anything but the constant may not be just any number.
    wrong += [[*words[:at], 1 << 40, *words[at + 1 :]] for at in range(1, len(words)) if words[at] != 4]
    wrong += [[*words[:at], -7, *words[at + 1 :]] for at in range(1, len(words)) if words[at] not in (4, -1)]
    for each in wrong:
        with pytest.raises((ValueError, IndexError)):
            native.filter(array("q", each), [])
