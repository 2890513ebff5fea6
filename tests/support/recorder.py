"""``boxtrace record`` as a process of its own, and what every trace that it leaves behind must be."""

from __future__ import annotations

import itertools
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from boxtrace.ctf.index import parse_index
from boxtrace.trace import Event, Trace, open_trace

BOXTRACE = [sys.executable, "-c", "from boxtrace.cli.main import main; main()"]
T = TypeVar("T")
_START_SECONDS = 30
_END_SECONDS = 60
_LOSS = re.compile(r"WARNING: Tracer discarded|WARNING: Tracer may have discarded")


@dataclass(frozen=True)
class Recorded:
    """A recording that has ended."""

    path: Path
    status: int
    stderr: str

    @cached_property
    def trace(self) -> Trace:
        return open_trace(self.path)

    @cached_property
    def all_events(self) -> list[Event]:
        """All events, in the order of time."""
        return list(self.trace.events())

    @cached_property
    def events(self) -> list[Event]:
        """All but those that are recorded without being asked for, which depend on what else is on the machine.

        That is what runtimes tell, and the births of containers.
        """
        return [
            event
            for event in self.all_events
            if event.stream.path.parent.name != "containers" and not event.stream.path.name.startswith("births_")
        ]

    def named(self, *names: str) -> list[Event]:
        return [event for event in self.events if event.name in names]

    def _number(self, pattern: str) -> int:
        found = re.search(pattern, self.stderr, re.MULTILINE)
        return int(found[1].replace(",", "")) if found else 0

    @property
    def kernel_events(self) -> int:
        """How many events of the kernel the summary says there are."""
        assert re.search(r"^[\d,]+ events in ", self.stderr, re.MULTILINE), self.stderr
        return self._number(r"^([\d,]+) events in ")

    @property
    def summary_events(self) -> int:
        """How many events the summary says there are."""
        return self.kernel_events + self._number(r"^([\d,]+) events about containers")

    @property
    def summary_lost(self) -> int:
        """How many events the summary says are lost, in full buffers and in recursion."""
        return self._number(r"^LOST: ([\d,]+) events") + self._number(r"^LOST: at most ([\d,]+) events")

    @property
    def discarded(self) -> int:
        """How many events the last packets of the streams say are lost."""
        return sum(stream.packets[-1].head.discarded or 0 for stream in self.trace.streams)


class Recorder:
    """A running ``boxtrace record -o OUTPUT ARGUMENTS``; a context manager that leaves no process behind."""

    def __init__(self, output: Path, *arguments: object, stdout: int | None = None, wait: bool = True) -> None:
        self.path = output
        command = [*BOXTRACE, "record", "-o", str(output), *map(str, arguments)]
        self.process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE)
        self._stderr = b""
        if wait:
            self.wait_for("recording to")

    def wait_for(self, text: str) -> None:
        """Wait until stderr has this text: ``recording to`` is there when events are being recorded."""
        assert self.process.stderr is not None
        deadline = time.monotonic() + _START_SECONDS
        while text.encode() not in self._stderr:
            ready, _, _ = select.select([self.process.stderr], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(self.process.stderr.fileno(), 65536) if ready else b""
            if not piece:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"no {text!r} in: {self._stderr.decode()}")
            self._stderr += piece

    def wait(self) -> Recorded:
        """Wait for its own end."""
        try:
            _, rest = self.process.communicate(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            rest = b""
            with suppress(subprocess.TimeoutExpired):  # its command may still have its stderr
                _, rest = self.process.communicate(timeout=5)
            raise AssertionError(f"it does not end: {(self._stderr + rest).decode()}") from None
        return Recorded(self.path, self.process.returncode, (self._stderr + rest).decode())

    def stop(self, number: signal.Signals = signal.SIGINT) -> Recorded:
        """End it by a signal."""
        self.process.send_signal(number)
        return self.wait()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()


def record_command(output: Path, *arguments: object, command: Sequence[object]) -> Recorded:
    """Record a command from its start to its end."""
    with Recorder(output, *arguments, "--", *command, stdout=subprocess.DEVNULL, wait=False) as recorder:
        return recorder.wait()


def kernel_part(path: Path) -> Path:
    """The part of a trace that does not depend on what runtimes tell."""
    return path / "kernel"


def babeltrace_counter(path: Path) -> int:
    """Return how many events babeltrace2 finds; fails if it warns about anything but losses."""
    done = subprocess.run(
        ["babeltrace2", str(path), "--component", "sink.utils.counter"], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    found = re.findall(r"^\s*(\d+) Event messages?$", done.stdout, re.MULTILINE)
    return int(found[-1]) if found else 0


def babeltrace_text(path: Path) -> Counter[str]:
    """Return how often each event is in babeltrace2's text; fails if it warns about anything but losses."""
    names: Counter[str] = Counter()
    with (
        tempfile.TemporaryFile("w+") as messages,  # a pipe that nobody reads meanwhile would stop it
        subprocess.Popen(
            ["babeltrace2", "--no-delta", str(path)], stdout=subprocess.PIPE, stderr=messages, text=True
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            names[line.split(": ", 1)[0].rsplit(" ", 1)[1]] += 1
        assert process.wait() == 0
        messages.seek(0)
        warnings = messages.read()
    assert [line for line in warnings.splitlines() if line and not _LOSS.match(line)] == []
    return names


def check_packets(recorded: Recorded) -> None:
    """Check that packets are numbered without a gap, in order, on their CPU, as the index files say."""
    for stream in recorded.trace.streams:
        heads = [packet.head for packet in stream.packets]
        assert stream.failure is None
        assert [head.sequence for head in heads] == list(range(len(heads)))
        assert {head.context["cpu_id"] for head in heads} == {int(stream.path.name.rpartition("_")[2])}
        losses = [head.discarded for head in heads]
        assert losses == sorted(losses)
        for before, after in itertools.pairwise(heads):
            assert before.end is not None and after.begin is not None and before.end <= after.begin
        index = parse_index((stream.path.parent / "index" / f"{stream.path.name}.idx").read_bytes(), str(stream.path))
        assert [(entry.offset, entry.packet_size) for entry in index] == [(head.offset, head.size) for head in heads]
        for entry, head in zip(index, heads, strict=True):
            assert (entry.timestamp_begin, entry.timestamp_end) == (head.begin, head.end)
            assert (entry.events_discarded, entry.packet_seq_num) == (head.discarded, head.sequence)
            assert entry.stream_instance_id == head.context["cpu_id"]


def check_times(recorded: Recorded) -> None:
    """Check that the times of each stream never go back and lie within their packets."""
    last = dict.fromkeys((id(stream) for stream in recorded.trace.streams), 0)
    for event in recorded.all_events:
        time, head = event.record.cycles, event.record.packet
        assert time is not None and time >= last[id(event.stream)]
        last[id(event.stream)] = time
        assert head.begin is not None and head.end is not None and head.begin <= time <= head.end


def check_valid(recorded: Recorded) -> None:
    """Check all that must be true of any trace: babeltrace2 reads it without a warning, and all counts agree."""
    check_packets(recorded)
    check_times(recorded)
    own = Counter(event.name for event in recorded.all_events)
    assert babeltrace_counter(recorded.path) == own.total()
    assert babeltrace_text(recorded.path) == own
    if recorded.status >= 0 and " events in " in recorded.stderr:
        assert recorded.summary_events == own.total()
        assert recorded.summary_lost == recorded.discarded


def until(get: Callable[[], T], seconds: float = 30) -> T:
    """Return what ``get`` returns as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (value := get()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return value
