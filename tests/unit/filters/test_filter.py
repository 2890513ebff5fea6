import pytest

from boxtrace.errors import FilterError
from boxtrace.filters import Filter
from boxtrace.filters.binding import EventScopes
from boxtrace.filters.operations import glob_matches
from support.filter_events import EVENT, STREAM, record

SCOPES = EventScopes.of(STREAM, EVENT)


@pytest.mark.parametrize(
    ("expression", "verdict"),
    [
        ("fd", True),
        ("fd < 0", True),
        ("fd == 0xffffffff", False),
        ("fd == 0xffffffffffffffff", True),
        ("-fd == 1 && +fd == -1 && ~fd == 0 && !fd == 0", True),
        ("flags < 0", True),
        ("flags & 7 == 5", True),
        ("flags >> 63 == 1", True),
        ("flags << 1 == 10", True),
        ("(fd ^ 1 | 4) == -2", True),
        ("1 << 63 < 0", True),
        ("-(1 << 63) == 1 << 63", True),
        ("state == 3 && yes == 1 && yes", True),
        ("fd << 64", False),
        ("!(fd << 64)", False),
        ("fd == -1 || fd << 64", True),
        ("fd == 0 || fd << -1", False),
        ("fd << tiny || 1", False),
        ("numbers[1] == 11", True),
        ("numbers[2] == 11 || 1", False),
        ("!(numbers[2] == 11)", False),
        ("1 || numbers[2]", True),
        ("three[2] == 3 && inner.deep.y == 8 && inner.x == 7", True),
        ("maybe == 0 || 1", False),
        ("ratio > 1 && ratio < 1.6 && ratio", True),
        ("ratio == 1.5 && !ratio == 0 && -ratio < 0", True),
        ("flags == 9223372036854775813.0", False),
        ("(fd == -1) == 1 && (fd == -1) & 1", True),
        ("(fd && 1) == 1 && (0 || fd) == 1", True),
        ('comm == "nginx"', True),
        ("comm == 'ng*'", True),
        ("comm == '*x' && comm == '*gi*' && comm == '*'", True),
        ("comm == 'n*n*x' && comm != 'n*n*n*x'", True),
        ("comm != 'nginx'", False),
        ("comm == 'ngin' || comm == 'nginxx' || comm == ''", False),
        ("$ctx.procname == 'a\\*b' && $ctx.procname == 'a*b'", True),
        ("comm == 'a\\*b'", False),
        ("filename == '/etc/*' && filename == '*é\\xff'", True),
        ("filename == '/etc/ssl/é\\xff'", True),
        ("filename == '*\\xc3*' && filename == '/etc/ssl/\\xc3*'", True),
        ("comm < 'nginy' && comm > 'nginw' && comm >= 'nginx' && comm <= 'nginx'", True),
        ("comm < 'ngin' || comm > 'nginxx'", False),
        ("comm == filename || filename > comm", False),
        ("comm == comm && 'nginx' == comm", True),
        ('$ctx.pid_ns == 4026532572 && (fd > 2 || filename == "/etc/*")', True),
        ("$ctx.cpu_id == 1 && $ctx.own == 5 && $app.shop:order == 9", True),
    ],
)
def test_a_filter_decides_as_lttng_does(expression: str, verdict: bool) -> None:
    assert Filter(expression).matches(record()) is verdict
    Filter(expression).bind(SCOPES)


@pytest.mark.parametrize(
    ("expression", "position", "words"),
    [
        ("1 && nope", 5, "sample has no field 'nope'"),
        ("$ctx.nope", 5, "sample has no context 'nope'"),
        ("$app.a:b", 5, "no context 'a:b'"),
        ("inner.nope", 6, "inner has no member 'nope'"),
        ("inner", 0, "a structure"),
        ("inner[0]", 6, "inner is no array"),
        ("fd.x", 3, "fd has no members"),
        ("fd[0]", 3, "fd is no array"),
        ("three", 0, "an array"),
        ("three[3]", 6, "three has 3 elements"),
        ("wide", 0, "wider than 64 bits"),
        ("raw == 'x'", 0, "raw bytes"),
        ("either", 0, "a variant"),
        ("fd == 'x'", 3, "compares a number with text"),
        ("1 == (comm < 5)", 11, "compares text with a number"),
        ("ratio == comm", 6, "floating"),
        ("comm", 0, "text alone"),
        ("fd && comm", 6, "text alone"),
        ("!comm", 0, "'!' works on numbers, and this is text"),
        ("comm & 1", 0, "'&' works on whole numbers"),
        ("1 << ratio", 5, "'<<' works on whole numbers"),
        ("~ratio", 0, "'~' works on whole numbers, and this is a floating"),
        ("comm < 'a*'", 7, "'*' has a meaning"),
        ("'a' == 'a'", 4, "must be a field"),
    ],
)
def test_an_expression_that_does_not_fit_the_event_is_an_error_that_points_there(
    expression: str, position: int, words: str
) -> None:
    with pytest.raises(FilterError) as caught:
        Filter(expression).bind(SCOPES)
    assert caught.value.position == position
    assert words in str(caught.value)
    assert not Filter(expression).matches(record())


def test_an_event_without_the_field_does_not_match() -> None:
    wanted = Filter("fd == -1")
    wanted.check([STREAM])
    assert wanted.matches(record())
    assert not wanted.matches(record(STREAM.events[1]))


def test_an_expression_for_no_event_is_an_error_about_the_nearest_one() -> None:
    with pytest.raises(FilterError, match=r"no event of the trace has all of its fields: sample has no field 'nope'"):
        Filter("fd == -1 && nope").check([STREAM])
    with pytest.raises(FilterError, match="compares a number with text"):
        Filter("fd == 'x'").check([STREAM])


def test_a_glob_that_could_be_tried_in_very_many_ways_is_quick() -> None:
    pieces = (b"", *[b"a"] * 3000, b"b")
    assert not glob_matches(pieces, b"a" * 4096)
    assert glob_matches(pieces, b"a" * 4096 + b"b")
    assert not glob_matches((b"ab", b"ba"), b"aba")
