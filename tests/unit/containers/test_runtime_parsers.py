"""What runtimes leave on command lines and on disk, as found on real systems, and as somebody hostile would."""

import json
import os
from pathlib import Path

import pytest

from boxtrace.containers.conmon import monitored, parse_arguments, stored
from boxtrace.containers.containerd import Containerd, describe_bundle
from boxtrace.containers.inside import Inside
from boxtrace.containers.lowlevel import Crun, Runc
from boxtrace.containers.lxc import parse_title
from boxtrace.containers.nspawn import machine_name
from boxtrace.containers.oci import read_json
from boxtrace.containers.proc import TICK_NS
from boxtrace.containers.runtime import RuntimeAbsentError
from boxtrace.containers.table import ProcessTable
from boxtrace.containers.text import clean
from boxtrace.units import Pid
from support.fake_proc import fake_process

ID = "ab" * 32


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # Podman 4.3
        (
            f"/usr/bin/conmon --api-version 1 -c {ID} -u {ID} -r /usr/bin/crun -b /s/{ID}/userdata -p /r/pidfile -n web"
            " --exit-dir /t/exits --full-attach -s -l k8s-file:/s/ctr.log --exit-command /usr/bin/podman"
            f" --exit-command-arg --root --exit-command-arg -n --exit-command-arg cleanup --exit-command-arg {ID}",
            {"id": ID, "bundle": f"/s/{ID}/userdata", "name": "web", "pidfile": "/r/pidfile", "exits": "/t/exits"},
        ),
        # CRI-O 1.28
        (
            f"/usr/libexec/crio/conmon -b /run/containers/storage/overlay-containers/{ID}/userdata -c {ID}"
            " --exit-dir /var/run/crio/exits -l /var/log/pods/x.log --log-level info -n k8s_web_web-0_shop_1_0"
            f" -P /run/x/conmon.pid -p /run/x/pidfile --persist-dir /var/lib/x -r /usr/bin/runc -u {ID} -s",
            {
                "id": ID,
                "bundle": f"/run/containers/storage/overlay-containers/{ID}/userdata",
                "name": "k8s_web_web-0_shop_1_0",
                "pidfile": "/run/x/pidfile",
                "exits": "/var/run/crio/exits",
            },
        ),
        # podman exec: another conmon of the same container
        (f"conmon -c {ID} -u ff -b /s -n web -e --exec-attach --exec-process-spec /s/p", None),
        ("conmon -c ../../etc -b /s -n x", None),
        (f"conmon -c {ID} -b relative -n x", None),
        (f"conmon -c {ID}", None),
        ("conmon", None),
        ("conmon -c", None),
    ],
)
def test_conmon(line: str, expected: dict[str, str] | None) -> None:
    assert parse_arguments(line.split()) == expected


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("[lxc monitor] /var/lib/lxc web", "web"),
        ("[lxc monitor] /home/u/with space/lxc web ", "web"),
        ("[lxc monitor] /var/lib/lxc ../x", None),
        ("lxc-start -n web", None),
    ],
)
def test_lxc_monitor(title: str, name: str | None) -> None:
    assert parse_title(title) == name


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("systemd-nspawn --quiet --keep-unit --boot --machine=web --directory=/var/lib/machines/x", "web"),
        ("systemd-nspawn -M web -D /x -b", "web"),
        ("systemd-nspawn -Mweb", "web"),
        ("systemd-nspawn -D /var/lib/machines/deb /bin/sh --machine=no", "deb"),
        ("systemd-nspawn -D / -- x", None),
        ("systemd-nspawn --machine=../x", None),
        ("systemd-nspawn", None),
    ],
)
def test_nspawn(line: str, name: str | None) -> None:
    assert machine_name(line.split()) == name


def test_containerd_of_kubernetes_names_pod_and_container() -> None:
    notes = {
        "io.kubernetes.cri.container-name": "web",
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.image-name": "docker.io/library/redis:7",
        "io.kubernetes.cri.sandbox-name": "web-0",
        "io.kubernetes.cri.sandbox-namespace": "shop",
        "io.kubernetes.cri.sandbox-uid": "12-34",
    }
    found = describe_bundle(ID, notes, 7)
    assert (found.name, found.image) == ("web", "docker.io/library/redis:7")
    assert found.labels == {
        "io.kubernetes.container.name": "web",
        "io.kubernetes.pod.name": "web-0",
        "io.kubernetes.pod.namespace": "shop",
        "io.kubernetes.pod.uid": "12-34",
    }
    sandbox = {"io.kubernetes.cri.container-type": "sandbox", "io.kubernetes.cri.sandbox-name": "web-0"}
    assert describe_bundle(ID, sandbox, 7).name == "web-0-sandbox"
    assert describe_bundle("redis", {}, 7).name == "redis"


