"""What an expression means for one class of events: which fields its names are, and whether the types fit.

LTTng's rules: text is compared with text only, and neither text nor floating point numbers go into bit operations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from boxtrace.ctf.fields import (
    ArrayField,
    BitArrayField,
    BitMapField,
    BoolField,
    DynamicStringField,
    FieldClass,
    FloatField,
    IntegerField,
    OptionField,
    Scope,
    SequenceField,
    StaticStringField,
    StringField,
    StructField,
    VariantField,
    VarIntField,
)
from boxtrace.ctf.model import EventClass, StreamClass
from boxtrace.errors import FilterError
from boxtrace.filters.syntax import (
    BITWISE,
    ORDERINGS,
    Binary,
    Field,
    Float,
    Integer,
    Logical,
    Node,
    Root,
    Text,
    Unary,
)

__all__ = ["Binding", "BoundField", "EventScopes", "Type", "UnknownFieldError", "bind", "field_nodes"]


class UnknownFieldError(FilterError):
    """The events have no field, or no context, of this name."""


class Type(Enum):
    """What a value is, as far as operators care."""

    INTEGER = "a number"
    FLOAT = "a floating point number"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class EventScopes:
    """The structures that an event's fields and contexts are looked up in, and what to call the event in errors."""

    name: str
    payload: StructField | None
    contexts: tuple[tuple[Scope, StructField | None], ...]
    """In the order of the look-up."""

    @classmethod
    def of(cls, stream: StreamClass, event: EventClass) -> EventScopes:
        """Return those of a trace's event class."""
        contexts = (
            (Scope.EVENT_SPECIFIC_CONTEXT, event.context),
            (Scope.EVENT_COMMON_CONTEXT, stream.event_context),
            (Scope.PACKET_CONTEXT, stream.packet_context),
        )
        return cls(event.name, event.fields, contexts)


@dataclass(frozen=True, slots=True)
class BoundField:
    """A field name found: the structure that has it, the steps into it, what it is."""

    scope: Scope
    path: tuple[str | int, ...]
    outermost: FieldClass
    """What the first step of ``path`` leads to."""
    field: FieldClass
    type: Type
    optional: bool
    """An event may be without it: it is an element of a sequence, or an option."""


@dataclass(frozen=True, slots=True)
class Binding:
    """An expression with the meaning of its names for one class of events."""

    expression: str
    root: Node
    fields: Mapping[Field, BoundField]

    def type_of(self, node: Node) -> Type:
        """Return the type of a node's value."""
        match node:
            case Text():
                return Type.TEXT
            case Float():
                return Type.FLOAT
            case Field():
                return self.fields[node].type
            case Unary("-" | "+"):
                return self.type_of(node.operand)
            case _:
                return Type.INTEGER


def bind(expression: str, root: Node, scopes: EventScopes) -> Binding:
    """Look up the names of an expression, and check its types.

    :raises UnknownFieldError: for a name that the event has not.
    :raises FilterError: for types that do not fit.
    """
    fields = {node: _Lookup(expression, node, scopes).bound() for node in field_nodes(root)}
    binding = Binding(expression, root, fields)
    _Types(binding).check_truth(root)
    return binding


def field_nodes(node: Node) -> Iterator[Field]:
    """Yield the fields and contexts that an expression names."""
    match node:
        case Field():
            yield node
        case Unary():
            yield from field_nodes(node.operand)
        case Binary():
            yield from field_nodes(node.left)
            yield from field_nodes(node.right)
        case Logical():
            for term in node.terms:
                yield from field_nodes(term)


