"""Random expressions over what is not always there, has no constant place, or is a floating point number.

An event class with the fields of :mod:`support.filter_expressions`, which the kernel knows, and behind them, and in a
context of its own, those that only readers know. All is encoded here, without the product's help.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from hypothesis import strategies as st

from boxtrace.ctf.fields import (
    ArrayField,
    BitArrayField,
    BoolField,
    ByteOrder,
    FieldClass,
    FieldLocation,
    FloatField,
    IntegerField,
    OptionField,
    Scope,
    SequenceField,
    StaticStringField,
    StringField,
    StructField,
    VariantField,
    VariantOption,
    VarIntField,
)
from boxtrace.ctf.model import EventClass, StreamClass
from boxtrace.ctf.packet import EventRecord
from support import filter_expressions as known
from support.filter_events import event_record
from support.filter_events import struct as fields
from support.filter_expressions import Random, literals, text_comparisons, trees, whole

__all__ = ["EVENT", "REFUSED", "STREAM", "encoded", "events", "expressions", "record"]

COUNT, THERE = (FieldLocation(Scope.EVENT_PAYLOAD, (name,)) for name in ("count", "there"))
I16 = IntegerField(size=16, signed=True)
BOX = fields(y=IntegerField(size=64), ratio=FloatField(size=64))
TAIL: Mapping[str, FieldClass] = {
    "half": FloatField(size=16),
    "single": FloatField(size=32),
    "ratio": FloatField(size=64),
    "swapped": FloatField(size=64, byte_order=ByteOrder.BIG),
    "yes": BoolField(size=8),
    "bits": BitArrayField(size=64),
    "big": IntegerField(size=32, signed=True, byte_order=ByteOrder.BIG),
    "table": ArrayField(element=ArrayField(element=I16, length=2), length=2),
    "count": IntegerField(size=8),
    "numbers": SequenceField(element=I16, length=COUNT),
    "reals": SequenceField(element=FloatField(size=32), length=COUNT),
    "words": SequenceField(element=StringField(), length=COUNT),
    "rows": SequenceField(element=fields(x=IntegerField(size=64), name=StaticStringField(length=4)), length=COUNT),
    "grid": SequenceField(element=ArrayField(element=FloatField(size=64), length=2), length=COUNT),
    "there": IntegerField(size=8),
    "either": VariantField(
        selector=THERE,
        options=(VariantOption("number", I16, ((0, 1),)), VariantOption("other", FloatField(size=64), ((2, 255),))),
    ),
    "maybe": OptionField(selector=THERE, field=IntegerField(size=64), ranges=((1, 1), (3, 3))),
    "box": OptionField(selector=THERE, field=BOX, ranges=((2, 3),)),
    "some": OptionField(selector=THERE, field=SequenceField(element=I16, length=COUNT), ranges=((0, 1),)),
    "various": VarIntField(signed=True),
}
CONTEXT = fields(level=FloatField(size=64), marks=ArrayField(element=FloatField(size=32), length=2))
EVENT = EventClass(
    id=0,
    name="various",
    fields=StructField(members=(*known.PAYLOAD.members, *fields(**TAIL).members)),
    context=CONTEXT,
)
STREAM = StreamClass(event_context=known.CONTEXTS, events=(EVENT,))

_ELEMENTS = range(4)
REALS = {
    "half": "half", "single": "single", "ratio": "ratio", "swapped": "swapped", "box.ratio": "at(box, 'ratio')",
    "$ctx.level": "level", "$ctx.marks[1]": "at(marks, 1)",
    **{f"reals[{number}]": f"at(reals, {number})" for number in _ELEMENTS},
    "grid[0][1]": "at(grid, 0, 1)", "grid[2][0]": "at(grid, 2, 0)",
}  # fmt: skip
NUMBERS = {
    "yes": "int(yes)", "bits": "bits", "big": "big", "count": "count", "there": "there", "various": "various",
    **{f"numbers[{number}]": f"at(numbers, {number})" for number in _ELEMENTS},
    "numbers[0x7fffffffffffffff]": "at(numbers, 2**63 - 1)",
    "rows[0].x": "signed(at(rows, 0, 'x'))", "rows[2].x": "signed(at(rows, 2, 'x'))",
    "table[0][1]": "at(table, 0, 1)", "table[1][0]": "at(table, 1, 0)",
    "maybe": "signed(at(maybe))", "box.y": "signed(at(box, 'y'))", "some[1]": "at(some, 1)",
}  # fmt: skip
TEXTS = {
    **known.TEXTS,
    **{f"words[{number}]": f"at(words, {number})" for number in _ELEMENTS},
    "rows[0].name": "at(rows, 0, 'name')", "rows[1].name": "at(rows, 1, 'name')",
}  # fmt: skip
REFUSED = ["either", "box", "numbers", "rows[0]", "table[0]", "table[0][2]", "maybe.x", "either.number", "some[0][0]"]
"""What stands for no value."""

_EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.0**53, 2.0**63, -(2.0**63), float("inf"), float("-inf"), float("nan")]


def reals(width: Literal[16, 32, 64]) -> st.SearchStrategy[float]:
    """Numbers that so many bits hold."""
    return st.one_of(st.sampled_from(_EDGES), st.floats(width=width)).map(lambda value: _narrowed(value, width))


def _narrowed(value: float, width: int) -> float:
    form = {16: "<e", 32: "<f", 64: "<d"}[width]
    try:
        (narrow,) = struct.unpack(form, struct.pack(form, value))
    except OverflowError:
        return 1.0
    return float(narrow)


@st.composite
def real_literals(draw: st.DrawFn) -> Random:
    """Floating point literals, of which a sign is no part."""
    value = abs(draw(st.one_of(st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0**53, 2.0**63]), st.floats(0, 1e300))))
    text = draw(st.sampled_from([repr(value), f"{value!r}f", f"{value:e}", f"{value:E}L", ".5", "1.", "2.e3"]))
    return Random(text, f"float({text.rstrip('fL')!r})", real=True)


_known = {**known.NUMBERS, **NUMBERS}
fields_of_numbers = st.sampled_from(sorted(_known.items())).map(lambda item: Random(*item))
fields_of_reals = st.sampled_from(sorted(REALS.items())).map(lambda item: Random(*item, real=True))
expressions = trees(
    st.one_of(fields_of_numbers, fields_of_reals, fields_of_reals, real_literals(), literals(), text_comparisons(TEXTS))
)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """Values of all fields, by their Python names."""
    values = draw(known.events())
    values["half"], values["single"] = draw(reals(16)), draw(reals(32))
    values |= {name: draw(reals(64)) for name in ("ratio", "swapped", "level")}
    values["marks"] = [draw(reals(32)) for _ in range(2)]
    values["yes"], values["bits"], values["big"] = draw(st.booleans()), draw(whole(64, False)), draw(whole(32, True))
    short = whole(16, True)
    values["table"] = [[draw(short) for _ in range(2)] for _ in range(2)]
    count, there = draw(st.integers(0, 3)), draw(st.integers(0, 4))
    values["count"], values["there"] = count, there
    values["numbers"] = [draw(short) for _ in range(count)]
    values["reals"] = [draw(reals(32)) for _ in range(count)]
    values["words"] = [draw(known.names) for _ in range(count)]
    values["rows"] = [{"x": draw(whole(64, False)), "name": draw(known.names)[:4]} for _ in range(count)]
    values["grid"] = [[draw(reals(64)) for _ in range(2)] for _ in range(count)]
    values["either"] = draw(short) if there < 2 else draw(reals(64))
    values["maybe"] = draw(whole(64, False)) if there in (1, 3) else None
    values["box"] = {"y": draw(whole(64, False)), "ratio": draw(reals(64))} if there in (2, 3) else None
    values["some"] = [draw(short) for _ in range(count)] if there < 2 else None
    values["various"] = draw(known.integers)
    return values


def encoded(values: dict[str, Any]) -> bytes:
    """The values as a tracer records them."""
    head = known.memory(values)[: known.used(values)]
    context = struct.pack("<d2f", values["level"], *values["marks"])
    return head[: known.SECOND] + context + head[known.SECOND :] + b"".join(_tail(values))


def _tail(values: dict[str, Any]) -> Iterable[bytes]:
    yield struct.pack("<efd", *(values[name] for name in ("half", "single", "ratio")))
    yield struct.pack(">d", values["swapped"])
    yield struct.pack("<BQ", values["yes"], values["bits"])
    yield struct.pack(">i", values["big"])
    yield struct.pack("<4h", *(number for row in values["table"] for number in row))
    count, there = values["count"], values["there"]
    yield struct.pack(f"<B{count}h{count}f", count, *values["numbers"], *values["reals"])
    for word in values["words"]:
        yield word + b"\0"
    for row in values["rows"]:
        yield struct.pack("<Q4s", row["x"], row["name"])
    for pair in values["grid"]:
        yield struct.pack("<2d", *pair)
    yield struct.pack("<Bh" if there < 2 else "<Bd", there, values["either"])
    if values["maybe"] is not None:
        yield struct.pack("<Q", values["maybe"])
    if values["box"] is not None:
        yield struct.pack("<Qd", values["box"]["y"], values["box"]["ratio"])
    if values["some"] is not None:
        yield struct.pack(f"<{count}h", *values["some"])
    yield _leb128(values["various"])


def _leb128(value: int) -> bytes:
    found = bytearray()
    while not -64 <= value < 64:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value & 0x7F)
    return bytes(found)


def record(values: dict[str, Any]) -> EventRecord:
    """The values as a reader gets them."""
    first = known.record(values)
    assert first.payload is not None
    assert first.common is not None
    payload = {**first.payload, **{name: _decoded(values[name]) for name in TAIL}}
    context = {name: values[name] for name in ("level", "marks")}
    return event_record(EVENT, STREAM, payload=payload, common=first.common, specific=context)


def _decoded(value: Any) -> Any:
    match value:
        case bytes():
            return value.decode("utf-8", "surrogateescape")
        case list():
            return [_decoded(each) for each in value]
        case dict():
            return {name: _decoded(each) for name, each in value.items()}
        case _:
            return value
