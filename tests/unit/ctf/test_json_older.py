# ruff: noqa: E501 - tables of metadata
"""CTF 2 as its release candidates had it, and what is wrong with metadata of either form."""

import json
from pathlib import Path
from uuid import UUID

import pytest

import boxtrace
from boxtrace.ctf.json_parser import parse_json
from boxtrace.ctf.metadata import read_metadata
from boxtrace.ctf.model import UNIX_EPOCH, TraceClass
from boxtrace.errors import TraceFormatError
from boxtrace.view.text import TextView
from support.suites import read_text

PREAMBLE = {"type": "preamble", "version": 2}
U8 = {"type": "fixed-length-unsigned-integer", "length": 8, "byte-order": "little-endian"}
TEXT = {"type": "null-terminated-string"}


def struct_of(**members: object) -> dict[str, object]:
    classes = [{"name": name, "field-class": field} for name, field in members.items()]
    return {"type": "structure", "member-classes": classes}


def number(size: int, *roles: str, **more: object) -> dict[str, object]:
    return {**U8, "length": size, "alignment": 8, "roles": list(roles), **more}


def event(**members: object) -> dict[str, object]:
    return {"type": "event-record-class", "name": "e", "payload-field-class": struct_of(**members)}


def header(**variant: object) -> dict[str, object]:
    """LTTng's compact event header."""
    compact = struct_of(t=number(32, "default-clock-timestamp"))
    extended = struct_of(id=number(32, "event-record-class-id"), t=number(64, "default-clock-timestamp"))
    options = [
        {"name": "compact", "selector-field-ranges": [[0, 65534]], "field-class": compact},
        {"name": "extended", "selector-field-ranges": [[65535, 65535]], "field-class": extended},
    ]
    return {"type": "variant", "options": options, **variant}


def old_trace() -> list[dict[str, object]]:
    """A trace of CTF2-SPECRC-7.0 in the form that Trace Compass's own have."""
    uuid = list(range(16))
    labels = {"compact": [[0, 65534]], "extended": [[65535, 65535]]}
    kind = "fixed-length-unsigned-enumeration"
    return [
        {**PREAMBLE, "uuid": uuid},
        {
            "type": "trace-class",
            "uuid": uuid,
            "environment": {"domain": "ust", "tracer_major": 2},
            "packet-header-field-class": struct_of(
                magic=number(32, "packet-magic-number"),
                uuid={"type": "static-length-blob", "length": 16, "roles": ["metadata-stream-uuid"]},
            ),
        },
        {
            "type": "clock-class",
            "name": "k",
            "frequency": 1000,
            "uuid": uuid,
            "origin": "unix-epoch",
            "offset-from-origin": {"cycles": 1, "seconds": 2},
        },
        {
            "type": "data-stream-class",
            "default-clock-class-name": "k",
            "event-record-header-field-class": struct_of(
                id=number(16, "event-record-class-id", type=kind, mappings=labels),
                v=header(**{"selector-field-location": ["event-record-header", "id"]}),
            ),
        },
        {
            **event(
                n=U8,
                a={"type": "dynamic-length-array", "element-field-class": U8, "length-field-location": ["n"]},
                s={"type": "dynamic-length-string", "length-field-location": ["event-record-payload", "n"]},
                e={"type": "variable-length-signed-enumeration", "mappings": {"x": [[-2, -1]], "y": [[0, 9]]}},
            ),
            "user-attributes": {"babeltrace.org,2020": {"log-level": "debug:line"}},
        },
    ]


def new_trace() -> list[dict[str, object]]:
    """The same in the form of CTF2-SPEC-2.0."""
    preamble, trace, clock, stream, last = json.loads(json.dumps(old_trace()))
    del trace["uuid"]
    clock["uid"] = str(UUID(bytes=bytes(clock.pop("uuid"))))
    clock["id"] = "k"
    stream["default-clock-class-id"] = stream.pop("default-clock-class-name")
    identifier, variant = stream["event-record-header-field-class"]["member-classes"]
    identifier["field-class"]["type"] = "fixed-length-unsigned-integer"
    variant["field-class"]["selector-field-location"] = {"origin": "event-record-header", "path": ["id"]}
    last["attributes"] = last.pop("user-attributes")
    members = [member["field-class"] for member in last["payload-field-class"]["member-classes"]]
    members[1]["length-field-location"] = {"path": ["n"]}
    members[2]["length-field-location"] = {"origin": "event-record-payload", "path": ["n"]}
    members[3]["type"] = "variable-length-signed-integer"
    return [preamble, trace, clock, stream, last]


@pytest.mark.parametrize("separator", ["\x1e", "\n", "", "\n\x1e \n"])
def test_release_candidate_gives_the_same_model(separator: str) -> None:
    old = parse_json(separator.join(["", *map(json.dumps, old_trace())]))
    assert old == parse_json("".join(f"\x1e{json.dumps(fragment)}" for fragment in new_trace()))
    assert old.uuid == UUID(bytes=bytes(range(16))) and old.clocks[0].origin == UNIX_EPOCH
    assert old.streams[0].events[0].attributes == {"babeltrace.org,2020": {"log-level": "debug:line"}}


