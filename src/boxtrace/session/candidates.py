"""Containers that are born while recording, as the kernel tells of them, and which of the runtimes' each of them is."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from boxtrace.containers.model import BIRTH_RESOLUTION_NS, UNKNOWN_RUNTIME, Container, Namespaces
from boxtrace.containers.paths import possible_ids
from boxtrace.containers.text import clean, is_safe_id, shorten_id
from boxtrace.containers.unknown import pid_ns_id
from boxtrace.units import CgroupId, NamespaceInum, Nanoseconds, Pid

__all__ = ["Candidate", "Told", "Waiting", "is_named_by_id", "is_same"]

_SETTING_UP_NS: Final = 10_000_000_000
"""How long the kernel side expects another birth of what is born in the host's root directory."""
_LEAST_ID: Final = 12


@dataclass(frozen=True, slots=True)
class Candidate:
    """A newborn, as the kernel tells of it.

    :ivar tag: of its records in one channel.
    :ivar before: tag of what was taken for its birth, and was its runtime's work; 0 if nothing was.
    :ivar time: of its birth, CLOCK_MONOTONIC in ns.
    :ivar in_host_root: its root directory was the host's.
    :ivar start: of its first process, CLOCK_BOOTTIME in ns.
    :ivar cgroups: names of the directories of its cgroups: of version 2, of version 1.
    :ivar cgroup: by which it is known, if it shares its pid namespace with the host or another container.
    """

    tag: int
    before: int
    pid: Pid
    time: Nanoseconds
    in_host_root: bool
    start: Nanoseconds
    namespaces: Namespaces
    cgroups: tuple[str, str]
    cgroup: CgroupId | None = None

    @property
    def is_setting_up(self) -> bool:
        """Whether what it executes may still be its runtime's work."""
        return self.in_host_root and time.monotonic_ns() - self.time < _SETTING_UP_NS

    def as_unknown(self, host: NamespaceInum) -> Container:
        """Return the container that it is if no runtime tells of it: it is named after its cgroup."""
        if self.cgroup is None:
            identifier, name = pid_ns_id(self.namespaces.pid), self.cgroups[0]
        else:
            identifier, name = f"cgroup-{self.cgroup}", self.cgroups[1] or self.cgroups[0]
        return Container(
            runtime=UNKNOWN_RUNTIME,
            id=identifier,
            name=shorten_id(clean(name)) or identifier,
            state="running",
            init_pid=self.pid,
            namespaces=self.namespaces,
            pid_ns_ancestors=self._around(host),
            birth=self.start,
        )

    def as_told(self, told: Container, host: NamespaceInum) -> Container:
        """Return what a runtime told, with what it could not see any more."""
        if told.namespaces is not None:
            return told
        around = self._around(host)
        return replace(told, init_pid=self.pid, namespaces=self.namespaces, pid_ns_ancestors=around, birth=self.start)

    def _around(self, host: NamespaceInum) -> tuple[NamespaceInum, ...]:
        return () if self.namespaces.pid == host else (host,)


def is_same(candidate: Candidate, container: Container) -> bool:
    """Tell whether a runtime's container is this newborn: by its first process, or by the cgroup with its id."""
    if container.namespaces is not None and container.birth is not None:
        # The number of a namespace may be another's within a clock tick: not with the same first process.
        same = (container.namespaces.pid, container.init_pid) == (candidate.namespaces.pid, candidate.pid)
        return same and abs(container.birth - candidate.start) <= BIRTH_RESOLUTION_NS
    if not is_safe_id(container.id):
        return False
    if len(container.id) >= _LEAST_ID and any(container.id in name for name in candidate.cgroups):
        return True
    whose = (container.runtime, container.id)
    return any(whose in _possible_ids(name) for name in candidate.cgroups)


@lru_cache(1 << 14)
def _possible_ids(name: str) -> frozenset[tuple[str, str]]:
    return frozenset(possible_ids(name))


def is_named_by_id(container: Container) -> bool:
    """Tell whether a runtime has no name for it: then another that uses this one may, and tell it later."""
    return container.id.startswith(container.name)


