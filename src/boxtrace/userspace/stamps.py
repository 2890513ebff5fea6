"""Which contexts the records of a ring get: those that its thread had at their time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from boxtrace.userspace.history import TaskChange, TaskHistory
from boxtrace.userspace.identity import Peer, Thread

__all__ = ["Stamps"]

_REFRESH_NS: Final = 100_000_000
_MAX_POSITIONS: Final = 64


class Stamps:
    """The contexts of the thread that owns a ring.

    ``/proc`` tells what they are now; the history, where there is one, when the namespaces and the name became what
    they are; and the client itself, if it likes, from which place in the ring on they are others.

    :ivar thread: what the next record is stamped with; None before the owner was looked up.
    """

    def __init__(self, peer: Peer, history: TaskHistory | None) -> None:
        self._peer = peer
        self._history = history
        self.reset()

    def reset(self) -> None:
        """The ring has no owner any more."""
        self.thread: Thread | None = None
        self._looked = 0
        self._seen = 0
        self._latest: Thread | None = None
        self._changes: list[TaskChange] = []
        self._positions: list[tuple[int, Thread]] = []

    def look(self, vtid: int, alive: Callable[[], bool], *, idle: bool = False) -> None:
        """Find out what the owner is by now; call it when what is to be stamped has been seen.

        :param vtid: the owner's id in its own pid namespace, if it is not known yet.
        :param alive: tells whether the client is still the process that it was when it connected.
        :param idle: nothing is to be stamped, so who is known is looked at only if the kernel told of a change.
        """
        known = self.thread
        if known is not None:
            fresh = idle or self._positions or time.monotonic_ns() < self._looked + _REFRESH_NS
            if fresh and not self._news(known.tid):
                return
            vtid = known.vtid
        found = self._peer.thread(vtid)
        if found is not None and not alive():
            found = None  # what /proc tells now may be of the next program, or of the process's end
        if found is None and known is None:
            main = self._peer.main
            found = main if vtid == main.vtid else replace(main, tid=self._former_tid(vtid), vtid=vtid)
        self._looked = time.monotonic_ns()
        self._take(found or known)

    def _former_tid(self, vtid: int) -> int:
        """Return the host's number of a thread that has ended; 0 where it is not the same as its own."""
        if self._history is None or len(self._peer.vpids) > 1:
            return 0
        self._history.update()
        return vtid if self._history.is_thread(vtid, self._peer.pid) else 0

    def _news(self, tid: int) -> list[TaskChange]:
        if self._history is None or not tid:
            return []
        self._history.update()
        return self._history.after(tid, self._seen)

    def _take(self, found: Thread | None) -> None:
        """Take what ``/proc`` has told; what happened until then is in the history by now."""
        if found is None:
            return
        news = self._news(found.tid)
        self._changes += news
        if news:
            self._seen = news[-1].time
        if not self._changes:
            self.thread = found
            return
        self._latest = found
        if self.thread is None:  # what it was before the first change is what its process was
            main = self._peer.main
            told = any(change.namespaces for change in news), any(change.name is not None for change in news)
            self.thread = replace(
                found,
                namespaces=main.namespaces if told[0] else found.namespaces,
                name=main.name if told[1] else found.name,
            )

    def change_at(self, position: int, vtid: int) -> None:
        """The client says that the contexts are others from a position on, and waits until they have been read."""
        if len(self._positions) < _MAX_POSITIONS:
            found = self._peer.thread(vtid if self.thread is None else self.thread.vtid)
            if self.thread is None:
                self._take(replace(self._peer.main, tid=0 if found is None else found.tid, vtid=vtid))
            if found is not None:
                self._positions.append((position, found))

    def stop(self, taken: int, committed: int) -> int:
        """Return up to where in the ring the records have the same contexts, as far as the client has said."""
        while self._positions and self._positions[0][0] <= taken:
            self.thread = self._positions.pop(0)[1]
            self._latest = None
        return min(committed, self._positions[0][0]) if self._positions else committed

    @property
    def next_change(self) -> int | None:
        """Time from which on the contexts are others; None if they are not."""
        return self._changes[0].time if self._changes else None

    def pass_change(self) -> None:
        """All records before the next change have been stamped."""
        if self.thread is None:
            return
        self.thread = self._changes.pop(0).apply(self.thread)
        if not self._changes and self._latest is not None:
            spaces = replace(self.thread.namespaces, time=self._latest.namespaces.time)
            self.thread = replace(self._latest, name=self.thread.name, namespaces=spaces)
            self._latest = None
