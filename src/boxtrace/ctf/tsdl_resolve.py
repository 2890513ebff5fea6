"""Declared TSDL types to the model: paths of lengths and tags become locations, names lose their extra underscore.

Reserved names get their roles here (CTF 1.8 section 5, and what LTTng adds: ``events_discarded``, ``packet_seq_num``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from boxtrace.ctf.fields import (
    MOST_FIELDS,
    ArrayField,
    DynamicStringField,
    FieldClass,
    FieldLocation,
    IntegerField,
    Member,
    Role,
    Scope,
    SequenceField,
    StaticStringField,
    StructField,
    VariantField,
    VariantOption,
)
from boxtrace.ctf.tsdl_types import DeclaredArray, DeclaredInteger, DeclaredStruct, DeclaredType, DeclaredVariant

__all__ = ["Roots", "resolve"]

Roots = Mapping[Scope, DeclaredStruct | None]
"""The structures that a path may lead into."""

_PREFIXES = {
    ("trace", "packet", "header"): Scope.PACKET_HEADER,
    ("stream", "packet", "context"): Scope.PACKET_CONTEXT,
    ("stream", "event", "header"): Scope.EVENT_HEADER,
    ("stream", "event", "context"): Scope.EVENT_COMMON_CONTEXT,
    ("event", "context"): Scope.EVENT_SPECIFIC_CONTEXT,
    ("event", "fields"): Scope.EVENT_PAYLOAD,
}
_TIME_STAMPS = {
    Scope.PACKET_CONTEXT: ("timestamp_begin", "timestamp_end"),
    Scope.EVENT_HEADER: ("timestamp",),
}
_ROLES: dict[Scope, dict[str, Role]] = {
    Scope.PACKET_HEADER: {
        "magic": Role.PACKET_MAGIC,
        "stream_id": Role.STREAM_CLASS_ID,
        "stream_instance_id": Role.STREAM_ID,
    },
    Scope.PACKET_CONTEXT: {
        "timestamp_begin": Role.TIMESTAMP,
        "timestamp_end": Role.TIMESTAMP_END,
        "content_size": Role.CONTENT_SIZE,
        "packet_size": Role.PACKET_SIZE,
        "packet_seq_num": Role.PACKET_SEQ_NUM,
        "events_discarded": Role.EVENTS_DISCARDED,
    },
}


@dataclass(frozen=True, slots=True)
class _Frame:
    """A compound being resolved: its named children, how many of them come before the current one, its path."""

    children: tuple[tuple[str, DeclaredType], ...]
    before: int
    path: tuple[str, ...]


def resolve(scope: Scope, roots: Roots, clocks: Sequence[str] = ()) -> StructField | None:
    """Return the model of one root structure.

    :param clocks: those of the trace. The only one is that of time stamps that name none, as for babeltrace2.
    :raises ValueError: if a length or tag names nothing that was decoded before, or not an integer or enumeration;
        if a time stamp names no clock of several.
    """
    declared = roots[scope]
    if declared is None:
        return None
    field = _Resolver(scope, roots, clocks).convert(declared, ())
    assert isinstance(field, StructField)
    return field


def shown_names(children: tuple[tuple[str, DeclaredType], ...]) -> list[str]:
    """Return the names of members or options without TSDL's extra underscore."""
    raw = [name for name, _ in children]
    shown = [name.removeprefix("_") for name in raw]
    return shown if len(set(shown)) == len(shown) else raw


