"""What each numbered example of CTF2-SPEC-2.0 declares is read, by both decoders.

The examples are those of https://diamon.org/ctf/files/CTF2-SPEC-2.0.html, sections 5.1 to 5.7; the values are ours.
"""

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import boxtrace
from boxtrace.ctf.json_parser import parse_json
from boxtrace.ctf.model import UNIX_EPOCH, ClockOrigin
from boxtrace.errors import TraceFormatError
from support.twins import assert_twins_agree

PREAMBLE = {"type": "preamble", "version": 2}
NICE = {"my.tracer": {"is-nice": True}}
LITTLE = {"byte-order": "little-endian"}
BIG = {"byte-order": "big-endian"}
TEXT = {"type": "null-terminated-string"}
U8 = {"type": "fixed-length-unsigned-integer", "length": 8, **LITTLE}
S8 = {"type": "fixed-length-signed-integer", "length": 8, **LITTLE}
SEQUENCE = list(range(16))


def bits(kind: str, length: int, **more: object) -> dict[str, object]:
    return {"type": f"fixed-length-{kind}", "length": length, **more}


def integer(length: int, *, signed: bool = False, **more: object) -> dict[str, object]:
    return bits("signed-integer" if signed else "unsigned-integer", length, **more)


def variable(*, signed: bool = False, **more: object) -> dict[str, object]:
    return {"type": f"variable-length-{'signed' if signed else 'unsigned'}-integer", **more}


def structure(*members: tuple[str, object], **more: object) -> dict[str, object]:
    return {"type": "structure", "member-classes": [{"name": n, "field-class": f} for n, f in members], **more}


def at(*path: str | None, origin: str | None = None) -> dict[str, object]:
    return {"path": list(path)} if origin is None else {"origin": origin, "path": list(path)}


def text(*fragments: object) -> str:
    return "".join(f"\x1e{json.dumps(fragment)}\n" for fragment in fragments)


def event_class(payload: object, **more: object) -> dict[str, object]:
    return {"type": "event-record-class", "name": "example", "payload-field-class": payload, **more}


def read(directory: Path, data: bytes, *fragments: object) -> dict[str, Any]:
    """Return the one event of a trace, after both decoders have read the same."""
    (directory / "metadata").write_text(text(PREAMBLE, *fragments))
    (directory / "stream").write_bytes(data)
    trace = boxtrace.open(directory)
    assert assert_twins_agree(trace) == 1
    return dict(next(iter(trace.events())))


PLANETS = {"Mercury": [[7, 7]], "Venus": [[6, 6], [2, 3]], "Earth": [[5, 7]], "Mars": [[0, 1]]}
FRUIT = {"banana": [[-27399, -1882], [8, 199], [101, 101]], "orange": [[67, 67], [43, 1534]]}
UUID = [243, 97, 0, 184, 236, 54, 72, 97, 141, 107, 169, 214, 171, 137, 115, 201]
STREET = structure(
    ("Villeray", TEXT),
    ("Berri", integer(32, **LITTLE, **{"preferred-display-base": 2})),
    ("Faillon", bits("boolean", 8, **LITTLE)),
)
DENIS = structure(("St-Denis", TEXT), ("Lajeunesse", integer(32, **BIG, alignment=32)), **{"minimum-alignment": 64})
JULIEN = structure(
    ("Henri-Julien", integer(48, signed=True, **LITTLE)),
    ("Casgrain", {"type": "static-length-string", "length": 32}),
    attributes={"my.tracer": {"version": 4}},
)
IP = {"type": "static-length-array", "element-field-class": {**U8, "alignment": 8}, "length": 16}

