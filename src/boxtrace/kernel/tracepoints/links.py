"""Attach one program to many tracepoints, and let them go again."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

from boxtrace import _native
from boxtrace.errors import CapabilityError
from boxtrace.kernel.tracepoints.model import ANY_TRACEPOINT, ChosenTracepoint

__all__ = ["TracepointLinks"]

_DESCRIPTORS_EACH = 2
_DESCRIPTORS_BESIDE = 256

# What the process that detaches runs; the words after it are for who sees it in a list of processes.
_DETACH = "import os; os.closerange(3, os.sysconf('SC_OPEN_MAX'))"
_TITLE = "boxtrace: detaching tracepoints"


class _Pack(Protocol):
    def __call__(self, name: str, **values: int | bytes) -> bytes:
        """Return the bytes of a struct of the object."""


class TracepointLinks:
    """The tracepoints that an object's program is, or will be, attached to.

    :param bpf: the object that has the tables.
    :param owner: returns the one that has a program, once it is loaded.
    """

    PROGRAM: ClassVar = ANY_TRACEPOINT

    def __init__(
        self, bpf: _native.BpfObject, owner: Callable[[str], _native.BpfObject], chosen: Sequence[ChosenTracepoint]
    ) -> None:
        self._object = bpf
        self._owner = owner
        self._chosen = chosen
        self._links: list[_native.BpfLink] = []
        self._misses_before = 0
        self.misses = 0
        """Runs that the kernel skipped while events were recorded, because the program ran already on that CPU."""

    def describe(self, pack: _Pack) -> None:
        """With the object loaded: tell the program of each tracepoint what to make of its record.

        :raises CapabilityError: for one whose record is too complicated.
        """
        table = self._object.map_fd("tracepoints")
        most = dict(self._object.enum_values("bt_limit"))["BT_COPIES"]
        kinds = dict(self._object.enum_values("bt_copy_kind"))
        flags = dict(self._object.enum_values("bt_copy_width"))
        room = self._object.struct_size("bt_copy") * most
        for index, one in enumerate(self._chosen):
            copies = one.tracepoint.layout.copies
            if len(copies) > most:
                raise CapabilityError(f"{one.tracepoint.name} has more than {most} fields that lie apart")
            packed = b"".join(
                pack(
                    "bt_copy",
                    source=copy.source,
                    size=copy.size,
                    kind=kinds[copy.kind] | kinds["BT_COPY_RELATIVE"] * copy.relative,
                    width=copy.width | flags["BT_COPY_SIGNED"] * copy.signed | flags["BT_COPY_SWAPPED"] * copy.swapped,
                    add=struct.pack("<h", copy.add),
                )
                for copy in copies
            )
            value = pack("bt_tracepoint", id=one.id, count=len(copies), copies=packed.ljust(room, b"\0"))
            _native.map_update(table, struct.pack("<I", index), value)

    def count_misses(self, begin: bool) -> None:
        """Begin to count what the kernel skips, or end: then :attr:`misses` has it."""
        if begin:
            self._misses_before = self._counted()
        else:
            self.misses = self.misses_so_far()

    def misses_so_far(self) -> int:
        """Return what the kernel has skipped since that was begun to be counted."""
        return self._counted() - self._misses_before

    def _counted(self) -> int:
        return self._owner(self.PROGRAM).info(self.PROGRAM).recursion_misses if self._chosen else 0

    def attach(self) -> list[str]:
        """Attach to all; the cookie of each is its place among them.

        :return: what was skipped, a sentence each: tracepoints that were chosen by a pattern only.
        :raises CapabilityError: if the kernel refuses one that was asked for by its name, or has not enough file
            descriptors for all. Those that are attached by then stay so.
        """
        _raise_descriptor_limit(len(self._chosen) * _DESCRIPTORS_EACH + _DESCRIPTORS_BESIDE)
        skipped: list[str] = []
        if not self._chosen:
            return skipped
        owner = self._owner(self.PROGRAM)
        for index, one in enumerate(self._chosen):
            group, event = one.tracepoint.group, one.tracepoint.event
            try:
                self._links.append(owner.attach_tracepoint(self.PROGRAM, group, event, index))
            except OSError as error:
                reason = f"the kernel does not let the tracepoint {group}:{event} be recorded"
                detail = os.strerror(error.errno or 0)
                if one.by_name:
                    raise CapabilityError(
                        f"{reason}: {detail}",
                        missing=(f"{group}:{event}",),
                        hint="give a pattern instead of the name to record what else it matches",
                    ) from error
                skipped.append(f"{reason}: {detail}; skipped")
        return skipped

    def release(self) -> None:
        """Let go of all.

        The kernel takes a tenth of a second for each tracepoint that nobody else records, one after the other: it waits
        for a grace period of RCU tasks each time (Linux 6.13 and later), under a lock, so that many threads are hardly
        faster than one. So a process of its own holds them until then, and nobody waits for it; the program that still
        runs there does nothing.
        """
        descriptors = tuple(link.fd for link in self._links)
        if descriptors:
            subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _DETACH, _TITLE],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=descriptors,
                cwd="/",
                start_new_session=True,
            )
        for link in self._links:
            link.close()
        self._links.clear()


def _raise_descriptor_limit(needed: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise CapabilityError(
            f"so many tracepoints need {needed} file descriptors, and this process may have {hard}",
            missing=("RLIMIT_NOFILE",),
            hint=f"ulimit -Hn {needed}, or record fewer events",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
