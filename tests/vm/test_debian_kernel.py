"""Recording on the kernel of Debian 12 (6.1), in a virtual machine; the traces are read outside, by babeltrace2."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.workload import build_workload
from vm.guest import add_boxtrace, add_commands
from vm.initramfs import Initramfs
from vm.kernels import fetch_debian_kernel
from vm.machine import Result, run_in_machine

CALLS = 3000
_SECONDS = 1800
"""The machine's instructions are all translated: a busy host takes a quarter of an hour."""
pytestmark = pytest.mark.timeout(_SECONDS + 300)
CONTEXTS = (
    *("default", "prio", "vppid", "hostname", "uid", "vgid", "cpu_id", "need_reschedule", "preemptible"),
    *("interruptible", "cgroup_id", "container", "perf:cpu:page-faults", "callstack-kernel", "callstack-user"),
)

FUNCTIONS = [f"--function {name}" for name in ("ksys_read", "do_sys_openat2", "kill_pid_info", "fput")]

JOB = f"""
set -e
uname -r >/out/release
echo | boxtrace record -o /out/command -- /bin/syscalls -1 1 {CALLS} >/out/took
echo | boxtrace record -o /out/contexts --context {",".join(CONTEXTS)} -- /bin/syscalls -1 1 100 >/out/took 2>/out/said
boxtrace record -o /out/tracepoints -e 'irq:*' -e 'kmem:*' -e 'task:*' --no-state-dump -- /bin/true 2>>/out/said
cat /out/said
echo | boxtrace record -o /out/filtered --no-state-dump -e 'syscall_*_getppid' \\
    --filter '$ctx.procname == "sys*lls" && $ctx.tid == $ctx.pid && (ret == 0 || ret > 0) && !(ret & ~0 << 63)' \\
    -e syscall_entry_openat --filter 'filename == "/nowhere*"' -- /bin/syscalls -1 1 {CALLS} >/out/took
echo | boxtrace record -o /out/limited --no-state-dump --context {",".join(CONTEXTS)} \\
    -e syscall_entry_getppid --limit 1/h:50 -e 'syscall_entry_w*' --filter 'fd == 77' \\
    -e 'sched_*' -e 'irq:*' --limit 100/s --sample 1/2 -- /bin/syscalls -1 1 {CALLS} >/out/took
echo | boxtrace record -o /out/functions --no-state-dump -e sched_process_exec {" ".join(FUNCTIONS)} \\
    -- /bin/busybox sh -c '(dd if=/proc/version of=/dev/null bs=7 count=1; cat /no/file) 2>/dev/null; kill -0 $$'
if boxtrace record -o /out/never --function __rcu_read_lock -- true 2>/out/refused_unsafe; then exit 9; fi
if boxtrace record -o /out/never --function exc_page_fault -- true 2>/out/refused; then exit 9; fi

mkfifo /tmp/go
unshare --pid --uts --ipc --fork /bin/syscalls -1 1 {CALLS} </tmp/go >/tmp/said &
exec 5>/tmp/go
until [ -s /tmp/said ]; do sleep 0.1; done
init=$(cat /proc/$!/task/$!/children)
stat -L -c %i /proc/${{init% }}/ns/pid >/out/pid_ns
boxtrace record -o /out/container --pid-ns $(cat /out/pid_ns) 2>/tmp/recorder &
recorder=$!
until grep -q 'Ctrl-C ends it' /tmp/recorder; do sleep 0.1; kill -0 $recorder; done
/bin/syscalls -1 1 10 </dev/null || true
echo >&5
wait $recorder

mkdir -p /tmp/root/bin
cp /bin/busybox /tmp/root/bin
boxtrace record -o /out/newborn --new-containers --no-state-dump -e 'syscall_*' -e 'sched_process_*' 2>/tmp/newborn &
recorder=$!
until grep -q 'Ctrl-C ends it' /tmp/newborn; do sleep 0.1; kill -0 $recorder; done
mkdir /sys/fs/cgroup/shares
sh -c 'echo $$ >/sys/fs/cgroup/shares/cgroup.procs; exec unshare --mount chroot /tmp/root /bin/busybox echo shares'
unshare --pid --fork /bin/busybox echo owns
until rmdir /sys/fs/cgroup/shares; do sleep 0.1; done
kill -TERM $recorder
wait $recorder

boxtrace record -o /out/own --no-state-dump -e syscall_entry_execve --uid 12345 2>/tmp/own &
recorder=$!
until grep -q 'Ctrl-C ends it' /tmp/own; do sleep 0.1; kill -0 $recorder; done
cat /proc/$recorder/fdinfo/* >/out/own_descriptors
for number in 1 2 3; do /usr/bin/setpriv --reuid=12345 --clear-groups /bin/busybox echo $number >/dev/null; done
kill -TERM $recorder
wait $recorder
"""
_FEXIT = 25
"""``BPF_TRACE_FEXIT`` (enum bpf_attach_type), as ``/proc/PID/fdinfo`` tells it of a link."""


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """What came of recording there."""
    directory = tmp_path_factory.mktemp("debian")
    files = Initramfs()
    add_boxtrace(files)
    add_commands(files, "unshare", "setpriv")
    files.add_file(build_workload(directory), "/bin/syscalls")
    output = directory / "out"
    output.mkdir()
    result = run_in_machine(fetch_debian_kernel(), files, JOB, output, timeout=_SECONDS)
    assert result.status == 0, result.log
    return result


