"""The demo's container: one that no runtime knows, with all eight namespaces and a cgroup of its own."""

import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from boxtrace.containers import Namespaces, find, members, parent, survey
from boxtrace.containers.proc import read_process


def test_unknown_container_is_found_by_its_cgroups_name(demo_container: Callable[..., Any]) -> None:
    demo = demo_container("boxtrace-demo-a", "sh", "-c", "sleep 100 & wait")
    container = find("boxtrace-demo-a")
    assert (container.runtime, container.init_pid, container.state) == ("unknown", demo.init_pid, "running")
    host = read_process(os.getpid())
    assert host is not None and container.namespaces is not None
    shared = [
        kind for kind in Namespaces.names() if getattr(host.namespaces, kind) == getattr(container.namespaces, kind)
    ]
    assert shared == []
    assert container.cgroup is not None and demo.cgroup is not None
    assert container.cgroup.path.endswith("/boxtrace-demo-a") and container.cgroup.id == demo.cgroup.stat().st_ino


def test_nested_namespace_is_a_container_inside(demo_container: Callable[..., Any]) -> None:
    demo = demo_container("boxtrace-demo-b", "unshare", "-p", "-f", "sh", "-c", "sleep 100 & wait")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = survey()
        inside = [item for item in found.containers if len(item.pid_ns_ancestors) == 2]
        if inside and len(members(inside[0], found.containers, found.snapshot)) == 2:
            break
    outer = next(item for item in found.containers if item.init_pid == demo.init_pid)
    (inner,) = inside
    assert parent(inner, found.containers) == outer
    assert inner.pid_ns_ancestors[0] == outer.pid_ns
    outside = {process.pid: process.vpids for process in members(outer, found.containers, found.snapshot)}
    within = {process.pid: process.vpids for process in members(inner, found.containers, found.snapshot)}
    assert len(outside) == 3 and within.items() <= outside.items()
    assert sorted(vpids[2] for vpids in within.values()) == [1, 2]
    assert all(vpids[0] == pid and len(vpids) == 3 for pid, vpids in within.items())


def test_nothing_is_left_behind(demo_container: Callable[..., Any]) -> None:
    demo = demo_container("boxtrace-demo-c", "sleep", "100")
    root, cgroup = demo._root, demo.cgroup
    demo.stop()
    assert not root.exists() and not cgroup.exists()
    left = read_process(demo.init_pid)
    assert left is None or left.namespaces.mnt == 0  # a zombie until the host's init takes note


def test_a_name_can_be_had_again_but_not_twice_at_once(demo_container: Callable[..., Any]) -> None:
    first = demo_container("boxtrace-demo-d", "sleep", "100")
    with pytest.raises(FileExistsError, match="'boxtrace-demo-d' runs already"):
        demo_container("boxtrace-demo-d", "sleep", "100")
    cgroup = first.cgroup
    first.stop()
    cgroup.mkdir()  # as one leaves it that is killed
    assert demo_container("boxtrace-demo-d", "sleep", "100").cgroup == cgroup
