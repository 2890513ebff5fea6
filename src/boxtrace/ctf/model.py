"""What a trace's metadata says: clocks, environment, stream classes, event classes.

The one model that parsers, decoders and writers of CTF 1.8 and CTF 2 share. Every value is frozen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

from boxtrace.ctf.fields import Attributes, ByteOrder, StructField

__all__ = ["ClockClass", "ClockOrigin", "Environment", "EventClass", "StreamClass", "TraceClass", "UNIX_EPOCH"]

Environment: TypeAlias = Mapping[str, int | str]
"""Trace-wide facts, in the order in which they are written."""


@dataclass(frozen=True, slots=True)
class ClockOrigin:
    """What a clock counts from. Two clocks can be compared only if their origins are equal."""

    name: str
    uid: str
    namespace: str | None = None


UNIX_EPOCH = ClockOrigin("unix-epoch", "unix-epoch")
"""1970-01-01T00:00:00Z."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockClass:
    """A clock: cycle ``c`` is at ``offset_seconds + (offset_cycles + c) / frequency`` seconds after its origin.

    ``uid`` tells clocks apart across traces (TSDL's uuid); without origin only time differences have a meaning.
    """

    name: str
    """What stream classes refer to it by (CTF 2's ``id``)."""
    frequency: int = 1_000_000_000
    offset_seconds: int = 0
    offset_cycles: int = 0
    origin: ClockOrigin | None = UNIX_EPOCH
    uid: str | None = None
    namespace: str | None = None
    description: str | None = None
    precision: int | None = None
    accuracy: int | None = None
    title: str | None = None
    """CTF 2's ``name``, where it is not ``name``."""
    attributes: Attributes = field(default_factory=dict, compare=False)

    @property
    def base_ns(self) -> int:
        """Time of clock value 0, in ns from the origin."""
        seconds, cycles = divmod(self.offset_cycles, self.frequency)
        return (self.offset_seconds + seconds) * 1_000_000_000 + self.duration_ns(cycles)

    def duration_ns(self, cycles: int) -> int:
        """Return how long so many cycles take, in ns; in double precision unless the frequency is 1 GHz.

        That is how babeltrace2 computes it, so that both show the same time stamps.
        """
        if self.frequency == 1_000_000_000:
            return cycles
        return int(1e9 * float(cycles) / float(self.frequency))

    def to_ns(self, cycles: int) -> int:
        """Return the time of a clock value in ns from the clock's origin."""
        return self.base_ns + self.duration_ns(cycles)


_NO_FIELDS = StructField()


@dataclass(frozen=True, slots=True, kw_only=True)
class EventClass:
    """A type of event: its number within a stream class, its name, its own context and its payload."""

    id: int
    name: str
    fields: StructField | None = _NO_FIELDS
    context: StructField | None = None
    stream_id: int = 0
    loglevel: int | None = None
    uri: str | None = None
    namespace: str | None = None
    uid: str | None = None
    attributes: Attributes = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamClass:
    """A type of stream: what its packets and all of its events begin with, and its event classes."""

    id: int = 0
    packet_context: StructField | None = None
    event_header: StructField | None = None
    event_context: StructField | None = None
    clock: str | None = None
    """Name of the default clock; None for a stream without time stamps."""
    events: tuple[EventClass, ...] = ()
    name: str | None = None
    namespace: str | None = None
    uid: str | None = None
    attributes: Attributes = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceClass:
    """A trace: all that its metadata declares."""

    uuid: UUID | None = None
    byte_order: ByteOrder = ByteOrder.LITTLE
    environment: Environment = field(default_factory=dict)
    packet_header: StructField | None = None
    clocks: tuple[ClockClass, ...] = ()
    streams: tuple[StreamClass, ...] = ()
    name: str | None = None
    namespace: str | None = None
    uid: str | None = None
    attributes: Attributes = field(default_factory=dict, compare=False)

    def clock(self, name: str) -> ClockClass | None:
        """Return the clock of that name, or None."""
        return next((clock for clock in self.clocks if clock.name == name), None)