# Number of the example, field class, bytes, value.
FIELDS: list[tuple[int, object, bytes, object]] = [
    (9, bits("bit-array", 16, **LITTLE), b"\x34\x12", 0x1234),
    (10, bits("bit-array", 48, **BIG, alignment=32), b"\0\0\1\2\3\4", 0x01020304),
    (11, bits("bit-array", 32, **LITTLE, **{"bit-order": "last-to-first"}), b"\x01\0\0\0", 1 << 31),
    (12, bits("bit-array", 16, **LITTLE, attributes=NICE), b"\xff\x00", 0xFF),
    (13, bits("bit-map", 16, **LITTLE, flags={"FEATURE": [[3, 3]]}), b"\x08\0", 8),
    (
        14,
        bits(
            "bit-map", 48, **BIG, alignment=32, flags={"shock": [[3, 3]], "cord": [[4, 4], [8, 10]], "learn": [[2, 7]]}
        ),
        b"\0\0\0\0\1\4",
        0x104,
    ),
    (15, bits("bit-map", 16, **LITTLE, flags={"FEATURE": [[3, 3]]}, attributes=NICE), b"\0\x80", 0x8000),
    (16, bits("bit-map", 8, **LITTLE, flags=PLANETS), b"\xa2", 0xA2),
    (17, bits("boolean", 16, **LITTLE), b"\0\x10", True),
    (18, bits("boolean", 48, **BIG, alignment=32), bytes(6), False),
    (19, bits("boolean", 16, **LITTLE, attributes=NICE), b"\1\0", True),
    (20, variable(signed=True, mappings={"fortune": [[3, 67], [-45, 1], [84, 84]], "building": [[4, 5]]}), b"\x7b", -5),
    (21, integer(16, **LITTLE), b"\x34\x12", 0x1234),
    (22, integer(48, signed=True, **BIG, alignment=32), b"\xff" * 5 + b"\xfe", -2),
    (23, integer(48, **BIG, **{"preferred-display-base": 16}), b"\0\0\0\0\1\0", 256),
    (24, integer(32, signed=True, **LITTLE, mappings=FRUIT), struct.pack("<i", -1882), -1882),
    (25, integer(16, signed=True, **LITTLE, attributes=NICE), b"\xff\xff", -1),
    (26, bits("floating-point-number", 32, **LITTLE), struct.pack("<f", 1.5), 1.5),
    (27, bits("floating-point-number", 64, **BIG, alignment=32), struct.pack(">d", -0.1), -0.1),
    (
        28,
        bits("floating-point-number", 192, **LITTLE, attributes=NICE),
        (0xFFFF << 174 | 3 << 172).to_bytes(24, "little"),
        1.75,
    ),
    (29, variable(), b"\xf3\xd0\x02", 43123),
    (30, variable(signed=True, **{"preferred-display-base": 16}), b"\xe4\x7e", -156),
    (31, variable(mappings={"lime": [[3, 3]], "kiwi": [[8, 8]], "blueberry": [[11, 11]]}), b"\x08", 8),
    (32, variable(attributes=NICE), b"\xff" * 9 + b"\x01", (1 << 64) - 1),
    (33, TEXT, "né\0".encode(), "né"),
    (34, {**TEXT, "encoding": "utf-16le"}, "meow\0".encode("utf-16-le"), "meow"),
    (35, {**TEXT, "attributes": NICE}, b"\0", ""),
    (36, {"type": "static-length-string", "length": 0}, b"", ""),
    (37, {"type": "static-length-string", "length": 100}, b"hundred".ljust(100, b"\0"), "hundred"),
    (
        38,
        {"type": "static-length-string", "encoding": "utf-32be", "length": 64},
        "𝄞 cl\0".encode("utf-32-be").ljust(64, b"x"),
        "𝄞 cl",
    ),
    (39, {"type": "static-length-string", "length": 13, "attributes": {"my.tracer": None}}, b"x" * 13, "x" * 13),
    (43, {"type": "static-length-blob", "length": 0}, b"", b""),
    (44, {"type": "static-length-blob", "length": 511267, "media-type": "image/tiff"}, b"II*\0" + bytes(511263), None),
    (
        45,
        {"type": "static-length-blob", "length": 2400, "media-type": "text/csv", "attributes": {"my.tracer": {}}},
        b"a,b\n" * 600,
        b"a,b\n" * 600,
    ),
    (48, {"type": "structure"}, b"", {}),
    (49, STREET, b"rue\0\5\0\0\0\1", {"Villeray": "rue", "Berri": 5, "Faillon": True}),
    (50, DENIS, b"ab\0\0\0\0\0\7", {"St-Denis": "ab", "Lajeunesse": 7}),
    (51, JULIEN, b"\xff" * 6 + b"so".ljust(32, b"\0"), {"Henri-Julien": -1, "Casgrain": "so"}),
    (52, structure(("cat", TEXT)), b"purr\0", {"cat": "purr"}),
    (53, structure(("dog", variable(signed=True, **{"preferred-display-base": 8}))), b"\x17", {"dog": 23}),
    (
        54,
        {
            "type": "static-length-array",
            "element-field-class": integer(16, signed=True, **LITTLE, alignment=16),
            "length": 0,
        },
        b"",
        [],
    ),
    (55, {"type": "static-length-array", "element-field-class": TEXT, "length": 100}, b"a\0\0" * 50, ["a", ""] * 50),
    (
        56,
        {
            "type": "static-length-array",
            "element-field-class": variable(),
            "length": 13,
            "attributes": {"my.tracer": True},
        },
        bytes(range(13)),
        list(range(13)),
    ),
    (
        57,
        {
            "type": "static-length-array",
            "length": 32,
            "minimum-alignment": 32,
            "element-field-class": bits("boolean", 1, **LITTLE),
        },
        struct.pack("<I", 1 << 31 | 2),
        [index in (1, 31) for index in range(32)],
    ),
]


