"""Contexts beyond the default ones are what the process itself was told at that moment."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from boxtrace.trace import open_trace
from support.demo import remove_cgroup
from support.require import missing, require_root

MARK = 0x7000
BOXTRACE = [sys.executable, "-c", "from boxtrace.cli.main import main; main()"]
IDS = ("uid", "euid", "suid", "gid", "egid", "sgid")

# What every workload has: mark(**values) makes a system call that fails, and tells what its contexts must be.
PREAMBLE = f"""
import ctypes, json, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
count = 0
def mark(**values):
    global count
    told = json.dumps([count, values])
    libc.syscall(3, {MARK} + count)
    print(told, flush=True)
    count += 1
def unshare(flags):
    assert libc.unshare(flags) == 0
def stat_of_self():
    fields = open("/proc/thread-self/stat").read().rpartition(")")[2].split()
    return dict(prio=int(fields[15]), nice=int(fields[16]))
NEWUTS, NEWUSER, NEWPID = 0x04000000, 0x10000000, 0x20000000
"""


@pytest.fixture(autouse=True, scope="module")
def _root() -> None:
    require_root()


def marked(tmp_path: Path, names: str, workload: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Run a workload, recorded with these contexts; return what it told and what was recorded of each mark."""
    trace = tmp_path / "trace"
    command = [*BOXTRACE, "record", "-q", "-o", str(trace), "-e", "syscall_entry_close", "--no-state-dump"]
    command += ["--context", f"tid,{names}", "--", sys.executable, "-c", PREAMBLE + workload]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told = dict(json.loads(line) for line in done.stdout.splitlines())
    found = {
        event["fd"] - MARK: dict(event.context)
        for event in open_trace(trace).events()
        if MARK <= event["fd"] < MARK + 99
    }
    assert told and found.keys() == told.keys()
    return [(told[number], found[number]) for number in sorted(told)]


def check(pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    for told, found in pairs:
        assert {name: found[name] for name in told} == told


def test_priority_is_read_for_each_event(tmp_path: Path) -> None:
    workload = """
mark(**stat_of_self())
mark(nice=os.nice(7))
mark(**stat_of_self())
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
mark(**stat_of_self())
"""
    pairs = marked(tmp_path, "prio,nice", workload)
    check(pairs)
    nice = pairs[0][1]["nice"]
    assert [found["prio"] for _, found in pairs] == [nice + 20, nice + 27, nice + 27, -11]


def test_hostname_is_that_of_the_uts_namespace_at_that_moment(tmp_path: Path) -> None:
    workload = """
mark(hostname=socket.gethostname())
unshare(NEWUTS)
mark(hostname=socket.gethostname())
for name in ("box-a", "x" * 64, "b"):
    socket.sethostname(name)
    mark(hostname=name)
"""
    check(marked(tmp_path, "hostname,pid", workload))


def test_users_and_groups_follow_the_credentials(tmp_path: Path) -> None:
    workload = """
def ids():
    return dict(zip(("uid", "euid", "suid", "gid", "egid", "sgid"), os.getresuid() + os.getresgid()))
mark(**ids())
os.setresgid(21, 22, 23)
mark(**ids())
os.setresuid(11, 0, 13)
mark(**ids())
os.setresuid(-1, 12, -1)
mark(**ids())
"""
    pairs = marked(tmp_path, ",".join(IDS), workload)
    check(pairs)
    assert [pairs[-1][1][name] for name in IDS] == [11, 12, 13, 21, 22, 23]


def test_virtual_ids_appear_with_the_maps_of_the_user_namespace(tmp_path: Path) -> None:
    workload = """
here, there = os.pipe(), os.pipe()
writer = os.fork()
if writer == 0:
    os.read(here[0], 1)
    for kind, text in (("uid", "0 1000 5\\n7 0 1\\n100 2000 10"), ("gid", "50 30 5\\n0 0 1")):
        with open(f"/proc/{os.getppid()}/{kind}_map", "w") as file:
            file.write(text)
        os.write(there[1], b"!")
        os.read(here[0], 1)
    os._exit(0)
os.setresgid(31, 0, 99)
os.setresuid(2003, 0, 0)
libc.prctl(4, 1)  # what changed its ids is not dumpable, and its maps not writable
def virtual(names=("uid", "euid", "suid", "gid", "egid", "sgid")):
    return {"v" + name: value for name, value in zip(names, os.getresuid() + os.getresgid())}
mark(**virtual())
unshare(NEWUSER)
mark(**virtual())
for _ in range(2):
    os.write(here[1], b"!")
    os.read(there[0], 1)
    mark(**virtual())
os.write(here[1], b"!")
os.waitpid(writer, 0)
"""
    names = [f"v{name}" for name in IDS]
    pairs = marked(tmp_path, ",".join([*names, *IDS]), workload)
    check(pairs)
    values = [[found[name] for name in names] for _, found in pairs]
    assert values == [
        [2003, 0, 0, 31, 0, 99],
        [65534] * 6,
        [103, 7, 7, 65534, 65534, 65534],
        [103, 7, 7, 51, 0, 65534],
    ]


def test_vppid_is_the_parent_as_the_task_sees_it(tmp_path: Path) -> None:
    workload = """
mark(vppid=os.getppid())
unshare(NEWPID)
for generation in range(2):
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os._exit(0)
    count = generation + 1
    mark(vppid=os.getppid())
"""
    pairs = marked(tmp_path, "vppid,ppid,vpid", workload)
    check(pairs)
    assert [found["vppid"] for _, found in pairs][1:] == [0, 1]


def test_cpu_id_is_where_the_task_runs(tmp_path: Path) -> None:
    workload = """
for cpu in sorted(os.sched_getaffinity(0)) * 2:
    os.sched_setaffinity(0, {cpu})
    mark(cpu_id=cpu)
"""
    check(marked(tmp_path, "cpu_id,procname", workload))


def test_a_system_call_can_be_interrupted(tmp_path: Path) -> None:
    for _, found in marked(tmp_path, "interruptible,need_reschedule", "mark()"):
        assert found["interruptible"] == 1
        assert found["need_reschedule"] in (0, 1)


def test_cgroup_id_follows_the_task(tmp_path: Path) -> None:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    root = next((Path(mount[1]) for mount in mounts if mount[2] == "cgroup2"), None)
    if root is None:
        missing("cgroup v2 is mounted nowhere")
    group = root / "boxtrace-test-contexts"
    group.mkdir()
    workload = f"""
at = next(line.split("::")[1].strip() for line in open("/proc/self/cgroup") if line.startswith("0:"))
mark(cgroup_id=os.stat({str(root)!r} + at).st_ino)
with open({str(group)!r} + "/cgroup.procs", "w") as file:
    file.write(str(os.getpid()))
mark(cgroup_id=os.stat({str(group)!r}).st_ino)
with open({str(root)!r} + at + "/cgroup.procs", "w") as file:
    file.write(str(os.getpid()))
"""
    try:
        pairs = marked(tmp_path, "cgroup_id", workload)
    finally:
        remove_cgroup(group)
    check(pairs)
    assert pairs[0][1]["cgroup_id"] != pairs[1][1]["cgroup_id"]


def test_a_software_counter_counts_this_cpu(tmp_path: Path) -> None:
    pages = 300
    workload = f"""
import mmap
def faults():
    return int(open("/proc/vmstat").read().partition("\\npgfault ")[2].split()[0])
os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
memory = mmap.mmap(-1, {pages} * 4096)
libc.madvise(ctypes.addressof(ctypes.c_char.from_buffer(memory)), {pages} * 4096, 15)  # MADV_NOHUGEPAGE
before = faults()
mark()
for page in range({pages}):
    memory[page * 4096] = 1
mark()
mark(machine=faults() - before)
"""
    (_, before), (_, after), (told, _) = marked(tmp_path, "perf:cpu:page-faults", workload)
    assert pages <= after["perf_cpu_page_faults"] - before["perf_cpu_page_faults"] <= told["machine"]


def test_a_counter_that_the_machine_lacks_is_refused_by_name(tmp_path: Path) -> None:
    command = [*BOXTRACE, "record", "-o", str(tmp_path / "trace"), "--context", "perf:cpu:raw:rffffffffffff:never"]
    done = subprocess.run([*command, "--", "true"], capture_output=True, text=True)
    assert done.returncode != 0
    assert "'never'" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "trace").exists()


