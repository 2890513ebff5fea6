"""Containers of real runtimes, each started by its own tools, with what these tools say of it.

Resource limits are set low where a runtime would raise them: in a virtual machine that may be forbidden.
"""

import json
import os
import pwd
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.require import missing, require_program, require_root
from support.rootfs import make_rootfs


@dataclass(frozen=True)
class Started:
    """What the runtime's own tools tell of a container that it runs."""

    runtime: str
    id: str
    name: str
    init_pid: int
    image: str | None = None


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr or done.stdout}")
    return str(done.stdout).strip()


def remove(call: Callable[..., str], *command: str) -> None:
    """Run a command that removes containers; one that fails, as it may on a busy machine, is run again a few times."""
    for wait in (0.5, 1, 2, 4):
        try:
            call(*command)
        except RuntimeError:
            time.sleep(wait)
        else:
            return
    call(*command)


def wait_for(what: str, condition: Callable[[], int | None], seconds: float = 60) -> int:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise TimeoutError(f"{what} did not happen within {seconds} s")


def succeeds(call: Callable[..., str], *command: str) -> bool:
    """Tell whether a command succeeds: whether a daemon answers yet."""
    try:
        call(*command)
    except RuntimeError:
        return False
    return True


def child_of(pid: int) -> int | None:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


def _podman_command(directory: Path) -> tuple[list[str], dict[str, Any]]:
    """Return the command with its own directories, and what Popen is given with it."""
    configuration = directory / "containers.conf"
    limits = 'default_ulimits = ["nofile=1000:1000", "nproc=1000:1000"]'
    configuration.write_text(f'[containers]\nnetns = "none"\n{limits}\n[engine]\nevents_logger = "file"\n')
    configuration.chmod(0o644)
    places = [f"--root={directory}/root", f"--runroot={directory}/run", f"--tmpdir={directory}/tmp"]
    command = ["podman", *places, "--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--runtime=runc"]
    environment = {**os.environ, "CONTAINERS_CONF": str(configuration), "HOME": str(directory)}
    environment["XDG_RUNTIME_DIR"] = str(directory)
    return command, {"env": environment, "cwd": directory}


def _podman(directory: Path, *prefix: str) -> Callable[..., str]:
    command, options = _podman_command(directory)

    def podman(*arguments: str) -> str:
        return run(*prefix, *command, *arguments, **options)

    return podman


def _kill_all(uid: int) -> None:
    """Kill the processes of a user that only this test has: Podman leaves one to hold its namespaces."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                if entry.stat().st_uid == uid:
                    os.kill(int(entry.name), signal.SIGKILL)


PODMAN_LIMITS = ("--ulimit=nofile=1000:1000", "--ulimit=nproc=1000:1000", "--network=none")


def _start_podman(podman: Callable[..., str], name: str, *what: str) -> Started:
    identifier = podman("run", "--detach", f"--name={name}", *PODMAN_LIMITS, *what)
    image, pid = podman("inspect", "--format={{.ImageName}}|{{.State.Pid}}", name).split("|")
    return Started("podman", identifier, name, int(pid), image or None)


PODMAN_IMAGE = "localhost/busybox:test"


@contextmanager
def podman_calls(directory: Path) -> Iterator[Callable[..., str]]:
    """Give a function that runs Podman, which has a busybox image; its containers are removed in the end."""
    require_program("podman", "podman")
    require_program("runc", "runc")
    call = _podman(directory)
    archive = directory / "image.tar"
    run("tar", "-C", make_rootfs(directory / "rootfs"), "-cf", archive, ".")
    call("import", str(archive), PODMAN_IMAGE)
    try:
        yield call
    finally:
        remove(call, "rm", "--all", "--force", "--time=0")


@contextmanager
def podman_service(directory: Path) -> Iterator[str]:
    """Podman's API for the containers of :func:`podman_calls`; its address."""
    address = f"unix://{directory}/podman.sock"
    command, options = _podman_command(directory)
    process = subprocess.Popen([*command, "system", "service", "--time=0", address], **options)
    try:
        wait_for("Podman's API", lambda: (directory / "podman.sock").exists())
        yield address
    finally:
        process.terminate()
        process.wait()


