import pytest

from boxtrace.ctf import lttng
from boxtrace.ctf.fields import (
    ArrayField,
    FloatField,
    IntegerField,
    Member,
    StaticStringField,
    StringField,
    StructField,
)
from boxtrace.ctf.index import INDEX_HEADER, IndexEntry, parse_index
from boxtrace.ctf.layout import FieldSpan, alignment_of, struct_layout
from boxtrace.errors import TraceFormatError


def test_packet_header_is_as_long_as_its_fields() -> None:
    _, end = struct_layout(lttng.PACKET_HEADER)
    spans, end = struct_layout(lttng.PACKET_CONTEXT, end)
    assert end == lttng.PacketHeader.SIZE * 8
    assert spans["cpu_id"] == FieldSpan(80 * 8, 32)


def test_bit_fields_and_padding() -> None:
    struct = StructField(
        members=(
            Member("three", IntegerField(size=3, align=1)),
            Member("wide", IntegerField(size=32, align=32)),
            Member("pair", ArrayField(element=IntegerField(size=5, align=8), length=2)),
            Member("name", StaticStringField(length=3)),
        )
    )
    spans, end = struct_layout(struct, 1)
    assert spans == {
        "three": FieldSpan(32, 3),
        "wide": FieldSpan(64, 32),
        "pair": FieldSpan(96, 13),
        "name": FieldSpan(112, 24),
    }
    assert end == 136


def test_struct_alignment_is_the_greatest_of_all() -> None:
    inner = StructField(align=16, members=(Member("x", FloatField(size=64, align=64)),))
    assert alignment_of(StructField(align=8, members=(Member("inner", inner),))) == 64
    assert alignment_of(StructField(align=128)) == 128


def test_no_layout_for_a_string() -> None:
    with pytest.raises(ValueError, match="StringField"):
        struct_layout(StructField(members=(Member("s", StringField()),)))


def test_index_round_trip_and_cut_entry() -> None:
    entries = [IndexEntry(*range(k, k + 9)) for k in (0, 100)]
    data = INDEX_HEADER + b"".join(entry.pack() for entry in entries)
    assert parse_index(data, "x.idx") == entries
    assert parse_index(data[:-1], "x.idx") == entries[:1]


@pytest.mark.parametrize("data", [b"", b"\0" * 16, INDEX_HEADER[:4] + b"\0\0\0\2" + INDEX_HEADER[8:]])
def test_not_an_index(data: bytes) -> None:
    with pytest.raises(TraceFormatError) as caught:
        parse_index(data, "x.idx")
    assert caught.value.path == "x.idx"
