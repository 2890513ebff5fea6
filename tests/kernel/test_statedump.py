"""The state dump says of every process and thread what /proc says at a quiet moment."""

import fcntl
import os
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.recorder import Recorded, Recorder, check_valid, until

_NS_GET_PARENT = 0xB702  # include/uapi/linux/nsfs.h
_OVERFLOW_ID = 65534
_PLAIN = ("cgroup", "ipc", "mnt", "net", "uts", "time")


@dataclass(frozen=True)
class Task:
    """A task by procfs: per nesting level from the outermost on, numbers in it and the namespace's inode number."""

    tid: int
    pid: int
    ppid: int
    name: str
    kernel_thread: bool
    uid: int
    gid: int
    vtids: tuple[int, ...]
    vpids: tuple[int, ...]
    pid_ns: tuple[int, ...]
    user_ns: tuple[int, ...]
    plain: tuple[int, ...]


def levels(path: Path) -> tuple[int, ...]:
    """Inode numbers of a hierarchical namespace and of those that it is nested in, the outermost first."""
    numbers: list[int] = []
    descriptor = os.open(path, os.O_RDONLY)
    try:
        while True:
            numbers.append(os.fstat(descriptor).st_ino)
            parent = fcntl.ioctl(descriptor, _NS_GET_PARENT)
            os.close(descriptor)
            descriptor = parent
    except PermissionError:  # there is none above
        return tuple(reversed(numbers))
    finally:
        os.close(descriptor)