class Told:
    """What runtimes told: found by the newborn that it is of, without a look at all others."""

    def __init__(self) -> None:
        self._seen: dict[NamespaceInum, dict[tuple[str, str], Container]] = {}
        self._unseen: dict[tuple[str, str], Container] = {}
        self._long: dict[int, dict[str, set[tuple[str, str]]]] = {}
        """Keys of those by an id that is found anywhere in the name of a cgroup, and that by its length."""
        self._spaces: dict[tuple[str, str], NamespaceInum] = {}

    def add(self, container: Container) -> None:
        """Take what a runtime tells of a container, in place of what it told before."""
        key = (container.runtime, container.id)
        before = self._spaces.pop(key, None)
        if before is not None:
            del self._seen[before][key]
            if not self._seen[before]:
                del self._seen[before]
        self._unseen.pop(key, None)
        if (seen := container.identity) is not None:
            self._spaces[key] = seen.namespaces.pid
            self._seen.setdefault(seen.namespaces.pid, {})[key] = container
        else:
            self._unseen[key] = container
            if len(container.id) >= _LEAST_ID:
                self._long.setdefault(len(container.id), {}).setdefault(container.id, set()).add(key)

    def of(self, candidate: Candidate) -> Container | None:
        """Return what is told of a newborn: if several runtimes tell of it, by one that has a name for it."""
        near = [*self._seen.get(candidate.namespaces.pid, {}).values(), *self._with_cgroup(candidate.cgroups)]
        return min((each for each in near if is_same(candidate, each)), key=is_named_by_id, default=None)

    def _with_cgroup(self, names: Iterable[str]) -> Iterator[Container]:
        keys: dict[tuple[str, str], None] = {}
        for name in names:
            keys |= dict.fromkeys(_possible_ids(name))
            for length, ids in self._long.items():
                for start in range(len(name) - length + 1):
                    keys |= dict.fromkeys(ids.get(name[start : start + length], ()))
        yield from (self._unseen[key] for key in keys if key in self._unseen)


class Waiting:
    """Candidates of one channel that somebody may still tell something of.

    :ivar due: tags of those that there is something new about; whoever decides takes them out.
    """

    def __init__(self) -> None:
        self._candidates: dict[int, Candidate] = {}
        self._spaces: dict[NamespaceInum, set[int]] = {}
        self._ids: dict[tuple[str, str], set[int]] = {}
        self.due: set[int] = set()

    def __len__(self) -> int:
        return len(self._candidates)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self._candidates.values())

    def add(self, candidate: Candidate) -> None:
        """Take a newborn."""
        self._candidates[candidate.tag] = candidate
        for tags in self._sets(candidate):
            tags.add(candidate.tag)
        self.due.add(candidate.tag)

    def remove(self, tag: int) -> None:
        """Forget one, if it waits."""
        candidate = self._candidates.pop(tag, None)
        self.due.discard(tag)
        if candidate is None:
            return
        for tags in self._sets(candidate):
            tags.discard(tag)
        if not self._spaces[candidate.namespaces.pid]:
            del self._spaces[candidate.namespaces.pid]
        for whose in {whose for name in candidate.cgroups for whose in _possible_ids(name) if not self._ids[whose]}:
            del self._ids[whose]

    def _sets(self, candidate: Candidate) -> Iterator[set[int]]:
        yield self._spaces.setdefault(candidate.namespaces.pid, set())
        for name in candidate.cgroups:
            for whose in _possible_ids(name):
                yield self._ids.setdefault(whose, set())

    def inside(self, pid_ns: NamespaceInum) -> Iterator[Candidate]:
        """Yield those in a pid namespace."""
        yield from (self._candidates[tag] for tag in self._spaces.get(pid_ns, ()))

    def notice(self, news: Iterable[Container]) -> None:
        """Have those looked at that something is told of."""
        for container in news:
            if (seen := container.identity) is not None:
                near = list(self.inside(seen.namespaces.pid))
            else:
                near = [self._candidates[tag] for tag in self._ids.get((container.runtime, container.id), ())]
                if len(container.id) >= _LEAST_ID:
                    wanted = container.id
                    near += [each for each in self._candidates.values() if wanted in "\n".join(each.cgroups)]
            self.due |= {each.tag for each in near if is_same(each, container)}

    def notice_all(self) -> None:
        """Have all looked at."""
        self.due |= set(self._candidates)

    def take_due(self) -> list[Candidate]:
        """Return those that are to be looked at, the oldest first; they are not any more."""
        due, self.due = self.due, set()
        return [self._candidates[tag] for tag in sorted(due)]
