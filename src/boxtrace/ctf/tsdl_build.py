"""Parse tree of a TSDL text to declared types and blocks (names and scopes; paths stay text)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar
from uuid import UUID

from lark import Token, Tree

from boxtrace.ctf.fields import ByteOrder, DisplayBase, EnumMapping
from boxtrace.ctf.layout import alignment
from boxtrace.ctf.model import UNIX_EPOCH, ClockClass
from boxtrace.ctf.tsdl_leaf import (
    parse_boolean,
    parse_byte_order,
    parse_float,
    parse_integer,
    parse_number,
    parse_string,
)
from boxtrace.ctf.tsdl_types import (
    DeclaredArray,
    DeclaredEvent,
    DeclaredInteger,
    DeclaredStream,
    DeclaredStruct,
    DeclaredType,
    DeclaredVariant,
    TypeScope,
)
from boxtrace.ctf.tsdl_values import Value, integer_of, natural_of, text_of, unquoted, uuid_of

__all__ = ["Builder", "TsdlError"]

Node = Tree[Token] | Token
_T = TypeVar("_T")
_KEYWORDS = frozenset(
    ["align", "callsite", "clock", "enum", "env", "event", "floating_point", "integer", "stream", "string"]
).union(["struct", "trace", "typealias", "variant"])
"""Those that the grammar takes for a name where they mean nothing else."""
_LEAF = re.compile(r"(integer\s*\{[^{}]*\}|string)\s+(\w+)\s*(?:\[\s*([0-9]+)\s*\])?\s*;")
"""A member of a token LEAVES."""


class TsdlError(ValueError):
    """What is wrong in a TSDL text, and the token where (None: in the whole text)."""

    def __init__(self, message: str, token: Token | None) -> None:
        super().__init__(message)
        self.token = token


class Builder:
    """Everything that a TSDL text declares, filled by :meth:`add`."""

    def __init__(self) -> None:
        self.byte_order: ByteOrder | None = None
        self.uuid: UUID | None = None
        self.environment: dict[str, Value] = {}
        self.packet_header: DeclaredStruct | None = None
        self.clocks: list[ClockClass] = []
        self.streams: dict[int, DeclaredStream] = {}
        self.events: list[DeclaredEvent] = []
        self._root = TypeScope()
        self._leaves: dict[str, DeclaredType] = {}
        self._structures: dict[str, tuple[tuple[str, DeclaredType], ...]] = {}

    def add(self, tree: Tree[Token]) -> None:
        """Take in the tree of a whole text. Raises TsdlError."""
        for block in tree.find_data("block"):
            if _kind(block) == "trace":
                self._find_byte_order(block)
        for node in tree.children:
            if isinstance(node, Tree) and node.data == "block":
                self._block(node)
            else:
                self._declare(node, self._root)

    def byte_orders(self) -> set[ByteOrder]:
        """Return those of all declared integers."""
        return {leaf.field.byte_order for leaf in self._leaves.values() if isinstance(leaf, DeclaredInteger)}

    def _find_byte_order(self, block: Tree[Token]) -> None:
        for node in block.children:
            name, value = _assignment(node)
            if name == "byte_order":
                self.byte_order = _checked(partial(parse_byte_order, str(value), None), node)
        if self.byte_order is None:
            raise TsdlError("the trace block needs a byte_order", _token(block))

    # --- blocks ---

    def _block(self, block: Tree[Token]) -> None:
        kind = _kind(block)
        scope = TypeScope(self._root)
        values: dict[str, Value] = {}
        types: dict[str, DeclaredType] = {}
        for node in block.children[1:]:
            name, value = _assignment(node)
            if name is not None:
                if name in values and kind != "env":
                    raise TsdlError(f"{name} is given twice", _token(node))
                values.setdefault(name, value)
            elif isinstance(node, Tree) and node.data == "type_assignment":
                name = _path(node.children[0])
                if name in types:
                    raise TsdlError(f"{name} is given twice", _token(node))
                types[name] = self._type(node.children[1:], scope)
            elif kind in ("trace", "stream", "event"):
                self._declare(node, scope)
        match kind:
            case "trace":
                self._trace(block, values, types)
            case "env":
                self.environment.update(values)
            case "clock":
                self.clocks.append(_checked(lambda: self._clock(values), block))
            case "stream":
                self._stream(block, values, types)
            case "event":
                self._event(block, values, types)

    def _trace(self, block: Tree[Token], values: dict[str, Value], types: dict[str, DeclaredType]) -> None:
        if (values.get("major"), values.get("minor")) != (1, 8):
            raise TsdlError(f"CTF {values.get('major')}.{values.get('minor')} is not known", _token(block))
        self.uuid = _checked(lambda: uuid_of(values), block)
        self.packet_header = _root_struct(types, "packet.header", block)

    def _clock(self, values: dict[str, Value]) -> ClockClass:
        name = text_of(values, "name")
        if name is None:
            raise ValueError("a clock needs a name")
        if any(clock.name == name for clock in self.clocks):
            raise ValueError(f"clock {name} is declared twice")
        uuid = uuid_of(values)
        frequency = integer_of(values, "freq", 1_000_000_000)
        if frequency <= 0:
            raise ValueError(f"clock frequency {frequency} is not positive")
        # LTTng counts from the Unix epoch, but did not always say so.
        lttng = str(self.environment.get("tracer_name", "")).startswith("lttng") and name == "monotonic"
        absolute = lttng or parse_boolean(str(values.get("absolute", "false")))
        return ClockClass(
            name=name,
            frequency=frequency,
            offset_seconds=integer_of(values, "offset_s", 0),
            offset_cycles=integer_of(values, "offset", 0),
            origin=UNIX_EPOCH if absolute else None,
            uid=None if uuid is None else str(uuid),
            description=text_of(values, "description"),
            precision=natural_of(values, "precision") if "precision" in values else None,
        )

    def _stream(self, block: Tree[Token], values: dict[str, Value], types: dict[str, DeclaredType]) -> None:
        number = _checked(lambda: integer_of(values, "id", 0), block)
        if number in self.streams:
            raise TsdlError(f"stream {number} is declared twice", _token(block))
        self.streams[number] = DeclaredStream(
            id=number,
            packet_context=_root_struct(types, "packet.context", block),
            event_header=_root_struct(types, "event.header", block),
            event_context=_root_struct(types, "event.context", block),
            place=_token(block),
        )

    def _event(self, block: Tree[Token], values: dict[str, Value], types: dict[str, DeclaredType]) -> None:
        def number(name: str) -> int:
            return _checked(lambda: integer_of(values, name, 0), block)

        self.events.append(
            DeclaredEvent(
                name=_checked(lambda: text_of(values, "name"), block) or "",
                id=number("id"),
                stream_id=number("stream_id") if "stream_id" in values else None,
                context=_root_struct(types, "context", block),
                fields=_root_struct(types, "fields", block),
                loglevel=_checked(lambda: natural_of(values, "loglevel"), block) if "loglevel" in values else None,
                uri=_checked(lambda: text_of(values, "model.emf.uri"), block),
                place=_token(block),
            )
        )

    # --- types ---

    def _declare(self, node: Node, scope: TypeScope) -> list[tuple[str, DeclaredType]]:
        """Take in a declaration, typealias or typedef; return the fields that it declares."""
        if isinstance(node, Token):
            raise TsdlError("expected a declaration", node)
        if node.data == "typealias":
            target, alias = node.children
            assert isinstance(target, Tree) and isinstance(alias, Tree)
            name, _, subscripts = self._declarator(target.children, named=False)
            assert name is None
            declared = _subscripted(self._type(target.children, scope), subscripts)
            name = _alias_name(alias.children)
            for item in alias.children:
                if _is_token(item, "IDENT"):
                    _declared_name(item)
            if name.endswith("*") and isinstance(declared, DeclaredInteger):
                declared = replace(declared, field=replace(declared.field, base=DisplayBase.HEXADECIMAL))
            _declare_once(scope, "alias", name, declared, node)
            return []
        if node.data != "declaration":
            raise TsdlError("expected a declaration", _token(node))
        children = list(node.children)
        first = next((i for i, child in enumerate(children) if _is(child, "declarator")), len(children))
        items, others = children[:first], children[first:]
        typedef = any(isinstance(item, Token) and item.value == "typedef" for item in items)
        name, items, subscripts = self._declarator(items, named=True)
        if name is None:
            if not others and any(isinstance(item, Tree) and (scope is self._root or _name(item)) for item in items):
                self._type(items, scope)  # a struct, variant or enum that is only given its name
                return []
            raise TsdlError("a declaration needs a name", _token(node))
        base = self._type([item for item in items if not (isinstance(item, Token) and item.value == "typedef")], scope)
        fields = [(name, _subscripted(base, subscripts))]
        for other in others:
            assert isinstance(other, Tree)
            other_name, _, subscripts = self._declarator(other.children, named=True)
            assert other_name is not None
            fields.append((other_name, _subscripted(base, subscripts)))
        if typedef:
            for typedef_name, declared in fields:
                _declare_once(scope, "alias", typedef_name, declared, node)
            return []
        return fields

    def _declarator(self, items: list[Node], *, named: bool) -> tuple[str | None, list[Node], list[Value]]:
        """Split items into the declared name, the items of its type, and the subscripts."""
        subscripts = [_value(item.children[0]) for item in items if isinstance(item, Tree) and item.data == "subscript"]
        rest = [item for item in items if not _is(item, "subscript")]
        if named and rest and isinstance(rest[-1], Token) and rest[-1].type == "IDENT":
            return _declared_name(rest[-1]), rest[:-1], subscripts
        return None, rest, subscripts

    def _type(self, items: list[Node], scope: TypeScope) -> DeclaredType:
        items = [item for item in items if not _is(item, "subscript")]
        if not items:
            raise TsdlError("a declaration needs a type", None)
        first = items[0]
        if isinstance(first, Tree):
            if len(items) > 1:
                raise TsdlError("expected one type", _token(first))
            return self._compound(first, scope)
        if len(items) == 1 and first.type in ("INTEGER", "FLOAT", "TEXT"):
            return self._leaf(first)
        name = _alias_name(items)
        declared = scope.find("alias", name)
        if declared is None:
            raise TsdlError(f"type {name!r} is not declared", first)
        return declared

    def _leaf(self, token: Token) -> DeclaredType:
        declared = self._leaves.get(token.value)
        if declared is None:
            native = self.byte_order or ByteOrder.LITTLE

            def parse() -> DeclaredType:
                if token.type == "INTEGER":
                    return parse_integer(token.value, native)
                return parse_float(token.value, native) if token.type == "FLOAT" else parse_string(token.value)

            declared = self._leaves[token.value] = _checked(parse, token)
        return declared

    def _compound(self, node: Tree[Token], scope: TypeScope) -> DeclaredType:
        kind = str(node.data)
        name = _name(node)
        if kind == "enum":
            declared = self._enum(node, scope, name)
        elif kind == "struct":
            declared = self._struct(node, scope, name)
        else:
            declared = self._variant(node, scope, name)
        return declared

    def _body(self, node: Tree[Token], scope: TypeScope) -> tuple[tuple[str, DeclaredType], ...] | None:
        body = _child(node, "body")
        if body is None:
            return None
        inner = TypeScope(scope)
        fields: list[tuple[str, DeclaredType]] = []
        for child in body.children:
            assert isinstance(child, Tree)
            fields += self._declare(child, inner)
        return _distinct(fields, _token(body) if body.children else None)

    def _struct(self, node: Tree[Token], scope: TypeScope, name: str | None) -> DeclaredType:
        first = node.children[0]
        if isinstance(first, Token) and first.type == "LEAVES":
            members: tuple[tuple[str, DeclaredType], ...] | None = self._leaves_of(first)
        else:
            members = self._body(node, scope)
        if members is None:
            return self._named("struct", name, scope, node)
        align = 1
        if (clause := _child(node, "align")) is not None:
            align = _checked(lambda: alignment(_value(clause.children[-1])), node)
        declared = DeclaredStruct(members, align)
        if name is not None:
            _declare_once(scope, "struct", name, declared, node)
        return declared

    def _leaves_of(self, token: Token) -> tuple[tuple[str, DeclaredType], ...]:
        """Return the members of a structure that came as one token: many event classes have the same ones."""
        known = self._structures.get(token.value)
        if known is None:
            members = []
            for match in _LEAF.finditer(token.value, token.value.index("{")):
                text, name, length = match.groups()
                leaf = _part(token, "INTEGER" if text.startswith("integer") else "TEXT", match)
                declared = self._leaf(leaf)
                members.append((name, declared if length is None else DeclaredArray(declared, parse_number(length))))
            known = self._structures[token.value] = _distinct(members, token)
        return known

    def _variant(self, node: Tree[Token], scope: TypeScope, name: str | None) -> DeclaredType:
        options = self._body(node, scope)
        clause = _child(node, "tag")
        tag = None if clause is None else _tag(clause)
        if options is not None:
            declared = DeclaredVariant(options, tag)
            if name is not None:
                _declare_once(scope, "variant", name, DeclaredVariant(options), node)
            return declared
        found = self._named("variant", name, scope, node)
        assert isinstance(found, DeclaredVariant)
        return replace(found, tag=tag)

    def _enum(self, node: Tree[Token], scope: TypeScope, name: str | None) -> DeclaredType:
        enumerators = _child(node, "enumerators")
        if enumerators is None:
            return self._named("enum", name, scope, node)
        container = _child(node, "container")
        base = scope.find("alias", "int") if container is None else self._type(list(container.children), scope)
        if not isinstance(base, DeclaredInteger):
            raise TsdlError("the container of an enum is an integer", _token(node))
        ranges: dict[str, list[tuple[int, int]]] = {}
        following = 0
        for child in enumerators.children:
            assert isinstance(child, Tree)
            label, low, high = child.children
            first = following if low is None else _value(low)
            last = first if high is None else _value(high)
            if not isinstance(first, int) or not isinstance(last, int) or first > last:
                raise TsdlError("an enumerator's range goes from a number to one not smaller", _token(child))
            text = unquoted(str(label)) if _is_token(label, "STRING") else str(label)
            ranges.setdefault(text, []).append((first, last))
            following = last + 1
        mappings = tuple(EnumMapping(label, tuple(parts)) for label, parts in ranges.items())
        declared = DeclaredInteger(replace(base.field, mappings=mappings))
        if name is not None:
            _declare_once(scope, "enum", name, declared, node)
        return declared

    def _named(self, kind: str, name: str | None, scope: TypeScope, node: Tree[Token]) -> DeclaredType:
        found = None if name is None else scope.find(kind, name)
        if found is None:
            raise TsdlError(f"{kind} {name} is not declared", _token(node))
        return found


def _distinct(fields: list[tuple[str, DeclaredType]], token: Token | None) -> tuple[tuple[str, DeclaredType], ...]:
    names = [name for name, _ in fields]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise TsdlError(f"{twice!r} is declared twice", token)
    return tuple(fields)


def _part(token: Token, kind: str, match: re.Match[str]) -> Token:
    """Return what a match in a token begins with as a token of its own."""
    before = token.value[: match.start()]
    line, column = token.line, token.column
    if line is not None and column is not None:
        line += before.count("\n")
        column = len(before) - before.rfind("\n") if "\n" in before else column + len(before)
    start = None if token.start_pos is None else token.start_pos + len(before)
    return Token(kind, match.group(1), start, line, column)


def _assignment(node: Node) -> tuple[str | None, Value]:
    """Return name and value of an attribute, no name where it is none."""
    if isinstance(node, Tree):
        return (_path(node.children[0]), _value(node.children[1])) if node.data == "assignment" else (None, 0)
    if node.type != "ATTRIBUTE":
        return None, 0
    name, _, text = node.value.rstrip(";").partition("=")
    text = text.strip()
    return name.rstrip(), text[1:-1] if text.startswith('"') else _checked(lambda: parse_number(text), node)


def _is(node: object, data: str) -> bool:
    return isinstance(node, Tree) and node.data == data


def _is_token(node: object, kind: str) -> bool:
    return isinstance(node, Token) and node.type == kind


def _child(node: Tree[Token], data: str) -> Tree[Token] | None:
    return next((child for child in node.children if isinstance(child, Tree) and child.data == data), None)


def _token(node: Node | None) -> Token | None:
    while isinstance(node, Tree):
        node = next((child for child in node.children if child is not None), None)
    return node


def _name(node: Tree[Token]) -> str | None:
    """Return the name of a structure, variant or enumeration."""
    return next((str(child) for child in node.children if _is_token(child, "IDENT")), None)


def _tag(clause: Tree[Token]) -> str:
    path = clause.children[0]
    assert isinstance(path, Tree)
    if _is_token(path.children[0], "WORD"):
        raise TsdlError(f"{str(path.children[0])!r} is a keyword, not a name", _token(path))
    return _path(path)


def _declared_name(token: Node) -> str:
    if str(token) in _KEYWORDS:
        raise TsdlError(f"{str(token)!r} is a keyword, not a name", _token(token))
    return str(token)


def _kind(block: Tree[Token]) -> str:
    return str(block.children[0])


def _checked(parse: Callable[[], _T], node: Node) -> _T:
    try:
        return parse()
    except TsdlError:
        raise
    except ValueError as error:
        raise TsdlError(str(error), _token(node)) from error


def _path(node: Node) -> str:
    assert isinstance(node, Tree)
    return ".".join(str(child) for child in node.children)


def _value(node: Node) -> Value:
    assert isinstance(node, Tree)
    last = node.children[-1]
    if isinstance(last, Tree):
        return _path(last) if last.data == "path" else _value(last)
    if last.type == "STRING":
        return _checked(lambda: unquoted(last.value), last)
    number = _checked(lambda: parse_number(last.value), last)
    return -number if str(node.children[0]) == "-" else number


def _declare_once(scope: TypeScope, kind: str, name: str, declared: DeclaredType, node: Tree[Token]) -> None:
    if not scope.declare(kind, name, declared):
        raise TsdlError(f"{'type' if kind == 'alias' else kind} {name!r} is declared twice", _token(node))


def _alias_name(items: list[Node]) -> str:
    words = [str(item) for item in items if isinstance(item, Token) and item.value != "const"]
    if len(words) != len([item for item in items if not (isinstance(item, Token) and item.value == "const")]):
        raise TsdlError("expected the name of a type", _token(items[0]))
    return " ".join(words)


def _subscripted(declared: DeclaredType, subscripts: list[Value]) -> DeclaredType:
    for length in reversed(subscripts):
        if isinstance(length, int) and length < 0:
            raise TsdlError(f"array length {length} is negative", None)
        declared = DeclaredArray(declared, length)
    return declared


def _root_struct(types: dict[str, DeclaredType], name: str, block: Tree[Token]) -> DeclaredStruct | None:
    declared = types.get(name)
    if declared is not None and not isinstance(declared, DeclaredStruct):
        raise TsdlError(f"{name} is a structure", _token(block))
    return declared