def tasks() -> dict[int, Task]:
    """Every task that has not exited."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/task/[0-9]*"):
        with suppress(OSError, ValueError):
            lines = (path / "status").read_text().splitlines()
            status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
            found[int(path.name)] = Task(
                tid=int(path.name),
                pid=int(status["Tgid"]),
                ppid=int(status["PPid"]),
                name=status["Name"],
                kernel_thread="VmSize" not in status,  # only what has memory tells its size
                uid=int(status["Uid"].split()[0]),
                gid=int(status["Gid"].split()[0]),
                vtids=tuple(map(int, status["NSpid"].split())),
                vpids=tuple(map(int, status["NStgid"].split())),
                pid_ns=levels(path / "ns/pid"),
                user_ns=levels(path / "ns/user"),
                plain=tuple((path / "ns" / kind).stat().st_ino for kind in _PLAIN),
            )
    return found


def map_id(pid: int, kind: str, number: int) -> int:
    """What a host id is in the user namespace of a process."""
    for line in Path(f"/proc/{pid}/{kind}_map").read_text().splitlines():
        inside, outside, count = map(int, line.split())
        if outside <= number < outside + count:
            return inside + number - outside
    return _OVERFLOW_ID


@contextmanager
def run(*command: str) -> Iterator[int]:
    """A process that lives until the end; its children end with it where they ask for that."""
    with subprocess.Popen(command) as process:
        try:
            yield process.pid
        finally:
            process.kill()


EXTENTS = "".join(f"{index} {1000 + index} 1\n" for index in range(7)) + "70 0 1\n"

Dump = tuple[Recorded, dict[int, Task]]


@pytest.fixture(scope="module")
def dumped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dump]:
    nested = ("unshare", "-Upf", "--kill-child", "--map-root-user")
    threads = "import threading, time\nfor _ in range(3): threading.Thread(target=time.sleep, args=(99,)).start()"
    with (
        run(*nested, *nested, "sleep", "100"),
        run("unshare", "-muinCT", "python3", "-c", threads) as threaded,
        run("unshare", "-U", "sleep", "100") as mapped,
    ):
        until(lambda: Path(f"/proc/{mapped}/comm").read_text() == "sleep\n")
        Path(f"/proc/{mapped}/uid_map").write_text(EXTENTS)
        Path(f"/proc/{mapped}/gid_map").write_text(EXTENTS)
        until(lambda: len(list(Path(f"/proc/{threaded}/task").iterdir())) == 4)
        until(lambda: any(len(task.vtids) == 3 and task.name == "sleep" for task in tasks().values()))
        before = tasks()
        path = tmp_path_factory.mktemp("statedump") / "trace"
        with Recorder(path, "-e", "sched_process_exit", "-d", "1s") as recorder:
            recorded = recorder.wait()
        after = tasks()
        yield recorded, {tid: task for tid, task in before.items() if after.get(tid) == task}


def per_task(recorded: Recorded, name: str, value: Callable[[Any], Any]) -> dict[int, list[Any]]:
    """The values of all events of a name, by task."""
    found: dict[int, list[Any]] = defaultdict(list)
    for event in recorded.named(f"lttng_statedump_{name}"):
        found[event.payload["tid"]].append(value(event.payload))
    return found


def test_it_is_framed_and_valid(dumped: Dump) -> None:
    recorded, _ = dumped
    check_valid(recorded)
    names = [event.name for event in recorded.events if event.name.startswith("lttng_statedump")]
    assert names[0] == "lttng_statedump_start" and names[-1] == "lttng_statedump_end"
    assert names.count("lttng_statedump_start") == names.count("lttng_statedump_end") == 1


def test_every_task_is_there_once(dumped: Dump) -> None:
    recorded, quiet = dumped
    states = per_task(recorded, "process_state", lambda event: event)
    assert len(quiet) > 50
    assert quiet.keys() <= states.keys()
    assert {len(events) for events in states.values()} == {1}
    for tid, task in quiet.items():
        state = states[tid][0]
        assert (state["pid"], state["ppid"]) == (task.pid, task.ppid)
        assert state["type"] == int(task.kernel_thread), task
        if not task.kernel_thread:
            assert state["name"] == task.name


def test_numbers_in_every_pid_namespace(dumped: Dump) -> None:
    recorded, quiet = dumped
    fields = ("ns_level", "vtid", "vpid", "vppid", "ns_inum")
    events = per_task(recorded, "process_pid_ns", lambda event: tuple(event[field] for field in fields))
    for tid, task in quiet.items():
        parent = quiet.get(task.ppid)
        if parent is None and task.ppid:
            continue
        expected = []
        for level, ns in enumerate(task.pid_ns):
            seen = parent is not None and level < len(parent.pid_ns) and parent.pid_ns[level] == ns
            vppid = parent.vpids[level] if seen and parent is not None else 0
            expected.append((level, task.vtids[level], task.vpids[level], vppid, ns))
        assert sorted(events[tid]) == expected
    assert max(len(task.pid_ns) for task in quiet.values()) >= 3


def test_ids_in_every_user_namespace(dumped: Dump) -> None:
    recorded, quiet = dumped
    someone = {task.user_ns[-1]: task.pid for task in quiet.values()}
    fields = ("ns_level", "vuid", "vgid", "ns_inum")
    events = per_task(recorded, "process_user_ns", lambda event: tuple(event[field] for field in fields))
    several = 0
    for tid, task in quiet.items():
        expected = [
            (level, map_id(someone[ns], "uid", task.uid), map_id(someone[ns], "gid", task.gid), ns)
            for level, ns in enumerate(task.user_ns)
        ]
        assert sorted(events[tid]) == expected
        several += any(vuid == 70 for _, vuid, _, _ in expected)  # found in the last of eight extents
    assert max(len(task.user_ns) for task in quiet.values()) >= 3 and several >= 1


@pytest.mark.parametrize(("index", "kind"), list(enumerate(_PLAIN)))
def test_other_namespaces(dumped: Dump, index: int, kind: str) -> None:
    recorded, quiet = dumped
    events = per_task(recorded, f"process_{kind}_ns", lambda event: event["ns_inum"])
    assert {tid: events[tid] for tid in quiet} == {tid: [task.plain[index]] for tid, task in quiet.items()}
    assert len({task.plain[index] for task in quiet.values()}) >= 2


def test_of_a_selection_only_what_is_selected(tmp_path: Path) -> None:
    with (
        run("unshare", "-pf", "--kill-child", "sleep", "100") as outside,
        Recorder(tmp_path / "outside", "--pid", outside, "-d", "200ms") as recorder,
    ):
        recorded = recorder.wait()
        assert {event["tid"] for event in recorded.named("lttng_statedump_process_state")} == {outside}
        (inside,) = map(int, Path(f"/proc/{outside}/task/{outside}/children").read_text().split())
        pid_ns = Path(f"/proc/{inside}/ns/pid").stat().st_ino
        with Recorder(tmp_path / "inside", "--pid-ns", pid_ns, "-d", "200ms") as second:
            recorded = second.wait()
        assert {event["tid"] for event in recorded.named("lttng_statedump_process_state")} == {inside}
