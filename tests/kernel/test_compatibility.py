"""What Trace Compass asks of an LTTng kernel trace, by its sources (docs/compatibility.md)."""

from pathlib import Path

from boxtrace.trace import open_trace
from support.recorder import record_command

# By the getters of IKernelAnalysisEventLayout in LttngEventLayout and its successors up to Lttng29EventLayout.
LAYOUT: dict[str, tuple[str, ...]] = {
    "irq_handler_entry": ("irq",),
    "irq_handler_exit": ("irq",),
    "irq_softirq_entry": ("vec",),
    "irq_softirq_exit": ("vec",),
    "irq_softirq_raise": ("vec",),
    "timer_hrtimer_start": ("hrtimer", "function", "expires", "softexpires"),
    "timer_hrtimer_cancel": ("hrtimer",),
    "timer_hrtimer_expire_entry": ("hrtimer", "now", "function"),
    "timer_hrtimer_expire_exit": ("hrtimer",),
    "sched_switch": ("prev_comm", "prev_tid", "prev_prio", "prev_state", "next_comm", "next_tid", "next_prio"),
    "sched_pi_setprio": ("tid", "newprio"),
    "sched_waking": ("tid", "prio"),
    "sched_wakeup": ("tid", "prio", "target_cpu"),
    "sched_wakeup_new": ("tid", "prio", "target_cpu"),
    "sched_process_fork": (
        "parent_tid",
        "child_comm",
        "child_tid",
        "child_pid",
        "parent_ns_inum",
        "child_ns_inum",
        "vtids",
    ),
    "sched_process_exit": ("tid", "comm", "prio"),
    "sched_process_free": ("tid",),
    "sched_process_exec": ("filename", "tid"),
    "lttng_statedump_process_state": ("tid", "pid", "ppid", "name", "status"),
    "lttng_statedump_process_pid_ns": ("tid", "vtid", "ns_level", "ns_inum"),
    "lttng_statedump_block_device": ("dev", "diskname"),
    "block_rq_insert": ("dev", "sector", "nr_sector", "rwbs"),
    "block_rq_issue": ("dev", "sector", "nr_sector", "rwbs"),
    "block_rq_complete": ("dev", "sector", "nr_sector"),
    "block_bio_frontmerge": ("dev", "sector", "nr_sector"),
    "block_bio_backmerge": ("dev", "sector", "nr_sector"),
    "kmem_mm_page_alloc": ("order",),
    "kmem_mm_page_free": ("order",),
    "net_dev_queue": ("skbaddr", "len", "name", "network_header"),
    "net_if_receive_skb": ("skbaddr", "len", "name"),
    "syscall_entry_openat": ("filename",),
    "syscall_exit_openat": ("ret",),
}


def test_what_trace_compass_looks_for(tmp_path: Path) -> None:
    events = [name for name in LAYOUT if not name.startswith("lttng_")]
    arguments = [word for name in events for word in ("-e", name)]
    recorded = record_command(tmp_path / "trace", *arguments, command=["true"])
    assert recorded.status == 0, recorded.stderr
    ((_, described),) = open_trace(tmp_path / "trace" / "kernel").parts
    environment = described.environment
    assert (environment["domain"], environment["tracer_name"]) == ("kernel", "lttng-modules")
    assert environment["tracer_major"] == 2 and environment["tracer_minor"] >= 9  # numbers, not text
    declared = {
        event.name: {member.name.lstrip("_") for member in event.fields.members} if event.fields else set()
        for stream in described.streams
        for event in stream.events
    }
    missing = {name: set(fields) - declared.get(name, set()) for name, fields in LAYOUT.items()}
    assert {name: fields for name, fields in missing.items() if fields} == {}
    assert all(
        stream.packet_context is not None and stream.packet_context.find("cpu_id") for stream in described.streams
    )
