"""The part of a trace that tells of containers: ``TRACE/containers``, a stream of the user domain."""

from __future__ import annotations

import platform
import struct
import threading
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from boxtrace.consumer.files import FileSink
from boxtrace.consumer.rings import Packet
from boxtrace.containers.events import DUMP_END, DUMP_START, EVENT_TYPES, LEFT_OUT, METADATA, ContainerEvent, to_values
from boxtrace.containers.model import Container
from boxtrace.ctf.encode import BitWriter, compile_encoder
from boxtrace.ctf.json_writer import write_json
from boxtrace.ctf.lttng import CLOCK_NAME, EVENT_HEADER_LARGE, PACKET_CONTEXT, PACKET_HEADER, PacketHeader
from boxtrace.ctf.model import ClockClass, EventClass, StreamClass, TraceClass
from boxtrace.ctf.tsdl_writer import packetize, write_tsdl
from boxtrace.errors import OutputError
from boxtrace.session.clock import monotonic_now
from boxtrace.session.options import RuleCount
from boxtrace.units import Nanoseconds
from boxtrace.version import VERSION

__all__ = ["CONTAINERS_PART", "ContainerStream"]

CONTAINERS_PART = "containers"
"""Directory of this part of a trace, and name of its one stream."""

_IDS = {name: number for number, name in enumerate(EVENT_TYPES)}
_ENCODERS = {name: compile_encoder(fields) for name, fields in EVENT_TYPES.items()}
_HEADER = struct.Struct("<HI")


class ContainerStream:
    """Writes what is told at once: a packet holds what was told together. From any thread.

    It is created with the first event: a trace that nobody told anything for has no such part.

    :param trace: directory of the whole trace.
    :param clock: of the kernel's events.
    :param ctf2: its metadata is that of CTF 2.
    """

    def __init__(self, trace: Path, clock: ClockClass, *, ctf2: bool = False) -> None:
        self._trace = trace
        self._clock = clock
        self._ctf2 = ctf2
        self._sink: FileSink | None = None
        self._lock = threading.Lock()
        self._sequence = 0
        self._last = 0
        self.events = 0
        """How many were written."""
        self.lost = 0
        """How many could not be written."""

    @property
    def size(self) -> int:
        """Bytes of packets written so far."""
        return 0 if self._sink is None else self._sink.size

    def tell(self, events: Iterable[ContainerEvent]) -> None:
        """Write what runtimes told.

        :raises OutputError: if it cannot be written; it is counted as lost.
        """
        self._write([event.values() for event in events])

    def describe(self, containers: Iterable[Container], *, dump: bool = False) -> None:
        """Write what is known of containers.

        :param dump: they were there before.
        :raises OutputError: if it cannot be written; it is counted as lost.
        """
        now = Nanoseconds(time.time_ns())
        told: list[tuple[str, dict[str, Any]]] = [(METADATA, to_values(item, now)) for item in containers]
        self._write([(DUMP_START, {}), *told, (DUMP_END, {})] if dump and told else told)

    def leave_out(self, counts: Iterable[RuleCount]) -> None:
        """Write what is not in the trace.

        :raises OutputError: if it cannot be written; it is counted as lost.
        """
        self._write([(LEFT_OUT, _left_out_values(count, Nanoseconds(time.time_ns()))) for count in counts])

    def _create(self) -> FileSink:
        uuid = uuid4()
        directory = self._trace / CONTAINERS_PART
        described = _describe(self._trace, self._clock, uuid)
        try:
            (directory / "index").mkdir(parents=True, exist_ok=True)
            metadata = write_json(described).encode() if self._ctf2 else packetize(write_tsdl(described), uuid)
            (directory / "metadata").write_bytes(metadata)
        except OSError as error:
            raise OutputError(f"cannot create the trace: {error}", path=str(directory)) from error
        return FileSink(directory, CONTAINERS_PART, trace_uuid=uuid)

    def _write(self, events: list[tuple[str, dict[str, Any]]]) -> None:
        if not events:
            return
        with self._lock:
            begin = self._last = max(monotonic_now(), self._last)
            out = BitWriter()
            out.raw(bytes(PacketHeader.SIZE))
            for name, values in events:
                out.raw(_HEADER.pack(_IDS[name], begin & 0xFFFF_FFFF))
                _ENCODERS[name](out, values)
            packet = Packet(
                cpu=0,
                sequence=self._sequence,
                begin=Nanoseconds(begin),
                end=Nanoseconds(begin),
                discarded=self.lost,
                records=len(events),
                data=memoryview(out.data),
            )
            try:
                if self._sink is None:
                    self._sink = self._create()
                self._sink.write(packet)
            except OutputError:
                self.lost += len(events)
                raise
            self._sequence += 1
            self.events += len(events)

    def close(self) -> None:
        """Close the files."""
        if self._sink is not None:
            self._sink.close()


def _left_out_values(count: RuleCount, now: Nanoseconds) -> dict[str, Any]:
    container = count.container
    return {
        "runtime": "" if container is None else container.runtime,
        "id": "" if container is None else container.id,
        "name": "" if container is None else container.name,
        "time": now,
        "channel": count.channel,
        "rule": count.rule,
        "filtered": count.filtered,
        "sampled": count.sampled,
        "limited": count.limited,
        "discarded": count.discarded,
        "skipped": count.skipped,
    }


def _describe(trace: Path, clock: ClockClass, uuid: Any) -> TraceClass:
    environment: dict[str, int | str] = {
        "hostname": platform.uname().node,
        "domain": "ust",
        "tracer_name": "lttng-ust",  # for babeltrace2 clocks of other tracers do not count from the epoch
        "tracer_major": 2,
        "tracer_minor": 13,
        "tracer_buffering_scheme": "uid",
        "trace_name": trace.resolve().name,
        "trace_creation_datetime": datetime.now().astimezone().strftime("%Y%m%dT%H%M%S%z"),
        "boxtrace_version": VERSION,
        "boottime_offset": time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns(),
    }
    stream = StreamClass(
        id=0,
        packet_context=PACKET_CONTEXT,
        event_header=EVENT_HEADER_LARGE,
        clock=CLOCK_NAME,
        events=tuple(
            EventClass(id=_IDS[name], name=name, fields=fields, stream_id=0) for name, fields in EVENT_TYPES.items()
        ),
    )
    return TraceClass(
        uuid=uuid, environment=environment, packet_header=PACKET_HEADER, clocks=(clock,), streams=(stream,)
    )