def test_crio_container_by_its_bundle(tmp_path: Path) -> None:
    proc, bundle = tmp_path / "proc", tmp_path / "proc/10/root/b/userdata"
    fake_process(proc, 10, "conmon", 1, 5, "conmon", "-c", ID, "-b", "/b/userdata", "-n", "k8s_web")
    fake_process(proc, 11, "redis", 10, 6)
    bundle.mkdir(parents=True)
    notes = {
        "io.container.manager": "cri-o",
        "io.kubernetes.cri-o.Name": "k8s_web_web-0_shop_12_0",
        "io.kubernetes.cri-o.ImageName": "redis:7",
        "io.kubernetes.cri-o.Labels": json.dumps({"io.kubernetes.pod.name": "web-0", "tier": "front", "n": 5}),
        "io.kubernetes.pod.namespace": "shop",
    }
    (bundle / "config.json").write_text(json.dumps({"annotations": notes}))
    (item,) = monitored(ProcessTable(proc))
    assert (item.manager, item.container.name, item.container.init_pid) == ("cri-o", "k8s_web_web-0_shop_12_0", 11)
    assert item.container.labels == {
        "io.kubernetes.pod.name": "web-0",
        "io.kubernetes.pod.namespace": "shop",
        "tier": "front",
    }


def test_state_left_behind_is_not_a_process_that_has_the_pid_now(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    fake_process(proc, 10, "sleep", 1, 100)
    for runtime, file, state in (
        (Runc, "state.json", {"init_process_pid": 10, "init_process_start": 100}),
        (Crun, "status", {"pid": 10, "process-start-time": 100}),
    ):
        for name, change in (("now", 0), ("old", 1)):
            (tmp_path / file / name).mkdir(parents=True)
            told = {key: value - change if value == 100 else value for key, value in state.items()}
            (tmp_path / file / name / file).write_text(json.dumps(told))
        found = {item.id: item.init_pid for item in runtime((f"{tmp_path}/{file}",)).containers(ProcessTable(proc))}
        assert found == {"now": 10, "old": None}
    assert ProcessTable(proc).tasks[10].start == 100 * TICK_NS  # type: ignore[index]


def test_files_of_strangers_do_no_harm(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "deep").write_text("[" * 100_000)
    (tmp_path / "big").write_bytes(b" " * (5 << 20) + b"1")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("pipe", "deep", "big", "binary", "missing", "."):
        assert read_json(tmp_path / name) is None
    for content in (
        "7",
        "[7]",
        '[{"id": 7}]',
        f'[{{"id": "{ID}", "metadata": 7}}]',
        f'[{{"id": "{ID}", "metadata": "7"}}]',
    ):
        (tmp_path / "index").write_text(content)
        assert stored(ID, tmp_path / "index") == (None, None, None)
    (tmp_path / "digits").write_text("7" * 5000)
    proc = tmp_path / "proc"
    for number, name in enumerate(("pipe", "big", "binary", "digits", "missing"), 20):
        fake_process(proc, number, "conmon", 1, 5, "conmon", "-c", ID, "-b", "/b", "-p", f"/{name}")
        (proc / str(number) / "root").symlink_to(tmp_path)
        fake_process(proc, number + 10, "containerd", 1, 5, "containerd", "--config", f"/{name}")
        (proc / str(number + 10) / "root").symlink_to(tmp_path)
        bundle = tmp_path / "state/io.containerd.runtime.v2.task/apps" / name
        bundle.mkdir(parents=True)
        (bundle / "init.pid").symlink_to(tmp_path / name)
    assert [item.container.init_pid for item in monitored(ProcessTable(proc))] == [None] * 5
    containerd = Containerd((f"{tmp_path}/state",))
    assert containerd.watched(ProcessTable(proc)) and containerd.kept(ProcessTable(proc)) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\x1b[2J", r"a\x1b[2J"),
        ("a\u202eb", r"a\u202eb"),
        ("é ✓", "é ✓"),
        (7, ""),
        ("x" * 5000, "x" * 1024),
        ("\ud800", r"\ud800"),
    ],
)
def test_clean(value: object, expected: str) -> None:
    assert clean(value) == expected


def test_one_shim_inside_a_container_serves_a_pod(tmp_path: Path) -> None:
    proc, bundles = tmp_path / "proc", tmp_path / "k8s.io"
    fake_process(proc, 10, "containerd-shim", 1, 5, "containerd-shim-runc-v2", "-namespace", "k8s.io", "-id", "sandbox")
    kinds = {"sandbox": (11, "21"), "app": (12, "22"), "other": (13, "99")}
    for name, (pid, inside) in kinds.items():
        fake_process(proc, pid, name, 10, pid)
        number = inside if name != "other" else "23"
        (proc / str(pid) / "status").write_text(f"Name:\t{name}\nNStgid:\t{pid}\t{number}\t1\n")
        (bundles / name).mkdir(parents=True)
        (bundles / name / "init.pid").write_text(inside)
        notes = {"io.kubernetes.cri.container-type": name, "io.kubernetes.cri.container-name": f"{name}-0"}
        (bundles / name / "config.json").write_text(json.dumps({"annotations": notes}))
    (proc / "10/status").write_text("NStgid:\t10\t20\n")
    (proc / "10/ns").mkdir()
    (proc / "10/ns/pid").touch()  # another inode than the host's
    (proc / "10/cwd").symlink_to(bundles / "sandbox")
    processes = ProcessTable(proc)
    told = {item.name: item.init_pid for item in Inside("containerd").containers(processes)}
    assert told == {"sandbox-0": 11, "app-0": 12}  # the number of the third is not its own any more
    with pytest.raises(RuntimeAbsentError):
        Inside("docker").containers(processes)
    shim = processes.task(10)
    assert shim is not None and Inside("containerd").born(processes, shim, Pid(12)) is None
