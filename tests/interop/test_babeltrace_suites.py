# ruff: noqa: E501 - a table of metadata
"""Small traces, good and broken, after the cases of other readers' test suites: read, or refused, as by babeltrace2.

Cases are after those of ctf-testsuite (https://github.com/efficios/ctf-testsuite), by their names: what differs from
babeltrace2 on purpose is in ``test_what_differs``.
"""

import shutil
from pathlib import Path

import pytest

import boxtrace
from boxtrace.errors import TraceFormatError
from boxtrace.view.fast_text import text_pieces
from support.suites import PLAIN, TSDL, assert_edit_same, assert_fields_same, assert_same, packet

pytestmark = pytest.mark.skipif(shutil.which("babeltrace2") is None, reason="babeltrace2 is not installed")
FIELDS = {
    "array-1dim": ("uint8_t a[4];", b"abcd"),
    "array-2dim": ("uint8_t a[2][3];", b"abcdef"),
    "array-2dim-typedef": ("typedef uint8_t row[3]; row a[2];", b"abcdef"),
    "array-0": ("uint8_t a[0]; uint8_t b;", b"x"),
    "array-neg": (
        "uint8_t a[-1];",
        b"\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f !\"#$%&'()*+,-./0123456789:;",
    ),
    "array-float": (
        "uint8_t a[1.5];",
        b"\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f !\"#$%&'()*+,-./0123456789:;",
    ),
    "array-str": (
        'uint8_t a["3"];',
        b"\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f !\"#$%&'()*+,-./0123456789:;",
    ),
    "array-ident": (
        "uint8_t a[foo];",
        b"\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f !\"#$%&'()*+,-./0123456789:;",
    ),
    "array-keyword": (
        "uint8_t a[int];",
        b"\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f !\"#$%&'()*+,-./0123456789:;",
    ),
    "array-nosize": (
        "uint8_t a[];",
        b"\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f !\"#$%&'()*+,-./0123456789:;",
    ),
    "array-expr": (
        "uint8_t a[2+1];",
        b"\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f !\"#$%&'()*+,-./0123456789:;",
    ),
    "array-hex": ("uint8_t a[0x3]; uint8_t b[03];", b"abcdef"),
    "enum-empty": ("enum : uint8_t { } a;", b"x"),
    "enum-nameless": ("enum : uint8_t { X = 1, Y } a;", b"\x02"),
    "enum-overlap": ("enum : uint8_t { X = 1 ... 5, Y = 3 ... 9 } a;", b"\x04"),
    "enum-repeat": ('enum : uint8_t { X = 1, X = 3, "X" = 5 } a;', b"\x03"),
    "enum-outside": ("enum : uint8_t { X = 300 } a;", b"\x03"),
    "enum-neg-in-unsigned": ("enum : uint8_t { X = -1 } a;", b"\xff"),
    "enum-float": ("enum : uint8_t { X = 1.5 } a;", b"\xff"),
    "enum-string-value": ('enum : uint8_t { X = "a" } a;', b"\xff"),
    "enum-untyped": ("enum { X = 1 } a;", b"\x01\x00\x00\x00"),
    "enum-of-string": ("enum : string { X = 1 } a;", b"x\x00"),
    "enum-of-float": ("enum : floating_point { exp_dig = 8; mant_dig = 24; } { X = 1 } a;", b"\x01\x00\x00\x00"),
    "enum-keyword-label": ("enum : uint8_t { int = 1 } a;", b"\x01"),
    "enum-quoted-label": ('enum : uint8_t { "int" = 1, "a b" } a;', b"\x02"),
    "enum-range-reversed": ("enum : uint8_t { X = 5 ... 1 } a;", b"\x02"),
    "enum-u64max": ("enum : uint64_t { X = 18446744073709551615 } a;", b"\xff\xff\xff\xff\xff\xff\xff\xff"),
    "enum-trailing-comma": ("enum : uint8_t { X, Y, } a;", b"\x01"),
    "int-0bit": ("integer { size = 0; } a; uint8_t b;", b"\x01"),
    "int-1bit": ("integer { size = 1; align = 1; } a; integer { size = 7; align = 1; } c;", b"\x01"),
    "int-65bit": ("integer { size = 65; align = 8; } a;", b"\x01\x01\x01\x01\x01\x01\x01\x01\x01"),
    "int-neg": ("integer { size = -8; } a;", b"\x01"),
    "int-nosize": ("integer { signed = true; } a;", b"\x01"),
    "int-align-0": ("integer { size = 8; align = 0; } a;", b"\x01"),
    "int-align-3": ("integer { size = 8; align = 3; } a;", b"\x01"),
    "int-align-neg": ("integer { size = 8; align = -8; } a;", b"\x01"),
    "int-base-bad": ("integer { size = 8; base = 7; } a;", b"\x01"),
    "int-base-str": ('integer { size = 8; base = "x"; } a;', b"\x01"),
    "int-base-word": (
        "integer { size = 8; base = hexadecimal; } a; integer { size = 8; base = oct; } b; integer { size = 8; base = b; } c;",
        b"\x01\x02\x03",
    ),
    "int-base-words2": (
        "integer { size = 8; base = x; } a; integer { size = 8; base = X; } b; integer { size = 8; base = p; } c;",
        b"\x01\x02\x03",
    ),
    "int-bo-bad": ("integer { size = 8; byte_order = middle; } a;", b"\x01"),
    "int-bo-network": ("integer { size = 16; align = 8; byte_order = network; } a;", b"\x01\x02"),
    "int-enc-bad": ("integer { size = 8; encoding = latin; } a;", b"\x01"),
    "int-enc-str": ('integer { size = 8; encoding = "UTF8"; } a[3];', b"ab\x00"),
    "int-signed-bad": ("integer { size = 8; signed = maybe; } a;", b"\x01"),
    "int-signed-words": ("integer { size = 8; signed = TRUE; } a; integer { size = 8; signed = 1; } b;", b"\xff\xff"),
    "int-unknown-attr": ("integer { size = 8; colour = 3; } a;", b"\x01"),
    "int-twice-attr": ("integer { size = 8; size = 16; } a;", b"\x01\x02"),
    "int-be-align4": (
        "integer { size = 4; align = 4; byte_order = be; } a; integer { size = 12; align = 4; byte_order = be; } b;",
        b"\x124",
    ),
    "struct-align-neg": ("struct { uint8_t y; } align(-8) a;", b"\x01"),
    "struct-align-str": ('struct { uint8_t y; } align("8") a;', b"\x01"),
    "struct-align-huge": ("struct { uint8_t y; } align(1000000000000000000000) a;", b"\x01"),
    "struct-dup-field": ("uint8_t a; uint8_t a;", b"\x01\x02"),
    "struct-dup-name": ("struct s { uint8_t x; }; struct s { uint8_t y; }; struct s a;", b"\x01"),
    "struct-undefined": ("struct s a;", b"\x01"),
    "struct-recursive": ("struct s { struct s x; } a;", b"\x01"),
    "struct-keyword-field": ("uint8_t int;", b"\x01"),
    "struct-underscore": ("uint8_t _a; uint8_t __b; uint8_t c_;", b"\x01\x02\x03"),
    "struct-empty": ("struct { } a; uint8_t b;", b"\x01"),
    "struct-empty-aligned": ("uint8_t b; struct { } align(16) a; uint8_t c;", b"\x01\x00\x02\x03\x04"),
    "array-of-empty-struct": ("struct { } a[3]; uint8_t b;", b"\x01"),
    "seq-of-empty-struct": ("uint8_t n; struct { } a[n]; uint8_t b;", b"\x03\x01"),
    "seq-1dim": ("uint8_t n; uint8_t a[n];", b"\x03abc"),
    "seq-2dim": ("uint8_t n; uint8_t m; uint8_t a[n][m];", b"\x02\x03abcdef"),
    "seq-scoped": ("uint8_t n; uint8_t a[event.fields.n];", b"\x03abc"),
    "seq-relative": ("struct { uint8_t n; } s; uint8_t a[s.n];", b"\x03abc"),
    "seq-signed-length": ("integer { size = 8; signed = true; } n; uint8_t a[n];", b"\x03abc"),
    "seq-later-length": ("uint8_t a[n]; uint8_t n;", b"\x03abc"),
    "seq-missing": ("uint8_t a[nothing];", b"\x03abc"),
    "seq-string-length": ("string n; uint8_t a[n];", b"x\x00abc"),
    "seq-enum-length": ("enum : uint8_t { A = 3 } n; uint8_t a[n];", b"\x03abc"),
    "typedef-simple": ("typedef uint8_t foo; foo a;", b"\x01"),
    "typedef-redef": ("typedef uint8_t foo; typedef uint16_t foo; foo a;", b"\x01\x02"),
    "typedef-keyword": ("typedef uint8_t int; int a;", b"\x01"),
    "typedef-struct": ("typedef struct { uint8_t x; } foo; foo a;", b"\x01"),
    "typealias-dup": (
        "typealias integer { size = 8; } := foo; typealias integer { size = 16; } := foo; foo a;",
        b"\x01\x02",
    ),
    "typealias-unknown": ("typealias nonsense { size = 8; } := foo; foo a;", b"\x01"),
    "typealias-words": ("typealias integer { size = 8; } := unsigned long int; unsigned long int a;", b"\x01"),
    "typealias-words-order": ("typealias integer { size = 8; } := unsigned long int; long unsigned int a;", b"\x01"),
    "typealias-pointer": ("typealias integer { size = 8; } := char *; char * a;", b"\x01"),
    "variant-int-tag": ("uint8_t t; variant <t> { uint8_t x; uint8_t y; } v;", b"\x01\x02"),
    "variant-missing-tag": ("variant <t> { uint8_t x; } v;", b"\x01\x02"),
    "variant-no-tag": ("variant { uint8_t x; } v;", b"\x01\x02"),
    "variant-keyword-tag": ("variant <int> { uint8_t x; } v;", b"\x01\x02"),
    "variant-string-tag": ("string t; variant <t> { uint8_t x; } v;", b"x\x00\x01"),
    "variant-float-tag": (
        "floating_point { exp_dig = 8; mant_dig = 24; align = 8; } t; variant <t> { uint8_t x; } v;",
        b"\x00\x00\x00\x00\x01",
    ),
    "variant-more-labels": ("enum : uint8_t { x, y, z } t; variant <t> { uint8_t x; uint8_t y; } v;", b"\x01\x02"),
    "variant-more-labels-chosen": (
        "enum : uint8_t { x, y, z } t; variant <t> { uint8_t x; uint8_t y; } v;",
        b"\x02\x02",
    ),
    "variant-unknown-value": ("enum : uint8_t { x, y } t; variant <t> { uint8_t x; uint8_t y; } v;", b"\x07\x02"),
    "variant-range": (
        "enum : uint8_t { x = 0 ... 4, y = 5 ... 9 } t; variant <t> { uint8_t x; uint16_t y; } v;",
        b"\x06\x02\x03",
    ),
    "variant-string-option": (
        'enum : uint8_t { "x" , "int" } t; variant <t> { uint8_t x; uint8_t int; } v;',
        b"\x00\x03",
    ),
    "variant-two": (
        "enum : uint8_t { x, y } t; variant <t> { struct { enum : uint8_t { p, q } u; variant <u> { uint8_t p; uint16_t q; } w; } x; uint8_t y; } v;",
        b"\x00\x01\x03\x04",
    ),
    "variant-underscore": ("enum : uint8_t { _x, y } t; variant <t> { uint8_t _x; uint8_t y; } v;", b"\x00\x03"),
    "string-empty": ("string s; string t;", b"\x00\x00"),
    "string-utf8": ("string { encoding = UTF8; } s;", b"gr\xc3\xbcn\xe2\x82\xac\x00"),
    "string-badutf8": ("string s;", b"a\xff\xfeb\x00"),
    "string-ascii-high": ("string { encoding = ASCII; } s;", b"a\xe9b\x00"),
    "string-escapes": ("string s;", b'a"b\\c\n\t\x01\x7f\x00'),
    "float-32": ("floating_point { exp_dig = 8; mant_dig = 24; align = 8; } a;", b"\x00\x00\xc0?"),
    "float-64": ("floating_point { exp_dig = 11; mant_dig = 53; align = 8; } a;", b"\x9a\x99\x99\x99\x99\x99\xb9\xbf"),
    "float-be": ("floating_point { exp_dig = 8; mant_dig = 24; align = 8; byte_order = be; } a;", b"?\xc0\x00\x00"),
    "float-odd": ("floating_point { exp_dig = 7; mant_dig = 24; align = 8; } a;", b"\x01\x02\x03\x04"),
    "float-nan": (
        "floating_point { exp_dig = 8; mant_dig = 24; align = 8; } a[3];",
        b"\x00\x00\xc0\x7f\x00\x00\x80\x7f\x00\x00\x00\x80",
    ),
}
"""Fields of an event, and the bytes of one."""