def test_release_candidate_is_read(tmp_path: Path) -> None:
    (tmp_path / "metadata").write_text("\n".join(map(json.dumps, old_trace())))
    packet = b"\xc1\x1f\xfc\xc1" + bytes(range(16)) + b"\0\0\7\0\0\0" + b"\2AB" + b"hi" + b"\x7f"
    (tmp_path / "stream").write_bytes(packet)
    text = b'[00:00:02.008000000] (+?.?????????) e: { n = 2, a = [ [0] = 65, [1] = 66 ], s = "hi", e = ( "x" : container = -1 ) }\n'
    assert read_text(tmp_path) == (text, None)
    assert "".join(TextView(utc=True).lines(boxtrace.open(tmp_path).events())).encode() == text


@pytest.mark.parametrize(
    ("members", "seconds", "known"),
    [
        ({"offset": {"seconds": 3}}, 3, True),
        ({"offset": {"seconds": 3}, "origin-is-unix-epoch": False}, 3, False),
        ({"origin-is-unix-epoch": True}, 0, True),
        ({"offset-from-origin": {"seconds": 3}}, 3, False),
    ],
)
def test_clocks_of_older_candidates(members: dict[str, object], seconds: int, known: bool) -> None:
    clock = parse(PREAMBLE, {"type": "clock-class", "name": "k", "frequency": 1, **members}).clocks[0]
    assert (clock.offset_seconds, clock.origin) == (seconds, UNIX_EPOCH if known else None)


def parse(*fragments: object) -> TraceClass:
    return parse_json("".join(f"\x1e{json.dumps(fragment)}\n" for fragment in fragments))


def test_members_of_older_candidates() -> None:
    fields = {"type": "structure", "member-field-classes": [{"name": "a", "field-class": U8}]}
    last = {"type": "event-record-class", "payload-field-class": fields}
    found = parse(PREAMBLE, {"type": "data-stream-class"}, last).streams[0].events[0].fields
    assert found is not None and [member.name for member in found.members] == ["a"]


def test_environment_without_entries() -> None:
    assert parse(PREAMBLE, {"type": "trace-class", "environment": None}).environment == {}


UNSIGNED = ["00", "4d", "b101", "f3d002", "d5aa85e9e89c8fd004", "ff" * 9 + "01"]
SIGNED = ["00", "7f", "17", "e47e", "ecc200", "ff" * 9 + "00", "80" * 9 + "7f"]
LABELS = {"low": [[-(10**18), -100], [-10, 0]], "high": [[50, 100], [177, 10**30]]}


def test_variable_length_integers(tmp_path: Path) -> None:
    """Ranges may lie outside of what the field can be."""
    unsigned = {"type": "variable-length-unsigned-integer", "mappings": LABELS}
    signed = {"type": "variable-length-signed-integer", "mappings": LABELS}
    members = {f"u{index}": unsigned for index in range(len(UNSIGNED))}
    members |= {f"i{index}": signed for index in range(len(SIGNED))}
    fragments = (PREAMBLE, {"type": "trace-class"}, {"type": "data-stream-class"}, event(**members))
    (tmp_path / "metadata").write_text("\n".join(map(json.dumps, fragments)))
    (tmp_path / "stream").write_bytes(bytes.fromhex("".join(UNSIGNED + SIGNED)))
    trace = boxtrace.open(tmp_path)
    values = [0, 77, 177, 43123, 333333333333333333, 2**64 - 1, 0, -1, 23, -156, 8556, 2**63 - 1, -(2**63)]
    assert list(next(iter(trace.events())).payload.values()) == values  # type: ignore[union-attr]
    text, error = read_text(tmp_path)
    assert error is None
    assert text.decode() == "".join(TextView(utc=True).lines(trace.events()))
    shown = ["low", "high", "high", "high", "high", "high", "low", "low", None, "low", "high", "high", None]
    assert [part.split('"')[1] if '"' in part else None for part in text.decode().split("= ( ")[1:]] == shown


@pytest.mark.parametrize("bits", ["80" * 9 + "05", "80" * 11 + "01", "80" * 5, "ff" * 9 + "02"])
def test_variable_length_integers_that_are_too_long(tmp_path: Path, bits: str) -> None:
    fragments = (PREAMBLE, {"type": "data-stream-class"}, event(v={"type": "variable-length-signed-integer"}))
    (tmp_path / "metadata").write_text("\n".join(map(json.dumps, fragments)))
    (tmp_path / "stream").write_bytes(bytes.fromhex(bits))
    text, error = read_text(tmp_path)
    assert text == b"" and error is not None and "field v" in str(error)


def inside(field: object) -> list[object]:
    return [
        PREAMBLE,
        {"type": "data-stream-class"},
        event(n=U8, b={**U8, "type": "fixed-length-boolean"}, s=struct_of(x=field)),
    ]


