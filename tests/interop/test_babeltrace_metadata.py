# ruff: noqa: E501 - tables of metadata
"""TSDL, right and wrong, of the kinds that other readers' test suites have: read, or refused, as by babeltrace2.

The kinds are those of ctf-testsuite (https://github.com/efficios/ctf-testsuite), yactfr (https://github.com/eepp/yactfr)
and babeltrace2's own. Where boxtrace differs on purpose is in ``REFUSED`` and ``READ``, with the reason.
"""

import shutil
import struct
from pathlib import Path

import pytest

from support.suites import (
    PLAIN,
    TSDL,
    assert_edit_same,
    assert_fields_same,
    assert_same,
    packet,
    read_text,
    write_trace,
)

pytestmark = pytest.mark.skipif(shutil.which("babeltrace2") is None, reason="babeltrace2 is not installed")
CLOCKED = PLAIN.replace(
    "stream {\n", "CLOCK typealias integer { size = 8; map = clock.c.value; } := ts;\nstream {\n"
).replace("uint8_t id; }", "uint8_t id; ts t; }")
UNMAPPED = PLAIN.replace("stream {\n", "CLOCK\nstream {\n").replace("uint8_t id; }", "uint8_t id; uint8_t timestamp; }")
SHORT = PLAIN[: PLAIN.index("trace {")] + "trace { major = 1; minor = 8; byte_order = le; HEADER };\n"
"""Without packet context and event header: as short as a trace can be."""
OPTIONS = "{ struct { uint8_t _; } a; struct { uint16_t _; } b; }"

