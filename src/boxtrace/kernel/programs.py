"""The BPF programs of one recording: attached, told what to select, and asked for what they counted."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress

from boxtrace import _native
from boxtrace.errors import CapabilityError
from boxtrace.kernel.image import ProgramConfig, ProgramImage
from boxtrace.kernel.perf import open_counter
from boxtrace.kernel.rules import RulePlan
from boxtrace.kernel.selector import Selector
from boxtrace.kernel.tracepoints.links import TracepointLinks

__all__ = ["Programs"]


class Programs:
    """The loaded programs. Attach them, change their selection, run the ones that user space runs, detach them."""

    def __init__(self, config: ProgramConfig) -> None:
        """Load.

        :raises CapabilityError: if the kernel refuses; its words are in the hint.
        :raises FilterError: for a filter that means nothing for its events.
        """
        self.image = ProgramImage(config)
        self._links: dict[str, _native.BpfLink] = {}
        self._emitting = threading.Lock()
        self._tracepoints = TracepointLinks(self.image.bpf, self.image.owner, config.catalogue.tracepoints)
        self._recording_tracepoints = False
        self._attaching = threading.Lock()
        self._detached = False
        self.skipped: tuple[str, ...] = ()
        """What of the wanted could not be attached, or is not tested by its filter, and why: a sentence each."""
        self._probe_links: list[_native.BpfLink] = []
        self.selector = Selector(self.image, self._attach_more)
        self._counters: list[int] = []
        self._open_counters()
        self._tracepoints.describe(self.image.pack_struct)

    def _open_counters(self) -> None:
        """Open the perf counters among the contexts; they count until :meth:`close`."""
        table = self.image.map_fd("counters")
        for index, counter in enumerate(self.image.config.contexts.counters):
            for cpu, descriptor in open_counter(counter, self.image.cpus).items():
                self._counters.append(descriptor)
                _native.map_update(
                    table, struct.pack("<I", index * self.image.cpus + cpu), struct.pack("<I", descriptor)
                )

    def close(self) -> None:
        """Detach, and let go of what is not freed with this object."""
        self.detach()
        while self._counters:
            os.close(self._counters.pop())

    def attach(self) -> None:
        """Attach every event program; from here on events are recorded.

        :raises CapabilityError: if the kernel refuses one; none stays attached then.
        """
        try:
            # These take their time, and are recorded from one moment on.
            untested = () if self.image.filters is None else self.image.filters.postponed()
            self.skipped = (*untested, *self.image.degraded, *self._tracepoints.attach())
            self.selector.set_control()  # what CPUs remember of a time when not all programs were attached is void
            for program in sorted(self.image.event_programs - {TracepointLinks.PROGRAM, *self._links}):
                self._links[program] = self.image.owner(program).attach(program)
        except CapabilityError:
            self.detach()
            raise
        except OSError as error:
            self.detach()
            raise CapabilityError(f"{error.strerror}: {os.strerror(error.errno or 0)}") from error
        self._record_tracepoints(True)

    def _record_tracepoints(self, on: bool) -> None:
        """Begin or end with all tracepoints at once, whatever time it takes to attach them."""
        if on != self._recording_tracepoints:
            self._recording_tracepoints = on
            self.selector.set_control(tracepoints=on)
            self._tracepoints.count_misses(on)

    def detach(self) -> None:
        """Detach every event program, probes included."""
        self._record_tracepoints(False)
        self._tracepoints.release()
        with self._attaching:
            self._detached = True
            # In reverse: who relies on what another one keeps up to date goes first.
            for link in (*reversed(self._links.values()), *self._probe_links):
                link.close()
            self._links.clear()
            self._probe_links.clear()

    def keep_attached(self, links: Iterable[_native.BpfLink]) -> None:
        """Hold the attachments of probes until :meth:`detach`."""
        self._probe_links += links

    def _attach_more(self, program: str) -> None:
        """Attach a program that is needed from now on, if it is not attached yet, and the end has not come.

        :raises CapabilityError: if the kernel refuses.
        """
        owner = self.image.owner(program)
        with self._attaching:
            if program in self._links or self._detached:
                return
            try:
                self._links[program] = owner.attach(program)
            except OSError as error:
                raise CapabilityError(f"{error.strerror}: {os.strerror(error.errno or 0)}") from error

    def limit(self, plan: RulePlan) -> None:
        """Change the limits of the event rules; they count from the next event on.

        :param plan: that of the image, with other limits for the rules that have some.
        """
        table = self.image.map_fd(".data.rules")
        whole = _native.map_lookup(table, bytes(4), self.image.bpf.map_value_size(".data.rules"))
        assert whole is not None
        limits = self.image.pack_limits(plan)
        _native.map_update(table, bytes(4), limits + whole[len(limits) :])
        self.image.rules = plan

    def emit(self, event_id: int, payload: bytes) -> None:
        """Record an event that user space made, in order with all others; its contexts are those of this process.

        :param event_id: its number in the catalogue.
        :param payload: its fields, laid out as the metadata says.
        :raises ValueError: for a payload that is longer than ``BT_EMIT_MAX``.
        """
        if len(payload) > self.image.limits["BT_EMIT_MAX"]:
            raise ValueError(f"a payload of {len(payload)} bytes; {self.image.limits['BT_EMIT_MAX']} is the most")
        value = self.image.pack_struct("bt_emitted", id=event_id, size=len(payload), payload=payload)
        with self._emitting:
            _native.map_update(self.image.map_fd("emitted"), bytes(4), value)
            self.image.owner("emit").run("emit", bytes(8))

    def flush(self, cpu: int, *, force: bool = False) -> bool:
        """Close the current packet of a CPU; False if no sub-buffer was free for the next.

        :param force: also close a packet that holds no record.
        """
        return self.image.bpf.run("flush", self.image.pack_struct("bt_flush", cpu=cpu, force=force)) == 0

    def recursion_misses(self) -> Mapping[str, int]:
        """Return how often the kernel skipped each program because it was running on that CPU already."""
        misses = {}
        for program in self.image.event_programs - {TracepointLinks.PROGRAM}:
            with suppress(OSError):
                misses[program] = self.image.owner(program).info(program).recursion_misses
        recording = self._recording_tracepoints
        misses[TracepointLinks.PROGRAM] = self._tracepoints.misses_so_far() if recording else self._tracepoints.misses
        return misses
