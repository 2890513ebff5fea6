"""The state dump is what procfs and the system's own tools say of the same moment."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from boxtrace.containers.mounts import host_viewer
from support.recorder import BOXTRACE, Recorded, Recorder, check_valid, until
from support.require import require_program

QUIET = ("-e", "syscall_entry_kexec_load", "--context", "tid")
HOST_GLOBAL = {
    "lttng_statedump_interrupt",
    "lttng_statedump_network_interface",
    "lttng_statedump_block_device",
}


@contextmanager
def running(workload: str, *wrapper: str) -> Iterator[int]:
    """A Python process that has done its work and waits; yields its pid."""
    script = "import ctypes, os, socket, sys\nlibc = ctypes.CDLL(None)\n" + workload
    script += "\nprint(os.getpid(), flush=True)\nsys.stdin.read()"
    command = [*wrapper, sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            inner = int(process.stdout.readline())
            yield inner if not wrapper else process.pid
        finally:
            process.stdin.close()
            process.wait()


def dump(tmp_path: Path, *arguments: object) -> Recorded:
    with Recorder(tmp_path / "trace", *QUIET, *arguments) as recorder:
        recorded = recorder.stop()
    assert recorded.status == 0, recorded.stderr
    check_valid(recorded)
    return recorded


def payloads(recorded: Recorded, name: str) -> list[dict[str, Any]]:
    return [dict(event.payload) for event in recorded.named(name)]


def descriptors(pid: int) -> dict[int, tuple[str, int]]:
    """What procfs says: number -> path and flags."""
    found = {}
    for link in Path(f"/proc/{pid}/fd").iterdir():
        info = Path(f"/proc/{pid}/fdinfo/{link.name}").read_text()
        flags = re.search(r"^flags:\s*([0-7]+)$", info, re.MULTILINE)
        assert flags is not None
        found[int(link.name)] = (str(link.readlink()), int(flags[1], 8))
    return found


def dumped_descriptors(recorded: Recorded) -> list[tuple[int, int, tuple[str, int]]]:
    return [
        (event["file_table_address"], event["fd"], (event["filename"], event["flags"]))
        for event in payloads(recorded, "lttng_statedump_file_descriptor")
    ]


def test_open_files_are_those_of_proc(tmp_path: Path) -> None:
    workload = f"""
held = [open({str(tmp_path)!r} + "/a file", "w"), os.open("/dev/null", os.O_RDWR | os.O_APPEND), os.pipe()]
os.set_inheritable(held[1], True)
held += [socket.socketpair(), open({str(tmp_path)!r} + "/gone", "wb"), os.open("/", os.O_PATH)]
os.unlink({str(tmp_path)!r} + "/gone")
held += [os.eventfd(3), os.memfd_create("memory")]
os.dup2(held[1], 700)
"""
    with running(workload) as pid:
        recorded = dump(tmp_path, "--pid", pid)
        expected = descriptors(pid)
    found = dumped_descriptors(recorded)
    assert {fd: value for _, fd, value in found} == expected
    assert len(found) == len(expected)
    assert any(path.endswith("/gone (deleted)") for path, _ in expected.values())
    (state,) = payloads(recorded, "lttng_statedump_process_state")
    assert {table for table, _, _ in found} == {state["file_table_address"]}


def test_a_table_that_threads_and_processes_share_is_dumped_once(tmp_path: Path) -> None:
    workload = """
import threading
for _ in range(3):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
CLONE_FILES, SIGCHLD = 0x400, 17
reading, writing = os.pipe()
if libc.syscall(56, CLONE_FILES | SIGCHLD, 0, 0, 0, 0) == 0:
    libc.prctl(1, 9)
    libc.pause()
    os._exit(0)