EDITS = {
    "empty": (PLAIN, "", b"\0\1"),
    "no trace block": (TSDL[TSDL.index("trace {") : TSDL.index("stream {")], "", b"\0\1"),
    "no byte order": ("byte_order = le; ", "", b"\0\1"),
    "major 2": ("major = 1", "major = 2", b"\0\1"),
    "two streams of one id": ("stream {", "stream { id = 0; }; stream {", b"\0\1"),
    "two events of one id": ("event {", 'event { name = "f"; id = 0; stream_id = 0; }; event {', b"\0\1"),
    "two events of one name": ("event {", 'event { name = "e"; id = 1; stream_id = 0; }; event {', b"\0\1\1"),
    "event without id": ("id = 0; stream_id", "stream_id", b"\0\1"),
    "event id is text": ("id = 0; stream_id", 'id = "0"; stream_id', b"\0\1"),
    "event id is negative": ("id = 0; stream_id", "id = -1; stream_id", b"\0\1"),
    "event without stream id": ("stream_id = 0; ", "", b"\0\1"),
    "event of no stream": ("stream_id = 0; ", "stream_id = 9; ", b"\0\1"),
    "event without fields": ("fields := struct { uint8_t a; };", "", b"\0\0"),
    "event whose fields are a number": ("fields := struct { uint8_t a; };", "fields := uint8_t;", b"\0\1"),
    "unknown attribute": ("id = 0; stream_id", 'id = 0; colour = "red"; stream_id', b"\0\1"),
    "log level and URI": ("id = 0; stream_id", 'id = 0; loglevel = 13; model.emf.uri = "x"; stream_id', b"\0\1"),
    "text that does not end": ('"e"', '"e', b"\0\1"),
    "brace that is not closed": ("uint8_t a; };", "uint8_t a;", b"\0\1"),
    "garbage": ("event {", "@# event {", b"\0\1"),
    "texts one after another": ('"e"', '"e" "f"', b"\0\1"),
    "escapes": ('"e"', r'"e\"\n\x41\101\\"', b"\0\1"),
    "short UUID": ("major = 1;", 'major = 1; uuid = "123";', b"\0\1"),
    "long UUID": ("major = 1;", 'major = 1; uuid = "2a6422d0-6cee-11e0-8c08-cb07d7b3a5649";', b"\0\1"),
    "garbled UUID": ("major = 1;", 'major = 1; uuid = "2a6422d0-6cee-11e0-8c08-cb07d7b3a5zz";', b"\0\1"),
    "number without digits": ("id = 0; stream_id", "id = 0x; stream_id", b"\0\1"),
    "environment": ("event {", 'env { a = 1; b = "x"; c = -3; }; event {', b"\0\1"),
    "call site": ("event {", 'callsite { name = "e"; func = "f"; line = 3; }; event {', b"\0\1"),
}
"""What of the metadata is replaced by what, and the bytes of events."""

