"""CTF forms of kernel structures, from the running kernel's own type information (BTF)."""

from __future__ import annotations

from functools import cache

from boxtrace.ctf.fields import (
    ArrayField,
    DisplayBase,
    FieldClass,
    IntegerField,
    Member,
    StaticStringField,
    StructField,
)
from boxtrace.kernel.btf import kernel_btf

__all__ = ["kernel_structure"]

_MAX_NESTING = 4
_BYTE = IntegerField(size=8, base=DisplayBase.HEXADECIMAL)


def kernel_structure(name: str) -> StructField | None:
    """Return a structure of the kernel as a CTF structure that covers each of its bytes; None if there is none.

    Padding and what has no plain form (unions, bit-fields) are arrays of bytes; padding is called ``_paddingN``.
    """
    return _structure(name, _MAX_NESTING)


@cache
def _structure(name: str, nesting: int) -> StructField | None:
    size = kernel_btf().size(name)
    if not size or not nesting:
        return None
    members: list[Member] = []
    position = 0
    for member, offset, length, kind, count, type_name in kernel_btf().members(name):
        if offset < position:
            continue  # a bit-field that shares its bytes with the one before
        if offset > position:
            members.append(_opaque(f"_padding{len(members)}", offset - position))
        members.append(Member(member or f"_anonymous{len(members)}", _field(length, kind, count, type_name, nesting)))
        position = offset + length
    if position > size:
        return None
    if position < size:
        members.append(_opaque(f"_padding{len(members)}", size - position))
    return StructField(members=tuple(members))


def _opaque(name: str, size: int) -> Member:
    return Member(name, ArrayField(element=_BYTE, length=size))


def _field(size: int, kind: str, count: int, type_name: str, nesting: int) -> FieldClass:
    element_size = size // count if count else size
    element: FieldClass | None = None
    if kind == "c":
        return StaticStringField(length=size)
    if kind == "t" and type_name:
        element = _structure(type_name, nesting - 1)
    elif kind in "usp" and element_size in (1, 2, 4, 8):
        base = DisplayBase.HEXADECIMAL if kind == "p" else DisplayBase.DECIMAL
        element = IntegerField(size=element_size * 8, signed=kind == "s", base=base)
    if element is None:
        return ArrayField(element=_BYTE, length=size)
    return ArrayField(element=element, length=count) if count else element
