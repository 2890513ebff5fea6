"""The BPF object of one recording in the kernel: configured, loaded, its tables filled, more loaded beside it."""

from __future__ import annotations

import errno
import mmap
import os
import struct
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from boxtrace import _native
from boxtrace.errors import CapabilityError, UsageError
from boxtrace.kernel.call_table import pack_call_table
from boxtrace.kernel.capabilities import counts_skipped_tracepoints, function_refused, oom_has_task
from boxtrace.kernel.catalogue import Catalogue
from boxtrace.kernel.contexts import CONTEXTS, ContextLayout
from boxtrace.kernel.interrupts import PLACEHOLDER, interrupts_code
from boxtrace.kernel.large_array import LargeArray
from boxtrace.kernel.patch import put_code, replace_casts, replace_immediates
from boxtrace.kernel.preemption import find_preempt_count
from boxtrace.kernel.rules import RulePlan, plan_rules
from boxtrace.kernel.selection import FilterRule, LimitRule
from boxtrace.kernel.tracepoints.layouts import page_array

if TYPE_CHECKING:
    from boxtrace.kernel.filters import FilterPlan

__all__ = ["CGROUP_V2", "ProgramConfig", "ProgramImage", "possible_cpus"]

CGROUP_V2: Final = 0xFFFF
"""The hierarchy of cgroup v2; other values are indices of v1 controllers (``enum cgroup_subsys_id``)."""

_CONTROL_PROGRAMS = frozenset({"flush", "mark_tasks"})
_EMITTING = frozenset({"emit"})
NEWBORN_PROGRAMS = ("newborn_cgroup_made", "newborn_cgroup_gone")
"""They keep track of the cgroups in which containers may be born: loaded for recordings that take newborns."""
_FUNCTION_PROGRAMS = frozenset({"function_entry", "function_exit"})
_USER_PROGRAMS = frozenset({"user_probe", "user_marker"})
_DUMP_PROGRAMS = frozenset({"statedump_task", "statedump_file", "statedump_map"})
_NOT_ATTACHED = _CONTROL_PROGRAMS | _EMITTING | _FUNCTION_PROGRAMS | _USER_PROGRAMS | _DUMP_PROGRAMS
OWN_CHANGE_PROGRAMS = ("users_changed", "namespaces_switched")
"""They see a task change its own users and namespaces: loaded for selections by these, where the kernel lets them."""
_ON_DEMAND = frozenset({"task_renamed", "cgroup_attach_task"})
"""What a selection may need at any time: loaded, and attached by then."""
_MARK_KEEPERS = frozenset({"sched_process_fork", "sched_process_exit"})
_CALL_PROGRAMS = frozenset({"sys_enter", "sys_exit"})
"""They rely on what holds until the CPU runs another task, and take about as long to load as all others."""
_INTERVAL_KEEPERS = frozenset({"sched_switch"})
_SHARED_MAPS = (
    "packets",
    "layouts",
    "probes",
    ".data.cpus",
    "accounts",
    "pid_namespaces",
    "cgroups",
    "trackers",
    "tags",
    "candidates",
    ".data.tag",
    ".data.rejected",
    "marks",
    "wakeups",
    "tracepoints",
    ".data.control",
    ".data.rules",
    ".data.owners",
    "owners",
    "owner_keys",
    "rule_counts",
    "buckets",
    "counters",
    "callstacks",
    "births",
    "newborns",
    "watched_cgroups",
)


_RESULT = 8
"""Bytes of what a system call returns."""


