"""The Python client: tracepoints, logging, spans, asyncio; compiled and not."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from support.python_image import build_wheel, copy_client
from support.require import require_root
from support.user import PYTHON_CLIENT, Recording, build_python_client

Start = Callable[..., Recording]
Run = Callable[[Recording, str], None]


@pytest.fixture(scope="session", params=["native", "pure"])
def run_python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """``run_python(recording, text)`` runs a program with the client on its path."""
    if request.param == "native":
        settings = [f"PYTHONPATH={build_python_client(tmp_path_factory.mktemp('python'))}"]
    else:
        settings = [f"PYTHONPATH={PYTHON_CLIENT / 'src'}", "BOXTRACE_PURE=1"]

    def run(recording: Recording, text: str) -> None:
        check = f"import boxtrace_client as boxtrace\nassert boxtrace.NATIVE is {request.param == 'native'}\n"
        recording.run("env", *settings, sys.executable, "-c", check + textwrap.dedent(text))

    return run


def test_log_records(run_python: Run, record_user: Start) -> None:
    recording = record_user()
    run_python(
        recording,
        """
        import logging
        logger = logging.getLogger("app.db")
        logger.addHandler(boxtrace.Handler())
        def query():
            logger.warning("slow: %d ms", 17)
            logger.info("not at this level")
        query()
        """,
    )
    (event,) = recording.events()
    assert event.name == "python:log"
    assert (event["logger"], event["level"], event["message"]) == ("app.db", 30, "slow: 17 ms")
    assert (event["function"], event["file"], event["task"]) == ("query", "<string>", "")


def test_a_program_that_closes_all_descriptors(run_python: Run, record_user: Start, tmp_path: Path) -> None:
    """As daemons do; it is recorded again. The pure client's memory maps have descriptors before Python 3.13."""
    recording = record_user()
    path = tmp_path / "data"
    path.write_bytes(b"x" * 4096)
    run_python(
        recording,
        f"""
        import os, sys, threading, time
        event, ended = boxtrace.Event("app:step", n=boxtrace.U32), threading.Event()
        def run(number):
            for _ in range(10):
                event(number)
                time.sleep(0.01)
            ended.wait()
        event(0)
        time.sleep(0.5)  # nothing is under way between client and host any more
        os.closerange(3, 4096)
        files = [os.open("{path}", os.O_RDWR) for _ in range(16)]
        threads = [threading.Thread(target=run, args=(number,)) for number in range(1, 65)]
        for thread in threads:
            thread.start()
            time.sleep(0.05)
        ended.set()
        for thread in threads:
            thread.join()
        if boxtrace.NATIVE or sys.version_info >= (3, 13):
            assert [os.lseek(file, 0, os.SEEK_CUR) for file in files] == [0] * 16
        """,
    )
    numbers = [event["n"] for event in recording.events()]
    assert numbers[0] == 0 and numbers.count(64) == 10  # a thread that came later than that was noticed has a buffer
    assert path.read_bytes() == b"x" * 4096


def test_spans_and_tasks(run_python: Run, record_user: Start) -> None:
    recording = record_user()
    run_python(
        recording,
        """
        import asyncio
        @boxtrace.span("step")
        async def step():
            await asyncio.sleep(0.01)
        @boxtrace.span("outer")
        async def outer():
            await step()
        async def main():
            await asyncio.gather(*(asyncio.create_task(outer(), name=f"task-{n}") for n in range(2)))
        asyncio.run(main())
        try:
            with boxtrace.span("failing"):
                raise KeyError
        except KeyError:
            pass
        """,
    )
    begun, ended = {}, {}
    for event in recording.events():
        (begun if event.name == "python:span_begin" else ended)[event["span"]] = event
    assert begun.keys() == ended.keys() and len(begun) == 5
    for number, event in begun.items():
        assert ended[number]["name"] == event["name"] and ended[number].timestamp > event.timestamp
        assert ended[number]["task"] == event["task"]
        if event["name"] == "step":
            parent = begun[event["parent"]]
            assert parent["name"] == "outer" and parent["task"] == event["task"]
        else:
            assert event["parent"] == 0
    assert sorted(event["task"] for event in begun.values()) == ["", "task-0", "task-0", "task-1", "task-1"]
    (failed,) = [event for event in ended.values() if event["name"] == "failing"]
    assert failed["error"] == "KeyError"


