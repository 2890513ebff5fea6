"""Containers that Docker starts and ends while the host is recorded: named in the trace, each life its own."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from boxtrace.trace import open_trace
from support.dockerd import Dockerd, docker_daemon
from support.recorder import until

__all__ = ["docker_daemon"]

BOXTRACE = [sys.executable, "-c", "from boxtrace.cli.main import main; main()"]
# Programs of busybox that end at once: what a container's first process is called tells which container it was.
PROGRAMS = ("true", "false", "echo", "date", "id", "pwd", "whoami", "uname")
# What was needed before births had a channel of their own, and what has nothing to do with containers.
ASKED_FOR = {
    "processes": ("sched_process_*", "cgroup_*", "syscall_entry_exit_group"),
    "nothing": ("syscall_entry_exit_group",),
}


def boxtrace(*arguments: str | Path) -> str:
    done = subprocess.run([*BOXTRACE, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Recording:
    """``boxtrace record`` in the background, from its first event until the end of the block."""

    def __init__(self, output: Path, *options: str) -> None:
        self._command = [*BOXTRACE, "record", "--output", str(output), *options]
        self._log = output.with_name("log")

    def __enter__(self) -> None:
        with self._log.open("w") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while "recording to" not in self._log.read_text():
            assert self._process.poll() is None and time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)

    def __exit__(self, *error: object) -> None:
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(60) == 0, self._log.read_text()


@pytest.fixture(scope="module", params=ASKED_FOR)
def trace(
    docker_daemon: Dockerd, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[Path, dict[str, Any]]:
    """A recording in which short containers follow one another, with what Docker told of one that was there before."""
    events = [f"--event={event}" for event in ASKED_FOR[request.param]]
    output = tmp_path_factory.mktemp("names") / "trace"
    docker_daemon.run("before", "sh", "-c", "while sleep 0.2; do :; done")
    told = json.loads(docker_daemon.docker("inspect", "before"))[0]
    with Recording(output, *events):
        since = str(time.time())
        for program in PROGRAMS:
            docker_daemon.run(f"short-{program}", program)
            docker_daemon.docker("wait", f"short-{program}")
        until(lambda: _deaths(docker_daemon, since) == len(PROGRAMS), seconds=60)
    docker_daemon.remove_containers()
    return output, told


def _deaths(daemon: Dockerd, since: str) -> int:
    """Return how many Docker has told of: who waits for a container's end is told before the others are."""
    options = ("--since", since, "--until", str(time.time()), "--filter", "event=die", "--format", "{{.ID}}")
    return len(daemon.docker("events", *options).split())


def test_every_short_container_has_its_name(trace: tuple[Path, dict[str, Any]]) -> None:
    rows = {row["name"]: row for row in json.loads(boxtrace("containers", trace[0], "--json"))}
    short = {program: rows[f"short-{program}"] for program in PROGRAMS}
    assert {program: row["command"] for program, row in short.items()} == {program: program for program in PROGRAMS}
    assert len({(row["pid_ns"], row["begin"]) for row in short.values()}) == len(PROGRAMS)
    assert all(row["begin"] < row["end"] and row["state"] == "exited" for row in short.values())
    assert (short["true"]["exit_code"], short["false"]["exit_code"]) == (0, 1)


def test_events_of_a_short_container_are_only_its_own(trace: tuple[Path, dict[str, Any]]) -> None:
    rows = {row["name"]: row for row in json.loads(boxtrace("containers", trace[0], "--json"))}
    for program in PROGRAMS[:3]:
        lines = boxtrace("view", trace[0], "--json", "--container", f"short-{program}").splitlines()
        events = [json.loads(line) for line in lines]
        told = [event for event in events if event["name"].startswith("container_")]
        pids = {event["context"]["pid"] for event in events if event not in told}
        assert pids == {rows[f"short-{program}"]["init_pid"]}
        # Docker's own containerd keeps a directory for it, too, and knows no name.
        by_docker = [event for event in told if event["fields"].get("runtime") == "docker"]
        assert {event["fields"]["name"] for event in by_docker} == {f"short-{program}"}
        assert {"container_create", "container_start", "container_die"} <= {event["name"] for event in by_docker}


def test_container_that_was_there_before_agrees_with_docker(trace: tuple[Path, dict[str, Any]]) -> None:
    output, told = trace
    (row,) = [row for row in json.loads(boxtrace("containers", output, "--json")) if row["name"] == "before"]
    assert (row["id"], row["init_pid"], row["begin"]) == (told["Id"], told["State"]["Pid"], None)
    pids = json.loads(boxtrace("pids", "before", output, "--json"))
    assert (pids[0]["pid"], pids[0]["host_pid"]) == (1, told["State"]["Pid"])
    if "sched_process_fork" in open_trace(output).event_names():  # nobody else tells of its children
        assert len(pids) > 3
    assert len({item["pid"] for item in pids}) == len(pids)
    assert all(item["pids"] == [item["host_pid"], item["pid"]] for item in pids)
