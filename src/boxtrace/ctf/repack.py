"""Event records written again, into packets of a new stream file: for traces that are cut or filtered.

Records keep the bits that they had, header and all. A header that holds only the low bits of the clock is understood
from the record before it; where what is left out makes that gap too wide, a new packet begins, whose context has the
full time.
"""

from __future__ import annotations

from typing import BinaryIO

from boxtrace.ctf.encode import BitWriter, Encode, compile_encoder
from boxtrace.ctf.fields import FieldClass, IntegerField, OptionField, Role, StructField, VariantField
from boxtrace.ctf.model import StreamClass, TraceClass
from boxtrace.ctf.packet import EventRecord, PacketHead
from boxtrace.errors import UsageError

__all__ = ["StreamWriter"]

_PACKET_BITS = 1 << 23


class StreamWriter:
    """Writes records of one stream to a file, packet by packet."""

    def __init__(self, file: BinaryIO, trace: TraceClass, stream: StreamClass) -> None:
        context = stream.packet_context
        if context is None or not _has(context, Role.CONTENT_SIZE):
            raise UsageError(
                "a stream whose packets do not tell their size cannot be cut", hint="convert it without selection"
            )
        self._file = file
        self._trace = trace
        self._context = context
        self._encode_header = None if trace.packet_header is None else compile_encoder(trace.packet_header)
        self._encode_context = compile_encoder(context)
        self._encode_event_header = None if stream.event_header is None else compile_encoder(stream.event_header)
        self._encode_common = None if stream.event_context is None else compile_encoder(stream.event_context)
        self._encoders: dict[int, tuple[Encode | None, Encode | None]] = {}
        self._span = 1 << _narrowest(stream.event_header)
        self._sequence = 0
        self._out: BitWriter | None = None
        self._body = 0
        self._head: PacketHead | None = None
        self._first = self._last = 0
        self.events = 0

    def write(self, record: EventRecord) -> None:
        """Append a record."""
        cycles = record.cycles or 0
        if self._out is not None:
            full = self._out.pos >= _PACKET_BITS or record.packet is not self._head
            if full or not 0 <= cycles - self._last < self._span:
                self._finish()
        if self._out is None:
            self._head = record.packet
            self._first = cycles
            self._out = BitWriter()
            self._write_head(self._out, 0, 0, cycles)
        self._last = cycles
        out = self._out
        if self._encode_event_header is not None:
            self._encode_event_header(out, record.header)
        if self._encode_common is not None:
            self._encode_common(out, record.common)
        found = self._encoders.get(id(record.event))
        if found is None:
            event = record.event
            found = self._encoders[id(event)] = (
                None if event.context is None else compile_encoder(event.context),
                None if event.fields is None else compile_encoder(event.fields),
            )
        specific, payload = found
        if specific is not None:
            specific(out, record.specific)
        if payload is not None:
            payload(out, record.payload)
        self.events += 1

    def close(self) -> None:
        """Write the last packet."""
        if self._out is not None:
            self._finish()

    def _finish(self) -> None:
        assert self._out is not None
        content = self._out.pos
        size = (content + 7) // 8 * 8
        head = BitWriter()
        self._write_head(head, size, content, self._last)
        self._out.data[: len(head.data)] = head.data
        self._file.write(self._out.data)
        self._out = None
        self._sequence += 1

    def _write_head(self, out: BitWriter, size: int, content: int, end: int) -> None:
        assert self._head is not None
        new = {
            Role.PACKET_SIZE: size,
            Role.CONTENT_SIZE: content,
            Role.TIMESTAMP: self._first,
            Role.TIMESTAMP_END: end,
            Role.PACKET_SEQ_NUM: self._sequence,
        }
        if self._encode_header is not None:
            self._encode_header(out, self._head.header)
        context = dict(self._head.context)
        for member in self._context.members:
            if isinstance(member.field, IntegerField):
                for role in member.field.roles:
                    if role in new:
                        context[member.name] = new[role] & (1 << member.field.size) - 1
        self._encode_context(out, context)


def _has(struct: StructField, role: Role) -> bool:
    return any(isinstance(member.field, IntegerField) and role in member.field.roles for member in struct.members)


def _narrowest(field: FieldClass | None) -> int:
    """Return the bits of the smallest time stamp that a header may have."""
    match field:
        case IntegerField() if Role.TIMESTAMP in field.roles:
            return field.size
        case StructField():
            return min((_narrowest(member.field) for member in field.members), default=64)
        case VariantField():
            return min((_narrowest(option.field) for option in field.options), default=64)
        case OptionField():
            return _narrowest(field.field)
        case _:
            return 64