class _Lookup:
    """Finds one field."""

    def __init__(self, expression: str, node: Field, scopes: EventScopes) -> None:
        self._expression = expression
        self._node = node
        self._scopes = scopes
        self._optional = False

    def bound(self) -> BoundField:
        scope, first, outermost = self._first()
        field = outermost
        path: tuple[str | int, ...] = (first,)
        for number in range(1, len(self._node.path)):
            step = self._node.path[number]
            field = self._step(field, step, number)
            path = (*path, step)
        field = self._present(field)
        kind = _type(field)
        if kind is None:
            raise self._error(f"{self._name(len(path))} is {_unusable(field)}", 0)
        return BoundField(scope, path, outermost, field, kind, self._optional)

    def _present(self, field: FieldClass) -> FieldClass:
        """Return what an option is when it is there."""
        while isinstance(field, OptionField):
            self._optional = True
            field = field.field
        return field

    def _first(self) -> tuple[Scope, str, FieldClass]:
        name = str(self._node.path[0])
        if self._node.root is Root.PAYLOAD:
            places: tuple[tuple[Scope, StructField | None], ...] = ((Scope.EVENT_PAYLOAD, self._scopes.payload),)
        else:
            places = self._scopes.contexts
            if self._node.root is Root.APPLICATION:
                # LTTng records $app.P:T under its text with what TSDL does not allow in a name made underscores.
                name = "_app_" + name.replace(":", "_")
        for scope, struct in places:
            field = None if struct is None else struct.find(name)
            if field is not None:
                return scope, name, field
        known = [member.name for _, struct in places if struct is not None for member in struct.members]
        what = "context" if self._node.root is not Root.PAYLOAD else "field"
        raise self._unknown(f"{self._scopes.name} has no {what} {self._node.path[0]!r}", 0, known)

    def _step(self, field: FieldClass, step: str | int, number: int) -> FieldClass:
        name = self._name(number)
        field = self._present(field)
        if isinstance(step, str):
            if not isinstance(field, StructField):
                raise self._error(f"{name} has no members", number)
            member = field.find(step)
            if member is None:
                raise self._unknown(f"{name} has no member {step!r}", number, [each.name for each in field.members])
            return member
        if not isinstance(field, (ArrayField, SequenceField)):
            raise self._error(f"{name} is no array: it has no elements", number)
        if isinstance(field, ArrayField) and step >= field.length:
            raise self._error(f"{name} has {field.length} elements, counted from 0", number)
        self._optional |= isinstance(field, SequenceField)
        return field.element

    def _name(self, steps: int) -> str:
        node = self._node
        return str(Field(node.root, node.path[:steps], node.at, node.places[:steps]))

    def _error(self, message: str, number: int) -> FilterError:
        return FilterError(message, expression=self._expression, position=self._node.places[number])

    def _unknown(self, message: str, number: int, known: list[str]) -> UnknownFieldError:
        place = self._node.places[number]
        hint = f"there is: {', '.join(known)}" if known else None
        return UnknownFieldError(message, expression=self._expression, position=place, hint=hint)


def _type(field: FieldClass) -> Type | None:
    match field:
        case IntegerField() | BitArrayField() | BitMapField() | BoolField():
            return Type.INTEGER if field.size <= 64 else None
        case VarIntField():
            return Type.INTEGER
        case FloatField():
            return Type.FLOAT
        case StringField() | StaticStringField() | DynamicStringField():
            return Type.TEXT
        case _:
            return None


def _unusable(field: FieldClass) -> str:
    match field:
        case StructField():
            return "a structure: name one of its members, as in a.b"
        case ArrayField() | SequenceField():
            return "an array: choose an element, as in a[0]"
        case VariantField():
            return "a variant: its type is not always the same"
        case IntegerField() | BitArrayField() | BitMapField() | BoolField():
            return "wider than 64 bits"
        case _:
            return "raw bytes, which cannot be compared"


class _Types:
    """Checks the operands of every operator."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding

    def check_truth(self, node: Node) -> None:
        """Check an operand that is taken as true or false."""
        if self._check(node) is Type.TEXT:
            raise self._error("text alone is neither true nor false: compare it with '=='", node)

    def _check(self, node: Node) -> Type:
        match node:
            case Unary():
                kind = self._check(node.operand)
                if kind is Type.TEXT or (kind is Type.FLOAT and node.operator == "~"):
                    numbers = "whole numbers" if node.operator == "~" else "numbers"
                    raise self._error(f"'{node.operator}' works on {numbers}, and this is {kind.value}", node)
            case Logical():
                for term in node.terms:
                    self.check_truth(term)
            case Binary():
                self._binary(node, self._check(node.left), self._check(node.right))
            case Integer() | Float() | Text() | Field():
                pass
        return self._binding.type_of(node)

    def _binary(self, node: Binary, left: Type, right: Type) -> None:
        operator = node.operator
        if operator in BITWISE:
            for operand, kind in ((node.left, left), (node.right, right)):
                if kind is not Type.INTEGER:
                    raise self._error(f"'{operator}' works on whole numbers, and this is {kind.value}", operand)
        elif (left is Type.TEXT) != (right is Type.TEXT):
            raise self._error(f"'{operator}' compares {left.value} with {right.value}", node)
        elif isinstance(node.left, Text) and isinstance(node.right, Text):
            raise self._error("one side of a comparison of text must be a field", node)
        elif operator in ORDERINGS:
            for operand in (node.left, node.right):
                if isinstance(operand, Text) and len(operand.pieces) > 1:
                    message = f"'*' has a meaning with '==' and '!=' only, not with '{operator}'; '\\*' is a plain one"
                    raise self._error(message, operand)

    def _error(self, message: str, node: Node) -> FilterError:
        return FilterError(message, expression=self._binding.expression, position=node.at)