PLACE = "payload-field-class.member-classes[2].field-class.member-classes[0].field-class"


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (7, f"{PLACE}: a field class is an object"),
        ({"type": "blob"}, f"{PLACE}: unknown field class 'blob'"),
        ({**U8, "length": "8"}, f"{PLACE}: property 'length' is an integer, not \"8\""),
        ({**U8, "length": True}, f"{PLACE}: property 'length' is an integer"),
        ({**U8, "alignment": 1 << 31}, "cannot be read"),
        ({"type": "static-length-array", "length": 1, "element-field-class": {}}, f"{PLACE}.element-field-class: prop"),
        (
            {"type": "dynamic-length-string", "length-field-location": {"path": ["q"]}},
            "'s.q' .* no field that comes before",
        ),
        (
            {"type": "dynamic-length-string", "length-field-location": ["event-record-payload", "s"]},
            "no field that comes",
        ),
        ({"type": "dynamic-length-string", "length-field-location": ["packet-context", "n"]}, "no field that comes"),
        (
            {"type": "dynamic-length-string", "length-field-location": {"path": [None, "b"]}},
            "expected an unsigned integer",
        ),
        ({"type": "dynamic-length-string", "length-field-location": {"path": [None, None, "n"]}}, "leads out of"),
        ({"type": "dynamic-length-string", "length-field-location": {"path": [None]}}, "leads out of"),
        ({"type": "dynamic-length-string", "length-field-location": []}, "names and nulls"),
        (
            {"type": "dynamic-length-string", "length-field-location": {"path": [None, "n"], "origin": []}},
            "unknown origin",
        ),
        (
            {"type": "optional", "selector-field-location": {"path": [None, "n"]}, "field-class": U8},
            "expected a boolean",
        ),
        (
            {
                "type": "optional",
                "selector-field-location": {"path": [None, "b"]},
                "selector-field-ranges": [[1, 2]],
                "field-class": U8,
            },
            "expected an integer",
        ),
        (
            {
                "type": "variant",
                "selector-field-location": {"path": [None, "n"]},
                "options": [{"selector-field-ranges": [[0, 1]]}],
            },
            r"options\[0\].field-class: a field class is an object",
        ),
        ({**U8, "roles": [[]]}, "unknown role"),
        ({**U8, "mappings": {"a": []}}, "is an array that is not empty"),
        (struct_of(x=U8)["member-classes"], "a field class is an object"),
        ({"type": "structure", "member-classes": [5]}, "expected an object, found 5"),
    ],
)
def test_errors_tell_the_path(field: object, message: str) -> None:
    pattern = message.replace("[2]", r"\[2\]").replace("classes[0]", r"classes\[0\]")
    with pytest.raises(TraceFormatError, match=pattern):
        parse(*inside(field))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type": "preamble", "version": 2}\n{"type": ', r"fragment 2: .* line 2 column 10"),
        ('{"type": "preamble", "version": 2} x', "fragment 2"),
        ('{"type": "preamble", "version": 2, "version": 2}', "'version' is given twice"),
        ('{"type": "preamble", "version": NaN}', "NaN is not JSON"),
        ('{"type": "preamble", "version": 2, "uuid": [1, 2]}', "array of 16 bytes"),
        ('{"type": [], "version": 2}', "property 'type' is a text"),
        ('{"type": "preamble", "version": 2}{"type": "clock-class", "name": "k"}', "'frequency' is missing"),
        ('{"type": "preamble", "version": 2}{"type": "field-class-alias", "name": "k"}', "a field class is an object"),
        (
            '{"type": "preamble", "version": 2}{"type": "clock-class", "name": "k", "frequency": 1, "origin-is-unix-epoch": 3}',
            "origin-is-unix-epoch",
        ),
        (
            '{"type": "preamble", "version": 2}{"type": "clock-class", "name": "k", "frequency": 1, "offset": {"seconds": 10000000000}}{"type": "data-stream-class", "default-clock-class-name": "k"}',
            "clock k: its offset is beyond 64 bits",
        ),
    ],
)
def test_errors_of_fragments(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "metadata").write_text(text)
    with pytest.raises(TraceFormatError, match=message):
        read_metadata(tmp_path / "metadata")


def test_byte_order_that_changes_within_a_byte() -> None:
    bits = {"type": "fixed-length-unsigned-integer", "length": 4, "alignment": 1, "byte-order": "little-endian"}
    other = {**bits, "byte-order": "big-endian"}
    whole = {**other, "length": 8, "alignment": 8}
    parse(PREAMBLE, {"type": "data-stream-class"}, event(a=bits, b=bits, c=other, d=other, e=bits, f=whole))
    option = {"type": "optional", "selector-field-location": {"path": ["o"]}, "field-class": bits}
    flag = {**U8, "type": "fixed-length-boolean"}
    parse(PREAMBLE, {"type": "data-stream-class"}, event(o=flag, a=option, b=other))  # depends on the event
    with pytest.raises(TraceFormatError, match=r"event-record-payload.s.b: begins within a byte"):
        parse(PREAMBLE, {"type": "data-stream-class"}, event(n={**bits, "alignment": 8}, s=struct_of(b=other)))
