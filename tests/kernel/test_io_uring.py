"""Requests through io_uring are system calls in all but name: recorded without being asked for."""

import subprocess
from pathlib import Path

from support.recorder import Recorder, check_valid, record_command
from support.require import missing
from support.workloads import Workload


def test_requests_are_events(workload: Workload, tmp_path: Path) -> None:
    recorded = record_command(tmp_path / "trace", command=[workload("uring"), 5])
    if recorded.status == 77:
        missing("this kernel has no io_uring")
    assert recorded.status == 0
    check_valid(recorded)
    submitted = recorded.named("io_uring_submit_req")
    assert [event["user_data"] for event in submitted] == [1, 2, 3, 4, 5]
    assert {event["op_str"] for event in submitted} == {"NOP"}
    completed = recorded.named("io_uring_complete")
    assert [event["user_data"] for event in completed] == [1, 2, 3, 4, 5]
    assert {event["procname"] for event in submitted} == {"uring"}


def test_what_the_kernels_threads_do_for_a_command_is_there(workload: Workload, tmp_path: Path) -> None:
    """The kernel tells of no fork when it makes a thread to carry out requests."""
    recorded = record_command(tmp_path / "trace", command=[workload("uring"), 5, "async"])
    if recorded.status == 77:
        missing("this kernel has no io_uring")
    assert recorded.status == 0
    check_valid(recorded)
    pid = recorded.named("io_uring_submit_req")[0]["pid"]
    completed = recorded.named("io_uring_complete")
    assert [(event["user_data"], event["pid"]) for event in completed] == [(i, pid) for i in range(1, 6)]
    assert any(event["tid"] != pid for event in completed)


def test_what_they_do_for_a_process_is_there(workload: Workload, tmp_path: Path) -> None:
    command = ["sh", "-c", 'read go; exec "$@"', "sh", workload("uring"), "5", "async"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        with Recorder(tmp_path / "trace", "-e", "io_uring_*", "--pid", process.pid) as recorder:
            process.stdin.write(b"\n")
            process.stdin.close()
            if process.wait() == 77:
                missing("this kernel has no io_uring")
            recorded = recorder.wait()
    assert process.returncode == 0
    check_valid(recorded)
    completed = recorded.named("io_uring_complete")
    assert [(event["user_data"], event["pid"]) for event in completed] == [(i, process.pid) for i in range(1, 6)]
