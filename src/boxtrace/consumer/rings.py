"""The user-space end of the per-CPU rings that the BPF programs fill.

The rings are two memory-mapped BPF arrays (``kernel/bpf/abi.h``): one ``bt_cpu`` per CPU, and ``num_subbuf``
sub-buffers per CPU, each with a ``bt_packet`` behind it. A sub-buffer is complete when the bytes committed to it reach
its size; it is then handed to a sink together with what its header needs, and given back. Python touches packets here,
never events.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from boxtrace import _native
from boxtrace.units import Nanoseconds

__all__ = ["Packet", "PacketSink", "RingLayout", "Rings", "Wakeups"]

_RECORDS_SHIFT = 32
_BYTES_MASK = (1 << _RECORDS_SHIFT) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A complete sub-buffer.

    :param cpu: whose it is.
    :param sequence: its number on this CPU, from 0 on.
    :param begin: CLOCK_MONOTONIC when it was begun.
    :param end: CLOCK_MONOTONIC when it was closed.
    :param discarded: events lost on this CPU until it was closed, since the start.
    :param records: events in it.
    :param data: its content; the first bytes, as many as the header needs, are for the sink to write.
    """

    cpu: int
    sequence: int
    begin: Nanoseconds
    end: Nanoseconds
    discarded: int
    records: int
    data: memoryview


class PacketSink(Protocol):
    """Where packets go."""

    def write(self, packet: Packet) -> object:
        """Take a packet; ``packet.data`` is valid during the call only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RingLayout:
    """Sizes of the rings, and the offsets of the members of ``bt_cpu`` and ``bt_packet``, as the object's BTF tells."""

    cpus: int
    subbuf_size: int
    num_subbuf: int
    slack: int
    header: int
    cpu_size: int
    cpu: Mapping[str, int]
    packet: Mapping[str, int]


