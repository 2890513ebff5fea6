"""Clients of the user-space protocol against the real host; README.md says what the programs do."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from boxtrace.userspace.contexts import EventContexts
from boxtrace.userspace.rules import EventRules
from support.user import PYTHON_CLIENT, Recording, build, build_python_client

HERE = Path(__file__).parent
OWN = os.environ.get("CONFORMANCE_CLIENT")
CLIENTS = ["own"] if OWN else ["c", "c without contexts", "c++", "musl", "python", "pure python", "version 1"]
Start = Callable[..., Recording]


@pytest.fixture(scope="session", params=CLIENTS)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that runs a client's program."""
    if request.param == "own":
        return shlex.split(str(OWN))
    if request.param == "version 1":
        return [sys.executable, str(HERE / "client_v1.py")]
    if request.param == "python":
        path = build_python_client(tmp_path_factory.mktemp("python"))
        return ["env", f"PYTHONPATH={path}", sys.executable, str(HERE / "client.py")]
    if request.param == "pure python":
        return [
            "env",
            f"PYTHONPATH={PYTHON_CLIENT / 'src'}",
            "BOXTRACE_PURE=1",
            sys.executable,
            str(HERE / "client.py"),
        ]
    compiler = {"c++": "g++", "musl": "musl-gcc"}.get(request.param, "gcc")
    program = tmp_path_factory.mktemp("client") / "client"
    return [str(build(HERE / "client.c", program, compiler=compiler, contexts=request.param != "c without contexts"))]


def test_fields_have_their_types_and_values(client: list[str], record_user: Start) -> None:
    recording = record_user()
    recording.run(*client, "fields")
    first, second = recording.events()
    assert first.name == "conformance:fields" and first.record.event.loglevel == 6
    assert {name: value for name, value in first.payload.items() if not name.startswith("_")} == {
        "u8": 255,
        "i16": -32768,
        "u32": 4294967295,
        "i64": -(1 << 63),
        "address": 0xDEADBEEF,
        "f32": 1.5,
        "f64": -2.25,
        "text": "café",
        "colour": -3,
        "triple": [1, 2, 65535],
        "numbers": [-1, 2147483647],
        "tag": "tag",
    }
    assert (second["text"], second["numbers"], second["tag"]) == ("", [], "12345678")
    labels = first.record.event.fields.find("colour").mappings
    assert {mapping.label: mapping.ranges for mapping in labels} == {
        "RED": ((-5, -1),),
        "GREEN": ((0, 0),),
        "BLUE": ((1, 100),),
    }


def test_contexts_of_each_event_are_as_the_client_likes(
    client: list[str], record_user: Start, request: pytest.FixtureRequest
) -> None:
    """Who knows nothing of them records what it did without."""
    recording = record_user(contexts=EventContexts(ip=True))
    recording.run(*client, "fields")
    recording.run(*client, "large")
    events = recording.events()
    assert [event.get("text", event.get("n")) for event in events] == ["café", "", 1, 2]
    assert events[0]["tag"] == "tag" and recording.lost() == 1
    written = {event.get("ip", 0) != 0 for event in events}
    known = request.node.callspec.params["client"]
    assert known == "own" or written == {known not in ("version 1", "c without contexts")}


def test_every_event_is_recorded_or_counted_as_lost(client: list[str], record_user: Start) -> None:
    recording = record_user(ring_size=1 << 16)
    recording.run(*client, "count", "200000")
    numbers = [event["n"] for event in recording.events()]
    assert numbers == sorted(set(numbers))
    assert len(numbers) + recording.lost() == 200000
    assert recording.stop().lost == recording.lost()


def test_threads_have_streams_of_their_own(client: list[str], record_user: Start) -> None:
    recording = record_user(ring_size=1 << 20)
    recording.run(*client, "threads", "5000")
    by_thread = defaultdict(list)
    for event in recording.events():
        by_thread[event["tid"]].append(event["n"])
    assert len(by_thread) + (recording.lost() > 0) >= 4 and 0 not in by_thread
    assert sum(map(len, by_thread.values())) + recording.lost() == 20000
    assert all(numbers == sorted(set(numbers)) for numbers in by_thread.values())


def test_a_forked_child_is_another_client(client: list[str], record_user: Start) -> None:
    recording = record_user()
    recording.run(*client, "fork")
    parent, child, after = recording.events()
    assert [parent["n"], child["n"], after["n"]] == [1, 2, 3]
    assert parent["pid"] == parent["tid"] == after["pid"] == child["ppid"]
    assert child["pid"] == child["tid"] != parent["pid"]


def test_a_record_that_is_too_large_counts_as_lost(client: list[str], record_user: Start) -> None:
    recording = record_user()
    recording.run(*client, "large")
    assert [event["n"] for event in recording.events()] == [1, 2]
    assert recording.lost() == 1


def test_what_no_pattern_matches_is_not_recorded(client: list[str], record_user: Start) -> None:
    recording = record_user(patterns=["conformance:l*"])
    recording.run(*client, "count", "1000")
    assert recording.events() == []
    assert b"conformance:count" not in (recording.directory / "ust/metadata").read_bytes()


@pytest.mark.parametrize("scenario", ["nothing", "fields", "count", "threads", "fork", "large"])
def test_without_a_host_nothing_happens(client: list[str], scenario: str, tmp_path: Path) -> None:
    environment = dict(os.environ, BOXTRACE_SOCKET=str(tmp_path / "none"))
    done = subprocess.run([*client, scenario, "10"], env=environment, capture_output=True, timeout=20, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_a_killed_client_leaves_its_events(client: list[str], record_user: Start) -> None:
    recording = record_user(flush_seconds=60.0)
    with subprocess.Popen([*client, "forever", "100"], env=recording.environment()) as process:
        time.sleep(0.6)
        process.send_signal(signal.SIGKILL)
    time.sleep(0.1)
    numbers = [event["n"] for event in recording.events()]
    assert numbers == list(range(len(numbers))) and len(numbers) > 100


def test_a_disabled_type_is_not_recorded(client: list[str], record_user: Start) -> None:
    """The host changes its mind, twice; what it does not want is neither recorded nor lost."""
    recording = record_user()
    with subprocess.Popen([*client, "forever", "1000"], env=recording.environment()) as process:
        recording.wait_for_events(200)
        recording.host.enable(EventRules())
        time.sleep(0.5)
        before = recording.host.account.events
        time.sleep(0.5)
        after = recording.host.account.events
        recording.host.enable(EventRules(("conformance:*",)))
        recording.wait_for_events(after + 200)
        process.kill()
    assert before == after > 100
    numbers = [event["n"] for event in recording.events()]
    steps = [after - before for before, after in pairwise(numbers)]
    assert len(numbers) > after + 100 and not recording.lost()
    assert len([step for step in steps if step != 1]) == 1 and max(steps) > 100