def test_values_that_do_not_fit(run_python: Run, record_user: Start) -> None:
    recording = record_user()
    run_python(
        recording,
        """
        import struct
        event = boxtrace.Event("app:event", a=boxtrace.U8, b=boxtrace.array(boxtrace.I16, 2), c=boxtrace.STRING)
        assert event and event.enabled
        event(255, (-32768, 32767), "ends\\0here")
        event(0, [1, 2], "\\ud800")
        for values in [(256, (1, 2), ""), (-1, (1, 2), ""), ("1", (1, 2), ""), (1, (1, 2, 3), ""), (1, (1, 40000), ""),
                       (1, (1, 2)), (1, (1, 2), "", 4), (1, (1, 2), 5), (1, 5, "")]:
            try:
                event(*values)
            except (TypeError, OverflowError, ValueError, AttributeError, struct.error):
                pass
            else:
                raise SystemExit(f"{values} were recorded")
        """,
    )
    first, second = recording.events()
    assert (first["a"], first["b"], first["c"]) == (255, [-32768, 32767], "ends")
    assert second["c"] == "?"


def test_hosts_come_and_go(run_python: Run, record_user: Start, tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    text = f"""
        import os, time
        event = boxtrace.Event("app:count", n=boxtrace.U64)
        n = 0
        while not os.path.exists({str(stop)!r}):
            event(n)
            n += 1
            time.sleep(0.001)
        """
    found = []
    recording = record_user("first")
    with ThreadPoolExecutor() as pool:
        done = pool.submit(run_python, recording, text)
        try:
            for name in ("second", "third", "fourth"):
                assert recording.wait_for_events(200) >= 200
                found.append([event["n"] for event in recording.events()])
                recording = record_user(name)
        finally:
            stop.touch()
        done.result()
    for numbers in found:
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert all(before[-1] < after[0] for before, after in pairwise(found))


def test_contexts_follow_setns_in_threads_and_children(run_python: Run, record_user: Start) -> None:
    require_root()
    recording = record_user(flush_seconds=60.0)
    run_python(
        recording,
        """
        import ctypes, os, threading
        libc = ctypes.CDLL(None, use_errno=True)
        event = boxtrace.Event("app:space", uts=boxtrace.STRING, vtid=boxtrace.I32)
        def tell():
            event(os.readlink("/proc/thread-self/ns/uts"), threading.get_native_id())
        def work():
            before = os.open("/proc/thread-self/ns/uts", os.O_RDONLY)
            tell()
            for _ in range(5):
                assert libc.unshare(0x04000000) == 0
                tell()
            assert libc.setns(before, 0) == 0
            tell()
        for round in range(2):
            threads = [threading.Thread(target=work) for _ in range(2)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
        if os.fork() == 0:
            work()
            os._exit(0)
        os.wait()
        tell()
        """,
    )
    events = recording.events()
    assert len(events) == 7 * 5 + 1 and not recording.lost()
    for event in events:
        assert (f"uts:[{event['uts_ns']}]", event.packet_context["vtid"]) == (event["uts"], event.payload["vtid"])
    assert len({event["uts"] for event in events}) >= 3


def test_ids_after_the_program_has_told_of_a_change(run_python: Run, record_user: Start) -> None:
    """What the kernel tells the program itself is recorded beside what the host stamped."""
    require_root()
    recording = record_user(flush_seconds=60.0)
    run_python(
        recording,
        """
        import os, threading, time
        event = boxtrace.Event("app:ids", ids=boxtrace.array(boxtrace.U32, 6))
        def tell():
            event((*os.getresuid(), *os.getresgid()))
        boxtrace.context_changed()  # of a thread that has recorded nothing yet: no effect
        tell()
        time.sleep(0.3)  # until the host has seen the thread's ring
        for number in range(1000, 1020):
            os.setresgid(number, number + 1, -1)
            os.setresuid(number + 2, number + 3, -1)
            boxtrace.context_changed()
            tell()
            os.setresuid(-1, 0, -1)
            boxtrace.context_changed()
            tell()
        """,
    )
    events = recording.events()
    assert len(events) == 41 and not recording.lost()
    contexts = ("vuid", "veuid", "vsuid", "vgid", "vegid", "vsgid")
    for event in events:
        assert [event.packet_context[name] for name in contexts] == event["ids"]
    assert len({tuple(event["ids"]) for event in events}) == 41


@pytest.mark.parametrize("compiler", [True, False])
def test_wheels(compiler: bool, tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path, compiler=compiler)
    names = zipfile.ZipFile(wheel).namelist()
    assert wheel.name.endswith("py3-none-any.whl") != compiler
    assert any(name.endswith(".so") for name in names) == compiler
    assert "boxtrace_client/py.typed" in names


def test_a_source_distribution_stands_alone(tmp_path: Path) -> None:
    """The C client is beside the Python client in the repository, and within what is made of it."""
    source = copy_client(tmp_path / "source")
    make = "from setuptools import build_meta; build_meta.build_sdist('.')"
    subprocess.run([sys.executable, "-c", make], cwd=source, check=True, capture_output=True)
    (archive,) = source.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        assert packed.getmember(archive.name.removesuffix(".tar.gz") + "/c/boxtrace.c").isreg()
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*command, str(archive)], check=True, env=dict(os.environ, BOXTRACE_PURE="0"))
    assert list(tmp_path.glob("boxtrace_client-*-linux_*.whl"))
