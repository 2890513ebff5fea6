"""The Python client in containers, as its wheels go into images: with its compiled part, and without."""

from __future__ import annotations

import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from support.dockerd import Dockerd
from support.python_image import build_wheel, make_python_rootfs
from support.require import require_root
from support.runtimes import Started
from support.user_trace import SYSCALLS, check_identity, check_interleaving, namespace, recording, user_events

HERE = Path(__file__).parent
IMAGE = "boxtrace/python:test"


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an image with Python has, and both wheels of the client in it."""
    require_root()
    made = make_python_rootfs(tmp_path_factory.mktemp("python") / "root")
    for name, compiler in (("native", True), ("pure", False)):
        wheel = build_wheel(tmp_path_factory.mktemp(name), compiler=compiler)
        assert wheel.name.endswith("-py3-none-any.whl") != compiler
        zipfile.ZipFile(wheel).extractall(made / name)
    (made / "program.py").write_text((HERE / "user_program.py").read_text())
    return made


@pytest.fixture(scope="session")
def python_image(docker_daemon: Dockerd, root: Path) -> str:
    docker_daemon.import_image(IMAGE, root)
    return IMAGE


def check(trace: Path, init_pid: int, *, inside: bool) -> None:
    check_identity(user_events(trace), init_pid, inside=inside, name="python3")
    check_interleaving(trace)


@pytest.mark.parametrize("client", ["native", "pure"])
def test_docker(dockerd: Dockerd, python_image: str, client: str, tmp_path: Path) -> None:
    options = (f"--env=PYTHONPATH=/{client}", "--read-only")
    dockerd.run(f"python-{client}", "/usr/local/bin/python3", "-B", "/program.py", image=python_image, options=options)
    init_pid = int(dockerd.docker("inspect", "-f", "{{.State.Pid}}", f"python-{client}"))
    with recording(tmp_path / "trace", "--container", f"python-{client}", *SYSCALLS):
        time.sleep(3)
    check(tmp_path / "trace", init_pid, inside=False)


@pytest.mark.parametrize(("runtime", "client"), [("rootless_podman", "native"), ("rootless_podman", "pure")])
def test_a_program_that_enters_a_rootless_container(
    start_container: Callable[..., Started], root: Path, runtime: str, client: str, tmp_path: Path
) -> None:
    started = start_container(runtime, f"boxtrace-python-{client}", "sleep", "1000")
    run_inside(started.init_pid, root, client, tmp_path / "trace")


@pytest.mark.parametrize("client", ["native", "pure"])
def test_plain_namespaces(demo_container: Callable[..., object], root: Path, client: str, tmp_path: Path) -> None:
    demo = demo_container("boxtrace-python", "sleep", "1000")
    run_inside(demo.init_pid, root, client, tmp_path / "trace")  # type: ignore[attr-defined]


def run_inside(init_pid: int, root: Path, client: str, trace: Path) -> None:
    inside = Path(f"/proc/{init_pid}/root")
    added = [entry for entry in root.iterdir() if entry.name == "usr" or not (inside / entry.name).exists()]
    subprocess.run(["cp", "-a", *added, inside], check=True)
    enter = ["nsenter", "--all", "--setuid=0", "--setgid=0", f"--target={init_pid}"]
    program = ["/bin/env", f"PYTHONPATH=/{client}", "/usr/local/bin/python3", "-B", "/program.py"]
    selection = ("--pid-ns", str(namespace(init_pid, "pid")))
    with recording(trace, *selection, *SYSCALLS), subprocess.Popen([*enter, *program]) as process:
        time.sleep(3)
        process.kill()
    check(trace, init_pid, inside=True)
