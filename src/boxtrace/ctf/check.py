"""What metadata may declare and no reader can follow, whichever language it is written in."""

from __future__ import annotations

from typing import TypeAlias

from boxtrace.ctf.fields import (
    ArrayField,
    BitArrayField,
    BitMapField,
    BoolField,
    ByteOrder,
    FieldClass,
    FloatField,
    IntegerField,
    OptionField,
    Scope,
    SequenceField,
    StructField,
    VariantField,
)
from boxtrace.ctf.layout import alignment_of
from boxtrace.ctf.model import TraceClass

__all__ = ["MOST_NESTED", "check_trace", "nesting"]

MOST_NESTED = 280
"""Structures, arrays and variants inside one another."""

_State: TypeAlias = tuple[int | None, ByteOrder | None]
"""The bit of a byte that is reached, and the order of the bits before it; None: not known."""


def check_trace(trace: TraceClass, *, mixed: bool) -> None:
    """Raise ValueError where time stamps go beyond 64 bits, or where the byte order changes within a byte.

    :param mixed: whether there are several byte orders at all.
    """
    for stream in trace.streams:
        clock = None if stream.clock is None else trace.clock(stream.clock)
        if clock is not None and clock.frequency >= 1 << 63:
            raise ValueError(f"clock {clock.name}: its frequency {clock.frequency} cannot be")
        if clock is not None and not -(1 << 63) <= clock.base_ns < 1 << 63:
            raise ValueError(f"clock {clock.name}: its offset is beyond 64 bits of nanoseconds")
    if not mixed:
        return
    walk = _ByteOrders()
    start = walk.root("", Scope.PACKET_HEADER, trace.packet_header, (0, None))
    for stream in trace.streams:
        what = f"stream {stream.id} "
        walk.root(what, Scope.PACKET_CONTEXT, stream.packet_context, start)
        state = walk.root(what, Scope.EVENT_HEADER, stream.event_header, (None, None))
        state = walk.root(what, Scope.EVENT_COMMON_CONTEXT, stream.event_context, state)
        for event in stream.events:
            what = f"event {event.name} "
            inner = walk.root(what, Scope.EVENT_SPECIFIC_CONTEXT, event.context, state)
            walk.root(what, Scope.EVENT_PAYLOAD, event.fields, inner)


def nesting(field: FieldClass | None, known: dict[int, int]) -> int:
    """Return how many structures, arrays, variants and options are inside one another in a field.

    :param known: what was found out before, by identity of field classes that live on.
    """
    match field:
        case StructField():
            inside: tuple[FieldClass, ...] = tuple(member.field for member in field.members)
        case ArrayField() | SequenceField():
            inside = (field.element,)
        case VariantField():
            inside = tuple(option.field for option in field.options)
        case OptionField():
            inside = (field.field,)
        case _:
            return 0
    if id(field) not in known:
        known[id(field)] = 1 + max((nesting(each, known) for each in inside), default=0)
    return known[id(field)]


class _ByteOrders:
    def __init__(self) -> None:
        self._bit: int | None = None
        self._order: ByteOrder | None = None

    def root(self, what: str, scope: Scope, field: StructField | None, start: _State) -> _State:
        """Go through a root structure, and return where it ends."""
        self._bit, self._order = start
        if field is not None:
            self._field(field, f"{what}{scope.value}")
        return self._bit, self._order

    def _field(self, field: FieldClass, path: str) -> None:
        self._align(alignment_of(field))
        match field:
            case IntegerField() | BitArrayField() | BitMapField() | BoolField() | FloatField():
                order = field.byte_order
                if self._bit and self._order not in (None, order):
                    raise ValueError(f"{path}: begins within a byte whose bits before it have another byte order")
                self._bit = None if self._bit is None else (self._bit + field.size) % 8
                self._order = order
            case StructField():
                for member in field.members:
                    self._field(member.field, f"{path}.{member.name}")
            case ArrayField() | SequenceField():
                self._any_of([field.element], path)
            case VariantField():
                self._any_of([option.field for option in field.options], path)
            case OptionField():
                self._any_of([field.field], path)
            case _:
                self._bit = 0

    def _any_of(self, fields: list[FieldClass], path: str) -> None:
        """Go through fields of which any may be there, or none: what follows may begin after each."""
        start = (self._bit, self._order)
        ends = {start}
        for field in fields:
            self._bit, self._order = start
            self._field(field, path)
            ends.add((self._bit, self._order))
        bits, orders = {bit for bit, _ in ends}, {order for _, order in ends}
        self._bit = bits.pop() if len(bits) == 1 else None
        self._order = orders.pop() if len(orders) == 1 else None

    def _align(self, align: int) -> None:
        if align >= 8:
            self._bit = 0
        elif self._bit is not None:
            self._bit = (self._bit + align - 1) // align * align % 8
