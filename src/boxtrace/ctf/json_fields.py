"""CTF 2's field classes: JSON to model and back (CTF2-SPEC-2.0, section 6.3)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from boxtrace.ctf.fields import (
    MOST_FIELDS,
    ArrayField,
    BitArrayField,
    BitMapField,
    BlobField,
    BoolField,
    ByteOrder,
    DisplayBase,
    DynamicBlobField,
    DynamicStringField,
    Encoding,
    EnumMapping,
    FieldClass,
    FieldLocation,
    FloatField,
    IntegerField,
    Member,
    OptionField,
    Ranges,
    Role,
    Scope,
    SequenceField,
    StaticStringField,
    StringField,
    StructField,
    VariantField,
    VariantOption,
    VarIntField,
)
from boxtrace.ctf.json_older import modern_field, modern_item
from boxtrace.ctf.layout import alignment

__all__ = ["ENCODING_NAMES", "FieldParser", "FieldPaths", "JsonObject", "ranges_of", "take"]

JsonObject: TypeAlias = Mapping[str, Any]
FieldPaths: TypeAlias = dict[tuple[str, ...], list[FieldClass]]
"""Fields of a root structure by their paths; those of several options of a variant may have the same."""
ENCODING_NAMES = {
    Encoding.UTF_8: "utf-8",
    Encoding.UTF_16BE: "utf-16be",
    Encoding.UTF_16LE: "utf-16le",
    Encoding.UTF_32BE: "utf-32be",
    Encoding.UTF_32LE: "utf-32le",
}
"""CTF 2's names of the encodings."""
_ENCODINGS = {name: encoding for encoding, name in ENCODING_NAMES.items()}
_JSON_KINDS = {str: "a text", int: "an integer", dict: "an object", list: "an array"}
_MISSING = object()
_FLOAT = "fixed-length-floating-point-number"


def take(source: JsonObject, name: str, kind: type, default: Any = _MISSING) -> Any:
    """Return a property; ValueError if it is missing or of another type."""
    if not isinstance(source, dict):
        raise ValueError(f"expected an object, found {source!r}")
    value = source.get(name, default)
    if value is _MISSING:
        raise ValueError(f"property {name!r} is missing")
    if value is default:
        return value
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"property {name!r} is {_JSON_KINDS[kind]}, not {json.dumps(value)[:60]}")
    return value


def ranges_of(value: Any) -> Ranges:
    """Return an integer range set; ValueError if it is none."""
    if not isinstance(value, list) or not value:
        raise ValueError("a set of integer ranges is an array that is not empty")
    ranges = []
    for item in value:
        pair = item if isinstance(item, list) else [item, item]
        if len(pair) != 2 or not all(isinstance(end, int) and not isinstance(end, bool) for end in pair):
            raise ValueError(f"{item!r} is not a range of integers")
        if pair[0] > pair[1]:
            raise ValueError(f"the range {item!r} is empty")
        ranges.append((pair[0], pair[1]))
    return tuple(ranges)


