"""``make demo``: a container that is made, recorded and shown."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from support.require import require_program, require_root

DEMO = Path(__file__).resolve().parents[2] / "demo" / "run.sh"


def test_the_demo_shows_the_container_its_processes_and_its_events() -> None:
    require_root()
    require_program("busybox", "busybox-static")
    boxtrace = Path(sys.executable).with_name("boxtrace")
    done = subprocess.run([str(DEMO), str(boxtrace)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    sections = dict(re.findall(r"\$ boxtrace (\w+)[^\n]*\n(.*?)(?=\n\x1b|\nThe trace)", done.stdout, re.DOTALL))
    assert set(sections) == {"containers", "pids", "record", "view"}
    recorded = re.search(r"^  demo-\d+ +([\d,]+) events$", sections["record"], re.MULTILINE)
    assert recorded is not None, sections["record"]
    assert int(recorded[1].replace(",", "")) > 100
    assert re.search(r"^ +1 +\d+ .* sh$", sections["pids"], re.MULTILINE)
    assert 'filename = "/tmp/orders"' in done.stdout
    assert " sched_process_exec: " in sections["view"]
