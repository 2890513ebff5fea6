"""Position and state while the fields of a packet are decoded, and the primitive reads on it."""

from __future__ import annotations

from typing import TypeAlias

from boxtrace.ctf.fields import ByteOrder, FieldLocation, Role

__all__ = ["MAX_EMPTY_ELEMENTS", "Cursor", "DecodeError", "reverse_bits"]

Buffer: TypeAlias = "memoryview[int]"
MAX_EMPTY_ELEMENTS = 1 << 16
"""Most elements of a record that may take no room: the packet's size does not bound their number."""
_U64 = (1 << 64) - 1
_REVERSED = {byte: int(f"{byte:08b}"[::-1], 2) for byte in range(256)}


class DecodeError(Exception):
    """A field cannot be decoded.

    :param position: bit, counted from the start of the packet.
    """

    def __init__(self, message: str, position: int, field: str) -> None:
        super().__init__(message)
        self.position = position
        self.field = field


class Cursor:
    """Decoding position in one packet (``pos`` and ``end`` in bits from its start) and what was decoded on the way."""

    __slots__ = ("clock", "data", "empties", "end", "pos", "roles", "slots", "uuid")

    def __init__(self, data: Buffer, end: int, clock: int = 0) -> None:
        self.data = data
        self.end = end
        self.pos = 0
        self.clock = clock
        """Current value of the stream's default clock, in cycles."""
        self.slots: dict[FieldLocation, int] = {}
        """Values that lengths and selectors will ask for."""
        self.roles: dict[Role, int] = {}
        self.uuid: bytes | None = None
        self.empties = MAX_EMPTY_ELEMENTS
        """How many more elements the record may have that may take no room."""

    def need(self, bits: int, field: str) -> None:
        """Raise DecodeError unless so many bits are left."""
        if self.pos + bits > self.end:
            left = max(self.end - self.pos, 0)
            raise DecodeError(f"{bits} bits expected, {left} left in the packet", self.pos, field)

    def spend(self, count: int, field: str) -> None:
        """Account for elements that may take no room in the packet; raise DecodeError if they are too many."""
        if count > self.empties:
            raise DecodeError(f"{count} elements of no size", self.pos, field)
        self.empties -= count

    def align(self, align: int) -> None:
        """Move to the next multiple of ``align`` bits."""
        self.pos = (self.pos + align - 1) & -align

    def bits(self, size: int, order: ByteOrder, field: str) -> int:
        """Read an unsigned number of any size, at any bit."""
        self.need(size, field)
        first, skip = divmod(self.pos, 8)
        last = (self.pos + size + 7) >> 3
        raw = bytes(self.data[first:last])
        if order is ByteOrder.LITTLE:
            value = int.from_bytes(raw, "little") >> skip
        else:
            value = int.from_bytes(raw, "big") >> (len(raw) * 8 - skip - size)
        self.pos += size
        return value & ((1 << size) - 1)

    def raw(self, count: int, field: str) -> bytes:
        """Read so many bytes; the position is on a byte."""
        self.need(count * 8, field)
        start = self.pos >> 3
        self.pos += count * 8
        return bytes(self.data[start : start + count])

    def until_nul(self, unit: int, field: str) -> bytes:
        """Read code units of ``unit`` bytes up to a zero one, which is not returned."""
        start = self.pos >> 3
        stop = self.end >> 3
        chunk = 256
        at = start
        while at < stop:
            piece = bytes(self.data[start : min(start + chunk, stop)])
            at = _find_nul(piece, unit)
            if at >= 0:
                self.pos = (start + at + unit) * 8
                return piece[:at]
            at = start + chunk
            chunk *= 4
        raise DecodeError("the string does not end in the packet", self.pos, field)

    def leb128(self, signed: bool, field: str) -> int:
        """Read a variable-length integer."""
        value = shift = 0
        while True:
            byte = self.raw(1, field)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
            if shift > 70:
                raise DecodeError("the variable-length integer has more than 64 bits", self.pos, field)
        if signed and byte & 0x40:
            value -= 1 << shift
        if not (-(1 << 63) <= value < 1 << 63 if signed else value <= _U64):
            raise DecodeError("the variable-length integer has more than 64 bits", self.pos, field)
        return value

    def set_clock(self, value: int, size: int) -> None:
        """Take in the low ``size`` bits of the clock, which wrapped at most once since the last time."""
        if size >= 64:
            self.clock = value
            return
        span = 1 << size
        low = self.clock & (span - 1)
        self.clock = (self.clock - low + value + (span if value < low else 0)) & _U64


def _find_nul(piece: bytes, unit: int) -> int:
    zero = b"\0" * unit
    at = piece.find(zero)
    while at >= 0 and at % unit:
        at = piece.find(zero, at + 1)
    return at


def reverse_bits(value: int, size: int) -> int:
    """Return the number whose ``size`` bits are those of ``value`` in opposite order."""
    result = 0
    for _ in range((size + 7) // 8):
        result = result << 8 | _REVERSED[value & 0xFF]
        value >>= 8
    return result >> (-size % 8)
