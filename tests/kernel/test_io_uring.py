"""Requests through io_uring are system calls in all but name: recorded without being asked for."""

from pathlib import Path

from support.recorder import check_valid, record_command
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
