"""When the state is dumped: once as the recording begins, then as often as asked, in a thread of its own."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable

from boxtrace.errors import BoxtraceError
from boxtrace.threads import stand_back
from boxtrace.units import Pid

__all__ = ["StateDumper"]

_MOST_ARRIVED = 1000
_SOON_SECONDS = 0.02
"""How long nobody looks at a container that has started: it is not held up by that, and those that start together are
looked at together."""
_AGAIN_SECONDS = 1.0


class StateDumper:
    """Dumps the state on request and at regular times. Requests that come while it dumps are one."""

    def __init__(
        self,
        dump: Callable[[], None],
        *,
        every: float | None,
        warn: Callable[[str], None],
        arrive: Callable[[Pid], bool] = lambda _: False,
    ) -> None:
        """Make it; nothing is dumped yet.

        :param dump: records one whole dump.
        :param arrive: records what is known of a container that has started, by its first process; tells whether that
            still lives.
        :param every: seconds between the end of a dump and the start of the next; None: only on request.
        :param warn: told why a dump failed; the recording goes on.
        """
        self._dump = dump
        self._every = every
        self._warn = warn
        self._arrive = arrive
        self._arrived: deque[tuple[float, Pid]] = deque(maxlen=_MOST_ARRIVED)
        self._requested = False
        self._wanted = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="boxtrace-state-dump", daemon=True)

    def start(self) -> None:
        """Record the first dump, in the thread that calls; from then on dump as often as asked.

        :raises BoxtraceError: if the kernel refuses a program.
        """
        self._dump()
        self._thread.start()

    def request(self) -> None:
        """Ask for a dump soon."""
        self._requested = True
        self._wanted.set()

    def arrive(self, init: Pid) -> None:
        """Ask for what is known of a container that has started, by its first process; not before the first dump.

        Soon, and again some time later: a program may set the container up before it executes that of the container.
        """
        self._arrived.append((time.monotonic() + _SOON_SECONDS, init))
        if len(self._arrived) == 1:  # else the thread comes by at that of the one before, and sees this one
            self._wanted.set()

    def close(self) -> None:
        """Finish the dump that is being recorded, and record no other."""
        self._closing = True
        self._wanted.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        stand_back()
        due = math.inf if self._every is None else time.monotonic() + self._every
        again: deque[tuple[float, Pid]] = deque(maxlen=_MOST_ARRIVED)
        while True:
            # Not before some time has passed: those that arrive one after the other are looked at together.
            soonest = min((queue[0][0] for queue in (self._arrived, again) if queue), default=math.inf)
            until = min(due, max(soonest, time.monotonic() + _SOON_SECONDS))
            self._wanted.wait(None if until == math.inf else max(0.0, until - time.monotonic()))
            if self._closing:
                return
            self._wanted.clear()
            try:
                while self._arrived and self._arrived[0][0] <= time.monotonic():
                    when, init = self._arrived.popleft()
                    if self._arrive(init):
                        again.append((when + _AGAIN_SECONDS, init))
                while again and again[0][0] <= time.monotonic():
                    self._arrive(again.popleft()[1])
                if self._requested or time.monotonic() >= due:
                    self._requested = False
                    self._dump()
                    due = math.inf if self._every is None else time.monotonic() + self._every
            except (BoxtraceError, OSError) as error:
                self._warn(f"the state could not be dumped: {error}")
