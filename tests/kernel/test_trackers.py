"""Every kind of tracker, on one recording that is changed while it runs; procfs says who has which id."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from boxtrace.containers.cgroups import Hierarchies
from boxtrace.containers.model import CGROUP2, Cgroup
from boxtrace.session.control import ask_recording
from support.demo import remove_cgroup
from support.recorder import BOXTRACE, Recorder
from support.require import require_root

pytestmark = pytest.mark.usefixtures("_root")
CALLS = 3
POKED = f"""
import ctypes, os, sys
if sys.argv[1:]:
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[1]))
print(os.readlink("/proc/self"), flush=True)
for line in sys.stdin:
    if line.strip():
        ctypes.CDLL(None).prctl(15, line.strip().encode(), 0, 0, 0)
    for _ in range({CALLS}):
        os.getppid()
    print("done", flush=True)
"""
EVENTS = ("-e", "syscall_entry_getppid", "--context", "pid", "--no-state-dump")


@pytest.fixture
def _root() -> None:
    require_root()


class Poked:
    """A process that calls getppid a few times when it is told to."""

    def __init__(self, *before: str, ids: tuple[str, ...] = ()) -> None:
        command = [*before, sys.executable, "-c", POKED, *ids]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = int(self._read())

    def _read(self) -> str:
        assert self._process.stdout is not None
        line: str = self._process.stdout.readline()
        return line

    def poke(self, name: str = "") -> None:
        """Have it call, under a new name if one is given."""
        assert self._process.stdin is not None
        self._process.stdin.write(name + "\n")
        self._process.stdin.flush()
        assert self._read() == "done\n"

    def namespace(self, kind: str) -> int:
        return Path(f"/proc/{self.pid}/ns/{kind}").stat().st_ino

    def __enter__(self) -> Poked:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def processes() -> Iterator[dict[str, Poked]]:
    require_root()
    with ExitStack() as stack:

        def start(*before: str, ids: tuple[str, ...] = ()) -> Poked:
            return stack.enter_context(Poked(*before, ids=ids))

        everywhere = ("unshare", "--mount", "--uts", "--ipc", "--net", "--cgroup", "--time")
        outer = start("unshare", "--pid", "--fork")
        inside = ("nsenter", f"--pid=/proc/{outer.pid}/ns/pid", "unshare", "--pid", "--fork")
        mapped = start("unshare", "--user", "--map-user=777", "--map-group=888")
        within = ("nsenter", f"--user=/proc/{mapped.pid}/ns/user", "--preserve-credentials")
        yield {
            "plain": start(),
            "nobody": start(ids=("12345", "54321")),
            "apart": start(*everywhere),
            "outer": outer,
            "inner": start(*inside),
            "mapped": mapped,
            "mapped-inner": start(*within, "unshare", "--user"),
        }


@pytest.fixture(scope="module")
def recorded(processes: dict[str, Poked], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., set[str]]:
    """Record while one kind after the other is tracked; return what tells whose calls were recorded in a phase."""
    apart, inner, outer = processes["apart"], processes["inner"], processes["outer"]
    mapped, nobody = processes["mapped"], processes["nobody"]
    phases: dict[str, list[tuple[str, ...]]] = {
        **{
            f"{kind}-ns": [(f"{kind}-ns", str(apart.namespace(name)))]
            for kind, name in (("mnt", "mnt"), ("uts", "uts"), ("ipc", "ipc"), ("net", "net"), ("cgroup", "cgroup"))
        },
        "time-ns": [("time-ns", str(apart.namespace("time")))],
        "not net-ns": [("net-ns", f"!{apart.namespace('net')}")],
        "pid-ns": [("pid-ns", str(outer.namespace("pid")))],
        "=pid-ns": [("pid-ns", f"={outer.namespace('pid')}")],
        "pid-ns without": [("pid-ns", str(outer.namespace("pid")), f"!{inner.namespace('pid')}")],
        "not pid-ns": [("pid-ns", f"!{outer.namespace('pid')}")],
        "user-ns": [("user-ns", str(mapped.namespace("user")))],
        "=user-ns": [("user-ns", f"={mapped.namespace('user')}")],
        "vpid": [("vpid", "1")],
        "uid": [("uid", "12345")],
        "gid": [("gid", "54321")],
        "vuid": [("vuid", "777")],
        "vgid": [("vgid", "888")],
        "pid": [("pid", str(nobody.pid), str(apart.pid))],
        "not pid": [("pid", f"!{nobody.pid}", f"!{apart.pid}")],
        "uid and pid": [("uid", "12345", "0"), ("pid", str(nobody.pid))],
        "uid and other pid": [("uid", "12345"), ("pid", str(apart.pid))],
        "ten thousand": [("uid", *(str(number) for number in range(5000, 15000)))],
        "nothing": [],
    }
    counts: dict[str, set[str]] = {}
    marks: list[tuple[str, int]] = []
    pids = {process.pid: name for name, process in processes.items()}
    with Recorder(tmp_path_factory.mktemp("trackers") / "trace", *EVENTS) as recorder:
        pid = recorder.process.pid
        for phase, sets in phases.items():
            for kind, *values in sets:
                ask_recording("track", pid, kind=kind, values=values)
            marks.append((phase, time.time_ns()))
            for process in processes.values():
                process.poke()
            marks.append(("", time.time_ns()))
            for kind, *_ in sets:
                answer = ask_recording("untrack", pid, kind=kind, values=[])
            assert not sets or not answer["sets"]
        done = recorder.stop()
    for event in done.events:
        phase = next((name for name, time in reversed(marks) if time <= event.timestamp), "")
        pid = event["pid"]
        if phase and pid in pids:
            counts.setdefault(f"{phase}/{pids[pid]}", set()).add(str(event.timestamp))
    whole = {key for key, times in counts.items() if len(times) == CALLS}
    assert whole == set(counts), "a process is recorded in a phase as a whole or not at all"

    def names(phase: str) -> set[str]:
        assert phase in phases
        return {key.partition("/")[2] for key in whole if key.partition("/")[0] == phase}

    return names


ALL = {"plain", "nobody", "apart", "outer", "inner", "mapped", "mapped-inner"}


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        *((f"{kind}-ns", {"apart"}) for kind in ("mnt", "uts", "ipc", "net", "cgroup", "time")),
        ("not net-ns", ALL - {"apart"}),
        ("pid-ns", {"outer", "inner"}),
        ("=pid-ns", {"outer"}),
        ("pid-ns without", {"outer"}),
        ("not pid-ns", ALL - {"outer", "inner"}),
        ("user-ns", {"mapped", "mapped-inner"}),
        ("=user-ns", {"mapped"}),
        ("vpid", {"outer", "inner"}),
        ("uid", {"nobody"}),
        ("gid", {"nobody"}),
        ("vuid", {"mapped"}),
        ("vgid", {"mapped"}),
        ("pid", {"nobody", "apart"}),
        ("not pid", ALL - {"nobody", "apart"}),
        ("uid and pid", {"nobody"}),
        ("uid and other pid", set()),
        ("ten thousand", {"nobody"}),
        ("nothing", ALL),
    ],
)
def test_a_kind(recorded: Callable[[str], set[str]], phase: str, expected: set[str]) -> None:
    assert recorded(phase) == expected


@pytest.mark.parametrize("kind", ["uid", "gid", "net-ns", "mnt-ns"])
def test_who_is_wanted_by_a_call_of_its_own_is_recorded_from_then_on(
    processes: dict[str, Poked], tmp_path: Path, kind: str
) -> None:
    """Though the CPU ran nobody else in between."""
    apart = processes["apart"]
    value, *entering = {
        "uid": ("12345", "setpriv", "--reuid=12345", "--clear-groups"),
        "gid": ("54321", "setpriv", "--regid=54321", "--clear-groups"),
        "net-ns": (str(apart.namespace("net")), "nsenter", f"--net=/proc/{apart.pid}/ns/net"),
        "mnt-ns": (str(apart.namespace("mnt")), "nsenter", f"--mount=/proc/{apart.pid}/ns/mnt"),
    }[kind]
    events = ("-e", "syscall_entry_execve", "--no-state-dump")
    with Recorder(tmp_path / "trace", *events, f"--{kind}", value) as recorder:
        for number in range(5):
            subprocess.run([*entering, "/bin/echo", str(number)], check=True, stdout=subprocess.DEVNULL)
        done = recorder.stop()
    programs = [event["args"] for event in done.named("syscall_entry_execve")]
    assert programs == [["/bin/echo", str(number)] for number in range(5)]


def test_a_name_is_followed(tmp_path: Path) -> None:
    names = ("--procname", "wanted", "--procname", "a-name-of-fifteen-bytes")
    with (
        Poked() as process,
        Recorder(tmp_path / "trace", *EVENTS, *names) as recorder,
    ):
        for name in ("wanted", "other", "wanted", "a-name-of-fifteen-bytes", "else"):
            process.poke(name)
        pid = process.pid
        done = recorder.stop()
    assert [event["pid"] for event in done.events] == [pid] * 3 * CALLS


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A cgroup of version 2 with ``in``, ``in/deep`` and ``out`` below it."""
    root = Hierarchies().directory(Cgroup(CGROUP2, "/"))
    assert root is not None
    top = root / f"boxtrace-test-{os.getpid()}"
    inside = [top, top / "in", top / "in" / "deep", top / "out"]
    for directory in inside:
        directory.mkdir()
    yield top
    for directory in reversed(inside):
        for pid in (directory / "cgroup.procs").read_text().split():
            (root / "cgroup.procs").write_text(pid)
        remove_cgroup(directory)


