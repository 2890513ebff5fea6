"""Filters on decoded columns: bound expressions in, the native core's form of them out.

The numbers of the codes are those of ``native/core/ctf_filter.hpp``, and what it computes is what
:mod:`boxtrace.filters.evaluate` does; tests compare both.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from boxtrace.ctf.fields import (
    ArrayField,
    FieldClass,
    OptionField,
    Scope,
    SequenceField,
    StructField,
)
from boxtrace.ctf.packet import PacketHead
from boxtrace.ctf.plan import Plan, signed_word
from boxtrace.ctf.plan_compile import is_empty
from boxtrace.filters.binding import Binding, BoundField, Type
from boxtrace.filters.syntax import ORDERINGS, Binary, Field, Float, Integer, Logical, Node, Text, Unary

__all__ = ["ColumnFilter", "FilterCode", "ValueType"]


class FilterCode(IntEnum):
    """What a node of an expression computes."""

    CONSTANT = 0
    COLUMN = 1
    PACKET_VALUE = 2
    TO_REAL = 3
    NEGATE = 4
    INVERT = 5
    NOT = 6
    SHIFT_LEFT = 7
    SHIFT_RIGHT = 8
    AND = 9
    XOR = 10
    OR = 11
    LESS = 12
    LESS_EQUAL = 13
    GREATER = 14
    GREATER_EQUAL = 15
    EQUAL = 16
    NOT_EQUAL = 17
    GLOB = 18
    ALL = 19
    ANY = 20


class ValueType(IntEnum):
    """What a node's value is."""

    INTEGER = 0
    REAL = 1
    TEXT = 2


_UNARY: Final = {"-": FilterCode.NEGATE, "~": FilterCode.INVERT, "!": FilterCode.NOT}
_BINARY: Final = {
    "<<": FilterCode.SHIFT_LEFT,
    ">>": FilterCode.SHIFT_RIGHT,
    "&": FilterCode.AND,
    "^": FilterCode.XOR,
    "|": FilterCode.OR,
    "<": FilterCode.LESS,
    "<=": FilterCode.LESS_EQUAL,
    ">": FilterCode.GREATER,
    ">=": FilterCode.GREATER_EQUAL,
    "==": FilterCode.EQUAL,
    "!=": FilterCode.NOT_EQUAL,
}
_TYPES: Final = {Type.INTEGER: ValueType.INTEGER, Type.FLOAT: ValueType.REAL, Type.TEXT: ValueType.TEXT}


@dataclass(slots=True)
class _Node:
    code: FilterCode
    type: ValueType = ValueType.INTEGER
    integer: int = 0
    operands: list[int] = field(default_factory=list)
    pieces: list[int] = field(default_factory=list)
    steps: list[tuple[int, int]] = field(default_factory=list)


