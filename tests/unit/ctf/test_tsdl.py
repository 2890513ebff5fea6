import re
from pathlib import Path

import pytest

import boxtrace
from boxtrace.ctf.fields import (
    ArrayField,
    ByteOrder,
    DisplayBase,
    DynamicStringField,
    EnumMapping,
    FieldLocation,
    FloatField,
    IntegerField,
    Member,
    Role,
    Scope,
    SequenceField,
    StaticStringField,
    StringField,
    StructField,
    VariantField,
)
from boxtrace.ctf.model import UNIX_EPOCH, TraceClass
from boxtrace.ctf.tsdl_parser import parse_tsdl
from boxtrace.ctf.tsdl_writer import write_tsdl
from boxtrace.errors import TraceFormatError
from support.ctf_sample import TRACE

HEAD = "trace { major = 1; minor = 8; byte_order = be; };\n"


def parse(text: str) -> TraceClass:
    return parse_tsdl(HEAD + text)


def payload(text: str, before: str = "") -> StructField:
    fields = parse(f"{before}\nevent {{ name = e; fields := struct {{ {text} }}; }};").streams[0].events[0].fields
    assert fields is not None
    return fields


def test_written_text_gives_the_same_model() -> None:
    assert parse_tsdl(write_tsdl(TRACE)) == TRACE


def test_integer_attributes_and_defaults() -> None:
    fields = payload(
        "integer { size = 5; } a; integer { size = 16; signed = true; base = hex; byte_order = le; align = 32; } b;"
    )
    assert fields.find("a") == IntegerField(size=5, align=1, byte_order=ByteOrder.BIG)
    assert fields.find("b") == IntegerField(
        size=16, align=32, byte_order=ByteOrder.LITTLE, signed=True, base=DisplayBase.HEXADECIMAL
    )


def test_floats_strings_and_comments() -> None:
    fields = payload(
        "floating_point { exp_dig = 8; mant_dig = 24; align = 8; } f; /* a { comment */ string s; // ; }\n"
        "string { encoding = ASCII; } t;"
    )
    assert fields.find("f") == FloatField(size=32, align=8, byte_order=ByteOrder.BIG)
    assert fields.find("s") == fields.find("t") == StringField()


def test_typealias_of_several_words_typedef_and_several_declarators() -> None:
    fields = payload(
        "unsigned long x, y[2]; pair_t p; bytes b;",
        "typealias integer { size = 64; } := unsigned long;\n"
        "typedef struct { integer { size = 8; } one; } pair_t;\n"
        "integer { size = 8; } typedef bytes[3];",
    )
    u64 = IntegerField(size=64, byte_order=ByteOrder.BIG)
    u8 = IntegerField(size=8, byte_order=ByteOrder.BIG)
    assert fields.find("x") == u64
    assert fields.find("y") == ArrayField(element=u64, length=2)
    assert isinstance(pair := fields.find("p"), StructField) and pair.find("one") == u8
    assert fields.find("b") == ArrayField(element=u8, length=3)


def test_arrays_of_arrays_and_text() -> None:
    fields = payload("char name[4]; char names[2][3]; u8 n; char text[n]; u8 s[n][5];", CHARS)
    u8 = IntegerField(size=8, byte_order=ByteOrder.BIG)
    here = FieldLocation(Scope.EVENT_PAYLOAD, ("n",))
    assert fields.find("name") == StaticStringField(length=4)
    assert fields.find("names") == ArrayField(element=StaticStringField(length=3), length=2)
    assert fields.find("text") == DynamicStringField(length=here)
    assert fields.find("s") == SequenceField(element=ArrayField(element=u8, length=5), length=here)


CHARS = (
    "typealias integer { size = 8; encoding = UTF8; } := char;\n"
    "typealias integer { size = 8; } := u8;\n"
    "typealias integer { size = 16; signed = 1; } := int;"
)


