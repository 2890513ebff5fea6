"""What an event of an application costs, beside LTTng-UST and beside ``logging``: wall clock, median of batches.

Both record with all contexts that a thread has, and without; boxtrace always has all, as its host adds them. What
differs from event to event, the place in the program and a counter of the thread, is measured apart. LTTng-UST's daemon
is started here, and ended again.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from benchmarks.report import format_table
from boxtrace.session.clock import monotonic_clock
from boxtrace.session.user_contexts import event_contexts
from boxtrace.userspace.host import UserHost
from boxtrace.userspace.layout import user_trace_class
from boxtrace.userspace.output import UserOutput
from boxtrace.userspace.placement import listen_at

__all__ = ["UserCost", "format_user", "measure_user"]

_HERE = Path(__file__).parent
_CLIENT = _HERE.parent / "client"
_BATCHES = 300
_EVENTS = 2000
_SLOW_EVENTS = 300
_LTTNGUST = "/usr/lib/python3/dist-packages"
_CONTEXTS = (
    *("vpid", "vtid", "pthread_id", "procname", "vuid", "veuid", "vsuid", "vgid", "vegid", "vsgid"),
    *("cgroup_ns", "ipc_ns", "mnt_ns", "net_ns", "pid_ns", "time_ns", "user_ns", "uts_ns"),
)
_COUNTER = "perf:thread:page-fault"


@dataclass(frozen=True, slots=True)
class UserCost:
    """A way of recording.

    :param median: ns per event.
    :param best: of the quickest batch, in ns.
    :param lost: events that were lost; one that is lost costs less. None where nobody counted.
    """

    way: str
    median: float
    best: float
    lost: int | None


def _run(command: Sequence[str], environment: Mapping[str, str]) -> list[float]:
    done = subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True, text=True)
    return [float(line) for line in done.stdout.split()]


def _cost(way: str, times: Sequence[float], lost: int | None = None) -> UserCost:
    return UserCost(way, statistics.median(times), min(times), lost)


@contextmanager
def _host(directory: Path, contexts: Sequence[str]) -> Iterator[UserHost]:
    trace = user_trace_class(
        name="bench",
        hostname="bench",
        uuid=uuid4(),
        clock=monotonic_clock(),
        created=datetime.now(UTC),
        version="0",
    )
    output = UserOutput(directory / "ust", trace)
    host = UserHost(output, ["bench:*", "python:log"], ring_size=1 << 20, contexts=event_contexts(contexts))
    host.add_listener(listen_at(directory / "socket"))
    host.start()
    try:
        yield host
    finally:
        host.stop()
        output.close()


def _boxtrace(way: str, command: Sequence[str], directory: Path, contexts: Sequence[str] = ()) -> UserCost:
    place = directory / str(uuid4())
    place.mkdir()
    with _host(place, contexts) as host:
        times = _run(command, {"BOXTRACE_SOCKET": str(place / "socket")})
    return _cost(way, times, host.account.lost)


def _build(directory: Path) -> tuple[str, str, Path]:
    source, flags = str(_HERE / "user.c"), ["-O2", "-std=gnu11"]
    boxtrace, lttng = directory / "user-boxtrace", directory / "user-lttng"
    parts = [str(_CLIENT / "c" / name) for name in ("boxtrace.c", "boxtrace_contexts.c")]
    client = [f"-I{_CLIENT / 'c'}", *parts, "-lpthread"]
    subprocess.run(["gcc", *flags, source, *client, "-o", str(boxtrace)], check=True)
    if shutil.which("lttng-sessiond"):
        extra = ["-DUSE_LTTNG", f"-I{_HERE}", "-llttng-ust", "-ldl", "-lpthread"]
        subprocess.run(["gcc", *flags, source, *extra, "-o", str(lttng)], check=True)
    package = shutil.copytree(_CLIENT / "python/src/boxtrace_client", directory / "python/boxtrace_client")
    module = package / f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"
    sources = [str(package / "native.c"), *parts]
    include = [f"-I{sysconfig.get_paths()['include']}", f"-I{_CLIENT / 'c'}"]
    options = ["-std=c11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden"]
    subprocess.run(["gcc", *options, *include, *sources, "-o", str(module)], check=True)
    return str(boxtrace), str(lttng), package.parent


def _lttng(way: str, program: str, threads: int, directory: Path, contexts: Sequence[str] | None) -> UserCost:
    """Record by LTTng-UST; with *contexts* None its tracepoint is disabled."""
    event = "bench:event" if contexts is not None else "bench:other"
    enable = ["enable-event", "-u", "-c", "channel0", event]
    command = [program, str(threads), str(_BATCHES), str(_EVENTS)]
    return _lttng_session(way, command, {}, directory, "channel0", enable, contexts or ())


def _lttng_session(
    way: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    directory: Path,
    channel: str,
    enable: Sequence[str],
    contexts: Sequence[str],
) -> UserCost:
    session = f"bench-{uuid4().hex[:8]}"

    def lttng(*arguments: str) -> str:
        command = ["lttng", "--no-sessiond", *arguments]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout

    lttng("create", session, f"--output={directory / session}")
    try:
        lttng("enable-channel", "-u", "--subbuf-size=1M", "--num-subbuf=8", channel)
        lttng(*enable)
        if contexts:
            lttng("add-context", "-u", "-c", channel, *[word for name in contexts for word in ("-t", name)])
        lttng("start")
        times = _run(command, environment)
        lttng("stop")
        listed = lttng("list", session).splitlines()
        lost = sum(int(line.split(":")[1]) for line in listed if "Discarded" in line)
        if (
            not any(file.stat().st_size for file in (directory / session).rglob(f"{channel}_*"))
            and "disabled" not in way
        ):
            raise RuntimeError(f"{way}: nothing was recorded")
    finally:
        lttng("destroy", session)
    return _cost(way, times, lost)


def _lttng_python(script: Sequence[str], directory: Path) -> list[UserCost]:
    """Record by LTTng's Python agent, whose package Debian installs for its own interpreter; it fits any."""
    channel = "lttng_python_channel"  # the one that the daemon uses for events of agents
    command = [*script, "lttngust", str(_BATCHES), str(_SLOW_EVENTS)]
    environment = {"PYTHONPATH": _LTTNGUST, "LTTNG_UST_PYTHON_REGISTER_TIMEOUT": "-1"}
    enable = ["enable-event", "--python", "bench"]
    return [
        _lttng_session(f"Python, lttngust, {what}", command, environment, directory, channel, enable, contexts)
        for what, contexts in (("no contexts", ()), (f"{len(_CONTEXTS)} contexts", _CONTEXTS))
    ]


