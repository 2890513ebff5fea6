import json
from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boxtrace.ctf.fields import (
    ArrayField,
    BitMapField,
    BlobField,
    ByteOrder,
    Encoding,
    EnumMapping,
    FieldLocation,
    IntegerField,
    Member,
    OptionField,
    Role,
    Scope,
    SequenceField,
    StaticStringField,
    StringField,
    StructField,
    VariantField,
)
from boxtrace.ctf.json_parser import parse_json
from boxtrace.ctf.json_writer import write_json
from boxtrace.ctf.model import UNIX_EPOCH, ClockOrigin, EventClass, StreamClass, TraceClass
from boxtrace.ctf.tsdl_parser import parse_tsdl
from boxtrace.ctf.tsdl_writer import write_tsdl
from boxtrace.errors import TraceFormatError
from support.ctf_random import structs
from support.ctf_sample import TRACE

PREAMBLE = {"type": "preamble", "version": 2}
U8 = {"type": "fixed-length-unsigned-integer", "length": 8, "byte-order": "little-endian", "alignment": 8}


def text(*fragments: object) -> str:
    return "".join(f"\x1e{json.dumps(fragment)}\n" for fragment in fragments)


def payload(
    *members: tuple[str, object], before: tuple[object, ...] = (), stream: Mapping[str, object] = {}
) -> StructField:
    classes = [{"name": name, "field-class": field} for name, field in members]
    event = {"type": "event-record-class", "payload-field-class": {"type": "structure", "member-classes": classes}}
    fields = (
        parse_json(text(PREAMBLE, *before, {"type": "data-stream-class", **stream}, event)).streams[0].events[0].fields
    )
    assert fields is not None
    return fields


def test_both_forms_of_metadata_give_the_same_model() -> None:
    from_json = parse_json(write_json(TRACE))
    assert (from_json.streams, from_json.clocks, from_json.uuid) == (TRACE.streams, TRACE.clocks, TRACE.uuid)
    assert parse_tsdl(write_tsdl(from_json)).streams == TRACE.streams


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.sampled_from(list(ByteOrder)).flatmap(lambda order: structs(order, (), 2)))
def test_any_field_class_survives(fields: StructField) -> None:
    trace = TraceClass(streams=(StreamClass(events=(EventClass(id=0, name="e", fields=fields),)),))
    assert parse_json(write_json(trace)) == trace


def test_fixed_length_field_classes() -> None:
    fields = payload(
        ("u", {**U8, "preferred-display-base": 16, "mappings": {"low": [[0, 3], 9], "high": [[4, 8]]}}),
        ("m", {**U8, "type": "fixed-length-bit-map", "flags": {"a": [0], "b": [[1, 3]]}}),
        ("r", {**U8, "bit-order": "last-to-first"}),
        ("b", {**U8, "byte-order": "big-endian", "bit-order": "last-to-first"}),
    )
    number = fields.find("u")
    assert isinstance(number, IntegerField)
    assert number.mappings == (EnumMapping("low", ((0, 3), (9, 9))), EnumMapping("high", ((4, 8),)))
    assert fields.find("m") == BitMapField(size=8, flags=(EnumMapping("a", ((0, 0),)), EnumMapping("b", ((1, 3),))))
    assert fields.find("r") == IntegerField(size=8, reversed_bits=True)
    assert fields.find("b") == IntegerField(size=8, byte_order=ByteOrder.BIG)


def test_texts_blobs_and_arrays() -> None:
    fields = payload(
        ("s", {"type": "null-terminated-string", "encoding": "utf-16le"}),
        ("t", {"type": "static-length-string", "length": 4}),
        ("b", {"type": "static-length-blob", "length": 3, "media-type": "image/png"}),
        ("a", {"type": "static-length-array", "length": 2, "minimum-alignment": 16, "element-field-class": U8}),
    )
    assert fields.find("s") == StringField(encoding=Encoding.UTF_16LE)
    assert fields.find("t") == StaticStringField(length=4)
    assert fields.find("b") == BlobField(length=3, media_type="image/png")
    assert fields.find("a") == ArrayField(element=IntegerField(size=8), length=2, align=16)


def test_relative_and_absolute_locations() -> None:
    def sequence(location: object) -> object:
        return {"type": "dynamic-length-array", "length-field-location": location, "element-field-class": U8}

    inner = {
        "type": "structure",
        "member-classes": [
            {"name": "n", "field-class": U8},
            {"name": "own", "field-class": sequence({"path": ["n"]})},
            {"name": "outer", "field-class": sequence({"path": [None, "n"]})},
            {"name": "far", "field-class": sequence({"origin": "packet-context", "path": ["p", "q"]})},
            {"name": "around", "field-class": sequence({"path": ["a", None, None, "x", "n"]})},
        ],
    }
    classes = [
        {"name": "p", "field-class": {"type": "structure", "member-classes": [{"name": "q", "field-class": U8}]}}
    ]
    context = {"packet-context-field-class": {"type": "structure", "member-classes": classes}}
    array = {"type": "static-length-array", "length": 2, "element-field-class": inner}
    fields = payload(("n", U8), ("x", array), stream=context)
    found = fields.find("x")
    assert isinstance(found, ArrayField) and isinstance(found.element, StructField)

    def length(name: str) -> FieldLocation:
        field = found.element.find(name)  # type: ignore[union-attr]
        assert isinstance(field, SequenceField)
        return field.length

    assert length("own") == FieldLocation(Scope.EVENT_PAYLOAD, ("x", "n"))
    assert length("outer") == FieldLocation(Scope.EVENT_PAYLOAD, ("n",))
    assert length("around") == FieldLocation(Scope.EVENT_PAYLOAD, ("x", "n"))
    assert length("far") == FieldLocation(Scope.PACKET_CONTEXT, ("p", "q"))