def test_a_cgroup_with_those_below_it(cgroup: Path, tmp_path: Path) -> None:
    """Whoever is in there, also who comes and goes while recording; not what is excluded, nor what lies beside it."""
    path = f"/{cgroup.name}/in"
    with ExitStack() as stack:
        there = {place: stack.enter_context(Poked()) for place in ("in", "in/deep", "out")}
        for place, process in there.items():
            (cgroup / place / "cgroup.procs").write_text(str(process.pid))
        recorder = stack.enter_context(Recorder(tmp_path / "trace", *EVENTS, "--cgroup", path))

        def poke() -> None:
            for process in there.values():
                process.poke()

        poke()
        (cgroup / "out" / "cgroup.procs").write_text(str(there["in"].pid))
        (cgroup / "in" / "deep" / "cgroup.procs").write_text(str(there["out"].pid))
        poke()
        ask_recording("track", recorder.process.pid, kind="cgroup", values=[f"!{path}/deep"])
        poke()
        done = recorder.stop()
    mine = {process.pid: place for place, process in there.items()}
    counted = Counter(mine[event["pid"]] for event in done.events)
    assert counted == {"in": CALLS, "in/deep": 2 * CALLS, "out": CALLS}


def test_contexts_of_who_is_not_selected_but_meets_who_is(cgroup: Path, tmp_path: Path) -> None:
    """What woke a selected process up, or ran before it, was rejected many times: it has its contexts all the same."""
    events = ("-e", "sched_switch", "-e", "sched_waking", "--no-state-dump")
    with Poked() as wanted, Poked() as other:
        (cgroup / "in" / "cgroup.procs").write_text(str(wanted.pid))
        with Recorder(tmp_path / "trace", *events, "--cgroup", f"/{cgroup.name}/in") as recorder:
            for _ in range(20):
                other.poke()
                wanted.poke()
            done = recorder.stop()
    switches = [event for event in done.named("sched_switch") if event["prev_tid"] != wanted.pid]
    assert switches
    for event in switches:
        assert (event.context["tid"], event.context["procname"]) == (event["prev_tid"], event["prev_comm"])
    waking = [event for event in done.named("sched_waking") if event.context["pid"] == os.getpid()]
    assert waking
    spaces = {
        f"{kind}_ns": Path(f"/proc/self/ns/{kind}").stat().st_ino for kind in ("pid", "mnt", "net", "user", "uts")
    }
    name = Path("/proc/self/comm").read_text().rstrip()
    for event in waking:
        assert event["tid"] == wanted.pid and event.context["procname"] == name
        assert {field: event.context[field] for field in spaces} == spaces
        assert event.context["ppid"] == os.getppid()