FIELDS = {
    "size in quotes": ('integer { size = "8"; } a;', b"\1"),
    "alignment in quotes": ('integer { size = 8; align = "8"; } a;', b"\1"),
    "base of digits in quotes": ('integer { size = 8; base = "16"; } a;', b"\1"),
    "base of a word in quotes": ('integer { size = 8; base = "hex"; } a;', b"\1"),
    "sign in quotes": ('integer { size = 8; signed = "true"; } a;', b"\xff"),
    "byte order in quotes": ('integer { size = 16; align = 8; byte_order = "be"; } a;', b"\1\2"),
    "exponent in quotes": ('floating_point { exp_dig = "8"; mant_dig = 24; align = 8; } a;', b"\1\1\1\1"),
    "unknown attribute of a float": (
        "floating_point { exp_dig = 8; mant_dig = 24; align = 8; x = 3; } a;",
        b"\1\1\1\1",
    ),
    "unknown encoding of a string": ("string { encoding = latin; } a;", b"\1\0"),
    "no encoding of a string": ("string { encoding = none; } a;", b"\1\0"),
    "size that is a word": ("integer { size = foo; } a;", b"\1"),
    "size of minus 0": ("integer { size = -0; } a;", b"\1"),
    "size in octal": ("integer { size = 010; } a;", b"\1"),
    "missing semicolon": ("integer { size = 8 } a;", b"\1"),
    "byte order changes within a byte": (
        "integer { size = 3; byte_order = be; } a; integer { size = 5; byte_order = le; } b;",
        b"\xf8",
    ),
    "byte order changes between bytes": (
        "integer { size = 8; align = 1; byte_order = be; } a; integer { size = 8; align = 1; byte_order = le; } b;",
        b"\1\2",
    ),
    "byte order changes after padding": (
        "integer { size = 3; byte_order = be; } a; integer { size = 8; align = 8; byte_order = le; } b;",
        b"\1\2",
    ),
    "text after bits": ("integer { size = 3; } a; string b;", b"\5hi\0"),
    "huge sequence": ("uint32_t n; uint32_t a[n];", b"\xff" * 8),
    "integer of 1024 bits": ("integer { size = 1024; } a;", bytes(128)),
    "underscores only": ("string _; string __; string ___;", b"a\0b\0c\0"),
    "underscore in a structure": ("struct { uint8_t _; } a;", b"\1"),
    "keyword as name of a field": ("uint8_t trace;", b"\1"),
    "another one": ("struct { uint8_t env; } a;", b"\1"),
    "integer as name of a field": ("uint8_t integer;", b"\1"),
    "structure without a name": ("struct { uint8_t b; }; uint8_t a;", b"\1\2"),
    "variant without a name": ("enum : uint8_t { a, b } t; variant <t> { uint8_t a; uint8_t b; }; uint8_t c;", b"\1\2"),
    "structure in a structure": ("struct { struct { uint8_t a; } b; } c;", b"\1"),
    "enumeration named and used again": ("enum x : uint8_t { A, B } a; enum x b;", b"\1\0"),
    "variant named and used again": (
        f"enum : uint8_t {{ a, b }} t; variant w <t> {OPTIONS} v; variant w <t> u;",
        b"\1\1\2\3\4",
    ),
    "tags that hide one another": (
        "enum : uint8_t { a, b } t; variant <t> { struct { enum : uint8_t { x, y } t; variant <t> { uint8_t x; uint16_t y; } v; } a; uint8_t b; } w;",
        b"\0\1\2\3",
    ),
    "option not in the enumeration chosen": (
        "enum : uint8_t { a, b, c } t; variant <t> { uint8_t b; uint8_t c; } v;",
        b"\0\1",
    ),
    "alias of a variant": ("typealias variant { uint8_t A; } := vv; enum : uint8_t { A } t; vv <t> p;", b"\0\1"),
    "alias of an enumeration": ("typealias enum : uint8_t { A } := ee; ee p;", b"\0"),
    "alias of a structure": ("typealias struct { uint8_t a; } align(8) := ss; ss p;", b"\1"),
    "alias that is a keyword": ("typealias integer { size = 8; } := trace; uint8_t a;", b"\1"),
    "array type of an array type": ("typedef uint8_t x[2]; typedef x y[3]; y a[2];", bytes(12)),
    "sequence type": ("uint8_t n; typedef uint8_t x[n]; x a;", b"\2\1\2"),
    "sequence type in an inner scope": (
        "uint8_t n; typedef struct { uint16_t A[n]; } x; struct { string m; x y; } f;",
        b"\1ab\0\1\2",
    ),
    "full path": ("uint8_t n; struct { uint8_t a[stream.event.fields.n]; } s;", b"\1\2"),
    "path from nowhere": ("uint8_t n; struct { uint8_t a[env.n]; } s;", b"\1\2"),
    "several fields of a type": ("uint8_t a, b, c[2];", b"\1\2\3\4"),
    "array type in three dimensions": ("uint8_t a; uint8_t b; uint8_t c; uint8_t d[a][b][c];", b"\1\2\3abcdef"),
    "variants in arrays of structures in arrays": (
        "struct { enum : uint8_t { K = 0x42, I, } tag; struct { variant <tag> { string K[2]; uint8_t I[3]; } v[2]; string z[0]; } p[1]; } h[2];",
        b"\x43\1\2\3\4\5\6\x42a\0b\0c\0d\0",
    ),
    "length that depends on the option": (
        "enum : uint8_t { X, Y } t; variant <t> { struct { uint8_t n; string s; } X; struct { string s; uint16_t n; } Y; } o; string z; uint8_t q[o.n];",
        b"\0\2s\0z\0ab",
    ),
    "untyped enumeration of a string": ("typealias string := int; enum { A } a;", b"a\0"),
    "untyped enumeration": ("typealias integer { size = 32; align = 8; } := int; enum { A, B } a;", b"\1\0\0\0"),
}
"""Fields of an event, and the bytes of one."""

