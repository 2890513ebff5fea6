"""Hears from the kernel that a container may have been born, and has somebody look: nothing needs to be polled fast."""

from __future__ import annotations

import select
import struct
import threading
from collections.abc import Callable, Collection
from typing import Final

from boxtrace.consumer.ringbuf import RingBuffer
from boxtrace.kernel.image import ProgramImage
from boxtrace.units import Pid

__all__ = ["BirthHints"]

_SECONDS = 0.5
_RING_BYTES: Final = 1 << 18


class BirthHints:
    """Listens in a thread of its own until it is closed.

    :param image: programs whose ring ``births`` (``kernel/bpf/abi.h``) tells.
    :param notice: called soon after something was born or has died, with the first processes of the pid namespaces that
        were born, and with those that have executed their first program in namespaces of their own.
    """

    def __init__(self, image: ProgramImage, notice: Callable[[Collection[Pid], Collection[Pid]], None]) -> None:
        self._ring = RingBuffer(image.map_fd("births"), _RING_BYTES)
        self._offsets = image.struct_offsets("bt_birth")
        self._kinds = dict(image.bpf.enum_values("bt_birth_kind"))
        self._notice = notice
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="boxtrace-births", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(self._ring.fd, select.POLLIN)
        while not self._closing.is_set():
            if poll.poll(_SECONDS * 1000):
                told = list(self._ring.entries())
                self._notice(self._pids(told, "BT_BIRTH_PROCESS"), self._pids(told, "BT_BIRTH_EXEC"))

    def _pids(self, told: Collection[bytes], kind: str) -> list[Pid]:
        wanted = self._kinds[kind]
        return [Pid(self._number(entry, "pid")) for entry in told if self._number(entry, "kind") == wanted]

    def _number(self, entry: bytes, name: str) -> int:
        number: int = struct.unpack_from("<I", entry, self._offsets[name])[0]
        return number

    def close(self) -> None:
        """Stop listening; the ring is its owner's."""
        self._closing.set()
        self._thread.join()
