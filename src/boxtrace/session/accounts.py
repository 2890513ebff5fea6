"""Events per container, counted by the BPF programs: what was recorded and what was lost, on each CPU."""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterable, Sequence

from boxtrace import _native
from boxtrace.consumer.rings import Rings
from boxtrace.containers.model import Container
from boxtrace.kernel.emitter import Emitter
from boxtrace.kernel.programs import Programs
from boxtrace.kernel.statedump.events import CONTAINER_NUMBER
from boxtrace.session.options import ContainerCount

__all__ = ["Accounts", "announce_containers"]


class Accounts:
    """The map of accounts; number ``i + 1`` is that of the i-th container, 0 that of everything else."""

    def __init__(self, programs: Programs, rings: Rings) -> None:
        self._rings = rings
        self._cpus = programs.image.cpus
        self._per_cpu = programs.image.limits["BT_ACCOUNTS"]
        self._size = programs.image.struct_size("bt_account")
        self._offsets = programs.image.struct_offsets("bt_account")
        length = -(-self._cpus * self._per_cpu * self._size // mmap.PAGESIZE) * mmap.PAGESIZE
        self._words = _native.SharedWords(mmap.mmap(programs.image.map_fd("accounts"), length))
        self.containers: Sequence[Container] = ()
        """Who has the accounts from 1 on."""

        self._moved: Counter[int] = Counter()
        self._limit = self._per_cpu - 1

    def add(self, container: Container) -> int:
        """Give one more container an account, and return its number; 0 if there is none left."""
        if len(self.containers) >= self._limit:
            return 0
        self.containers = (*self.containers, container)
        return len(self.containers)

    def rename(self, account: int, container: Container) -> None:
        """Let an account be of this container, of which more is known by now."""
        self.containers = (*self.containers[: account - 1], container, *self.containers[account:])

    def move(self, count: int, before: int, account: int | None) -> None:
        """Count events that were recorded before it was known whose they are.

        :param before: the account that they were on.
        :param account: theirs; None or 0 if they are in the trace no more, or nobody's.
        """
        self._moved[before] -= count
        if account:
            self._moved[account] += count

    def _totals(self) -> dict[int, tuple[int, int]]:
        """Return (recorded, discarded) by account: what the map has, and what the CPUs have not put there yet."""
        totals = {
            number: (self._sum(number, "recorded"), self._sum(number, "discarded"))
            for number in range(len(self.containers) + 1)
        }
        for number, recorded, discarded in self._rings.unsettled():
            before = totals.get(number, (0, 0))
            totals[number] = (before[0] + recorded, before[1] + discarded)
        for number, count in self._moved.items():
            before = totals.get(number, (0, 0))
            totals[number] = (before[0] + count, before[1])
        return totals

    def _sum(self, number: int, member: str) -> int:
        return sum(
            self._words.load((cpu * self._per_cpu + number) * self._size + self._offsets[member])
            for cpu in range(self._cpus)
        )

    def discarded(self) -> list[tuple[Container | None, int]]:
        """Return how many events were lost, by account."""
        totals = self._totals()
        owners = (None, *self.containers)
        return [(owner, totals[number][1]) for number, owner in enumerate(owners)]

    def counts(self) -> tuple[ContainerCount, ...]:
        """Return what was counted for every container with events, the most first, then for everything else."""
        totals = self._totals()
        counted = [
            ContainerCount(container, *totals[number])
            for number, container in enumerate(self.containers, start=1)
            if any(totals[number])
        ]
        counted.sort(key=lambda count: -(count.recorded + count.discarded))
        return (*counted, ContainerCount(None, *totals[0]))


def announce_containers(emitter: Emitter, numbered: Iterable[tuple[int, Container]]) -> None:
    """Record what the context ``container`` shows for each of these; nothing if that context is not recorded."""
    if CONTAINER_NUMBER.name not in emitter:
        return
    for number, container in numbered:
        emitter.emit(
            CONTAINER_NUMBER.name,
            container=number,
            runtime=container.runtime,
            id=container.id,
            name=container.name,
            image=container.image or "",
            pid_ns=container.pid_ns or 0,
            init_pid=container.init_pid or 0,
        )
