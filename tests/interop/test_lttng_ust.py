"""Traces that LTTng-UST records here and now, with buffers per user and per process."""

import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_babeltrace_text import assert_same_text

import boxtrace
from support.twins import assert_twins_agree

SOURCE = Path(__file__).parent / "ust"
CONTEXTS = [
    "vpid",
    "vtid",
    "procname",
    "pid_ns",
    "user_ns",
    "cgroup_ns",
    "ipc_ns",
    "mnt_ns",
    "net_ns",
    "time_ns",
    "uts_ns",
]
NEEDED = ("lttng", "lttng-sessiond", "gcc", "babeltrace2")
pytestmark = pytest.mark.skipif(not all(map(shutil.which, NEEDED)), reason=f"needs {', '.join(NEEDED)}")


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("ust") / "demo"
    command = ["gcc", "-O1", "-I", str(SOURCE), str(SOURCE / "demo.c"), "-o", str(program), "-llttng-ust", "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"liblttng-ust-dev is not installed: {done.stderr.splitlines()[0]}")
    return program


@pytest.fixture(scope="module")
def session_daemon() -> Iterator[None]:
    if subprocess.run(["lttng", "--no-sessiond", "list"], capture_output=True, check=False).returncode == 0:
        yield  # somebody's own daemon serves as well
        return
    daemon = subprocess.Popen(["lttng-sessiond", "--no-kernel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            time.sleep(0.1)
            listed = subprocess.run(["lttng", "--no-sessiond", "list"], capture_output=True, check=False)
            if listed.returncode == 0:
                break
        else:
            pytest.fail("lttng-sessiond does not answer")
        yield
    finally:
        daemon.terminate()
        daemon.wait(timeout=30)


def record(application: Path, output: Path, ownership: str, contexts: list[str], ticks: int, rich: int) -> None:
    def lttng(*arguments: str) -> None:
        subprocess.run(["lttng", "--no-sessiond", *arguments], capture_output=True, check=True)

    session = f"boxtrace-{output.name}"
    lttng("create", session, f"--output={output}")
    try:
        lttng("enable-channel", "-u", f"--buffers-{ownership}", "channel0")
        lttng("enable-event", "-u", "-c", "channel0", "demo:*")
        if contexts:
            lttng("add-context", "-u", "-c", "channel0", *[word for name in contexts for word in ("-t", name)])
        lttng("start")
        subprocess.run([str(application), str(ticks), str(rich)], check=True, env={"LTTNG_UST_REGISTER_TIMEOUT": "-1"})
        lttng("stop")
    finally:
        lttng("destroy", session)


@pytest.mark.parametrize(("ownership", "contexts"), [("uid", CONTEXTS), ("pid", [])])
def test_read_as_babeltrace_reads_it(
    application: Path, session_daemon: None, tmp_path: Path, ownership: str, contexts: list[str]
) -> None:
    output = tmp_path / ownership
    record(application, output, ownership, contexts, 100, 50)
    assert assert_same_text(output) == 0
    trace = boxtrace.open(output)
    events = list(trace.events())
    assert Counter(event.name for event in events) == {"demo:tick": 100, "demo:rich": 50}
    assert assert_twins_agree(trace) == 150
    rows = trace.table("demo:rich")
    assert len(rows) == 50
    assert set(contexts) <= set(rows.column_names)
    last = next(event for event in reversed(events) if event.name == "demo:rich")
    assert (last["n"], last["color"], last["sequence"]) == (49, 1, [1])
    assert last["string"] == 'hé"llo\n'
