"""What is lost is told by container and event rule in every recording, whatever is asked for, and adds up."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from support.recorder import BOXTRACE, Recorded, Recorder, check_valid, until

CALLS, SKIPPED = 10_000, 300
BUSY = f"""
import os
from support.bpf_run import allocate_amid_bpf
input()
for n in range({CALLS}):
    os.getppid()
allocate_amid_bpf({SKIPPED})
"""
BUFFERS = ("--subbuf-size", "16k", "--num-subbuf", "2")
SMALL = (*BUFFERS, "--flush", "10m", "--no-state-dump")


def told(path: Path) -> dict[str, Any]:
    shown = subprocess.run([*BOXTRACE, "info", "--json", str(path)], capture_output=True, check=True)
    found: dict[str, Any] = json.loads(shown.stdout)
    return found


def total(counts: Sequence[dict[str, Any]], reason: str) -> int:
    return sum(count[reason] for count in counts)


def first_number(pattern: str, text: str) -> int:
    found = re.search(pattern, text, re.MULTILINE)
    return int(found[1].replace(",", "")) if found else 0


def be_busy(recorder: Recorder, *, container: subprocess.Popen[bytes]) -> str:
    """Let the container make more events than the buffers hold, while nobody empties them; return its pid namespace."""
    init = until(lambda: Path(f"/proc/{container.pid}/task/{container.pid}/children").read_text().strip())
    pid_ns = str(Path(f"/proc/{init}/ns/pid").stat().st_ino)
    recorder.process.send_signal(signal.SIGSTOP)
    container.communicate(b"\n")
    recorder.process.send_signal(signal.SIGCONT)
    assert container.returncode == 0
    return pid_ns


def start_container() -> subprocess.Popen[bytes]:
    command = ("unshare", "--pid", "--mount", "--fork", "--kill-child", sys.executable, "-c", BUSY)
    return subprocess.Popen(command, stdin=subprocess.PIPE, cwd=Path(__file__).parents[1])


def overload(tmp_path: Path, *options: str) -> tuple[Recorded, str]:
    """Record a container that is there already, and too much of it; return its pid namespace, too."""
    with start_container() as container, Recorder(tmp_path / "trace", *options) as recorder:
        pid_ns = be_busy(recorder, container=container)
        recorded = recorder.stop()
    check_valid(recorded)
    return recorded, pid_ns


def check_sums(recorded: Recorded) -> None:
    """Rules and containers, the summary, and the packets all tell the same."""
    found = told(recorded.path)
    lost = first_number(r"^LOST: ([\d,]+) events, the buffers", recorded.stderr)
    skipped = first_number(r"^LOST: at most ([\d,]+) events", recorded.stderr)
    assert total(found["left_out"], "discarded") == lost, recorded.stderr
    assert total(found["left_out"], "skipped") == skipped, recorded.stderr
    assert total(found["streams"], "discarded_events") == lost + skipped
    containers = re.findall(r"^  \S.* +[\d,]+ events, ([\d,]+) lost$", recorded.stderr, re.MULTILINE)
    assert not containers or sum(int(text.replace(",", "")) for text in containers) == lost, recorded.stderr


def check_skipped(counts: Sequence[dict[str, Any]], rule: str) -> int:
    """Check that what was skipped is of this rule and of no container; return how many."""
    skipped = [count for count in counts if count["skipped"]]
    assert not any(count["container"] for count in skipped)
    mine = total([count for count in skipped if count["rule"] == rule], "skipped")
    assert mine >= SKIPPED
    return mine


@pytest.mark.parametrize(
    ("events", "rule"),
    [((), "syscall_*"), (("-e", "syscall_entry_*"), "syscall_entry_*")],
    ids=["default", "one"],
)
def test_losses_of_a_recording_without_filters_and_limits(tmp_path: Path, events: tuple[str, ...], rule: str) -> None:
    recorded, pid_ns = overload(tmp_path, *events, *SMALL)
    check_sums(recorded)
    (mine,) = [
        count for count in told(recorded.path)["left_out"] if pid_ns in count["container_id"] and count["rule"] == rule
    ]
    assert mine["discarded"] > 1000
    assert re.search(
        rf"^left out, by container and event rule:$(\n .*)*\n .* {re.escape(rule)}: .* lost", recorded.stderr, re.M
    )


KMEM, CALLED = ("-e", "kmem_kmalloc"), ("-e", "syscall_*_getppid")


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ((*KMEM, "-e", "kmem_kfree", *CALLED), ""),
        ((*KMEM, *CALLED), "kmem_kmalloc"),
        ((*KMEM, *BUFFERS, "--channel", "memory", *CALLED), "kmem_kmalloc"),
        ((*KMEM, "--filter", "$ctx.pid > 0", *CALLED, "--sample", "1/3", "--limit", "1/h:5000"), "kmem_kmalloc"),
    ],
    ids=["many", "two", "channels", "limits"],
)
def test_losses_add_up_whatever_is_asked_for(tmp_path: Path, options: tuple[str, ...], rule: str) -> None:
    """Also those that the kernel counts for its programs only: by rule where all events of a program are one's."""
    recorded, _ = overload(tmp_path, *options, *SMALL)
    check_sums(recorded)
    check_skipped(told(recorded.path)["left_out"], rule)
    name = re.escape(rule or "other events")
    line = rf"^  \(of any container\) +{name}: at most [\d,]+ lost amid the recording of another$"
    assert re.search(line, recorded.stderr, re.MULTILINE), recorded.stderr


def test_losses_of_a_container_that_starts_later_add_up(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "trace", *KMEM, *CALLED, "--new-containers", *SMALL)
    with recorder, start_container() as container:
        pid_ns = be_busy(recorder, container=container)
        recorded = recorder.stop()
    check_valid(recorded)
    check_sums(recorded)
    assert any(count["discarded"] and pid_ns in count["container_id"] for count in told(recorded.path)["left_out"])


def test_a_snapshot_tells_what_was_skipped(tmp_path: Path) -> None:
    """It has what was skipped until then, in the packets, too."""
    recorder = Recorder(tmp_path / "trace", "--flight-recorder", *KMEM, *CALLED, *BUFFERS, wait=False)
    with start_container() as container, recorder:
        recorder.wait_for("recording in memory")
        be_busy(recorder, container=container)
        subprocess.run([*BOXTRACE, "snapshot", str(recorder.process.pid)], check=True, stdout=subprocess.DEVNULL)
        recorded = recorder.stop()
    (snapshot,) = (tmp_path / "trace").iterdir()
    found = told(snapshot)
    skipped = check_skipped(found["left_out"], "kmem_kmalloc")
    assert total(found["streams"], "discarded_events") >= skipped
    assert first_number(r"^LOST: at most ([\d,]+) events", recorded.stderr) >= skipped
