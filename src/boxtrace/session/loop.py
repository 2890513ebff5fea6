"""The loop of a recording: drains the rings, watches for what ends it, and ends it so that nothing is left behind."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final

from boxtrace.consumer.rings import PacketSink
from boxtrace.errors import BoxtraceError, OutputError
from boxtrace.interrupts import interrupted
from boxtrace.session.channel import Channel
from boxtrace.session.command import Command
from boxtrace.session.control import ControlSocket
from boxtrace.session.dumping import StateDumper
from boxtrace.session.newborns import Newborns
from boxtrace.session.options import Status
from boxtrace.session.output import TraceWriter
from boxtrace.session.snapshots import SnapshotDump
from boxtrace.units import NamespaceInum

__all__ = ["Ending", "RecordingLoop"]

_END_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SNAPSHOT_SIGNAL: Final = signal.SIGUSR1
_DUMP_SIGNAL: Final = signal.SIGUSR2
# A process's release (sched_process_free) comes an RCU grace period after its end, and belongs to the trace.
_GRACE_SECONDS: Final = 0.25
_COMPLETION_SECONDS: Final = 2.0
_OBSERVE_SECONDS: Final = 0.25
_ATTEND_SECONDS: Final = 0.25
"""How long a newborn that wakes nobody may wait; what its runtime calls it is not told sooner than that."""


@dataclass(slots=True)
class Ending:
    """How a recording ended.

    :param reason: words for the summary.
    :param seconds: how long it took.
    :param missed: runs of programs that the kernel skipped, where there were any.
    :param snapshots: directories of those that were written.
    """

    reason: str = ""
    seconds: float = 0.0
    missed: dict[str, int] = field(default_factory=dict)
    snapshots: list[Path] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Watched:
    """A process whose end matters."""

    description: str
    pid_ns: int | None
    ends: bool


class RecordingLoop:
    """Drains and watches. A context manager: owns the signals of a recording while it is open.

    :param writer: where packets go; None for a flight recording, whose packets go to snapshots only.
    :param open_snapshot: makes the writer of a new snapshot.
    :param finish_snapshot: called when it has all packets, before it is closed.
    :param control: commands from outside, if they are taken.
    :param dumper: dumps the state again when SIGUSR2 or a command asks for it.
    :param snapshot_dump: makes the state dump of a snapshot.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        writer: TraceWriter | None,
        *,
        flush_seconds: float,
        duration: float | None,
        observer: Callable[[Status], None] | None,
        warn: Callable[[str], None],
        open_snapshot: Callable[[], TraceWriter],
        finish_snapshot: Callable[[TraceWriter], None],
        control: ControlSocket | None,
        dumper: StateDumper | None,
        snapshot_dump: SnapshotDump | None = None,
    ) -> None:
        self._channels = channels
        self._writer = writer
        self._open_snapshot = open_snapshot
        self._finish_snapshot = finish_snapshot
        self._warn = warn
        self._control = control
        self._dumper = dumper
        self._snapshot_dump = snapshot_dump
        self.commands: dict[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {}
        """What else is answered to those who ask through the control socket."""
        self.newborns: Newborns | None = None
        self.regularly: Callable[[], None] = lambda: None
        """Called whenever quiet CPUs' buffers are flushed."""
        self._dump_wanted = False
        self._snapshots: list[Path] = []
        self._snapshot_wanted = False
        self._flush_seconds = flush_seconds
        self._duration = duration
        self._observer = observer
        self._epoll = select.epoll()
        for channel in channels if writer is not None else ():
            self._epoll.register(channel.wakeups.fd, select.EPOLLIN)
        if control is not None:
            self._epoll.register(control.fd, select.EPOLLIN)
        self._signal_read, self._signal_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._epoll.register(self._signal_read, select.EPOLLIN)
        self._watched: dict[int, _Watched] = {}
        self._command: Command | None = None
        self._closing = threading.Lock()
        self._closed = False
        self._reason = ""
        self._end_at: float | None = None
        self._started = 0.0
        self._old_handlers: dict[signal.Signals, object] = {}
        self._old_wakeup = -1

    def __enter__(self) -> RecordingLoop:
        self._old_wakeup = signal.set_wakeup_fd(self._signal_write)
        for number in (*_END_SIGNALS, _SNAPSHOT_SIGNAL, _DUMP_SIGNAL):
            self._old_handlers[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._old_wakeup)
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        for descriptor in (*self._watched, self._signal_read, self._signal_write):
            os.close(descriptor)
        self._epoll.close()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == _SNAPSHOT_SIGNAL:
            self._snapshot_wanted = True
            return
        if number == _DUMP_SIGNAL:
            self._dump_wanted = True
            return
        if self._command is not None:
            self._command.terminate()
        self._end(f"ended by {signal.Signals(number).name}")

    def _end(self, reason: str, delay: float = 0.0) -> None:
        if not self._reason:
            self._reason = reason
            self._end_at = time.monotonic() + delay

    def watch(self, pid: int, description: str, *, pid_ns: int | None = None, ends: bool = True) -> None:
        """End the recording when this process and all others that are watched have ended.

        :param pid_ns: its pid namespace, when it is the namespace's first process: deselected with its end, since the
            kernel may give the number to another.
        :param ends: False for a process whose end alone shall not end the recording.
        """
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            if ends:
                self._end(f"{description} ended", _GRACE_SECONDS)
            return
        self._watched[descriptor] = _Watched(description, pid_ns, ends)
        self._epoll.register(descriptor, select.EPOLLIN)

    def attend(self, newborns: Newborns) -> None:
        """Attend to containers that are born from now on."""
        for descriptor in newborns.descriptors:
            self._epoll.register(descriptor, select.EPOLLIN)
        for channel in self._channels if self._writer is None else ():  # which tell that many tags wait
            self._epoll.register(channel.wakeups.fd, select.EPOLLIN)
        self.newborns = newborns

    def start_command(self, command: Command) -> None:
        """Start the command and end the recording when it has ended; nothing is started if that has begun to end."""
        self._command = command  # from here on a signal ends it, started or not
        with self._closing:
            if not self._closed and not self._reason:
                self._epoll.register(command.pidfd, select.EPOLLIN)
                command.start()

    def run(self, prepare: Callable[[], None]) -> Ending:
        """Attach the programs, drain until something ends the recording, and empty the rings.

        :param prepare: what remains to be done once events are being recorded, in a thread of its own because it may
            make events faster than the rings hold them (the state dump).
        :raises BoxtraceError: what ``prepare`` raised.
        :raises OutputError: if a packet cannot be written; says how many events are lost by that.
        """
        failures: list[BaseException] = []

        def guarded() -> None:
            try:
                prepare()
            except BaseException as error:  # handed to the thread that waits
                failures.append(error)
                os.write(self._signal_write, b"\0")

        preparing = threading.Thread(target=guarded, name="boxtrace-prepare", daemon=True)
        try:
            for channel in self._channels:
                channel.attach()
            self._started = time.monotonic()
            if self._duration is not None and not self._reason:
                self._end_at = self._started + self._duration
            if interrupted():
                self._end(f"ended by {signal.SIGINT.name}")
            preparing.start()
            self._drain_until_end(failures)
        except OutputError as error:
            self._close(preparing)
            lost = sum(channel.rings.pending_records() for channel in self._channels)
            raise OutputError(
                f"{error}; {lost} events in the buffers are lost", path=error.path, hint=error.hint
            ) from error
        finally:
            self._close(preparing)
        ending = Ending(self._reason or "ended after its duration", time.monotonic() - self._started)
        ending.snapshots = self._snapshots
        for channel in self._channels:
            for name, count in channel.count_misses().items():
                ending.missed[name] = ending.missed.get(name, 0) + count
        if self._writer is not None:
            self._empty(self._writer)
        if failures:
            raise failures[0]
        return ending

    def _close(self, preparing: threading.Thread) -> None:
        """Let nothing more be recorded, and nothing more be prepared."""
        with self._closing:
            self._closed = True
        for channel in self._channels:
            channel.programs.detach()
        if preparing.ident is not None:
            preparing.join()
        if self._dumper is not None:
            self._dumper.close()

    def _drain_until_end(self, failures: list[BaseException]) -> None:
        next_flush = self._started + self._flush_seconds
        next_look = self._started
        while not failures:
            now = time.monotonic()
            if self._end_at is not None and now >= self._end_at:
                return
            if now >= next_flush:
                for channel in self._channels if self._writer is not None else ():
                    channel.flush()
                self.regularly()
                next_flush = now + self._flush_seconds
            if self._observer is not None and now >= next_look:
                self._observer(self._status(now))
                next_look = now + _OBSERVE_SECONDS
            if self._snapshot_wanted:
                self._snapshot_wanted = False
                self._try_snapshot()
            if self._dump_wanted:
                self._dump_wanted = False
                self._try_dump()
            if self._writer is not None:
                for channel, sink in zip(self._channels, self._writer.sinks, strict=True):
                    channel.wakeups.clear()
                    channel.rings.drain(sink)
            if self.newborns is not None:
                for channel in self._channels if self._writer is None else ():
                    channel.wakeups.clear()
                self.newborns.attend()
            until = [next_flush, *([self._end_at] if self._end_at is not None else [])]
            if self._observer is not None:
                until.append(next_look)
            if self.newborns is not None:
                until.append(now + _ATTEND_SECONDS)
            for descriptor, _ in self._epoll.poll(max(0.0, min(until) - time.monotonic())):
                self._handle(descriptor)

    def snapshot(self) -> Path:
        """Write what a flight recording holds to a new trace, and return its directory; recording goes on.

        :raises BoxtraceError: if this is no flight recording, or the trace cannot be written: nothing is left of it.
        """
        if self._writer is not None:
            raise BoxtraceError(
                "this recording writes its trace all the time: there is nothing to take a snapshot of",
                hint="boxtrace record --flight-recorder",
            )
        writer = self._open_snapshot()
        try:
            for channel, sink in zip(self._channels, writer.sinks, strict=True):
                if self._snapshot_dump is not None and channel is self._snapshot_dump.channel:
                    self._try_snapshot_dump(self._snapshot_dump, sink)
                else:
                    channel.flush()
                    channel.rings.snapshot(sink)
            self._finish_snapshot(writer)
        except BoxtraceError:
            writer.remove()
            raise
        finally:
            writer.close()
        self._snapshots.append(writer.path)
        return writer.path

    def _try_snapshot_dump(self, dump: SnapshotDump, sink: PacketSink) -> None:
        try:
            dump.write(sink)
        except OutputError:
            raise
        except BoxtraceError as error:
            self._warn(f"the snapshot has no whole state dump: {error}")

    def dump_state(self) -> None:
        """Record soon what exists now; recording goes on meanwhile.

        :raises BoxtraceError: if the recording has no state dump.
        """
        if self._snapshot_dump is not None:
            raise BoxtraceError("a flight recording has a state dump in each snapshot", hint="boxtrace snapshot")
        if self._dumper is None:
            raise BoxtraceError("this recording has no state dump", hint="record without --no-state-dump")
        self._dumper.request()

    def _answer_dump(self, _: object) -> dict[str, str]:
        self.dump_state()
        return {}

    def _try_dump(self) -> None:
        try:
            self.dump_state()
        except BoxtraceError as error:
            self._warn(str(error))

    def _try_snapshot(self) -> None:
        try:
            self._warn(f"snapshot written to {self.snapshot()}")
        except BoxtraceError as error:
            self._warn(f"no snapshot: {error}")

    def _handle(self, descriptor: int) -> None:
        if descriptor == self._signal_read:
            os.read(self._signal_read, 64)
        elif self._control is not None and descriptor == self._control.fd:
            self._control.serve(
                {
                    "snapshot": lambda _: {"path": str(self.snapshot().resolve())},
                    "state-dump": self._answer_dump,
                    **self.commands,
                }
            )
        elif self._command is not None and descriptor == self._command.pidfd:
            if self._command.finished():
                self._epoll.unregister(descriptor)
                self._end("the command ended", _GRACE_SECONDS)
        elif descriptor in self._watched:
            ended = self._watched.pop(descriptor)
            self._epoll.unregister(descriptor)
            os.close(descriptor)
            if ended.pid_ns is not None:
                for channel in self._channels:
                    channel.programs.selector.forget_pid_namespace(NamespaceInum(ended.pid_ns))
            if ended.ends and self._command is None and not any(other.ends for other in self._watched.values()):
                self._end(f"{ended.description} ended", _GRACE_SECONDS)

    def _status(self, now: float) -> Status:
        rings = [channel.rings for channel in self._channels]
        return Status(
            events=sum(ring.records + ring.pending_records() for ring in rings),
            lost=sum(ring.discarded() for ring in rings),
            size=self._writer.size if self._writer is not None else 0,
            seconds=now - self._started,
            watching=sum(watched.ends for watched in list(self._watched.values())),
        )

    def _empty(self, writer: TraceWriter) -> None:
        """With the programs detached: close every CPU's packet and hand over what there is."""
        deadline = time.monotonic() + _COMPLETION_SECONDS
        for channel, sink in zip(self._channels, writer.sinks, strict=True):
            channel.close_packets(sink)
            while channel.unfinished():
                if time.monotonic() > deadline:
                    lost = channel.rings.pending_records()
                    raise BoxtraceError(f"a program never finished its record: {lost} events are lost")
                time.sleep(0.001)
                channel.rings.drain(sink)
