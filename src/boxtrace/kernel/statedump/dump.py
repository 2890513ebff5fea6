"""The state dump: what already exists, recorded as events between a start and an end event.

The kernel side (iterator programs) records processes, namespaces, open files and memory maps. What no iterator gives is
read from procfs, sysfs and netlink by this process. All of it goes through the same rings as the events of the kernel.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from boxtrace import _native
from boxtrace.kernel.emitter import Emitter
from boxtrace.kernel.programs import Programs
from boxtrace.kernel.selector import iterate
from boxtrace.kernel.statedump.devices import block_devices, cpu_topology, interrupts
from boxtrace.kernel.statedump.mounts import TellMounts
from boxtrace.kernel.statedump.network import host_interfaces, interfaces
from boxtrace.kernel.statedump.paths import program_paths
from boxtrace.units import NamespaceInum, Pid

__all__ = ["StateDump"]


@dataclass(frozen=True, slots=True)
class _Dumped:
    """One process of a namespace, by which it can be entered."""

    mnt: dict[NamespaceInum, list[Pid]]
    net: dict[NamespaceInum, list[Pid]]


class StateDump:
    """Dumps the state as often as it is asked to; the programs are loaded at the first time.

    :param whole_host: also what belongs to no process: interrupts, disks, CPUs, the host's network interfaces.
    """

    def __init__(self, programs: Programs, *, whole_host: bool) -> None:
        self._programs = programs
        self._whole_host = whole_host
        self._bpf: _native.BpfObject | None = None
        self._emitter = Emitter(programs)
        self._running = threading.Lock()
        self._mounts = TellMounts(self._emitter)

    def load(self) -> None:
        """Load the programs, if they are not.

        :raises CapabilityError: if the kernel refuses one.
        """
        with self._running:
            self._loaded()

    def _loaded(self) -> _native.BpfObject:
        if self._bpf is None:
            self._bpf = self._programs.image.load_dump()
        return self._bpf

    def run(self) -> None:
        """Record a dump now; returns when its end event is recorded.

        :raises CapabilityError: if the kernel refuses a program.
        """
        with self._running:
            bpf = self._loaded()
            self._emitter.emit("lttng_statedump_start")
            found = self._decode(iterate(bpf, "statedump_task"))
            iterate(bpf, "statedump_file")
            if "lttng_statedump_vm_map" in self._emitter:
                iterate(bpf, "statedump_map")
            self._emit_all(found)
            self._emitter.emit("lttng_statedump_end")

    def _emit_all(self, found: _Dumped) -> None:
        self._emit("statedump_process_path", program_paths(pid for pids in found.mnt.values() for pid in pids))
        if self._whole_host:
            self._emit("lttng_statedump_interrupt", interrupts())
            self._emit("lttng_statedump_network_interface", host_interfaces())
            self._emit("lttng_statedump_block_device", block_devices())
            self._emit("lttng_statedump_cpu_topology", cpu_topology())
        for net_ns, pids in found.net.items():
            for name, values in interfaces(net_ns, pids):
                self._emitter.emit(name, **values)
        for mnt_ns, pids in found.mnt.items():
            self._mounts.tell(mnt_ns, pids)
        self._mounts.tell_host(found.mnt)

    def arrive(self, init: Pid) -> bool:
        """Record the mounts of a container that has started since, and those that the host has got by that.

        :returns: whether its first process lives.
        """
        with self._running:
            return self._mounts.arrive(init)

    def _emit(self, name: str, records: Iterable[dict[str, int | str]]) -> None:
        for values in records:
            self._emitter.emit(name, **values)

    def _decode(self, data: bytes) -> _Dumped:
        offsets = self._programs.image.struct_offsets("bt_dumped")
        size = self._programs.image.struct_size("bt_dumped")
        found = _Dumped({}, {})
        for start in range(0, len(data), size):
            tgid, mnt_ns, net_ns = (
                struct.unpack_from("<I", data, start + offsets[name])[0] for name in ("tgid", "mnt_ns", "net_ns")
            )
            found.mnt.setdefault(mnt_ns, []).append(tgid)
            found.net.setdefault(net_ns, []).append(tgid)
        return found
