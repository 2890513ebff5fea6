"""What can be computed before any event: constants, and terms that decide nothing.

A simplified tree gives the same verdict for every event. What ends an evaluation at once (a shift by too much, an
element that may be missing) is kept, since it makes the whole filter false from wherever it stands.
"""

from __future__ import annotations

from boxtrace.filters.binding import Binding, Type
from boxtrace.filters.operations import BINARY, UNARY, Undecided
from boxtrace.filters.syntax import SHIFTS, Binary, Field, Float, Integer, Logical, Node, Text, Unary

__all__ = ["is_boolean", "simplify"]


def simplify(binding: Binding, node: Node) -> Node:
    """Return a tree of the same meaning, with nothing constant but where it must be."""
    match node:
        case Unary():
            operand = simplify(binding, node.operand)
            if isinstance(operand, (Integer, Float)):
                return _constant(UNARY[node.operator](operand.value), node)
            if node.operator == "+":
                return operand
            return Unary(node.operator, operand, node.at, node.depth)
        case Binary():
            left, right = simplify(binding, node.left), simplify(binding, node.right)
            if isinstance(left, (Integer, Float)) and isinstance(right, (Integer, Float)):
                return _folded(node, left, right)
            return Binary(node.operator, left, right, node.at, node.depth)
        case Logical():
            return _logical(binding, node)
        case _:
            return node


def _constant(value: float, node: Node) -> Node:
    return Float(value, node.at) if isinstance(value, float) else Integer(int(value), node.at)


def _folded(node: Binary, left: Integer | Float, right: Integer | Float) -> Node:
    first, second = left.value, right.value
    if isinstance(first, float) or isinstance(second, float):
        first, second = float(first), float(second)
    try:
        return _constant(BINARY[node.operator](first, second), node)
    except Undecided:
        return Binary(node.operator, left, right, node.at, node.depth)


def _logical(binding: Binding, node: Logical) -> Node:
    deciding = node.operator == "||"
    terms: list[Node] = []
    for term in (simplify(binding, each) for each in node.terms):
        if not isinstance(term, (Integer, Float)):
            terms.append(term)
        elif bool(term.value) == deciding:
            terms.append(Integer(int(deciding), term.at))
            break
    if not terms:
        return Integer(int(not deciding), node.at)
    if isinstance(terms[-1], Integer):
        while len(terms) > 1 and not _may_end(binding, terms[-2]):
            del terms[-2]
    if len(terms) > 1:
        return Logical(node.operator, tuple(terms), node.at, node.depth)
    [term] = terms
    if isinstance(term, Integer) or is_boolean(term):
        return term
    zero = Float(0.0, term.at) if binding.type_of(term) is Type.FLOAT else Integer(0, term.at)
    return Binary("!=", term, zero, node.at, node.depth)


def is_boolean(node: Node) -> bool:
    """Tell whether a node's value is always 0 or 1."""
    match node:
        case Logical() | Unary("!"):
            return True
        case Binary():
            return node.operator in ("==", "!=", "<", "<=", ">", ">=")
        case _:
            return False


def _may_end(binding: Binding, node: Node) -> bool:
    """Tell whether evaluating a node may end the whole evaluation."""
    match node:
        case Field():
            return binding.fields[node].optional
        case Unary():
            return _may_end(binding, node.operand)
        case Binary():
            if node.operator in SHIFTS and not (isinstance(node.right, Integer) and 0 <= node.right.value <= 63):
                return True
            return _may_end(binding, node.left) or _may_end(binding, node.right)
        case Logical():
            return any(_may_end(binding, term) for term in node.terms)
        case Integer() | Float() | Text():
            return False