EDITS = {
    **{
        f"signature {text}": ("/* CTF 1.8 */", text, b"\0\1")
        for text in ("/* CTF 1.9 */", "/* CTF 2.0 */", "/*CTF 1.8*/")
    },
    **{
        f"escape {escape}": ('"e"', f'"a{escape}z"', b"\0\1")
        for escape in (
            r"\q",
            r"\8",
            r"\u0041",
            r"\e",
            r"\?",
            r"\'",
            r"\a\b\f\v\r\t\n",
            r"\x41",
            r"\x414",
            r"\xc3\xa9",
            r"\101",
        )
    },
    "line end in a text": ('"e"', '"e\nf"', b"\0\1"),
    "byte order in quotes": ("byte_order = le", 'byte_order = "le"', b"\0\1"),
    "byte order twice": ("byte_order = le;", "byte_order = le; byte_order = le;", b"\0\1"),
    "native byte order": ("byte_order = le", "byte_order = native", b"\0\1"),
    "major twice": ("major = 1;", "major = 1; major = 1;", b"\0\1"),
    "major in quotes": ("major = 1", 'major = "1"', b"\0\1"),
    "major beyond 64 bits": ("major = 1", "major = 23452397856348975623897562893746589", b"\0\1"),
    "major of ten thousand digits": ("major = 1", "major = 1" + "0" * 9999, b"\0\1"),
    "major that goes on": ("major = 1", "major = 1x", b"\0\1"),
    "minor 9": ("minor = 8", "minor = 9", b"\0\1"),
    "UUID is a number": ("major = 1;", "major = 1; uuid = 3;", b"\0\1"),
    "UUID without hyphens": ("major = 1;", 'major = 1; uuid = "2a6422d06cee11e08c08cb07d7b3a564";', b"\0\1"),
    "UUID in braces": ("major = 1;", 'major = 1; uuid = "{2a6422d0-6cee-11e0-8c08-cb07d7b3a564}";', b"\0\1"),
    "unknown attribute of the trace": ("major = 1;", "major = 1; colour = red;", b"\0\1"),
    "two trace blocks": ("stream {", "trace { major = 1; minor = 8; byte_order = le; }; stream {", b"\0\1"),
    "environment twice": ("event {", "env { a = 1; a = 2; }; env { b = 3; }; event {", b"\0\1"),
    "environment of words": ("event {", "env { a = foo; b = 0x10; c = -010; }; event {", b"\0\1"),
    "stream id negative": ("  id = 0;", "  id = -1;", b"\0\1"),
    "stream id in quotes": ("  id = 0;", '  id = "0";', b"\0\1"),
    "stream id twice": ("  id = 0;", "  id = 0; id = 0;", b"\0\1"),
    "event name twice": ('name = "e";', 'name = "e"; name = "f";', b"\0\1"),
    "event name is a number": ('name = "e"', "name = 3", b"\0\1"),
    "event name is a word": ('name = "e"', "name = string", b"\0\1"),
    "event id twice": ("id = 0; stream_id", "id = 0; id = 0; stream_id", b"\0\1"),
    "event id beyond 64 bits": ("id = 0; stream_id", "id = 18446744073709551616; stream_id", b"\0\1"),
    "event id in wrong octal": ("id = 0; stream_id", "id = 08; stream_id", b"\0\1"),
    "event id with a point": ("id = 0; stream_id", "id = 1.5; stream_id", b"\0\1"),
    "event id is a type": ("id = 0; stream_id", "id = struct { }; stream_id", b"\0\1"),
    "log level in quotes": ("id = 0; stream_id", 'id = 0; loglevel = "x"; stream_id', b"\0\1"),
    "log level negative": ("id = 0; stream_id", "id = 0; loglevel = -1; stream_id", b"\0\1"),
    "URI is a number": ("id = 0; stream_id", "id = 0; model.emf.uri = 3; stream_id", b"\0\1"),
    "fields twice": ("fields :=", "fields := struct { uint8_t a; }; fields :=", b"\0\1"),
    "fields are a name": ("fields := struct { uint8_t a; }", "fields := data", b"\0\1"),
    "block without semicolon": ("};\nevent {", "}\nevent {", b"\0\1"),
    "unknown block": ("event {", "foo { id = 3; }; event {", b"\0\1"),
    "empty event": ("event {", "event { }; event {", b"\0\1"),
    "NUL": ("event {", "\0event {", b"\0\1"),
    "NUL in a text": ('"e"', '"e\0f"', b"\0\1"),
    "NUL in an attribute": ("major = 1;", 'major = 1; x = "a\0b";', b"\0\1"),
    "carriage returns": ("\n", "\r\n", b"\0\1"),
    "comment that does not end": ("event {", "/* event {", b"\0\1"),
    "comment in a comment": ("event {", "/* a /* b */ event {", b"\0\1"),
    "byte order mark": ("/* CTF", "\ufeff/* CTF", b"\0\1"),
    "name in UTF-8": ('"e"', '"é"', b"\0\1"),
    "types declared twice": ("event {", "typedef uint8_t x[2]; typedef uint8_t x[3]; event {", b"\0\1"),
    "type that is not declared": ("event {", "struct d { int x; }; event {", b"\0\1"),
    "structure that is not declared": ("event {", "struct d { struct q x; }; event {", b"\0\1"),
    "tag of a keyword": ("event {", "struct d { variant <int> { uint8_t x; } v; }; event {", b"\0\1"),
    "tag in quotes": ("event {", 'struct d { variant <"t"> { uint8_t x; } v; }; event {', b"\0\1"),
    "alignment that is a label": (
        "event {",
        "enum : uint8_t { X = 8 }; struct d { uint8_t x; } align(X); event {",
        b"\0\1",
    ),
    "call site": ("event {", 'callsite { name = "a"; func = "b"; file = "c"; line = 3; ip = 0x10; }; event {', b"\0\1"),
    "two ids in the header": ("uint8_t id; }", "uint8_t id; struct { uint8_t id; } s; }", b"\7\0\1"),
    "unknown stream id of an event": ("event {", 'stream { id = 1; }; event { id = 0; name = "x"; }; event {', b"\0\1"),
}
"""What of the metadata is replaced by what, and the bytes of events."""

