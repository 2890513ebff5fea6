"""Rings in ordinary memory, filled as the BPF programs would."""

import os
import struct

from boxtrace.consumer.rings import Packet, RingLayout, Rings
from boxtrace.units import Nanoseconds

HUGE = RingLayout(
    cpus=1,
    subbuf_size=1 << 31,
    num_subbuf=2,
    slack=4096,
    header=88,
    cpu_size=64,
    cpu={"position": 0, "discarded": 8, "released": 16, "first_packet": 24, "first_account": 28, "first_count": 32},
    packet={"commit": 0, "begin": 8, "end": 16, "content": 24, "discarded": 32, "before": 40},
)


class Kept:
    def __init__(self) -> None:
        self.packets: list[tuple[int, int, int]] = []

    def write(self, packet: Packet) -> None:
        self.packets.append((packet.sequence, packet.records, len(packet.data)))


def memory(size: int) -> int:
    descriptor = os.memfd_create("ring")
    os.truncate(descriptor, size)  # sparse: only what is touched takes memory
    return descriptor


def test_records_are_counted_right_when_the_count_of_bytes_runs_over() -> None:
    """A sub-buffer's commit counts bytes in 32 bits since the start: with 2 GiB they run over at the second turn."""
    stride = HUGE.subbuf_size + HUGE.slack
    packets, cpus = memory(2 * stride), memory(4096)
    rings = Rings(packets, cpus, HUGE, accounts_per_cpu=1, now=Nanoseconds(1))
    kept = Kept()
    before = [0, 0]
    for sequence, records in enumerate([3, 0, 5, 1, 7, 2]):
        half = sequence % 2
        commit = before[half] + (records << 32) + HUGE.subbuf_size
        os.pwrite(packets, struct.pack("<6Q", commit, 1, 2, 100, 0, before[half]), half * stride + HUGE.subbuf_size)
        os.pwrite(cpus, struct.pack("<Q", (sequence + 1) * HUGE.subbuf_size + HUGE.header), 0)
        before[half] = commit
        assert rings.drain(kept) == 1
    assert kept.packets == [(0, 3, 100), (1, 0, 100), (2, 5, 100), (3, 1, 100), (4, 7, 100), (5, 2, 100)]
    assert rings.records == 18
    os.close(packets)
    os.close(cpus)