class ColumnFilter:
    """An expression for each event class of a plan that keeps text as it is (``raw_text``)."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._nodes: list[_Node] = []
        self._events: list[int] = []
        self._strings: dict[bytes, int] = {}
        self._packet: dict[BoundField, int] = {}

    def add_unwanted(self) -> None:
        """Add the next event class of the plan, of which no event matches."""
        self._events.append(-1)

    def add_event(self, binding: Binding, columns: Mapping[tuple[Scope, str], int]) -> None:
        """Add the next event class of the plan.

        :param binding: the expression for it.
        :param columns: those of the members of the event's root structures, all that the expression names among them.
        """
        self._events.append(self._node(binding, columns, binding.root))

    def words(self) -> tuple[array[int], list[bytes]]:
        """Return the filter as 64-bit words, and the strings that they refer to."""
        out = array("q", (len(self._packet), len(self._nodes)))
        for node in self._nodes:
            out.extend((node.code, node.type, node.integer))
            for numbers in (node.operands, node.pieces):
                out.append(len(numbers))
                out.extend(numbers)
            out.append(len(node.steps))
            for step in node.steps:
                out.extend(step)
        out.append(len(self._events))
        out.extend(self._events)
        return out, list(self._strings)

    def packet_values(self, heads: Iterable[PacketHead]) -> tuple[array[int], list[bytes]]:
        """Return what the filter must be told of packets: for each value, if it is there, and what it is.

        That is 64 bits of a number, or the number of a text in the list.
        """
        out = array("q")
        texts: list[bytes] = []
        for head in heads:
            for bound in self._packet:
                value = _packet_value(head, bound)
                if isinstance(value, str):
                    texts.append(value.encode("utf-8", "surrogateescape"))
                    out.extend((1, len(texts) - 1))
                elif isinstance(value, float):
                    out.extend((1, *struct.unpack("<q", struct.pack("<d", value))))
                else:
                    out.extend((0, 0) if value is None else (1, signed_word(int(value))))
        return out, texts

    def _add(self, node: _Node) -> int:
        self._nodes.append(node)
        return len(self._nodes) - 1

    def _strings_of(self, pieces: Sequence[bytes]) -> list[int]:
        return [self._strings.setdefault(piece, len(self._strings)) for piece in pieces]

    def _node(self, binding: Binding, columns: Mapping[tuple[Scope, str], int], node: Node) -> int:
        match node:
            case Integer():
                return self._add(_Node(FilterCode.CONSTANT, integer=node.value))
            case Float():
                (bits,) = struct.unpack("<q", struct.pack("<d", node.value))
                return self._add(_Node(FilterCode.CONSTANT, ValueType.REAL, bits))
            case Text():
                return self._add(_Node(FilterCode.CONSTANT, ValueType.TEXT, pieces=self._strings_of(node.pieces[:1])))
            case Field():
                return self._field(binding.fields[node], columns)
            case Unary("+"):
                return self._node(binding, columns, node.operand)
            case Unary():
                operand = self._node(binding, columns, node.operand)
                return self._add(_Node(_UNARY[node.operator], _TYPES[binding.type_of(node)], operands=[operand]))
            case Logical():
                terms = [self._node(binding, columns, term) for term in node.terms]
                return self._add(_Node(FilterCode.ALL if node.operator == "&&" else FilterCode.ANY, operands=terms))
            case Binary():
                return self._binary(binding, columns, node)

    def _binary(self, binding: Binding, columns: Mapping[tuple[Scope, str], int], node: Binary) -> int:
        if node.operator not in ORDERINGS:
            for literal, other in ((node.left, node.right), (node.right, node.left)):
                if isinstance(literal, Text) and len(literal.pieces) > 1:
                    text = self._node(binding, columns, other)
                    pieces = self._strings_of(literal.pieces)
                    wanted = int(node.operator == "==")
                    return self._add(_Node(FilterCode.GLOB, integer=wanted, operands=[text], pieces=pieces))
        operands = [self._node(binding, columns, operand) for operand in (node.left, node.right)]
        types = [binding.type_of(operand) for operand in (node.left, node.right)]
        if set(types) == {Type.INTEGER, Type.FLOAT}:
            at = types.index(Type.INTEGER)
            operands[at] = self._add(_Node(FilterCode.TO_REAL, ValueType.REAL, operands=[operands[at]]))
        return self._add(_Node(_BINARY[node.operator], operands=operands))

    def _field(self, bound: BoundField, columns: Mapping[tuple[Scope, str], int]) -> int:
        if bound.scope is Scope.PACKET_CONTEXT:
            number = self._packet.setdefault(bound, len(self._packet))
            return self._add(_Node(FilterCode.PACKET_VALUE, _TYPES[bound.type], number))
        column = columns[bound.scope, str(bound.path[0])]
        field_class: FieldClass = bound.outermost
        steps = []
        for step in bound.path[1:]:
            while isinstance(field_class, OptionField):
                field_class = field_class.field
            children = self._plan.columns[column].children
            if isinstance(field_class, StructField):
                steps.append((column, -1))
                shown = [member for member in field_class.members if not is_empty(member.field)]
                at = next(number for number, member in enumerate(shown) if member.name == step)
                column, field_class = children[at], shown[at].field
            else:
                assert isinstance(field_class, (ArrayField, SequenceField))
                steps.append((column, int(step)))
                column, field_class = children[0], field_class.element
        return self._add(_Node(FilterCode.COLUMN, _TYPES[bound.type], steps=[*steps, (column, -1)]))


def _packet_value(head: PacketHead, bound: BoundField) -> Any:
    """Return the value of a field of the packet's context, None where it is not there."""
    value: Any = head.context
    for step in bound.path:
        if value is None or (isinstance(step, int) and step >= len(value)):
            return None
        value = value[step]
    return value
