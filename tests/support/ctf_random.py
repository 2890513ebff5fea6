"""Random traces: an event class of random fields, and events of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from boxtrace.ctf.decode import Choice
from boxtrace.ctf.fields import (
    ArrayField,
    BitArrayField,
    BlobField,
    BoolField,
    ByteOrder,
    DynamicBlobField,
    DynamicStringField,
    Encoding,
    EnumMapping,
    FieldClass,
    FieldLocation,
    FloatField,
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
    VariantOption,
    VarIntField,
)

aligns = st.sampled_from([1, 1, 2, 8, 8, 16, 32, 64])
encodings = st.sampled_from(list(Encoding))


@st.composite
def leaves(draw: st.DrawFn, order: ByteOrder) -> FieldClass:
    fixed: dict[str, Any] = {"align": draw(aligns), "byte_order": order, "reversed_bits": draw(st.integers(0, 9)) == 0}
    kind = draw(st.integers(0, 9))
    if kind <= 3:
        size = draw(st.one_of(st.sampled_from([8, 16, 32, 64]), st.integers(1, 64)))
        return IntegerField(size=size, signed=draw(st.booleans()), **fixed)
    if kind == 4:
        return draw(st.sampled_from([BoolField(size=3, **fixed), BitArrayField(size=11, **fixed)]))
    if kind == 5:
        return FloatField(size=draw(st.sampled_from([16, 32, 64, 128, 192, 256])), **fixed)
    if kind == 6:
        return VarIntField(signed=draw(st.booleans()))
    if kind == 7:
        return StringField(encoding=draw(encodings))
    if kind == 8:
        return StaticStringField(length=draw(st.sampled_from([0, 4, 8, 16, 20])), encoding=draw(encodings))
    return BlobField(length=draw(st.integers(0, 5)))


@st.composite
def structs(draw: st.DrawFn, order: ByteOrder, path: tuple[str, ...], depth: int) -> StructField:
    members: list[Member] = []
    for index in range(draw(st.integers(1, 4))):
        name = f"m{index}"
        kind = draw(st.integers(0, 11 if depth else 5))
        if kind <= 5:
            members.append(Member(name, draw(leaves(order))))
            continue
        if kind <= 7:
            inner = draw(structs(order, (*path, name), depth - 1))
            if kind == 7:
                members.append(Member(name, ArrayField(element=inner, length=draw(st.integers(0, 3)))))
            else:
                members.append(Member(name, inner))
            continue
        guide = f"{name}_guide"
        size = draw(st.sampled_from([8, 16, 5]))
        mappings = (EnumMapping("o0", ((0, 1),)), EnumMapping("o1", ((2, 6),)))
        where = FieldLocation(Scope.EVENT_PAYLOAD, (*path, guide))
        members.append(Member(guide, IntegerField(size=size, align=draw(aligns), byte_order=order, mappings=mappings)))
        element = draw(st.one_of(leaves(order), structs(order, (*path, name), depth - 1)))
        fields: list[FieldClass] = [
            SequenceField(element=element, length=where),
            DynamicStringField(length=where) if draw(st.booleans()) else DynamicBlobField(length=where),
            VariantField(
                selector=where,
                options=(VariantOption("o0", element, ((0, 1),)), VariantOption("o1", draw(leaves(order)), ((2, 6),))),
            ),
            OptionField(selector=where, field=element, ranges=((1, 3),)),
        ]
        members.append(Member(name, fields[kind - 8]))
    return StructField(members=tuple(members), align=draw(st.sampled_from([1, 8, 32])))


def texts(encoding: Encoding, least: int = 0, most: int = 5) -> st.SearchStrategy[str]:
    alphabet = st.characters(exclude_characters="\0", exclude_categories=["Cs"], max_codepoint=0x2FFF)
    return st.text(alphabet, min_size=least, max_size=most)


@st.composite
def values(draw: st.DrawFn, field: FieldClass, guide: int = 0) -> Any:
    match field:
        case IntegerField() | BitArrayField():
            low = -(1 << (field.size - 1)) if isinstance(field, IntegerField) and field.signed else 0
            return draw(st.integers(low, low + (1 << field.size) - 1))
        case BoolField():
            return draw(st.booleans())
        case VarIntField():
            return draw(st.integers(-(1 << 63), (1 << 63) - 1) if field.signed else st.integers(0, (1 << 64) - 1))
        case FloatField():
            return draw(st.floats(allow_nan=False, width=min(field.size, 64)))  # type: ignore[arg-type]
        case StringField():
            return draw(texts(field.encoding))
        case StaticStringField():
            return draw(texts(field.encoding, most=field.length // 4))
        case DynamicStringField():
            return draw(st.text("abc", min_size=guide, max_size=guide))
        case BlobField():
            return draw(st.binary(min_size=field.length, max_size=field.length))
        case DynamicBlobField():
            return draw(st.binary(min_size=guide, max_size=guide))
        case ArrayField():
            return [draw(values(field.element)) for _ in range(field.length)]
        case SequenceField():
            return [draw(values(field.element)) for _ in range(guide)]
        case VariantField():
            index = 0 if guide <= 1 else 1
            return Choice(index, draw(values(field.options[index].field)))
        case OptionField():
            return draw(values(field.field)) if 1 <= guide <= 3 else None
        case StructField():
            result: dict[str, Any] = {}
            for member in field.members:
                if member.name.endswith("_guide"):
                    result[member.name] = draw(st.integers(0, 6))
                else:
                    result[member.name] = draw(values(member.field, result.get(f"{member.name}_guide", 0)))
            return result
        case _:
            raise AssertionError(field)


def timestamp(order: ByteOrder) -> IntegerField:
    return replace(IntegerField(size=64, byte_order=order), roles=(Role.TIMESTAMP,), clock="c")