CLOCKS = {
    "plain": "name = c; freq = 1000;",
    "UUID": 'name = c; freq = 1000; uuid = "2a6422d0-6cee-11e0-8c08-cb07d7b3a564";',
    "wrong UUID": 'name = c; freq = 1000; uuid = "zz";',
    "UUID is a number": "name = c; freq = 1000; uuid = 3;",
    "offset in quotes": 'name = c; freq = 1000; offset = "3";',
    "absolute": "name = c; freq = 1000; absolute = true; offset_s = 86400;",
    "absolute is a word": "name = c; freq = 1000; absolute = maybe;",
    "absolute in quotes": 'name = c; freq = 1000; absolute = "true";',
    "description is a number": "name = c; freq = 1000; description = 3;",
    "precision negative": "name = c; freq = 1000; precision = -3;",
    "precision in quotes": 'name = c; freq = 1000; precision = "x";',
    "unknown attribute": "name = c; freq = 1000; colour = 3;",
    "offset beyond 64 bits": "name = c; freq = 1000; offset = 99999999999999999999;",
    "offset beyond 64 bits of ns": "name = c; freq = 1000; offset = 18446744073709551615;",
    "seconds beyond 64 bits of ns": "name = c; freq = 1000; offset_s = 10000000000;",
    "name twice": "name = c; name = d; freq = 1000;",
    "frequency twice": "name = c; freq = 1000; freq = 1000;",
    "frequency 0": "name = c; freq = 0;",
    "frequency negative": "name = c; freq = -1;",
    "frequency in quotes": 'name = c; freq = "1000";',
    "no name": "freq = 1000;",
    "name is a number": "name = 3; freq = 1000;",
    "name in quotes": 'name = "c"; freq = 1000;',
}

SHORT_TRACES = {
    "time stamps of the only clock": (
        "clock { name = k; freq = 1000; }; stream { packet.context := struct { uint32_t timestamp_begin; uint32_t timestamp_end; }; event.header := struct { uint32_t timestamp; }; }; event { name = e; };",
        struct.pack("<4I", 1, 9, 2, 5),
    ),
    "time stamps of packets only": (
        "clock { name = k; freq = 1000; }; stream { packet.context := struct { uint32_t timestamp_begin; uint32_t timestamp_end; }; }; event { name = e; fields := struct { uint8_t a; }; };",
        struct.pack("<2IB", 1, 9, 2),
    ),
    "content size only": (
        "stream { packet.context := struct { uint32_t content_size; }; }; event { name = e; fields := struct { uint8_t a; }; };",
        struct.pack("<IB", 40, 7) * 2,
    ),
    "packet size only": (
        "stream { packet.context := struct { uint32_t packet_size; }; }; event { name = e; fields := struct { uint8_t a; }; };",
        struct.pack("<IB", 40, 7) * 2,
    ),
    "packet size of half a byte": (
        "stream { packet.context := struct { uint32_t packet_size; }; }; event { name = e; fields := struct { uint8_t a; }; };",
        struct.pack("<IB", 36, 7),
    ),
    "packet smaller than its head": (
        "stream { packet.context := struct { uint32_t packet_size; }; }; event { name = e; fields := struct { uint8_t a; }; };",
        struct.pack("<IB", 8, 7),
    ),
    "stream instances in one file": (
        "stream { packet.context := struct { uint32_t packet_size; }; }; event { name = e; fields := struct { string a; }; };",
        b"".join(struct.pack("<BI", number, 56) + b"a\0" for number in (2, 5)),
        "packet.header := struct { uint8_t stream_instance_id; };",
    ),
    "stream id twice in the header": (
        "stream { id = 2; }; stream { id = 3; }; event { name = x; stream_id = 2; fields := struct { uint8_t a; }; }; event { name = y; stream_id = 3; fields := struct { uint16_t b; }; };",
        b"\3\2\7",
        "packet.header := struct { uint8_t stream_id; struct { uint8_t stream_id; } s; };",
    ),
    "UUID that the metadata do not have": (
        "stream { }; event { name = e; fields := struct { uint8_t a; }; };",
        bytes(17),
        "packet.header := struct { uint8_t uuid[16]; };",
    ),
}


