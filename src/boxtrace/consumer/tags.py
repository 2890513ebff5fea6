"""Packets with records of which it turns out later whether they are wanted: what is not is cut out, in the file too.

The BPF programs note from which position of a CPU's ring on records are of which candidate (``struct bt_tags``). A
packet that is written before its candidates are decided about is written whole, and again when they are, in the same
place: it then has less content, and zeros behind that.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from boxtrace import _native
from boxtrace.consumer.files import FileSink, Place
from boxtrace.consumer.rings import Packet
from boxtrace.ctf.lttng import PacketHeader

__all__ = ["CuttingSink", "TagLayout", "TagLog", "Tagged"]


class Tagged(NamedTuple):
    """A part of a packet's bytes that is of one candidate."""

    begin: int
    end: int
    tag: int


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
    account: int
    tag: int


class TagLog:
    """What the programs have noted, on all CPUs. Entries are given back as they are read."""

    def __init__(self, fd: int, layout: TagLayout) -> None:
        length = -(-layout.cpus * layout.size // mmap.PAGESIZE) * mmap.PAGESIZE
        self._words = _native.SharedWords(mmap.mmap(fd, length))
        self._layout = layout
        self._read = [0] * layout.cpus
        self._changes: list[list[_Change]] = [[_Change(0, 0, 0, 0)] for _ in range(layout.cpus)]
        self._records: Counter[tuple[int, int]] = Counter()

    def pull(self, cpu: int) -> None:
        """Read what is new on a CPU."""
        layout, words = self._layout, self._words
        base, changes = cpu * layout.size, self._changes[cpu]
        count = words.load(base + layout.tags["count"])
        for number in range(self._read[cpu], count):
            at = base + layout.tags["entry"] + number % layout.entries * layout.entry_size
            position, records, word = (words.load(at + layout.entry[name]) for name in ("position", "records", "tag"))
            change = _Change(position, records, word >> 32, word & 0xFFFF_FFFF)
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
            until = changes[index + 1].position if index + 1 < len(changes) else end
            part = Tagged(max(change.position, begin), min(until, end), change.tag)
            if part.tag and part.begin < part.end:
                found.append(part)
            if until >= end:
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
            Tagged(part.begin - start, part.end - start, part.tag)
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
    at = 0
    for part in parts:
        kept += packet.data[at : max(part.begin, at)]
        at = max(part.end, at)
    kept += packet.data[at:]
    return replace(packet, data=memoryview(kept))
