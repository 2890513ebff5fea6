"""Events as CSV: a row per event, a header first.

Columns: ``timestamp`` (ns), ``name``, ``container`` if wanted, then one per context field of the trace, then
``fields``, the payload as a JSON object, because each type of event has other fields. Nested context fields are JSON,
too.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

from boxtrace.trace import Event, Stream
from boxtrace.view.jsonl import Owner, json_object
from boxtrace.view.values import packet_members

__all__ = ["csv_lines"]


def csv_lines(events: Iterable[Event], streams: Iterable[Stream], owner: Owner | None = None) -> Iterator[str]:
    """Yield the header and a line for each event, with their newlines.

    :param streams: those of the trace; they tell which context fields there are.
    :param owner: tells the name of an event's container, if that is wanted.
    """
    names: dict[str, None] = {}
    for stream in streams:
        context = stream.cls.event_context
        members = [*packet_members(stream.cls.packet_context), *(() if context is None else context.members)]
        names.update(dict.fromkeys(member.name for member in members))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    head = ["timestamp", "name"] if owner is None else ["timestamp", "name", "container"]
    writer.writerow([*head, *names, "fields"])
    yield _taken(buffer)
    for event in events:
        row = json_object(event, owner)
        values = {**row["packet"], **row["context"]}
        fields = json.dumps(row["fields"], ensure_ascii=False)
        writer.writerow([*(row[key] for key in head), *(_cell(values.get(name)) for name in names), fields])
        yield _taken(buffer)


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _taken(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text