@pytest.mark.parametrize("case", FIELDS)
def test_fields(tmp_path: Path, case: str) -> None:
    assert_fields_same(tmp_path, *FIELDS[case])


@pytest.mark.parametrize("case", EDITS)
def test_metadata(tmp_path: Path, case: str) -> None:
    assert_edit_same(tmp_path, *EDITS[case])


@pytest.mark.parametrize("case", CLOCKS)
def test_clocks(tmp_path: Path, case: str) -> None:
    assert_same(tmp_path, CLOCKED.replace("CLOCK", f"clock {{ {CLOCKS[case]} }};"), packet(b"\0\1\7\0\5\7"))


def test_time_stamps_of_several_clocks(tmp_path: Path) -> None:
    for clocks in ("c", "cd"):
        text = "".join(f"clock {{ name = {name}; freq = 1000; }};" for name in clocks)
        assert_same(tmp_path, UNMAPPED.replace("CLOCK", text), packet(b"\0\1\7\0\5\7"))


@pytest.mark.parametrize("case", SHORT_TRACES)
def test_short_traces(tmp_path: Path, case: str) -> None:
    rest, data, *header = SHORT_TRACES[case]
    assert_same(tmp_path, SHORT.replace("HEADER", str(header[0]) if header else "") + str(rest), bytes(data))


def fields(text: str) -> str:
    return TSDL.replace("FIELDS", text)


def edited(old: str, new: str) -> str:
    assert old in PLAIN
    return PLAIN.replace(old, new, 1)


HUGE = 1 << 63
REFUSED = {
    # babeltrace2 2.0 shows what lies beyond the packet, or as much of a field as there is.
    "text of fixed length cut off": (
        fields("integer { size = 8; align = 8; encoding = UTF8; } a[20];"),
        "160 bits expected, 56 left",
    ),
    "float cut off": (
        fields("uint8_t b; floating_point { exp_dig = 11; mant_dig = 53; align = 8; } a;"),
        "64 bits expected, 48 left",
    ),
    "aligned beyond the end": (fields("struct { } align(128) b;"), "alignment leads out of the packet"),
    # babeltrace2 2.0 reads these.
    "alignment of no power of two": (
        fields("struct { uint8_t y; } align(0xFFFFFFFFFFFFFFFFULL) a;"),
        "is not a power of two",
    ),
    "clock declared twice": (
        edited("stream {", "clock { name = c; freq = 1; }; clock { name = c; freq = 2; }; stream {"),
        "clock c is declared twice",
    ),
    "alignment that nothing has": (fields(f"struct {{ uint8_t y; }} align({HUGE}) a;"), "cannot be read"),
    "frequency that nothing has": (CLOCKED.replace("CLOCK", f"clock {{ name = c; freq = {HUGE}; }};"), "frequency"),
    r"\x without digits": (edited('"e"', r'"a\xz"'), r"unknown escape '\\\\x'"),
    "UUID of another trace": (
        edited("major = 1;", 'major = 1; uuid = "2a6422d0-6cee-11e0-8c08-cb07d7b3a564";')
        .replace("uint32_t magic;", "uint8_t uuid[16];")
        .replace("uint32_t stream_id; ", ""),
        "UUID is not the trace's",
    ),
    # It crashes, or goes on for ever, at these.
    "array of 2**63 elements": (fields(f"uint8_t a[{HUGE}];"), "bits expected"),
    "array of arrays of 2**63 elements": (fields(f"uint8_t a[{HUGE}][{HUGE}];"), "bits expected"),
    "text of 2**63 bytes": (fields(f"integer {{ size = 8; align = 8; encoding = UTF8; }} a[{HUGE}];"), "bits expected"),
    "empty structures without end": (fields(f"struct {{ }} a[{HUGE}];"), "elements of no size"),
    "no option is in the enumeration": (
        fields('enum : uint8_t { " x " } t; variant <t> { uint8_t x; } v;'),
        "no option of the variant is a label of its tag 't'",
    ),
    "event of no size": (SHORT.replace("HEADER", "") + "event { name = e; };", "no size"),
}
"""Metadata, and what is wrong."""

