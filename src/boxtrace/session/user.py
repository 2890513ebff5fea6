"""The user domain of a recording: whose events it takes, and where applications find it."""

from __future__ import annotations

import errno
import os
import platform
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from uuid import uuid4
from weakref import WeakSet

from boxtrace.containers.cgroups import Hierarchies, parse_cgroups
from boxtrace.containers.members import owns_pid_ns
from boxtrace.containers.model import Cgroup, Container
from boxtrace.containers.proc import pid_ns_ancestors, read_process
from boxtrace.errors import UsageError
from boxtrace.kernel.image import possible_cpus
from boxtrace.kernel.selection import Newborn, Selection
from boxtrace.kernel.task_records import TaskRecords
from boxtrace.session.clock import monotonic_clock
from boxtrace.session.targets import Targets
from boxtrace.session.user_contexts import event_contexts
from boxtrace.units import CgroupId, NamespaceInum
from boxtrace.userspace.host import UserHost
from boxtrace.userspace.identity import Peer
from boxtrace.userspace.layout import user_trace_class
from boxtrace.userspace.output import UserOutput
from boxtrace.userspace.placement import listen_at, listen_in_container
from boxtrace.userspace.protocol import SOCKET_DIRECTORIES, SOCKET_NAME
from boxtrace.userspace.rings import Account
from boxtrace.userspace.rules import EventRules
from boxtrace.version import VERSION

__all__ = ["UserDomain", "UserTargets"]

USER_DOMAIN = "ust"
"""Directory of its part of the trace."""


@dataclass(frozen=True, slots=True)
class UserTargets:
    """Which processes' events are recorded: the same that the kernel's are recorded of.

    :param targets: returns those of the kernel domain as they are now.
    :param roots: processes whose descendants are recorded whatever is selected.
    :param born: returns the containers that have started since the recording began.
    """

    targets: Callable[[], Targets]
    roots: frozenset[int] = frozenset()
    born: Callable[[], Sequence[Container]] = tuple
    _commanded: WeakSet[Peer] = field(default_factory=WeakSet)

    def accept(self, peer: Peer) -> bool:
        """Tell whether a client is among them."""
        targets = self.targets()
        selection = targets.selection
        if self.roots and (peer in self._commanded or _descends(peer.pid, self.roots)):
            self._commanded.add(peer)  # once one of them it stays one, when the processes between have ended
            return True
        if selection.command and not (selection.containers or selection.ids):
            return False
        if selection.containers:
            verdict = _verdict_of_containers(peer, targets)
            if verdict is None:
                verdict = self._verdict_of_newborn(peer, targets)
            if not (not selection.including if verdict is None else verdict):
                return False
        return all(_passes(peer, selection, word) for word in {each.kind for each in selection.ids})

    def _verdict_of_newborn(self, peer: Peer, targets: Targets) -> bool | None:
        """Tell whether a container that has started while recording is wanted; None if nothing is said of it."""
        if targets.selection.newborn is Newborn.NOTHING:
            return None
        born, hierarchy = self.born(), targets.hierarchy
        own = [container for container in born if owns_pid_ns(container, born)]
        shared = [container for container in born if container not in own]
        by_cgroup = {cgroup.id: item for item in shared for cgroup in item.cgroups if cgroup.hierarchy == hierarchy}
        by_space = {container.pid_ns: container for container in own}
        found = [by_cgroup.get(number) for number in (_cgroup_ids(peer, hierarchy) if shared else ())]
        found += [by_space.get(number) for number in _spaces(peer)]
        verdicts = (targets.rules.says(container) for container in found if container is not None)
        return next((verdict for verdict in verdicts if verdict is not None), None)


def _verdict_of_containers(peer: Peer, targets: Targets) -> bool | None:
    """Tell what the innermost of the peer's pid namespaces says of which something is said, then its cgroups."""
    selection = targets.selection
    numbers = _cgroup_ids(peer, targets.hierarchy) if selection.cgroups else ()
    by_cgroup = next((selection.cgroups[number] for number in numbers if number in selection.cgroups), None)
    by_space = next((selection.pid_namespaces[one] for one in _spaces(peer) if one in selection.pid_namespaces), None)
    return by_cgroup if by_cgroup is False or by_space is None else by_space


def _cgroup_ids(peer: Peer, hierarchy: str) -> Iterator[CgroupId]:
    """Yield the ids of the peer's cgroup and of those around it, as far as they can be seen."""
    hierarchies = Hierarchies()
    path = next((item.path for item in parse_cgroups(peer.cgroup) if item.hierarchy == hierarchy), "")
    while path not in ("", "/"):
        number = hierarchies.with_id(Cgroup(hierarchy, path)).id
        if number is not None:
            yield number
        path = path.rpartition("/")[0]


def _spaces(peer: Peer) -> list[NamespaceInum]:
    return [peer.main.namespaces.pid, *(pid_ns_ancestors(peer.pid) or ())]


