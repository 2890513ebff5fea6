"""Applications instrumented with LTTng-UST, recorded beside the kernel's events and those of our own clients."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from boxtrace.session.clock import monotonic_clock
from boxtrace.session.user_contexts import check_user_contexts
from boxtrace.trace import open_trace
from boxtrace.userspace.layout import user_trace_class
from support.require import require_program, require_root
from support.user import ROOT, build


@pytest.fixture(params=["a daemon that runs", "no daemon"])
def lttng_daemon(request: pytest.FixtureRequest) -> Iterator[None]:
    """LTTng's daemon, or none; afterwards it has no session of ours, or there is none again."""
    require_root()
    for program in ("lttng", "lttng-sessiond"):
        require_program(program, "lttng-tools")
    command = ["lttng", "--no-sessiond", "list"]
    assert subprocess.run(command, capture_output=True).returncode != 0, "another daemon runs"
    if request.param == "no daemon":
        yield
        assert subprocess.run(command, capture_output=True).returncode != 0
        return
    quiet = subprocess.DEVNULL
    with subprocess.Popen(["lttng-sessiond", "--no-kernel"], stdout=quiet, stderr=quiet) as daemon:
        try:
            while subprocess.run(command, capture_output=True).returncode and daemon.poll() is None:
                time.sleep(0.1)
            yield
            assert b"boxtrace-" not in subprocess.run(command, capture_output=True, check=True).stdout
        finally:
            daemon.terminate()


@pytest.mark.usefixtures("lttng_daemon")
def test_one_directory_and_one_clock(tmp_path: Path) -> None:
    source = ROOT / "tests/interop/ust"
    lttng = tmp_path / "lttng-demo"
    command = ["gcc", "-I", source, source / "demo.c", "-o", lttng, "-llttng-ust", "-ldl"]
    subprocess.run(command, check=True)
    own = build(ROOT / "tests/conformance/client.c", tmp_path / "own")
    record = [sys.executable, "-m", "boxtrace", "record", "-q", "-o", tmp_path / "trace", "-e", "syscall_*_getpid"]
    options = ["--user", "conformance:*", "--lttng-ust", "demo:tick", "--no-state-dump"]
    script = f"{own} count 1; {lttng} 10 0; {own} count 1"
    subprocess.run([*record, *options, "--", "sh", "-c", script], check=True, timeout=60)
    trace = open_trace(tmp_path / "trace")
    names = [event.name for event in trace.events() if ":" in event.name and "statedump" not in event.name]
    assert names == ["conformance:count", *["demo:tick"] * 10, "conformance:count"]
    clocks = {clock.uid for _, part in trace.parts for clock in part.clocks}
    assert len(trace.parts) == 3 and len(clocks) == 1


def test_every_context_of_lttng_ust_is_there() -> None:
    """Its perf:thread:NAME and ip can be chosen, its others for applications are in every packet."""
    require_program("lttng", "lttng-tools")
    listed = subprocess.run(["lttng", "add-context", "--list"], capture_output=True, check=True, text=True).stdout
    names = [word for word in listed.split() if word.startswith("perf:thread:") and "raw" not in word]
    assert "perf:thread:cpu-cycles" in names and len(names) > 40
    for name in (*names, "perf:thread:raw:r01c2:own", "ip"):
        check_user_contexts([name])
    others = ["vpid", "vtid", "pthread_id", "procname"]
    others += [f"v{prefix}{kind}" for kind in ("uid", "gid") for prefix in ("", "e", "s")]
    others += [f"{kind}_ns" for kind in ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")]
    clock = monotonic_clock()
    trace = user_trace_class(name="", hostname="", uuid=uuid4(), clock=clock, created=datetime.now(UTC), version="")
    (stream,) = trace.streams
    assert stream.packet_context is not None
    assert set(others) <= {member.name for member in stream.packet_context.members} & set(listed.split())
