"""Cgroup paths as runtimes make them, and what they may be the path of."""

import pytest

from boxtrace.containers.paths import possible_ids

HASH = "a4f1c5d2" * 8
POD = "pod0c1f6a1e_7c1b_4f0e_9d3f_6a1b2c3d4e5f"

# Seen on hosts with these runtimes, cgroup versions and drivers (cgroupfs, systemd).
PATHS = [
    ("docker", f"/docker/{HASH}", HASH),
    ("docker", f"/system.slice/docker-{HASH}.scope", HASH),
    ("docker", f"/docker/{HASH}/init", HASH),
    ("podman", f"/libpod_parent/libpod-{HASH}", HASH),
    ("podman", f"/machine.slice/libpod-{HASH}.scope/container", HASH),
    (
        "podman",
        f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{HASH}.scope/container",
        HASH,
    ),
    ("podman", f"/machine.slice/machine-libpod_{POD}.slice/libpod-{HASH}.scope", HASH),
    ("runc", f"/machine.slice/libpod-{HASH}.scope", HASH),
    ("crun", f"/libpod_parent/libpod-{HASH}", HASH),
    ("containerd", f"/kubepods/burstable/{POD}/{HASH}", HASH),
    ("containerd", f"/kubepods.slice/kubepods-{POD}.slice/cri-containerd-{HASH}.scope", HASH),
    ("containerd", f"/system.slice/containerd.service/kubepods-burstable-{POD}.slice:cri-containerd:{HASH}", HASH),
    ("containerd", f"/system.slice/nerdctl-{HASH}.scope", HASH),
    ("containerd", "/default/redis-1", "redis-1"),
    ("cri-o", f"/kubepods.slice/kubepods-besteffort.slice/kubepods-{POD}.slice/crio-{HASH}.scope", HASH),
    ("lxc", "/lxc.payload.web", "web"),
    ("lxc", "/lxc.payload.web-1", "web"),
    ("lxc", "/lxc.payload.my-box/init.scope", "my-box"),
    ("systemd-nspawn", r"/machine.slice/machine-my\x2dbox.scope/payload", "my-box"),
    ("systemd-nspawn", "/machine.slice/systemd-nspawn@web.service/payload/init.scope", "web"),
    ("runc", "/user.slice/runc-box_1.scope", "box_1"),
    ("runc", "/box-1", "box-1"),
    ("crun", "/crun-box.scope", "box"),
    ("crun", "/box-17", "box-17"),
]


@pytest.mark.parametrize(("runtime", "path", "identifier"), PATHS)
def test_path_of_a_container(runtime: str, path: str, identifier: str) -> None:
    assert (runtime, identifier) in set(possible_ids(path))


@pytest.mark.parametrize(
    ("runtime", "path", "identifier"),
    [
        ("docker", f"/libpod_parent/libpod-conmon-{HASH}", HASH),
        ("podman", f"/machine.slice/libpod-conmon-{HASH}.scope", HASH),
        ("lxc", "/lxc.monitor.web", "web"),
        ("lxc", "/docker/web", "web"),
        ("docker", "/", ""),
        ("systemd-nspawn", "/system.slice/web.service", "web"),
    ],
)
def test_path_of_another(runtime: str, path: str, identifier: str) -> None:
    assert (runtime, identifier) not in set(possible_ids(path))


def test_innermost_comes_first() -> None:
    inner, outer = "b" * 64, "c" * 64
    found = [
        identifier for runtime, identifier in possible_ids(f"/docker/{outer}/docker/{inner}") if runtime == "docker"
    ]
    assert found.index(inner) < found.index(outer)
