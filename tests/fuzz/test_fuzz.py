"""Damaged traces: the native core under sanitizers, the parsers of metadata in Python.

``BOXTRACE_FUZZ_SECONDS`` (5) is how long the native part runs; ``make fuzz`` gives it longer.
"""

import os
import random
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import boxtrace
from boxtrace.ctf.json_parser import parse_json
from boxtrace.ctf.json_writer import write_json
from boxtrace.ctf.model import StreamClass
from boxtrace.ctf.tsdl_parser import parse_tsdl
from boxtrace.ctf.tsdl_writer import write_tsdl
from boxtrace.errors import TraceFormatError
from boxtrace.filters import Filter
from boxtrace.trace.decoder import Chunk, packet_chunks
from boxtrace.trace.filtering import RowFilter
from boxtrace.view.fast_text import TextPlan
from support.ctf_sample import TRACE, write_sample
from support.filter_trace import EXPRESSIONS, write_filter_trace

ROOT = Path(__file__).parents[2]
SECONDS = int(os.environ.get("BOXTRACE_FUZZ_SECONDS", "5"))
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1"]


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    program = tmp_path_factory.mktemp("fuzz") / "decode_fuzz"
    core = sorted((ROOT / "native" / "core").glob("ctf_*.cpp"))
    command = ["g++", "-std=c++20", *SANITIZERS, f"-I{ROOT / 'native' / 'core'}", "-o", str(program)]
    subprocess.run([*command, str(Path(__file__).parent / "decode_fuzz.cpp"), *map(str, core)], check=True)
    return program


def words(values: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(values) + 1}q", len(values), *values)


def strings(values: Sequence[bytes]) -> bytes:
    return struct.pack("<q", len(values)) + b"".join(struct.pack("<q", len(value)) + value for value in values)


def write_case(trace: boxtrace.trace.Trace, path: Path, expressions: Sequence[str]) -> Path:
    """Write the plan of the trace's first stream, its text format, its first packet, and filters."""
    stream = trace.streams[0]
    form = TextPlan(stream, lambda name: True)
    plan, decoder = form.plan, form.decoder
    chunk = Chunk(plan, next(packet_chunks(stream, None, None))[:1], 0)
    head = chunk.packets[0][0].head
    content = min(head.content, 1 << 17)
    data = bytes(chunk.data[head.offset : head.offset + (content + 7) // 8])
    given = list(chunk.words)
    given[:2] = 0, content
    before = plan.plan.size
    old_words, old_names = plan.plan.words(), plan.plan.names()
    for event in stream.cls.events:
        decoder.learn(event.id)
    formats = form.formats(decoder.known)
    slots = [plan.plan.slots[location] for location in plan.packet_slots]
    filters = [filter_words(stream.cls, form, Filter(expression), chunk) for expression in expressions]
    path.write_bytes(
        words(list(old_words))
        + words(list(plan.plan.words(before)))
        + struct.pack("<q", len(formats))
        + b"".join(words(list(numbers)) + strings(texts) for numbers, texts in formats)
        + strings([name.encode() for name in old_names])
        + strings([name.encode() for name in plan.plan.names(before)])
        + words(slots)
        + struct.pack("<q", 1 + len(plan.packet_columns))
        + words(given)
        + struct.pack("<q", len(data))
        + data
        + struct.pack("<q", len(filters))
        + b"".join(filters)
    )
    return path


def filter_words(cls: StreamClass, form: TextPlan, wanted: Filter, chunk: Chunk) -> bytes:
    rows = RowFilter(cls, wanted)
    columns, _ = rows.made_for(form.decoder, form.decoder.known)
    filter_numbers, filter_strings = columns.words()
    values, texts = columns.packet_values(packet.head for packet, _ in chunk.packets)
    return words(list(filter_numbers)) + strings(filter_strings) + words(list(values)) + strings(texts)


def test_native_core_with_damaged_packets(fuzzer: Path, tmp_path: Path) -> None:
    kernel = ['filename == "/*" || prev_comm == "s*"', "$ctx.tid > 100 && $ctx.cpu_id < 2", "ret < 0"]
    cases = [
        write_case(boxtrace.open(ROOT / "tests" / "data" / "lttng-kernel-trace"), tmp_path / "kernel", kernel),
        write_case(boxtrace.open(write_sample(tmp_path / "small")), tmp_path / "case", ["vtids[1] == 11", "state"]),
        write_case(boxtrace.open(write_filter_trace(tmp_path / "every")), tmp_path / "kinds", EXPRESSIONS),
    ]
    command = [str(fuzzer), str(SECONDS), str(random.randrange(1 << 32)), *map(str, cases)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stderr[-4000:]}"
    runs, stopped, passed, tested = (int(word) for word in done.stdout.split() if word.isdigit())
    assert 0 < stopped < runs
    assert 0 < passed < tested


def damaged(text: str) -> st.SearchStrategy[str]:
    """Texts that differ from one in a few places."""
    pieces = st.one_of(
        st.text(max_size=3), st.sampled_from(["{", "}", ";", "[", "]", "struct", "-1", '"', "\x1e", "0"])
    )
    edit = st.tuples(st.integers(0, len(text)), st.integers(0, 12), pieces)

    def apply(edits: list[tuple[int, int, str]]) -> str:
        result = text
        for at, length, piece in edits:
            result = result[:at] + piece + result[at + length :]
        return result

    return st.lists(edit, min_size=1, max_size=4).map(apply)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(damaged(write_tsdl(TRACE)))
def test_damaged_tsdl(text: str) -> None:
    try:
        parse_tsdl(text)
    except TraceFormatError as error:
        assert error.path == "metadata"


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(damaged(write_json(TRACE)))
def test_damaged_json(text: str) -> None:
    try:
        parse_json(text)
    except TraceFormatError as error:
        assert error.path == "metadata"