def possible_cpus() -> int:
    """Return how many CPU numbers there may ever be (``/sys/devices/system/cpu/possible``)."""
    with open("/sys/devices/system/cpu/possible", encoding="ascii") as file:
        return int(file.read().strip().replace(",", "-").rpartition("-")[2]) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramConfig:
    """What is fixed when the programs are loaded.

    :param subbuf_size: bytes of a sub-buffer, a power of two.
    :param num_subbuf: sub-buffers per CPU, a power of two.
    :param packet_header: bytes at the beginning of a sub-buffer that the trace format needs.
    :param cgroup_hierarchy: :data:`CGROUP_V2` or a controller's index.
    :param overwrite: reuse the oldest sub-buffer when all are full, instead of discarding what is new.
    :param newborns: containers that start later may be wanted or not.
    :param follow: processes chosen by ``pid`` are followed when they fork.
    :param dump_all: the state dump is of everything, whatever the selection.
    :param account: count events per container, even if no container is known yet.
    :param births: tell user space of births and deaths at once.
    :param clones_elsewhere: births by fork and clone are another channel's; those by unshare and setns are this one's.
    :param patterns: by which the events of the catalogue were chosen.
    :param filters: what is wanted of some of the events.
    :param limits: how many are wanted of some of the events.
    """

    catalogue: Catalogue
    contexts: ContextLayout
    subbuf_size: int
    num_subbuf: int
    packet_header: int
    cgroup_hierarchy: int = CGROUP_V2
    account: bool = False
    follow: bool = False
    newborns: bool = False
    dump_all: bool = False
    exit_has_group_dead: bool = False
    overwrite: bool = False
    births: bool = False
    clones_elsewhere: bool = False
    patterns: tuple[str, ...] = ()
    filters: tuple[FilterRule, ...] = ()
    limits: tuple[LimitRule, ...] = ()


