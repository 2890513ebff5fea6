"""CTF 2 metadata (a JSON text sequence of fragments) to the model."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any
from uuid import UUID

from boxtrace.ctf.check import check_trace
from boxtrace.ctf.fields import FieldClass, IntegerField, Member, OptionField, Role, Scope, StructField, VariantField
from boxtrace.ctf.json_fields import FieldParser, FieldPaths, JsonObject, take
from boxtrace.ctf.json_older import modern_fragment, uuid_of
from boxtrace.ctf.model import UNIX_EPOCH, ClockClass, ClockOrigin, EventClass, StreamClass, TraceClass
from boxtrace.errors import TraceFormatError

__all__ = ["parse_json"]

_BETWEEN = re.compile("[\x1e \t\r\n]*")
"""What separates fragments: U+001E before each (RFC 7464). In texts that people write it may be missing."""
_SCOPES = {
    "packet-header-field-class": Scope.PACKET_HEADER,
    "packet-context-field-class": Scope.PACKET_CONTEXT,
    "event-record-header-field-class": Scope.EVENT_HEADER,
    "event-record-common-context-field-class": Scope.EVENT_COMMON_CONTEXT,
    "specific-context-field-class": Scope.EVENT_SPECIFIC_CONTEXT,
    "payload-field-class": Scope.EVENT_PAYLOAD,
}


def parse_json(text: str, path: str = "metadata") -> TraceClass:
    """Return what CTF 2 metadata declares.

    :param path: where the text was read, for errors.
    :raises TraceFormatError: if it is not CTF 2 metadata, or contradicts itself; ``offset`` is that of the fragment.
    """
    parser = _Parser()
    offset = _skip(text, 0)
    index = 0
    while offset < len(text):
        index += 1
        try:
            fragment, end = _DECODER.raw_decode(text, offset)
            if not isinstance(fragment, dict):
                raise ValueError("a fragment is an object")
            parser.add(modern_fragment(fragment))
        except (ValueError, AttributeError, RecursionError) as error:
            message = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise TraceFormatError(f"fragment {index}: {message}", path=path, offset=offset) from error
        offset = _skip(text, end)
    try:
        trace = parser.trace()
        check_trace(trace, mixed="big-endian" in text and "little-endian" in text)
        return trace
    except ValueError as error:
        raise TraceFormatError(str(error), path=path) from error


def _skip(text: str, offset: int) -> int:
    match = _BETWEEN.match(text, offset)
    assert match is not None
    return match.end()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"property {next(name for name in names if names.count(name) > 1)!r} is given twice")
    return value


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


class _Parser:
    def __init__(self) -> None:
        self._preamble: JsonObject | None = None
        self._trace: JsonObject | None = None
        self._uuid: UUID | None = None
        self._header: StructField | None = None
        self._before: dict[Scope, FieldPaths] = {}
        """Fields of the packet header."""
        self._before_events: dict[int, dict[Scope, FieldPaths]] = {}
        """Fields of each data stream class, with those of the packet header."""
        self._aliases: dict[str, Any] = {}
        self._clocks: dict[str, ClockClass] = {}
        self._streams: dict[int, StreamClass] = {}
        self._events: dict[int, dict[int, EventClass]] = {}

    def add(self, fragment: JsonObject) -> None:
        """Take in a fragment. Raises ValueError."""
        kind = take(fragment, "type", str)
        if self._preamble is None and kind != "preamble":
            raise ValueError("the first fragment is the preamble")
        if fragment.get("extensions"):
            raise ValueError(f"needs extensions that are not known: {', '.join(fragment['extensions'])}")
        match kind:
            case "preamble":
                self._add_preamble(fragment)
            case "field-class-alias":
                name = take(fragment, "name", str)
                if name in self._aliases:
                    raise ValueError(f"the alias {name!r} is declared twice")
                source = fragment.get("field-class")
                if not isinstance(source, dict | str):
                    raise ValueError("a field class is an object or the name of an alias")
                if isinstance(source, str) and source not in self._aliases:
                    raise ValueError(f"there is no field class alias {source!r}")
                self._aliases[name] = self._aliases[source] if isinstance(source, str) else source
            case "trace-class":
                if self._trace is not None or self._streams:
                    raise ValueError("the trace class comes once, before the data stream classes")
                self._add_uuid(fragment)
                self._trace = fragment
                self._header = self._root(fragment, "packet-header-field-class", self._before)
            case "clock-class":
                self._add_clock(fragment)
            case "data-stream-class":
                self._add_stream(fragment)
            case "event-record-class":
                self._add_event(fragment)
            case _:
                raise ValueError(f"unknown fragment {kind!r}")

    def _root(self, fragment: JsonObject, name: str, before: dict[Scope, FieldPaths]) -> StructField | None:
        """Return a root structure, and add its fields to those before."""
        if name not in fragment:
            return None
        scope = _SCOPES[name]
        parser = FieldParser(scope, self._aliases, before)
        try:
            field = parser.root(fragment[name])
        except ValueError as error:
            raise ValueError(f"{name}{parser.where}: {error}") from error
        before[scope] = parser.fields
        return field

    def _add_preamble(self, fragment: JsonObject) -> None:
        if self._preamble is not None:
            raise ValueError("a second preamble")
        if fragment.get("version") != 2:
            raise ValueError(f"CTF version {fragment.get('version')} is not known")
        self._add_uuid(fragment)
        self._preamble = fragment

    def _add_uuid(self, fragment: JsonObject) -> None:
        """Take in the UUID, which release candidates have in the trace class, too."""
        if "uuid" in fragment:
            uuid = uuid_of(fragment["uuid"])
            self._uuid = self._uuid or uuid

    def _add_clock(self, fragment: JsonObject) -> None:
        number = take(fragment, "id", str)
        if number in self._clocks:
            raise ValueError(f"clock class {number!r} is declared twice")
        frequency = take(fragment, "frequency", int)
        if frequency <= 0:
            raise ValueError(f"frequency {frequency} is not positive")
        offset = take(fragment, "offset-from-origin", dict, {})
        title = take(fragment, "name", str, None)
        self._clocks[number] = ClockClass(
            name=number,
            frequency=frequency,
            offset_seconds=take(offset, "seconds", int, 0),
            offset_cycles=take(offset, "cycles", int, 0),
            origin=_origin(fragment.get("origin")),
            uid=take(fragment, "uid", str, None),
            namespace=take(fragment, "namespace", str, None),
            description=take(fragment, "description", str, None),
            precision=take(fragment, "precision", int, None),
            accuracy=take(fragment, "accuracy", int, None),
            title=None if title == number else title,
            attributes=take(fragment, "attributes", dict, {}),
        )

    def _add_stream(self, fragment: JsonObject) -> None:
        number = take(fragment, "id", int, 0)
        if number in self._streams:
            raise ValueError(f"data stream class {number} is declared twice")
        clock = take(fragment, "default-clock-class-id", str, None)
        if clock is not None and clock not in self._clocks:
            raise ValueError(f"there is no clock class {clock!r}")
        before = dict(self._before)
        self._streams[number] = StreamClass(
            id=number,
            packet_context=_clocked(self._root(fragment, "packet-context-field-class", before), clock),
            event_header=_clocked(self._root(fragment, "event-record-header-field-class", before), clock),
            event_context=self._root(fragment, "event-record-common-context-field-class", before),
            clock=clock,
            name=take(fragment, "name", str, None),
            namespace=take(fragment, "namespace", str, None),
            uid=take(fragment, "uid", str, None),
            attributes=take(fragment, "attributes", dict, {}),
        )
        self._events[number] = {}
        self._before_events[number] = before

    def _add_event(self, fragment: JsonObject) -> None:
        stream = take(fragment, "data-stream-class-id", int, 0)
        number = take(fragment, "id", int, 0)
        if stream not in self._streams:
            raise ValueError(f"there is no data stream class {stream}")
        if number in self._events[stream]:
            raise ValueError(f"event record class {number} of data stream class {stream} is declared twice")
        attributes = take(fragment, "attributes", dict, {})
        before = dict(self._before_events[stream])
        context = self._root(fragment, "specific-context-field-class", before)
        self._events[stream][number] = EventClass(
            id=number,
            name=take(fragment, "name", str, ""),
            fields=self._root(fragment, "payload-field-class", before),
            context=context,
            stream_id=stream,
            namespace=take(fragment, "namespace", str, None),
            uid=take(fragment, "uid", str, None),
            attributes=attributes,
            **_from_attributes(attributes),
        )

    def trace(self) -> TraceClass:
        """Return what all fragments declare together. Raises ValueError."""
        if self._preamble is None:
            raise ValueError("there is no preamble")
        trace = self._trace or {}
        environment = take(trace, "environment", dict, {})
        if not all(isinstance(value, int | str) for value in environment.values()):
            raise ValueError("an environment entry is a number or a text")
        return TraceClass(
            uuid=self._uuid,
            environment=environment,
            packet_header=self._header,
            clocks=tuple(self._clocks.values()),
            streams=tuple(
                replace(stream, events=tuple(self._events[number].values())) for number, stream in self._streams.items()
            ),
            name=take(trace, "name", str, None),
            namespace=take(trace, "namespace", str, None),
            uid=take(trace, "uid", str, None),
            attributes=take(trace, "attributes", dict, {}),
        )


def _origin(value: Any) -> ClockOrigin | None:
    match value:
        case None:
            return None
        case "unix-epoch":
            return UNIX_EPOCH
        case dict():
            return ClockOrigin(take(value, "name", str), take(value, "uid", str), take(value, "namespace", str, None))
        case _:
            raise ValueError(f"unknown clock origin {value!r}")


def _from_attributes(attributes: JsonObject) -> dict[str, Any]:
    """Return the log level and URI that an LTTng 2.15 or our own writer keeps among the attributes."""
    own = attributes.get("boxtrace")
    if not isinstance(own, dict):
        return {}
    return {"loglevel": take(own, "loglevel", int, None), "uri": take(own, "uri", str, None)}


def _clocked(field: StructField | None, clock: str | None) -> StructField | None:
    """Return a structure whose time stamps tell their clock, as TSDL's do."""
    if field is None or clock is None:
        return field
    mapped = _mapped(field, clock)
    assert isinstance(mapped, StructField)
    return mapped


def _mapped(field: FieldClass, clock: str) -> FieldClass:
    match field:
        case IntegerField() if {Role.TIMESTAMP, Role.TIMESTAMP_END} & set(field.roles):
            return replace(field, clock=clock)
        case StructField():
            members = tuple(Member(m.name, _mapped(m.field, clock), m.attributes) for m in field.members)
            return replace(field, members=members)
        case VariantField():
            return replace(
                field, options=tuple(replace(option, field=_mapped(option.field, clock)) for option in field.options)
            )
        case OptionField():
            return replace(field, field=_mapped(field.field, clock))
        case _:
            return field