class _Resolver:
    def __init__(self, scope: Scope, roots: Roots, clocks: Sequence[str]) -> None:
        self._scope = scope
        self._roots = roots
        self._clocks = clocks
        self._frames: list[_Frame] = []
        self._left = MOST_FIELDS

    def convert(self, declared: DeclaredType, path: tuple[str, ...]) -> FieldClass:
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"a structure has more than {MOST_FIELDS} fields")
        match declared:
            case DeclaredInteger():
                return self._integer(declared.field, path)
            case DeclaredArray():
                return self._array(declared, path)
            case DeclaredStruct():
                return self._struct(declared, path)
            case DeclaredVariant():
                return self._variant(declared, path)
            case _:
                return declared

    def _integer(self, field: IntegerField, path: tuple[str, ...]) -> IntegerField:
        role = None
        if field.clock is None and self._clocks and path and path[-1] in _TIME_STAMPS.get(self._scope, ()):
            if len(self._clocks) > 1:
                raise ValueError(f"{'.'.join(path)!r} names none of the clocks {', '.join(self._clocks)}")
            field = replace(field, clock=self._clocks[0])
        if self._scope is Scope.EVENT_HEADER:
            if path and path[-1] == "id":
                role = Role.EVENT_ID
            elif field.clock is not None:
                role = Role.TIMESTAMP
        elif len(path) == 1:
            role = _ROLES.get(self._scope, {}).get(path[0])
        if role is None and field.clock is not None and self._scope is Scope.PACKET_CONTEXT:
            role = Role.TIMESTAMP
        return field if role is None or field.signed else replace(field, roles=(role,))

    def _struct(self, declared: DeclaredStruct, path: tuple[str, ...]) -> StructField:
        members = []
        for index, ((_, child), name) in enumerate(zip(declared.members, shown_names(declared.members), strict=True)):
            self._frames.append(_Frame(declared.members, index, path))
            members.append(Member(name, self.convert(child, (*path, name))))
            self._frames.pop()
        return StructField(members=tuple(members), align=declared.align)

    def _array(self, declared: DeclaredArray, path: tuple[str, ...]) -> FieldClass:
        element = declared.element
        text = (
            isinstance(element, DeclaredInteger)
            and element.encoded
            and element.field.size == 8
            and element.field.align == 8
        )
        if isinstance(declared.length, int):
            if text:
                return StaticStringField(length=declared.length)
            array = ArrayField(element=self.convert(element, path), length=declared.length)
            uuid = (self._scope, path, array.length) == (Scope.PACKET_HEADER, ("uuid",), 16) and _is_byte(array.element)
            return replace(array, roles=(Role.METADATA_UUID,)) if uuid else array
        location, target = self._locate(declared.length)
        if not isinstance(target, DeclaredInteger) or target.field.signed:
            raise ValueError(f"length {declared.length!r} is not an unsigned integer")
        if text:
            return DynamicStringField(length=location)
        return SequenceField(element=self.convert(element, path), length=location)

    def _variant(self, declared: DeclaredVariant, path: tuple[str, ...]) -> VariantField:
        if declared.tag is None:
            raise ValueError("a variant field needs a tag")
        location, target = self._locate(declared.tag)
        if not isinstance(target, DeclaredInteger) or not target.field.mappings:
            raise ValueError(f"tag {declared.tag!r} is not an enumeration")
        ranges = {mapping.label: mapping.ranges for mapping in target.field.mappings}
        options = []
        for (raw, child), name in zip(declared.options, shown_names(declared.options), strict=True):
            options.append(VariantOption(name, self.convert(child, path), ranges.get(raw, ())))
        if not any(option.ranges for option in options):
            raise ValueError(f"no option of the variant is a label of its tag {declared.tag!r}")
        return VariantField(selector=location, options=tuple(options))

    def _locate(self, text: str) -> tuple[FieldLocation, DeclaredType]:
        names = tuple(text.split("."))
        for prefix, scope in _PREFIXES.items():
            if names[: len(prefix)] == prefix:
                return self._absolute(text, scope, names[len(prefix) :])
        for frame in reversed(self._frames):
            found = _descend(frame.children[: frame.before], names, frame.path)
            if found is not None:
                return FieldLocation(self._scope, found[0]), found[1]
        for scope in reversed(list(Scope)[: list(Scope).index(self._scope)]):
            root = self._roots.get(scope)
            found = None if root is None else _descend(root.members, names, ())
            if found is not None:
                return FieldLocation(scope, found[0]), found[1]
        raise ValueError(f"{text!r} names no field that comes before")

    def _absolute(self, text: str, scope: Scope, names: tuple[str, ...]) -> tuple[FieldLocation, DeclaredType]:
        order = list(Scope)
        children: tuple[tuple[str, DeclaredType], ...] = ()
        if scope is self._scope and self._frames:
            children = self._frames[0].children[: self._frames[0].before + 1]
        elif order.index(scope) < order.index(self._scope) and (root := self._roots.get(scope)) is not None:
            children = root.members
        found = _descend(children, names, ())
        if found is None:
            raise ValueError(f"{text!r} names no field that comes before")
        return FieldLocation(scope, found[0]), found[1]


def _is_byte(field: FieldClass) -> bool:
    return isinstance(field, IntegerField) and (field.size, field.signed) == (8, False)


def _descend(
    children: tuple[tuple[str, DeclaredType], ...], names: tuple[str, ...], path: tuple[str, ...]
) -> tuple[tuple[str, ...], DeclaredType] | None:
    """Follow names down from a list of members; arrays and variants take no element of the location's path."""
    shown = dict(zip((name for name, _ in children), shown_names(children), strict=True))
    child = dict(children).get(names[0]) if names else None
    if child is None:
        return None
    path = (*path, shown[names[0]])
    rest = names[1:]
    while True:
        while isinstance(child, DeclaredArray):
            child = child.element
        if not rest:
            return path, child
        if isinstance(child, DeclaredVariant):
            option = next((option for name, option in child.options if name == rest[0]), None)
            if option is None:
                return None
            child, rest = option, rest[1:]
        elif isinstance(child, DeclaredStruct):
            return _descend(child.members, rest, path)
        else:
            return None
