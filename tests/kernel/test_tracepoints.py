"""Any tracepoint of the running kernel: every one gives a valid trace, with the values that ftrace prints."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from boxtrace.kernel.machine import machine_tracepoints
from boxtrace.trace import Event, open_trace
from support.ftrace import ftrace, parse_ftrace
from support.require import require_program, require_root

BOXTRACE = [sys.executable, "-c", "from boxtrace.cli.main import main; main()"]
SIGNALS = 30_000

# Forks, signals, timers, files, memory, loopback connections: something for many tracepoints.
WORKLOAD = """
import fcntl, os, signal, socket, tempfile, threading, time
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 1000, 7)
os.kill(os.getpid(), signal.SIGUSR1)
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
accepted, _ = server.accept()
client.sendall(b"x" * 1000); accepted.recv(1000)
client.close(); accepted.close(); server.close()
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); one.bind(("127.0.0.1", 0))
for size in (10, 200, 3000):
    one.sendto(b"y" * size, one.getsockname()); one.recv(4000)
with tempfile.TemporaryFile() as file:
    fcntl.lockf(file, fcntl.LOCK_EX); file.write(b"z" * 10000); file.flush(); os.fsync(file.fileno())
with open("/proc/self/comm", "w") as comm:
    comm.write("renamed")
child = os.fork()
if not child:
    os._exit(3)
os.waitpid(child, 0)
thread = threading.Thread(target=time.sleep, args=(0.01,)); thread.start(); thread.join()
bytearray(1 << 20)
"""


@pytest.fixture(autouse=True, scope="module")
def _needs() -> None:
    require_root()
    require_program("babeltrace2", "babeltrace2")


def record(output: Path, *arguments: str) -> str:
    """Record; return what it printed."""
    done = subprocess.run(
        [*BOXTRACE, "record", "-o", str(output), *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def events_in(summary: str) -> int:
    """Return how many events a summary says there are."""
    found = re.search(r"^([\d,]+) events in ", summary, re.MULTILINE)
    assert found is not None, summary
    return int(found[1].replace(",", ""))


def lost(summary: str) -> tuple[int, int]:
    """Return how many events a summary says are lost: exactly to full buffers, and at most to recursion."""
    full = re.search(r"^LOST: ([\d,]+) events, the buffers", summary, re.MULTILINE)
    missed = re.search(r"^LOST: at most ([\d,]+) events", summary, re.MULTILINE)
    return (
        int(full[1].replace(",", "")) if full else 0,
        int(missed[1].replace(",", "")) if missed else 0,
    )


def babeltrace_count(trace: Path) -> int:
    """Return how many events babeltrace2 reads; it may warn of losses only."""
    done = subprocess.run(
        ["babeltrace2", str(trace), "--component", "sink.utils.counter"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    loss = ("WARNING: Tracer discarded", "WARNING: Tracer may have discarded")
    warnings = [line for line in done.stderr.splitlines() if not line.startswith(loss)]
    assert warnings == []
    found = re.findall(r"^\s*(\d+) Event messages$", done.stdout, re.MULTILINE)
    return int(found[-1]) if found else 0


def test_every_tracepoint_is_recorded_one_after_the_other(tmp_path: Path) -> None:
    """Attached alone, provoked, detached: each event is there while its tracepoint was attached, at no other time."""
    sweep = Path(__file__).parents[1] / "support" / "sweep.py"
    done = subprocess.run(
        [sys.executable, str(sweep), str(tmp_path / "trace")], capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
    *lines, (events, _) = map(json.loads, done.stdout.splitlines())
    assert len(lines) == len({name for name, *_ in lines}) == len(machine_tracepoints().names) > 100
    assert [(name, why) for name, _, _, why in lines if why is not None] == []
    attached = {name: (begin, end) for name, begin, end, _ in lines}
    assert babeltrace_count(tmp_path / "trace" / "kernel") == events
    seen = set()
    for event in open_trace(tmp_path / "trace" / "kernel").events():
        begin, end = attached[event.name]
        assert event.record.cycles is not None and begin <= event.record.cycles <= end
        seen.add(event.name)
    assert {"signal_generate", "sched_process_wait", "kmem_kmalloc", "task_rename", "timer_itimer_state"} <= seen


def test_all_tracepoints_at_once_for_ten_seconds(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    summary = record(trace, "-e", "*", "-d", "10s", "--num-subbuf", "32", "--context", "procname,tid")
    assert babeltrace_count(trace / "kernel") == events_in(summary) > 0
    assert "out of range" not in summary  # there are more descriptors than select(2) can wait for
    counted = sum(stream.packets[-1].head.discarded or 0 for stream in open_trace(trace).streams)
    assert sum(lost(summary)) == counted


COMPARED = {
    "signal:signal_generate": (
        "signal_generate",
        r"sig=(\d+) errno=(\d+) code=(-?\d+) comm=(.*) pid=(\d+) grp=(\d+) res=(\d+)",
        ("sig", "errno", "code", "comm", "pid", "group", "result"),
    ),
    "signal:signal_deliver": (
        "signal_deliver",
        r"sig=(\d+) errno=(\d+) code=(-?\d+) sa_handler=(\w+) sa_flags=(\w+)",
        ("sig", "errno", "code", "sa_handler", "sa_flags"),
    ),
    "timer:itimer_state": (
        "timer_itimer_state",
        r"which=(\d+) expires=(\d+) it_value=(\d+)\.\d+ it_interval=(\d+)\.\d+",
        ("which", "expires", "value_sec", "interval_sec"),
    ),
    "task:task_rename": (
        "task_rename",
        r"(?:pid=\d+ )?oldcomm=(.*) newcomm=(.*) oom_score_adj=(-?\d+)",
        ("oldcomm", "newcomm", "oom_score_adj"),
    ),
    "sched:sched_process_wait": ("sched_process_wait", r"comm=(.*) pid=(\d+) prio=(\d+)", ("comm", "tid", "prio")),
    "net:net_dev_queue": ("net_dev_queue", r"dev=(\w+) skbaddr=\S+ len=(\d+)", ("name", "len")),
    "net:netif_receive_skb": ("net_if_receive_skb", r"dev=(\w+) skbaddr=\S+ len=(\d+)", ("name", "len")),
    "skb:consume_skb": ("skb_consume", r"skbaddr=\S+(?: location=\S+)?()", ()),
    "sock:inet_sock_set_state": (
        "inet_sock_set_state",
        r"family=\w+ protocol=\w+ sport=(\d+) dport=(\d+) saddr=([\d.]+) daddr=([\d.]+)",
        ("sport", "dport", "saddr", "daddr"),
    ),
}
"""The kernel's event: ours, how ftrace prints it, and which of our fields its groups are."""


