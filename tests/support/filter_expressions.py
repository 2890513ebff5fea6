"""Random filter expressions, each with a Python expression that says the same, made without the product's help.

The fields are of constant size but for the last, so that the kernel knows all; :mod:`support.filter_fields` has others.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from boxtrace.ctf.fields import ArrayField, EnumMapping, IntegerField, StaticStringField, StringField
from boxtrace.ctf.model import EventClass, StreamClass
from boxtrace.ctf.packet import EventRecord
from support.filter_events import event_record
from support.filter_events import struct as fields

CONTEXTS = fields(
    pid_ns=IntegerField(size=32), tid=IntegerField(size=32, signed=True), procname=StaticStringField(length=16)
)
PAYLOAD = fields(
    i64=IntegerField(size=64, signed=True),
    u64=IntegerField(size=64),
    i32=IntegerField(size=32, signed=True),
    u32=IntegerField(size=32),
    i16=IntegerField(size=16, signed=True),
    u16=IntegerField(size=16),
    i8=IntegerField(size=8, signed=True),
    u8=IntegerField(size=8),
    pair=ArrayField(element=IntegerField(size=16, signed=True), length=2),
    comm=StaticStringField(length=16),
    short=StaticStringField(length=5),
    mode=IntegerField(
        size=8, signed=True, mappings=(EnumMapping("low", ((-128, -1),)), EnumMapping("zero", ((0, 0),)))
    ),
    state=IntegerField(size=64, mappings=(EnumMapping("all", ((0, 2**64 - 1),)),)),
    deep=fields(x=IntegerField(size=16, signed=True), list=ArrayField(element=IntegerField(size=32), length=3)),
    path=StringField(),
)
FORM = struct.Struct("<Ii16s qQiIhHbB2h16s5s bQh3I")
ORDER = (
    *("pid_ns", "tid", "procname", "i64", "u64", "i32", "u32", "i16", "u16", "i8", "u8"),
    *("pair0", "pair1", "comm", "short", "mode", "state", "deep_x", "deep0", "deep1", "deep2"),
)
SECOND = 24
ROOM = 16
"""Of ``path`` behind all others, in the kernel: its NUL included."""
SIZE = 120
EVENT = EventClass(id=0, name="random", fields=PAYLOAD)
STREAM = StreamClass(event_context=CONTEXTS, events=(EVENT,))

NUMBERS = {
    "$ctx.pid_ns": "pid_ns", "$ctx.tid": "tid", "pair[0]": "pair0", "pair[0x1]": "pair1",
    "mode": "mode", "state": "state", "deep.x": "deep_x",
    "deep.list[0]": "deep0", "deep.list[0b1]": "deep1", "deep.list[02]": "deep2",
    **{name: name for name in ("i64", "u64", "i32", "u32", "i16", "u16", "i8", "u8")},
}  # fmt: skip
TEXTS = {"$ctx.procname": "procname", "comm": "comm", "short": "short", "path": "path"}
LEVELS = ["||", "&&", "== !=", "< <= > >=", "|", "^", "&", "<< >>"]
LEVEL = {operator: level for level, operators in enumerate(LEVELS) for operator in operators.split()}
OF_REALS = ["!=", "&&", "<", "<=", "==", ">", ">=", "||"]
"""Operators whose operands may be floating point numbers."""


class Ended(Exception):
    """The whole expression is false."""


def signed(value: int) -> int:
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


def shift(value: int, count: int, left: bool) -> int:
    if count < 0 or count > 63:
        raise Ended
    return signed(value * 2**count) if left else signed((value % 2**64) // 2**count)


def at(value: Any, *steps: str | int) -> Any:
    """A member, an element, or what an option holds."""
    for step in steps:
        if value is None or (isinstance(step, int) and step >= len(value)):
            raise Ended
        value = value[step]
    if value is None:
        raise Ended
    return value


def like(text: bytes, pattern: bytes) -> bool:
    return re.fullmatch(pattern, text, re.DOTALL) is not None


@dataclass(frozen=True)
class Random:
    """A part of an expression: in the filter language, in Python, and how tight its operator binds."""

    text: str
    python: str
    level: int = len(LEVELS)
    real: bool = False
    """It is a floating point number."""


def evaluate(expression: Random, values: dict[str, Any]) -> bool:
    """The verdict of plain Python."""
    names = {name: signed(value) if isinstance(value, int) else value for name, value in values.items()}
    try:
        return bool(eval(expression.python, {"signed": signed, "shift": shift, "like": like, "at": at}, names))
    except Ended:
        return False


_POWERS = [sign * 2**bits for bits in (7, 8, 15, 16, 31, 32, 63) for sign in (1, -1)]
_EDGES = sorted({0, 1, 2, 5, 63, 64} | {power + by for power in _POWERS for by in (-1, 0, 1)})
integers = st.one_of(st.sampled_from(_EDGES), st.integers(-3, 70), st.integers(-(2**63), 2**63 - 1)).map(signed)
characters = st.text("ab*\\é\"'", max_size=5)
names = st.one_of(characters, st.text("ab", min_size=14, max_size=16)).map(lambda text: text.encode()[:16])


@st.composite
def literals(draw: st.DrawFn) -> Random:
    value = draw(integers)
    bits = value % 2**64
    form = draw(st.sampled_from(["{}", "0x{:x}", "0X{:X}ull", "0{:o}", "0b{:b}", "{}u", "{}LL", "0{:o}ul"])).format(
        bits
    )
    return Random(form, str(value))


def _escaped(draw: st.DrawFn, char: str) -> str:
    if char == "a" and draw(st.integers(0, 7)) == 0:
        return draw(st.sampled_from(["\\x61", "\\141"]))
    return "\\" + char if char in "\\*\"'" else char


def _quoted(draw: st.DrawFn, *pieces: str) -> str:
    """Text in quotes, with anything between the pieces."""
    quote = draw(st.sampled_from("\"'"))
    return quote + "*".join("".join(_escaped(draw, char) for char in piece) for piece in pieces) + quote


@st.composite
def text_comparisons(draw: st.DrawFn, texts: Mapping[str, str] = TEXTS) -> Random:
    field, name = draw(st.sampled_from(sorted(texts.items())))
    operator = draw(st.sampled_from(["==", "!=", "==", "!=", "<", "<=", ">", ">="]))
    kind = draw(st.integers(0, 3))
    if kind == 0:
        other, python = draw(st.sampled_from(sorted(texts.items())))
    elif kind == 1 or operator not in ("==", "!="):
        plain = draw(names).decode("utf-8", "ignore")
        other, python = _quoted(draw, plain), repr(plain.encode())
    else:
        pieces = draw(st.lists(st.text("ab*\\é", max_size=3), min_size=2, max_size=4))
        other = _quoted(draw, *pieces)
        pattern = b".*".join(re.escape(piece.encode()) for piece in pieces)
        python = f"int(like({name}, {pattern!r}) == {operator == '=='})"
        return Random(f"{field} {operator} {other}", python, LEVEL[operator])
    if draw(st.booleans()) and kind != 0:
        mirrored = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}.get(operator, operator)
        return Random(f"{other} {mirrored} {field}", f"int({name} {operator} {python})", LEVEL[operator])
    return Random(f"{field} {operator} {other}", f"int({name} {operator} {python})", LEVEL[operator])


def _wrapped(draw: st.DrawFn, part: Random, least: int) -> str:
    """The text of an operand, in parentheses where it must be, and sometimes where it need not."""
    if part.level < least or draw(st.integers(0, 7)) == 0:
        return f"({part.text})"
    return part.text


@st.composite
def unary(draw: st.DrawFn, inner: st.SearchStrategy[Random]) -> Random:
    operand = draw(inner)
    operator = draw(st.sampled_from("-+!" if operand.real else "-+!~"))
    negative = "(-{})" if operand.real else "signed(-{})"
    python = {"-": negative, "+": "{}", "!": "int(not {})", "~": "(~{})"}[operator].format(f"({operand.python})")
    text = operator + _wrapped(draw, operand, len(LEVELS))
    return Random(text, python, real=operand.real and operator != "!")


_gaps = st.sampled_from([" "] * 6 + ["", "\n\t", " /* a */ ", ' // b && "\n'])


@st.composite
def binary(draw: st.DrawFn, inner: st.SearchStrategy[Random]) -> Random:
    left, right = draw(inner), draw(inner)
    real = left.real or right.real
    operator = draw(st.sampled_from(OF_REALS if real else sorted(LEVEL)))
    level = LEVEL[operator]
    before, behind = draw(_gaps), draw(_gaps)
    text = f"{_wrapped(draw, left, level)}{before}{operator}{behind}{_wrapped(draw, right, level + 1)}"
    if operator in ("&&", "||"):
        python = f"int(bool({left.python}) {'and' if operator == '&&' else 'or'} bool({right.python}))"
    elif operator in ("<<", ">>"):
        python = f"shift({left.python}, {right.python}, {operator == '<<'})"
    elif operator in ("&", "^", "|"):
        python = f"(({left.python}) {operator} ({right.python}))"
    elif real:
        python = f"int(float({left.python}) {operator} float({right.python}))"
    else:
        python = f"int(({left.python}) {operator} ({right.python}))"
    return Random(text, python, level)


fields_of_numbers = st.sampled_from(sorted(NUMBERS.items())).map(lambda item: Random(item[0], item[1]))
leaves = st.one_of(fields_of_numbers, literals(), text_comparisons())


def trees(leaves: st.SearchStrategy[Random]) -> st.SearchStrategy[Random]:
    """Expressions of such parts."""
    return st.recursive(leaves, lambda inner: st.one_of(binary(inner), binary(inner), unary(inner)), max_leaves=12)


expressions = trees(leaves)


def whole(bits: int, is_signed: bool) -> st.SearchStrategy[int]:
    low = -(2 ** (bits - 1)) if is_signed else 0
    return integers.map(lambda value: (value - low) % 2**bits + low)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """Values of all fields, by their Python names."""
    values: dict[str, Any] = {"pid_ns": draw(whole(32, False)), "tid": draw(whole(32, True))}
    values["procname"] = draw(names)
    for bits in (64, 32, 16, 8):
        values[f"i{bits}"] = draw(whole(bits, True))
        values[f"u{bits}"] = draw(whole(bits, False))
    values["pair0"], values["pair1"] = draw(whole(16, True)), draw(whole(16, True))
    values["comm"], values["short"] = draw(names), draw(names)[:5]
    values["path"] = draw(names)[: ROOM - 1]
    values["mode"], values["state"], values["deep_x"] = (
        draw(whole(8, True)),
        draw(whole(64, False)),
        draw(whole(16, True)),
    )
    values |= {f"deep{number}": draw(whole(32, False)) for number in range(3)}
    return values


def memory(values: dict[str, Any], *, garbage: bytes = b"ab") -> bytes:
    """The values as a filter in the kernel gets them, with garbage behind the end of text."""
    room = {"procname": 16, "comm": 16, "short": 5}

    def raw(name: str, value: Any) -> Any:
        ended = isinstance(value, bytes) and len(value) < room[name]
        return (value + b"\0" + garbage * 16)[: room[name]] if ended else value

    packed = FORM.pack(*(raw(name, values[name]) for name in ORDER))
    packed += (values.get("path", b"") + b"\0" + garbage * ROOM)[:ROOM]
    return packed.ljust(SIZE, b"\0")


def used(values: dict[str, Any]) -> int:
    """How many bytes of that are the record."""
    return FORM.size + len(values.get("path", b"")) + 1


def record(values: dict[str, Any]) -> EventRecord:
    """The values as a reader gets them."""

    def decoded(name: str) -> Any:
        value = values[name]
        return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value

    payload = {"path": ""} | {name: decoded(name) for name in values if not name.startswith(("pair", "deep"))}
    payload["pair"] = [values["pair0"], values["pair1"]]
    payload["deep"] = {"x": values["deep_x"], "list": [values[f"deep{number}"] for number in range(3)]}
    common = {name: payload.pop(name) for name in ("pid_ns", "tid", "procname")}
    return event_record(EVENT, STREAM, payload=payload, common=common)
