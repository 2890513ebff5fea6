"""A pod of containers as CRI-O lays them out, by a real conmon and a real runc (support/crio.py): not CRI-O itself."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxtrace.containers import find, survey
from boxtrace.trace.containers import TraceContainers
from support.crio import DIGEST, IMAGE, UID, Pod
from support.recorder import Recorder, check_valid
from support.require import require_root


@pytest.fixture
def pod() -> Iterator[Pod]:
    require_root()
    # A short path: conmon makes sockets.
    with tempfile.TemporaryDirectory(prefix="btp-", ignore_cleanup_errors=True) as text:
        made = Pod(Path(text), "front-0")
        made.start(made.sandbox_id)
        try:
            yield made
        finally:
            made.remove()


def test_containers_of_a_pod_that_share_namespaces(pod: Pod) -> None:
    identifier, pid = pod.create("web", "/bin/sleep", "1000")
    pod.start(identifier)
    web, sandbox = find(identifier), find(pod.sandbox_id)
    assert (web.runtime, web.name, web.init_pid) == ("cri-o", f"k8s_web_front-0_shop_{UID}_0", pid)
    assert (web.image, web.image_digest, web.state) == (IMAGE, DIGEST, "running")
    assert web.labels["io.kubernetes.container.name"] == "web"
    assert web.labels["io.kubernetes.pod.name"] == "front-0" and web.labels["io.kubernetes.pod.uid"] == UID
    assert sandbox.init_pid == pod.sandbox
    assert web.namespaces is not None and sandbox.namespaces is not None
    for kind in ("net", "ipc", "uts"):
        shared = Path(f"/proc/{pod.sandbox}/ns/{kind}").stat().st_ino
        assert getattr(web.namespaces, kind) == getattr(sandbox.namespaces, kind) == shared
    assert web.pid_ns != sandbox.pid_ns
    theirs = {pid, pod.sandbox}
    assert [item.runtime for item in survey().containers if item.init_pid in theirs] == ["cri-o", "cri-o"]


def test_containers_of_a_pod_in_a_trace(pod: Pod, tmp_path: Path) -> None:
    with Recorder(tmp_path / "trace", "-e", "sched_switch") as recorder:
        late, pid = pod.create("late", "/bin/sleep", "1000")
        pod.start(late)
        short, short_pid = pod.create("short", "/bin/sh", "-c", "exit 5")
        pod.start(short)
        assert pod.wait(short) == 5
        recorded = recorder.stop()
    check_valid(recorded)
    rows = {row.container.id: row for row in TraceContainers(recorded.trace).rows()}
    for identifier, first, name, code in ((late, pid, "late", None), (short, short_pid, "short", 5)):
        row = rows[identifier]
        assert (row.container.runtime, row.container.name) == ("cri-o", f"k8s_{name}_front-0_shop_{UID}_0")
        assert (row.container.init_pid, row.container.image, row.container.exit_code) == (first, IMAGE, code)
        assert row.begin is not None and (row.end is not None) == (name == "short")
    assert rows[pod.sandbox_id].begin is None
