"""What a recording is asked for, and what it reports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from boxtrace.containers.model import Container
from boxtrace.errors import UsageError
from boxtrace.kernel.contexts import DEFAULT_CONTEXTS
from boxtrace.kernel.selection import FilterRule, LimitRule
from boxtrace.kernel.trackers import TrackerId
from boxtrace.session.user_contexts import check_user_contexts

__all__ = [
    "BIRTHS_CHANNEL",
    "DUMP_CHANNEL",
    "FORMATS",
    "ChannelOptions",
    "ContainerCount",
    "RecordOptions",
    "RuleCount",
    "Status",
    "Summary",
]

FORMATS = ("ctf1", "ctf2")
DUMP_CHANNEL = "statedump"
"""Channel of the state dumps of a flight recording."""

BIRTHS_CHANNEL = "births"
"""Channel of the births and deaths of containers that no other channel records."""

_CHANNEL_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MIN_SUBBUF = 1 << 14
_MAX_SUBBUF = 1 << 28
_MAX_BUFFER_BYTES = 4092


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOptions:
    """A set of ring buffers with one configuration, and the events that go there.

    :param name: names the files of the trace.
    :param events: shell patterns of event names; without any, system calls and the main events of the scheduler.
    :param contexts: names of context fields, in the order in which they are recorded.
    :param filters: what is wanted of some of the events.
    :param limits: how many are wanted of some of the events.
    :param subbuf_size: bytes, a power of two.
    :param num_subbuf: per CPU, a power of two.
    """

    name: str = "channel0"
    events: tuple[str, ...] = ()
    contexts: tuple[str, ...] = DEFAULT_CONTEXTS
    filters: tuple[FilterRule, ...] = ()
    limits: tuple[LimitRule, ...] = ()
    subbuf_size: int = 1 << 20
    num_subbuf: int = 8

    def check(self) -> None:
        """Check the name and the numbers.

        :raises UsageError: for one that cannot be.
        """
        if _CHANNEL_NAME.fullmatch(self.name) is None:
            raise UsageError(f"{self.name!r} cannot name a channel: letters, digits, '.', '-' and '_' can")
        if not _MIN_SUBBUF <= self.subbuf_size <= _MAX_SUBBUF or self.subbuf_size & (self.subbuf_size - 1):
            raise UsageError(f"the sub-buffer size is {self.subbuf_size}: it must be a power of two from 16k to 256M")
        if self.num_subbuf < 2 or self.num_subbuf & (self.num_subbuf - 1):
            raise UsageError(f"the number of sub-buffers is {self.num_subbuf}: it must be a power of two, at least 2")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """What to record, and where to.

    :param output: the trace's directory; must not exist, or be empty.
    :param channels: at least one; the state dump goes to the first.
    :param containers: names, ids or prefixes of running containers, or shell patterns of names; ``!`` excludes.
    :param images: shell patterns of the containers' images.
    :param labels: ``KEY`` or ``KEY=PATTERN`` of the containers' labels.
    :param new_containers: containers that start while recording.
    :param host_only: no containers.
    :param cgroups: paths of cgroups, with what is below them.
    :param ids: of namespaces, processes, users, ...
    :param command: a command to run and to record with its descendants.
    :param user: shell patterns of the event names of applications to record, see
        :class:`~boxtrace.userspace.rules.EventRules`.
    :param user_contexts: what each event of an application tells beside the usual: ``ip``, ``perf:thread:NAME``.
    :param lttng_ust: patterns of event names that LTTng's daemon is to record.
    :param follow: also record what the processes of the kind ``pid`` fork.
    :param flush_seconds: how long an event may stay in a buffer that is not full.
    :param duration: seconds after which the recording ends by itself.
    :param flight_recorder: keep the newest events in memory, and write them only when a snapshot is asked for.
    :param format: of the trace: ``ctf1`` (CTF 1.8) or ``ctf2``.
    :param functions: kernel functions whose entry and exit are recorded, in the first channel, as are the next two.
    :param user_functions: ``CONTAINER:PATH:SYMBOL``, with no container for the host's files.
    :param user_markers: USDT, ``CONTAINER:PATH:PROVIDER:NAME``.
    :param buffer_bytes: how many bytes of what system calls read and write are recorded.
    :param environment: whether the environment that execve is given is recorded.
    :param births: whether to record the births and deaths of containers whatever events are asked for; None: with the
        state dump.
    :param state_dump: whether to record what already exists.
    :param state_dump_all: of the whole host, though the recording is limited to a selection.
    :param state_dump_maps: also the memory maps of processes.
    :param state_dump_every: seconds after which it is recorded again and again; None: only on request.
    """

    output: Path
    channels: tuple[ChannelOptions, ...] = (ChannelOptions(),)
    containers: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    new_containers: bool = False
    host_only: bool = False
    cgroups: tuple[str, ...] = ()
    ids: tuple[TrackerId, ...] = ()
    command: tuple[str, ...] = ()
    user: tuple[str, ...] = ()
    user_contexts: tuple[str, ...] = ()
    lttng_ust: tuple[str, ...] = ()
    follow: bool = False
    flush_seconds: float = 1.0
    duration: float | None = None
    flight_recorder: bool = False
    format: str = "ctf1"
    functions: tuple[str, ...] = ()
    user_functions: tuple[str, ...] = ()
    user_markers: tuple[str, ...] = ()
    buffer_bytes: int = 0
    environment: bool = False
    births: bool | None = None
    state_dump: bool = True
    state_dump_all: bool = False
    state_dump_maps: bool = False
    state_dump_every: float | None = None

    @property
    def snapshot_dump(self) -> bool:
        """Whether each snapshot has a state dump, in a channel of its own."""
        return self.flight_recorder and self.state_dump

    @property
    def with_births(self) -> bool:
        """Whether births and deaths of containers are recorded whatever events are asked for."""
        return self.state_dump if self.births is None else self.births

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that are to be recorded."""
        return tuple(int(each.value) for each in self.ids if each.kind == "pid" and not each.excluded)

    @property
    def pid_namespaces(self) -> tuple[int, ...]:
        """The pid namespaces that are to be recorded."""
        return tuple(int(each.value) for each in self.ids if each.kind == "pid-ns" and not each.excluded)

    def check(self) -> None:
        """Check what can be checked without the system.

        :raises UsageError: for what cannot be.
        """
        for channel in self.channels:
            channel.check()
        check_user_contexts(self.user_contexts)
        names = [channel.name for channel in self.channels]
        if len(set(names)) < len(names) or not names:
            raise UsageError(f"each channel needs a name of its own: {', '.join(names)}")
        if self.format not in FORMATS:
            raise UsageError(f"{self.format!r} is no format of traces: {' and '.join(FORMATS)} are")
        if not 0 <= self.buffer_bytes <= _MAX_BUFFER_BYTES:
            raise UsageError(f"{self.buffer_bytes} bytes of a buffer: it must be from 0 to {_MAX_BUFFER_BYTES}")
        if (self.user or self.lttng_ust) and self.flight_recorder:
            raise UsageError("events of applications cannot be kept by a flight recorder")
        if self.snapshot_dump and DUMP_CHANNEL in names:
            raise UsageError(f"the channel {DUMP_CHANNEL!r} of a flight recording is that of its state dumps")
        if self.with_births and BIRTHS_CHANNEL in names:
            raise UsageError(
                f"the channel {BIRTHS_CHANNEL!r} is that of births and deaths of containers",
                hint="another name, or --no-births",
            )
        if self.flight_recorder and self.state_dump_every:
            raise UsageError("each snapshot of a flight recording has a state dump: there is none every so often")
        if any(seconds is not None and seconds <= 0 for seconds in (self.duration, self.state_dump_every)):
            raise UsageError("a time must be more than 0 seconds")
        if not self.state_dump and (self.state_dump_all or self.state_dump_maps or self.state_dump_every):
            raise UsageError("what the state dump is to be means nothing without one")
        if self.flush_seconds <= 0:
            raise UsageError("a time must be more than 0 seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A recording at one moment.

    :param events: recorded so far.
    :param lost: lost so far, for want of a free sub-buffer.
    :param size: bytes written so far.
    :param seconds: since the start.
    :param watching: how many of the selected containers and processes have not ended.
    """

    events: int
    lost: int
    size: int
    seconds: float
    watching: int


@dataclass(frozen=True, slots=True)
class ContainerCount:
    """Events of the tasks of one container, or (``None``) of all tasks that are in none.

    :param recorded: in the trace.
    :param discarded: lost for want of a free sub-buffer.
    """

    container: Container | None
    recorded: int
    discarded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleCount:
    """Events of one container and event rule that are not in the trace.

    :param container: None for everything else: no container, or one that the trace may not tell of.
    :param rule: the pattern of its event names; empty for events of no rule, or where rules are not told apart.
    :param filtered: its filter said no.
    :param sampled: they were not of the sample.
    :param limited: its rate was used up.
    :param discarded: lost for want of a free sub-buffer.
    :param skipped: at most so many were lost because they came amid the recording of one of their kind; they are told
        with no container, and may be any container's.
    """

    container: Container | None
    channel: str
    rule: str = ""
    filtered: int = 0
    sampled: int = 0
    limited: int = 0
    discarded: int = 0
    skipped: int = 0

    def __bool__(self) -> bool:
        return bool(self.filtered or self.sampled or self.limited or self.discarded or self.skipped)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A finished recording.

    :param path: the trace.
    :param events: records in it; in the snapshots of a flight recording, with what was taken out of them.
    :param discarded: events lost because no sub-buffer was free.
    :param missed: runs that the kernel skipped because that program was running on that CPU already, by program; at
        most so many events were lost.
    :param size: bytes of packets.
    :param seconds: from the first to the last moment.
    :param containers: events per container, the most first.
    :param left_out: what is not in the trace, by container and event rule.
    :param reason: why the recording ended.
    :param exit_status: of the command, if there was one.
    :param flight_recorder: whether it was a flight recording; then nothing but its snapshots was written.
    :param taken_out: events of containers that turned out not to be wanted, which are in the trace no more.
    :param snapshots: their directories.
    :param told: events about containers, in the trace: what runtimes told, and what was left out.
    :param told_lost: such that could not be written.
    :param user_events: of applications, in the trace.
    :param user_lost: events of applications that they counted as lost.
    :param user_refused: applications that were disconnected because of what they did.
    """

    path: Path
    events: int
    discarded: int
    missed: Mapping[str, int]
    size: int
    seconds: float
    containers: tuple[ContainerCount, ...]
    reason: str
    left_out: tuple[RuleCount, ...] = ()
    exit_status: int | None = None
    flight_recorder: bool = False
    taken_out: int = 0
    snapshots: tuple[Path, ...] = ()
    user_events: int = 0
    told: int = 0
    told_lost: int = 0
    user_lost: int = 0
    user_refused: int = 0

    @property
    def lost(self) -> int:
        """All losses; the trace's packets count the same number in ``events_discarded``."""
        return self.discarded + sum(self.missed.values()) + self.user_lost
