"""Event types: declared once, called to record."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable
from typing import Any

from boxtrace_client._quiet import keep_quiet
from boxtrace_client.fields import ARRAY, SEQUENCE, Field

__all__ = ["NATIVE", "Event", "context_changed", "start", "task_name"]

try:
    if os.environ.get("BOXTRACE_PURE") == "1":
        raise ImportError
    from boxtrace_client import _native
except ImportError:
    from boxtrace_client import pure

    _native = None  # type: ignore[assignment]

NATIVE = _native is not None
"""Whether the compiled part is in use."""


def task_name() -> str:
    """Return the name of the asyncio task that is running, empty if there is none."""
    asyncio = sys.modules.get("asyncio")  # who has no loop does not pay for it
    running = getattr(asyncio, "_get_running_loop", None)
    if asyncio is None or running is None or running() is None:
        return ""
    task = asyncio.current_task()
    return "" if task is None else str(task.get_name())


class Event:
    """An event type. Calling it records an event, if somebody records it; it never raises for want of a host.

    :param name: ``provider:name``.
    :param loglevel: LTTng's: 3 error, 4 warning, 6 info, 14 debug.
    :param fields: names and types; a call takes their values in this order.
    :raises ValueError: for a name or a type that the protocol does not know.
    """

    __slots__ = ("_encode", "_inner", "fields", "name", "record")

    def __init__(self, name: str, loglevel: int = -1, /, **fields: Field) -> None:
        if len(fields) > 64 or len(name.encode()) > 255 or any(len(key.encode()) > 255 for key in fields):
            raise ValueError("a name is too long, or there are too many fields")
        self.name = name
        self.fields = fields
        body = struct.pack("=iHH", loglevel, len(name.encode()), len(fields)) + name.encode()
        body += b"".join(field.declare(key) for key, field in fields.items())
        self.record: Callable[..., None]
        """What a call does; faster when it is kept, as in ``request = Event(...).record``."""
        if _native is not None:
            layout = bytes(byte for field in fields.values() for byte in _layout(field))
            counts = [field.count for field in fields.values()]
            self._inner: Any = _native.Event(name, body, layout, counts, task_name)
            self.record = self._inner
        else:
            self._inner = pure.Event(body)
            self._encode: tuple[Callable[[Any], bytes], ...] = tuple(map(_encoder, fields.values()))
            self.record = self._record

    def __call__(self, *values: Any) -> None:
        """Record an event with these values of its fields."""
        self.record(*values)

    def __bool__(self) -> bool:
        return self.enabled

    @property
    def enabled(self) -> bool:
        """Whether somebody records it."""
        return bool(self._inner.enabled)

    def _record(self, *values: Any) -> None:
        if not self._inner.enabled:
            return
        given = iter(values)
        try:
            data = b"".join([encode(given) for encode in self._encode])
        except StopIteration:
            raise TypeError(f"{self.name} has {len(self.fields)} fields") from None
        if next(given, self) is not self:
            raise TypeError(f"{self.name} has {len(self.fields)} fields")
        self._inner.record(data)


def _layout(field: Field) -> tuple[int, int, int]:
    return (255 if field.task else field.kind, field.element, field.bits)


def _encoder(field: Field) -> Callable[[Any], bytes]:
    """Return what takes the next value of an iterator and returns its bytes."""
    code = field.code
    if field.task:
        return lambda values: task_name().encode(errors="replace") + b"\0"
    if not code:
        return lambda values: next(values).encode(errors="replace").partition(b"\0")[0] + b"\0"
    if field.kind == ARRAY:
        layout = struct.Struct(f"={field.count}{code}")
        return lambda values: layout.pack(*next(values))
    if field.kind == SEQUENCE:

        def pack(values: Any) -> bytes:
            items = tuple(next(values))
            return struct.pack(f"=I{len(items)}{code}", len(items), *items)

        return pack
    pack_one = struct.Struct(f"={code}").pack
    return lambda values: pack_one(next(values))


def start() -> None:
    """Connect to a host, if there is one, and go on looking for one."""
    keep_quiet()
    if _native is not None:
        _native.start()
    else:
        pure.start()


def context_changed() -> None:
    """Tell that the calling thread has changed its user or group ids: what it records from now on has the new ones.

    Waits until the host has read them, some milliseconds. Without it, the host notices by itself, up to 100 ms later.
    """
    if _native is not None:
        _native.context_changed()
    else:
        pure.context_changed()
