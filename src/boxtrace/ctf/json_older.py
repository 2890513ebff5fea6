"""Names and forms of CTF 2's release candidates, brought to those of CTF2-SPEC-2.0.

Traces with them are about: Trace Compass's own, lttng-tools before 2.14, yactfr. Source: CTF2-SPECRC-7.0, and for what
came before it (a clock's ``offset`` and ``origin-is-unix-epoch``) what these tools write and read. What both versions
have means the same in both, so that a text needs not tell which one it keeps to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from uuid import UUID

from boxtrace.ctf.fields import Scope

__all__ = ["modern_field", "modern_fragment", "modern_item", "uuid_of"]

JsonObject: TypeAlias = Mapping[str, Any]

_KINDS = {
    f"{length}-length-{sign}-enumeration": f"{length}-length-{sign}-integer"
    for length in ("fixed", "variable")
    for sign in ("unsigned", "signed")
}
_LOCATIONS = ("length-field-location", "selector-field-location")
_ORIGINS = {scope.value for scope in Scope}


def modern_fragment(fragment: JsonObject) -> JsonObject:
    """Return a fragment with the names of CTF2-SPEC-2.0; field classes in it are left as they are."""
    change = _FRAGMENTS.get(str(fragment.get("type")))
    return modern_item(fragment if change is None else change(fragment))


def modern_field(source: JsonObject) -> JsonObject:
    """Return a field class with the names of CTF2-SPEC-2.0; those in it are left as they are."""
    changed: dict[str, Any] = {}
    if (kind := str(source.get("type"))) in _KINDS:
        changed["type"] = _KINDS[kind]
    if "member-field-classes" in source and "member-classes" not in source:
        changed["member-classes"] = source["member-field-classes"]
    for name in _LOCATIONS:
        if isinstance(path := source.get(name), list):
            absolute = bool(path) and str(path[0]) in _ORIGINS
            changed[name] = {"origin": path[0], "path": path[1:]} if absolute else {"path": path}
    return modern_item({**source, **changed} if changed else source)


def modern_item(source: JsonObject) -> JsonObject:
    """Return a fragment, field class, member or option with its attributes where CTF2-SPEC-2.0 has them."""
    return {"attributes": source["user-attributes"], **source} if "user-attributes" in source else source


def uuid_of(value: Any) -> UUID:
    """Return the UUID that an array of 16 bytes is; ValueError if it is none."""
    if not (
        isinstance(value, list) and len(value) == 16 and all(type(byte) is int and 0 <= byte < 256 for byte in value)
    ):
        raise ValueError("a uuid is an array of 16 bytes")
    return UUID(bytes=bytes(value))


def _clock(fragment: JsonObject) -> JsonObject:
    changed: dict[str, Any] = {}
    if "id" not in fragment and "name" in fragment:
        changed["id"] = fragment["name"]
    if "uuid" in fragment and "uid" not in fragment:
        changed["uid"] = str(uuid_of(fragment["uuid"]))
    if "offset" in fragment:
        changed["offset-from-origin"] = fragment["offset"]
    if "origin-is-unix-epoch" in fragment or ("offset" in fragment and "origin" not in fragment):
        known = fragment.get("origin-is-unix-epoch", True)
        if not isinstance(known, bool):
            raise ValueError("property 'origin-is-unix-epoch' is not of type bool")
        if known:
            changed["origin"] = "unix-epoch"
    return {**fragment, **changed} if changed else fragment


def _stream(fragment: JsonObject) -> JsonObject:
    name = "default-clock-class-name"
    if name in fragment and "default-clock-class-id" not in fragment:
        return {**fragment, "default-clock-class-id": fragment[name]}
    return fragment


def _trace(fragment: JsonObject) -> JsonObject:
    # What lttng-tools wrote of an environment without entries.
    if "environment" in fragment and fragment["environment"] is None:
        return {**fragment, "environment": {}}
    return fragment


_FRAGMENTS: dict[str, Callable[[JsonObject], JsonObject]] = {
    "clock-class": _clock,
    "data-stream-class": _stream,
    "trace-class": _trace,
}
