"""What an event of the kernel domain is declared by, and the field classes that declarations are made of."""

from __future__ import annotations

from dataclasses import dataclass

from boxtrace.ctf.fields import ByteOrder, DisplayBase, IntegerField, Member, StaticStringField, StructField
from boxtrace.ctf.fields import FieldClass as Field

__all__ = ["COMM", "I32", "I64", "IPV4", "POINTER", "U8", "U16", "U32", "U64", "EventType", "payload"]

I32 = IntegerField(size=32, signed=True)
I64 = IntegerField(size=64, signed=True)
U8 = IntegerField(size=8)
U16 = IntegerField(size=16)
U32 = IntegerField(size=32)
U64 = IntegerField(size=64)
POINTER = IntegerField(size=64, base=DisplayBase.HEXADECIMAL)
IPV4 = IntegerField(size=32, base=DisplayBase.HEXADECIMAL, byte_order=ByteOrder.BIG)
COMM = StaticStringField(length=16)


def payload(**members: Field) -> StructField:
    """Return a structure of these members, in this order."""
    return StructField(members=tuple(Member(name, field) for name, field in members.items()))


@dataclass(frozen=True, slots=True)
class EventType:
    """An event that has a BPF program, or a place in one, of its own; or (without a kind) that user space makes.

    :param name: LTTng's, where LTTng has it.
    :param kind: its enumerator in ``enum bt_event_kind``; empty for an event that user space makes.
    :param program: the BPF program that records it.
    :param fields: its payload.
    :param source: the kernel's tracepoint of the same name, as perf spells it; empty where there is none.
    """

    name: str
    kind: str
    program: str
    fields: StructField
    source: str = ""
