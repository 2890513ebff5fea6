"""What Docker tells of containers while they are recorded, in the stream ``containers``, as babeltrace2 reads it."""

from __future__ import annotations

import gc
import json
import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from boxtrace.trace.containers import TraceContainers
from support.dockerd import BUSYBOX_IMAGE, Dockerd
from support.recorder import Recorder, babeltrace_counter, check_valid, until
from support.require import require_program, require_root
from support.runtimes import CRUN, Started, child_of, run, write_bundle

EVENTS = ("-e", "sched_process_*", "-e", "namespace_*", "-e", "cgroup_*")
QUIET = ("-e", "cgroup_rename", "--no-state-dump")  # nobody does that: only what runtimes tell
SHORT = int(os.environ.get("BOXTRACE_SHORT_CONTAINERS", "30"))
"""How many short ones; set the variable to measure with more."""
EAT = "x=aaaaaaaa; while :; do x=$x$x; done"


def told(trace: Path, name: str) -> list[tuple[str, str]]:
    """The events of the container of this name, or that was called so: what is each, and its text by babeltrace2."""
    if not (trace / "containers").exists():
        return []
    text = subprocess.run(["babeltrace2", trace / "containers"], capture_output=True, text=True, check=True).stdout
    lines = [re.fullmatch(r".* container_(\w+): (.*)", line) for line in text.splitlines()]
    found = [(match[1], match[2]) for match in lines if match is not None]
    return [(kind, fields) for kind, fields in found if f', name = "{name}"' in fields and kind != "metadata"]


def test_short_containers_of_docker_all_have_their_names(dockerd: Dockerd, tmp_path: Path) -> None:
    """Each ends with a status of its own: that of a name must be that of the process that is said to be its first."""
    codes = {f"short-{number}": number % 100 for number in range(SHORT)}

    def run(name: str) -> int:
        options = ("run", "--rm", "--network=none", f"--name={name}", f"--cidfile={tmp_path}/{name}", BUSYBOX_IMAGE)
        command = ["docker", "-H", dockerd.address, *options, "sh", "-c", f"exit {codes[name]}"]
        return subprocess.run(command, capture_output=True).returncode

    with Recorder(tmp_path / "trace", *EVENTS) as recorder:
        with ThreadPoolExecutor(4) as pool:
            assert dict(zip(codes, pool.map(run, codes), strict=True)) == codes
        recorded = recorder.stop()
    check_valid(recorded)
    rows = {row.container.name: row for row in TraceContainers(recorded.trace).rows()}
    ended = defaultdict(set)
    for event in recorded.named("namespace_exit"):
        ended[event["pid_ns"], event["pid"]].add(event["exit_code"])
    for name, code in codes.items():
        row = rows[name]
        assert (row.container.runtime, row.container.id) == ("docker", (tmp_path / name).read_text())
        assert row.container.exit_code == code and row.begin is not None and row.end is not None
        assert row.begin < row.end and row.container.init_pid is not None
        assert code in ended[row.container.pid_ns, row.container.init_pid]


def test_what_docker_does_to_a_container(dockerd: Dockerd, tmp_path: Path) -> None:
    with Recorder(tmp_path / "trace", *QUIET) as recorder:
        identifier = dockerd.run("old", "sleep", "1000")
        dockerd.docker("exec", "old", "echo", "inside")
        dockerd.docker("pause", "old")
        dockerd.docker("unpause", "old")
        dockerd.docker("rename", "old", "new")
        dockerd.docker("kill", "new")
        dockerd.docker("wait", "new")
        dockerd.docker("rm", "new")
        recorded = recorder.stop()
    check_valid(recorded)
    by_docker = [
        (kind, fields)
        for name in ("old", "new")
        for kind, fields in told(recorded.path, name)
        if 'runtime = "docker"' in fields and f'id = "{identifier}"' in fields
    ]
    kinds = [kind for kind, _ in by_docker]
    assert kinds == ["create", "start", "exec", "pause", "unpause", "rename", "die", "remove"]
    fields = dict(by_docker)
    assert 'command = "echo inside"' in fields["exec"]
    assert 'old_name = "old"' in fields["rename"] and 'name = "new"' in fields["rename"]
    assert "exit_code = 137" in fields["die"]


def test_container_over_its_memory_limit(dockerd: Dockerd, tmp_path: Path) -> None:
    with Recorder(tmp_path / "trace", "-e", "oom_victim", "--no-state-dump") as recorder:
        limits = ("--memory=16m", "--memory-swap=16m")
        dockerd.run("eater", "sh", "-c", EAT, options=limits)
        assert dockerd.docker("wait", "eater") == "137"
        assert json.loads(dockerd.docker("inspect", "eater"))[0]["State"]["OOMKilled"]
        recorded = recorder.stop()
    check_valid(recorded)
    kinds = [kind for kind, fields in told(recorded.path, "eater") if 'runtime = "docker"' in fields]
    assert {"oom", "die"} <= set(kinds)
    assert [event["comm"] for event in recorded.named("oom_victim")].count("sh") >= 1