class FieldParser:
    """Makes field classes of one root structure.

    :param aliases: field classes (JSON) by the name that an earlier fragment gave them.
    :param before: the fields of the root structures that are decoded before this one.
    """

    def __init__(self, scope: Scope, aliases: Mapping[str, Any], before: Mapping[Scope, FieldPaths]) -> None:
        self.fields: FieldPaths = {}
        """What was made so far."""
        self._scope = scope
        self._aliases = aliases
        self._before = before
        self._left = MOST_FIELDS
        self._structs: list[tuple[str, ...]] = []
        """Paths of the structures around the current field."""
        self._where: list[str] = []

    @property
    def where(self) -> str:
        """JSON path of the field class that is being made, from the root's: for errors."""
        return "".join(self._where)

    def root(self, source: Any) -> StructField:
        """Return the class of a root, which is a structure."""
        field = self._parse(source, (), "")
        if not isinstance(field, StructField):
            raise ValueError(f"the {self._scope.value} is a structure")
        return field

    def _parse(self, source: Any, path: tuple[str, ...], where: str) -> FieldClass:
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"a structure has more than {MOST_FIELDS} fields")
        self._where.append(where)
        if isinstance(source, str):
            if source not in self._aliases:
                raise ValueError(f"there is no field class alias {source!r}")
            field = self._parse(self._aliases[source], path, f"({source})")
        elif isinstance(source, dict):
            source = modern_field(source)
            kind = take(source, "type", str)
            parser = _PARSERS.get(kind)
            if parser is None:
                raise ValueError(f"unknown field class {kind!r}")
            field = parser(self, source, path)
            self.fields.setdefault(path, []).append(field)
        else:
            raise ValueError("a field class is an object or the name of an alias")
        self._where.pop()
        return field

    def _location(self, source: JsonObject, name: str, kinds: _Kinds) -> FieldLocation:
        value = take(source, name, dict)
        path = take(value, "path", list)
        if not path or not all(item is None or isinstance(item, str) for item in path):
            raise ValueError(f"the path of {name!r} has member names and nulls only")
        if "origin" in value:
            try:
                scope = Scope(value["origin"])
            except (ValueError, TypeError):
                raise ValueError(f"unknown origin {value['origin']!r} of {name!r}") from None
            if None in path:
                raise ValueError(f"the path of {name!r} has an origin, and null")
            return self._found(FieldLocation(scope, tuple(path)), name, kinds)
        depth = len(self._structs) - 1
        below: list[str] = []
        for item in path:
            if item is not None:
                below.append(item)
            elif below:
                below.pop()
            else:
                depth -= 1
        if depth < 0 or not below:
            raise ValueError(f"the path of {name!r} leads out of the {self._scope.value}")
        return self._found(FieldLocation(self._scope, (*self._structs[depth], *below)), name, kinds)

    def _found(self, location: FieldLocation, name: str, kinds: _Kinds) -> FieldLocation:
        """Return a location if fields of the right kinds are there; ValueError if not."""
        fields = self.fields if location.scope is self._scope else self._before.get(location.scope, {})
        where = f"{'.'.join(location.path)!r} of the {location.scope.value}"
        found = fields.get(location.path)
        if not found:
            raise ValueError(f"{name!r} is {where}: no field that comes before")
        wanted, test = kinds
        if not all(test(field) for field in found):
            raise ValueError(f"{name!r} is {where}: expected {wanted}")
        return location

    # --- one method per kind ---

    def _bits(self, source: JsonObject) -> dict[str, Any]:
        order = take(source, "byte-order", str)
        if order not in ("little-endian", "big-endian"):
            raise ValueError(f"unknown byte order {order!r}")
        little = order == "little-endian"
        natural = "first-to-last" if little else "last-to-first"
        bit_order = take(source, "bit-order", str, natural)
        if bit_order not in ("first-to-last", "last-to-first"):
            raise ValueError(f"unknown bit order {bit_order!r}")
        size = take(source, "length", int)
        if source["type"] == _FLOAT and not FloatField.has_size(size):
            raise ValueError(f"no floating point number has {size} bits")
        if source["type"] != _FLOAT and not 1 <= size <= 64:
            raise ValueError(f"a length of {size} bits cannot be read")
        return {
            "size": size,
            "align": alignment(take(source, "alignment", int, 1)),
            "byte_order": ByteOrder.LITTLE if little else ByteOrder.BIG,
            "reversed_bits": bit_order != natural,
            "attributes": take(source, "attributes", dict, {}),
        }

    def _bit_array(self, source: JsonObject, path: tuple[str, ...]) -> FieldClass:
        return BitArrayField(**self._bits(source))

    def _bit_map(self, source: JsonObject, path: tuple[str, ...]) -> FieldClass:
        return BitMapField(**self._bits(source), flags=_mappings(take(source, "flags", dict)))

    def _boolean(self, source: JsonObject, path: tuple[str, ...]) -> FieldClass:
        return BoolField(**self._bits(source))

    def _integer(self, source: JsonObject, path: tuple[str, ...]) -> FieldClass:
        return IntegerField(**self._bits(source), **self._number(source))

    def _float(self, source: JsonObject, path: tuple[str, ...]) -> FieldClass:
        return FloatField(**self._bits(source))

    def _varint(self, source: JsonObject, path: tuple[str, ...]) -> FieldClass:
        return VarIntField(**self._number(source), attributes=take(source, "attributes", dict, {}))

    def _number(self, source: JsonObject) -> dict[str, Any]:
        signed = "unsigned" not in source["type"]
        base = take(source, "preferred-display-base", int, 10)
        if base not in (2, 8, 10, 16):
            raise ValueError(f"no base {base} is known")
        return {
            "signed": signed,
            "base": DisplayBase(base),
            "mappings": _mappings(take(source, "mappings", dict, {})),
            "roles": () if signed else _roles(source),
        }

    def _string(self, source: JsonObject, path: tuple[str, ...]) -> FieldClass:
        return StringField(encoding=_encoding(source), attributes=take(source, "attributes", dict, {}))

    def _static_string(self, source: JsonObject, path: tuple[str, ...]) -> FieldClass:
        return StaticStringField(length=_length(source), encoding=_encoding(source))

    def _dynamic_string(self, source: JsonObject, path: tuple[str, ...]) -> FieldClass:
        return DynamicStringField(
            length=self._location(source, "length-field-location", _LENGTH), encoding=_encoding(source)
        )

    def _static_blob(self, source: JsonObject, path: tuple[str, ...]) -> FieldClass:
        media = take(source, "media-type", str, "application/octet-stream")
        return BlobField(length=_length(source), media_type=media, roles=_roles(source))

    def _dynamic_blob(self, source: JsonObject, path: tuple[str, ...]) -> FieldClass:
        media = take(source, "media-type", str, "application/octet-stream")
        return DynamicBlobField(length=self._location(source, "length-field-location", _LENGTH), media_type=media)

    def _struct(self, source: JsonObject, path: tuple[str, ...]) -> FieldClass:
        members: list[Member] = []
        self._structs.append(path)
        for item in take(source, "member-classes", list, []):
            name = take(item, "name", str)
            if any(member.name == name for member in members):
                raise ValueError(f"two members are called {name!r}")
            item = modern_item(item)
            field = self._parse(item.get("field-class"), (*path, name), f".member-classes[{len(members)}].field-class")
            members.append(Member(name, field, take(item, "attributes", dict, {})))
        self._structs.pop()
        return StructField(
            members=tuple(members),
            align=alignment(take(source, "minimum-alignment", int, 1)),
            attributes=take(source, "attributes", dict, {}),
        )

    def _static_array(self, source: JsonObject, path: tuple[str, ...]) -> FieldClass:
        element = self._parse(source.get("element-field-class"), path, ".element-field-class")
        return ArrayField(element=element, length=_length(source), align=_minimum_alignment(source))

    def _dynamic_array(self, source: JsonObject, path: tuple[str, ...]) -> FieldClass:
        length = self._location(source, "length-field-location", _LENGTH)
        element = self._parse(source.get("element-field-class"), path, ".element-field-class")
        return SequenceField(element=element, length=length, align=_minimum_alignment(source))

    def _optional(self, source: JsonObject, path: tuple[str, ...]) -> FieldClass:
        ranges = ranges_of(source["selector-field-ranges"]) if "selector-field-ranges" in source else None
        selector = self._location(source, "selector-field-location", _BOOLEAN if ranges is None else _INTEGER)
        field = self._parse(source.get("field-class"), path, ".field-class")
        return OptionField(selector=selector, field=field, ranges=ranges)

    def _variant(self, source: JsonObject, path: tuple[str, ...]) -> FieldClass:
        selector = self._location(source, "selector-field-location", _INTEGER)
        options: list[VariantOption] = []
        for index, item in enumerate(take(source, "options", list)):
            name = take(item, "name", str, f"option{index}")
            item = modern_item(item)
            field = self._parse(item.get("field-class"), path, f".options[{index}].field-class")
            ranges = ranges_of(item.get("selector-field-ranges"))
            options.append(VariantOption(name, field, ranges, take(item, "attributes", dict, {})))
        return VariantField(selector=selector, options=tuple(options))