@contextmanager
def podman(directory: Path, name: str, command: tuple[str, ...]) -> Iterator[Started]:
    with podman_calls(directory) as call:
        yield _start_podman(call, name, "--label=tier=front", PODMAN_IMAGE, *command)


@contextmanager
def _another_user(directory: Path) -> Iterator[tuple[str, ...]]:
    """Make a user, to whom a directory is given; the command that runs another one as that user."""
    for program, package in (("newuidmap", "uidmap"), ("setpriv", "util-linux")):
        require_program(program, package)
    user = "boxtrace-test"
    if user in {entry.pw_name for entry in pwd.getpwall()}:
        missing(f"user {user} exists already")
    run("useradd", "--no-create-home", user)
    try:
        run("chown", "-R", user, directory)
        yield "setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"
    finally:
        _kill_all(pwd.getpwnam(user).pw_uid)
        run("userdel", "--force", user)


@contextmanager
def rootless_podman(directory: Path, name: str, command: tuple[str, ...], *options: str) -> Iterator[Started]:
    require_program("podman", "podman")
    make_rootfs(directory / "rootfs")
    with _another_user(directory) as prefix:
        call = _podman(directory, *prefix)
        try:
            yield _start_podman(call, name, *options, "--rootfs", str(directory / "rootfs"), *command)
        finally:
            remove(call, "rm", "--all", "--force", "--time=0")


# As dockerd-rootless.sh, which wants a network of its own from slirp4netns.
_ROOTLESS_DOCKERD = """
rm -f /run/docker /run/containerd /run/xtables.lock
exec dockerd --rootless --bridge=none --iptables=false --ip6tables=false --storage-driver=vfs \
    --exec-opt native.cgroupdriver=cgroupfs
"""


@contextmanager
def rootless_docker(directory: Path, name: str, command: tuple[str, ...]) -> Iterator[Started]:
    for program, package in (("dockerd", "docker.io"), ("rootlesskit", "rootlesskit")):
        require_program(program, package)
    archive = directory / "image.tar"
    run("tar", "-C", make_rootfs(directory / "rootfs"), "-cf", archive, ".")
    environment = {**os.environ, "HOME": str(directory), "XDG_RUNTIME_DIR": str(directory)}
    kit = ("rootlesskit", "--net=host", "--copy-up=/etc", "--copy-up=/run", "sh", "-c", _ROOTLESS_DOCKERD)
    with _another_user(directory) as prefix, (directory / "log").open("wb") as log:
        process = subprocess.Popen([*prefix, *kit], env=environment, cwd=directory, stdout=log, stderr=log)
        try:

            def docker(*arguments: str | Path) -> str:
                return run("docker", f"--host=unix://{directory}/docker.sock", *arguments)

            def answers() -> bool:
                assert process.poll() is None, (directory / "log").read_text()
                return succeeds(docker, "version")

            wait_for("Docker's API", answers)
            docker("import", archive, "busybox:test")
            identifier = docker("run", "--detach", "--network=none", f"--name={name}", "busybox:test", *command)
            yield Started(
                "docker", identifier, name, int(docker("inspect", "--format={{.State.Pid}}", name)), "busybox:test"
            )
            remove(docker, "rm", "--force", name)
        finally:
            process.terminate()
            process.wait()


def write_bundle(directory: Path, name: str, command: tuple[str, ...], *shared: str) -> None:
    """Write what runc and crun need to run a container.

    :param shared: kinds of namespaces that it has together with who starts it.
    """
    kinds = {"pid", "ipc", "uts", "mount", "network", "cgroup"} - {*shared}
    configuration = {
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": list(command), "env": ["PATH=/bin"], "cwd": "/"},
        "root": {"path": str(make_rootfs(directory / "rootfs"))},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "annotations": {"org.example.tier": "front"},
        "linux": {"cgroupsPath": f"/{name}", "namespaces": [{"type": kind} for kind in sorted(kinds)]},
    }
    (directory / "config.json").write_text(json.dumps(configuration))


