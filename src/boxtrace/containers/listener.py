"""What one daemon tells of its containers, as it tells it: Docker, Podman and containerd have streams of events."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TypeAlias

from boxtrace.containers._containerd_api import ContainerdEvents, list_by_containerd
from boxtrace.containers.containerd import Containerd, describe_bundle
from boxtrace.containers.engine import EngineEvents, list_by_api
from boxtrace.containers.events import ContainerEvent
from boxtrace.containers.runtime import RuntimeAbsentError, RuntimeContainer, RuntimeFailedError
from boxtrace.containers.table import ProcessTable

__all__ = ["DaemonListener"]

_FIRST_RETRY_SECONDS = 0.25
"""A daemon that has just started answers soon."""
_RETRY_SECONDS = 5.0
_LAST_WORDS_SECONDS = 0.25
"""How long what has just happened may take to come from a daemon that cannot be asked for it afterwards."""

_Stream: TypeAlias = EngineEvents | ContainerdEvents


class DaemonListener:
    """Follows a daemon's events in the thread that calls :meth:`run`, and connects again when it was started again.

    :param since: also tell of events from this time on, as far as the daemon remembers them; seconds, CLOCK_REALTIME.
    :param take: takes what is known of a container.
    :param told: takes events.
    :param surviving: a context of a name, in which what fails is told of, and ends nothing.
    :param stop: set when all is to end; then :meth:`close` is called.
    :param proc: the proc mount to read.
    """

    def __init__(
        self,
        runtime: str,
        address: str,
        since: float,
        *,
        take: Callable[[str, RuntimeContainer], None],
        told: Callable[[Iterable[ContainerEvent]], None],
        surviving: Callable[[str], AbstractContextManager[None]],
        stop: threading.Event,
        proc: Path,
    ) -> None:
        self._runtime = runtime
        self._address = address
        self._heard_until = since
        self._take = take
        self._told = told
        self._surviving = surviving
        self._stop = stop
        self._proc = proc
        self._lock = threading.Lock()
        self._stream: _Stream | None = None
        self.state = ""
        """Of a containerd that is listened to, its state directory: what is in it need not be looked at. Else empty."""

    def run(self) -> None:
        """Listen until the end; what the daemon has told of by then is taken, too."""
        what = f"events of {self._runtime} at {self._address}"
        caught_up, pause = False, _FIRST_RETRY_SECONDS
        while not self._stop.is_set():
            with self._surviving(what), suppress(RuntimeAbsentError, RuntimeFailedError):
                caught_up = self._follow()
                pause = _FIRST_RETRY_SECONDS
            self._stop.wait(pause)
            pause = min(2 * pause, _RETRY_SECONDS)
        if not caught_up:
            with self._surviving(what), suppress(RuntimeAbsentError, RuntimeFailedError):
                self._catch_up(int(self._heard_until * 1e9))

    def close(self) -> None:
        """End the listening, from another thread."""
        with self._lock:
            stream = self._stream
        if stream is not None:
            if isinstance(stream, ContainerdEvents):
                time.sleep(_LAST_WORDS_SECONDS)
            stream.close()

    def _follow(self) -> bool:
        """Take what the daemon tells; return whether that is all of what it has told until the end."""
        newest = int(self._heard_until * 1e9)
        stream = self._connect()
        with self._lock:
            self._stream = stream
        try:
            # What runs by now, should the daemon have forgotten how that came.
            for there in self._there_now():
                if there.init_pid is not None:
                    self._take(self._runtime, there)
            for event in stream if not self._stop.is_set() else ():
                newest = max(newest, event.event.time or 0)
                self._pass_on(event.event, event.container)
            if not self._stop.is_set():
                return False
            self._catch_up(newest)
            return True
        finally:
            self._heard_until = time.time()
            with self._lock:
                self._stream = None
                if not self._stop.is_set():  # it has told all: what directories still tell is no news
                    self.state = ""
            stream.close()

    def _pass_on(self, event: ContainerEvent, container: RuntimeContainer | None) -> None:
        self._told([event])
        if container is not None:
            self._take(self._runtime, container)

    def _catch_up(self, newest: int) -> None:
        """Take what the daemon has told of until now, and what of that has not reached its stream yet: it may be busy.

        :param newest: of the last event that was taken, CLOCK_REALTIME in ns.
        """
        if self._runtime == Containerd.name:
            return  # it keeps none
        for event in EngineEvents(self._runtime, self._address, since=newest / 1e9 - 1, until=time.time()):
            if (event.event.time or 0) > newest:
                self._pass_on(event.event, event.container)

    def _connect(self) -> _Stream:
        if self._runtime != Containerd.name:
            return EngineEvents(self._runtime, self._address, since=self._heard_until)
        state = Containerd.daemons(ProcessTable(self._proc)).get(self._address, "")
        stream = ContainerdEvents(self._address, describe_bundle)
        self.state = state
        return stream

    def _there_now(self) -> list[RuntimeContainer]:
        if self._runtime != Containerd.name:
            return list_by_api(self._runtime, self._address)
        return list_by_containerd(self._address, describe_bundle)