def _is_unsigned(field: FieldClass) -> bool:
    return isinstance(field, IntegerField | VarIntField) and not field.signed


_Kinds: TypeAlias = tuple[str, Callable[[FieldClass], bool]]
_LENGTH: _Kinds = ("an unsigned integer", _is_unsigned)
_INTEGER: _Kinds = ("an integer", lambda field: isinstance(field, IntegerField | VarIntField))
_BOOLEAN: _Kinds = ("a boolean", lambda field: isinstance(field, BoolField))
_PARSERS: dict[str, Callable[[FieldParser, JsonObject, tuple[str, ...]], FieldClass]] = {
    "fixed-length-bit-array": FieldParser._bit_array,
    "fixed-length-bit-map": FieldParser._bit_map,
    "fixed-length-boolean": FieldParser._boolean,
    "fixed-length-unsigned-integer": FieldParser._integer,
    "fixed-length-signed-integer": FieldParser._integer,
    _FLOAT: FieldParser._float,
    "variable-length-unsigned-integer": FieldParser._varint,
    "variable-length-signed-integer": FieldParser._varint,
    "null-terminated-string": FieldParser._string,
    "static-length-string": FieldParser._static_string,
    "dynamic-length-string": FieldParser._dynamic_string,
    "static-length-blob": FieldParser._static_blob,
    "dynamic-length-blob": FieldParser._dynamic_blob,
    "structure": FieldParser._struct,
    "static-length-array": FieldParser._static_array,
    "dynamic-length-array": FieldParser._dynamic_array,
    "optional": FieldParser._optional,
    "variant": FieldParser._variant,
}


def _minimum_alignment(source: JsonObject) -> int:
    return alignment(take(source, "minimum-alignment", int, 1))


def _length(source: JsonObject) -> int:
    length: int = take(source, "length", int)
    if length < 0:
        raise ValueError(f"length {length} is negative")
    return length


def _encoding(source: JsonObject) -> Encoding:
    name = take(source, "encoding", str, "utf-8")
    if name not in _ENCODINGS:
        raise ValueError(f"unknown encoding {name!r}")
    return _ENCODINGS[name]


def _mappings(source: JsonObject) -> tuple[EnumMapping, ...]:
    return tuple(EnumMapping(label, ranges_of(ranges)) for label, ranges in source.items())


def _roles(source: JsonObject) -> tuple[Role, ...]:
    roles = []
    for name in take(source, "roles", list, []):
        try:
            roles.append(Role(name))
        except (ValueError, TypeError):
            raise ValueError(f"unknown role {name!r}") from None
    return tuple(roles)
