"""Traces of a host and of containers in one directory tree are read as one, in babeltrace2's order."""

import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from test_babeltrace_text import our_text, output

import boxtrace
from boxtrace.ctf import lttng
from boxtrace.ctf.tsdl_writer import packetize, write_tsdl
from boxtrace.errors import UsageError
from support.ctf_sample import TRACE

pytestmark = pytest.mark.skipif(shutil.which("babeltrace2") is None, reason="babeltrace2 is not installed")
SECOND = 1_000_000_000
EPOCH = 1_700_000_000 * SECOND
BOOT = "e0617b4f-30f7-4920-94c9-f1e0b1aacef2"


def write_part(
    directory: Path, number: int, offset: int, times: list[int], clock: str = BOOT, *, absolute: bool = True
) -> None:
    """Write a trace of one stream whose events' contexts tell where they come in its order.

    :param offset: of its clock from the epoch, in ns.
    :param times: values of its clock.
    :param absolute: whether the trace says that its clock counts from the epoch.
    """
    uuid = UUID(int=number + 1)
    told = replace(
        TRACE,
        uuid=uuid,
        environment={**(TRACE.environment if absolute else {}), "hostname": f"part{number}"},
        clocks=(replace(TRACE.clocks[0], uid=clock, offset_cycles=offset),),
    )
    text = write_tsdl(told)
    directory.mkdir(parents=True)
    (directory / "metadata").write_bytes(packetize(text, uuid))
    body = b"".join(struct.pack("<HIQi", 0xFFFF, 1, time, at) for at, time in enumerate(times))
    size = (lttng.PacketHeader.SIZE + len(body)) * 8
    header = lttng.PacketHeader(
        uuid=uuid,
        stream_id=0,
        stream_instance_id=number,
        timestamp_begin=times[0],
        timestamp_end=times[-1],
        content_size=size,
        packet_size=size,
        packet_seq_num=0,
        events_discarded=0,
        cpu_id=number,
    ).pack()
    (directory / "channel0_0").write_bytes(header + body)


def assert_read_together(tree: Path, parts: int, each: int) -> list[str]:
    """Compare with babeltrace2, and return the hosts in the order of their events."""
    ours, warnings = our_text(tree)
    theirs, their_warnings = output("babeltrace2", "--clock-gmt", tree)
    assert ours == theirs
    assert warnings == their_warnings == []
    assert len(ours) == parts * each
    events = list(boxtrace.open(tree).events())
    times = [event.timestamp for event in events if event.timestamp is not None]
    assert times == sorted(times)
    assert len(times) == parts * each
    return [str(event.stream.trace.environment["hostname"]) for event in events]


def test_sessions_of_host_and_containers_on_one_clock(tmp_path: Path) -> None:
    """All are on the machine's monotonic clock; each session measured its offset itself, not quite alike."""
    times = [7 * SECOND + step * 1000 for step in range(40)]
    write_part(tmp_path / "host" / "kernel", 0, EPOCH, times)
    write_part(tmp_path / "containers" / "web" / "ust" / "uid" / "0", 1, EPOCH + 300, times)
    write_part(tmp_path / "containers" / "db" / "ust" / "uid" / "999", 2, EPOCH - 400, times)
    hosts = assert_read_together(tmp_path, 3, 40)
    assert hosts == ["part2", "part0", "part1"] * 40


def test_sessions_with_clocks_of_other_origin(tmp_path: Path) -> None:
    """A machine that was started later counts from another origin; the offsets tell how they go together."""
    write_part(tmp_path / "host", 0, EPOCH, [9 * SECOND + step * 1000 for step in range(20)])
    other = "00000000-1111-2222-3333-444444444444"
    write_part(tmp_path / "guest", 1, EPOCH + 8 * SECOND, [SECOND + step * 1000 + 500 for step in range(20)], other)
    assert assert_read_together(tmp_path, 2, 20) == ["part0", "part1"] * 20


def test_equal_times_come_in_the_order_of_babeltrace(tmp_path: Path) -> None:
    times = [SECOND] * 5 + [2 * SECOND] * 5
    for number in (2, 0, 1):
        write_part(tmp_path / f"trace{9 - number}", number, EPOCH, times)
    assert_read_together(tmp_path, 3, 10)


def test_clocks_of_unknown_origin_are_compared_by_their_uuid(tmp_path: Path) -> None:
    times = [step * 1000 for step in range(1, 9)]
    write_part(tmp_path / "one" / "first", 0, 0, times, absolute=False)
    write_part(tmp_path / "one" / "second", 1, 500, times, absolute=False)
    assert assert_read_together(tmp_path / "one", 2, 8) == ["part0", "part1"] * 8
    other = "00000000-1111-2222-3333-444444444444"
    write_part(tmp_path / "two" / "first", 0, 0, times, absolute=False)
    write_part(tmp_path / "two" / "second", 1, 500, times, other, absolute=False)
    assert subprocess.run(["babeltrace2", tmp_path / "two"], capture_output=True, check=False).returncode != 0
    trace = boxtrace.open(tmp_path / "two")
    with pytest.raises(UsageError, match="different origins"):
        next(trace.events())
    assert len(trace.table("nothing")) == 16
