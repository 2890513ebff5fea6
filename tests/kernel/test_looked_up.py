"""Buffers that are too large to be addressed directly are looked up: the records, and the accounts, are the same."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from support.recorder import Recorded, check_valid

CALLS = 20_000
LOOKED_UP = (
    "import boxtrace.kernel.large_array as arrays; arrays._ADDRESSABLE = 0; import boxtrace.cli.main as m; m.main()"
)
PROGRAM = f"import os\nfor _ in range({CALLS}): os.getppid(); os.getsid(0)"


def record(output: Path, *options: str) -> Recorded:
    command = [sys.executable, "-c", LOOKED_UP, "record", "-o", str(output), "--no-state-dump", *options]
    done = subprocess.run([*command, "--", sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    return Recorded(output, done.returncode, done.stderr)


@pytest.mark.parametrize(
    "contexts", [(), ("--context", "none"), ("--context", "vtid,prio")], ids=["usual", "none", "other"]
)
def test_every_call_is_recorded(contexts: tuple[str, ...], tmp_path: Path) -> None:
    recorded = record(tmp_path / "trace", "-e", "syscall_*_getppid", "-e", "syscall_*_getsid", *contexts)
    check_valid(recorded)
    names = Counter(event.name for event in recorded.events)
    assert recorded.discarded == 0
    for call in ("getppid", "getsid"):
        assert (names[f"syscall_entry_{call}"], names[f"syscall_exit_{call}"]) == (CALLS, CALLS)


def test_what_a_filter_leaves_out_is_counted(tmp_path: Path) -> None:
    recorded = record(tmp_path / "trace", "-e", "syscall_*_getppid", "--filter", "$ctx.pid_ns == 1")
    assert recorded.status == 0
    assert not recorded.events
    assert f"{2 * CALLS:,} filtered" in recorded.stderr
