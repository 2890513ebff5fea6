"""Whose a pid namespace of a trace is: what was told of containers, joined with what the kernel's events tell.

A number that the kernel uses again never decides: a namespace is a container's if somebody saw its first process (pid,
pid namespace and time of birth agree), or if that process was in the container's cgroup, the path of which holds the
id. Where a trace tells nothing of cgroups, the end decides, which the runtime saw soon after; where that could be the
end of two, it does not.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from boxtrace.containers.model import UNKNOWN_RUNTIME, Container, Namespaces
from boxtrace.containers.paths import named_by
from boxtrace.containers.text import shorten_id
from boxtrace.containers.unknown import pid_ns_id
from boxtrace.trace.lives import UNKNOWN_NS, PidNamespace, Process
from boxtrace.trace.state import TraceState
from boxtrace.trace.told import Told
from boxtrace.units import NamespaceInum, Nanoseconds, Pid

__all__ = ["Life", "Naming"]

_REAP_NS = 200_000_000
"""How long after the exit of a container's first process its runtime may have noted the end."""

_LAST_SWITCH_NS = 1_000_000
"""How long after its exit event a process may still have events."""

_FORK_NS = 2_000_000_000
"""How long after its birth the fork of a process is recorded, at most."""

_CLOCK_NS = 1_000_000
"""How far the offsets between the clocks may be from what they were when they were measured."""


_ON_THE_WAY = "runc:["
"""What runc calls its processes that are in a container's cgroup, and never run its program."""


@dataclass(frozen=True, slots=True)
class Life:
    """A container, and its pid namespace where one is its own that an event tells of, or else whoever saw it."""

    container: Container
    space: PidNamespace | None


