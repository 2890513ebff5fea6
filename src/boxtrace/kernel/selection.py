"""What a recording is limited to: containers, ids of tasks, filters, rates. Tested before a record is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from boxtrace.kernel.trackers import TrackerId
from boxtrace.units import CgroupId, NamespaceInum

__all__ = ["Accounting", "FilterRule", "LimitRule", "Newborn", "Rate", "Selection"]


_UNITS = (("s", 10**9), ("m", 60 * 10**9), ("h", 3600 * 10**9))


class Newborn(IntEnum):
    """What is done with pid namespaces that are made in the host's: ``enum bt_newborn_policy``."""

    NOTHING = 0
    CANDIDATE = 1
    NOT_WANTED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The tasks whose events are wanted. Empty selects the whole host.

    :param containers: whether the question is asked at all in which container a task is. It is answered by the
        innermost pid namespace, and by the innermost cgroup, of which something is said in the next two.
    :param including: it is answered by yes only for what is included; else for all that is not excluded.
    :param pid_namespaces: pid namespaces of containers, with what is nested in them: True for one that is included.
    :param cgroups: the same of cgroups, in the hierarchy that the recording uses.
    :param ids: of all other kinds.
    :param follow: of the processes that are chosen by ``pid``, also those that they fork from then on, and theirs.
    :param watched: cgroups of any hierarchy whose own events are wanted, and those of cgroups below them: number of the
        hierarchy (0 for version 2) and id. No task is selected by them.
    :param newborn: what becomes of containers that start later.
    :param any_newborn: they are wanted whoever they are: those that were included as newborns remain so.
    :param command: a command and its descendants are recorded whatever else is said.
    """

    containers: bool = False
    including: bool = False
    pid_namespaces: Mapping[NamespaceInum, bool] = field(default_factory=dict)
    cgroups: Mapping[CgroupId, bool] = field(default_factory=dict)
    ids: frozenset[TrackerId] = frozenset()
    follow: bool = False
    command: bool = False
    newborn: Newborn = Newborn.NOTHING
    any_newborn: bool = False
    watched: frozenset[tuple[int, CgroupId]] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.containers or self.ids or self.command)

    def of_kind(self, word: str) -> frozenset[TrackerId]:
        """Return the ids of one kind."""
        return frozenset(each for each in self.ids if each.kind == word)


@dataclass(frozen=True, slots=True)
class Accounting:
    """Which events are counted apart: those whose running task is in a pid namespace or cgroup named here.

    Values are account numbers from 1 on; account 0 counts everything else.
    """

    pid_namespaces: Mapping[NamespaceInum, int] = field(default_factory=dict)
    cgroups: Mapping[CgroupId, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.pid_namespaces or self.cgroups)


@dataclass(frozen=True, slots=True)
class FilterRule:
    """An expression for all events whose names match a shell pattern; see :mod:`boxtrace.filters`."""

    events: str
    expression: str


@dataclass(frozen=True, slots=True)
class Rate:
    """How many events may come: one each ``interval`` ns; of those that have not come, up to ``burst`` at once."""

    interval: int
    burst: int

    def __str__(self) -> str:
        unit, length = next(((unit, ns) for unit, ns in _UNITS if ns >= self.interval), _UNITS[-1])
        return f"{length // self.interval}/{unit}:{self.burst}"


@dataclass(frozen=True, slots=True)
class LimitRule:
    """How many of the events whose names match a shell pattern are wanted of each container.

    :param sample: one in so many, chosen at random; 0 for all. Of these, as many as the rate lets pass.
    """

    events: str
    rate: Rate | None = None
    sample: int = 0

    def texts(self) -> list[str]:
        """Return the rate and the sample as a user would write them; nothing for what is not limited."""
        return [str(self.rate)] * (self.rate is not None) + [f"1/{self.sample}"] * (self.sample > 1)