class Rings:
    """Maps the rings and prepares each CPU's first packet.

    Must be made before the event programs are attached.

    :param packets_fd: descriptor of the map of sub-buffers.
    :param cpus_fd: descriptor of the map of ``bt_cpu``.
    :param accounts_per_cpu: entries that each CPU has in the map of accounts.
    :param counts_per_cpu: entries that each CPU has in the map of counts by rule.
    :param now: CLOCK_MONOTONIC: when the first packets begin.
    """

    def __init__(
        self,
        packets_fd: int,
        cpus_fd: int,
        layout: RingLayout,
        *,
        accounts_per_cpu: int,
        counts_per_cpu: int = 0,
        now: Nanoseconds,
    ) -> None:
        self._layout = layout
        self._stride = layout.subbuf_size + layout.slack
        self._view = memoryview(mmap.mmap(packets_fd, _pages(layout.cpus * layout.num_subbuf * self._stride)))
        self._packet_words = _native.SharedWords(self._view)
        control = mmap.mmap(cpus_fd, _pages(layout.cpus * layout.cpu_size))
        self._cpu_words = _native.SharedWords(control)
        self._released = [0] * layout.cpus
        self.records = 0
        """Events in the packets handed over so far."""
        self.skipped = 0
        """Events that snapshots count as lost beside what the programs count: on CPU 0, since nobody knows where."""
        for cpu in range(layout.cpus):
            base = cpu * layout.cpu_size
            for member, number in (
                ("first_packet", cpu * layout.num_subbuf),
                ("first_account", cpu * accounts_per_cpu),
                ("first_count", cpu * counts_per_cpu),
            ):
                first = base + layout.cpu[member]
                control[first : first + 4] = number.to_bytes(4, "little")
            self._cpu_words.store(base + layout.cpu["position"], layout.header)
            known = self._subbuf(cpu, 0) + layout.subbuf_size
            self._packet_words.store(known + layout.packet["begin"], now)
            self._packet_words.store(known + layout.packet["commit"], layout.header)

    def _subbuf(self, cpu: int, sequence: int) -> int:
        """Return where the sub-buffer of a packet begins in the map; what is known of it lies behind it."""
        layout = self._layout
        return (cpu * layout.num_subbuf + sequence % layout.num_subbuf) * self._stride

    def _cpu(self, cpu: int, member: str) -> int:
        return self._cpu_words.load(cpu * self._layout.cpu_size + self._layout.cpu[member])

    def _packet(self, cpu: int, sequence: int) -> Packet | None:
        """Return a packet if it is complete."""
        layout, words, member = self._layout, self._packet_words, self._layout.packet
        start = self._subbuf(cpu, sequence)
        known = start + layout.subbuf_size
        commit = words.load(known + member["commit"])
        turns = sequence // layout.num_subbuf + 1
        if (commit ^ turns * layout.subbuf_size) & _BYTES_MASK:
            return None
        return Packet(
            cpu=cpu,
            sequence=sequence,
            begin=Nanoseconds(words.load(known + member["begin"])),
            end=Nanoseconds(words.load(known + member["end"])),
            discarded=words.load(known + member["discarded"]),
            records=_records(commit, words.load(known + member["before"])),
            data=self._view[start : start + words.load(known + member["content"])],
        )

    def drain(self, sink: PacketSink) -> int:
        """Hand every complete packet to the sink, oldest first per CPU; return how many there were.

        A sub-buffer is given back only after the sink took it: if the sink raises, nothing is lost.
        """
        return sum(self._drain_cpu(cpu, sink) for cpu in range(self._layout.cpus))

    def _drain_cpu(self, cpu: int, sink: PacketSink) -> int:
        layout = self._layout
        count = 0
        while (packet := self._packet(cpu, self._released[cpu])) is not None:
            sink.write(packet)
            self.records += packet.records
            self._released[cpu] += 1
            self._cpu_words.store(cpu * layout.cpu_size + layout.cpu["released"], self._released[cpu])
            count += 1
        return count

    def snapshot(self, sink: PacketSink) -> int:
        """Hand copies of the packets that are held to the sink, while recording goes on; return how many.

        For rings that overwrite. Per CPU they are consecutive and end with the last that was complete; what is being
        overwritten while it is copied is left out, and so is what is older.
        """
        return sum(self._snapshot_cpu(cpu, sink) for cpu in range(self._layout.cpus))

    def _snapshot_cpu(self, cpu: int, sink: PacketSink) -> int:
        kept: list[Packet] = []
        for sequence in range(self._oldest(cpu), self._cpu(cpu, "position") // self._layout.subbuf_size):
            packet = self._packet(cpu, sequence)
            copy = None
            if packet is not None:
                copy = replace(
                    packet,
                    data=memoryview(bytearray(packet.data)),
                    discarded=packet.discarded + (self.skipped if cpu == 0 else 0),
                )
            if copy is None or self._oldest(cpu) > sequence:
                kept.clear()
            else:
                kept.append(copy)
        for packet in kept:
            sink.write(packet)
            self.records += packet.records
        return len(kept)

    def _oldest(self, cpu: int) -> int:
        """Return the number of the oldest packet that nobody can be overwriting."""
        return max(0, self._cpu(cpu, "position") // self._layout.subbuf_size - self._layout.num_subbuf + 1)

    def oldest_position(self, cpu: int) -> int:
        """Return where the oldest packet begins that a snapshot may have."""
        return self._oldest(cpu) * self._layout.subbuf_size

    def pending_records(self) -> int:
        """Return how many events are in packets that have not been handed over (complete or not)."""
        layout, words, member = self._layout, self._packet_words, self._layout.packet
        count = 0
        for cpu in range(layout.cpus):
            for sequence in range(self._released[cpu], self._cpu(cpu, "position") // layout.subbuf_size + 1):
                known = self._subbuf(cpu, sequence) + layout.subbuf_size
                count += _records(words.load(known + member["commit"]), words.load(known + member["before"]))
        return count

    def pending(self, cpu: int) -> bool:
        """Whether packets of this CPU were closed but not handed over."""
        return self._cpu(cpu, "position") // self._layout.subbuf_size > self._released[cpu]

    def used(self, cpu: int) -> bool:
        """Whether this CPU has recorded, or lost, an event."""
        return self._cpu(cpu, "position") != self._layout.header or self._cpu(cpu, "discarded") > 0

    def discarded(self) -> int:
        """Return how many events were lost because no sub-buffer was free, on all CPUs."""
        return sum(self._cpu(cpu, "discarded") for cpu in range(self._layout.cpus))

    def unsettled(self) -> Iterator[tuple[int, int, int]]:
        """Yield account, events recorded and lost of the task that each CPU ran last, not in the accounts yet."""
        layout = self._layout
        for cpu in range(layout.cpus):
            offset = cpu * layout.cpu_size + layout.cpu["account"]
            account = self._cpu_words.load(offset & ~7) >> (offset % 8 * 8) & 0xFFFF_FFFF
            yield account, self._cpu(cpu, "recorded_here"), self._cpu(cpu, "discarded_here")

    def add_discarded(self, cpu: int, count: int) -> None:
        """Count events as lost that did not reach the ring. Only when no event program is attached any more."""
        offset = cpu * self._layout.cpu_size + self._layout.cpu["discarded"]
        self._cpu_words.store(offset, self._cpu_words.load(offset) + count)


class Wakeups:
    """The tiny ring buffer through which BPF programs tell that a packet is complete: a descriptor for epoll."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        page = mmap.PAGESIZE
        self._consumer = _native.SharedWords(mmap.mmap(fd, page))
        self._producer = mmap.mmap(fd, page, prot=mmap.PROT_READ, offset=page)

    def clear(self) -> None:
        """Forget what was told so far; call before draining."""
        self._consumer.store(0, int.from_bytes(self._producer[:8], "little"))


def _records(commit: int, before: int) -> int:
    """Return how many records were committed since `before`, also where the count of bytes ran over into theirs."""
    return ((commit - before) >> _RECORDS_SHIFT) & _BYTES_MASK


def _pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
