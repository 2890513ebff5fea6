"""Events of runtimes: from what a daemon says to a stream that is read again."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_store import EXITED, HOST_PID, NESTED, WEB

from boxtrace.containers.engine import runtime_event
from boxtrace.containers.events import ContainerEvent, from_values, to_values
from boxtrace.containers.lowlevel import Crun
from boxtrace.containers.model import Container, Namespaces
from boxtrace.containers.states import StateDirectories
from boxtrace.containers.table import ProcessTable
from boxtrace.containers.watch import ContainerWatch
from boxtrace.session.candidates import Candidate, is_same
from boxtrace.session.clock import monotonic_clock
from boxtrace.session.container_stream import ContainerStream
from boxtrace.trace import open_trace
from boxtrace.trace.told import read_told
from boxtrace.units import NamespaceInum, Nanoseconds, Pid
from support.recorder import until

ID = "ab" * 32


def docker_event(action: str, **attributes: str) -> dict[str, Any]:
    everything = {"name": "web", "image": "redis:7", **attributes}
    return {"Action": action, "Actor": {"ID": ID, "Attributes": everything}, "timeNano": 17}


@pytest.mark.parametrize(
    ("event", "kind", "fields"),
    [
        (docker_event("create"), "create", {"image": "redis:7", "name": "web", "time": 17}),
        (docker_event("start"), "start", {}),
        (docker_event("exec_start: sh -c ls"), "exec", {"command": "sh -c ls"}),
        (docker_event("die", exitCode="137"), "die", {"exit_code": 137}),
        (docker_event("died", containerExitCode="3"), "die", {"exit_code": 3}),  # Podman
        (docker_event("die", exitCode="many"), "die", {"exit_code": None}),
        (docker_event("destroy"), "remove", {}),
        (docker_event("rename", oldName="/old"), "rename", {"old_name": "old"}),
        (docker_event("oom"), "oom", {}),
        (docker_event("create", name="a\x1b[2Jb"), "create", {"name": r"a\x1b[2Jb"}),
    ],
)
def test_what_a_daemon_tells(event: dict[str, Any], kind: str, fields: Mapping[str, object]) -> None:
    found = runtime_event("docker", event)
    assert found is not None and (found.kind, found.runtime, found.id) == (kind, "docker", ID)
    assert {key: getattr(found, key) for key in fields} == fields


@pytest.mark.parametrize(
    "event",
    [
        {},
        docker_event("exec_create: sh"),
        docker_event("top"),
        {"Action": "die", "Actor": {"ID": "../x"}},
        {"Action": 7},
    ],
)
def test_what_a_trace_has_no_event_for(event: dict[str, Any]) -> None:
    assert runtime_event("docker", event) is None


@pytest.mark.parametrize("container", [WEB, NESTED, HOST_PID, EXITED])
def test_description_is_read_again(container: Container) -> None:
    assert from_values(to_values(container, Nanoseconds(1))) == container


@pytest.mark.parametrize("ctf2", [False, True])
def test_stream_is_read_again(tmp_path: Path, ctf2: bool) -> None:
    stream = ContainerStream(tmp_path, monotonic_clock(), ctf2=ctf2)
    before = time.time_ns()
    stream.describe([WEB, EXITED], dump=True)
    for kind in ("create", "start", "exec", "pause", "unpause", "oom", "die", "remove", "rename"):
        stream.tell([ContainerEvent(kind=kind, runtime="crun", id="box", name="box", time=Nanoseconds(5), exit_code=2)])
    stream.describe([replace(WEB, state="exited", exit_code=0, ended=Nanoseconds(9))])
    stream.close()
    trace = open_trace(tmp_path)
    events = list(trace.events())
    names = [event.name.removeprefix("container_") for event in events]
    assert names[:4] == ["statedump_start", "metadata", "metadata", "statedump_end"]
    assert names[4:] == ["create", "start", "exec", "pause", "unpause", "oom", "die", "remove", "rename", "metadata"]
    assert stream.events == len(events) and stream.lost == 0
    assert all(before - 10**9 < (event.timestamp or 0) < time.time_ns() + 10**9 for event in events)
    told = read_told(trace)
    assert told.deaths == {"box": [(5, 2)]}
    by_name = {item.name: item for item in told.containers}
    assert set(by_name) == {"web", "old", "box"}
    assert (by_name["web"].state, by_name["web"].identity) == ("exited", WEB.identity)
    assert (by_name["box"].state, by_name["box"].exit_code) == ("exited", 2)


def test_trace_that_nobody_told_anything_for_has_no_such_part(tmp_path: Path) -> None:
    stream = ContainerStream(tmp_path, monotonic_clock())
    stream.describe([], dump=True)
    stream.close()
    assert list(tmp_path.iterdir()) == []


def test_runtime_that_knows_more_names_what_runs_for_it(tmp_path: Path) -> None:
    stream = ContainerStream(tmp_path, monotonic_clock())
    stream.tell([ContainerEvent(kind="create", runtime="docker", id=ID, name="early", image="redis:7")])
    stream.tell([ContainerEvent(kind="create", runtime="containerd", id=ID, name=ID[:12])])
    seen = replace(WEB, runtime="containerd", name=ID[:12], image=None)
    stream.describe([seen, replace(seen, birth=Nanoseconds(9_000_000_000))])
    stream.tell([ContainerEvent(kind="rename", runtime="docker", id=ID, name="late", old_name="early")])
    stream.close()
    told = read_told(open_trace(tmp_path)).containers
    assert [(item.runtime, item.name, item.image) for item in told] == [("docker", "late", "redis:7")] * 2


class _Kept:
    """A runtime that keeps its containers in a directory."""

    name = "crun"

    def __init__(self, root: Path) -> None:
        self.root = root

    def watched(self, processes: ProcessTable) -> tuple[tuple[str, str], ...]:
        return ((str(self.root), "status"),)


def test_directories_tell_of_the_shortest_lives(tmp_path: Path) -> None:
    root = tmp_path / "run" / "crun"
    (root / "there-before").mkdir(parents=True)
    told: list[ContainerEvent] = []
    states = StateDirectories([_Kept(root)], ProcessTable(), told.append)  # type: ignore[list-item]
    for number in range(300):
        (root / f"box-{number}").mkdir()
        (root / f"box-{number}").rmdir()
    (root / "there-before").rmdir()
    (root / ".cache").mkdir()
    (root / "stays").mkdir()
    (root / "stays" / "status").write_text("{}")
    written = [states.follow(0.1) for _ in range(30)]
    states.close()
    for kind in ("create", "remove"):
        ids = [event.id for event in told if event.kind == kind]
        assert ids[:300] == [f"box-{number}" for number in range(300)] or kind == "remove"
        assert {f"box-{number}" for number in range(300)} <= set(ids)
    assert ("remove", "there-before") in {(event.kind, event.id) for event in told}
    assert ("create", "stays") in {(event.kind, event.id) for event in told}
    assert ".cache" not in {event.id for event in told}
    assert any(written)


@pytest.mark.parametrize("pattern", ["state/crun", "linked/crun", "st*/c?un", "state/deep/er/crun"])
def test_directory_of_a_runtime_that_appears_later(tmp_path: Path, pattern: str) -> None:
    """Also by a link, and beside directories that are of no interest."""
    told: list[ContainerEvent] = []
    (tmp_path / "state").mkdir()
    (tmp_path / "linked").symlink_to("state")
    runtimes = [_Kept(tmp_path / pattern), _Kept(tmp_path / "state" / "other")]
    states = StateDirectories(runtimes, ProcessTable(), told.append)  # type: ignore[arg-type]
    (tmp_path / "state" / "of-no-interest").mkdir()
    root = tmp_path / pattern.replace("*", "ate").replace("?", "r")
    (root / "first").mkdir(parents=True)
    for _ in range(5):
        states.follow(0.1)
    states.close()
    assert [(event.kind, event.id) for event in told] == [("create", "first")]


def test_numbers_of_namespaces_are_unsigned() -> None:
    namespaces = replace(WEB.namespaces, pid=NamespaceInum(2**32 - 1)) if WEB.namespaces else None
    container = replace(WEB, namespaces=namespaces)
    assert from_values(to_values(container, Nanoseconds(0))) == container


def test_a_container_that_nobody_was_in_time_to_look_at_is_known(tmp_path: Path) -> None:
    records: list[Container] = []
    told: list[ContainerEvent] = []
    root = tmp_path / "crun"
    root.mkdir()
    with ContainerWatch(records.extend, engines={}, runtimes=[Crun((str(root),))], tell=told.extend) as watch:
        until(lambda: watch.follows_directories)
        for number in range(20):
            (root / f"box-{number}").mkdir()
            (root / f"box-{number}").rmdir()
        (root / "read").mkdir()
        (root / "read" / "status").write_text('{"pid": 4194305}')
        until(lambda: "read" in {item.id for item in records})
        (root / "read" / "status").unlink()
        (root / "read").rmdir()
    assert [item.id for item in records if item.id != "read"] == [f"box-{number}" for number in range(20)]
    assert {(item.runtime, item.init_pid, item.name == item.id) for item in records} == {("crun", None, True)}
    assert [event.id for event in told if event.kind == "remove"] == [*(f"box-{n}" for n in range(20)), "read"]


@pytest.mark.parametrize(
    ("identifier", "cgroup", "same"),
    [
        ("web", "web", True),
        ("web", "crun-web.scope", True),
        ("web", "web-2", False),
        ("web", "", False),
        (ID, f"x{ID}", True),
    ],
)
def test_newborn_is_known_by_its_cgroup(identifier: str, cgroup: str, same: bool) -> None:
    namespaces = Namespaces(*[NamespaceInum(7)] * 8)
    newborn = Candidate(2, 0, Pid(5), Nanoseconds(1), False, Nanoseconds(1), namespaces, ("", cgroup))
    assert is_same(newborn, Container("crun", identifier, identifier, "stopped")) is same


@pytest.mark.parametrize(
    ("pid", "start", "same"), [(5, 10_000_000, True), (5, 40_000_000, False), (6, 10_000_000, False)]
)
def test_newborn_is_not_another_with_the_same_number_within_a_clock_tick(pid: int, start: int, same: bool) -> None:
    namespaces = Namespaces(*[NamespaceInum(7)] * 8)
    newborn = Candidate(2, 0, Pid(5), Nanoseconds(1), False, Nanoseconds(13_000_000), namespaces, ("", ""))
    told = Container("crun", "b", "b", "running", init_pid=Pid(pid), namespaces=namespaces, birth=Nanoseconds(start))
    assert is_same(newborn, told) is same