def test_variants_options_and_aliases() -> None:
    where = {"path": ["tag"]}
    fields = payload(
        ("tag", "byte"),
        (
            "v",
            {
                "type": "variant",
                "selector-field-location": where,
                "options": [
                    {"name": "a", "field-class": "byte", "selector-field-ranges": [[0, 4]]},
                    {"field-class": "byte", "selector-field-ranges": [7, [9, 9]]},
                ],
            },
        ),
        ("b", {**U8, "type": "fixed-length-boolean"}),
        ("o", {"type": "optional", "selector-field-location": {"path": ["b"]}, "field-class": "byte"}),
        before=({"type": "field-class-alias", "name": "byte", "field-class": U8},),
    )
    variant, option = fields.find("v"), fields.find("o")
    assert isinstance(variant, VariantField) and isinstance(option, OptionField)
    assert [(item.name, item.ranges) for item in variant.options] == [("a", ((0, 4),)), ("option1", ((7, 7), (9, 9)))]
    assert option.ranges is None


def test_clocks_roles_and_identities() -> None:
    context = {
        "type": "structure",
        "member-classes": [{"name": "begin", "field-class": {**U8, "roles": ["default-clock-timestamp"]}}],
    }
    trace = parse_json(
        text(
            {**PREAMBLE, "uuid": list(range(16))},
            {"type": "trace-class", "namespace": "ns", "name": "n", "uid": "u", "environment": {"a": 1, "b": "c"}},
            {
                "type": "clock-class",
                "id": "c",
                "name": "shown",
                "frequency": 1000,
                "origin": {"name": "boot", "uid": "1234"},
                "offset-from-origin": {"seconds": -5, "cycles": 7},
            },
            {"type": "clock-class", "id": "d", "frequency": 1, "origin": "unix-epoch"},
            {"type": "data-stream-class", "default-clock-class-id": "c", "packet-context-field-class": context},
        )
    )
    first, second = trace.clocks
    assert (first.title, first.origin, first.offset_seconds) == ("shown", ClockOrigin("boot", "1234"), -5)
    assert second.origin == UNIX_EPOCH
    assert (trace.name, trace.namespace, trace.uid, trace.environment) == ("n", "ns", "u", {"a": 1, "b": "c"})
    stamp = trace.streams[0].packet_context
    assert stamp == StructField(members=(Member("begin", IntegerField(size=8, roles=(Role.TIMESTAMP,), clock="c")),))
    assert "timestamp_begin" in write_tsdl(trace)


@pytest.mark.parametrize(
    ("fragments", "message"),
    [
        ([{"type": "trace-class"}], "first fragment is the preamble"),
        ([{"type": "preamble", "version": 3}], "CTF version 3"),
        ([PREAMBLE, {"type": "odd"}], "unknown fragment 'odd'"),
        ([PREAMBLE, {"type": "event-record-class"}], "no data stream class 0"),
        ([PREAMBLE, {"type": "data-stream-class"}, {"type": "data-stream-class"}], "declared twice"),
        ([PREAMBLE, {"type": "data-stream-class", "default-clock-class-id": "x"}], "no clock class 'x'"),
        ([PREAMBLE, {"type": "data-stream-class", "packet-context-field-class": "a"}], "no field class alias 'a'"),
        ([PREAMBLE, {"type": "data-stream-class", "packet-context-field-class": U8}], "is a structure"),
        ([PREAMBLE, {"type": "clock-class", "id": "c", "frequency": 0}], "not positive"),
        ([{**PREAMBLE, "extensions": {"x": {}}}], "extensions"),
        ([PREAMBLE, 5], "a fragment is an object"),
    ],
)
def test_errors(fragments: list[object], message: str) -> None:
    with pytest.raises(TraceFormatError, match=message):
        parse_json(text(*fragments))


@pytest.mark.parametrize(
    "field",
    [
        {"type": "nothing"},
        {**U8, "length": 0},
        {**U8, "length": 65},
        {**U8, "alignment": 3},
        {**U8, "byte-order": "middle"},
        {**U8, "roles": ["king"]},
        {**U8, "mappings": {"a": [[5, 4]]}},
        {**U8, "type": "fixed-length-floating-point-number", "length": 24},
        {"type": "static-length-string", "length": -1},
        {"type": "null-terminated-string", "encoding": "ebcdic"},
        {"type": "dynamic-length-blob", "length-field-location": {"path": [None, "x"]}},
        {"type": "dynamic-length-blob", "length-field-location": {"origin": "moon", "path": ["x"]}},
        "unknown",
        7,
    ],
)
def test_wrong_field_classes(field: object) -> None:
    with pytest.raises(TraceFormatError, match="payload-field-class"):
        payload(("x", field))


def test_alias_that_contains_itself() -> None:
    loop = {"type": "structure", "member-classes": [{"name": "x", "field-class": "a"}]}
    with pytest.raises(TraceFormatError, match="too deeply"):
        payload(("x", "a"), before=({"type": "field-class-alias", "name": "a", "field-class": loop},))
