"""Traces to read: of LTTng-UST and of boxtrace, recorded here; LTTng's kernel trace, many times one after another."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import boxtrace
from boxtrace.ctf.fields import IntegerField, Role
from boxtrace.trace import Stream

__all__ = ["record_kernel", "record_ust", "repeat_lttng"]

_CONTEXTS = (
    *("vpid", "vtid", "procname"),
    *("cgroup_ns", "ipc_ns", "mnt_ns", "net_ns", "pid_ns", "time_ns", "user_ns", "uts_ns"),
)
_TESTS = Path(__file__).parents[1] / "tests"
_SOURCE = _TESTS / "interop" / "ust"
_LTTNG = _TESTS / "data" / "lttng-kernel-trace"
_EXTENDED = 0xFFFF
"""In the first 16 bits of LTTng's large header: id (32 bits) and the whole time stamp (64 bits) follow."""


def record_ust(directory: Path, events: int) -> Path:
    """Record a trace of so many events with LTTng-UST and 11 contexts, and return its directory."""
    program = directory / "demo"
    include = ["-I", str(_SOURCE)]
    subprocess.run(
        ["gcc", "-O2", *include, str(_SOURCE / "demo.c"), "-o", str(program), "-llttng-ust", "-ldl"], check=True
    )
    daemon = subprocess.Popen(["lttng-sessiond", "--no-kernel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    output = directory / "ust"

    def lttng(*arguments: str) -> None:
        subprocess.run(["lttng", "--no-sessiond", *arguments], capture_output=True, check=True)

    try:
        time.sleep(2)
        lttng("create", "boxtrace-bench", f"--output={output}")
        lttng("enable-channel", "-u", "--subbuf-size=4M", "--num-subbuf=8", "--blocking-timeout=inf", "channel0")
        lttng("enable-event", "-u", "-c", "channel0", "demo:tick")
        lttng("add-context", "-u", "-c", "channel0", *[word for name in _CONTEXTS for word in ("-t", name)])
        lttng("start")
        blocking = {**os.environ, "LTTNG_UST_ALLOW_BLOCKING": "1"}
        subprocess.run([str(program), str(events), "0"], env=blocking, check=True)
        lttng("stop")
        lttng("destroy", "boxtrace-bench")
    finally:
        daemon.terminate()
        daemon.wait(timeout=30)
    return output


def record_kernel(directory: Path, events: int) -> Path:
    """Record about so many events of programs that look at all of ``/usr``, and return the trace's directory."""
    output = directory / "kernel"
    record = [
        sys.executable,
        "-m",
        "boxtrace",
        "record",
        "-o",
        str(output),
        "--subbuf-size",
        "4M",
        "--num-subbuf",
        "16",
    ]
    # About ten events for each time that a file is opened, looked at and read.
    files = max(events // 10, 1)
    find = f"while find /usr -xdev -type f -print0; do :; done | head -zn {files}"
    look = f"{find} | xargs -0 -n 2000 head -qc 64 >/dev/null; true"
    subprocess.run([*record, "--", "sh", "-c", look], check=True, capture_output=True, timeout=300)
    return output


def repeat_lttng(directory: Path, events: int) -> Path:
    """Write the kernel trace of the tests so many times, each time later than the time before, for so many events."""
    output = directory / "lttng" / "kernel"
    output.mkdir(parents=True)
    (output / "metadata").write_bytes((_LTTNG / "kernel" / "metadata").read_bytes())
    trace = boxtrace.open(_LTTNG)
    stamps: dict[int, list[int]] = {id(stream): [] for stream in trace.streams}
    once = 0
    for event in trace.events():
        once += 1
        packet, position, _ = event._where()
        at = packet.head.offset + (position + 7) // 8
        if struct.unpack_from("<H", packet.file.data, at)[0] == _EXTENDED:
            stamps[id(event.stream)].append(at + 6)
    begin = min(stream.packets[0].head.begin or 0 for stream in trace.streams)
    end = max(stream.packets[-1].head.end or 0 for stream in trace.streams)
    later = ((end - begin) // (1 << 32) + 1) << 32  # leaves the low bits of short time stamps as they are
    for stream in trace.streams:
        _repeat_stream(stream, stamps[id(stream)], output / stream.path.name, later, max(events // once, 1))
    return output.parent


def _repeat_stream(stream: Stream, stamps: list[int], path: Path, later: int, times: int) -> None:
    sequences: list[int] = []
    for packet in stream.packets:
        places = _places(packet.head.body // 8, stream)
        stamps += [packet.head.offset + places[role] for role in (Role.TIMESTAMP, Role.TIMESTAMP_END)]
        sequences.append(packet.head.offset + places[Role.PACKET_SEQ_NUM])
    data = bytearray(stream.packets[0].file.data)
    with path.open("wb") as file:
        for _ in range(times):
            file.write(data)
            for add, offsets in ((later, stamps), (len(sequences), sequences)):
                for at in offsets:
                    struct.pack_into("<Q", data, at, struct.unpack_from("<Q", data, at)[0] + add)


def _places(body: int, stream: Stream) -> dict[Role, int]:
    """Return where the packet's context has the numbers of roles: bytes from the packet's beginning."""
    context = stream.cls.packet_context
    assert context is not None
    at = body
    places = {}
    for member in reversed(context.members):
        assert isinstance(member.field, IntegerField)
        at -= member.field.size // 8
        places.update(dict.fromkeys(member.field.roles, at))
    return places
