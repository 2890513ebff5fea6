"""Events as JSON lines: one object per event.

Keys, in this order: ``timestamp`` (ns from the clock's origin, null without a clock), ``name``, ``host`` (null if the
trace does not tell), ``container`` (its name, null for the host; only where it is wanted), ``packet`` (context of the
packet, such as ``cpu_id``), ``context``, ``fields``. Enumerations are their number; a variant is the value of its
option; BLOBs are hexadecimal text; numbers that JSON lacks (NaN, infinity) are null. Text that is not valid UTF-8 has
U+FFFD where a byte is wrong.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from boxtrace.ctf.decode import Choice
from boxtrace.ctf.model import StreamClass
from boxtrace.trace import Event
from boxtrace.view.values import packet_members

__all__ = ["Owner", "json_lines", "json_object"]

Owner = Callable[[Event], str | None]


def json_object(event: Event, owner: Owner | None = None) -> dict[str, Any]:
    """Return an event as the object that its line holds."""
    return {
        "timestamp": event.timestamp,
        "name": event.name,
        "host": event.stream.trace.environment.get("hostname"),
        **({} if owner is None else {"container": owner(event)}),
        "packet": json_value(_shown(event.stream.cls, event.packet_context)),
        "context": json_value(event.context),
        "fields": json_value(event.payload),
    }


def json_lines(events: Iterable[Event], owner: Owner | None = None) -> Iterator[str]:
    """Yield a line, with its newline, for each event.

    :param owner: tells the name of an event's container, if that is wanted.
    """
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    for event in events:
        yield encode(json_object(event, owner)) + "\n"


def json_value(value: Any) -> Any:
    """Return a decoded value as one that JSON can hold."""
    match value:
        case bool() | int():
            return value
        case str():
            return value if value.isascii() else value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        case Choice():
            return json_value(value.value)
        case list():
            return [json_value(item) for item in value]
        case Mapping():
            return {name: json_value(item) for name, item in value.items()}
        case float():
            return value if math.isfinite(value) else None
        case bytes():
            return value.hex()
        case _:
            return value


def _shown(stream: StreamClass, context: Mapping[str, Any]) -> dict[str, Any]:
    return {member.name: context[member.name] for member in packet_members(stream.packet_context)}
