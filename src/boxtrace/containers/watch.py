"""Containers that start, end or are renamed while a recording runs: their names get into the trace, too.

Daemons with Docker's API, and containerd, tell by their stream of events. Other runtimes are found by their monitors: a
look at the list of processes every few seconds, which reads one small file for each process of the host. No runtime is
held up: what is learnt late is joined when the trace is read. What fails is told of once; the rest goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from boxtrace.containers.beside import Besides, Birth
from boxtrace.containers.containerd import Containerd
from boxtrace.containers.crio import Crio
from boxtrace.containers.discovery import RUNTIMES, rank
from boxtrace.containers.docker import Docker
from boxtrace.containers.events import ContainerEvent
from boxtrace.containers.inside import Inside
from boxtrace.containers.join import Joiner
from boxtrace.containers.listener import DaemonListener
from boxtrace.containers.lowlevel import Crun, Runc
from boxtrace.containers.lxc import Lxc
from boxtrace.containers.model import Container
from boxtrace.containers.nspawn import Nspawn
from boxtrace.containers.podman import Podman
from boxtrace.containers.podman_log import PodmanLogs
from boxtrace.containers.runtime import (
    Runtime,
    RuntimeAbsentError,
    RuntimeContainer,
    RuntimeFailedError,
)
from boxtrace.containers.states import StateDirectories
from boxtrace.containers.surviving import Surviving
from boxtrace.containers.table import ProcessTable, Task
from boxtrace.errors import OutputError
from boxtrace.threads import stand_back
from boxtrace.units import Nanoseconds, Pid

__all__ = ["ContainerWatch", "engine_addresses", "watch_directories"]

_WRITE_SECONDS = 0.5
_STATE_SECONDS = 0.25
_BATCH_SECONDS = 0.05
_TOLD_SECONDS = 1.0
"""How long after the kernel told of a first program directories wait for the next: it tells when to look at them."""
_HINT_SECONDS = 0.05
_SAME_NS = 1_000_000_000
"""How much the times of one end may differ that a runtime tells in different ways."""

_REST = 10
"""How many times longer than a look takes nobody looks again, whatever happens: it takes a tenth of a CPU at most."""
_GENERATIONS = 6
"""Between a container\'s first process and the one beside it."""
_DIRECTORIES = "directories of runc, crun and containerd"
_MOST_LOGGED = 1 << 14
"""Events of Podman of which it is remembered that they were passed on: the other one tells of them within seconds."""
_BESIDE = "processes beside containers"
_LOGS = "event files of Podman"
_REFUSED = "the kernel gives no more inotify watches; containers that end at once may lack their names"


def engine_addresses(processes: ProcessTable) -> dict[str, str]:
    """Return the sockets of daemons that tell of events, as ``unix://PATH``, with the name of the runtime of each."""
    found = dict.fromkeys(Podman.addresses(), Podman.name)
    found |= dict.fromkeys(Containerd.daemons(processes), Containerd.name)
    return dict.fromkeys(Docker.addresses(processes), Docker.name) | found


def watch_directories() -> StateDirectories | None:
    """Watch the directories of runtimes from now on; None where the kernel does not let us."""
    try:
        return StateDirectories(
            [item for item in RUNTIMES if isinstance(item, Containerd | Runc | Crun)], ProcessTable()
        )
    except OSError:
        return None  # whoever tries again tells why


