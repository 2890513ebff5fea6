"""Hears from the kernel that a container may have been born, and has somebody look: nothing needs to be polled fast."""

from __future__ import annotations

import select
import struct
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

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
        self._head = _Members(image, "bt_birth", {"kind": "I", "pid": "I"})
        self._ancestors = image.struct_offsets("bt_birth")["ancestors"]
        self._ancestor = _Members(image, "bt_ancestor", {"start": "Q", "pid": "I", "comm": f"{_COMM}s"})
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
                born: list[Birth] = []
                executed: list[Birth] = []
                for entry in self._ring.entries():
                    kind, pid = self._head.one(entry)
                    told = born if kind == self._kinds["BT_BIRTH_PROCESS"] else executed
                    told.append(Birth(Pid(pid), self._descent(entry)))
                self._notice(born, executed)

    def _descent(self, entry: bytes) -> tuple[Task, ...]:
        each = [*self._ancestor.all(entry[self._ancestors :]), (0, 0, b"")]
        found: list[Task] = []
        for (start, pid, comm), (_, parent, _) in pairwise(each):
            if not pid:
                break
            found.append(_task(pid, comm, parent, start))
        return tuple(found)

    def close(self) -> None:
        """Stop listening; the ring is its owner's."""
        self._closing.set()
        self._thread.join()


@lru_cache
def _task(pid: int, comm: bytes, parent: int, start: int) -> Task:
    """One object for what nearly all births descend from."""
    return Task(Pid(pid), clean(comm.split(b"\0", 1)[0].decode(errors="replace")), Pid(parent), Nanoseconds(start))


class _Members:
    """Reads these members of a struct of the BPF object.

    :param forms: the form (``struct``) of each, by its name, in the order of their places.
    """

    def __init__(self, image: ProgramImage, name: str, forms: Mapping[str, str]) -> None:
        offsets = image.struct_offsets(name)
        layout, at = "<", 0
        for member, form in forms.items():
            layout += f"{offsets[member] - at}x{form}"
            at = offsets[member] + struct.calcsize(f"<{form}")
        self._head = struct.Struct(layout)
        self._whole = struct.Struct(f"{layout}{image.struct_size(name) - at}x")

    def one(self, data: bytes) -> tuple[Any, ...]:
        return self._head.unpack_from(data)

    def all(self, data: bytes) -> Iterator[tuple[Any, ...]]:
        return self._whole.iter_unpack(data)
