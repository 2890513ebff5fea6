"""What can go wrong is told in words that help, with an exit status, and leaves what was recorded readable."""

import gc
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from boxtrace.trace import open_trace
from support.recorder import BOXTRACE, Recorded, Recorder, babeltrace_counter, check_packets, check_times
from support.require import require_program
from support.workloads import Workload


def boxtrace(*arguments: object, prefix: tuple[object, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*map(str, prefix), *BOXTRACE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def failed(done: subprocess.CompletedProcess[str], *words: str, status: int = 1) -> None:
    assert done.returncode == status, done.stderr
    assert "boxtrace: error: " in done.stderr and "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def test_without_root(tmp_path: Path) -> None:
    prefix = (require_program("setpriv", "util-linux"), "--reuid=65534", "--regid=65534", "--clear-groups")
    probe = subprocess.run([*prefix, *BOXTRACE, "--version"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"nobody cannot read this installation: {probe.stderr.strip().splitlines()[-1]}")
    done = boxtrace("record", "-o", tmp_path / "trace", prefix=prefix)
    failed(done, "CAP_SYS_PTRACE, CAP_PERFMON, CAP_BPF", "sudo boxtrace record")
    assert not (tmp_path / "trace").exists()


def test_some_capabilities_are_missing(tmp_path: Path) -> None:
    keep = "-all,+dac_override,+sys_ptrace,+bpf"
    prefix = (require_program("setpriv", "util-linux"), f"--bounding-set={keep}")
    done = boxtrace("record", "-o", tmp_path / "trace", prefix=prefix)
    failed(done, "CAP_PERFMON")
    assert "CAP_BPF" not in done.stderr and "CAP_SYS_PTRACE" not in done.stderr


def test_these_capabilities_suffice(tmp_path: Path) -> None:
    keep = "-all,+sys_ptrace,+bpf,+perfmon,+dac_override"
    prefix = (require_program("setpriv", "util-linux"), f"--bounding-set={keep}")
    done = boxtrace("record", "-o", tmp_path / "trace", "-d", "300ms", "-e", "sched_process_*", prefix=prefix)
    assert done.returncode == 0, done.stderr
    assert babeltrace_counter(tmp_path / "trace") > 0


def hide(path: str) -> tuple[str, ...]:
    """Run a command in a mount namespace where this directory is empty."""
    script = 'mount -t tmpfs none "$0" && exec "$@"'
    return ("unshare", "-m", "--propagation", "private", "sh", "-c", script, path)


def test_without_btf(tmp_path: Path) -> None:
    done = boxtrace("record", "-o", tmp_path / "trace", prefix=hide("/sys/kernel/btf"))
    failed(done, "/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF=y")


def test_with_type_information_that_is_none(tmp_path: Path) -> None:
    script = 'mount --bind /dev/null /sys/kernel/btf/vmlinux && exec "$0" "$@"'
    prefix = ("unshare", "-m", "--propagation", "private", "sh", "-c", script)
    failed(
        boxtrace("record", "-o", tmp_path / "trace", prefix=prefix),
        "/sys/kernel/btf/vmlinux",
        "CONFIG_DEBUG_INFO_BTF=y",
    )


def test_without_tracefs(tmp_path: Path) -> None:
    """The argument names of system calls come from boxtrace's own tables then; that is told, and prevents nothing."""
    done = boxtrace("record", "-o", tmp_path / "trace", "-d", "300ms", prefix=hide("/sys/kernel/tracing"))
    assert done.returncode == 0, done.stderr
    assert "boxtrace: warning: " in done.stderr and "tracefs" in done.stderr
    assert babeltrace_counter(tmp_path / "trace") > 0


def test_container_not_found(demo_container: Callable[..., Any], tmp_path: Path) -> None:
    demo_container("boxtrace-frontend", "sleep", "100")
    done = boxtrace("record", "-o", tmp_path / "trace", "--container", "boxtrace-frontent")
    failed(done, "no container is named 'boxtrace-frontent'", "did you mean 'boxtrace-frontend'", "boxtrace containers")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("arguments", "words", "status"),
    [
        (("--pid", "4194304"), ("there is no process 4194304",), 1),
        (("--pid-ns", "1"), ("no process is in pid namespace 1", "lsns"), 1),
        (("--subbuf-size", "100000"), ("100000", "power of two"), 2),
        (("--subbuf-size", "8k"), ("8192", "16k"), 2),
        (("--num-subbuf", "3"), ("3", "power of two"), 2),
        (("--num-subbuf", "1"), ("at least 2",), 2),
        (("--flush", "0s"), ("more than 0",), 2),
        (("--duration", "0"), ("more than 0",), 2),
        (("-e", "sched_nothing"), ("no event matches 'sched_nothing'", "boxtrace list events"), 2),
        (("--follow",), ("--follow", "--pid"), 2),
        (("--", "no-such-program"), ("no program 'no-such-program'",), 2),
        (("--subbuf-size", "256M", "--num-subbuf", "1024"), ("memory", "--subbuf-size"), 1),
        (("--subbuf-size", "256M", "--num-subbuf", "65536"), ("memory", "--subbuf-size"), 1),
    ],
)
def test_impossible_options(tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...], status: int) -> None:
    failed(boxtrace("record", "-o", tmp_path / "trace", *arguments), *words, status=status)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("arguments", [("--subbuf-size", "many"), ("--duration", "soon"), ("--pid", "me")])
def test_options_that_are_no_numbers(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = boxtrace("record", "-o", tmp_path / "trace", *arguments)
    assert done.returncode == 2 and arguments[1] in done.stderr and "Traceback" not in done.stderr


def test_thread_is_no_process(tmp_path: Path, workload: Workload) -> None:
    script = "import threading, time; threading.Thread(target=time.sleep, args=(9,)).start(); print(flush=True)"
    with subprocess.Popen([BOXTRACE[0], "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        thread = max(int(task.name) for task in Path(f"/proc/{process.pid}/task").iterdir())
        failed(boxtrace("record", "-o", tmp_path / "trace", "--pid", thread), f"--pid {process.pid}")
        process.kill()


def test_output_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    failed(boxtrace("record", "-o", tmp_path, "-d", "1s"), "not an empty directory", "-o")
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
    done = boxtrace("record", "-o", tmp_path / "precious", "-d", "1s")
    assert done.returncode != 0 and "precious" in done.stderr
    assert (tmp_path / "precious").read_text() == "data"


def test_read_only_output(tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o ro none "$0" && exec "$@"'
    prefix = ("unshare", "-m", "--propagation", "private", "sh", "-c", script, tmp_path)
    failed(boxtrace("record", "-o", tmp_path / "trace", "-d", "1s", prefix=prefix), "Read-only file system")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", disk], check=True)
    yield disk
    gc.collect()  # a trace maps its files as long as it is there
    subprocess.run(["umount", disk], check=True)


def test_disk_full(small_disk: Path, workload: Workload) -> None:
    script = "import os\nwhile True: os.getppid()"
    with subprocess.Popen([BOXTRACE[0], "-c", script]) as busy:
        try:
            with Recorder(
                small_disk / "trace", "--pid", busy.pid, "--subbuf-size", "64k", "--num-subbuf", "4"
            ) as recorder:
                recorded = recorder.wait()
        finally:
            busy.kill()
    assert recorded.status == 1
    assert "error: cannot write the trace: No space left on device" in recorded.stderr
    assert "events in the buffers are lost" in recorded.stderr and "free some space" in recorded.stderr
    assert "Traceback" not in recorded.stderr and "Exception" not in recorded.stderr
    check_packets(recorded)
    check_times(recorded)
    assert babeltrace_counter(recorded.path) == len(recorded.all_events) > 1000


def test_disk_full_at_the_start(small_disk: Path) -> None:
    """In the state dump, or before: no thread is left that complains."""
    (small_disk / "filler").write_bytes(bytes((2 << 20) + (400 << 10)))
    done = boxtrace("record", "-o", small_disk / "trace", "--subbuf-size", "16k", "--flush", "10ms")
    failed(done, "No space left on device")
    assert "Exception" not in done.stderr


def interrupt(output: Path, delay: float, *arguments: object) -> Recorded:
    with Recorder(output, *arguments, wait=False) as recorder:
        time.sleep(delay)
        return recorder.stop()


LONG_SLEEP = f"1000.{os.getpid()}"


@pytest.mark.parametrize("command", [(), ("--", "sleep", LONG_SLEEP)])
def test_interrupted_while_it_starts(tmp_path: Path, command: tuple[str, ...]) -> None:
    """At any moment: a complete trace or none, no child left, no traceback."""
    for number in range(10):
        output = tmp_path / f"trace{number}"
        recorded = interrupt(output, 0.1 * number, "-e", "sched_process_*", *command)
        if "KeyboardInterrupt" in recorded.stderr and ", in run" not in recorded.stderr:
            continue  # Python itself was still starting
        assert "Traceback" not in recorded.stderr and "Exception" not in recorded.stderr, recorded.stderr
        if recorded.status == 0:
            assert babeltrace_counter(output) == recorded.summary_events
        else:
            assert recorded.status in (130, -signal.SIGINT), recorded.stderr
            if (output / "kernel/metadata").exists():
                assert list(open_trace(output).events()) == []
    sleeping = [path for path in Path("/proc").glob("[0-9]*/cmdline") if _command(path) == ["sleep", LONG_SLEEP]]
    assert sleeping == []


def test_an_interrupt_that_python_forgets_ends_the_recording(tmp_path: Path) -> None:
    """It is raised in a callback of a weak reference, as imports have them."""
    script = f"""
import os, signal, weakref
from boxtrace.cli.main import main
from boxtrace.interrupts import note_interrupts
class Thing: pass
note_interrupts()
thing = Thing()
reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))
del thing
main(["record", "-o", {str(tmp_path / "trace")!r}, "--", "sleep", "{LONG_SLEEP}"])
"""
    done = subprocess.run([BOXTRACE[0], "-c", script], capture_output=True, text=True, timeout=60)
    assert "Exception ignored" in done.stderr and "ended by SIGINT" in done.stderr
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if _command(path) == ["sleep", LONG_SLEEP]]


def _command(path: Path) -> list[str]:
    try:
        return path.read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []


def test_files_belong_to_who_called_sudo(tmp_path: Path) -> None:
    prefix = ("env", "SUDO_UID=65534", "SUDO_GID=65534")
    done = boxtrace("record", "-o", tmp_path / "trace", "-d", "300ms", "-e", "sched_process_*", prefix=prefix)
    assert done.returncode == 0
    for path in (tmp_path / "trace", *(tmp_path / "trace").rglob("*")):
        assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534)
        assert path.stat().st_mode & 0o007 == 0
