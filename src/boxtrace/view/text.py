"""Events as text, one line each, in the form of babeltrace2 2.0 with its default options, to the byte."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from boxtrace.ctf.fields import StructField
from boxtrace.ctf.model import Environment, EventClass, StreamClass
from boxtrace.trace import Event, Loss
from boxtrace.view.jsonl import Owner
from boxtrace.view.symbols import symbolic_struct
from boxtrace.view.values import Show, packet_members, shower

__all__ = ["TextView", "host_text", "loss_text"]

_SECOND = 1_000_000_000


class TextView:
    """Turns events into lines. Keeps the time of the last one, to tell how much later the next is.

    :param utc: show times of day in UTC instead of local time.
    :param symbolic: name the numbers of system calls: ``O_RDONLY|O_CLOEXEC``, ``-2 (ENOENT)``.
    :param owner: tells the name of an event's container, which is put behind the host's.
    """

    def __init__(self, *, utc: bool = False, symbolic: bool = False, owner: Owner | None = None) -> None:
        self._symbolic = symbolic
        self._owner = owner
        self._broken = time.gmtime if utc else time.localtime
        self._last: int | None = None
        self._second: int | None = None
        self._clock = ""
        self._hosts: dict[int, str] = {}
        self._showers: dict[int, tuple[object, Show | None]] = {}

    def lines(self, events: Iterable[Event]) -> Iterator[str]:
        """Yield a line, with its newline, for each event."""
        for event in events:
            yield self.line(event)

    def line(self, event: Event) -> str:
        """Return the line of an event, with its newline."""
        record = event.record
        cls = record.event
        parts = []
        for show, fields in zip(
            self._for(event.stream.cls, cls),
            (record.packet.context, record.common, record.specific, record.payload),
            strict=True,
        ):
            if show is not None and fields is not None:
                parts.append(show(fields))
        stamp = "" if event.timestamp is None else self._stamp(event.timestamp)
        host = self._host(event.stream.trace.environment)
        if self._owner is not None and (name := self._owner(event)) is not None:
            host = f"{host.rstrip()}/{name} "
        return f"{stamp}{host}{cls.name or '<unknown>'}: {', '.join(parts)}\n"

    def _for(self, stream: StreamClass, event: EventClass) -> tuple[Show | None, ...]:
        return (
            self._shower(stream.packet_context, packet=True),
            self._shower(stream.event_context),
            self._shower(event.context),
            self._payload_shower(event),
        )

    def _payload_shower(self, event: EventClass) -> Show | None:
        if not self._symbolic or event.fields is None:
            return self._shower(event.fields)
        found = self._showers.get(id(event))
        if found is None:
            found = self._showers[id(event)] = (event, symbolic_struct(event.name, event.fields))
        return found[1]

    def _shower(self, field: StructField | None, *, packet: bool = False) -> Show | None:
        if field is None:
            return None
        found = self._showers.get(id(field))
        if found is None:
            shown: StructField | None = field
            if packet:
                members = tuple(packet_members(field))
                shown = StructField(members=members) if members else None
            # The field class is kept with its shower, so that its id is not given to another one.
            found = self._showers[id(field)] = (field, None if shown is None else shower(shown))
        return found[1]

    def _host(self, environment: Environment) -> str:
        text = self._hosts.get(id(environment))
        if text is None:
            text = self._hosts[id(environment)] = host_text(environment)
        return text

    def _stamp(self, now: int) -> str:
        if self._last is None:
            delta = "+?.?????????"
        else:
            # An event that is older than the one before shows as the unsigned difference.
            seconds, rest = divmod((now - self._last) % (1 << 64), _SECOND)
            delta = f"+{seconds}.{rest:09}"
        self._last = now
        return f"[{self.time_of_day(now)}] ({delta}) "

    def time_of_day(self, now: int) -> str:
        """Return the time of day of a time stamp; times before the epoch in seconds."""
        if now < 0:
            seconds, rest = divmod(-now, _SECOND)
            return f"-{seconds}.{rest:09}"
        second, rest = divmod(now, _SECOND)
        if second != self._second:
            self._second = second
            broken = self._broken(second)
            self._clock = f"{broken.tm_hour:02}:{broken.tm_min:02}:{broken.tm_sec:02}"
        return f"{self._clock}.{rest:09}"


def host_text(environment: Environment) -> str:
    """Return what a line tells of where its event happened: host, and in traces of one process that process."""
    parts: list[Any] = [environment[key] for key in ("hostname", "procname") if key in environment]
    if "vpid" in environment:
        parts.append(f"({environment['vpid']})")
    return ":".join(map(str, parts)) + (" " if parts else "")


def loss_text(view: TextView, loss: Loss) -> str:
    """Return the warning that babeltrace2 prints for lost events or packets."""
    stream = loss.stream
    kind = loss.kind
    if loss.count is None:
        what = f"Tracer may have discarded {kind}s"
    else:
        what = f"Tracer discarded {loss.count} {kind}{'' if loss.count == 1 else 's'}"
    if loss.begin is None or loss.end is None:
        when = "(unknown time range)"
    else:
        when = f"between [{view.time_of_day(loss.begin)}] and [{view.time_of_day(loss.end)}]"
    uuid = stream.trace.uuid
    number = "no stream ID" if stream.id is None else f"stream ID: {stream.id}"
    hostname = stream.trace.environment.get("hostname")
    directory = stream.path.parent.name
    name = directory if hostname is None else f"{hostname}/{directory}"
    return (
        f'WARNING: {what} {when} in trace "{name}" '
        f"({'no UUID' if uuid is None else f'UUID: {uuid}'}) "
        f'within stream "{stream.path}" (stream class ID: {stream.cls.id}, {number}).\n'
    )