def test_events_are_held_until_it_is_known_whether_the_container_is_wanted(dockerd: Dockerd, tmp_path: Path) -> None:
    """Docker tells that it creates a container before anybody can say what labels or processes that has."""
    with Recorder(tmp_path / "trace", "--label", "wanted=yes", *EVENTS) as recorder:
        for name, label in (("mine", "wanted=yes"), ("other", "wanted=no")):
            dockerd.run(name, "sleep", "1000", options=(f"--label={label}",))
            dockerd.docker("exec", name, "true")
            dockerd.docker("kill", name)
            dockerd.docker("wait", name)
        recorded = recorder.stop()
    check_valid(recorded)
    mine = [kind for kind, fields in told(recorded.path, "mine") if 'runtime = "docker"' in fields]
    assert mine == ["create", "start", "exec", "die"]
    assert told(recorded.path, "other") == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=True)
    yield disk
    gc.collect()  # a trace maps its files as long as it is there
    subprocess.run(["umount", disk], check=True)


def test_disk_that_is_full_when_docker_tells(dockerd: Dockerd, small_disk: Path) -> None:
    """What cannot be written is counted; what was written before can be read."""
    with Recorder(small_disk / "trace", *QUIET) as recorder:
        dockerd.run("before", "true")
        dockerd.docker("wait", "before")
        until(
            lambda: (small_disk / "trace/containers").exists() and "die" in dict(told(small_disk / "trace", "before"))
        )
        try:
            with (small_disk / "filler").open("wb", buffering=0) as filler:
                while filler.write(bytes(4096)):
                    pass
        except OSError:
            pass
        for number in range(8):  # more than what is left of the stream's last page
            dockerd.run(f"after-{number}", "true", options=(f"--label=long={'x' * 2000}",))
            dockerd.docker("wait", f"after-{number}")
        (small_disk / "filler").unlink()
        recorded = recorder.stop()
    assert recorded.status == 0, recorded.stderr
    assert "Traceback" not in recorded.stderr
    assert "not all that runtimes told is in the trace" in recorded.stderr
    assert "No space left on device" in recorded.stderr
    assert babeltrace_counter(recorded.path) == len(recorded.all_events) == recorded.summary_events
    assert [kind for kind, _ in told(recorded.path, "before")][:2] == ["create", "start"]


def pid_namespaces() -> dict[int, int]:
    """The pid namespace around each, as util-linux tells them; 0 around the host's."""
    command = ["lsns", "--json", "--type=pid", "--output=NS,PNS"]
    # It fails when any process of the machine ends while it looks at it.
    text = until(lambda: subprocess.run(command, capture_output=True, text=True).stdout)
    return {int(row["ns"]): int(row["pns"]) for row in json.loads(text)["namespaces"]}


def pid_ns(pid: int) -> int:
    return Path(f"/proc/{pid}/ns/pid").stat().st_ino


def descendants(pid: int) -> list[int]:
    children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return [pid, *(item for child in children for item in descendants(child))]


def test_containers_that_are_over_before_the_first_look_have_their_names(tmp_path: Path) -> None:
    """They start as soon as events are recorded, while runtimes are still being asked what runs."""
    require_root()
    require_program("crun", "crun")
    names = [f"first-{number}" for number in range(4)]
    for name in names:
        (tmp_path / name).mkdir()
        write_bundle(tmp_path / name, name, ("/bin/true",))
    with Recorder(tmp_path / "trace", *EVENTS) as recorder:
        for name in names:
            run(*CRUN, "run", f"--bundle={tmp_path}/{name}", name, stdin=subprocess.DEVNULL)
        recorded = recorder.stop()
    check_valid(recorded)
    found = {row.container.name: row for row in TraceContainers(recorded.trace).rows()}
    assert [(found[name].container.runtime, found[name].command) for name in names] == [("crun", "true")] * len(names)


def test_rootless_podman_and_a_container_in_a_container(
    start_container: Callable[..., Started], tmp_path: Path
) -> None:
    """In one trace: each process under the container, and that under the parent, which lsns and /proc tell."""
    script = ("/bin/sh", "-c", "/bin/sleep 1000 & /bin/sleep 1000; exit")
    outer = start_container("runc", "outer", *script)
    enter = ["nsenter", f"--target={outer.init_pid}", "--pid", "--net", "--ipc", "--uts"]
    with Recorder(tmp_path / "trace", *EVENTS) as recorder:
        rootless = start_container("rootless_podman", "rootless", *script)
        with subprocess.Popen([*enter, "unshare", "--pid", "--fork", "--kill-child", "sleep", "1000"]) as inside:
            try:
                monitor = until(lambda: child_of(inside.pid))  # unshare, a member of the outer one
                first = until(lambda: child_of(monitor))
                for init in (outer.init_pid, rootless.init_pid):
                    until(lambda init=init: len(descendants(init)) == 3)  # type: ignore[misc]
                pids = [monitor, first, *descendants(outer.init_pid), *descendants(rootless.init_pid)]
                spaces, around = {pid: pid_ns(pid) for pid in pids}, pid_namespaces()
                recorded = recorder.stop()
            finally:
                inside.kill()
    check_valid(recorded)
    names = {spaces[outer.init_pid]: "outer", spaces[rootless.init_pid]: "rootless", spaces[first]: "inner"}
    assert len(names) == 3 and around[spaces[first]] == spaces[outer.init_pid] == spaces[monitor]
    containers = TraceContainers(recorded.trace)
    rows = {row.container.pid_ns: row for row in containers.rows() if row.container.pid_ns in names}
    for number, name in names.items():
        parent = rows[number].parent
        assert (None if parent is None else parent.pid_ns) == (around[number] if name == "inner" else None)
        assert rows[number].container.name == (f"pidns-{number}" if name == "inner" else name)
    found = {row.host_pid: row.container for row in containers.processes() if row.host_pid in spaces}
    assert {pid: None if item is None else item.pid_ns for pid, item in found.items()} == spaces
