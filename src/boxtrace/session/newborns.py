"""Containers that start while recording, from birth to the verdict whether they are wanted.

The kernel sees a birth at once, the runtime tells the name some time later. Until then a newborn is a candidate:
recorded, its records known by a tag (``kernel/bpf/newborn.bpf.h``). When it is known what it is, the programs are told,
and what was recorded of one that is not wanted is taken out of the trace. No runtime waits for any of this.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

from boxtrace.consumer.ringbuf import RingBuffer
from boxtrace.consumer.tags import CuttingSink, TagLayout, TagLog
from boxtrace.containers.model import Container, Namespaces
from boxtrace.containers.proc import host_pid_ns
from boxtrace.containers.rules import ContainerRules
from boxtrace.kernel.programs import Programs
from boxtrace.session.candidates import Candidate, Told, Waiting, is_named_by_id
from boxtrace.session.channel import Channel
from boxtrace.session.output import TraceWriter
from boxtrace.units import CgroupId, NamespaceInum, Nanoseconds, Pid

__all__ = ["Newborns"]

_RING_BYTES: Final = 1 << 18
_SNAPSHOT_NS: Final = 1_000_000_000
"""How long a snapshot waits to be told of who was just born."""
_ATTEND_SECONDS: Final = 0.01


class _Nursery:
    """The candidates of one channel."""

    def __init__(self, channel: Channel, log: TagLog) -> None:
        self.channel = channel
        self.sink: CuttingSink | None = None
        """Where packets go; in a flight recording there is one while a snapshot is taken."""
        self.log = log
        self._verdicts: dict[int, bool] = {}
        self.ring = RingBuffer(channel.programs.image.map_fd("candidates"), _RING_BYTES)
        self.waiting = Waiting()
        self.accounts: dict[int, int] = {}
        """By tag, those of candidates that are decided about; 0 for one that has none."""

    def is_wanted(self, tag: int) -> bool | None:
        """Tell whether what has a tag is wanted; None as long as it is not decided."""
        return self._verdicts.get(tag)

    def decide(self, wanted: Mapping[int, bool]) -> None:
        """Decide about candidates, by tag.

        :raises OutputError: if a packet that waited for that cannot be written.
        """
        self._verdicts.update(wanted)
        if self.sink is not None:
            self.sink.decide(wanted)

    def put_sink(self, sink: CuttingSink) -> None:
        """Let this sink, which is new, know what is decided, now and later."""
        self.sink = sink
        sink.decide(self._verdicts)

    def is_undecided(self, pid_ns: NamespaceInum) -> bool:
        """Tell whether this is the pid namespace of a candidate that is not decided about."""
        inside = self.waiting.inside(pid_ns)
        return any(each.cgroup is None and self.is_wanted(each.tag) is None for each in inside)

    def read(self) -> Iterable[Candidate]:
        image = self.channel.programs.image
        offsets = image.struct_offsets("bt_candidate")
        length = image.limits["BT_CGROUP_NAME"]
        for data in self.ring.entries():

            def number(name: str, form: str, data: bytes = data) -> int:
                value: int = struct.unpack_from(form, data, offsets[name])[0]
                return value

            def text(name: str, data: bytes = data) -> str:
                raw = data[offsets[name] : offsets[name] + length]
                return raw.split(b"\0", 1)[0].decode(errors="replace")

            inums = struct.unpack_from("<8I", data, offsets["namespaces"])
            yield Candidate(
                tag=number("tag", "<I"),
                before=number("before", "<I"),
                pid=Pid(number("pid", "<I")),
                time=Nanoseconds(number("time", "<Q")),
                in_host_root=bool(number("setting_up", "<I")),
                start=Nanoseconds(number("start", "<Q")),
                namespaces=Namespaces(*map(NamespaceInum, inums)),
                cgroups=(text("unified"), text("separate")),
                cgroup=CgroupId(number("cgroup", "<Q")) or None,
            )


def _tag_log(programs: Programs) -> TagLog:
    image = programs.image
    return TagLog(
        image.map_fd("tags"),
        TagLayout(
            cpus=image.cpus,
            size=image.struct_size("bt_tags"),
            entries=image.limits["BT_TAGS"],
            tags=image.struct_offsets("bt_tags"),
            entry_size=image.struct_size("bt_tag"),
            entry=image.struct_offsets("bt_tag"),
        ),
    )


class Newborns:
    """The candidates of a recording. :meth:`attend` and :meth:`finish` are called by the thread that writes packets."""

    def __init__(
        self,
        channels: Sequence[Channel],
        writer: TraceWriter | None,
        rules: Callable[[], ContainerRules],
        record: Callable[[Iterable[Container]], None],
        notice: Callable[[Collection[Pid]], None],
        explain: Callable[[int, Container], None],
        dumping: Channel | None = None,
    ) -> None:
        """Put a sink that can cut before each of the writer's.

        :param writer: None for a flight recording, see :meth:`open_snapshot`.
        :param rules: returns what is wanted now.
        :param record: takes the wanted containers, as far as they are known.
        :param notice: takes the first processes of those that no birth of a pid namespace tells of.
        :param explain: takes the number of a wanted one's account, and again when more is known of it.
        :param dumping: a channel that has nothing but state dumps, and so sees no births itself.
        """
        self._rules = rules
        self._record = record
        self._notice = notice
        self._explain = explain
        self._dumping = dumping
        self._host = host_pid_ns()
        self._lock = threading.Lock()
        self._news: list[Container] = []
        self._told = Told()
        self._known: dict[Container, Container] = {}
        self._accounts: dict[tuple[object, ...], int] = {}
        """Numbers of accounts, the same in all channels, by what is the same of a candidate there."""
        self._said: ContainerRules | None = None
        self._nurseries: list[_Nursery] = []
        for channel in channels:
            self._nurseries.append(_Nursery(channel, _tag_log(channel.programs)))
        self._in_snapshots = writer is None
        if writer is not None:
            self._put_sinks(writer)
        self.born = 0
        """Candidates so far."""
        self.taken_out = 0
        """Events of those that were not wanted, once all is finished."""

    def _put_sinks(self, writer: TraceWriter) -> None:
        for number, nursery in enumerate(self._nurseries):
            size = nursery.channel.options.subbuf_size
            sink = CuttingSink(writer.files[number], nursery.log, size, again=self._in_snapshots)
            writer.sinks[number] = sink
            nursery.put_sink(sink)

    def open_snapshot(self, writer: TraceWriter) -> None:
        """Put a sink that can cut before each of those of a snapshot, and let its state dump have who is wanted."""
        self._put_sinks(writer)
        self.attend()
        for nursery in self._nurseries:
            for candidate in nursery.waiting:
                if nursery.is_wanted(candidate.tag) is None:
                    known = self._know(candidate, self._told.of(candidate))
                    self._let_dump(candidate, takes=self._verdict(nursery, candidate, known)[1])

    def _let_dump(self, candidate: Candidate, *, takes: bool) -> None:
        if self._dumping is not None:
            self._dumping.programs.selector.take(candidate.namespaces.pid, candidate.cgroup, included=takes)

    def finish_snapshot(self) -> list[Container]:
        """Decide about all that the snapshot has, for the snapshot: those that are young get some time to be told of.

        Return those that are wanted and that no runtime has told of.

        :raises OutputError: if the snapshot cannot be written.
        """
        self.attend()
        deadline = time.monotonic_ns() + _SNAPSHOT_NS
        while any(self._is_young(nursery) for nursery in self._nurseries) and time.monotonic_ns() < deadline:
            time.sleep(_ATTEND_SECONDS)
            self.attend()
        unknown: list[Container] = []
        for nursery in self._nurseries:
            decisions: dict[int, bool] = {}
            for candidate in nursery.waiting:
                known = self._know(candidate, self._told.of(candidate))
                verdict = nursery.is_wanted(candidate.tag)
                wanted = self._verdict(nursery, candidate, known)[1] if verdict is None else verdict
                decisions[candidate.tag] = wanted
                if wanted and known not in unknown:
                    unknown.append(known)
            if nursery.sink is not None:
                nursery.sink.decide(decisions)
            nursery.sink = None
        return unknown

    def _is_young(self, nursery: _Nursery) -> bool:
        """Tell whether there is a newborn of which its runtime may not have told yet."""
        since = time.monotonic_ns() - _SNAPSHOT_NS
        return any(each.time > since and nursery.is_wanted(each.tag) is None for each in nursery.waiting)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Readable when there is a birth to attend to."""
        return tuple(nursery.ring.fd for nursery in self._nurseries)

    def tell(self, containers: Iterable[Container]) -> None:
        """Take what runtimes tell of containers; from any thread."""
        with self._lock:
            self._news += containers

    def attend(self) -> None:
        """Decide about those candidates of which enough is known.

        :raises OutputError: if the trace cannot be written.
        """
        with self._lock:
            news, self._news = self._news, []
        for container in news:
            self._told.add(container)
        rules = self._rules()
        for nursery in self._nurseries:
            nursery.log.pull_all()
            nursery.waiting.notice(news)
            if rules != self._said:
                nursery.waiting.notice_all()
            for cpu in range(nursery.channel.programs.image.cpus) if self._in_snapshots else ():
                nursery.log.forget(cpu, nursery.channel.rings.oldest_position(cpu))
            births = list(nursery.read())
            for candidate in births:
                self.born += 1
                nursery.waiting.add(candidate)
                if candidate.before:
                    nursery.waiting.remove(candidate.before)
                    nursery.decide({candidate.before: False})
            if sharing := [candidate.pid for candidate in births if candidate.cgroup is not None]:
                self._notice(sharing)
            if nursery.waiting.due:
                self._decide(nursery, final=False)
        self._said = rules

    def finish(self) -> None:
        """Decide about all that are left, once nothing is recorded any more.

        What no runtime has told of is a container that no runtime knows.

        :raises OutputError: if the trace cannot be written.
        """
        self.attend()
        for nursery in self._nurseries:
            nursery.waiting.notice_all()
            self._decide(nursery, final=True)
            here = {cpu: count for cpu, (_, count, _) in enumerate(nursery.channel.rings.unsettled())}
            for (tag, account), count in nursery.log.records(here).items():
                if tag == 0:
                    continue
                wanted = nursery.is_wanted(tag)
                if not wanted:
                    self.taken_out += count
                if not wanted or not account:  # what happened in another container remains counted there
                    nursery.channel.accounts.move(count, account, nursery.accounts.get(tag))

    def _decide(self, nursery: _Nursery, *, final: bool) -> None:
        rules = self._rules()
        at_once = rules.new and not any(rule.excluded for rule in rules.rules)
        decisions: dict[int, bool] = {}
        wanted: list[Container] = []
        for candidate in nursery.waiting.take_due():
            tag = candidate.tag
            container = self._told.of(candidate)
            if container is None and not final and not at_once:
                continue
            known = self._know(candidate, container)
            shares = rules.says(known) is None and candidate.cgroup is not None
            if shares and not final and nursery.is_undecided(candidate.namespaces.pid):
                nursery.waiting.due.add(tag)
                continue
            included, takes = self._verdict(nursery, candidate, known)
            if not final and takes and candidate.is_setting_up:
                nursery.waiting.due.add(tag)
                continue
            if not final and not takes and is_named_by_id(known):
                continue  # who uses this runtime may tell its name
            if nursery.is_wanted(tag) is None:
                decisions[tag] = takes
                account = self._account(candidate, known) if takes else 0
                nursery.accounts[tag] = account
                nursery.channel.programs.selector.decide(
                    candidate.namespaces.pid, candidate.cgroup, tag, included=takes or included, account=account
                )
                self._let_dump(candidate, takes=takes)
            if container is not None or final:
                nursery.waiting.remove(tag)
                if decisions.get(tag, nursery.is_wanted(tag)):
                    self._name(nursery.accounts[tag], known)
                    wanted.append(known)
        if decisions:
            nursery.decide(decisions)
        if wanted:
            self._record(wanted)

    def _account(self, candidate: Candidate, known: Container) -> int:
        """Return the number of a candidate's account, which it gets when a channel wants it; 0: none is left."""
        key = (candidate.namespaces.pid, candidate.pid, candidate.start, candidate.cgroup)
        if key not in self._accounts:
            (self._accounts[key],) = {nursery.channel.accounts.add(known) for nursery in self._nurseries}
            if self._accounts[key]:
                self._explain(self._accounts[key], known)
        return self._accounts[key]

    def _name(self, account: int, known: Container) -> None:
        """Let an account be of this container, of which more is known by now."""
        accounts = self._nurseries[0].channel.accounts
        if account and accounts.containers[account - 1] != known:
            for nursery in self._nurseries:
                nursery.channel.accounts.rename(account, known)
            self._explain(account, known)

    def _verdict(self, nursery: _Nursery, candidate: Candidate, known: Container) -> tuple[bool | None, bool]:
        """Return what is said of a newborn, and whether it is wanted.

        Of one that shares the pid namespace of the container to which it belongs, what is said of that.
        """
        rules = self._rules()
        included = rules.says(known)
        if included is None and candidate.cgroup is not None:
            included = nursery.channel.programs.selector.verdict(candidate.namespaces.pid)
        return included, not rules.including if included is None else included

    def _know(self, candidate: Candidate, told: Container | None) -> Container:
        """Return the container that a candidate is, as one object for all channels."""
        known = candidate.as_unknown(self._host) if told is None else candidate.as_told(told, self._host)
        return self._known.setdefault(known, known)
