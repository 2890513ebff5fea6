"""What is lost is told by container and event rule in every recording, whatever is asked for."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.recorder import BOXTRACE, Recorder, check_valid

BUSY = "import os\ninput()\nfor n in range(10000):\n os.getppid()"
SMALL = ("--subbuf-size", "16k", "--num-subbuf", "2", "--flush", "10m", "--no-state-dump")


@pytest.mark.parametrize(
    ("events", "rule"),
    [((), "syscall_*"), (("-e", "syscall_entry_*"), "syscall_entry_*")],
    ids=["default", "one"],
)
def test_losses_of_a_recording_without_filters_and_limits(tmp_path: Path, events: tuple[str, ...], rule: str) -> None:
    """Nobody empties the buffers for a while."""
    container = ("unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", BUSY)
    with (
        subprocess.Popen(container, stdin=subprocess.PIPE) as process,
        Recorder(tmp_path / "trace", *events, *SMALL) as recorder,
    ):
        init = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().strip()
        pid_ns = str(Path(f"/proc/{init}/ns/pid").stat().st_ino)
        recorder.process.send_signal(signal.SIGSTOP)
        process.communicate(b"\n")
        recorder.process.send_signal(signal.SIGCONT)
        recorded = recorder.stop()
    check_valid(recorded)
    shown = subprocess.run([*BOXTRACE, "info", "--json", str(recorded.path)], capture_output=True, check=True)
    counted = json.loads(shown.stdout)["left_out"]
    lost = re.search(r"^LOST: ([\d,]+) events, the buffers", recorded.stderr, re.MULTILINE)
    assert lost is not None, recorded.stderr
    assert sum(count["discarded"] for count in counted) == int(lost[1].replace(",", ""))
    (mine,) = [count for count in counted if pid_ns in count["container_id"] and count["rule"] == rule]
    assert mine["discarded"] > 1000
    assert re.search(
        rf"^left out, by container and event rule:$(\n .*)*\n .* {re.escape(rule)}: .* lost", recorded.stderr, re.M
    )