def test_enumerations() -> None:
    fields = payload("enum : u8 { A, B = 5, 'C' = 7 ... 9, \"D d\", A = 20, } e; enum { X = -2, Y } s;", CHARS)
    assert fields.find("e") == IntegerField(
        size=8,
        byte_order=ByteOrder.BIG,
        mappings=(
            EnumMapping("A", ((0, 0), (20, 20))),
            EnumMapping("B", ((5, 5),)),
            EnumMapping("C", ((7, 9),)),
            EnumMapping("D d", ((10, 10),)),
        ),
    )
    signed = fields.find("s")
    assert isinstance(signed, IntegerField)
    assert signed.mappings == (EnumMapping("X", ((-2, -2),)), EnumMapping("Y", ((-1, -1),)))


def test_variant_by_name_with_nested_scopes() -> None:
    fields = payload(
        "enum : u8 { _a = 1, b = 2 ... 3 } _tag; struct { u8 tag; variant v <_tag> choice; } inner;"
        "variant <_tag> { u8 b; } partial;",
        CHARS + "variant v { u8 _a; struct { string s; } b; };",
    )
    inner = fields.find("inner")
    assert isinstance(inner, StructField)
    choice = inner.find("choice")
    assert isinstance(choice, VariantField)
    assert choice.selector == FieldLocation(Scope.EVENT_PAYLOAD, ("tag",))
    assert [(option.name, option.ranges) for option in choice.options] == [("a", ((1, 1),)), ("b", ((2, 3),))]


def test_options_keep_the_labels_that_choose_them() -> None:
    trace = parse(
        CHARS + "event { name = e; fields := struct { enum : u8 { a = 1, _b = 2, c = 3 } tag;"
        "variant <tag> { u8 a; u8 _b; string c; } v; }; };"
    )
    assert parse_tsdl(write_tsdl(trace)) == trace


def test_names_lose_one_underscore_unless_that_makes_two_the_same() -> None:
    assert [member.name for member in payload("u8 __n_length; u8 _x;", CHARS).members] == ["_n_length", "x"]
    assert [member.name for member in payload("u8 _x; u8 x;", CHARS).members] == ["_x", "x"]


def test_absolute_and_outer_paths() -> None:
    trace = parse(
        CHARS + "stream { packet.context := struct { u8 cpu; u8 len; }; event.context := struct { u8 n; };};"
        "event { name = e; context := struct { u8 k; }; fields := struct {"
        "u8 a[stream.packet.context.len]; u8 b[stream.event.context.n]; u8 c[event.context.k]; u8 d[cpu];"
        "struct { u8 l; u8 e[event.fields.f.l]; } f; }; };"
    )
    fields = trace.streams[0].events[0].fields
    assert fields is not None

    def location(name: str) -> FieldLocation:
        field = fields.find(name)
        assert isinstance(field, SequenceField)
        return field.length

    assert location("a") == FieldLocation(Scope.PACKET_CONTEXT, ("len",))
    assert location("b") == FieldLocation(Scope.EVENT_COMMON_CONTEXT, ("n",))
    assert location("c") == FieldLocation(Scope.EVENT_SPECIFIC_CONTEXT, ("k",))
    assert location("d") == FieldLocation(Scope.PACKET_CONTEXT, ("cpu",))
    assert parse_tsdl(write_tsdl(trace)) == trace


def test_clock_environment_and_event_attributes() -> None:
    trace = parse(
        'env { tracer_name = "lttng-ust"; n = -3; s = "a\\"b\\n\\x41"; };'
        "clock { name = monotonic; freq = 1000; offset_s = 5; offset = 7; };"
        "clock { name = other; absolute = true; };"
        'event { name = "p:e"; id = 3; loglevel = 13; model.emf.uri = "http://x"; fields := struct { }; };'
    )
    assert trace.environment == {"tracer_name": "lttng-ust", "n": -3, "s": 'a"b\nA'}
    first, second = trace.clocks
    assert (first.frequency, first.offset_seconds, first.offset_cycles) == (1000, 5, 7)
    assert first.origin == second.origin == UNIX_EPOCH
    event = trace.streams[0].events[0]
    assert (event.name, event.id, event.loglevel, event.uri) == ("p:e", 3, 13, "http://x")