def test_call_stacks_lead_to_the_system_call_and_its_caller(tmp_path: Path) -> None:
    workload = """
ranges = [
    [int(bound, 16) for bound in line.split()[0].split("-")]
    for line in open("/proc/self/maps") if " r-xp " in line and "libc" in line
]
mark(ranges=ranges)
"""
    ((told, found),) = marked(tmp_path, "callstack-user,prio,callstack-kernel,pid", workload)
    assert list(found)[:3] == ["tid", "prio", "pid"], "call stacks come last"
    user, kernel = found["callstack_user"], found["callstack_kernel"]
    assert found["_callstack_user_length"] == len(user) and found["_callstack_kernel_length"] == len(kernel)
    assert any(low <= user[0] < high for low, high in told["ranges"])
    symbols = sorted(
        (int(address, 16), name)
        for address, kind, name, *_ in map(str.split, Path("/proc/kallsyms").read_text().splitlines())
        if kind in "tT"
    )
    names = [max(symbol for symbol in symbols if symbol[0] <= address)[1] for address in kernel]
    assert "do_syscall_64" in names or "el0_svc" in names
    assert not any("get_stack" in name for name in names)


def test_every_kind_of_context_at_once_is_read_by_babeltrace(tmp_path: Path) -> None:
    names = "default,interruptible,hostname,need_reschedule,cgroup_id,container,vuid,perf:cpu:cpu-clock,prio"
    trace = tmp_path / "trace"
    command = [*BOXTRACE, "record", "-q", "-o", str(trace), "--context", f"{names},callstack-kernel,callstack-user"]
    subprocess.run([*command, "--", "sh", "-c", "for i in 1 2 3; do ls -l / >/dev/null; done"], check=True)
    done = subprocess.run(["babeltrace2", str(trace)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    events = list(open_trace(trace).events())
    assert len(done.stdout.splitlines()) == len(events) > 500
    dumped = [event.name for event in events if event.name.startswith("lttng_statedump_")]
    assert dumped[0] == "lttng_statedump_start" and dumped[-1] == "lttng_statedump_end"
