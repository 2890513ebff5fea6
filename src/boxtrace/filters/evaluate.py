"""Filters on events that are read: a bound expression in, a Python function over event records out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from boxtrace.ctf.fields import BoolField, IntegerField, Scope, VarIntField
from boxtrace.ctf.packet import RecordView
from boxtrace.filters.binding import Binding, BoundField, Type
from boxtrace.filters.lexer import signed64
from boxtrace.filters.operations import BINARY, UNARY, Undecided, glob_matches
from boxtrace.filters.syntax import COMPARISONS, ORDERINGS, Binary, Field, Float, Integer, Logical, Node, Text, Unary

__all__ = ["compile_test"]

_Value: TypeAlias = Callable[[RecordView], Any]

_ROOTS: Final[Mapping[Scope, _Value]] = {
    Scope.EVENT_PAYLOAD: lambda record: record.payload,
    Scope.EVENT_SPECIFIC_CONTEXT: lambda record: record.specific,
    Scope.EVENT_COMMON_CONTEXT: lambda record: record.common,
    Scope.PACKET_CONTEXT: lambda record: record.packet.context,
}


def compile_test(binding: Binding) -> Callable[[RecordView], bool]:
    """Return the function that tells whether an event of the class that the expression was bound to matches."""
    value = _value(binding, binding.root)

    def test(record: RecordView) -> bool:
        try:
            return bool(value(record))
        except Undecided:
            return False

    return test


def _value(binding: Binding, node: Node) -> _Value:
    match node:
        case Integer() | Float():
            return _constant(node.value)
        case Text():
            return _constant(node.pieces[0].decode("utf-8", "surrogateescape"))
        case Field():
            return _field(binding.fields[node])
        case Unary():
            operand = _value(binding, node.operand)
            apply = UNARY[node.operator]
            return lambda record: apply(operand(record))
        case Logical("&&"):
            terms = tuple(_value(binding, term) for term in node.terms)
            return lambda record: int(all(term(record) for term in terms))
        case Logical():
            terms = tuple(_value(binding, term) for term in node.terms)
            return lambda record: int(any(term(record) for term in terms))
        case Binary():
            return _binary(binding, node)


def _constant(value: Any) -> _Value:
    return lambda record: value


def _binary(binding: Binding, node: Binary) -> _Value:
    kinds = {binding.type_of(node.left), binding.type_of(node.right)}
    if kinds == {Type.TEXT} and node.operator not in ORDERINGS:
        for literal, other in ((node.left, node.right), (node.right, node.left)):
            if isinstance(literal, Text) and len(literal.pieces) > 1:
                return _glob(_value(binding, other), literal.pieces, node.operator == "==")
    apply = BINARY[node.operator]
    left, right = (_value(binding, operand) for operand in (node.left, node.right))
    if kinds == {Type.TEXT} and node.operator in ORDERINGS:
        left, right = _bytes(left), _bytes(right)
    elif kinds == {Type.INTEGER, Type.FLOAT}:
        left, right = _float(left), _float(right)
    if node.operator in COMPARISONS:
        return lambda record: int(apply(left(record), right(record)))
    return lambda record: apply(left(record), right(record))


def _glob(value: _Value, pieces: tuple[bytes, ...], wanted: bool) -> _Value:
    text = _bytes(value)
    return lambda record: int(glob_matches(pieces, text(record)) is wanted)


def _bytes(value: _Value) -> _Value:
    return lambda record: value(record).encode("utf-8", "surrogateescape")


def _float(value: _Value) -> _Value:
    return lambda record: float(value(record))


def _field(bound: BoundField) -> _Value:
    read = _raw(_ROOTS[bound.scope], bound)
    field = bound.field
    if isinstance(field, BoolField):
        return lambda record: int(read(record))
    if bound.type is not Type.INTEGER:
        return read
    if isinstance(field, (IntegerField, VarIntField)) and (field.signed or getattr(field, "size", 64) < 64):
        return read
    return lambda record: signed64(read(record))


def _raw(fields: _Value, bound: BoundField) -> _Value:
    first, *steps = bound.path

    def walk(record: RecordView) -> Any:
        value = fields(record)[first]
        try:
            for step in steps:
                value = value[step]
        except (IndexError, TypeError):  # fewer elements, or None for an option that is not there
            raise Undecided from None
        if value is None:
            raise Undecided
        return value

    if steps or bound.optional:
        return walk
    return lambda record: fields(record)[first]
