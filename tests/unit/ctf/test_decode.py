import struct

import pytest

from boxtrace.ctf.cursor import Cursor, DecodeError
from boxtrace.ctf.decode import Choice, compile_root, locations, plain
from boxtrace.ctf.fields import (
    ArrayField,
    BitArrayField,
    BlobField,
    BoolField,
    ByteOrder,
    DynamicBlobField,
    DynamicStringField,
    Encoding,
    FieldClass,
    FieldLocation,
    FloatField,
    IntegerField,
    Member,
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

U8 = IntegerField(size=8)
N = FieldLocation(Scope.EVENT_PAYLOAD, ("n",))


def decode(data: bytes, *fields: FieldClass, first: FieldClass | None = None) -> object:
    """Decode fields from data; the one called ``n`` comes first if given. The value of the last is returned."""
    members = ([Member("n", first)] if first is not None else []) + [Member(f"f{i}", f) for i, f in enumerate(fields)]
    root = StructField(members=tuple(members))
    run = compile_root(Scope.EVENT_PAYLOAD, root, frozenset(locations(root)))
    assert run is not None
    return list(run(Cursor(memoryview(data), len(data) * 8)).values())[-1]


@pytest.mark.parametrize(
    ("field", "data", "value"),
    [
        (IntegerField(size=16), b"\x34\x12", 0x1234),
        (IntegerField(size=16, byte_order=ByteOrder.BIG), b"\x12\x34", 0x1234),
        (IntegerField(size=8, signed=True), b"\xff", -1),
        (IntegerField(size=24, signed=True), b"\xfe\xff\xff", -2),
        (IntegerField(size=64), b"\xff" * 8, 2**64 - 1),
        (IntegerField(size=8, reversed_bits=True), b"\x01", 0x80),
        (BoolField(size=3, align=1), b"\x04", True),
        (BitArrayField(size=12), b"\xcd\xab", 0xBCD),
        (FloatField(size=32), struct.pack("<f", 1.5), 1.5),
        (FloatField(size=64, byte_order=ByteOrder.BIG), struct.pack(">d", -2.25), -2.25),
        (FloatField(size=16), struct.pack("<e", 0.5), 0.5),
        (FloatField(size=128), (0x3FFF << 112 | 1 << 111).to_bytes(16, "little"), 1.5),
        (FloatField(size=128), (0xFFFF << 112).to_bytes(16, "little"), float("-inf")),
        (VarIntField(), b"\xe5\x8e\x26", 624485),
        (VarIntField(signed=True), b"\xc0\xbb\x78", -123456),
        (StringField(), b"ab\xc3\xa9\0x", "abé"),
        (StringField(), b"\xff\0", "\udcff"),
        (StringField(encoding=Encoding.UTF_16LE), "Ω0".encode("utf-16-le") + b"\0\0", "Ω0"),
        (StaticStringField(length=4), b"ab\0d", "ab"),
        (StaticStringField(length=4, encoding=Encoding.UTF_32BE), "é".encode("utf-32-be"), "é"),
        (BlobField(length=3), b"\1\2\3", b"\1\2\3"),
        (ArrayField(element=U8, length=3), b"\1\2\3", [1, 2, 3]),
        (ArrayField(element=IntegerField(size=4, align=1), length=3), b"\x21\x03", [1, 2, 3]),
        (ArrayField(element=IntegerField(size=4, align=1, byte_order=ByteOrder.BIG), length=3), b"\x12\x30", [1, 2, 3]),
    ],
)
def test_each_field_class(field: FieldClass, data: bytes, value: object) -> None:
    assert decode(data, field) == value


def test_bit_fields_cross_bytes_in_both_orders() -> None:
    little = [IntegerField(size=size, align=1) for size in (3, 10, 3)]
    assert decode((5 | 777 << 3 | 6 << 13).to_bytes(2, "little"), *little) == 6
    assert decode((5 | 777 << 3 | 6 << 13).to_bytes(2, "little"), *little[:2]) == 777
    big = [IntegerField(size=size, align=1, byte_order=ByteOrder.BIG) for size in (3, 10, 3)]
    assert decode((5 << 13 | 777 << 3 | 6).to_bytes(2, "big"), *big[:2]) == 777


def test_padding_before_aligned_fields() -> None:
    assert decode(b"\1\0\0\0\2\0\0\0", U8, IntegerField(size=32, align=32)) == 2
    nested = StructField(align=32, members=(Member("x", U8),))
    assert decode(b"\1\0\0\0\2", U8, nested) == {"x": 2}


def test_lengths_and_selectors_come_from_earlier_fields() -> None:
    assert decode(b"\2\7\x08", SequenceField(element=U8, length=N), first=U8) == [7, 8]
    assert decode(b"\2ab", DynamicStringField(length=N), first=U8) == "ab"
    assert decode(b"\1\xaa", DynamicBlobField(length=N), first=U8) == b"\xaa"
    variant = VariantField(
        selector=N, options=(VariantOption("a", U8, ((0, 1),)), VariantOption("s", StringField(), ((5, 9), (20, 20))))
    )
    assert decode(b"\1\x09", variant, first=U8) == Choice(0, 9)
    assert plain({"v": [decode(b"\x14hi\0", variant, first=U8)]}) == {"v": ["hi"]}
    assert decode(b"\0", OptionField(selector=N, field=U8), first=BoolField(size=8)) is None
    assert decode(b"\3\4", OptionField(selector=N, field=U8, ranges=((3, 3),)), first=U8) == 4


@pytest.mark.parametrize(
    ("field", "data", "message"),
    [
        (IntegerField(size=32), b"\1\2\3", "32 bits expected, 16 left"),
        (StringField(), b"\1abc", "does not end"),
        (StaticStringField(length=9), b"\1abc", "72 bits"),
        (SequenceField(element=IntegerField(size=64), length=N), b"\xff" + bytes(9), "16320 bits"),
        (SequenceField(element=StructField(), length=N), b"\xff\xff\xff\xff", "no size"),
        (VariantField(selector=N, options=()), b"\1", "no option"),
        (VarIntField(), b"\1" + b"\xff" * 20, "more than 64"),
    ],
)
def test_what_cannot_be_decoded(field: FieldClass, data: bytes, message: str) -> None:
    wide = message == "no size"
    with pytest.raises(DecodeError, match=message) as caught:
        decode(data, field, first=IntegerField(size=32) if wide else U8)
    assert caught.value.field == "f0"
    assert caught.value.position >= 8


def test_clock_wraps_once() -> None:
    cursor = Cursor(memoryview(b""), 0, clock=0x1_FFFF_FFF0)
    cursor.set_clock(5, 32)
    assert cursor.clock == 0x2_0000_0005
    cursor.set_clock(7, 27)
    assert cursor.clock == 0x2_0000_0007
    cursor.set_clock(3, 64)
    assert cursor.clock == 3