def value(event: Event, name: str) -> str:
    """Return a field as ftrace prints it."""
    found = event.payload[name]
    if name == "prio":
        return str(found + 100)
    if name in ("sa_handler", "sa_flags"):
        return f"{found:x}"
    if name in ("saddr", "daddr"):
        return ".".join(map(str, found))
    return str(found)


def test_values_are_those_that_ftrace_prints(tmp_path: Path) -> None:
    rules = [word for event in COMPARED for word in ("-e", event)]
    with ftrace(*COMPARED) as text:
        record(tmp_path / "trace", *rules, "--no-state-dump", "--", sys.executable, "-c", WORKLOAD)
        printed = parse_ftrace(text.read_text())
    recorded = list(open_trace(tmp_path / "trace").events())
    tids = {event.context["tid"] for event in recorded}
    for kernel_name, (name, pattern, fields) in COMPARED.items():
        event_name = kernel_name.partition(":")[2]
        expected = [re.match(pattern, line.text) for line in printed if line.name == event_name and line.tid in tids]
        ours = [event for event in recorded if event.name == name]
        assert ours, name
        assert len(ours) == len(expected), name
        for event, match in zip(ours, expected, strict=True):
            assert match is not None, name
            shown = match.groups() if fields else ()
            assert tuple(value(event, field) for field in fields) == shown, name


HEADERS = """
import socket
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); six.bind(("::1", 0))
six.sendto(b"abc", six.getsockname())
four = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); four.bind(("127.0.0.1", 0))
four.sendto(b"abc", ("127.0.0.1", 9))
print(client.getsockname()[1], server.getsockname()[1], six.getsockname()[1], four.getsockname()[1])
"""