@pytest.mark.parametrize(
    ("number", "field", "data", "value"), FIELDS, ids=lambda item: str(item) if isinstance(item, int) else ""
)
def test_field_class(tmp_path: Path, number: int, field: object, data: bytes, value: object) -> None:
    payload = structure(("example", field), ("after", {**U8, "alignment": 8}))
    event = read(tmp_path, data + b"\x2a", {"type": "data-stream-class"}, event_class(payload))
    assert event["after"] == 42
    assert event["example"] == (data if value is None else value)


def option(ranges: Sequence[Sequence[int]], field: object, name: str | None = None) -> dict[str, object]:
    named = {} if name is None else {"name": name}
    return {"selector-field-ranges": ranges, "field-class": field, **named}


WITHIN = "event-record-payload"
VARIANT = {
    "type": "variant",
    "selector-field-location": at("sel", origin=WITHIN),
    "options": [
        option([[5, 5]], TEXT),
        option([[8, 8]], integer(16, signed=True, **LITTLE, **{"preferred-display-base": 8})),
    ],
}
SHARED = {
    "type": "optional",
    "selector-field-location": at("sel", origin=WITHIN),
    "selector-field-ranges": [[1, 255]],
    "field-class": {
        "type": "variant",
        "selector-field-location": at("sel", origin=WITHIN),
        "options": [
            option([[1, 1]], TEXT),
            option([[2, 2]], variable(signed=True, **{"preferred-display-base": 16})),
        ],
    },
}
OWNED = {
    "type": "variant",
    "selector-field-location": at("sel", origin="event-record-specific-context"),
    "options": [
        option([[5, 5], [10, 10], [15, 15]], {"type": "static-length-string", "length": 20}),
        option([[0, 4], [6, 9], [11, 14], [16, 127]], bits("floating-point-number", 32, **BIG)),
    ],
    "attributes": {"my.tracer": {"owner": "Jimmy", "id": 199990}},
}
JUICE = {
    "type": "variant",
    "selector-field-location": at("sel"),
    "options": [
        option([[-4, 4], [9, 9], [100, 200]], variable(signed=True, **{"preferred-display-base": 16}), "juice"),
        option([[5, 8]], TEXT),
    ],
}
DYNAMIC_TEXT = {"type": "dynamic-length-string"}
DYNAMIC_BLOB = {"type": "dynamic-length-blob"}
DYNAMIC_ARRAY = {"type": "dynamic-length-array"}
HAS_IP = {"type": "optional", "selector-field-location": at("has-ip", origin=WITHIN)}


def length(*path: str | None, origin: str | None = None) -> dict[str, object]:
    return {"length-field-location": at(*path, origin=origin)}


