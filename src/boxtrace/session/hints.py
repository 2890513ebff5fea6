"""Hears from the kernel that a container may have been born, and has somebody look: nothing needs to be polled fast."""

from __future__ import annotations

import select
import struct
import threading
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from typing import Final

from boxtrace.consumer.ringbuf import RingBuffer
from boxtrace.containers.beside import Birth
from boxtrace.containers.table import Task
from boxtrace.containers.text import clean
from boxtrace.kernel.image import ProgramImage
from boxtrace.threads import stand_back
from boxtrace.units import Nanoseconds, Pid

__all__ = ["BirthHints"]

_SECONDS = 0.5
_RING_BYTES: Final = 1 << 18
_COMM: Final = 16


class BirthHints:
    """Listens in a thread of its own until it is closed.

    :param image: programs whose ring ``births`` (``kernel/bpf/abi_selection.h``) tells.
    :param notice: called soon after something was born, with the first processes of the pid namespaces that were born,
        and with processes that have executed their first program in namespaces of their own.
    """

    def __init__(self, image: ProgramImage, notice: Callable[[Collection[Birth], Collection[Birth]], None]) -> None:
        self._ring = RingBuffer(image.map_fd("births"), _RING_BYTES)
        self._offsets = image.struct_offsets("bt_birth")
        self._ancestor = image.struct_offsets("bt_ancestor")
        self._ancestor_size = image.struct_size("bt_ancestor")
        self._kinds = dict(image.bpf.enum_values("bt_birth_kind"))
        self._notice = notice
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="boxtrace-births", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        stand_back()
        poll = select.poll()
        poll.register(self._ring.fd, select.POLLIN)
        while not self._closing.is_set():
            if poll.poll(_SECONDS * 1000):
                told = list(self._ring.entries())
                self._notice(self._births(told, "BT_BIRTH_PROCESS"), self._births(told, "BT_BIRTH_EXEC"))

    def _births(self, told: Collection[bytes], kind: str) -> list[Birth]:
        wanted = self._kinds[kind]
        return [
            Birth(Pid(_number(entry, self._offsets["pid"])), tuple(self._ancestors(entry)))
            for entry in told
            if _number(entry, self._offsets["kind"]) == wanted
        ]

    def _ancestors(self, entry: bytes) -> Iterator[Task]:
        at = self._ancestor
        for start in range(self._offsets["ancestors"], len(entry), self._ancestor_size):
            pid, parent = (
                _number(entry, at_start + at["pid"]) if at_start < len(entry) else 0
                for at_start in (start, start + self._ancestor_size)
            )
            if not pid:
                return
            (born,) = struct.unpack_from("<Q", entry, start + at["start"])
            yield Task(Pid(pid), _name(entry[start + at["comm"] :][:_COMM]), Pid(parent), Nanoseconds(born))

    def close(self) -> None:
        """Stop listening; the ring is its owner's."""
        self._closing.set()
        self._thread.join()


@lru_cache
def _name(comm: bytes) -> str:
    return clean(comm.split(b"\0", 1)[0].decode(errors="replace"))


def _number(entry: bytes, offset: int) -> int:
    number: int = struct.unpack_from("<I", entry, offset)[0]
    return number
