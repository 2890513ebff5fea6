"""The containers of this host as they come and go: what runtimes tell at once, and a look around now and then."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from boxtrace.containers.discovery import Survey, survey
from boxtrace.containers.listing import ContainerRow, list_containers
from boxtrace.containers.model import Container
from boxtrace.containers.watch import ContainerWatch

__all__ = ["Change", "Moment", "follow", "row_changes"]


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened to a container.

    :ivar what: ``running`` (it was there when the watch began), ``start``, ``update`` (its name, state or the like is
        another one) or ``end``.
    :ivar time: when it was noticed, seconds since the Unix epoch.
    """

    what: str
    time: float
    row: ContainerRow


@dataclass(frozen=True, slots=True)
class Moment:
    """The containers that run at one moment, and what has changed since the one before."""

    rows: list[ContainerRow]
    changes: list[Change]


def row_changes(before: Mapping[object, ContainerRow], rows: Iterable[ContainerRow], now: float) -> list[Change]:
    """Return what has changed between what was known, by identity, and the rows of now."""
    after = {row.container.life: row for row in rows}
    changes = [Change("end", now, row) for key, row in before.items() if key not in after]
    for key, row in after.items():
        known = before.get(key)
        if known is None:
            changes.append(Change("start", now, row))
        elif known.container != row.container:
            changes.append(Change("update", now, row))
    return changes


def follow(
    seconds: float,
    *,
    look: Callable[[], Survey] = survey,
    clock: Callable[[], float] = time.time,
    warn: Callable[[str], None] = lambda _: None,
) -> Generator[Moment, None, None]:
    """Yield a moment at once, then one after each change and at least every so many seconds, without an end.

    A container that was over before anybody looked is in ``changes``, with what its runtime told.

    :param warn: as of :class:`~boxtrace.containers.watch.ContainerWatch`.
    """
    rows = list_containers(look())
    yield Moment(rows, [Change("running", clock(), row) for row in rows])
    known = {row.container.life: row for row in rows}
    told: queue.SimpleQueue[Container] = queue.SimpleQueue()

    def take(news: Iterable[Container]) -> None:
        for container in news:
            told.put(container)

    with ContainerWatch(take, [row.container for row in rows], warn=warn):
        while True:
            news: list[Container] = []
            with suppress(queue.Empty):
                news.append(told.get(timeout=seconds))
                while True:
                    news.append(told.get_nowait())
            now, rows = clock(), list_containers(look())
            changes = row_changes(known, rows, now)
            present = {row.container.life for row in rows} | known.keys()
            for key, container in {item.life: item for item in news if item.init_pid is not None}.items():
                if key not in present:
                    gone = ContainerRow(container, None, 0)
                    changes += [Change("start", now, gone), Change("end", now, gone)]
            known = {row.container.life: row for row in rows}
            yield Moment(rows, changes)