# Number of the example, members before, the field class, bytes, value.
REFERRING: list[tuple[int, list[tuple[str, object]], object, bytes, object]] = [
    (40, [("length", U8)], {**DYNAMIC_TEXT, **length("length", origin=WITHIN)}, b"\3hey", "hey"),
    (
        41,
        [("attrs", structure(("len", U8)))],
        structure(("it", {**DYNAMIC_TEXT, **length(None, "attrs", "len"), "encoding": "utf-16be"})),
        b"\4\0h\0i",
        {"it": "hi"},
    ),
    (42, [("name-length", variable())], {**DYNAMIC_TEXT, **length("name-length")}, b"\2ab", "ab"),
    (46, [("length", U8)], {**DYNAMIC_BLOB, **length("length", origin=WITHIN)}, b"\2\0\xff", b"\0\xff"),
    (
        47,
        [("length", U8)],
        structure(("it", {**DYNAMIC_BLOB, **length(None, "length"), "media-type": "image/jpeg"})),
        b"\3\xff\xd8\xff",
        {"it": b"\xff\xd8\xff"},
    ),
    (
        58,
        [("length", U8)],
        {**DYNAMIC_ARRAY, **length("length", origin=WITHIN), "element-field-class": integer(32, **BIG, alignment=16)},
        b"\2\0\0\0\0\1\0\0\0\2",
        [1, 2],
    ),
    (
        59,
        [("from-user", structure(("common-length", U8)))],
        {**DYNAMIC_ARRAY, **length("from-user", "common-length"), "element-field-class": variable()},
        b"\3\1\x80\1\2",
        [1, 128, 2],
    ),
    (60, [("has-ip", bits("boolean", 8, **LITTLE))], {**HAS_IP, "field-class": IP}, b"\1" + bytes(SEQUENCE), SEQUENCE),
    (60, [("has-ip", bits("boolean", 8, **LITTLE))], {**HAS_IP, "field-class": IP}, b"\0", None),
    *(
        (
            61,
            [("has-ip", S8)],
            {**HAS_IP, "selector-field-ranges": [[-12, -12], [-5, 0], [15, 35]], "field-class": TEXT},
            data,
            value,
        )
        for data, value in ((b"\xf4yes\0", "yes"), (b"\xfbyes\0", "yes"), (b"\xf5", None), (b"\x24", None))
    ),
    (62, [("sel", U8)], VARIANT, b"\5text\0", "text"),
    (62, [("sel", U8)], VARIANT, b"\x08\xfe\xff", -2),
    (63, [("sel", U8)], SHARED, b"\0", None),
    (63, [("sel", U8)], SHARED, b"\1one\0", "one"),
    (63, [("sel", U8)], SHARED, b"\2\x7f", -1),
    (65, [("sel", variable())], {**VARIANT, "options": [option([[3, 9]], TEXT)]}, b"\x09nine\0", "nine"),
    (66, [("sel", S8)], JUICE, b"\xfc\x17", 23),
    (66, [("sel", S8)], JUICE, b"\x07seven\0", "seven"),
]


@pytest.mark.parametrize(
    ("number", "before", "field", "data", "value"),
    REFERRING,
    ids=lambda item: str(item) if isinstance(item, int) else "",
)
def test_field_class_that_refers(
    tmp_path: Path, number: int, before: list[tuple[str, object]], field: object, data: bytes, value: object
) -> None:
    payload = structure(*before, ("example", field), ("after", {**U8, "alignment": 8}))
    event = read(tmp_path, data + b"\x2a", {"type": "data-stream-class"}, event_class(payload))
    assert event["after"] == 42
    assert event["example"] == value


