"""Births, lives and deaths of containers in the trace, as procfs and the file systems of cgroups tell of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from boxtrace.containers.cgroups import Hierarchies, hierarchy_numbers
from boxtrace.containers.model import CGROUP2, Cgroup, Namespaces
from boxtrace.trace import Event
from support.demo import remove_cgroup
from support.recorder import Recorded, Recorder, check_valid, until
from support.require import missing

BIRTHS = ("-e", "namespace_*", "-e", "cgroup:*", "-e", "oom_victim", "--no-state-dump")
WAIT = "echo ready; exec cat"
# clone3(2) into a cgroup, as recent runtimes do it; the child ends at once.
CLONE_INTO_CGROUP = """
import ctypes, os, struct, sys
directory = os.open(sys.argv[1], os.O_RDONLY)
arguments = struct.pack("<11Q", 1 << 33, 0, 0, 0, 17, 0, 0, 0, 0, 0, directory)
pid = ctypes.CDLL(None).syscall(435, ctypes.c_char_p(arguments), ctypes.c_size_t(len(arguments)))
if not pid:
    os._exit(0)
os.waitpid(pid, 0)
print(pid)
"""
EAT = "pieces = []\nwhile True: pieces.append(bytearray(b'x') * (1 << 20))"


def namespaces(pid: int) -> dict[str, int]:
    found = {f"{kind}_ns": Path(f"/proc/{pid}/ns/{kind}").stat().st_ino for kind in Namespaces.names()}
    return found | {f"{kind}_ns_for_children": inode(pid, f"{kind}_for_children") for kind in ("pid", "time")}


def inode(pid: int, kind: str) -> int:
    return Path(f"/proc/{pid}/ns/{kind}").stat().st_ino


def of(recorded: Recorded, name: str, pid: int, **fields: object) -> list[Event]:
    return [
        event
        for event in recorded.named(name)
        if event["pid"] == pid and all(event[field] == value for field, value in fields.items())
    ]


def told(event: Event, truth: dict[str, int]) -> dict[str, int]:
    return {name: event[name] for name in truth}


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose first output says that it runs; it is killed in the end."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.readline()
            yield process
        finally:
            process.kill()


def first_child(pid: int) -> int:
    return int(until(Path(f"/proc/{pid}/task/{pid}/children").read_text).split()[0])


def kill(pid: int) -> None:
    """Kill it, and wait for its end, so that it cannot end in another way first."""
    os.kill(pid, 9)
    until(lambda: not Path(f"/proc/{pid}").exists())


def test_unshare_and_setns_tell_the_namespaces_that_result(tmp_path: Path) -> None:
    apart_command = ("unshare", "--net", "--uts", "--ipc", "--mount", "--cgroup", "--user", "--map-root-user")
    with Recorder(tmp_path / "trace", *BIRTHS) as recorder:
        with running(*apart_command, "sh", "-c", WAIT) as apart:
            truth = namespaces(apart.pid)
            joins = ("nsenter", "--net", "--uts", "--ipc", f"--target={apart.pid}")
            with running(*joins, "sh", "-c", WAIT) as joined:
                joined_truth = namespaces(joined.pid)
        recorded = recorder.stop()
    check_valid(recorded)
    for pid, cause, expected in ((apart.pid, "unshare", truth), (joined.pid, "setns", joined_truth)):
        last = of(recorded, "namespace_change", pid)[-1]
        (executed,) = of(recorded, "namespace_exec", pid)
        assert told(last, expected) == told(executed, expected) == expected
        assert executed["filename"].endswith("/sh")
        number = {"unshare": 2, "setns": 3}[cause]
        assert (last["cause"], executed["cause"], last["tid"], last["vtid"]) == (number, number, pid, pid)
    assert joined_truth["net_ns"] == truth["net_ns"] != inode(os.getpid(), "net")


def test_first_process_of_a_pid_namespace_from_fork_to_exit(tmp_path: Path) -> None:
    outer = ("unshare", "--pid", "--fork", "--kill-child")
    with Recorder(tmp_path / "trace", *BIRTHS) as recorder:
        with running(*outer, "sh", "-c", WAIT) as waiting:
            init = first_child(waiting.pid)
            truth = namespaces(init)
            kill(init)
        with running(*outer, "unshare", "--pid", "--fork", "sh", "-c", WAIT) as around:
            middle = first_child(around.pid)
            inner = first_child(middle)
            inner_truth = namespaces(inner)
            kill(inner)
        for script in ("exit 7", "sleep 60 & exit 3"):
            subprocess.run([*outer, "sh", "-c", script], check=False)
        recorded = recorder.stop()
    check_valid(recorded)
    for pid, expected in ((init, truth), (inner, inner_truth)):
        (born,) = of(recorded, "namespace_change", pid, cause=1)
        assert told(born, expected) == expected and born["vtid"] == 1
        (executed,) = of(recorded, "namespace_exec", pid)
        assert told(executed, expected) == expected and executed["filename"].endswith("/sh")
        (ended,) = of(recorded, "namespace_exit", pid)
        assert (ended["pid_ns"], ended["exit_code"], ended["signal"]) == (expected["pid_ns"], 0, 9)
    codes = {event["exit_code"] for event in recorded.named("namespace_exit")}
    assert {7, 3} <= codes


def cgroup_directories() -> dict[str, Path]:
    """The root of each hierarchy that is mounted writable, by name."""
    found = {}
    for name in hierarchy_numbers():
        directory = Hierarchies().directory(Cgroup(name, "/"))
        if directory is not None and os.access(directory, os.W_OK) and not os.statvfs(directory).f_flag & os.ST_RDONLY:
            found[name] = directory
    return found


@contextmanager
def cgroup(directory: Path) -> Iterator[Path]:
    directory.mkdir()
    try:
        yield directory
    finally:
        remove_cgroup(directory)


@pytest.mark.parametrize("hierarchy", sorted(cgroup_directories()))
def test_life_of_a_cgroup(tmp_path: Path, hierarchy: str) -> None:
    number = hierarchy_numbers()[hierarchy]
    path = f"/boxtrace-{os.getpid()}"
    with Recorder(tmp_path / "trace", *BIRTHS) as recorder:
        with cgroup(cgroup_directories()[hierarchy] / path[1:]) as directory:
            identifier = directory.stat().st_ino
            if hierarchy.startswith("cpuset"):
                for name in ("cpuset.cpus", "cpuset.mems"):
                    (directory / name).write_text((directory.parent / name).read_text())
            with running("sh", "-c", f"echo $$ >{directory}/cgroup.procs; {WAIT}") as member:
                if hierarchy == CGROUP2:
                    (directory / "cgroup.freeze").write_text("1")
                    until(lambda: "frozen 1" in (directory / "cgroup.events").read_text())
                    (directory / "cgroup.freeze").write_text("0")
        recorded = recorder.stop()
    check_valid(recorded)
    events = [event for event in recorded.events if event.payload.get("path", event.payload.get("dst_path")) == path]
    for event in events:
        prefix = "dst_" if "dst_root" in event.payload else ""
        assert (event[f"{prefix}root"], event[f"{prefix}level"], event[f"{prefix}id"]) == (number, 1, identifier)
    frozen = ("freeze", "notify_frozen", "unfreeze", "notify_frozen") if hierarchy == CGROUP2 else ()
    names = ("mkdir", "notify_populated", "attach_task", *frozen, "notify_populated", "rmdir")
    assert [event.name.removeprefix("cgroup_") for event in events] == list(names)
    (moved,) = [event for event in events if event.name == "cgroup_attach_task"]
    assert (moved["pid"], moved["comm"]) == (member.pid, "sh")
    assert [event["val"] for event in events if event.name.endswith("populated")] == [1, 0]


def test_process_that_is_cloned_into_a_cgroup(tmp_path: Path) -> None:
    root = cgroup_directories().get(CGROUP2)
    if root is None:
        missing("no writable cgroup of version 2")
    with Recorder(tmp_path / "trace", *BIRTHS) as recorder:
        with cgroup(root / f"boxtrace-into-{os.getpid()}") as directory:
            identifier = directory.stat().st_ino
            command = [sys.executable, "-c", CLONE_INTO_CGROUP, str(directory)]
            pid = int(subprocess.run(command, check=True, capture_output=True).stdout)
        recorded = recorder.stop()
    (born,) = of(recorded, "namespace_change", pid)
    assert (born["cause"], born["cgroup_id"]) == (1, identifier)


def test_process_that_is_killed_for_memory(tmp_path: Path) -> None:
    found = cgroup_directories()
    name = next((name for name in found if "memory" in name.split(",")), CGROUP2)
    limit = {CGROUP2: "memory.max"}.get(name, "memory.limit_in_bytes")
    with Recorder(tmp_path / "trace", *BIRTHS) as recorder:
        with cgroup(found[name] / f"boxtrace-oom-{os.getpid()}") as directory:
            (directory / limit).write_text(str(64 << 20))
            script = f'echo $$ >{directory}/cgroup.procs; exec {sys.executable} -c "{EAT}"'
            killed = subprocess.Popen(["sh", "-c", script])
            assert killed.wait(60) == -9
        recorded = recorder.stop()
    check_valid(recorded)
    (victim,) = [event for event in recorded.named("oom_victim") if event["pid"] == killed.pid]
    assert victim["comm"].startswith("python")


def test_what_happens_to_a_selected_container_from_outside(tmp_path: Path) -> None:
    root = cgroup_directories().get(CGROUP2)
    if root is None:
        missing("no writable cgroup of version 2")
    name = f"boxtrace-box-{os.getpid()}"
    with cgroup(root / name) as directory, cgroup(root / f"{name}-other") as other:
        script = f"echo $$ >{directory}/cgroup.procs; exec unshare --pid --fork sh -c '{WAIT}'"
        with running("sh", "-c", script) as process:
            arguments = ("--container", name, *BIRTHS)
            with Recorder(tmp_path / "trace", *arguments) as recorder:
                for place in (directory, other):
                    with cgroup(place / "below"):
                        pass
                    (place / "cgroup.freeze").write_text("1")
                    (place / "cgroup.freeze").write_text("0")
                with running("unshare", "--pid", "--fork", "sh", "-c", WAIT):
                    pass
                init = first_child(process.pid)
                process.kill()
                os.kill(init, 9)
                recorded = recorder.wait()
    check_valid(recorded)
    paths = {event["path"] for event in recorded.events if "path" in event.payload}
    assert paths == {f"/{name}", f"/{name}/below"}
    assert {event.name for event in recorded.events} >= {"cgroup_mkdir", "cgroup_rmdir", "cgroup_freeze"}
    assert [event["pid"] for event in recorded.named("namespace_exit")] == [init]
    assert not recorded.named("namespace_change")
