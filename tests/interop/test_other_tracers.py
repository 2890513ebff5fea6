"""Traces that perf and barectf write here and now, read as babeltrace2 reads them, by both decoders."""

import subprocess
from pathlib import Path

import pytest
from test_babeltrace_text import assert_same_text

import boxtrace
from support.require import missing, require_program, require_root
from support.twins import assert_twins_agree

ROOT = Path(__file__).parents[2]
BARECTF = ROOT / ".venv" / "barectf" / "bin" / "barectf"
SOURCE = Path(__file__).parent / "barectf"


def run(*command: str | Path, cwd: Path) -> None:
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_barectf(tmp_path: Path) -> None:
    """Bit fields, enumerations, arrays, both ends of a packet's counters: a tracer that no other one resembles."""
    if not BARECTF.exists():
        missing("barectf is not installed (scripts/setup.sh test)")
    require_program("babeltrace2", "babeltrace2")
    run(BARECTF, "generate", SOURCE / "config.yaml", cwd=tmp_path)
    run("gcc", "-I.", SOURCE / "demo.c", "demo.c", "-o", "program", cwd=tmp_path)
    output = tmp_path / "trace"
    output.mkdir()
    (tmp_path / "metadata").rename(output / "metadata")
    run("./program", output / "stream", cwd=tmp_path)
    trace = boxtrace.open(output)
    events = assert_twins_agree(trace)
    losses = list(trace.losses())
    lost = sum(loss.count or 0 for loss in losses)
    assert lost > 0
    assert events + lost == 1000 + 200
    assert_same_text(output, losses=len(losses))


def test_perf(tmp_path: Path) -> None:
    """A trace without packets, of many event classes that have the fields of their tracepoints."""
    require_root()
    require_program("babeltrace2", "babeltrace2")
    perf = require_program("perf", "linux-perf")
    told = subprocess.run([perf, "data", "convert", "--help"], capture_output=True, text=True, check=False)
    if "--to-ctf" not in told.stdout + told.stderr:
        pytest.skip("this perf was built without CTF")
    events = ("sched:sched_switch", "sched:sched_wakeup", "syscalls:sys_enter_openat", "page-faults")
    chosen = [word for event in events for word in ("-e", event)]
    run(perf, "record", "-o", "perf.data", *chosen, "--", "sh", "-c", "ls -R /etc >/dev/null", cwd=tmp_path)
    run(perf, "data", "convert", "--to-ctf=trace", "-i", "perf.data", "--all", cwd=tmp_path)
    trace = boxtrace.open(tmp_path / "trace")
    assert assert_twins_agree(trace) > 20
    assert "syscalls:sys_enter_openat" in {event.name for event in trace.events()}
    assert trace.parts[0][1].environment["tracer_name"] == "perf"
    assert_same_text(tmp_path / "trace")
