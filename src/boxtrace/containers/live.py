"""The containers of this host as they come and go: what runtimes tell at once, and a look around now and then."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from boxtrace.containers.discovery import Survey, rank, survey
from boxtrace.containers.events import ContainerEvent
from boxtrace.containers.listing import ContainerRow, list_containers
from boxtrace.containers.model import Container
from boxtrace.containers.podman import Podman
from boxtrace.containers.watch import ContainerWatch

__all__ = ["Change", "Moment", "follow", "row_changes"]

_HOLD_SECONDS = 1.0
_SAME_SECONDS = 5.0
"""How long after a container was seen to be gone a runtime may say that it ended."""
_OVER = frozenset({"exited", "stopped", "dead", "removing"})
_OF_PROCESS = ("init_pid", "namespaces", "pid_ns_ancestors", "birth", "cgroups")


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

    A container that was over before anybody looked is in ``changes``, with what its runtime told, a second later.

    :param warn: as of :class:`~boxtrace.containers.watch.ContainerWatch`.
    """
    unseen = _Unseen(clock())
    rows = list_containers(look())
    yield Moment(rows, [Change("running", clock(), row) for row in rows])
    known = {row.container.life: row for row in rows}
    unseen.saw(rows, clock())
    told: queue.SimpleQueue[Container | ContainerEvent] = queue.SimpleQueue()

    def take(news: Iterable[Container]) -> None:
        for container in news:
            told.put(container)

    def hear(events: Iterable[ContainerEvent]) -> None:
        for event in events:
            if event.runtime == Podman.name:  # its files tell nothing but events
                told.put(event)

    with ContainerWatch(take, [row.container for row in rows], tell=hear, warn=warn):
        while True:
            with suppress(queue.Empty):
                unseen.take(told.get(timeout=_HOLD_SECONDS if unseen else seconds))
                while True:
                    unseen.take(told.get_nowait())
            now, rows = clock(), list_containers(look())
            changes = row_changes(known, rows, now)
            unseen.saw((*known.values(), *rows), now)
            for container in unseen.over(now):
                gone = ContainerRow(container, None, 0)
                changes += [Change("start", now, gone), Change("end", now, gone)]
            known = {row.container.life: row for row in rows}
            yield Moment(rows, changes)


class _Unseen:
    """Containers that runtimes told of, and that nobody has seen among those that run.

    Each is held until it is over and for a second more: a runtime that uses another may tell of it later than that one.
    """

    def __init__(self, began: float) -> None:
        self._began = began
        self._held: dict[str, Container] = {}
        self._over_at: dict[str, float] = {}
        self._events: dict[str, ContainerEvent] = {}
        self._lives: set[Hashable] = set()
        self._seen_at: dict[str, float] = {}

    def __bool__(self) -> bool:
        """Whether there are some that are to be told of soon."""
        return bool(self._over_at)

    def take(self, news: Container | ContainerEvent) -> None:
        """Take what is told of a container."""
        if isinstance(news, ContainerEvent):
            self._events[news.id] = news
            if news.kind != "die":
                return
            code, ended = news.exit_code, news.time
            news = Container(news.runtime, news.id, news.name, "exited", news.image, exit_code=code, ended=ended)
        if news.life in self._lives or (news.identity is None and self._is_old(news)):
            return
        held = self._held.get(news.id)
        self._held[news.id] = news if held is None else _merge(held, news)
        if self._held[news.id].state in _OVER:
            self._over_at.setdefault(news.id, time.monotonic())

    def saw(self, rows: Iterable[ContainerRow], now: float) -> None:
        """Note who is or was among those that run: they are told of as such."""
        for row in rows:
            self._drop(row.container, now)

    def over(self, now: float) -> list[Container]:
        """Return those that are to be told of now, once."""
        due = time.monotonic() - _HOLD_SECONDS
        found = []
        for identifier in [key for key, over in self._over_at.items() if over <= due]:
            container, event = self._held[identifier], self._events.get(identifier)
            self._drop(container, now)
            if event is not None and rank(container.runtime) >= rank(event.runtime):
                image = container.image or event.image
                container = replace(container, runtime=event.runtime, name=event.name, image=image)
            found.append(container)
        return found

    def _is_old(self, news: Container) -> bool:
        seen = self._seen_at.get(news.id)
        if news.ended is None:
            return seen is not None
        return news.ended / 1e9 <= (self._began if seen is None else seen + _SAME_SECONDS)

    def _drop(self, container: Container, now: float) -> None:
        self._held.pop(container.id, None)
        self._over_at.pop(container.id, None)
        self._lives.add(container.life)
        self._seen_at[container.id] = now


def _merge(held: Container, news: Container) -> Container:
    """Return what was told last, by the runtime that uses the other one, with what is known of the first process."""
    upper, lower = (held, news) if rank(held.runtime) < rank(news.runtime) else (news, held)
    process = news if news.identity is not None else held
    return replace(
        upper,
        state=held.state if held.state in _OVER else news.state,
        image=upper.image or lower.image,
        exit_code=lower.exit_code if upper.exit_code is None else upper.exit_code,
        ended=upper.ended or lower.ended,
        **{name: getattr(process, name) for name in _OF_PROCESS},
    )
