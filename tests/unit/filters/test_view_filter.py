import json
from pathlib import Path

import pytest

from boxtrace.cli.main import run

TRACE = Path(__file__).parents[2] / "data" / "lttng-kernel-trace"


def view(capfdbinary: pytest.CaptureFixture[bytes], *arguments: str) -> tuple[int, str, str]:
    status = run(["view", str(TRACE), *arguments])
    output, errors = capfdbinary.readouterr()
    return status, output.decode(), errors.decode()


def test_only_matching_events_are_shown(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    _, everything, _ = view(capfdbinary, "--json")
    status, shown, _ = view(capfdbinary, "--json", "--filter", 'fd > 2 && $ctx.procname == "*redis*"')
    events = [json.loads(line) for line in everything.splitlines()]
    wanted = [event for event in events if event["fields"].get("fd", 0) > 2 and "redis" in event["context"]["procname"]]
    assert status == 0
    assert [json.loads(line) for line in shown.splitlines()] == wanted
    assert len(wanted) > 100


def test_an_expression_for_none_of_the_events_is_an_error(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    status, output, errors = view(capfdbinary, "--filter", "prev_tid == 0 && nope")
    assert status == 1
    assert output == ""
    assert errors.splitlines()[0].endswith("sched_switch has no field 'nope'")
    assert errors.splitlines()[1:3] == ["  prev_tid == 0 && nope", "                   ^"]
