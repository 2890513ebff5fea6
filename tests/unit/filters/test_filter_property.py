from typing import Any

from hypothesis import given, settings

from boxtrace.filters import Filter
from boxtrace.filters.binding import EventScopes
from boxtrace.filters.simplify import simplify
from boxtrace.filters.unparse import unparse
from support.filter_expressions import EVENT, STREAM, Random, evaluate, events, expressions, record
from support.filter_rows import native_verdict

SCOPES = EventScopes.of(STREAM, EVENT)


@settings(max_examples=400, deadline=None)
@given(expressions, events())
def test_the_reader_decides_as_plain_python_does(expression: Random, values: dict[str, Any]) -> None:
    wanted = Filter(expression.text)
    wanted.bind(SCOPES)
    assert wanted.matches(record(values)) is evaluate(expression, values)
    assert native_verdict(wanted, values) is evaluate(expression, values)


@settings(max_examples=200, deadline=None)
@given(expressions, events())
def test_simplified_or_written_out_it_means_the_same(expression: Random, values: dict[str, Any]) -> None:
    binding = Filter(expression.text).bind(SCOPES)
    again = Filter(unparse(simplify(binding, binding.root)))
    assert again.matches(record(values)) is evaluate(expression, values)
