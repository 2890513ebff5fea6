"""Packets with records of which it turns out later whether they are wanted: what is not is cut out, in the file too.

The BPF programs note from which position of a CPU's ring on records are of which candidate (``struct bt_tags``). A
packet that is written before its candidates are decided about is written whole, and again when they are, in the same
place: it then has less content, and zeros behind that.
"""

from __future__ import annotations

import mmap
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from boxtrace import _native
from boxtrace.consumer.files import FileSink, Place
from boxtrace.consumer.rings import Packet
from boxtrace.ctf.lttng import EXTENDED_EVENT_ID, PacketHeader

__all__ = ["CuttingSink", "TagLayout", "TagLog", "Tagged"]

_COMPACT: Final = struct.Struct("<HI")
_EXTENDED: Final = struct.Struct("<HIQ")
"""Headers of records: id and the lower half of the time, or all of both."""


class Tagged(NamedTuple):
    """A part of a packet's bytes that is of one candidate.

    :ivar since: time of the last record before it; in another packet, if it begins this one.
    :ivar until: time of its last record, where another part follows.
    """

    begin: int
    end: int
    tag: int
    since: int
    until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TagLayout:
    """Sizes, and offsets of the members of ``bt_tags`` and ``bt_tag``, as the object's BTF tells."""

    cpus: int
    size: int
    entries: int
    tags: Mapping[str, int]
    entry_size: int
    entry: Mapping[str, int]


class _Change(NamedTuple):
    position: int
    records: int
    time: int
    account: int
    tag: int