def test_options_and_exclusion(tmp_path: Path) -> None:
    with (
        Poked() as first,
        Poked() as second,
        Recorder(tmp_path / "trace", *EVENTS, "--uid", "root", "--pid", f"!{second.pid}") as recorder,
    ):
        first.poke()
        second.poke()
        done = recorder.stop()
    mine = {first.pid, second.pid} & {event["pid"] for event in done.events}
    assert mine == {first.pid}


@pytest.mark.parametrize("kind", ["uid", "pid"])
def test_what_is_included_and_excluded_is_excluded(tmp_path: Path, kind: str) -> None:
    with Poked() as process:
        value = str(process.pid if kind == "pid" else os.getuid())
        options = (f"--{kind}", value, f"--{kind}", f"!{value}", f"--{kind}", "4242" if kind == "uid" else os.getppid())
        with Recorder(tmp_path / "trace", *EVENTS, *options) as recorder:
            process.poke()
            recorded = recorder.stop()
    assert process.pid not in {event.context["pid"] for event in recorded.events}


def test_commands_change_and_list(tmp_path: Path) -> None:
    with Poked() as process, Recorder(tmp_path / "trace", *EVENTS, "--uid", "12345") as recorder:

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            command = [*BOXTRACE, *arguments]
            command[len(BOXTRACE) + 1 : len(BOXTRACE) + 1] = ["-r", str(recorder.process.pid)]
            return subprocess.run(command, capture_output=True, text=True)

        assert run("track", "--list").stdout == "uid 12345\n"
        process.poke()
        assert run("track", "uid", "0", "!12345").stdout == "uid !12345 0\n"
        process.poke()
        assert run("untrack", "uid", "7").returncode == 1
        assert run("track", "colour", "red").returncode == 1
        assert "no process" in run("track", "pid", "4194300").stderr
        assert run("track", "cgroup", "/no/such/cgroup").returncode == 1
        assert run("untrack", "uid").stdout == "the whole host is recorded\n"
        process.poke()
        done = recorder.stop()
    assert [event["pid"] for event in done.events if event["pid"] == process.pid] == [process.pid] * 2 * CALLS


def test_a_configuration_has_every_kind(tmp_path: Path) -> None:
    config = tmp_path / "record.toml"
    config.write_text('uid = ["root", 12345]\npid-ns = ["=4026531836"]\nprocname = ["!x"]\n')
    with Recorder(tmp_path / "trace", "--config", config, *EVENTS) as recorder:
        answer = ask_recording("tracked", recorder.process.pid)
        recorder.stop()
    assert json.loads(json.dumps(answer["sets"])) == {
        "uid": ["0", "12345"], "pid-ns": ["=4026531836"], "procname": ["!x"]
    }  # fmt: skip
