"""Ctrl-C while a command starts.

Python raises :class:`KeyboardInterrupt` wherever it is, and forgets it where nothing can be raised: in the callback of
a weak reference (each import has one) and where an object is deleted. What goes on then asks :func:`interrupted`.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

__all__ = ["interrupted", "note_interrupts"]

_noted: list[int] = []


def note_interrupts() -> None:
    """From here on remember Ctrl-C, beside raising :class:`KeyboardInterrupt`; in the main thread only."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _note)


def interrupted() -> bool:
    """Whether Ctrl-C was pressed since the first :func:`note_interrupts` of this process."""
    return bool(_noted)


def _note(number: int, frame: FrameType | None) -> None:
    _noted.append(number)
    raise KeyboardInterrupt
