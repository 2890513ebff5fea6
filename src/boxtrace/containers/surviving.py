"""What fails is told of once, and the rest goes on: names must not end with what others write, whatever that is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

__all__ = ["Surviving"]


class Surviving:
    """Makes blocks in which whatever fails is told of, and ends nothing. Any thread may use it.

    :param warn: called with a sentence about what fails, once for each thing that does; from several threads.
    :param stop: set when all is to end.
    :param pause_seconds: how long to wait after a failure, should it fail at once every time.
    """

    def __init__(self, warn: Callable[[str], None], stop: threading.Event, pause_seconds: float) -> None:
        self._warn = warn
        self._stop = stop
        self._pause_seconds = pause_seconds
        self._lock = threading.Lock()
        self._warned: set[str] = set()

    def __call__(self, what: str) -> _Block:
        """Go on after whatever fails in the block, and tell of it."""
        return _Block(self, what)

    def survive(self, what: str, error: Exception) -> None:
        """Tell that something failed; the rest goes on."""
        self.warn_once(what, f"{what}: {type(error).__name__}: {error}; its containers may lack their names")
        self._stop.wait(self._pause_seconds)

    def warn_once(self, what: str, sentence: str) -> None:
        """Tell of something, if nothing was told of it yet."""
        with self._lock:
            known = what in self._warned
            self._warned.add(what)
        if not known:
            self._warn(sentence)


class _Block:
    """No generator: many are entered while a container starts."""

    __slots__ = ("_surviving", "_what")

    def __init__(self, surviving: Surviving, what: str) -> None:
        self._surviving = surviving
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self._surviving.survive(self._what, error)
        return True