@contextmanager
def runc(directory: Path, name: str, command: tuple[str, ...]) -> Iterator[Started]:
    require_program("runc", "runc")
    write_bundle(directory, name, command)
    _detach(["runc"], directory, name)
    try:
        yield Started("runc", name, name, json.loads(run("runc", "state", name))["pid"])
    finally:
        remove(run, "runc", "delete", "--force", name)


_VERSION_1 = 'mountpoint -q /sys/fs/cgroup/unified && umount /sys/fs/cgroup/unified; exec crun "$@"'
CRUN = ("unshare", "--mount", "sh", "-c", _VERSION_1, "crun")
"""crun refuses cgroups of both versions side by side: it is shown those of version 1 alone."""


@contextmanager
def crun(directory: Path, name: str, command: tuple[str, ...]) -> Iterator[Started]:
    require_program("crun", "crun")
    write_bundle(directory, name, command)
    _detach(CRUN, directory, name)
    try:
        yield Started("crun", name, name, json.loads(run("crun", "state", name))["pid"])
    finally:
        remove(run, *CRUN, "delete", "--force", name)


def _detach(prefix: Sequence[str], bundle: Path, name: str) -> None:
    with (bundle / "output").open("wb") as output:
        command = [*prefix, "run", "--detach", f"--bundle={bundle}", name]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    if done.returncode != 0:
        raise RuntimeError(f"{command}: {(bundle / 'output').read_text()}")


@contextmanager
def lxc(directory: Path, name: str, command: tuple[str, ...]) -> Iterator[Started]:
    require_program("lxc-start", "lxc")
    root = make_rootfs(directory / "rootfs")
    (directory / name).mkdir()
    (directory / name / "config").write_text(
        f"lxc.uts.name = {name}\nlxc.rootfs.path = dir:{root}\nlxc.net.0.type = empty\n"
        "lxc.mount.auto = proc:mixed\nlxc.apparmor.profile = unconfined\n"
    )
    run("lxc-start", "-P", directory, "-n", name, "--", *command)
    try:
        run("lxc-wait", "-P", directory, "-n", name, "-s", "RUNNING", "-t", "10")
        yield Started("lxc", name, name, int(run("lxc-info", "-P", directory, "-n", name, "-p", "-H")))
    finally:
        # It fails when the container has ended by itself.
        subprocess.run(["lxc-stop", "-P", directory, "-n", name, "--kill"], capture_output=True)


@contextmanager
def nspawn(directory: Path, name: str, command: tuple[str, ...]) -> Iterator[Started]:
    require_program("systemd-nspawn", "systemd-container")
    root = make_rootfs(directory / "rootfs")
    options = ["--register=no", "--keep-unit", "--quiet", f"--machine={name}", f"--directory={root}"]
    with (directory / "output").open("wb") as output:
        process = subprocess.Popen(
            ["systemd-nspawn", *options, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        wait_for("the payload's start", lambda: _payload(process.pid, command[0]))
        yield Started("systemd-nspawn", name, name, _payload(process.pid, command[0]) or 0)
    finally:
        process.terminate()
        process.wait(60)


def _payload(monitor: int, program: str) -> int | None:
    """The leader is the child of systemd-nspawn that runs the program."""
    pid = child_of(monitor)
    if pid is None:
        return None
    return pid if Path(f"/proc/{pid}/comm").read_text().strip() == Path(program).name else None


RUNTIMES = {
    starter.__name__: starter for starter in (podman, rootless_podman, rootless_docker, runc, crun, lxc, nspawn)
}


@pytest.fixture
def start_container() -> Iterator[Callable[..., Started]]:
    """``start_container(runtime, name, *command)``; every container is removed at the end of the test."""
    require_root()
    with ExitStack() as stack:

        def start(runtime: str, name: str, *command: str) -> Started:
            # A short path: Podman refuses long ones.
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bt-", ignore_cleanup_errors=True)))
            directory.chmod(0o755)
            started: Started = stack.enter_context(RUNTIMES[runtime](directory, name, command))
            return started

        yield start


__all__ = [
    "CRUN",
    "PODMAN_IMAGE",
    "PODMAN_LIMITS",
    "RUNTIMES",
    "Started",
    "podman_calls",
    "run",
    "start_container",
    "succeeds",
    "wait_for",
    "write_bundle",
]