def read(trace: Path) -> list[str]:
    """Return the events of a trace as text; a warning is a failure."""
    assert shutil.which("babeltrace2")
    done = subprocess.run(["babeltrace2", "--no-delta", str(trace)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_filters_are_taken_by_its_verifier(machine: Result) -> None:
    events = read(machine.files / "filtered")
    calls = [event for event in events if " container_left_out: " not in event]
    assert len(calls) == CALLS
    assert all(" syscall_exit_getppid: " in event for event in calls)


def test_limits_are_taken_by_its_verifier(machine: Result) -> None:
    events = read(machine.files / "limited")
    assert sum(" syscall_entry_getppid: " in event for event in events) == 50
    (limited,) = [event for event in events if 'rule = "syscall_entry_getppid"' in event]
    assert f"limited = {CALLS - 50}," in limited
    assert any('rule = "syscall_entry_w*", filtered = ' in event for event in events)


def test_the_kernel_is_an_old_one(machine: Result) -> None:
    assert (machine.files / "release").read_text().startswith("6.1.")


def test_every_call_of_a_command_is_recorded_with_entry_and_exit(machine: Result) -> None:
    events = read(machine.files / "command")
    for when in ("entry", "exit"):
        found = [event for event in events if f" syscall_{when}_getppid: " in event]
        assert len(found) == CALLS
        assert all('procname = "syscalls"' in event for event in found)


def test_a_pid_namespace_is_recorded_and_nothing_else(machine: Result) -> None:
    inum = (machine.files / "pid_ns").read_text().strip()
    events = read(machine.files / "container")
    calls = [event for event in events if "syscall_" in event]
    assert len([event for event in calls if " syscall_entry_getppid: " in event]) == CALLS
    for event in calls:
        assert f"pid_ns = {inum}," in event
        assert " vpid = 1, vtid = 1," in event
    names = {re.sub(r".*\] (?:\(none\) )?(\w+):.*", r"\1", event) for event in events}
    assert {"sched_switch", "sched_process_exit"} <= names


def test_containers_that_start_later_are_recorded_and_nothing_else(machine: Result) -> None:
    events = read(machine.files / "newborn")
    executed = [event for event in events if " syscall_entry_execve: " in event]
    assert len(executed) == 2 and all('filename = "/bin/busybox"' in event for event in executed)
    assert [" vpid = 1, " in event for event in executed] == [False, True]
    assert len([event for event in events if " sched_process_exit: " in event]) == 2
    assert not [
        event for event in events if 'comm = "sh"' in event or 'procname = "unshare", pid' in event.split("{ ")[0]
    ]


def test_who_is_wanted_by_a_call_of_its_own_is_recorded_from_then_on(machine: Result) -> None:
    """Where functions can be traced, it is not calls that are looked at, but changes of users and namespaces."""
    links = re.findall(r"^attach_type:\s*(\d+)$", (machine.files / "own_descriptors").read_text(), re.MULTILINE)
    assert links.count(str(_FEXIT)) == 2
    events = [event for event in read(machine.files / "own") if " syscall_entry_execve: " in event]
    assert [re.findall(r'\[\d+\] = "([^"]*)"', event) for event in events] == [
        ["/bin/busybox", "echo", number] for number in "123"
    ]


def test_what_existed_before_is_in_the_state_dump(machine: Result) -> None:
    inum = (machine.files / "pid_ns").read_text().strip()
    dumped = [event for event in read(machine.files / "container") if " lttng_statedump_process_pid_ns: " in event]
    inside = [event for event in dumped if f"ns_inum = {inum} " in event]
    assert len(inside) == 1
    assert "vtid = 1," in inside[0]
    assert any(f"ns_level = {level}" in event for event in dumped for level in (0, 1))


def test_every_kind_of_context_is_recorded(machine: Result) -> None:
    events = read(machine.files / "contexts")
    calls = [event for event in events if " syscall_entry_getppid: " in event]
    assert len(calls) == 100
    for event in calls:
        assert "prio = 20, vppid = " in event and "uid = 0, vgid = 0, " in event
        assert "preemptible = 1, interruptible = 1, " in event
        assert not re.search(r"_callstack_(kernel|user)_length = 0,", event)
    switches = [event for event in events if " sched_switch: " in event]
    assert switches and all("preemptible = 0, " in event for event in switches)


def test_tracepoints_have_lttngs_layout_of_that_kernel(machine: Result) -> None:
    events = read(machine.files / "tracepoints")
    allocated = [event for event in events if " kmem_mm_page_alloc: " in event]
    assert allocated
    places = [re.search(r"page = 0x(\w+), pfn = (\d+), order = ", event) for event in allocated]
    bases = {int(place[1], 16) - int(place[2]) * 64 for place in places if place is not None}
    assert len(bases) == 1  # the kernel's array of pages, each of 64 bytes
    assert None not in places
    assert any(" accounted = " in event for event in events if " kmem_kmalloc: " in event)


def fields(event: str) -> dict[str, int]:
    """The payload's integers of an event as babeltrace2 prints it."""
    values = re.findall(r"(\w+) = (-?\w+)", event.rpartition("{")[2])
    return {name: int(value, 0) for name, value in values}


def test_functions_of_the_kernel_are_recorded_with_typed_arguments(machine: Result) -> None:
    events = read(machine.files / "functions")
    found: dict[str, list[dict[str, int]]] = {}
    for event in events:
        found.setdefault(re.sub(r".*\] (?:\(none\) )?(\w+):.*", r"\1", event), []).append(fields(event))
    reads = list(zip(found["ksys_read_entry"], found["ksys_read_exit"], strict=True))
    assert all(set(entry) == {"fd", "buf", "count"} and set(exit_) == {"ret"} for entry, exit_ in reads)
    (one,) = [(entry, exit_) for entry, exit_ in reads if entry["count"] == 7]  # dd
    assert one[1]["ret"] == 7 and one[0]["fd"] == 0
    assert set(found["do_sys_openat2_entry"][0]) == {"dfd", "filename", "how"}
    assert {entry["dfd"] for entry in found["do_sys_openat2_entry"]} == {-100}  # AT_FDCWD: signed
    assert -2 in {exit_["ret"] for exit_ in found["do_sys_openat2_exit"]}  # no such file
    (killed,) = found["kill_pid_info_entry"]
    assert killed["sig"] == 0 and killed["pid"] >> 56 == 0xFF  # an address in the kernel
    assert [exit_["ret"] for exit_ in found["kill_pid_info_exit"]] == [0]
    assert found["fput_entry"] and found["fput_exit"][0] == {}  # it returns nothing


def test_functions_that_cannot_be_traced_are_refused_by_name(machine: Result) -> None:
    unsafe, refused = ((machine.files / name).read_text() for name in ("refused_unsafe", "refused"))
    assert "__rcu_read_lock cannot be traced" in unsafe
    assert "does not let kernel function 'exc_page_fault' be traced" in refused
    assert "available_filter_functions does not list it" in refused


def test_what_the_kernel_lacks_is_told_by_name(machine: Result) -> None:
    """Whether interrupts are enabled, and how many events of tracepoints it skipped."""
    said = (machine.files / "said").read_text()
    assert said.count("warning: ") == 2
    assert "the context 'interruptible' is -1 (not known) but for system calls" in said
    assert "of such losses there is no account (Linux 6.7 counts them)" in said
    switches = [event for event in read(machine.files / "contexts") if " sched_switch: " in event]
    assert switches and all("interruptible = -1, " in event for event in switches)
