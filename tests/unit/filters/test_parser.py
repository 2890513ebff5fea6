import pytest

from boxtrace.errors import FilterError
from boxtrace.filters.parser import MAX_DEPTH, MAX_LENGTH, parse
from boxtrace.filters.syntax import Binary, Field, Float, Integer, Logical, Node, Text, Unary


def shape(node: Node) -> object:
    """The tree without places."""
    match node:
        case Integer() | Float():
            return node.value
        case Text():
            return node.pieces
        case Field():
            return str(node)
        case Unary():
            return (node.operator, shape(node.operand))
        case Binary():
            return (shape(node.left), node.operator, shape(node.right))
        case Logical():
            return (node.operator, *map(shape, node.terms))


@pytest.mark.parametrize(
    ("expression", "tree"),
    [
        ("a & 1 == 2", (("a", "&", 1), "==", 2)),
        ("a == 1 & 2", ("a", "==", (1, "&", 2))),
        ("a | b ^ c & d << 1", ("a", "|", ("b", "^", ("c", "&", ("d", "<<", 1))))),
        ("a << 1 >> 2", (("a", "<<", 1), ">>", 2)),
        ("a < b == c > d", (("a", "<", "b"), "==", ("c", ">", "d"))),
        ("a == b != c", (("a", "==", "b"), "!=", "c")),
        ("a || b && c || d", ("||", "a", ("&&", "b", "c"), "d")),
        ("(a || b) && c", ("&&", ("||", "a", "b"), "c")),
        ("a || b || c || d", ("||", "a", "b", "c", "d")),
        ("!-+~a", ("!", ("-", ("+", ("~", "a"))))),
        ("!a == b", (("!", "a"), "==", "b")),
        ("$ctx.pid_ns == 4026532572ul", ("$ctx.pid_ns", "==", 4026532572)),
        ("$app.provider:type", "$app.provider:type"),
        ("a.b[3].c[0x10]", "a.b[3].c[16]"),
        ("0x1F|0b101|017|0|9u|9LL|9ull", ((((((0x1F, "|", 5), "|", 15), "|", 0), "|", 9), "|", 9), "|", 9)),
        ("18446744073709551615", -1),
        ("1.5 < .5e2f", (1.5, "<", 50.0)),
        ("a /* no */ == // end\n 1", ("a", "==", 1)),
        ('"a\\n\\x41\\101\\"\\\\"', (b'a\nAA"\\',)),
        ("'c'", (b"c",)),
        ("'a*b\\*c**d*'", (b"a", b"b*c", b"d", b"")),
        ("'**'", (b"", b"")),
        ("'\udcff'", (b"\xff",)),
    ],
)
def test_an_expression_becomes_the_tree_that_lttng_makes_of_it(expression: str, tree: object) -> None:
    assert shape(parse(expression)) == tree


@pytest.mark.parametrize(
    ("expression", "position", "words"),
    [
        ("", 0, "not the end"),
        ("a &&", 4, "not the end"),
        ("a b", 2, "an operator is expected"),
        ("(a", 2, "')' is expected"),
        ("a)", 1, "not ')'"),
        ("a + 1", 2, "do not calculate: '+'"),
        ("a * 1", 2, "do not calculate: '*'"),
        ("a / 1", 2, "do not calculate: '/'"),
        ("a % 1", 2, "do not calculate: '%'"),
        ("a - 1", 2, "do not calculate: '-'"),
        ("a = 1", 2, "'=='"),
        ("a->b", 1, "a.b"),
        ("a ? b", 2, "'?' means nothing"),
        ("a == 'x", 5, "does not end"),
        ("a == 'x\\", 5, "does not end"),
        ("a /* x", 2, "does not end"),
        ("a == '\\q'", 6, "escape sequence"),
        ("a == '\\0'", 6, "zero byte"),
        ("a == '\0'", 6, "zero byte"),
        ("a == '\\777'", 6, "\\377"),
        ("089", 1, "octal"),
        ("0x", 1, "'x' cannot be part"),
        ("0b12", 3, "'2' cannot be part of a binary"),
        ("1.5x", 3, "ends in something else"),
        ("12abc", 2, "'a' cannot be part"),
        ("18446744073709551616", 0, "64 bits"),
        ("fd < 1e309", 5, "too big"),
        ("$pid", 0, "contexts are"),
        ("$ctx", 4, "'.' is expected"),
        ("$ctx.$ctx", 5, "name of a context"),
        ("a[b]", 2, "constant index"),
        ("a[-1]", 2, "constant index"),
        ("a[18446744073709551615]", 2, "too big"),
        ("a.1", 1, "an operator is expected"),
        ("é", 0, "means nothing"),
        ("a == '\ud800'", 6, "encoded"),
    ],
)
def test_an_error_points_at_the_character(expression: str, position: int, words: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse(expression)
    assert caught.value.position == position
    assert caught.value.expression == expression
    assert words in str(caught.value)
    assert str(caught.value).splitlines()[-1] == " " * (position + 2) + "^"


@pytest.mark.parametrize(
    "expression",
    [
        "!" * 60000 + "a",
        "(" * 60000,
        "(" * 300 + "a" + ")" * 300,
        "1||1&&1==1<1|1^1&1<<(" * 1000,
        " & ".join("a" * 10000),
        "a == " * 10000 + "a",
        "a == '" + "*x" * 40000 + "'",
        "1" * 60000 + "x",
        "0x" + "f" * 60000,
        "a[" + "9" * 60000 + "]",
        "x" * (MAX_LENGTH + 1),
        "'" * 60001,
        "\\" * 1000,
    ],
)
def test_hostile_input_is_an_error_of_one_short_message(expression: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse(expression)
    assert len(str(caught.value)) < 400


def test_terms_joined_by_one_logical_operator_do_not_nest() -> None:
    node = parse(" || ".join(f"a == {number}" for number in range(5000)))
    assert isinstance(node, Logical)
    assert len(node.terms) == 5000
    assert node.depth == 3


def test_nesting_up_to_the_limit_is_taken() -> None:
    assert parse("!" * (MAX_DEPTH - 1) + "a").depth == MAX_DEPTH
    assert parse("(" * MAX_DEPTH + "a" + ")" * MAX_DEPTH).depth == 1