def test_locations_with_an_origin_and_with_parents(tmp_path: Path) -> None:
    """Examples 4 to 6: the header's id as a length, members of members, the parents' of parents."""
    text = {**DYNAMIC_TEXT, **length(None, None, "mini", "parking", "stop")}
    stop = structure(("parking", structure(("stop", U8))))
    far = structure(("mini", stop), ("deep", structure(("most", structure(("it", text))))))
    payload = structure(
        ("streak", structure(("free", U8))),
        ("by header", {**DYNAMIC_TEXT, **length("id", origin="event-record-header")}),
        ("by member", {**DYNAMIC_TEXT, **length("streak", "free")}),
        ("far", far),
    )
    header = structure(("id", {**U8, "roles": ["event-record-class-id"]}))
    stream = {"type": "data-stream-class", "event-record-header-field-class": header}
    event = read(tmp_path, b"\2\3hicow\1!", stream, event_class(payload, id=2))
    assert (event["by header"], event["by member"]) == ("hi", "cow")
    assert event["far"]["deep"] == {"most": {"it": "!"}}


def test_selector_in_the_specific_context(tmp_path: Path) -> None:
    """Example 64."""
    event = event_class(structure(("example", OWNED)), **{"specific-context-field-class": structure(("sel", U8))})
    found = read(tmp_path, b"\x0a" + b"ten".ljust(20, b"\0"), {"type": "data-stream-class"}, event)
    assert found["example"] == "ten"
    (tmp_path / "other").mkdir()
    found = read(tmp_path / "other", b"\x10" + struct.pack(">f", 2.5), {"type": "data-stream-class"}, event)
    assert found["example"] == 2.5


def test_preambles() -> None:
    """Examples 1 and 67 to 69, 2 and 3: extensions that nobody knows are refused, attributes are not."""
    stream = {"type": "data-stream-class"}
    assert parse_json(text(PREAMBLE, stream)).uuid is None
    numbers = [229, 62, 10, 184, 80, 161, 79, 10, 183, 16, 181, 240, 187, 169, 196, 172]
    found = parse_json(text({**PREAMBLE, "uuid": numbers}, stream)).uuid
    assert found is not None and list(found.bytes) == numbers
    extensions = {"my.tracer": {"piano": {"keys": 88, "temperament": "equal"}, "ramen": None}}
    with pytest.raises(TraceFormatError, match=r"my\.tracer"):
        parse_json(text({**PREAMBLE, "extensions": extensions}, stream))
    attributes = {"my.tracer": {"max-count": 45, "module": "sys"}, "abc/xyz": True}
    assert parse_json(text({**PREAMBLE, "attributes": attributes}, stream)).streams


def test_aliases(tmp_path: Path) -> None:
    """Examples 70 and 71."""
    aliases = [
        {"type": "field-class-alias", "name": "u8", "field-class": U8},
        {"type": "field-class-alias", "name": "uint8", "field-class": "u8"},
    ]
    event = event_class(structure(("a", "u8"), ("b", "uint8")))
    assert read(tmp_path, b"\1\2", *aliases, {"type": "data-stream-class"}, event) == {"a": 1, "b": 2}


def test_packet_header(tmp_path: Path) -> None:
    """Example 72: the packet's magic number, UUID, data stream class and data stream."""
    numbers = [30, 201, 100, 148, 228, 2, 69, 70, 147, 219, 233, 34, 43, 238, 108, 199]
    header = structure(
        ("the magic!", integer(32, **LITTLE, **{"preferred-display-base": 16, "roles": ["packet-magic-number"]})),
        ("the UUID", {"type": "static-length-blob", "length": 16, "roles": ["metadata-stream-uuid"]}),
        ("my data stream class ID", {**U8, "roles": ["data-stream-class-id"]}),
        ("my data stream ID", variable(roles=["data-stream-id"])),
    )
    fragments = [
        {**PREAMBLE, "uuid": numbers},
        {"type": "trace-class", "packet-header-field-class": header},
        {"type": "data-stream-class", "id": 3},
        event_class(structure(("a", U8)), **{"data-stream-class-id": 3}),
    ]
    (tmp_path / "metadata").write_text(text(*fragments))
    start = b"\xc1\x1f\xfc\xc1" + bytes(numbers) + b"\3\xac\2"
    (tmp_path / "stream").write_bytes(start + b"\7")
    trace = boxtrace.open(tmp_path)
    assert (trace.streams[0].cls.id, trace.streams[0].id) == (3, 300)
    assert assert_twins_agree(trace) == 1
    (tmp_path / "stream").write_bytes(start.replace(bytes(numbers[:4]), b"\0\0\0\0") + b"\7")
    with pytest.raises(TraceFormatError, match="UUID"):
        list(boxtrace.open(tmp_path).events())


