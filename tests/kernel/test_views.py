"""What the host and the containers around a process see of it, of the live host and of a trace."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from boxtrace.containers.listing import PidRow
from boxtrace.errors import TraceFormatError
from boxtrace.trace import open_trace
from boxtrace.trace.containers import TraceContainers
from boxtrace.units import Nanoseconds
from support.recorder import BOXTRACE, Recorder, until
from support.require import require_program

_FIRST_ID, _IDS = 100_000, 65_536
_SLEEP = "read go; exec setpriv --reuid 33 --regid 34 --clear-groups sleep 987"


@contextmanager
def mapped_container() -> Iterator[tuple[int, Callable[[], None]]]:
    """A container with user ids of its own, and a process in it that becomes another user and sleeps.

    Yields that process's pid on the host, and what lets it go on.
    """
    with ExitStack() as stack:
        unshare = ["unshare", "--user", "--pid", "--mount", "--fork", "--kill-child", "sleep", "986"]
        holder = stack.enter_context(subprocess.Popen(unshare))
        stack.callback(holder.kill)
        init = until(lambda: child_of(holder.pid))
        for kind in ("uid", "gid"):
            Path(f"/proc/{init}/{kind}_map").write_text(f"0 {_FIRST_ID} {_IDS}\n")
        enter = ["nsenter", "-t", str(init), "-U", "-p", "-m", "-S", "0", "-G", "0", "sh", "-c", _SLEEP]
        shell = stack.enter_context(subprocess.Popen(enter, stdin=subprocess.PIPE))
        stack.callback(shell.kill)
        assert shell.stdin is not None
        stdin = shell.stdin
        pid = until(lambda: child_of(shell.pid))
        until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sh\n")

        def go() -> None:
            stdin.write(b"\n")
            stdin.flush()
            until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")

        yield pid, go


def child_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else 0


def boxtrace_json(*arguments: str) -> Any:
    return json.loads(subprocess.run([*BOXTRACE, *arguments, "--json"], check=True, capture_output=True).stdout)


def ids(row: PidRow) -> list[tuple[int | None, int | None]]:
    return [(view.uid, view.gid) for view in row.views]


def the_process(path: Path, pid: int) -> PidRow:
    (row,) = [row for row in TraceContainers(open_trace(path)).processes() if row.host_pid == pid]
    return row


def test_live_ids_at_both_levels() -> None:
    with mapped_container() as (pid, go):
        go()
        number = Path(f"/proc/{pid}/ns/pid").stat().st_ino
        (row,) = [row for row in boxtrace_json("pids", f"pidns-{number}") if row["host_pid"] == pid]
        # Who is inside sees it in a proc of that pid namespace.
        status = subprocess.run(
            ["nsenter", "-t", str(pid), "-U", "-p", "-m", "sh", "-c", "mount -t proc x /proc; cat /proc/*[0-9]/status"],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        inside = {}
        for text in status.split("Name:")[1:]:
            words = {line.split()[0]: line.split()[1] for line in text.splitlines()[1:] if len(line.split()) > 1}
            inside[int(words["Pid:"])] = (int(words["Uid:"]), int(words["Gid:"]))
        host, own = row["views"]
        assert (host["pid"], host["uid"], host["gid"]) == (pid, _FIRST_ID + 33, _FIRST_ID + 34)
        assert (own["uid"], own["gid"]) == inside[own["pid"]] == (33, 34)
        assert row["attributes"]["process.real_user.id"] == _FIRST_ID + 33
        assert row["threads"] == []
        threads = boxtrace_json("pids", f"pidns-{number}", "--threads")
        assert [pid, own["pid"]] in [ids for row in threads for ids in row["threads"]]


def test_paths_of_both_sides_mean_the_same_file(demo_container: Callable[..., Any], tmp_path: Path) -> None:
    container = demo_container("viewed", "sh", "-c", "sleep 987 & wait")
    live = until(lambda: [row for row in boxtrace_json("pids", "viewed") if row["name"] == "sleep"])[0]
    with Recorder(tmp_path / "trace", "-e", "sched_process_*") as recorder:
        recorder.stop()
    traced = the_process(tmp_path / "trace", live["host_pid"])
    exe = Path(f"/proc/{live['host_pid']}/exe").stat()
    for host, own in (
        [view["path"] for view in live["views"]],
        [view.path for view in traced.views],
    ):
        assert own == "/bin/busybox"
        assert os.path.samestat(Path(host).stat(), exe)
        assert os.path.samestat(Path(f"/proc/{container.init_pid}/root{own}").stat(), exe)
    tree = subprocess.run(
        [*BOXTRACE, "ps", "viewed", str(tmp_path / "trace")], check=True, capture_output=True, text=True
    )
    names = [line.split()[-1] for line in tree.stdout.splitlines()]
    assert names == ["NAME", "sh", "sleep"] and "  sleep" in tree.stdout


_OVERLAY = """
set -e
mkdir -p "$1/lower/bin" "$1/upper" "$1/work" "$1/merged"
cp "$2" "$1/lower/bin/busybox"
trap 'umount "$1/merged"' EXIT
mount -t overlay -o "lowerdir=$1/lower,upperdir=$1/upper,workdir=$1/work" overlay "$1/merged"
stat -c %d "$1/merged" >"$1/device"
unshare --pid --mount --fork chroot "$1/merged" /bin/busybox sh -c 'read go; exit 0'
"""
"""A container with a file system of its own, mounted on the host, as Docker makes it; it ends when told."""


def test_paths_on_the_host_of_containers_that_start_while_it_records(tmp_path: Path) -> None:
    """The second one's file system has the number that the first one's had."""
    roots, pids = [tmp_path / name for name in ("one", "two")], []
    with Recorder(tmp_path / "trace", "-e", "sched_process_exec") as recorder:
        for root in roots:
            since = time.time_ns()
            command = ["sh", "-c", _OVERLAY, "sh", str(root), require_program("busybox", "busybox-static")]
            with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
                pids.append(until(partial(busybox_of, root)))
                until(partial(told_mounts, tmp_path / "trace", pids[-1], since))
                process.communicate(b"\n")
            assert process.returncode == 0
        recorder.stop()
    assert len({(root / "device").read_text() for root in roots}) == 1
    paths = [[view.path for view in the_process(tmp_path / "trace", pid).views] for pid in pids]
    assert paths == [[f"{root}/merged/bin/busybox", "/bin/busybox"] for root in roots]


def busybox_of(root: Path) -> int:
    """The process that runs what is in this root directory; 0 if there is none."""
    return next((int(path.parent.name) for path in Path("/proc").glob("[0-9]*/exe") if runs(path, root)), 0)


def runs(exe: Path, root: Path) -> bool:
    try:
        return os.path.samestat(exe.stat(), (root / "merged/bin/busybox").stat())
    except OSError:
        return False


def told_mounts(path: Path, pid: int, since: int) -> bool:
    """Whether the mounts are in the trace that a process sees, and not those of before it had its root directory.

    :param since: when it had not started yet: its namespace's number may have been another one's.
    """
    number = Path(f"/proc/{pid}/ns/mnt").stat().st_ino
    try:
        told = [event for event in open_trace(path).events() if event.name == "statedump_mount"]
    except TraceFormatError:
        return False  # it is being written
    return any(
        event["mnt_ns"] == number and (event["mount_point"], event["source"]) == ("/", "overlay")
        for event in told
        if (event.timestamp or 0) >= since
    )


def test_path_on_the_host_of_a_selected_container(demo_container: Callable[..., Any], tmp_path: Path) -> None:
    container = demo_container("chosen", "sleep", "987")
    with Recorder(tmp_path / "trace", "--container", "chosen", "-e", "sched_process_*") as recorder:
        recorder.stop()
    host, own = the_process(tmp_path / "trace", container.init_pid).views
    assert own.path == "/bin/busybox" and host.path is not None
    assert os.path.samestat(Path(host.path).stat(), Path(f"/proc/{container.init_pid}/exe").stat())


def test_ids_in_a_trace(tmp_path: Path) -> None:
    with mapped_container() as (pid, go):
        go()
        with Recorder(tmp_path / "there", "-e", "sched_process_*") as recorder:
            recorder.stop()
        row = the_process(tmp_path / "there", pid)
        (live,) = [row for row in boxtrace_json("ps") if row["host_pid"] == pid]
    assert ids(row) == [(_FIRST_ID + 33, _FIRST_ID + 34), (33, 34)]
    assert [view.pid for view in row.views] == [view["pid"] for view in live["views"]]


def test_ids_that_are_set_while_it_records(tmp_path: Path) -> None:
    calls = ("-e", "sched_process_*", "-e", "syscall_*_set*id")
    contexts = ("--context", "procname,pid,tid,vpid,pid_ns,uid,vuid,gid,vgid")
    with (
        mapped_container() as (pid, go),
        Recorder(tmp_path / "plain", *calls) as plain,
        Recorder(tmp_path / "told", *calls, *contexts) as told,
    ):
        before = Nanoseconds(time.time_ns())
        go()
        plain.stop()
        told.stop()
    trace = TraceContainers(open_trace(tmp_path / "plain"))
    (process,) = [process for process in trace.state.processes if process.pid == pid]
    levels = [process.users.levels.at(at) for at in (before, None)]
    # What the host calls the ids that are set, only contexts tell.
    assert [[(level.uid, level.gid) for level in seen or ()] for seen in levels] == [
        [(_FIRST_ID, _FIRST_ID), (0, 0)],
        [(None, None), (33, 34)],
    ]
    assert ids(the_process(tmp_path / "told", pid)) == [(_FIRST_ID + 33, _FIRST_ID + 34), (33, 34)]