def test_packets_are_told_by_their_headers(tmp_path: Path) -> None:
    rules = ["-e", "net_dev_queue", "-e", "net_if_rx", "-e", "net_if_receive_skb", "--no-state-dump"]
    output = tmp_path / "ports"
    shell = ["sh", "-c", 'exec "$0" -c "$1" >"$2"', sys.executable, HEADERS, str(output)]
    record(tmp_path / "trace", *rules, "--", *shell)
    client, server, six, four = map(int, output.read_text().split())
    events = list(open_trace(tmp_path / "trace").events())
    for name in ("net_dev_queue", "net_if_rx", "net_if_receive_skb"):
        packets = [event.payload["network_header"] for event in events if event.name == name]
        by_source = {packet["transport_header"].get("source_port"): packet for packet in packets}
        first = by_source[client]
        assert (first["version"], first["protocol"], first["saddr"]) == (4, 6, [127, 0, 0, 1])
        assert first["transport_header"]["dest_port"] == server
        assert by_source[server]["transport_header"]["dest_port"] == client
        assert by_source[six]["daddr"] == [0, 0, 0, 0, 0, 0, 0, 1]
        assert (by_source[six]["version"], by_source[six]["transport_header"]["len"]) == (6, 11)
        assert by_source[four]["transport_header"]["dest_port"] == 9
        (refused,) = [packet["transport_header"] for packet in packets if packet.get("protocol") == 1]
        assert (refused["type"], refused["code"]) == (3, 3)


def test_losses_are_exact_when_nobody_empties_the_buffers(tmp_path: Path) -> None:
    program = (
        "import os, signal\n"
        "signal.signal(signal.SIGUSR2, signal.SIG_IGN)\n"
        "input()\n"
        f"for _ in range({SIGNALS}): os.kill(os.getpid(), signal.SIGUSR2)\n"
        "print('done', flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as sender:
        assert sender.stdin is not None and sender.stdout is not None
        arguments = ["-p", str(sender.pid), "-e", "signal_generate", "--subbuf-size", "16k", "--num-subbuf", "2"]
        with subprocess.Popen(
            [*BOXTRACE, "record", "-o", str(tmp_path / "trace"), "--no-state-dump", *arguments],
            stderr=subprocess.PIPE,
            text=True,
        ) as recorder:
            assert recorder.stderr is not None
            assert "recording to" in recorder.stderr.readline()
            recorder.send_signal(signal.SIGSTOP)
            sender.stdin.write("\n")
            sender.stdin.flush()
            assert sender.stdout.readline() == "done\n"
            recorder.send_signal(signal.SIGCONT)
            sender.stdin.write("\n")
            sender.stdin.flush()
            summary = recorder.stderr.read()
            assert recorder.wait(60) == 0
    recorded = events_in(summary)
    discarded, missed = lost(summary)
    assert discarded > 0
    # One more for SIGCHLD at its end. The kernel counts what it skips on the whole machine, not only of this process.
    assert recorded + discarded <= SIGNALS + 1 <= recorded + discarded + missed
    assert babeltrace_count(tmp_path / "trace" / "kernel") == recorded


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*BOXTRACE, *arguments], capture_output=True, text=True, check=False)


def test_the_list_shows_names_sources_and_fields() -> None:
    listed = json.loads(run("list", "events", "irq_softirq_*", "--json").stdout)
    assert [(event["name"], event["tracepoint"]) for event in listed] == [
        (f"irq_softirq_{what}", f"irq:softirq_{what}") for what in ("entry", "exit", "raise")
    ]
    assert listed[0]["fields"] == [{"name": "vec", "type": "u32"}]
    assert listed[0]["lttng"] == {"name": True, "layout": True, "missing": []}
    text = run("list", "events").stdout
    assert len(text.splitlines()) > len(machine_tracepoints().names)
    assert re.search(r"^sched_switch +sched:sched_switch +prev_comm text\[16\], ", text, re.MULTILINE)
    calls = run("list", "syscalls", "openat").stdout
    assert re.search(r"^syscall_entry_openat +raw_syscalls:sys_enter +dfd i32, filename string", calls, re.MULTILINE)


def test_a_pattern_that_matches_nothing_is_an_error(tmp_path: Path) -> None:
    for command in (["list", "events", "nosuch*"], ["record", "-o", str(tmp_path / "t"), "-e", "nosuch:*", "-d", "1s"]):
        done = run(*command)
        assert done.returncode == 2
        assert "no event matches 'nosuch" in done.stderr


def detaching(mark: str) -> Sequence[str]:
    """Return the processes that detach tracepoints after a recording, of those with this in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            environment = (path / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"boxtrace: detaching tracepoints" in words and mark.encode() in environment:
            found.append(path.name)
    return found


def test_nothing_stays_attached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOXTRACE_TEST", str(os.getpid()))
    record(tmp_path / "trace", "-e", "signal_*", "--no-state-dump", "-d", "200ms")
    deadline = time.monotonic() + 60
    while detaching(f"BOXTRACE_TEST={os.getpid()}"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