STREAMS = {
    "two packets": packet(b"\0\1") + packet(b"\0\2"),
    "padding": packet(b"\0\1" + bytes(10), content=18 * 8) + packet(b"\0\2"),
    "content larger than packet": packet(b"\0\1", content=19 * 8),
    "packet of size 0": packet(b"\0\1", size=0),
    "content of size 0": packet(b"\0\1", content=0),
    "wrong magic": packet(b"\0\1", magic=1),
    "unknown stream": packet(b"\0\1", stream=7),
    "unknown event": packet(b"\0\1\5\1"),
    "no event": packet(b""),
    "half a packet header": packet(b"")[:10],
}


@pytest.mark.parametrize("case", FIELDS)
def test_fields(tmp_path: Path, case: str) -> None:
    assert_fields_same(tmp_path, *FIELDS[case])


@pytest.mark.parametrize("case", EDITS)
def test_metadata(tmp_path: Path, case: str) -> None:
    assert_edit_same(tmp_path, *EDITS[case])


@pytest.mark.parametrize("case", STREAMS)
def test_streams(tmp_path: Path, case: str) -> None:
    assert_same(tmp_path, PLAIN, STREAMS[case])


DIFFERENT = {
    "record cut off": ("uint32_t a;", packet(b"\0\1\2"), "32 bits expected, 16 left"),
    "text cut off": ("string a;", packet(b"\0abc"), "the string does not end in the packet"),
    "sequence cut off": ("uint8_t n; uint8_t a[n];", packet(b"\0\7abc"), "56 bits expected, 24 left"),
    "alignment of 3": ("struct { uint8_t y; } align(3) a;", packet(b"\0\1"), "alignment 3 is not a power of two"),
    "alignment of 0": ("struct { uint8_t y; } align(0) a;", packet(b"\0\1"), "alignment 0 is not a power of two"),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_what_differs(tmp_path: Path, case: str) -> None:
    """babeltrace2 2.0 passes over these without a word."""
    fields, data, expected = DIFFERENT[case]
    (tmp_path / "metadata").write_text(TSDL.replace("FIELDS", fields))
    (tmp_path / "stream").write_bytes(data)
    with pytest.raises(TraceFormatError, match=expected):
        list(text_pieces(boxtrace.open(tmp_path)))
