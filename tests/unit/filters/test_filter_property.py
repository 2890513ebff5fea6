from typing import Any

import pytest
from hypothesis import given, settings

from boxtrace.errors import FilterError
from boxtrace.filters import Filter
from boxtrace.filters.binding import EventScopes
from boxtrace.filters.simplify import simplify
from boxtrace.filters.unparse import unparse
from support import filter_fields
from support.filter_expressions import EVENT, STREAM, Random, evaluate, events, expressions, memory, record, used
from support.filter_rows import ROWS, NativeRows

SCOPES = EventScopes.of(STREAM, EVENT)
VARIOUS = EventScopes.of(filter_fields.STREAM, filter_fields.EVENT)
VARIOUS_ROWS = NativeRows(filter_fields.STREAM)


@settings(max_examples=400, deadline=None)
@given(expressions, events())
def test_the_reader_decides_as_plain_python_does(expression: Random, values: dict[str, Any]) -> None:
    wanted = Filter(expression.text)
    wanted.bind(SCOPES)
    assert wanted.matches(record(values)) is evaluate(expression, values)
    assert ROWS.verdict(wanted, memory(values)[: used(values)]) is evaluate(expression, values)


@settings(max_examples=200, deadline=None)
@given(expressions, events())
def test_simplified_or_written_out_it_means_the_same(expression: Random, values: dict[str, Any]) -> None:
    binding = Filter(expression.text).bind(SCOPES)
    again = Filter(unparse(simplify(binding, binding.root)))
    assert again.matches(record(values)) is evaluate(expression, values)


@settings(max_examples=250, deadline=None)
@given(filter_fields.expressions, filter_fields.events())
def test_so_it_does_of_floats_elements_and_options(expression: Random, values: dict[str, Any]) -> None:
    verdict = evaluate(expression, values)
    wanted = Filter(expression.text)
    binding = wanted.bind(VARIOUS)
    found = filter_fields.record(values)
    assert wanted.matches(found) is verdict
    assert VARIOUS_ROWS.verdict(wanted, filter_fields.encoded(values)) is verdict
    assert Filter(unparse(simplify(binding, binding.root))).matches(found) is verdict


@pytest.mark.parametrize("name", filter_fields.REFUSED)
def test_what_is_no_value_is_refused_where_it_stands(name: str) -> None:
    with pytest.raises(FilterError) as caught:
        Filter(f"count == 1 || 1 < {name}").bind(VARIOUS)
    place = caught.value.position
    assert 18 <= place < 18 + len(name)