class ProgramImage:
    """The loaded object: its programs, maps and types. Nothing of it runs before it is attached."""

    def __init__(self, config: ProgramConfig) -> None:
        """Load.

        :raises CapabilityError: if the kernel refuses; its words are in the hint.
        :raises FilterError: for a filter that means nothing for its events.
        :raises UsageError: for a limit that means nothing for its events.
        """
        self.config = config
        self.cpus = possible_cpus()
        self._structs: dict[str, tuple[dict[str, tuple[int, int]], int]] = {}
        self._bytes = files("boxtrace.kernel.bpf").joinpath("programs.bpf.o").read_bytes()
        self.bpf = _native.BpfObject(self._bytes, "boxtrace")
        self.limits = dict(self.bpf.enum_values("bt_limit"))
        if self.cpus > self.limits["BT_CPUS"]:
            raise CapabilityError(f"this machine may have {self.cpus} CPUs; {self.limits['BT_CPUS']} is the most")
        self.rules = plan_rules(
            config.catalogue, config.patterns, config.filters, config.limits, most=self.limits["BT_RULES"]
        )
        """The event rules that are told apart; None if they are not."""
        self._packets, self._counts = self._make_arrays()
        self._bytes = self._put_immediates()
        self.degraded: list[str] = []
        """What this kernel has not, and what that means for the recording: a sentence each."""
        if "interruptible" in config.contexts.offsets:
            self._put_interrupts()
        if config.catalogue.asks_for_tracepoints and not counts_skipped_tracepoints():
            self.degraded.append(
                "this kernel does not count the events of tracepoints that come amid the recording of another one: "
                "of such losses there is no account (Linux 6.7 counts them)"
            )
        self.bpf = _native.BpfObject(self._bytes, "boxtrace")
        self.filters = self._put_filters() if config.filters else None
        self._check_contexts()
        self._kinds = dict(self.bpf.enum_values("bt_event_kind"))
        self._beside: list[_native.BpfObject] = []
        self._owners: dict[str, Future[_native.BpfObject]] = {}
        self.event_programs = self._choose_event_programs()
        self._config_bytes = self._pack_config()
        table, layouts = pack_call_table(self)
        first = config.catalogue.programs & _USER_PROGRAMS | _CONTROL_PROGRAMS
        self._configure(self.bpf, first)
        self._load(self.bpf)
        self._load_groups(first, table)
        for index, layout in enumerate(layouts, start=1):
            _native.map_update(self.map_fd("layouts"), struct.pack("<I", index), layout)

    def _choose_event_programs(self) -> frozenset[str]:
        programs = set(self.config.catalogue.programs - _NOT_ATTACHED)
        programs |= _MARK_KEEPERS
        if self.config.births:
            programs |= {"task_born"}
        if programs & _CALL_PROGRAMS:
            programs |= _INTERVAL_KEEPERS
        return frozenset(programs)

    @property
    def counts_per_cpu(self) -> int:
        """How many entries each CPU has in the map of counts by rule and container; 0 if rules are not told apart."""
        return 0 if self.rules is None else self.limits["BT_OWNERS"] * len(self.rules.names)

    def _configure(self, bpf: _native.BpfObject, programs: frozenset[str]) -> None:
        for program in bpf.programs:
            bpf.set_autoload(program, program in programs)
        bpf.set_data(".rodata.config", self._config_bytes)
        config, limits = self.config, self.limits
        self._packets.configure(bpf)
        self._counts.configure(bpf)
        if self.filters is not None:
            bpf.set_data(".rodata.filters", self._pack_filters(self.filters))
        if self.rules is not None:
            bpf.set_data(".rodata.rules", self._pack_rules(self.rules))
            bpf.set_data(".data.rules", self.pack_limits(self.rules))
        bpf.configure_map("layouts", max_entries=1 + 2 * len(config.catalogue.syscalls))
        bpf.configure_map("tracepoints", max_entries=max(1, len(config.catalogue.tracepoints)))
        bpf.configure_map("buckets", max_entries=max(1, self.counts_per_cpu))
        bpf.configure_map("tags", max_entries=self.cpus)
        bpf.configure_map("accounts", max_entries=self.cpus * limits["BT_ACCOUNTS"])
        bpf.configure_map("counters", max_entries=self.cpus * max(len(config.contexts.counters), 1))
        bpf.configure_map("callstacks", max_entries=limits["BT_STACK_SLOTS"] if config.contexts.callstacks else 1)

    def _put_interrupts(self) -> None:
        code = interrupts_code()
        if code is not None:
            self._bytes = put_code(self._bytes, {PLACEHOLDER: code}, "the tests of interrupts")
        else:
            self.degraded.append(
                "the context 'interruptible' is -1 (not known) but for system calls and hardware interrupts: "
                "this kernel does not tell BPF programs (Linux 6.14 does, on x86-64)"
            )

    def _make_arrays(self) -> tuple[LargeArray, LargeArray]:
        config = self.config
        stride = config.subbuf_size + self.limits["BT_RECORD_SLACK"]
        size = self.bpf.struct_size("bt_rule_count")
        try:
            return (
                LargeArray("packets", self.cpus * config.num_subbuf, stride),
                LargeArray("rule_counts", max(1, self.cpus * self.counts_per_cpu), size),
            )
        except OSError as error:
            raise self._no_memory(error) or _load_error(error) from error

    @property
    def packets_fd(self) -> int:
        """Descriptor of the map of sub-buffers, which lie in it one after the other; it stays this object's."""
        return self._packets.fd if self._packets.fd is not None else self.map_fd(self._packets.name)

    @property
    def counts_fd(self) -> int:
        """The same of the counts by rule and container."""
        return self._counts.fd if self._counts.fd is not None else self.map_fd(self._counts.name)

    def _put_immediates(self) -> bytes:
        """Return the object file with numbers of this recording in its instructions."""
        contexts = self.config.contexts
        usual = (
            contexts.size == self.limits["BT_CONTEXT_USUAL"]
            and {"procname", "ppid"} <= contexts.offsets.keys()
            and not contexts.extended(self.limits["BT_CONTEXT_PLAIN"])
        )
        values = {
            "BT_IMM_SUBBUFS_DIRECT": self._packets.direct,
            "BT_IMM_SUBBUF_STRIDE": self._packets.entry_size,
            "BT_IMM_COUNTS_DIRECT": self._counts.direct,
            "BT_IMM_RESULT_SIZE": self.limits["BT_COMPACT_HEADER"] + contexts.size + _RESULT,
            "BT_IMM_CONTEXTS_USUAL": usual,
            "BT_IMM_PROCNAME": contexts.offsets.get("procname", 0),
            "BT_IMM_PPID": contexts.offsets.get("ppid", 0),
            "BT_IMM_SUBBUF_ORDER": self.config.subbuf_size.bit_length() - 1,
            "BT_IMM_SUBBUF_SIZE": self.config.subbuf_size,
            "BT_IMM_SUBBUF_MASK": self.config.subbuf_size - 1,
            "BT_IMM_SUBBUF_NUMBERS": self.config.num_subbuf - 1,
            "BT_IMM_CONTEXT_SIZE": self.config.contexts.size,
            "BT_IMM_FILTERED": bool(self.config.filters),
        }
        placeholders = dict(self.bpf.enum_values("bt_immediate"))
        image = replace_casts(self._bytes, placeholders.pop("BT_IMM_READ_ONLY"))
        arrays = {"BT_IMM_SUBBUFS": self._packets, "BT_IMM_COUNTS": self._counts}
        fds = {placeholders[name]: array.fd for name, array in arrays.items() if array.fd is not None}
        return replace_immediates(image, {placeholders[name]: value for name, value in values.items()}, fds)

    def _put_filters(self) -> FilterPlan:
        """Open the object anew, with the filters' code in it."""
        from boxtrace.kernel.filters import filter_room, plan_filters, put_filters

        config = self.config
        offsets = self.struct_offsets("bt_scratch")
        most = dict(self.bpf.enum_values("bt_limit"))["BT_PRECONDITIONS"]
        room = filter_room(self._bytes)
        plan = plan_filters(config.catalogue, config.contexts, config.filters, offsets, room=room, preconditions=most)
        self._bytes = put_filters(self._bytes, plan)
        self.bpf = _native.BpfObject(self._bytes, "boxtrace")
        return plan

    def _pack_filters(self, plan: FilterPlan) -> bytes:
        slots = [0] * (self.bpf.struct_fields("bt_filters")["slot"][1] // 2)
        for number, slot in plan.slots.items():
            if number >= len(slots):
                raise UsageError(f"filters are possible for {len(slots)} events: select fewer")
            slots[number] = slot
        packed = struct.pack(f"<{len(slots)}H", *slots)
        return self.pack_struct(
            "bt_filters", active=1, live=plan.live, preconditions=len(set(plan.asks.values())), slot=packed
        )

    def _pack_rules(self, plan: RulePlan) -> bytes:
        numbers = bytearray(self.bpf.struct_size("bt_rule_ids"))
        for event, rule in plan.numbers.items():
            if event >= len(numbers):
                raise UsageError(f"limits and counts by rule are possible for {len(numbers)} events: select fewer")
            numbers[event] = rule
        return bytes(numbers)

    def pack_limits(self, plan: RulePlan) -> bytes:
        """Return what the programs are told of the limits of all rules."""
        return b"".join(self.pack_struct("bt_rule", **plan.parameters(rule)) for rule in range(len(plan.names)))

    def _load(self, bpf: _native.BpfObject) -> _native.BpfObject:
        try:
            bpf.load()
            return bpf
        except OSError as error:
            failed = self._no_memory(error) if "map 'packets'" in getattr(error, "log", "") else None
            raise failed or _load_error(error) from error

    def _no_memory(self, error: OSError) -> CapabilityError | None:
        """Return what to tell if the buffers could not be made for want of memory."""
        if error.errno not in (errno.ENOMEM, errno.E2BIG):
            return None
        size = self.cpus * self.config.num_subbuf * self.config.subbuf_size
        return CapabilityError(
            f"the kernel has not enough memory for buffers of {size >> 20:,} MiB on {self.cpus} CPUs",
            missing=("memory",),
            hint="a smaller --subbuf-size or --num-subbuf",
        )

    def _check_contexts(self) -> None:
        contexts, limits = self.config.contexts, self.limits
        if len(contexts.counters) > limits["BT_COUNTERS"]:
            raise UsageError(f"at most {limits['BT_COUNTERS']} perf counters can be contexts")
        if contexts.size > limits["BT_CONTEXT_MAX"]:
            raise UsageError(f"the contexts take {contexts.size} bytes; {limits['BT_CONTEXT_MAX']} is the most")

    def _page_array(self) -> int:
        copies = (copy for chosen in self.config.catalogue.tracepoints for copy in chosen.tracepoint.layout.copies)
        return page_array() if any(copy.kind == "BT_COPY_PAGE" for copy in copies) else 0

    def _pack_config(self) -> bytes:
        config = self.config
        absent = self.limits["BT_ABSENT"]
        contexts = dict(self.bpf.enum_values("bt_context"))
        offsets = [absent] * contexts.pop("BT_CTX_COUNT")
        for name in CONTEXTS:
            offsets[contexts[f"BT_CTX_{name.upper()}"]] = config.contexts.offsets.get(name, absent)
        groups = dict(self.bpf.enum_values("bt_context_group"))
        stacks = dict(self.bpf.enum_values("bt_callstack"))
        births = dict(self.bpf.enum_values("bt_births"))
        counters = tuple(config.contexts.counters.values())
        ids = [0] * self._kinds["BT_EV_COUNT"]
        for kind, number in config.catalogue.ids.items():
            ids[self._kinds[kind]] = number
        return self.pack_struct(
            "bt_config",
            preempt_count=struct.pack("<q", find_preempt_count(frozenset(config.contexts.offsets))),
            pages=self._page_array(),
            subbuf_size=config.subbuf_size,
            subbuf_order=config.subbuf_size.bit_length() - 1,
            num_subbuf=config.num_subbuf,
            packet_header=config.packet_header,
            follow=config.follow,
            newborns=config.newborns,
            accounts=bool(config.account),
            context_size=config.contexts.size,
            cgroup_hierarchy=config.cgroup_hierarchy,
            exit_has_group_dead=config.exit_has_group_dead,
            overwrite=config.overwrite,
            context_extended=config.contexts.extended(self.limits["BT_CONTEXT_PLAIN"]),
            context_groups=sum(groups[name] for name in config.contexts.groups),
            callstacks=sum(stacks[f"BT_{name.upper().replace('-', '_')}"] for name in config.contexts.callstacks),
            cpus=self.cpus,
            dump_all=config.dump_all,
            births=births["BT_BIRTHS_TOLD"] * config.births | births["BT_BIRTHS_ELSEWHERE"] * config.clones_elsewhere,
            rules=0 if self.rules is None else len(self.rules.names),
            limited=self.rules is not None and bool(self.rules.limits),
            oom_has_task=oom_has_task(),
            page_shift=mmap.PAGESIZE.bit_length() - 1,
            counters=len(counters),
            counter_offset=struct.pack(f"<{len(counters)}H", *counters),
            context_offset=struct.pack(f"<{len(offsets)}H", *offsets),
            event_id=struct.pack(f"<{len(ids)}H", *ids),
        )

    def pack_struct(self, name: str, **values: int | bytes) -> bytes:
        """Return the bytes of a struct of the BPF object; members that are not given are zero."""
        layout, whole = self._struct(name)
        data = bytearray(whole)
        for member, value in values.items():
            offset, size = layout[member]
            raw = value if isinstance(value, bytes) else value.to_bytes(size, "little")
            data[offset : offset + size] = raw.ljust(size, b"\0")
        return bytes(data)

    def struct_offsets(self, name: str) -> dict[str, int]:
        """Return the offset in bytes of each member of a struct of the BPF object."""
        return {member: offset for member, (offset, _) in self._struct(name)[0].items()}

    def struct_size(self, name: str) -> int:
        """Return the size in bytes of a struct of the BPF object."""
        return self._struct(name)[1]

    def _struct(self, name: str) -> tuple[dict[str, tuple[int, int]], int]:
        """Return the offset and size of each member of a struct, and its size."""
        if name not in self._structs:
            self._structs[name] = self.bpf.struct_fields(name), self.bpf.struct_size(name)
        return self._structs[name]

    def map_fd(self, name: str) -> int:
        """Return the descriptor of a map; it stays this object's."""
        return self.bpf.map_fd(name)

    def _load_groups(self, loaded: frozenset[str], system_calls: bytes) -> None:
        """Begin to load the event programs, in two threads: the kernel takes long to verify them."""
        rest = (self.event_programs | _ON_DEMAND | _EMITTING) - loaded
        if self.config.newborns:
            rest |= frozenset(NEWBORN_PROGRAMS)
        groups = [group for group in (rest & _CALL_PROGRAMS, rest - _CALL_PROGRAMS) if group]
        variable = [name for name in self.bpf.maps if not name.startswith(".rodata")]
        pool = ThreadPoolExecutor(len(groups), "boxtrace-load")
        for group in groups:
            bpf = _native.BpfObject(self._bytes, "boxtrace")
            self._configure(bpf, group)
            bpf.set_data(".rodata.syscalls", system_calls)
            self._reuse_maps(bpf, variable)
            self._owners |= dict.fromkeys(group, pool.submit(self._load, bpf))
        pool.shutdown(wait=False)

    def owner(self, program: str) -> _native.BpfObject:
        """Return the object that has a program, once it is loaded.

        :raises CapabilityError: if the kernel refuses to load it.
        """
        if program in OWN_CHANGE_PROGRAMS:
            return self._own_changes
        return self._owners[program].result() if program in self._owners else self.bpf

    @cached_property
    def _own_changes(self) -> _native.BpfObject:
        return self._load_beside("boxtrace_own", frozenset(OWN_CHANGE_PROGRAMS))

    def _reuse_maps(self, bpf: _native.BpfObject, names: Iterable[str]) -> None:
        for name in names:
            bpf.reuse_map(name, self.map_fd(name))

    def _load_beside(self, name: str, programs: frozenset[str], function: str | None = None) -> _native.BpfObject:
        """Load programs into a further object that works on the same maps."""
        bpf = _native.BpfObject(self._bytes, name)
        self._configure(bpf, programs)
        self._reuse_maps(bpf, _SHARED_MAPS)
        try:
            for program in programs if function is not None else ():
                bpf.set_function(program, function or "")
            bpf.load()
        except OSError as error:
            if function is not None and error.errno in (errno.EPERM, errno.ENOENT, errno.ESRCH):
                raise function_refused(function, error) from error
            raise _load_error(error) from error
        self._beside.append(bpf)
        return bpf

    def load_functions(self, function: str) -> _native.BpfObject:
        """Load the programs for entry to and exit from a kernel function.

        :raises CapabilityError: if the kernel refuses.
        """
        return self._load_beside("boxtrace_func", _FUNCTION_PROGRAMS, function)

    def load_dump(self) -> _native.BpfObject:
        """Load the programs of the state dump that the catalogue needs.

        Into an object of their own, on the same maps: the kernel takes long to verify them, and events need not wait
        for that.

        :raises CapabilityError: if the kernel refuses.
        """
        return self._load_beside("boxtrace_dump", _DUMP_PROGRAMS & self.config.catalogue.programs)


def _load_error(error: OSError) -> CapabilityError:
    log = getattr(error, "log", "").strip()
    if error.errno in (errno.EPERM, errno.EACCES) and "prog '" not in log:
        return CapabilityError(
            "the kernel does not permit loading BPF programs",
            hint="run as root; a kernel locked down for confidentiality, or kernel.unprivileged_bpf_disabled with too "
            "few capabilities, refuses it",
        )
    tail = "\n".join(log.splitlines()[-6:])
    return CapabilityError(f"the kernel refused a BPF program: {os.strerror(error.errno or 0)}", hint=tail or None)