@contextmanager
def _session_daemon() -> Iterator[None]:
    quiet = subprocess.DEVNULL
    with subprocess.Popen(["lttng-sessiond", "--no-kernel"], stdout=quiet, stderr=quiet) as daemon:
        try:
            time.sleep(2)
            yield
        finally:
            daemon.terminate()


def measure_user() -> list[UserCost]:
    """Measure every way that this machine has the programs for."""
    with tempfile.TemporaryDirectory(prefix="boxtrace-bench-") as name:
        directory = Path(name)
        boxtrace, lttng, python = _build(directory)
        script = [sys.executable, str(_HERE / "user_python.py")]
        arguments = [str(_BATCHES), str(_EVENTS)]
        costs = [_cost("C, boxtrace, disabled", _run([boxtrace, "1", *arguments], {"BOXTRACE_SOCKET": ""}))]
        for threads in (1, 2):
            command = [boxtrace, str(threads), *arguments]
            costs.append(_boxtrace(f"C, boxtrace, all contexts, {threads} threads", command, directory))
        for names in (["ip"], ["ip", _COUNTER]):
            way = f"C, boxtrace, all contexts, {' and '.join(names)}"
            costs.append(_boxtrace(way, [boxtrace, "1", *arguments], directory, names))
        agent = []
        if Path(lttng).exists():
            with _session_daemon():
                costs.append(_lttng("C, LTTng-UST, disabled", lttng, 1, directory, None))
                for threads in (1, 2):
                    way = f"C, LTTng-UST, no contexts, {threads} threads"
                    costs.append(_lttng(way, lttng, threads, directory, ()))
                    way = f"C, LTTng-UST, {len(_CONTEXTS)} contexts, {threads} threads"
                    costs.append(_lttng(way, lttng, threads, directory, _CONTEXTS))
                for more in (("ip",), ("ip", _COUNTER)):
                    way = f"C, LTTng-UST, {len(_CONTEXTS)} contexts, {' and '.join(more)}"
                    costs.append(_lttng(way, lttng, 1, directory, (*_CONTEXTS, *more)))
                if Path(_LTTNGUST, "lttngust").is_dir():
                    agent = _lttng_python(script, directory)
        costs.append(_cost("Python, a call of a function", _run([*script, "nothing", *arguments], {})))
        disabled = {"PYTHONPATH": str(python), "BOXTRACE_SOCKET": ""}
        costs.append(_cost("Python, boxtrace-client, disabled", _run([*script, "client", *arguments], disabled)))
        for way, pure in (("compiled", "0"), ("pure", "1")):
            command = ["env", f"PYTHONPATH={python}", f"BOXTRACE_PURE={pure}", *script]
            costs.append(_boxtrace(f"Python, boxtrace-client, {way}", [*command, "client", *arguments], directory))
            lines = [*command, "handler", str(_BATCHES), str(_SLOW_EVENTS)]
            costs.append(_boxtrace(f"Python, logging, boxtrace-client's handler, {way}", lines, directory))
        slow = ["logging", str(_BATCHES), str(_SLOW_EVENTS)]
        costs.append(_cost("Python, logging to /dev/null", _run([*script, *slow], {})))
        return costs + agent


def format_user(costs: Sequence[UserCost]) -> str:
    """Return the costs as a table."""
    rows = [
        [cost.way, f"{cost.median:.1f}", f"{cost.best:.1f}", "" if cost.lost is None else str(cost.lost)]
        for cost in costs
    ]
    return format_table(["one event", "median ns", "best ns", "lost"], rows)