"""
    with running(workload) as pid:
        child = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        recorded = dump(tmp_path, "--pid", pid, "--pid", child)
        expected = descriptors(pid)
        assert descriptors(child) == expected
        os.kill(child, signal.SIGKILL)
    states = payloads(recorded, "lttng_statedump_process_state")
    assert {state["pid"] for state in states} == {pid, child} and len(states) == 5
    assert len({state["file_table_address"] for state in states}) == 1
    assert sorted(fd for _, fd, _ in dumped_descriptors(recorded)) == sorted(expected)


def test_memory_maps_are_those_of_proc(tmp_path: Path) -> None:
    with running("import mmap; shared = mmap.mmap(-1, 8192)") as pid:
        text = Path(f"/proc/{pid}/maps").read_text()
        recorded = dump(tmp_path, "--pid", pid, "--state-dump-maps")
    expected = []
    for line in text.splitlines():
        bounds, permissions, offset, _, inode, *path = line.split(maxsplit=5)
        if bounds.startswith("ffffffff"):
            continue  # vsyscall: no mapping of the process
        start, end = (int(bound, 16) for bound in bounds.split("-"))
        name = path[0] if path and not path[0].startswith("[") else ""
        expected.append((start, end, permissions, int(offset, 16) if name else 0, int(inode), name))
    found = [
        (
            event["start"],
            event["end"],
            "".join(letter if event["flags"] & bit else "-" for letter, bit in (("r", 1), ("w", 2), ("x", 4)))
            + ("s" if event["flags"] & 0x80 else "p"),
            event["pgoff"],
            event["inode"],
            event["filename"],
        )
        for event in payloads(recorded, "lttng_statedump_vm_map")
    ]
    assert found == expected
    assert {event["pid"] for event in payloads(recorded, "lttng_statedump_vm_map")} == {pid}


def test_a_selection_limits_the_dump_unless_all_is_asked_for(tmp_path: Path) -> None:
    with running("") as pid:
        recorded = dump(tmp_path / "selected", "--pid", pid)
        assert {state["pid"] for state in payloads(recorded, "lttng_statedump_process_state")} == {pid}
        assert not any(event.name in HOST_GLOBAL for event in recorded.events)
        assert not recorded.named("lttng_statedump_vm_map")
        # The host's are there, too: by them paths are found on the host.
        theirs = {Path(f"/proc/{pid}/ns/mnt").stat().st_ino, host_viewer()[1]}
        assert {mount["mnt_ns"] for mount in payloads(recorded, "statedump_mount")} == theirs
        recorded = dump(tmp_path / "all", "--pid", pid, "--state-dump", "all")
    assert {pid, os.getpid(), 2} <= {state["pid"] for state in payloads(recorded, "lttng_statedump_process_state")}
    assert {event.name for event in recorded.events} >= HOST_GLOBAL
    tables = {table for table, _, _ in dumped_descriptors(recorded)}
    assert len(tables) > 3


def test_network_interfaces_are_those_of_each_namespace(tmp_path: Path) -> None:
    ip = require_program("ip", "iproute2")
    with running("", "unshare", "--net") as pid:

        def inside(*arguments: str) -> str:
            command = ["nsenter", "--target", str(pid), "--net", ip, *arguments]
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout

        inside("link", "add", "left", "type", "veth", "peer", "name", "right")
        inside("addr", "add", "192.0.2.77/28", "dev", "left")
        inside("addr", "add", "2001:db8::7/64", "dev", "left", "nodad")
        inside("link", "set", "left", "up")
        told = json.loads(inside("-j", "-d", "addr"))
        number = Path(f"/proc/{pid}/ns/net").stat().st_ino
        recorded = dump(tmp_path, "--pid", pid)
    found = {link["ifindex"]: link for link in payloads(recorded, "statedump_network_interface")}
    assert found.keys() == {link["ifindex"] for link in told}
    for link in told:
        seen = found[link["ifindex"]]
        assert (seen["net_ns"], seen["name"], seen["mtu"]) == (number, link["ifname"], link["mtu"])
        assert seen["address_mac"] == link["address"]
        assert bool(seen["flags"] & 1) == ("UP" in link["flags"])
        assert seen["kind"] == link.get("linkinfo", {}).get("info_kind", "")
    assert found[next(link["ifindex"] for link in told if link["ifname"] == "left")]["link"] > 0
    addresses = {
        (link["ifindex"], address["local"], address["prefixlen"]) for link in told for address in link["addr_info"]
    }
    assert {
        (event["ifindex"], event["address"], event["prefix"])
        for event in payloads(recorded, "statedump_network_address")
    } == addresses
    assert {"192.0.2.77", "2001:db8::7"} <= {address for _, address, _ in addresses}


def test_mounts_are_those_of_each_namespace(tmp_path: Path) -> None:
    findmnt = require_program("findmnt", "util-linux")
    point = tmp_path / "with space and ü"
    point.mkdir()
    long = tmp_path.joinpath(*["x" * 200] * 18)
    workload = f"""
