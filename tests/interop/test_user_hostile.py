"""A hostile client, in namespaces of its own, beside one that behaves: that one loses nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from boxtrace.session.user_contexts import event_contexts
from support.require import require_program, require_root
from support.user import ROOT, Recording, build, resident

CONTEXTS = ("ip", "perf:thread:page-faults", "perf:thread:task-clock")
HOSTILE = ROOT / "tests/support/hostile.py"
SECONDS = 20 if os.environ.get("CI") == "true" else 6
Start = Callable[..., Recording]


def count_descriptors() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def test_others_lose_nothing(record_user: Start, tmp_path: Path) -> None:
    require_root()
    require_program("unshare", "util-linux")
    require_program("babeltrace2", "babeltrace2")
    program = build(ROOT / "tests/conformance/client.c", tmp_path / "client")
    descriptors = count_descriptors()
    recording = record_user(flush_seconds=0.2, contexts=event_contexts(CONTEXTS))
    before = resident()
    with subprocess.Popen([program, "forever", "500"], env=recording.environment()) as good:
        unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--net", "--ipc", sys.executable]
        hostile = [
            subprocess.Popen([*unshare, HOSTILE, recording.path, str(SECONDS), str(seed)], stdout=subprocess.PIPE)
            for seed in range(2)
        ]
        rounds = [int(process.communicate(timeout=SECONDS + 30)[0]) for process in hostile]
        time.sleep(0.5)
        good.kill()
    peak = resident()
    account = recording.stop()
    assert count_descriptors() <= descriptors + 20
    assert min(rounds) > 20 and account.refused > 10
    assert peak - before < 64 << 20
    mine = [event for event in recording.events() if event["pid"] == good.pid]
    numbers = [event["n"] for event in mine]
    assert numbers == list(range(len(numbers))) and len(numbers) > SECONDS * 500
    read = subprocess.run(["babeltrace2", recording.directory], capture_output=True)  # of strings that need not be text
    assert read.returncode == 0, read.stderr[-2000:]
    assert read.stdout.count(b"\n") == len(recording.events()) == account.events