class Naming:
    """Joins what was told with what a trace tells.

    :param clock_base: the origin of the trace's clock, ns since the Unix epoch.
    :param begin: when the trace begins, ns since the Unix epoch.
    :param cgroups: whether the trace tells of cgroups.
    """

    def __init__(self, told: Told, state: TraceState, *, clock_base: int, begin: Nanoseconds, cgroups: bool) -> None:
        self._told = told
        self._state = state
        self._boot_epoch = clock_base - told.boottime_offset
        self._begin = begin
        self._has_cgroups = cgroups

    @cached_property
    def lives(self) -> list[Life]:
        """Every life of a container by runtime and name, those included of which only their runtime told."""
        spaces = [space for space in self._state.pid_namespaces if space.ancestors]
        owned = self._by_identity(spaces)
        self._add_by_cgroup(spaces, owned)
        if not self._has_cgroups:
            owned |= self._by_end([space for space in spaces if space.serial not in owned])
        lives = [_life(self._ended(owned[space.serial], space), space) for space in spaces if space.serial in owned]
        # What else was told of those is of a life that the trace does not have, or was seen in the midst of a change.
        placed = {_same(container) for container in owned.values()}
        others = [container for container in self._told.containers if _same(container) not in placed]
        alone = self._told_spaces(others)
        lives += [Life(container, alone.get(id(container))) for container in others]
        seen: Counter[NamespaceInum] = Counter()
        for space in spaces:
            seen[space.number] += 1
            if space.serial not in owned:
                lives.append(Life(self._by_form(space) or _unknown(space, seen[space.number]), space))
        lives.sort(key=lambda life: _order(life.container))
        return lives

    def processes(self, life: Life) -> list[Process]:
        """Return the processes of a container and of those inside it.

        Of one without a pid namespace of its own that events tell of: those that were in its cgroup, its first process
        and what descends from it. These are not of the container whose namespace they share.
        """
        if life.space is None or not (members := life.space.members()):
            return self._sharing[id(life.container)]
        others = {id(process) for process in self.sharing(life)}
        return [process for process in members if id(process) not in others]

    def sharing(self, life: Life) -> list[Process]:
        """Return the processes of other containers that share the pid namespace of this one."""
        if life.space is None:
            return []
        own, init = {id(process) for process in life.space.processes}, life.space.init
        found: list[Process] = []
        for processes in self._sharing.values():
            # One that has the first process of the namespace, too, is around it, and does not share it.
            if any(id(process) in own for process in processes) and not any(item is init for item in processes):
                found += processes
        return found

    def first(self, life: Life) -> Process | None:
        """Return the first process of a container; None where no event told of it."""
        if life.space is not None:
            return life.space.init
        processes = self._sharing[id(life.container)]
        seen = next((process for process in processes if self._is_first(life.container, process)), None)
        if seen is not None or life.container.init_pid is not None:
            return seen
        return next(iter(processes), None)

    @cached_property
    def _sharing(self) -> Mapping[int, list[Process]]:
        """The processes of each container without a pid namespace of its own that events tell of."""
        alone = [life.container for life in self.lives if life.space is None or not life.space.members()]
        lives = Counter(container.id for container in alone)
        return {id(container): self._members(container, by_cgroup=lives[container.id] == 1) for container in alone}

    def _members(self, container: Container, *, by_cgroup: bool) -> list[Process]:
        """Return who was in the cgroup of a container, its first process, and what descends from these.

        :param by_cgroup: whether the cgroup is of this life alone.
        """
        level = len(container.pid_ns_ancestors)
        placed = {
            id(process)
            for process in (self._by_id.get(container.id, []) if by_cgroup else [])
            if (len(process.vpids) > level or not process.vpids) and not process.name.startswith(_ON_THE_WAY)
        }
        found = []
        family: set[int] = set()
        for process in self._state.processes:
            if process.ppid in family or id(process) in placed or self._is_first(container, process):
                family.add(process.pid)
                found.append(process)
            else:
                family.discard(process.pid)  # whoever had the number before is gone
        return found

    def _by_identity(self, spaces: Iterable[PidNamespace]) -> dict[int, Container]:
        """Return the containers whose first process somebody saw, by the number that their namespace has here."""
        by_number: defaultdict[NamespaceInum, list[PidNamespace]] = defaultdict(list)
        for space in spaces:
            by_number[space.number].append(space)
        told = Counter(container.pid_ns for container in self._told.containers)
        owned: dict[int, Container] = {}
        for container in self._told.containers:
            for space in by_number[container.pid_ns] if container.pid_ns is not None else ():
                # Without its first process the number alone must do: only if nobody else had it.
                same = told[container.pid_ns] == 1 if space.init is None else self._is_first(container, space.init)
                if same and space.serial not in owned:
                    owned[space.serial] = container
                    self._date(space, container)
                    break
        return owned

    def _told_spaces(self, containers: Iterable[Container]) -> dict[int, PidNamespace]:
        """Return the pid namespaces that only those know who saw the containers: whose number nothing else has had."""
        seen = {space.number: space for space in self._state.pid_namespaces}
        told = Counter(container.pid_ns for container in self._told.containers)
        made: dict[int, PidNamespace] = {}
        by_number: dict[NamespaceInum, PidNamespace] = {}
        for container in sorted(containers, key=lambda item: len(item.pid_ns_ancestors)):
            number, ancestors = container.pid_ns, container.pid_ns_ancestors
            if number is None or not ancestors or number in seen or told[number] > 1:
                continue
            around = next((by_number[outer] for outer in ancestors if outer in by_number), None)
            serial = len(self._state.pid_namespaces) + len(made)
            made[id(container)] = by_number[number] = PidNamespace(serial, number, ancestors, around)
            if around is not None:
                around.inside.append(by_number[number])
        return made

    def _date(self, space: PidNamespace, container: Container) -> None:
        """Note when the first process was born, where the trace does not tell of its fork but began before that."""
        if space.init is None or space.init.begin is not None or container.birth is None:
            return
        birth = container.birth + self._boot_epoch
        same = [other for other in self._state.pid_namespaces if other.number == space.number]
        if before := same[: same.index(space)]:
            # In clock ticks only, maybe: but not before the other had been switched away from for the last time.
            birth = max(birth, (before[-1].end or 0) + _LAST_SWITCH_NS)
        elif birth < self._begin:
            return
        space.init.begin = Nanoseconds(birth)

    def _add_by_cgroup(self, spaces: Sequence[PidNamespace], owned: dict[int, Container]) -> None:
        """Add the containers in whose cgroup the first process of a namespace was.

        Each such namespace is a life of that container, but for those that lie inside one.
        """
        containers: dict[str, Container] = {}
        for container in self._told.containers:
            if container.identity is None or container.id not in containers:
                containers[container.id] = container
        for space in spaces:
            identifier = self._cgroup_of(space.init)
            if space.serial in owned or identifier is None or identifier in self._ids_around(space):
                continue
            # Not what was seen of another life.
            owned[space.serial] = replace(
                containers[identifier],
                init_pid=None,
                namespaces=None,
                birth=None,
                exit_code=None,
                ended=None,
                pid_ns_ancestors=(),
                cgroups=(),
            )

    def _by_form(self, space: PidNamespace) -> Container | None:
        """Name a container of which no runtime told after its cgroup, if that leaves no doubt; not one inside it."""
        found, around = (
            next((named for _, path in item.cgroups.values() if (named := named_by(path))), None)
            for item in (space.init or Process(Pid(0)), (space.around and space.around.init) or Process(Pid(0)))
        )
        if found is None or found == around or found[1] in self._ids_around(space):
            return None
        runtime, identifier = found
        return replace(_unknown(space, 1), runtime=runtime, id=identifier, name=shorten_id(identifier))

    def _ids_around(self, space: PidNamespace) -> set[str]:
        """Return the ids of the containers around a namespace: their cgroups may be around its own, too."""
        found = {identifier for number in space.ancestors for identifier in self._ids_by_number[number]}
        outer = space.around
        while outer is not None:
            if (identifier := self._cgroup_of(outer.init)) is not None:
                found.add(identifier)
            outer = outer.around
        return found

    @cached_property
    def _ids_by_number(self) -> Mapping[NamespaceInum, set[str]]:
        """Ids of the containers that were seen, by their pid namespace, which may be the host's."""
        found: defaultdict[NamespaceInum, set[str]] = defaultdict(set)
        for container in self._told.containers:
            if container.pid_ns is not None:
                found[container.pid_ns].add(container.id)
        return found

    def _cgroup_of(self, process: Process | None) -> str | None:
        """Return the id of the container in whose cgroup a process was."""
        return None if process is None else self._told.by_path(path for _, path in process.cgroups.values())

    def _by_end(self, spaces: Iterable[PidNamespace]) -> dict[int, Container]:
        """Find the pid namespaces of containers that were over before anybody could look at their first process.

        Their runtime saw the end soon after that process exited. Where two may be meant, none is.
        """
        ends = [space for space in spaces if space.end is not None and len(space.ancestors) == 1]
        claims: defaultdict[int, list[Container]] = defaultdict(list)
        for container in self._told.containers:
            if container.namespaces is not None or container.ended is None:
                continue
            near = [item.serial for item in ends if 0 <= container.ended - (item.end or 0) <= _REAP_NS]
            if len(near) == 1:
                claims[near[0]].append(container)
        return {serial: containers[0] for serial, containers in claims.items() if len(containers) == 1}

    def _is_first(self, container: Container, process: Process) -> bool:
        """Tell whether a process is the first one of a container that was recorded."""
        if container.init_pid != process.pid or container.birth is None:
            return False
        return self._process_since(process.pid, container.birth + self._boot_epoch - _CLOCK_NS) is process

    def _process_since(self, pid: Pid, birth: int) -> Process | None:
        """Return the process that had a number from that time on.

        Its fork is recorded some time after its birth, on a busy machine long after; but nobody else can have the
        number in between. The birth itself is told as coarsely as a clock tick, never too late.
        """
        same = self._by_pid[pid]
        after = [item for item in same if item.begin is not None and 0 <= item.begin - birth <= _FORK_NS]
        if birth < self._begin or not after:
            return next((item for item in same if item.begin is None), None)
        return min(after, key=lambda item: item.begin or 0)

    @cached_property
    def _by_pid(self) -> Mapping[Pid, list[Process]]:
        found: defaultdict[Pid, list[Process]] = defaultdict(list)
        for process in self._state.processes:
            found[process.pid].append(process)
        return found

    def _ended(self, container: Container, space: PidNamespace) -> Container:
        """Add what its runtime told of the end of this life."""
        if space.end is None or container.exit_code is not None:
            return container
        for when, code in self._told.deaths.get(container.id, ()):
            if when >= space.end:
                return replace(container, exit_code=code, ended=when)
        return container

    @cached_property
    def _by_id(self) -> Mapping[str, list[Process]]:
        """The processes that were in a container's cgroup, by its id."""
        found: defaultdict[str, list[Process]] = defaultdict(list)
        known: dict[int, str | None] = {}
        for process in self._state.processes:
            if process.cgroups:
                if id(process.cgroups) not in known:
                    known[id(process.cgroups)] = self._cgroup_of(process)
                if (identifier := known[id(process.cgroups)]) is not None:
                    found[identifier].append(process)
        return found