class ContainerWatch:
    """Watches the runtimes of this host in threads of its own. A context manager: watches while it is open.

    :param record: takes containers that are new, or of which something is new; never called by two threads at once.
        A :class:`~boxtrace.errors.OutputError` of it ends its calls and is kept in ``failure``. None where nothing is
        to be written: :attr:`containers` has what is known.
    :param tell: takes what runtimes tell of containers, as they tell it; from several threads. Its OutputError, too, is
        kept and ends the calls.
    :param known: the containers that were recorded already.
    :param engines: daemons with an API (address: runtime); by default :func:`engine_addresses`.
    :param runtimes: those to look for among the processes; by default all that are not asked by an API.
    :param since: when what is known was found out, CLOCK_REALTIME in seconds; by default now. Events since then are
        heard of, too.
    :param look_seconds: time between two looks.
    :param warn: called with a sentence about what fails, once for each thing that does; from several threads.
    :param proc: the proc mount to read.
    :param directories: those of runtimes, if they are watched already: what has happened there since is heard of, too.
    """

    def __init__(
        self,
        record: Callable[[Iterable[Container]], None] | None,
        known: Iterable[Container] = (),
        *,
        tell: Callable[[Iterable[ContainerEvent]], None] | None = None,
        engines: Mapping[str, str] | None = None,
        runtimes: Sequence[Runtime] | None = None,
        since: float | None = None,
        look_seconds: float = 5.0,
        warn: Callable[[str], None] = lambda _: None,
        proc: Path = Path("/proc"),
        directories: StateDirectories | None = None,
    ) -> None:
        self._directories = directories
        self._record = record
        self._tell = tell
        self._hint = threading.Event()
        self._known = {(container.runtime, container.id): container for container in known}
        self._engines = dict(engine_addresses(ProcessTable(proc)) if engines is None else engines)
        self._finds_engines = engines is None
        self._runtimes = [item for item in RUNTIMES if not isinstance(item, Docker)] if runtimes is None else runtimes
        self._since = time.time() if since is None else since
        self._look_seconds = look_seconds
        self._proc = proc
        self._state_runtimes = [item for item in self._runtimes if isinstance(item, Containerd | Runc | Crun)]
        self._besides = Besides(
            [item for item in self._runtimes if isinstance(item, Podman | Crio | Lxc | Nspawn | Inside)]
        )
        reads = any(isinstance(item, Podman) for item in self._runtimes)
        self._logs = PodmanLogs(Nanoseconds(int(self._since * 1e9))) if reads else None
        self._logged: dict[tuple[str, str, int], None] = {}
        self._renamed: dict[tuple[str, str], str] = {}
        self._joiner = Joiner(proc)
        self._lock = threading.Lock()
        self._news: dict[tuple[str, str, int | None], Container] = {}
        self._seen: dict[str, Container] = {}
        self._told_by: dict[str, int] = {}
        self._stop = threading.Event()
        self._surviving = Surviving(warn, self._stop, _HINT_SECONDS)
        self._listeners: list[DaemonListener] = []
        self._following = threading.Lock()
        self._states: tuple[StateDirectories, list[ContainerEvent]] | None = None
        self._unread: set[tuple[str, str]] = set()
        self._noticed = -_TOLD_SECONDS
        self._threads: list[threading.Thread] = []
        self.failure: OutputError | None = None

    def __enter__(self) -> ContainerWatch:
        for address, runtime in self._engines.items():
            self._listen(runtime, address)
        self._begin(self._look_and_write)
        self._begin(self._watch_states)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Tell what is still to be told, and end."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._hint.set()
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.close()
        for thread in self._threads:
            thread.join()
        self._look()
        self._read_logs()
        self._write()

    @property
    def containers(self) -> tuple[Container, ...]:
        """What is known of every container that there was, as of now."""
        with self._lock:
            return tuple(self._known.values())

    @property
    def follows_directories(self) -> bool:
        """Whether containers that come from now on are heard of by their directories."""
        with self._following:
            return self._states is not None

    def _begin(self, target: Callable[[], None]) -> None:
        def stand_back_and_run() -> None:
            stand_back()
            target()

        # Daemons, so that a runtime that hangs cannot keep the process from ending after an error.
        thread = threading.Thread(target=stand_back_and_run, name=target.__name__, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _listen(self, runtime: str, address: str) -> None:
        listener = DaemonListener(
            runtime,
            address,
            self._since,
            take=self._take,
            told=self._told,
            surviving=self._surviving,
            stop=self._stop,
            proc=self._proc,
        )
        with self._lock:
            self._listeners.append(listener)
        self._begin(listener.run)

    def _is_told(self, directory: Path) -> bool:
        """Tell whether a daemon tells of the container of this directory by itself."""
        with self._lock:
            states = {listener.state for listener in self._listeners if listener.state}
        return bool(states) and str(directory.parents[2]) in states and not Containerd.is_dockers(directory)

    def _look_and_write(self) -> None:
        looked, rest = time.monotonic(), _HINT_SECONDS
        while not self._stop.is_set():
            hinted = self._hint.wait(_WRITE_SECONDS)
            if hinted or time.monotonic() - looked >= self._look_seconds:
                self._hint.clear()
                began = time.monotonic()
                self._look()
                looked = time.monotonic()
                rest = max(_HINT_SECONDS, (looked - began) * _REST)
            self._read_logs()
            self._write()
            if hinted:
                self._stop.wait(rest)

    def _watch_states(self) -> None:
        """Look at containers when their runtime writes down their first process, before that runs their program."""
        states = None
        heard: list[ContainerEvent] = []
        with self._surviving(_DIRECTORIES):
            states = self._directories or StateDirectories(self._state_runtimes, ProcessTable(self._proc))
            states.tell, states.told = heard.append, self._is_told
        if states is None:
            return  # the slower look finds what lives long enough
        with self._following:
            self._states = states, heard
        while not self._stop.is_set():
            with self._surviving(_DIRECTORIES):
                if time.monotonic() - self._noticed < _TOLD_SECONDS:
                    self._stop.wait(_BATCH_SECONDS)
                else:
                    states.wait(_STATE_SECONDS)
                self._follow_states()
            if states.refused:
                self._surviving.warn_once("refused", f"{_DIRECTORIES}: {_REFUSED}")
        with self._surviving(_DIRECTORIES):
            while self._follow_states():
                pass
            self._follow_states(refresh=ProcessTable(self._proc))
        with self._following:
            self._states = None
            states.close()

    def _follow_states(self, *, refresh: ProcessTable | None = None, tell: bool = True) -> bool:
        """Take what has happened in the directories; return whether states were written.

        :param refresh: look for directories of runtimes that were not there before, too; of these processes.
        :param tell: pass on what was heard; later if not, when a container does not wait to be looked at.
        """
        with self._following:
            if self._states is None:
                return False
            states, heard = self._states
            before = len(heard)
            written = states.follow(0)
            if refresh is not None:
                states.refresh(refresh)
            self._unread |= {(event.runtime, event.id) for event in heard[before:] if event.kind == "create"}
            for directory, name in written.items():
                self._take_state(directory, name)
            for event in heard[before:]:
                if event.kind == "remove" and (event.runtime, event.id) in self._unread:
                    self._take_unread(event)
            if tell:
                self._told(heard)
                heard.clear()
        return bool(written)

    def _told(self, events: Iterable[ContainerEvent]) -> None:
        """Pass on what runtimes told, if none told of that container that uses this one, and knows more."""
        news = []
        with self._lock:
            for event in events:
                if event.runtime == Podman.name:  # both its files and its API service may tell
                    key = (event.id, event.kind, event.time or 0)
                    if key in self._logged:
                        continue
                    self._logged[key] = None
                    if len(self._logged) > _MOST_LOGGED:
                        del self._logged[next(iter(self._logged))]
                before = self._told_by.setdefault(event.id, rank(event.runtime))
                self._told_by[event.id] = min(before, rank(event.runtime))
                if before >= rank(event.runtime):
                    news.append(event)
        if not news or self._tell is None or self.failure is not None:
            return
        with self._surviving("what runtimes told"):
            try:
                self._tell(news)
            except OutputError as error:
                self.failure = error

    def notice(self, born: Iterable[Birth] = (), executed: Iterable[Birth] = ()) -> None:
        """Take what the kernel has told of containers that may have been born. Not from two threads at once.

        All processes are looked at soon if somebody is beside one of those: other runtimes tell of theirs elsewhere.

        :param born: first processes of pid namespaces. Who is beside them is looked for at once: both may be gone soon.
        :param executed: processes that have executed their first program in namespaces of their own.
        """
        processes = ProcessTable(self._proc)
        for birth in born:
            with self._surviving(_BESIDE):
                found = self._besides.find(processes, birth)
                if found is not None:
                    self._take(*found)
                if self._logs is not None:
                    self._logs.notice(processes, birth.ancestors)
        if executed:  # its runtime has written down who it is, before that
            self._noticed = time.monotonic()
            with self._surviving(_DIRECTORIES):
                self._follow_states(tell=False)
        with self._surviving(_BESIDE):
            if any(self._besides.of(processes, task) for birth in (*born, *executed) for task in birth.ancestors):
                self._hint.set()

    def notice_sharing(self, pids: Iterable[Pid]) -> None:
        """Take first processes of containers that share their pid namespace, of which no other birth tells.

        Who is beside them is looked for at once. From one thread, beside the one that calls :meth:`notice`.
        """
        processes = ProcessTable(self._proc)
        for pid in pids:
            with self._surviving(_BESIDE):
                ancestors: list[Task] = []
                task = processes.task(pid)
                while task is not None and len(ancestors) < _GENERATIONS:
                    task = processes.task(task.ppid)
                    if task is not None:
                        ancestors.append(task)
                found = self._besides.find(processes, Birth(pid, tuple(ancestors)))
                if found is not None:
                    self._take(*found)

    def _read_logs(self) -> None:
        if self._logs is not None:
            with self._surviving(_LOGS):
                events = self._logs.read()
                self._told(events)
                for event in events:
                    if event.kind == "rename":
                        self._rename(event)

    def _rename(self, event: ContainerEvent) -> None:
        """Note a name that the process beside a container does not know."""
        key = (event.runtime, event.id)
        with self._lock:
            self._renamed[key] = event.name
            known = self._known.get(key)
            if known is not None and known.name != event.name:
                self._known[key] = self._news[(*key, known.birth)] = replace(known, name=event.name)

    def _take_state(self, directory: Path, name: str) -> None:
        """Take what a runtime keeps of a container; no daemon is asked, and no other process is looked at."""
        for runtime in self._state_runtimes:
            if runtime.name == name:
                with self._surviving(f"containers of {name}"):
                    container = runtime.kept_in(directory, ProcessTable(self._proc))
                    if container is not None:
                        self._unread.discard((name, container.id))
                        self._take(name, container)

    def _take_unread(self, removed: ContainerEvent) -> None:
        """Take a container of which nothing is known but that its directory was there: its cgroup tells who it was."""
        self._unread.discard((removed.runtime, removed.id))
        with self._lock:
            told = self._told_by.get(removed.id, len(RUNTIMES)) < rank(removed.runtime)
        if not told:
            self._take(removed.runtime, RuntimeContainer(removed.id, removed.name, "exited"))

    def _take_all(self, runtimes: Iterable[Runtime], processes: ProcessTable) -> set[tuple[str, str]]:
        """Take what these runtimes tell, and return whom they told of."""
        seen: set[tuple[str, str]] = set()
        for runtime in runtimes:
            with self._surviving(f"containers of {runtime.name}"):
                try:
                    told: Sequence[RuntimeContainer] = runtime.containers(processes)
                except RuntimeAbsentError:
                    continue
                except RuntimeFailedError as error:  # of a daemon, whose listener tells of it
                    told = error.told
                for container in told:
                    seen.add((runtime.name, container.id))
                    self._take(runtime.name, container)
        return seen

    def _find_engines(self, processes: ProcessTable) -> None:
        """Listen to daemons that have started since."""
        with self._surviving("daemons of runtimes"):
            for address, runtime in engine_addresses(processes).items():
                if address not in self._engines:
                    self._engines[address] = runtime
                    self._listen(runtime, address)

    def _look(self) -> None:
        """Find containers by their monitors, and those that have none any more."""
        processes = ProcessTable(self._proc)
        if self._finds_engines and not self._stop.is_set():
            self._find_engines(processes)
        if self._logs is not None:
            with self._surviving(_LOGS):
                self._logs.refresh(processes)
        seen = self._take_all(self._runtimes, processes)
        with self._surviving(_DIRECTORIES):
            self._follow_states(refresh=processes)  # which have been read by now: nobody waits for that here
        processes = ProcessTable(self._proc)
        names = {runtime.name for runtime in self._runtimes if runtime.name != Docker.name}  # whose daemon tells
        with self._lock:
            for key, known in self._known.items():
                alive = known.init_pid is not None and processes.task(known.init_pid) is not None
                if key[0] in names and key not in seen and known.state != "exited" and not alive:
                    self._news[(*key, known.birth)] = self._known[key] = replace(known, state="exited")

    def _take(self, runtime: str, told: RuntimeContainer) -> None:
        """Note what a runtime tells of a container, if it is news."""
        with self._surviving(f"a container of {runtime}"):
            self._join(runtime, told)

    def _join(self, runtime: str, told: RuntimeContainer) -> None:
        key = (runtime, told.id)
        container = self._joiner.join(runtime, told)
        with self._lock:
            container = replace(container, name=self._renamed.get(key, container.name))
            known, seen = self._known.get(key), self._seen.get(told.id)
            if container.namespaces is not None:
                self._seen[told.id] = container
            elif seen is not None and not _is_over(known, seen, container):
                # Too late to look at its first process: somebody was in time, perhaps by the runtime below.
                container = replace(
                    container,
                    init_pid=seen.init_pid,
                    namespaces=seen.namespaces,
                    pid_ns_ancestors=seen.pid_ns_ancestors,
                    birth=seen.birth,
                    cgroups=seen.cgroups,
                )
            if known is not None and container.image is None:  # files know less than a daemon has told
                labels = {**known.labels, **container.labels}
                container = replace(container, image=known.image, image_digest=known.image_digest, labels=labels)
            if known is not None and container.image_digest is None and container.image == known.image:
                container = replace(container, image_digest=known.image_digest)
            for name in (item.name for item in RUNTIMES):
                other = self._known.get((name, told.id)) if name != runtime else None
                if other is None or other.identity != container.identity:
                    continue
                if rank(name) < rank(runtime):
                    return  # it uses this one, and knows more
                del self._known[name, told.id]
                self._news.pop((name, told.id, other.birth), None)
            if container != known:
                self._known[key] = self._news[(*key, container.birth)] = container

    def _write(self) -> None:
        with self._lock:
            news, self._news = list(self._news.values()), {}
        if news and self._record is not None and self.failure is None:
            with self._surviving("what is known of containers"):
                try:
                    self._record(news)
                except OutputError as error:
                    self.failure = error


def _is_over(known: Container | None, seen: Container, told: Container) -> bool:
    """Tell whether the life that was *seen* ended before the one that is told of."""
    if known is None or known.identity != seen.identity or known.ended is None:
        return False
    return told.ended is None or abs(known.ended - told.ended) > _SAME_NS
