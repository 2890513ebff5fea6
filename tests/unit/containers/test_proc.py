import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from boxtrace.containers.cgroups import Hierarchies, parse_cgroups, parse_mounts
from boxtrace.containers.model import CGROUP2, Cgroup, Namespaces
from boxtrace.containers.proc import Snapshot, parse_stat, pid_ns_ancestors, read_process
from boxtrace.containers.table import ProcessTable
from boxtrace.units import Pid


def test_stat_of_a_hostile_name() -> None:
    rest = "S 12 " + " ".join(str(number) for number in range(5, 22)) + " 4711 0 0"
    name, parent, start = parse_stat(f"7 (a) R 1 (\n) {rest}\n")
    tick = 10**9 // os.sysconf("SC_CLK_TCK")
    assert (name, parent, start) == ("a) R 1 (\n", 12, 4711 * tick)


def test_own_process_as_the_kernel_tells_it() -> None:
    process = read_process(os.getpid())
    assert process is not None
    assert (process.pid, process.ppid) == (os.getpid(), os.getppid())
    assert process.name == Path("/proc/self/comm").read_text().rstrip("\n")
    assert process.vpids[0] == os.getpid() and not process.is_exiting
    for kind in Namespaces.names():
        assert Path(f"/proc/self/ns/{kind}").stat().st_ino == getattr(process.namespaces, kind)
    assert 0 < process.start <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def test_ended_process_is_none_and_zombie_is_read() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.DEVNULL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    zombie = read_process(child.pid)
    assert zombie is not None and zombie.is_exiting and zombie.namespaces.mnt == 0
    child.wait()
    assert read_process(child.pid) is None


def test_a_command_line_longer_than_one_read() -> None:
    words = ["x" * 10_000] * 9
    child = subprocess.Popen([sys.executable, "-c", "print(flush=True); input()", *words], stdin=-1, stdout=-1)
    assert child.stdin is not None and child.stdout is not None
    child.stdout.readline()
    assert ProcessTable().arguments(Pid(child.pid))[-9:] == words
    child.communicate(b"\n")
    assert ProcessTable().arguments(Pid(child.pid)) == []


def test_namespaces_of_another_user_are_refused_and_those_of_nobody_are_none() -> None:
    child = os.fork()
    if child == 0:  # the interpreter may be where nobody else may execute it
        status = 1
        try:
            if os.getuid() == 0:
                os.setuid(65534)
            if (pid_ns_ancestors(1), read_process(1 << 30)) == (None, None):
                read_process(1)
        except PermissionError:
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_snapshot_survives_processes_that_come_and_go() -> None:
    churn = subprocess.Popen(["sh", "-c", "while :; do /bin/true; done"])
    try:
        for _ in range(20):
            assert os.getpid() in Snapshot().processes
    finally:
        churn.kill()
        churn.wait()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0::/", Cgroup(CGROUP2, "/")),
        ("0::/system.slice/docker-ab.scope", Cgroup(CGROUP2, "/system.slice/docker-ab.scope")),
        ("1:name=systemd:/docker/ab", Cgroup("name=systemd", "/docker/ab")),
        ("4:cpu,cpuacct:/a:b:c", Cgroup("cpu,cpuacct", "/a:b:c")),
        ("0::/gone (deleted)", Cgroup(CGROUP2, "/gone")),
    ],
)
def test_cgroup_line(line: str, expected: Cgroup) -> None:
    assert parse_cgroups(line + "\n") == [expected]


MOUNTS = r"""24 1 0:22 / /proc rw,nosuid - proc proc rw
30 23 0:26 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw,nsdelegate
31 23 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
32 23 0:28 /lxc/box /sys/fs/cgroup/cpu\040and\040acct rw - cgroup cgroup rw,cpu,cpuacct
bad line
"""


def test_mounts_of_both_versions() -> None:
    found = {str(mount.directory): mount for mount in parse_mounts(MOUNTS)}
    assert set(found) == {"/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/cpu and acct"}
    assert found["/sys/fs/cgroup/unified"].controllers == frozenset()
    assert "name=systemd" in found["/sys/fs/cgroup/systemd"].controllers


@pytest.mark.parametrize(
    ("cgroup", "directory"),
    [
        (Cgroup(CGROUP2, "/a/b"), "/sys/fs/cgroup/unified/a/b"),
        (Cgroup(CGROUP2, "/"), "/sys/fs/cgroup/unified"),
        (Cgroup("name=systemd", "/x"), "/sys/fs/cgroup/systemd/x"),
        (Cgroup("cpu,cpuacct", "/lxc/box/y"), "/sys/fs/cgroup/cpu and acct/y"),
        (Cgroup("cpu,cpuacct", "/lxc/boxes"), None),  # outside of what is mounted
        (Cgroup("memory", "/x"), None),
        (Cgroup(CGROUP2, "/../other"), None),
    ],
)
def test_directory_of_a_cgroup(tmp_path: Path, cgroup: Cgroup, directory: str | None) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mountinfo").write_text(MOUNTS)
    found = Hierarchies(tmp_path).directory(cgroup)
    assert found == (None if directory is None else Path(directory))
