"""Records events that user space makes, through the same rings as those of the kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from boxtrace.ctf.encode import BitWriter, compile_encoder
from boxtrace.ctf.fields import StructField
from boxtrace.kernel.programs import Programs

__all__ = ["Emitter"]


class Emitter:
    """Makes events of the catalogue that a recording's programs were loaded with."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self._most = programs.image.limits["BT_EMIT_MAX"]
        self._events = {
            event.name: (event.id, compile_encoder(event.fields or StructField()))
            for event in programs.image.config.catalogue.classes
        }

    def __contains__(self, name: str) -> bool:
        return name in self._events

    def emit(self, event: str, /, **values: Any) -> None:
        """Record one event. Texts are cut where the event would be longer than the rings take (7 KiB)."""
        number, encode = self._events[event]
        out = BitWriter()
        encode(out, values)
        if len(out.data) > self._most:
            out = BitWriter()
            encode(out, self._cut(values))
        self._programs.emit(number, bytes(out.data))

    def _cut(self, values: Mapping[str, Any]) -> dict[str, Any]:
        texts = [name for name, value in values.items() if isinstance(value, str)]
        room = (self._most - 8 * len(values)) // len(texts)
        return {
            name: value.encode()[:room].decode(errors="ignore") if name in texts else value
            for name, value in values.items()
        }
