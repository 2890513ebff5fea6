"""What a compiled filter is given: two blocks of memory, and where in them each context and field lies.

The contract between the code that :mod:`boxtrace.filters.codegen` makes and the BPF program that calls it:

- r1 points to the block of contexts, r2 to the block of payload fields. Both are memory that may be read at the offsets
  of an :class:`InputLayout` without a check (a map's value, or the stack), and begin at a multiple of 8.
- Integers have the machine's byte order (little-endian). Text ends at its first zero byte, or with its room.
- r0 becomes 1 for an event that is wanted, else 0. The code calls nothing, changes r0 and r3 to r9 only, and all of its
  jumps lead forward.

So it can stand in for a function that a C compiler made of ``int filter(const void *contexts, const void *payload)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from boxtrace.ctf.fields import (
    ArrayField,
    ByteOrder,
    FieldClass,
    IntegerField,
    Member,
    Scope,
    StaticStringField,
    StringField,
    StructField,
)
from boxtrace.ctf.layout import align_up, alignment_of, struct_layout
from boxtrace.filters.binding import BoundField

__all__ = ["CONTEXTS", "PAYLOAD", "InputLayout", "Place", "packed"]

CONTEXTS = 1
"""The register that points to the contexts."""
PAYLOAD = 2
"""The register that points to the payload."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value lies: ``size`` bytes (for text: its room) at ``offset`` from where register ``base`` points to."""

    base: int
    offset: int
    size: int
    signed: bool = False


@dataclass(frozen=True, slots=True)
class InputLayout:
    """Offsets in bytes of contexts and payload fields by name; a filter cannot be given what is not among them.

    :param rooms: bytes of payload fields whose class does not tell their size (strings), the zero byte included.
    """

    contexts: Mapping[str, int] = field(default_factory=dict)
    payload: Mapping[str, int] = field(default_factory=dict)
    rooms: Mapping[str, int] = field(default_factory=dict)

    def place(self, bound: BoundField) -> Place | None:
        """Return where a field lies, None if a filter is not given it."""
        base, offsets = (PAYLOAD, self.payload) if bound.scope is Scope.EVENT_PAYLOAD else (CONTEXTS, self.contexts)
        start = offsets.get(str(bound.path[0]))
        inside = _offset(bound.outermost, bound.path[1:])
        if start is None or inside is None or inside % 8:
            return None
        offset = start + inside // 8
        match bound.field:
            case IntegerField(size=8 | 16 | 32 | 64 as bits, byte_order=ByteOrder.LITTLE, reversed_bits=False):
                return Place(base, offset, bits // 8, bound.field.signed)
            case StaticStringField(length=length):
                return Place(base, offset, length)
            case StringField() if bound.path[0] in self.rooms:
                return Place(base, offset, self.rooms[str(bound.path[0])])
            case _:
                return None


def _offset(outer: FieldClass, path: tuple[str | int, ...]) -> int | None:
    """Return how many bits from a field's beginning the member or element lies; None if that is not constant."""
    position = 0
    for step in path:
        match outer, step:
            case StructField(), str(name):
                struct, place = outer, name
            case ArrayField(), int():
                # Two elements tell the distance of all.
                struct, place = StructField(members=(Member("0", outer.element), Member("1", outer.element))), "1"
            case _:
                return None
        try:
            spans, _ = struct_layout(struct)
        except ValueError:
            return None
        position += spans[place].offset * (step if isinstance(step, int) else 1)
        inner = struct.find(place)
        assert inner is not None
        outer = inner
    return position


def packed(fields: StructField | None) -> dict[str, int]:
    """Return the offsets in bytes of a payload's fields as recorded, up to the first of no constant size."""
    offsets: dict[str, int] = {}
    end = 0
    for member in () if fields is None else fields.members:
        start = align_up(end, alignment_of(member.field))
        offsets[member.name] = start // 8
        try:
            _, end = struct_layout(StructField(members=(member,)), start)
        except ValueError:
            break
    return offsets
