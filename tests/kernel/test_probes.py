"""Events that the user defines: functions of programs and USDT markers, on the host and in one container."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.recorder import BOXTRACE, Recorder, check_valid, record_command
from support.workloads import Workload

NOTHING_ELSE = ("-e", "sched_process_exec", "--no-state-dump")


@pytest.fixture
def marked(workload: Workload) -> Path:
    return workload("marked")


def test_function_and_marker_of_a_program(marked: Path, tmp_path: Path) -> None:
    probes = ("--uprobe", f":{marked}:work", "--usdt", f":{marked}:boxtrace_test:step")
    recorded = record_command(tmp_path / "trace", *NOTHING_ELSE, *probes, command=[marked, 5])
    assert recorded.status == 0
    check_valid(recorded)
    steps = recorded.named("boxtrace_test:step")
    assert [(step["arg0"], step["arg1"]) for step in steps] == [(i, -3 * i) for i in range(5)]
    works = recorded.named("work")
    assert len(works) == 5
    assert len({work["ip"] for work in works}) == 1
    names = [event.name for event in recorded.events if event.name in ("work", "boxtrace_test:step")]
    assert names == ["work", "boxtrace_test:step"] * 5


def test_a_probe_in_a_container_sees_that_container_only(
    marked: Path, demo_container: Callable[..., Any], tmp_path: Path
) -> None:
    script = "while true; do marked 3; sleep 0.1; done"
    demo_container("boxtrace-probed", "sh", "-c", script, programs=(marked,))
    demo_container("boxtrace-other", "sh", "-c", script, programs=(marked,))
    path = f"/bin/{marked.name}"
    usdt = f"boxtrace-probed:{path}:boxtrace_test:step"
    with Recorder(tmp_path / "trace", *NOTHING_ELSE, "--usdt", usdt, "--duration", "1s") as recorder:
        recorded = recorder.wait()
    check_valid(recorded)
    steps = recorded.named("boxtrace_test:step")
    assert len(steps) >= 3
    assert len({step["pid_ns"] for step in steps}) == 1
    assert {step["procname"] for step in steps} == {"marked"}


def test_a_kernel_function_is_recorded_or_the_kernels_refusal_is_told(tmp_path: Path) -> None:
    """tests/vm records functions on a kernel that permits it."""
    command = [*BOXTRACE, "record", "-o", str(tmp_path / "trace"), "--function", "ksys_write", "--", "true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    try:
        permitted = "ksys_write" in Path("/sys/kernel/tracing/available_filter_functions").read_text().split()
    except OSError:
        permitted = False
    if permitted:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 1
        assert "does not let kernel function 'ksys_write' be traced" in done.stderr and "hint: this" in done.stderr
        assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--usdt", ":{program}:boxtrace_test:stop", "has no marker boxtrace_test:stop"),
        ("--usdt", ":{program}:boxtrace_test:stepp", "did you mean boxtrace_test:step?"),
        ("--usdt", ":/etc/passwd:boxtrace_test:step", "not an ELF file"),
        ("--uprobe", ":{program}:nothing_at_all", "has no function 'nothing_at_all'"),
        ("--uprobe", ":{program}:wrok", "did you mean work"),
        ("--uprobe", ":/no/such/file:main", "cannot open /no/such/file"),
        ("--uprobe", "{program}:main", "is not CONTAINER:PATH:SYMBOL"),
        ("--uprobe", "nobody:{program}:main", "no container is named 'nobody'"),
        ("--function", "no_such_function", "has no function 'no_such_function'"),
        ("--function", "vfs_raed", "did you mean vfs_read"),
        ("--function", "__rcu_read_lock", "calls it whenever it runs a BPF program"),
    ],
)
def test_what_cannot_be_probed_is_told(marked: Path, tmp_path: Path, option: str, value: str, message: str) -> None:
    trace = tmp_path / "trace"
    command = [
        *BOXTRACE,
        "record",
        "-o",
        str(trace),
        option,
        value.format(program=marked),
        "--",
        sys.executable,
        "-c",
        "",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert not trace.exists()
