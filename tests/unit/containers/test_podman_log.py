"""Podman's files of events: lines as Podman 4.3 writes them, and files that hold anything else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from boxtrace.containers import podman_log
from boxtrace.containers.events import ContainerEvent
from boxtrace.containers.podman_log import PodmanLogs
from boxtrace.containers.table import ProcessTable
from boxtrace.units import Nanoseconds

ID, OTHER = "a" * 64, "b" * 64
SECOND = 1_000_000_000
NOON = 1_790_000_000 * SECOND


def line(status: str, name: str = "web", identifier: str = ID, second: int = 0, **more: object) -> str:
    moment = f"2026-09-21T14:13:{20 + second}.5Z"
    told = {"ID": identifier, "Image": "busybox", "Name": name, "Status": status, "Time": moment, "Type": "container"}
    return json.dumps(told | more) + "\n"


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(podman_log, "_PLACES", (f"{tmp_path}/*",))
    (tmp_path / "one/events").mkdir(parents=True)
    (tmp_path / "proc").mkdir()  # no conmon runs
    return tmp_path / "one/events/events.log"


def logs(log: Path, since: int = 0) -> PodmanLogs:
    found = PodmanLogs(Nanoseconds(since))
    found.refresh(ProcessTable(log.parents[2] / "proc"))
    return found


def kinds(events: list[ContainerEvent]) -> list[tuple[str, str]]:
    return [(event.kind, event.name) for event in events]


def test_each_line_is_told_once(log: Path) -> None:
    log.write_text(line("create") + line("init") + line("rename", "shop"))
    found = logs(log)
    assert kinds(found.read()) == [("create", "web"), ("rename", "shop")]
    assert found.read() == []
    with log.open("a") as file:
        file.write(line("died", "shop", ContainerExitCode=7)[:-9])
        file.flush()
        assert found.read() == []  # it is not whole yet
        file.write(line("died", "shop", ContainerExitCode=7)[-9:])
    (event,) = found.read()
    assert (event.kind, event.runtime, event.id, event.name) == ("die", "podman", ID, "shop")
    assert (event.time, event.image, event.exit_code) == (NOON + SECOND // 2, "busybox", 7)


def test_what_was_before_is_known_but_not_told(log: Path) -> None:
    log.write_text(line("create") + line("rename", "shop", second=9))
    (event,) = logs(log, NOON + 5 * SECOND).read()
    assert (event.kind, event.name, event.old_name) == ("rename", "shop", "web")


def test_times_of_other_zones(log: Path) -> None:
    log.write_text(line("create", Time="2026-09-21T16:13:20.5+02:00"))
    assert [event.time for event in logs(log).read()] == [NOON + SECOND // 2]


def test_file_that_takes_its_place_is_read_from_its_start(log: Path) -> None:
    log.write_text(line("create"))
    found = logs(log)
    assert len(found.read()) == 1
    (log.parent / "new").write_text(line("start") + line("remove"))
    (log.parent / "new").replace(log)
    assert kinds(found.read()) == [("start", "web"), ("remove", "web")]


def test_other_users_files_tell_nothing_of_a_container(log: Path) -> None:
    """Who told of it first does."""
    log.write_text(line("create"))
    other = log.parents[2] / "two/events/events.log"
    other.parent.mkdir(parents=True)
    found = logs(log)
    assert len(found.read()) == 1
    other.write_text(line("rename", "evil") + line("create", "own", OTHER))
    assert kinds(found.read()) == [("create", "own")]


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\n[\n7\n{}\n" + b"[" * 200_000 + b"\n",
        line("create", identifier="../x").encode(),
        line("create", Time=7).encode(),
        line("create", Type="pod").encode(),
        line("explode").encode(),
    ],
    ids=["no-json", "id", "time", "pod", "kind"],
)
def test_lines_of_no_meaning_are_passed_over(log: Path, content: bytes) -> None:
    log.write_bytes(content + line("start").encode())
    assert kinds(logs(log).read()) == [("start", "web")]


def test_pipe_and_link_are_not_read(log: Path) -> None:
    os.mkfifo(log)
    found = logs(log)
    assert found.read() == []
    log.unlink()
    (log.parent / "real").write_text(line("create"))
    log.symlink_to("real")
    assert found.read() == []