def test_reserved_names_have_roles() -> None:
    trace = parse(
        "clock { name = c; }; typealias integer { size = 32; map = clock.c.value; } := ts;"
        "typealias integer { size = 8; } := u8;"
        "stream { packet.context := struct { ts timestamp_begin; ts timestamp_end; u8 cpu; };"
        "event.header := struct { u8 id; struct { ts timestamp; } t; }; };"
    )
    stream = trace.streams[0]
    assert stream.clock == "c"
    assert stream.packet_context is not None and stream.event_header is not None
    assert [field.roles for field in (m.field for m in stream.packet_context.members)] == [  # type: ignore[union-attr]
        (Role.TIMESTAMP,),
        (Role.TIMESTAMP_END,),
        (),
    ]
    time = stream.event_header.find("t")
    assert isinstance(time, StructField) and time.find("timestamp").roles == (Role.TIMESTAMP,)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("event { name = e; fields := struct { foo x; }; };", "'foo' is not declared"),
        ("event { name = e; fields := struct { integer { size = 99; } x; }; };", "size 99"),
        ("event { name = e; fields := struct { integer { size = 8; align = 3; } x; }; };", "alignment 3"),
        ("event { name = e; fields := struct { string s[later]; integer { size = 8; } later; }; };", "no field"),
        ("event { name = e; fields := struct { string s; string s; }; };", "'s' is declared twice"),
        ("event { name = e; stream_id = 4; };", "stream 4 is not declared"),
        ("event { name = e; id = 1; }; event { name = f; id = 1; };", "id 1 is declared twice"),
        ("stream { id = 1; }; stream { id = 1; };", "declared twice"),
        ("event { name = e; fields := string; };", "fields is a structure"),
        ("clock { freq = 5; };", "a clock needs a name"),
        ("clock { name = c; freq = 0; };", "not positive"),
        ("stream { event.header := struct { integer { size = 8; map = clock.x.value; } t; }; };", "clock x"),
        ("event { name = ; };", "unexpected ';'"),
        ("event { name = e;", "ends too early"),
        ("struct a { struct a x; };", "struct a is not declared"),
        ("typealias string := text; enum : text { A } e;", "is an integer"),
    ],
)
def test_errors_say_what_and_where(text: str, message: str) -> None:
    with pytest.raises(TraceFormatError, match=message) as caught:
        parse(text)
    assert caught.value.path == "metadata"


@pytest.mark.parametrize("levels", [280, 3000, 20_000])
def test_deeper_nesting_is_an_error(levels: int) -> None:
    with pytest.raises(TraceFormatError, match="too deeply"):
        payload("struct { " * levels + "string s;" + "} x;" * levels)


def test_deep_nesting_is_read(tmp_path: Path) -> None:
    fields = "struct { " * 279 + "integer { size = 8; } v;" + "} x;" * 279
    (tmp_path / "metadata").write_text(
        "/* CTF 1.8 */ trace { major = 1; minor = 8; byte_order = le; }; stream { };"
        f'event {{ name = "e"; fields := struct {{ {fields} }}; }};'
    )
    (tmp_path / "stream").write_bytes(b"\7")
    trace = boxtrace.open(tmp_path)
    (event,) = trace.events()
    value = event.payload["x"]
    for _ in range(278):
        value = value["x"]
    assert value == {"v": 7}
    assert len(list(trace.batches(["e"]))) == 1


def test_no_trace_block() -> None:
    with pytest.raises(TraceFormatError, match="no trace block"):
        parse_tsdl("env { a = 1; };")


def test_structures_of_leaves_are_the_same_with_a_comment_in_them() -> None:
    text = write_tsdl(TRACE)
    plain = text.replace("struct {", "struct { /* not one token any more */")
    assert plain != text
    assert parse_tsdl(plain) == parse_tsdl(text)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("integer { size = 32; } _a;\n\tinteger { size = nine; } _b;", "line 3, column 2: "),
        ("string _a;\n\tinteger { size = 8; } _a;", "'_a' is declared twice"),
    ],
)
def test_what_is_wrong_in_a_structure_of_leaves_has_its_place(member: str, message: str) -> None:
    head = 'trace { major = 1; minor = 8; byte_order = le; }; event { name = "e"; fields := struct {\n'
    with pytest.raises(TraceFormatError, match=re.escape(message)):
        parse_tsdl(head + member + "\n}; };")
    assert parse_tsdl(head + "\tinteger { size = 8; } _a[010];\n}; };").streams[0].events[0].fields == StructField(
        members=(Member("a", ArrayField(element=IntegerField(size=8), length=8)),)
    )