class TagLog:
    """What the programs have noted, on all CPUs. Entries are given back as they are read."""

    def __init__(self, fd: int, layout: TagLayout) -> None:
        length = -(-layout.cpus * layout.size // mmap.PAGESIZE) * mmap.PAGESIZE
        self._words = _native.SharedWords(mmap.mmap(fd, length))
        self._layout = layout
        self._read = [0] * layout.cpus
        self._changes: list[list[_Change]] = [[_Change(0, 0, 0, 0, 0)] for _ in range(layout.cpus)]
        self._records: Counter[tuple[int, int]] = Counter()

    def pull(self, cpu: int) -> None:
        """Read what is new on a CPU."""
        layout, words = self._layout, self._words
        base, changes = cpu * layout.size, self._changes[cpu]
        count = words.load(base + layout.tags["count"])
        for number in range(self._read[cpu], count):
            at = base + layout.tags["entry"] + number % layout.entries * layout.entry_size
            entry = {name: words.load(at + offset) for name, offset in layout.entry.items()}
            word = entry.pop("tag")
            change = _Change(**entry, account=word >> 32, tag=word & 0xFFFF_FFFF)
            last = changes[-1]
            self._records[last.tag, last.account] += change.records - last.records
            changes.append(change)
        if count != self._read[cpu]:
            self._read[cpu] = count
            words.store(base + layout.tags["consumed"], count)

    def pull_all(self) -> None:
        """Read what is new everywhere."""
        for cpu in range(self._layout.cpus):
            self.pull(cpu)

    def forget(self, cpu: int, before: int) -> None:
        """Forget what was before this position: nobody will ask for it."""
        changes = self._changes[cpu]
        first = next((index for index, change in enumerate(changes) if change.position > before), len(changes)) - 1
        del changes[: max(0, first)]

    def tagged(self, cpu: int, begin: int, end: int) -> list[Tagged]:
        """Return which parts of these positions are of candidates."""
        changes = self._changes[cpu]
        found = []
        for index, change in enumerate(changes):
            after = changes[index + 1] if index + 1 < len(changes) else change._replace(position=end)
            first, last = max(change.position, begin), min(after.position, end)
            if change.tag and first < last:
                found.append(Tagged(first, last, change.tag, change.time, after.time))
            if after.position >= end:
                break
        return found

    def records(self, unsettled: Mapping[int, int]) -> Mapping[tuple[int, int], int]:
        """Return how many records there are by candidate and account, once nothing is recorded any more.

        A record about a candidate is on the account of who ran when it was made.

        :param unsettled: by CPU, ``bt_cpu.recorded_here``.
        """
        self.pull_all()
        found = Counter(self._records)
        for cpu, here in unsettled.items():
            last = self._changes[cpu][-1]
            total = self._words.load(cpu * self._layout.size + self._layout.tags["settled"]) + here
            found[last.tag, last.account] += total - last.records
        return found


@dataclass(slots=True)
class _Written:
    """A packet in the file whose candidates are not all decided about; its data is not kept."""

    place: Place
    packet: Packet
    tagged: Sequence[Tagged]


class CuttingSink:
    """Writes packets to a file sink, without the records of those candidates that are not wanted.

    :param subbuf_size: of the rings.
    :param again: whether others will write the same packets again: nothing of the log is forgotten.
    """

    def __init__(self, sink: FileSink, log: TagLog, subbuf_size: int, *, again: bool = False) -> None:
        self._again = again
        self._sink = sink
        self._log = log
        self._subbuf_size = subbuf_size
        self._wanted: dict[int, bool] = {}
        self._waiting: list[_Written] = []

    @property
    def size(self) -> int:
        """Bytes of packets written so far."""
        return self._sink.size

    def is_wanted(self, tag: int) -> bool | None:
        """Tell whether what has a tag is wanted; None as long as it is not decided."""
        return False if tag & 1 else self._wanted.get(tag)  # odd ones are those of runtimes in a newborn container

    def write(self, packet: Packet) -> None:
        """Write one packet, as far as it is wanted.

        :raises OutputError: if it cannot be written.
        """
        self._log.pull(packet.cpu)
        start = packet.sequence * self._subbuf_size
        if not self._again:
            self._log.forget(packet.cpu, start + PacketHeader.SIZE)
        tagged = [
            part._replace(begin=part.begin - start, end=part.end - start)
            for part in self._log.tagged(packet.cpu, start + PacketHeader.SIZE, start + len(packet.data))
            if self.is_wanted(part.tag) is not True
        ]
        if all(self.is_wanted(part.tag) is False for part in tagged):
            self._sink.write(_cut(packet, tagged) if tagged else packet)
            return
        place = self._sink.write(packet)
        self._waiting.append(_Written(place, replace(packet, data=memoryview(b"")), tagged))

    def decide(self, wanted: Mapping[int, bool]) -> None:
        """Decide about candidates, by tag; packets that waited for that are written again.

        :raises OutputError: if one cannot be written.
        """
        self._wanted.update(wanted)
        waiting, self._waiting = self._waiting, []
        for written in waiting:
            if any(self.is_wanted(part.tag) is None for part in written.tagged):
                self._waiting.append(written)
                continue
            unwanted = [part for part in written.tagged if not self.is_wanted(part.tag)]
            if unwanted:
                data = memoryview(self._sink.read(written.place))
                self._sink.rewrite(written.place, _cut(replace(written.packet, data=data), unwanted))

    def close(self) -> None:
        """Close the files."""
        self._sink.close()


def _cut(packet: Packet, parts: Sequence[Tagged]) -> Packet:
    """Return a packet without these parts of its data."""
    kept = bytearray()
    at, last, here = 0, int(packet.begin), int(packet.begin)
    for part in parts:
        if part.begin > at:
            kept += _with_time(packet.data[at : part.begin], last, here) if at else packet.data[: part.begin]
            last = max(packet.begin, part.since)
        at, here = max(part.end, at), max(packet.begin, part.until)
    kept += _with_time(packet.data[at:], last, here)
    return replace(packet, data=memoryview(kept))


def _with_time(records: memoryview, last: int, here: int) -> bytes:
    """Return records behind some that are cut out, with a full time stamp if a reader needs it now.

    That is not longer than what is cut out: then there was a full one, or there were two records.

    :param last: time of the last record that is kept before them, or of the packet's beginning.
    :param here: the same with what is cut out.
    """
    if len(records) < _COMPACT.size:
        return bytes(records)
    number, low = _COMPACT.unpack_from(records)
    time = here + ((low - here) & 0xFFFF_FFFF)
    if number == EXTENDED_EVENT_ID or time - last < 1 << 32:
        return bytes(records)
    return _EXTENDED.pack(EXTENDED_EVENT_ID, number, time) + records[_COMPACT.size :]
