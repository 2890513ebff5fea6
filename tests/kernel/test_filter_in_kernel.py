"""Random expressions over random events: the kernel, the reader and plain Python agree."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxtrace.ctf.fields import StructField
from boxtrace.filters import Filter
from boxtrace.filters.assembler import encode
from boxtrace.filters.binding import EventScopes
from boxtrace.filters.compile import compile_filter
from boxtrace.filters.inputs import InputLayout, packed
from support import filter_fields
from support.bpf_run import Function
from support.filter_expressions import (
    CONTEXTS,
    EVENT,
    ORDER,
    PAYLOAD,
    ROOM,
    SECOND,
    SIZE,
    STREAM,
    Random,
    evaluate,
    events,
    expressions,
    memory,
    record,
)

SCOPES = EventScopes.of(STREAM, EVENT)
LAYOUT = InputLayout(contexts=packed(CONTEXTS), payload=packed(PAYLOAD), rooms={"path": ROOM})


@settings(max_examples=600, deadline=None)
@given(expressions, st.lists(events(), min_size=1, max_size=4))
def test_kernel_reader_and_plain_python_agree(expression: Random, several: list[dict[str, Any]]) -> None:
    wanted = Filter(expression.text)
    compiled = compile_filter(wanted.bind(SCOPES), LAYOUT)
    assert compiled.postponed == ()
    with Function(encode(compiled.instructions), SIZE, SECOND) as function:
        for values in several:
            verdict = evaluate(expression, values)
            assert wanted.matches(record(values)) is verdict
            assert function(memory(values)) == verdict


@settings(max_examples=100, deadline=None)
@given(expressions, expressions, st.lists(events(), min_size=1, max_size=4), st.sampled_from(["&&", "||"]))
def test_what_the_kernel_cannot_decide_it_lets_pass(
    left: Random, right: Random, several: list[dict[str, Any]], operator: str
) -> None:
    wanted = Filter(f"({left.text}) {operator} !({right.text}) && u64")
    layout = InputLayout(
        LAYOUT.contexts, {name: at for name, at in LAYOUT.payload.items() if name not in ("i32", "comm")}
    )
    compiled = compile_filter(wanted.bind(SCOPES), layout)
    with Function(encode(compiled.instructions), SIZE, SECOND) as function:
        for values in several:
            in_kernel, whole = bool(function(memory(values))), wanted.matches(record(values))
            assert in_kernel or not whole
            assert in_kernel is whole or compiled.postponed


VARIOUS = EventScopes.of(filter_fields.STREAM, filter_fields.EVENT)
KNOWN = InputLayout(contexts=packed(CONTEXTS), payload=packed(filter_fields.EVENT.fields), rooms={"path": ROOM})


@settings(max_examples=150, deadline=None)
@given(expressions, filter_fields.expressions, st.lists(filter_fields.events(), min_size=1, max_size=4))
def test_what_only_readers_know_leaves_the_rest_to_the_kernel(
    left: Random, right: Random, several: list[dict[str, Any]]
) -> None:
    wanted = Filter(f"({left.text}) && ({right.text})")
    compiled = compile_filter(wanted.bind(VARIOUS), KNOWN)
    alone = compile_filter(Filter(left.text).bind(VARIOUS), KNOWN)
    assert alone.postponed == ()
    with Function(encode(compiled.instructions), SIZE, SECOND) as function:
        for values in several:
            in_kernel, whole = bool(function(memory(values))), wanted.matches(filter_fields.record(values))
            assert whole is (evaluate(left, values) and evaluate(right, values))
            assert whole <= in_kernel <= evaluate(left, values)
            assert in_kernel is whole or compiled.postponed


EDGES = [
    ("i64 << i8 == 1", {"i64": 1, "i8": 0}, True),
    ("i64 << i8 == 0x4000000000000000", {"i64": 1, "i8": 62}, True),
    ("i64 << i8 < 0", {"i64": 1, "i8": 63}, True),
    ("i64 >> i8 == 1", {"i64": -1, "i8": 63}, True),
    *((f"!(i64 {way} i8)", {"i8": count}, False) for way in ("<<", ">>") for count in (-128, -1, 64, 127)),
    ("u64 < 0 && u64 < 9223372036854775807", {"u64": 1 << 63}, True),
    ("u64 > 9223372036854775807", {"u64": 1 << 63}, False),
    ("-i64 == i64 && i64 < 0", {"i64": -1 << 63}, True),
    ("u32 < 0xffffffff", {"u32": 0xFFFFFFFF}, False),
    ("u32 < 0xffffffff && u32 >= 0xfffffffe", {"u32": 0xFFFFFFFE}, True),
    ("i32 == 0xffffffff", {"i32": -1}, False),
    ("comm < 'b'", {"comm": b""}, True),
    ("comm < 'b'", {"comm": b"b"}, False),
    ("comm <= 'b' && comm >= 'b'", {"comm": b"b"}, True),
    ("comm > 'b' && comm > 'b\\xfe'", {"comm": b"b\xff"}, True),
    ("short == 'ababa' && short == 'ab*ba' && short != 'abab'", {"short": b"ababa"}, True),
    ("short == 'ababab*' || short == '*ababab'", {"short": b"ababa"}, False),
    ("short == comm", {"short": b"ababa", "comm": b"ababa"}, True),
    ("short < comm && comm > short", {"short": b"ababa", "comm": b"ababab"}, True),
    ("mode == -3 && mode < 0", {"mode": -3}, True),
    ("state < 0 && ~state == 0 && -state == 1", {"state": (1 << 64) - 1}, True),
    ("deep.list[2] == 0xffffffff && deep.list[0x2] > 0", {"deep2": 0xFFFFFFFF}, True),
    ("path == '*b' && path == 'a*b' && path < 'ac' && path != comm", {"path": b"ab", "comm": b"aba"}, True),
    ("path == 'aaaaaaaaaaaaaaaa*' || path > 'aaaaaaaaaaaaaaa'", {"path": b"a" * 15}, False),
    ("short <= comm", {"short": b"ababa", "comm": b"abab"}, False),
]


@pytest.mark.parametrize(("expression", "values", "verdict"), EDGES)
def test_edges(expression: str, values: dict[str, Any], verdict: bool) -> None:
    everything = {**dict.fromkeys(ORDER, 0), **dict.fromkeys(("procname", "comm", "short"), b""), **values}
    wanted = Filter(expression)
    compiled = compile_filter(wanted.bind(SCOPES), LAYOUT)
    with Function(encode(compiled.instructions), SIZE, SECOND) as function:
        assert function(memory(everything)) == verdict
    assert wanted.matches(record(everything)) is verdict


def test_the_most_code_that_a_filter_can_have_is_taken_by_the_kernel() -> None:
    pieces = "*".join("ab" for _ in range(5))
    terms = [f"(comm == '*{pieces}*' || $ctx.procname != '*{pieces}x{number}')" for number in range(5)]
    compiled = compile_filter(Filter(" && ".join(terms)).bind(SCOPES), LAYOUT)
    assert compiled.postponed == ()
    assert compiled.size > 3500
    with Function(encode(compiled.instructions), SIZE, SECOND):
        pass


def test_the_fields_lie_where_the_test_puts_them() -> None:
    assert isinstance(EVENT.fields, StructField)
    assert packed(CONTEXTS) == {"pid_ns": 0, "tid": 4, "procname": 8}
    assert list(packed(PAYLOAD).values()) == [0, 8, 16, 20, 24, 26, 28, 29, 30, 34, 50, 55, 56, 64, 78]