assert libc.mount(b"a source", {str(point).encode()!r}, b"tmpfs", 2, b"size=64k") == 0
os.makedirs({str(long)!r})
assert libc.mount({str(long).encode()!r}, {str(long).encode()!r}, None, 4096, None) == 0
"""
    with running(workload, "unshare", "--mount", "--propagation", "private") as pid:
        number = Path(f"/proc/{pid}/ns/mnt").stat().st_ino
        columns = "ID,PARENT,TARGET,SOURCE,FSTYPE,FSROOT,VFS-OPTIONS,FS-OPTIONS"
        told = subprocess.run(
            [findmnt, "--task", str(pid), "-J", "-l", "-v", "-o", columns], check=True, capture_output=True, text=True
        )
        recorded = dump(tmp_path, "--pid", pid)
    events = payloads(recorded, "statedump_mount")
    assert {event["mnt_ns"] for event in events} == {number, host_viewer()[1]}
    found = {event["mount_id"]: event for event in events if event["mnt_ns"] == number}
    filesystems = json.loads(told.stdout)["filesystems"]
    assert found.keys() == {mount["id"] for mount in filesystems}
    for mount in filesystems:
        event = found[mount["id"]]
        assert (event["parent_id"], event["filesystem"], event["options"]) == (
            mount["parent"],
            mount["fstype"],
            mount["vfs-options"],
        )
        if len(mount["target"]) + len(mount["fsroot"]) < 7000:
            assert (event["mount_point"], event["root"]) == (mount["target"], mount["fsroot"])
        else:  # longer than an event may be
            assert event["mount_point"] and mount["target"].startswith(event["mount_point"])
            assert event["root"] and mount["fsroot"].startswith(event["root"])
    assert any(event["mount_point"] == str(point) and event["source"] == "a source" for event in found.values())


def disks() -> dict[str, str]:
    """What lsblk says: name -> number; disks without a size are not there."""
    lsblk = [require_program("lsblk", "util-linux"), "--raw", "--noheadings", "-o", "NAME,MAJ:MIN,SIZE", "--bytes"]
    lines = subprocess.run(lsblk, check=True, capture_output=True, text=True).stdout.splitlines()
    return {name: number for name, number, size in map(str.split, lines) if size != "0"}


def test_devices_are_those_of_the_machine(tmp_path: Path) -> None:
    before = disks()
    recorded = dump(tmp_path)
    after = disks()
    expected = {name: number for name, number in before.items() if after.get(name) == number}
    found = {
        event["diskname"]: f"{event['dev'] >> 20}:{event['dev'] & 0xFFFFF}"
        for event in payloads(recorded, "lttng_statedump_block_device")
    }
    assert expected and expected.items() <= found.items() <= {**before, **after}.items()
    actions = {(event["irq"], event["action"]) for event in payloads(recorded, "lttng_statedump_interrupt")}
    cpus = len(Path("/proc/interrupts").read_text().splitlines()[0].split())
    for line in Path("/proc/interrupts").read_text().splitlines()[1:]:
        number, *rest = line.split()
        if number[:-1].isdigit() and len(rest) > cpus:
            mine = {action for irq, action in actions if irq == int(number[:-1])}
            assert line.rstrip().endswith(", ".join(sorted(mine))) or all(action in line for action in mine)
            assert mine or not re.search(r"[a-z]{3,}", " ".join(rest[cpus + 2 :]))
    handlers = {event["tid"]: event for event in payloads(recorded, "lttng_statedump_interrupt") if event["tid"]}
    for tid, event in handlers.items():
        assert Path(f"/proc/{tid}/comm").read_text().startswith(f"irq/{event['irq']}-")
    topology = {event["cpu_id"]: event for event in payloads(recorded, "lttng_statedump_cpu_topology")}
    if os.uname().machine == "x86_64":
        assert topology.keys() == os.sched_getaffinity(0)
        for cpu, event in topology.items():
            core = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/core_id").read_text()
            assert event["core_id"] == int(core) and f": {event['model_name']}\n" in Path("/proc/cpuinfo").read_text()


def dumps(recorded: Recorded) -> int:
    """How many dumps there are, each whole."""
    names = [event.name for event in recorded.events if event.name.startswith(("lttng_statedump", "statedump"))]
    starts, ends = names.count("lttng_statedump_start"), names.count("lttng_statedump_end")
    assert starts == ends and names[0] == "lttng_statedump_start" and names[-1] == "lttng_statedump_end"
    return starts


def test_the_dump_is_repeated_on_request(tmp_path: Path) -> None:
    def size() -> int:
        return sum(path.stat().st_size for path in (tmp_path / "trace/kernel").glob("channel0_*"))

    with running("") as pid, Recorder(tmp_path / "trace", *QUIET, "--pid", pid) as recorder:
        until(size)
        before = size()
        recorder.process.send_signal(signal.SIGUSR2)
        until(lambda: size() > before)
        before = size()
        subprocess.run([*BOXTRACE, "state-dump", str(recorder.process.pid)], check=True)
        until(lambda: size() > before)
        recorded = recorder.stop()
    check_valid(recorded)
    assert dumps(recorded) == 3
    states = payloads(recorded, "lttng_statedump_process_state")
    assert Counter(state["tid"] for state in states) == {pid: 3}
    fds = Counter(fd for _, fd, _ in dumped_descriptors(recorded))
    assert fds and set(fds.values()) == {3}


def test_the_dump_is_repeated_at_regular_times(tmp_path: Path) -> None:
    with running("") as pid:
        arguments = (*QUIET, "--pid", pid, "--state-dump-every", "300ms", "-d", "5s")
        with Recorder(tmp_path / "trace", *arguments) as recorder:
            recorded = recorder.wait()
    check_valid(recorded)
    assert 3 <= dumps(recorded) <= 18


def test_a_request_without_a_state_dump_is_refused(tmp_path: Path) -> None:
    with Recorder(tmp_path / "trace", *QUIET, "--no-state-dump") as recorder:
        recorder.process.send_signal(signal.SIGUSR2)
        recorder.wait_for("has no state dump")
        asked = subprocess.run(
            [*BOXTRACE, "state-dump", str(recorder.process.pid)], capture_output=True, text=True, check=False
        )
        assert asked.returncode == 1 and "hint: record without --no-state-dump" in asked.stderr
        recorded = recorder.stop()
    assert recorded.status == 0


def test_the_number_of_a_container_is_explained(tmp_path: Path) -> None:
    with running("", "unshare", "--pid", "--fork", "--mount-proc") as outer:
        init = int(until(lambda: Path(f"/proc/{outer}/task/{outer}/children").read_text().split())[0])
        number = Path(f"/proc/{init}/ns/pid").stat().st_ino
        arguments = ("-e", "syscall_*_pipe2", "--context", "pid,pid_ns,container")
        with Recorder(tmp_path / "trace", *arguments) as recorder:
            command = ["nsenter", "--target", str(init), "--pid", sys.executable, "-c", "import os; os.pipe()"]
            subprocess.run(command, check=True)
            for end in os.pipe():
                os.close(end)
            recorded = recorder.stop()
    check_valid(recorded)
    metadata = {event["container"]: event for event in payloads(recorded, "container_number")}
    (known,) = [event for event in metadata.values() if event["pid_ns"] == number]
    assert known["init_pid"] == init and known["name"]
    inside = [event.context for event in recorded.named("syscall_entry_pipe2") if event.context["pid_ns"] == number]
    assert inside and {context["container"] for context in inside} == {known["container"]}
    outside = [event.context for event in recorded.named("syscall_entry_pipe2") if event.context["pid"] == os.getpid()]
    assert outside and all(context["container"] == 0 for context in outside)


def test_a_container_that_runs_has_its_number_from_the_first_event(demo_container: Any, tmp_path: Path) -> None:
    old = demo_container(f"t{os.getpid()}-numbered", "sh", "-c", "while :; do usleep 1000; done")
    space = Path(f"/proc/{old.init_pid}/ns/pid").stat().st_ino
    with Recorder(tmp_path / "trace", "-e", "syscall_*nanosleep", "--context", "pid_ns,container") as recorder:
        recorded = recorder.stop()
    check_valid(recorded)
    numbers = {event.context["container"] for event in recorded.events if event.context["pid_ns"] == space}
    (known,) = [event for event in payloads(recorded, "container_number") if event["pid_ns"] == space]
    assert numbers == {known["container"]}
