"""CTF 2 metadata (a JSON text sequence of fragments) to the model."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

from boxtrace.ctf.fields import FieldClass, IntegerField, Member, OptionField, Role, Scope, StructField, VariantField
from boxtrace.ctf.json_fields import FieldParser, JsonObject, take
from boxtrace.ctf.model import UNIX_EPOCH, ClockClass, ClockOrigin, EventClass, StreamClass, TraceClass
from boxtrace.errors import TraceFormatError

__all__ = ["parse_json"]

_SEPARATOR = "\x1e"
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
    offset = 0
    for index, part in enumerate(text.split(_SEPARATOR)):
        if part.strip():
            try:
                fragment = json.loads(part)
                if not isinstance(fragment, dict):
                    raise ValueError("a fragment is an object")
                parser.add(fragment)
            except (ValueError, AttributeError, RecursionError) as error:
                message = "nested too deeply" if isinstance(error, RecursionError) else str(error)
                raise TraceFormatError(f"fragment {index}: {message}", path=path, offset=offset) from error
        offset += len(part) + 1
    try:
        return parser.trace()
    except ValueError as error:
        raise TraceFormatError(str(error), path=path) from error


class _Parser:
    def __init__(self) -> None:
        self._preamble: JsonObject | None = None
        self._trace: JsonObject | None = None
        self._header: StructField | None = None
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
                if isinstance(source, str) and source not in self._aliases:
                    raise ValueError(f"there is no field class alias {source!r}")
                self._aliases[name] = self._aliases[source] if isinstance(source, str) else source
            case "trace-class":
                if self._trace is not None or self._streams:
                    raise ValueError("the trace class comes once, before the data stream classes")
                self._trace = fragment
                self._header = self._root(fragment, "packet-header-field-class")
            case "clock-class":
                self._add_clock(fragment)
            case "data-stream-class":
                self._add_stream(fragment)
            case "event-record-class":
                self._add_event(fragment)
            case _:
                raise ValueError(f"unknown fragment {kind!r}")

    def _root(self, fragment: JsonObject, name: str) -> StructField | None:
        if name not in fragment:
            return None
        try:
            return FieldParser(_SCOPES[name], self._aliases).root(fragment[name])
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error

    def _add_preamble(self, fragment: JsonObject) -> None:
        if self._preamble is not None:
            raise ValueError("a second preamble")
        if fragment.get("version") != 2:
            raise ValueError(f"CTF version {fragment.get('version')} is not known")
        uuid = take(fragment, "uuid", list, None)
        if uuid is not None and not (len(uuid) == 16 and all(type(byte) is int and 0 <= byte <= 255 for byte in uuid)):
            raise ValueError("a uuid is an array of 16 bytes")
        self._preamble = fragment

    def _add_clock(self, fragment: JsonObject) -> None:
        number = take(fragment, "id", str) if "id" in fragment else take(fragment, "name", str)
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
        if clock is None and "default-clock-class-name" in fragment:
            clock = take(fragment, "default-clock-class-name", str)
        if clock is not None and clock not in self._clocks:
            raise ValueError(f"there is no clock class {clock!r}")
        self._streams[number] = StreamClass(
            id=number,
            packet_context=_clocked(self._root(fragment, "packet-context-field-class"), clock),
            event_header=_clocked(self._root(fragment, "event-record-header-field-class"), clock),
            event_context=self._root(fragment, "event-record-common-context-field-class"),
            clock=clock,
            name=take(fragment, "name", str, None),
            namespace=take(fragment, "namespace", str, None),
            uid=take(fragment, "uid", str, None),
            attributes=take(fragment, "attributes", dict, {}),
        )
        self._events[number] = {}

    def _add_event(self, fragment: JsonObject) -> None:
        stream = take(fragment, "data-stream-class-id", int, 0)
        number = take(fragment, "id", int, 0)
        if stream not in self._streams:
            raise ValueError(f"there is no data stream class {stream}")
        if number in self._events[stream]:
            raise ValueError(f"event record class {number} of data stream class {stream} is declared twice")
        attributes = take(fragment, "attributes", dict, {})
        self._events[stream][number] = EventClass(
            id=number,
            name=take(fragment, "name", str, ""),
            fields=self._root(fragment, "payload-field-class"),
            context=self._root(fragment, "specific-context-field-class"),
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
        uuid = take(self._preamble, "uuid", list, None)
        environment = take(trace, "environment", dict, {})
        if not all(isinstance(value, int | str) for value in environment.values()):
            raise ValueError("an environment entry is a number or a text")
        return TraceClass(
            uuid=None if uuid is None else UUID(bytes=bytes(uuid)),
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