@pytest.mark.parametrize(
    ("number", "properties", "base"),
    [
        (73, {"frequency": 1_000_000_000}, 0),
        (74, {"frequency": 1_000_000_000, "origin": "unix-epoch"}, 0),
        (75, {"namespace": "some-tracer", "name": "hot", "uid": "wheels.28", "frequency": 80_000_000}, 0),
        (76, {"frequency": 1_000_000_000, "origin": {"name": "my origin", "uid": "60:57:18:a3:42:29"}}, 0),
        (
            77,
            {"frequency": 1_000_000_000, "offset-from-origin": {"seconds": 1605112699, "cycles": 2878388}},
            1605112699002878388,
        ),
        (78, {"frequency": 8_000_000, "precision": 100}, 0),
        (79, {"frequency": 16_000_000, "accuracy": 1500}, 0),
        (80, {"frequency": 32_000_000, "attributes": {"my.tracer": {"sys-name": "SOC23"}}}, 0),
        (83, {"frequency": 1_000_000_000, "offset-from-origin": {}}, 0),
        (85, {"frequency": 1_000_000_000, "offset-from-origin": {"seconds": 1605111293}}, 1605111293 * 10**9),
        (
            86,
            {"frequency": 1_000_000_000, "offset-from-origin": {"seconds": -18003, "cycles": 11928547}},
            -18003 * 10**9 + 11928547,
        ),
    ],
)
def test_clock(number: int, properties: dict[str, object], base: int) -> None:
    clock = {"type": "clock-class", "id": "my clock class", **properties}
    stream = {"type": "data-stream-class", "default-clock-class-id": "my clock class"}
    trace = parse_json(text(PREAMBLE, clock, stream))
    (found,) = trace.clocks
    assert (found.name, found.frequency, found.base_ns) == ("my clock class", properties["frequency"], base)
    assert (found.precision, found.accuracy) == (properties.get("precision"), properties.get("accuracy"))
    assert (found.namespace, found.title, found.uid) == tuple(
        properties.get(key) for key in ("namespace", "name", "uid")
    )
    origin = properties.get("origin")
    expected = (
        ClockOrigin(origin["name"], origin["uid"]) if isinstance(origin, dict) else UNIX_EPOCH if origin else None
    )
    assert found.origin == expected
    assert trace.streams[0].clock == "my clock class"


def test_origins_tell_clocks_apart() -> None:
    """Examples 81 and 82."""
    clocks = []
    for origin in ({"name": "my-origin", "uid": "42"}, {"namespace": "some-tracer", "name": "my-origin", "uid": "42"}):
        clock = {"type": "clock-class", "id": "c", "frequency": 1, "origin": origin}
        clocks += parse_json(text(PREAMBLE, clock, {"type": "data-stream-class"})).clocks
    assert clocks[0].origin == ClockOrigin("my-origin", "42")
    assert clocks[1].origin == ClockOrigin("my-origin", "42", "some-tracer")
    assert clocks[0].origin != clocks[1].origin


@pytest.mark.parametrize("data", [b"\x80" * 9 + b"\x05", b"\x80" * 10 + b"\x01", b"\x80\x80"])
@pytest.mark.parametrize("signed", [True, False])
def test_integers_of_too_many_bits(tmp_path: Path, data: bytes, signed: bool) -> None:
    """LEB128 that does not fit in 64 bits, and one that never ends."""
    event = event_class(structure(("it", variable(signed=signed))))
    (tmp_path / "metadata").write_text(text(PREAMBLE, {"type": "data-stream-class"}, event))
    (tmp_path / "stream").write_bytes(data)
    with pytest.raises(TraceFormatError):
        list(boxtrace.open(tmp_path).events())
    with pytest.raises(TraceFormatError):
        boxtrace.open(tmp_path).table("example")