def _passes(peer: Peer, selection: Selection, word: str) -> bool:
    """Tell whether the ids of one kind let the peer pass."""
    ids = {each.value: each for each in selection.of_kind(word)}
    values: list[int | bytes] = [*_facts(peer, word, selection.follow)]
    for depth, value in enumerate(values):
        each = ids.get(value)
        if each is not None and not (each.only_itself and depth):
            return not each.excluded
    return all(each.excluded for each in ids.values())


def _facts(peer: Peer, word: str, follow: bool) -> Iterable[int | bytes]:
    """Return the peer's ids of a kind, the innermost first."""
    main = peer.main
    if word == "pid":
        return _ancestry(peer.pid) if follow else [peer.pid]
    if word == "pid-ns":
        return _spaces(peer)
    if word.endswith("-ns"):
        return [getattr(main.namespaces, word.removesuffix("-ns"))]
    own: Mapping[str, int | bytes] = {
        "vpid": main.vpid,
        "vuid": main.ids[0],
        "vgid": main.ids[3],
        "uid": peer.uid,
        "gid": peer.gid,
        "procname": main.name,
    }
    return [own[word]]


def _ancestry(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(PermissionError):
        while pid and pid not in found:
            found.append(pid)
            process = read_process(pid)
            pid = process.ppid if process is not None else 0
    return found


def _descends(pid: int, roots: frozenset[int]) -> bool:
    with suppress(PermissionError):
        while pid not in roots:
            process = read_process(pid) if pid else None
            if process is None:
                return False
            pid = process.ppid
        return True
    return False


class UserDomain:
    """Records what applications give, from :meth:`start` to :meth:`stop`.

    :param patterns: shell patterns of event names.
    :param trace: directory of the whole trace.
    :param contexts: names of those that differ from event to event.
    :raises BoxtraceError: if it cannot be recorded.
    """

    def __init__(
        self,
        patterns: Iterable[str],
        trace: Path,
        targets: UserTargets,
        *,
        contexts: Sequence[str] = (),
        flush_seconds: float,
        ctf2: bool = False,
    ) -> None:
        wanted = event_contexts(contexts)
        path = Path("/", SOCKET_DIRECTORIES[0], SOCKET_NAME)
        try:
            listener = listen_at(path)
        except OSError as error:
            raise UsageError(
                f"cannot listen at {path}: {error.strerror}", hint="another recording with --user may be running"
            ) from error
        try:
            self._output = UserOutput(
                trace / USER_DOMAIN,
                user_trace_class(
                    name=trace.resolve().name,
                    hostname=platform.uname().node,
                    uuid=uuid4(),
                    clock=monotonic_clock(),
                    created=datetime.now().astimezone(),
                    version=VERSION,
                ),
                ctf2=ctf2,
            )
        except BaseException:
            listener.close()
            raise
        self._host = UserHost(
            self._output,
            tuple(patterns),
            accept=targets.accept,
            contexts=wanted,
            flush_seconds=flush_seconds,
            tasks=lambda: TaskRecords(possible_cpus()),
        )
        self._host.add_listener(listener)
        self._account: Account | None = None
        self._lock = threading.Lock()

    def start(self, processes: Iterable[int], warn: Callable[[str], None]) -> None:
        """Begin, and let the applications around some processes find the host.

        :param processes: one of each mount namespace at least; those of our own do no harm.
        :param warn: told of those whose applications cannot be reached.
        """
        self.reach(processes, warn)
        self._host.start()

    def reach(self, processes: Iterable[int], warn: Callable[[str], None]) -> None:
        """Let the applications around more processes find the host. From any thread."""
        own = read_process(os.getpid())
        for pid in processes:
            try:
                process = read_process(pid)
                if process is None or (own is not None and process.namespaces.mnt == own.namespaces.mnt):
                    continue
                with self._lock:
                    if self._account is None:
                        self._host.add_listener(listen_in_container(pid))
            except OSError as error:
                # In use: that of another process of the same namespace.
                if error.errno != errno.EADDRINUSE and Path(f"/proc/{pid}").exists():
                    warn(f"applications around process {pid} cannot be recorded: {error.strerror}")

    def enable(self, rules: EventRules) -> None:
        """Have these rules count from now on."""
        with self._lock:
            if self._account is None:
                self._host.enable(rules)

    def review(self) -> None:
        """What is recorded has changed: let those programs go that it does not mean any more."""
        with self._lock:
            if self._account is None:
                self._host.review()

    def event_names(self) -> frozenset[str]:
        """Return the names of the event types that applications have declared so far."""
        return self._host.types.names()

    def stop(self) -> Account:
        """End, and return what was recorded; once is enough.

        :raises BoxtraceError: if something could not be written.
        """
        with self._lock:
            if self._account is not None:
                return self._account
            self._account = self._host.account
        try:
            self._host.stop()
        finally:
            self._output.close()
        return self._account

    @property
    def size(self) -> int:
        """Bytes of packets written so far."""
        return self._output.size