READ = {
    # The specification permits them; babeltrace2 2.0's grammar does not.
    "clock offset negative": (
        CLOCKED.replace("CLOCK", "clock { name = c; freq = 1000; offset = -5; };"),
        b"\0\1\7",
        b"[-0.004000000] (+?.?????????) e: { a = 7 }\n",
    ),
    "clock without frequency": (
        CLOCKED.replace("CLOCK", "clock { name = c; };"),
        b"\0\1\7",
        b"[00:00:00.000000001] (+?.?????????) e: { a = 7 }\n",
    ),
    "tag by its full path": (
        fields("enum : uint8_t { a, b } t; struct { variant <event.fields.t> { uint8_t a; uint16_t b; } v; } s;"),
        b"\0\1\2\3",
        b'e: { t = ( "b" : container = 1 ), s = { v = { 770 } } }\n',
    ),
    "pointer to a constant": (
        fields("typealias integer { size = 8; } := const char * const; const char * const p;"),
        b"\0\1",
        b"e: { p = 0x1 }\n",
    ),
    "number in binary": (fields("uint8_t a[0b10];"), b"\0\1\2", b"e: { a = [ [0] = 1, [1] = 2 ] }\n"),
    "wide text": (edited('"e"', 'L"e"'), b"\0\7", b"e: { a = 7 }\n"),
    # babeltrace2 2.0 aborts.
    "one option is in the enumeration": (
        fields("enum : uint8_t { b = 1 } t; variant <t> { uint8_t a; uint8_t b; } v;"),
        b"\0\1\7",
        b'e: { t = ( "b" : container = 1 ), v = { 7 } }\n',
    ),
    "names that differ in an underscore": (fields("uint8_t a; uint8_t _a;"), b"\0\1\2", b"e: { a = 1, _a = 2 }\n"),
    # It wants what nobody needs.
    "no signature": (edited("/* CTF 1.8 */", ""), b"\0\7", b"e: { a = 7 }\n"),
    "comment before the signature": (edited("/* CTF", "/* hello */ /* CTF"), b"\0\7", b"e: { a = 7 }\n"),
    "event without name": (edited('name = "e"; ', ""), b"\0\7", b"<unknown>: { a = 7 }\n"),
    "id that is text": (edited("uint8_t id; }", "string id; }"), b"x\0\7", b"e: { a = 7 }\n"),
    # It gives up what no name is in: bytes that are no UTF-8 are replaced.
    "name that is no UTF-8": (edited('"e"', r'"\xe9"'), b"\0\7", "\ufffd: { a = 7 }\n".encode()),
}
"""Metadata, the bytes of events, and their text."""


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_here(tmp_path: Path, case: str) -> None:
    metadata, message = REFUSED[case]
    write_trace(tmp_path, metadata, packet(bytes(8)))
    _, error = read_text(tmp_path)
    assert error is not None and message.replace("\\\\", "\\") in str(error)


@pytest.mark.parametrize("case", READ)
def test_what_is_read_here(tmp_path: Path, case: str) -> None:
    metadata, events, text = READ[case]
    write_trace(tmp_path, metadata, packet(events))
    assert read_text(tmp_path) == (text, None)


@pytest.mark.parametrize(
    ("metadata", "place"),
    [
        (edited("major = 1", "major = 1x"), "line 6, column 18: unexpected 'x'"),
        (edited("};\nevent", "}\nevent"), "line 12, column 1: unexpected 'event', expected ';'"),
        (fields('integer { size = "8"; } a;'), "line 12, column 63"),
        (edited("id = 0; stream_id", "id = 08; stream_id"), "line 12, column"),
        (fields("uint8_t trace;"), "line 12, column 71: 'trace' is a keyword"),
        (fields("uint8_t a[n];"), "line 12, column 1: event e fields: 'n' names no field that comes before"),
        (CLOCKED.replace("CLOCK", ""), "line 8, column 1: stream 0: clock c is not declared"),
        (fields("struct q a;"), "line 12, column 63: struct q is not declared"),
    ],
)
def test_errors_tell_the_place(tmp_path: Path, metadata: str, place: str) -> None:
    write_trace(tmp_path, metadata, packet(b"\0\1"))
    _, error = read_text(tmp_path)
    assert error is not None and f"{tmp_path}/metadata" in str(error) and place in str(error)