def _same(container: Container) -> object:
    """Return what is equal for the lives of a container; the id of an unknown one is a number that is used again."""
    return (container.id, container.identity) if container.runtime == UNKNOWN_RUNTIME else container.id


def _life(container: Container, space: PidNamespace) -> Life:
    """Return a life of a container that was told of, with what the trace adds to it."""
    if container.namespaces is None:
        seen = _unknown(space, 1)
        container = replace(
            container,
            init_pid=seen.init_pid,
            namespaces=seen.namespaces,
            pid_ns_ancestors=seen.pid_ns_ancestors,
            cgroups=() if space.init is None else space.init.named_cgroups,
        )
    elif space.init is not None:
        # Who saw it may have looked before its first process was done with changing them.
        last = {kind: number for kind, number in space.init.namespaces.items() if kind != "pid"}
        container = replace(container, namespaces=replace(container.namespaces, **last))
    if space.end is None:
        return Life(container, space)
    code = container.exit_code if space.init is None or space.init.exit_code is None else space.init.exit_code
    return Life(replace(container, state="exited", exit_code=code), space)


def _unknown(space: PidNamespace, life: int) -> Container:
    """A container of which the trace tells no name."""
    identifier = pid_ns_id(space.number) if life == 1 else f"{pid_ns_id(space.number)}.{life}"
    known = {"pid": space.number} if space.init is None else space.init.namespaces
    return Container(
        runtime=UNKNOWN_RUNTIME,
        id=identifier,
        name=identifier,
        state="running" if space.end is None else "exited",
        init_pid=None if space.init is None else space.init.pid,
        namespaces=Namespaces(*(known.get(kind, UNKNOWN_NS) for kind in Namespaces.names())),
        pid_ns_ancestors=space.ancestors,
        cgroups=() if space.init is None else space.init.named_cgroups,
        exit_code=None if space.init is None else space.init.exit_code,
    )


def _order(container: Container) -> tuple[bool, str, str, str]:
    return (container.runtime == UNKNOWN_RUNTIME, container.runtime, container.name, container.id)
