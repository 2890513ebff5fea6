"""Whatever is given as a filter is compiled, or is one error that points at a character."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxtrace.errors import FilterError
from boxtrace.filters import Filter
from boxtrace.filters.binding import EventScopes
from boxtrace.filters.compile import MAX_INSTRUCTIONS, compile_filter
from boxtrace.filters.inputs import InputLayout, packed
from support.filter_expressions import CONTEXTS, ROOM
from support.filter_fields import EVENT, REFUSED, STREAM, expressions

SCOPES = EventScopes.of(STREAM, EVENT)
LAYOUT = InputLayout(contexts=packed(CONTEXTS), payload=packed(EVENT.fields), rooms={"path": ROOM})
WORDS = [
    *("i64", "u8", "path", "comm", "ratio", "numbers[1]", "box.y", "$ctx.tid", "$ctx.procname", "nope", "a.b.c"),
    *("$ctx", "$ctx.", "$ctx.nope", "$app.a:b", "$app.", "$x", "i64[0]", "i64.x", "pair[2]", "path[0]", *REFUSED),
    *("0x", "0xFFFFFFFFFFFFFFFF", "0x10000000000000000", "18446744073709551616", "01777777777777777777777", "08"),
    *("0b" + "1" * 64, "0b" + "1" * 65, "0b2", "1e999", "1e-999", ".5", "5.", "1e", "1.5.5", "12abc", "9" * 5000),
    *(
        "''",
        '"**"',
        '"' + "*ab" * 9 + '"',
        "'\\*'",
        "'\\x00'",
        "'\\777'",
        "'\\q'",
        "'\\\x1b'",
        "'\0'",
        "'\n'",
        "'é*中'",
    ),
    *("'\ud800'", "'\udcff'", "'", '"', "\\", "//", "/*", "*/", "/* x */", "// x\n", "\0", "\x1b[31m", "\u202e", "é"),
    *("\u00a0", "½", "\u0661", "#", "%", "++", "===", "<<<", "&&&", "?", ":", ",", ";", "{", "[", "]", "()", "(", ")"),
    *("..", "->", "!", "~", "-", "&&", "||", "==", "!=", "<", ">=", "|", "^", "&", "<<", ">>", "*", "(" * 40, "!" * 40),
]
hostile = st.one_of(
    st.text(max_size=30),
    st.text("ai0.5x()[]\"'\\*&|<>=!~$/ \n\0", max_size=30),
    st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join),
    st.lists(st.sampled_from(WORDS), max_size=6).map("".join),
    st.tuples(expressions, st.integers(0, 200), st.text(max_size=2)).map(
        lambda made: made[0].text[: made[1]] + made[2] + made[0].text[made[1] + 1 :]
    ),
)


@pytest.mark.parametrize(
    "shape",
    ["{0}", "i64 {0}", "${0}", "$ctx.{0}", "$app.{0}:a", "$app.{0}", "$ctx{0}", "box.{0}", "i64.{0}", "i64 == '{0}"],
)
def test_a_long_name_makes_no_long_error(shape: str) -> None:
    text = shape.format("n" * 60000)
    with pytest.raises(FilterError) as error:
        Filter(text).bind(SCOPES)
    assert len(str(error.value)) < 400


@settings(max_examples=600, deadline=None)
@given(hostile)
def test_it_is_compiled_or_an_error_at_a_character(text: str) -> None:
    try:
        wanted = Filter(text)
        compiled = compile_filter(wanted.bind(SCOPES), LAYOUT)
    except FilterError as error:
        lines = str(error).split("\n")
        assert len(lines) == 3
        assert lines[2].strip(" ") == "^"
        assert lines[2].index("^") <= len(lines[1])
        assert len(str(error)) < 400
        assert 0 <= error.position <= len(text)
        assert not any(unicodedata.category(char) == "Cc" for line in lines for char in line)
    else:
        assert compiled.size <= MAX_INSTRUCTIONS
