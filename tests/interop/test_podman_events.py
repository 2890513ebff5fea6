"""What Podman tells without its API service: by the files that it writes its events down in."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from boxtrace.containers import find
from boxtrace.trace.containers import TraceContainers
from support.recorder import Recorder, check_valid
from support.runtimes import PODMAN_IMAGE, PODMAN_LIMITS, podman_calls

ENDS_WITH_9 = ("sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.1; done")


def test_every_kind_of_event_and_the_last_name(tmp_path: Path) -> None:
    # A short path: Podman refuses long ones.
    with (
        tempfile.TemporaryDirectory(prefix="bt-") as text,
        podman_calls(Path(text)) as call,
        Recorder(tmp_path / "trace", "-e", "sched_process_*") as recorder,
    ):
        identifier = call("run", "--detach", "--name=before", *PODMAN_LIMITS, PODMAN_IMAGE, *ENDS_WITH_9)
        call("exec", "before", "true")
        call("pause", "before")
        call("unpause", "before")
        call("rename", "before", "after")
        live = find(identifier)
        call("stop", "after")
        call("rm", "after")
        recorded = recorder.stop()
    check_valid(recorded)
    assert (live.runtime, live.name) == ("podman", "after")
    events = [event for event in recorded.all_events if event.payload.get("id") == identifier]
    told = [event for event in events if event["runtime"] == "podman" and event.name != "container_metadata"]
    kinds = ["create", "start", "exec", "pause", "unpause", "rename", "die", "remove"]
    assert [event.name.removeprefix("container_") for event in told] == kinds
    assert [event["name"] for event in told] == ["before"] * 5 + ["after"] * 3
    assert [event["time"] for event in told] == sorted(event["time"] for event in told)
    by_kind = dict(zip(kinds, told, strict=True))
    assert (by_kind["rename"]["old_name"], by_kind["die"]["exit_code"]) == ("before", 9)
    (row,) = [row for row in TraceContainers(recorded.trace).rows() if row.container.id == identifier]
    assert (row.container.runtime, row.container.name, row.container.exit_code) == ("podman", "after", 9)
    assert row.begin is not None and row.end is not None and row.begin < row.end


def test_the_summary_has_the_last_name_of_who_was_there_before(tmp_path: Path) -> None:
    # A short path: Podman refuses long ones.
    with tempfile.TemporaryDirectory(prefix="bt-") as text, podman_calls(Path(text)) as call:
        call("run", "--detach", "--name=before", *PODMAN_LIMITS, PODMAN_IMAGE, *ENDS_WITH_9)
        with Recorder(tmp_path / "trace", "-e", "sched_process_*") as recorder:
            call("rename", "before", "after")
            call("exec", "after", "true")
            recorded = recorder.stop()
    check_valid(recorded)
    assert re.search(r"^  after +[1-9][\d,]* events", recorded.stderr, re.MULTILINE), recorded.stderr
    assert not re.search(r"^  before ", recorded.stderr, re.MULTILINE), recorded.stderr
