"""One recording, from its options to a finished trace, inside this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from boxtrace.containers.beside import Birth
from boxtrace.containers.model import UNKNOWN_RUNTIME, Container
from boxtrace.containers.states import StateDirectories
from boxtrace.containers.watch import ContainerWatch, watch_directories
from boxtrace.errors import OutputError, SelectionError
from boxtrace.kernel.capabilities import require_recording
from boxtrace.kernel.contexts import context_layout
from boxtrace.kernel.emitter import Emitter
from boxtrace.kernel.selection import Accounting, Newborn
from boxtrace.kernel.statedump.dump import StateDump
from boxtrace.session.accounts import announce_containers
from boxtrace.session.arrivals import Arrivals
from boxtrace.session.channel import sum_counts
from boxtrace.session.clock import monotonic_clock
from boxtrace.session.command import Command
from boxtrace.session.container_stream import ContainerStream
from boxtrace.session.control import ControlSocket
from boxtrace.session.dumping import StateDumper
from boxtrace.session.hints import BirthHints
from boxtrace.session.latecomers import Latecomers, give_accounts
from boxtrace.session.left_out import count_left_out, with_losses
from boxtrace.session.limiting import Limiting
from boxtrace.session.loading import load_channels
from boxtrace.session.loop import Ending, RecordingLoop
from boxtrace.session.lttng_ust import LttngSession
from boxtrace.session.newborns import Newborns
from boxtrace.session.options import ContainerCount, RecordOptions, RuleCount, Status, Summary
from boxtrace.session.output import TraceDirectory, TraceWriter, kernel_trace_class
from boxtrace.session.scene import Scene, find_scene, survey_running
from boxtrace.session.snapshots import SnapshotDump
from boxtrace.session.targets import make_probes
from boxtrace.session.telling import Telling, latest
from boxtrace.session.tracking import Tracking
from boxtrace.session.user import UserDomain, UserTargets
from boxtrace.session.user_events import COMMANDS, UserEvents
from boxtrace.units import Pid
from boxtrace.userspace.rings import Account
from boxtrace.userspace.rules import EventRules

__all__ = ["record"]

_Count = TypeVar("_Count", ContainerCount, RuleCount)


def _key(container: Container) -> tuple[object, ...]:
    return (container.runtime, container.id, container.init_pid)


def _ignore(_: object) -> None:
    """Take what nobody asked for."""


def record(
    options: RecordOptions,
    *,
    observer: Callable[[Status], None] | None = None,
    warn: Callable[[str], None] = _ignore,
    started: Callable[[], None] = lambda: None,
) -> Summary:
    """Record until a signal (SIGINT, SIGTERM, SIGHUP), the command, the duration or all that was selected ends it.

    Takes over those signals while it runs; call it from the main thread.

    :param observer: called a few times per second with how things are.
    :param warn: called with a sentence about what is not as it should be, but prevents nothing.
    :param started: called when events are being recorded and the state dump is done.
    :raises BoxtraceError: if it cannot start, or cannot go on; what was recorded until then is a valid trace.
    """
    options.check()
    for channel in options.channels:
        context_layout(channel.contexts)
    require_recording()
    directory = TraceDirectory(options.output, ctf2=options.format == "ctf2")
    scene = find_scene(options, warn)
    with ExitStack() as stack:
        return _Recording(options, directory, scene, stack, observer, warn, started).run()


class _Recording:
    """The parts of one recording, made in the order in which they depend on each other.

    :param stack: closes what is opened here.
    """

    def __init__(
        self,
        options: RecordOptions,
        directory: TraceDirectory,
        scene: Scene,
        stack: ExitStack,
        observer: Callable[[Status], None] | None,
        warn: Callable[[str], None],
        started: Callable[[], None],
    ) -> None:
        self._options = options
        self._scene = scene
        self._stack = stack
        self._warn = warn
        self._started = started
        self._watch: ContainerWatch | None = None
        self._directories: StateDirectories | None = None
        self._command = Command(options.command) if options.command else None
        if self._command is not None:
            stack.callback(self._command.close)
        probes = make_probes(options.functions, options.user_functions, options.user_markers, scene.running)
        with ThreadPoolExecutor(1) as pool:  # loading is nearly all the kernel's
            looking = pool.submit(self._look_early)
            self._channels = load_channels(options, scene.targets, probes, warn)
        self._early = looking.result()
        for channel in self._channels:
            stack.callback(channel.programs.close)
        self._tracking = Tracking(scene.sets, scene.targets, self._channels, self._containers)
        self._writer = None if options.flight_recorder else self._open_trace(directory)
        self._told: ContainerStream | None = None
        self._told_in_snapshots = 0
        if self._writer is not None:
            stack.callback(self._writer.close)
            self._told = ContainerStream(options.output, monotonic_clock(), ctf2=options.format == "ctf2")
            stack.callback(self._told.close)
        self._newborns: Newborns | None = None
        self._telling = Telling(self._told, lambda: bool(self._tracking.targets.selection))
        self._before: frozenset[tuple[object, ...]] = frozenset()
        if self._writer is not None or scene.targets.rules:
            self._newborns = Newborns(
                self._channels,
                self._writer,
                self._tracking.rules,
                self._name,
                self._look_beside,
                lambda number, container: self._explain([(number, container)]),
                self._channels[len(options.channels)] if options.snapshot_dump else None,
            )
        self._user: UserDomain | None = None
        try:
            self._open_applications()
        except BaseException:
            if self._writer is not None:
                self._writer.abandon()
            raise
        whole_host = options.state_dump_all or not scene.targets.selection
        dumping = self._channels[len(options.channels) if options.snapshot_dump else 0]
        self._emitter = Emitter(dumping.programs)
        self._dump = StateDump(dumping.programs, whole_host=whole_host) if options.state_dump else None
        self._dumper, snapshot_dump = None, None
        if self._dump is not None and options.flight_recorder:
            snapshot_dump = SnapshotDump(dumping, self._dump_for_snapshot)
        elif self._dump is not None:
            arrive = self._dump.arrive
            self._dumper = StateDumper(self._dump.run, every=options.state_dump_every, warn=warn, arrive=arrive)
        self._loop = stack.enter_context(
            RecordingLoop(
                self._channels,
                self._writer,
                flush_seconds=options.flush_seconds,
                duration=options.duration,
                observer=observer,
                warn=warn,
                open_snapshot=self._open_snapshot,
                finish_snapshot=self._finish_snapshot,
                control=self._open_control(),
                dumper=self._dumper,
                snapshot_dump=snapshot_dump,
            )
        )

    def run(self) -> Summary:
        """Record until something ends it.

        :raises BoxtraceError: if it cannot start, or cannot go on.
        """
        try:
            self._watch_ends()
            for channel in self._channels:
                channel.programs.selector.select(self._tracking.targets.selection)
                if self._command is not None:
                    channel.programs.selector.mark_command(self._command.pid)
            self._loop.commands |= dict.fromkeys(("track", "untrack", "tracked"), self._answer_tracking)
            events = UserEvents(EventRules.of(self._options.user), self._user)
            self._loop.commands |= dict.fromkeys(COMMANDS, events.answer)
            self._loop.commands |= dict.fromkeys(("limit", "limits"), Limiting(self._channels).answer)
            # Before the first event: who is gone when it is looked has its name.
            self._directories = watch_directories()
            self._account(self._early)
            ending = self._loop.run(self._prepare)
        except BaseException:
            if self._writer is not None:
                self._writer.abandon()
            raise
        return self._summary(ending)

    def _open_trace(self, destination: TraceDirectory) -> TraceWriter:
        trace = kernel_trace_class(
            name=self._options.output.resolve().name,
            uuid=destination.uuid,
            clock=monotonic_clock(),
            streams=(channel.stream_class() for channel in self._channels),
        )
        return TraceWriter(destination, trace, (channel.options.name for channel in self._channels))

    def _open_snapshot(self) -> TraceWriter:
        moment = datetime.now().astimezone()
        path = self._options.output / f"snapshot-{moment:%Y%m%d-%H%M%S.%f}"
        writer = self._open_trace(TraceDirectory(path, ctf2=self._options.format == "ctf2"))
        if self._newborns is not None:
            self._newborns.open_snapshot(writer)
        for channel in self._channels:
            channel.note_misses()
        return writer

    def _finish_snapshot(self, writer: TraceWriter) -> None:
        """Tell of the containers in a snapshot, and of what is left out of it."""
        unknown = () if self._newborns is None else self._newborns.finish_snapshot()
        told = ContainerStream(writer.path, monotonic_clock(), ctf2=self._options.format == "ctf2")
        try:
            known = (*self._telling.described, *filter(self._tracking.targets.cover, self._containers()), *unknown)
            told.describe(latest(known), dump=True)
            told.leave_out(self._left_out())
        finally:
            told.close()
        self._told_in_snapshots += told.events

    def _containers(self) -> Sequence[Container]:
        """Return what is known of the containers of this host."""
        return self._scene.running if self._watch is None else self._watch.containers

    def _open_applications(self) -> None:
        options = self._options
        roots = {self._command.pid} if self._command is not None else set()
        if options.user:
            self._user = UserDomain(
                options.user,
                options.output,
                UserTargets(lambda: self._tracking.targets, frozenset(roots), self._born),
                contexts=options.user_contexts,
                flush_seconds=options.flush_seconds,
                ctf2=options.format == "ctf2",
            )
            self._stack.callback(self._user.stop)
        if options.lttng_ust:
            self._stack.callback(LttngSession(options.lttng_ust, options.output).stop)

    def _open_control(self) -> ControlSocket | None:
        try:
            control = ControlSocket()
        except OSError as error:
            self._warn(
                f"no control socket, so that commands such as boxtrace snapshot will not reach this recording: {error}"
            )
            return None
        self._stack.callback(control.close)
        return control

    def _watch_ends(self) -> None:
        """Let the loop know of the processes whose end matters."""
        ends = not self._scene.sets.rules.may_match_later
        for container in self._scene.targets.containers:
            if container.init_pid is not None:
                what = f"container {container.name}"
                self._loop.watch(container.init_pid, what, pid_ns=container.pid_ns, ends=ends)
        for number, first in self._scene.first_processes.items():
            if first is not None:
                self._loop.watch(first, f"pid namespace {number}", pid_ns=number)
        for pid in sorted(self._options.pids):
            self._loop.watch(pid, f"process {pid}", ends=not self._options.follow)

    def _prepare(self) -> None:
        """Do what remains to be done once events are being recorded. In a thread of its own."""
        since = self._scene.looked if self._scene.running else time.time()
        for channel in self._channels:
            for sentence in channel.programs.skipped:
                self._warn(sentence)
        rules = self._scene.sets.rules
        known = self._scene.running
        if not known or rules.may_match or rules.host_only:
            known = survey_running(self._warn)
            self._tracking.refresh(known)  # some may have started before anybody would have seen their birth
        for note in self._tracking.notes():
            self._warn(note)
        self._account(known)
        if self._newborns is not None:
            self._loop.attend(self._newborns)
        self._follow_containers(known, since)
        if self._dumper is not None or self._dump is None:
            self._announce()
        if self._dumper is not None:
            self._dumper.start()
        elif self._dump is not None:
            self._dump.load()
        if self._user is not None:
            around = [item.init_pid for item in self._scene.targets.containers or known if item.init_pid is not None]
            first_processes = filter(None, self._scene.first_processes.values())
            self._user.start([*around, *self._options.pids, *first_processes], self._warn)
        if not self._tracking.targets.selection.newborn:
            hierarchy = self._tracking.targets.hierarchy
            latecomers = Latecomers(self._channels, hierarchy, known, self._containers, self._welcome)
            self._loop.regularly = latecomers.look
        if self._command is not None:
            self._loop.start_command(self._command)
        self._started()

    def _look_early(self) -> Sequence[Container]:
        """Return the containers that run, if they are known or their numbers are recorded: from the first event on."""
        if self._scene.running or all("container" not in channel.contexts for channel in self._options.channels):
            return self._scene.running
        return survey_running(_ignore)  # they are looked at again, and warned of, later

    def _announce(self) -> None:
        announce_containers(self._emitter, self._numbered())

    def _numbered(self) -> Iterable[tuple[int, Container]]:
        """Return the containers of which the trace may tell, each with its number."""
        return filter(self._may_explain, enumerate(self._channels[0].accounts.containers, start=1))

    def _may_explain(self, numbered: tuple[int, Container]) -> bool:
        selection = self._tracking.targets.selection
        chosen = bool(selection.command or selection.of_kind("pid"))  # these processes may be in any container
        return chosen or self._covers(numbered[1])

    def _explain(self, numbered: Iterable[tuple[int, Container]]) -> None:
        """Record whose numbers these are, given away later; in a flight recording each snapshot's dump does."""
        if self._dumper is not None or self._dump is None:
            announce_containers(self._emitter, numbered)

    def _dump_for_snapshot(self) -> None:
        self._announce()
        if self._dump is not None:
            self._dump.run()

    def _account(self, known: Sequence[Container]) -> None:
        """Count the events of these containers apart, if they are not yet."""
        before = {container.life for container in self._channels[0].accounts.containers}
        more = [container for container in known if container.life not in before]
        hierarchy = self._tracking.targets.hierarchy
        self._watch_accounted(*give_accounts(self._channels, more, hierarchy, beside=known))

    def _watch_accounted(self, accounting: Accounting, accounted: Sequence[tuple[int, Container]]) -> None:
        for _, container in accounted:
            if container.init_pid is not None and container.pid_ns in accounting.pid_namespaces:
                self._loop.watch(container.init_pid, container.name, pid_ns=container.pid_ns, ends=False)

    def _welcome(self, accounting: Accounting, accounted: Sequence[tuple[int, Container]]) -> None:
        """Follow and explain containers that have got an account later, and select them if they are to be."""
        self._watch_accounted(accounting, accounted)
        try:
            self._tracking.take_latecomers()
        except SelectionError as error:
            self._warn(str(error))
        self._explain(filter(self._may_explain, accounted))

    def _follow_containers(self, known: Sequence[Container], since: float) -> None:
        """Keep the names of these containers in the trace, and of those that start later."""
        self._name(filter(self._tracking.targets.cover, known), dump=True)
        self._before = frozenset(map(_key, known))
        user, dumper = self._user, self._dumper
        arrivals = Arrivals(lambda: not self._tracking.targets.selection, dumper.arrive) if dumper is not None else None

        def take_news(news: Iterable[Container]) -> None:
            containers = tuple(news)
            covered = tuple(filter(self._tracking.targets.cover, containers))
            self._name(covered)
            if arrivals is not None:
                arrivals.named(covered)
            if self._newborns is not None:
                self._newborns.tell(containers)
            if user is not None:
                self._reach(user, containers)

        record = take_news if self._told is not None or self._newborns is not None else None
        self._watch = ContainerWatch(
            record, known, tell=self._telling.tell, since=since, warn=self._warn, directories=self._directories
        )
        self._stack.enter_context(self._watch)
        watch = self._watch

        def hear(born: Collection[Birth], executed: Collection[Birth]) -> None:
            watch.notice(born, executed)
            if arrivals is not None:
                arrivals.executed([birth.pid for birth in executed])

        telling = next(each for each in self._channels if each.tells_births)
        self._stack.callback(BirthHints(telling.programs.image, hear).close)

    def _look_beside(self, born: Collection[Pid]) -> None:
        if self._watch is not None:
            self._watch.notice_sharing(born)

    def _born(self) -> Sequence[Container]:
        """Return the containers that have started while recording."""
        return [container for container in self._containers() if _key(container) not in self._before]

    def _reach(self, user: UserDomain, containers: Iterable[Container]) -> None:
        """Let the applications of those containers find the host that are, or may become, wanted."""
        targets = self._tracking.targets
        born = targets.selection.newborn is Newborn.CANDIDATE
        wanted = (each for each in containers if targets.cover(each) or (born and targets.rules.says(each)))
        user.reach([each.init_pid for each in wanted if each.init_pid is not None], self._warn)

    def _answer_tracking(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = self._tracking.answer(request)
        if request["command"] != "tracked":  # others are selected, whose numbers nobody has told
            self._explain(self._numbered())
        if self._user is not None and request["command"] != "tracked":
            self._reach(self._user, self._containers())
            self._user.review()
        return answer

    def _name(self, containers: Iterable[Container], *, dump: bool = False) -> None:
        """Keep what is known of these containers, if anybody wants it."""
        if self._told is not None or self._newborns is not None:
            self._telling.describe(containers, dump=dump)

    def _left_out(self) -> tuple[RuleCount, ...]:
        """Return what is left out of the trace so far."""
        known = {container.life: container for container in (*self._containers(), *self._telling.described)}
        return self._last_names(count_left_out(self._channels, tuple(known.values()), self._covers))

    def _last_names(self, counts: Iterable[_Count]) -> tuple[_Count, ...]:
        """Return the counts with the names that containers have by now: they may have been renamed."""
        names = {(container.runtime, container.id): container.name for container in self._containers()}

        def named(count: _Count) -> _Count:
            known = count.container
            name = None if known is None else names.get((known.runtime, known.id))
            return count if known is None or name is None else replace(count, container=replace(known, name=name))

        return tuple(map(named, counts))

    def _covers(self, container: Container) -> bool:
        """Whether the trace may tell of a container, of which perhaps nobody knows any more than that it was there."""
        return container.runtime == UNKNOWN_RUNTIME or self._tracking.targets.cover(container)

    def _summary(self, ending: Ending) -> Summary:
        if self._watch is not None and self._newborns is not None:
            self._watch.__exit__(None, None, None)  # the last that runtimes tell
        if self._newborns is not None:
            self._newborns.finish()
        taken_out = 0 if self._newborns is None else self._newborns.taken_out
        account = self._user.stop() if self._user is not None else Account()
        if self._watch is not None:
            self._watch.close()
            if self._watch.failure is not None:
                self._warn(f"not all that runtimes told is in the trace: {self._watch.failure}")
        left_out = self._left_out()
        if self._told is not None:
            try:
                self._told.leave_out(left_out)
            except OutputError as error:
                self._warn(f"what was left out is not told in the trace: {error}")
        sizes = (part.size for part in (self._writer, self._user, self._told) if part is not None)
        return Summary(
            path=self._options.output,
            events=sum(channel.rings.records for channel in self._channels)
            - (0 if self._options.flight_recorder else taken_out),
            taken_out=taken_out,
            discarded=sum(channel.rings.discarded() for channel in self._channels) - sum(ending.missed.values()),
            missed=ending.missed,
            size=sum(sizes),
            seconds=ending.seconds,
            containers=self._last_names(with_losses(sum_counts(self._channels), left_out)),
            left_out=left_out,
            reason=ending.reason,
            exit_status=self._command.exit_status if self._command is not None else None,
            flight_recorder=self._options.flight_recorder,
            snapshots=tuple(ending.snapshots),
            user_events=account.events,
            user_lost=account.lost,
            user_refused=account.refused,
            told=self._told_in_snapshots + (self._told.events if self._told is not None else 0),
            told_lost=self._told.lost if self._told is not None else 0,
        )
