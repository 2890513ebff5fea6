"""The events of the state dump.

Those that begin with ``lttng_statedump_`` have LTTng's names, fields and types (lttng-modules 2.13);
``lttng_statedump_vm_map``, which LTTng declares and never records, has a file name besides. The others are ours.
"""

from __future__ import annotations

from typing import Final

from boxtrace.ctf.fields import DisplayBase, IntegerField, StringField
from boxtrace.kernel.event_type import COMM, I32, IPV4, POINTER, U8, U16, U32, U64, EventType, payload

__all__ = ["CONTAINER_NUMBER", "STATE_DUMP", "VM_MAP"]

_TEXT = StringField()
_NAMESPACE = payload(tid=I32, ns_inum=U32)
_OCTAL = IntegerField(size=32, base=DisplayBase.OCTAL)
_HEX = IntegerField(size=32, base=DisplayBase.HEXADECIMAL)


def _made(event: str, /, **members: IntegerField | StringField) -> EventType:
    return EventType(event, "", "emit", payload(**members))


STATE_DUMP: Final[tuple[EventType, ...]] = (
    _made("lttng_statedump_start"),
    _made("lttng_statedump_end"),
    EventType(
        "lttng_statedump_process_state",
        "BT_EV_STATEDUMP_PROCESS_STATE",
        "statedump_task",
        payload(
            tid=I32,
            pid=I32,
            ppid=I32,
            name=COMM,
            type=I32,
            mode=I32,
            submode=I32,
            status=I32,
            cpu=U32,
            file_table_address=POINTER,
        ),
    ),
    EventType(
        "lttng_statedump_process_pid_ns",
        "BT_EV_STATEDUMP_PID_NS",
        "statedump_task",
        payload(tid=I32, vtid=I32, vpid=I32, vppid=I32, ns_level=I32, ns_inum=U32),
    ),
    EventType(
        "lttng_statedump_process_user_ns",
        "BT_EV_STATEDUMP_USER_NS",
        "statedump_task",
        payload(tid=I32, vuid=U32, vgid=U32, ns_level=I32, ns_inum=U32),
    ),
    *(
        EventType(f"lttng_statedump_process_{ns}_ns", f"BT_EV_STATEDUMP_{ns.upper()}_NS", "statedump_task", _NAMESPACE)
        for ns in ("cgroup", "ipc", "mnt", "net", "uts", "time")
    ),
    EventType(
        "lttng_statedump_file_descriptor",
        "BT_EV_STATEDUMP_FILE_DESCRIPTOR",
        "statedump_file",
        payload(file_table_address=POINTER, fd=I32, flags=_OCTAL, fmode=_HEX, filename=_TEXT),
    ),
    _made("statedump_process_path", pid=I32, filename=_TEXT),
    _made("lttng_statedump_interrupt", irq=U32, name=_TEXT, action=_TEXT, tid=I32),
    _made("lttng_statedump_network_interface", name=_TEXT, address_ipv4=IPV4),
    _made("lttng_statedump_block_device", dev=U32, diskname=_TEXT),
    _made(
        "lttng_statedump_cpu_topology",
        architecture=_TEXT,
        cpu_id=U16,
        vendor=_TEXT,
        family=U8,
        model=U8,
        model_name=_TEXT,
        physical_id=U16,
        core_id=U16,
        cores=U16,
    ),
    _made(
        "statedump_network_interface",
        net_ns=U32,
        ifindex=I32,
        name=_TEXT,
        flags=_HEX,
        mtu=U32,
        link=I32,
        master=I32,
        kind=_TEXT,
        address_mac=_TEXT,
    ),
    _made("statedump_network_address", net_ns=U32, ifindex=I32, family=U8, prefix=U8, address=_TEXT),
    _made(
        "statedump_mount",
        mnt_ns=U32,
        mount_id=I32,
        parent_id=I32,
        dev=U32,
        root=_TEXT,
        mount_point=_TEXT,
        options=_TEXT,
        filesystem=_TEXT,
        source=_TEXT,
        super_options=_TEXT,
    ),
)
"""Events of every state dump."""

VM_MAP: Final = EventType(
    "lttng_statedump_vm_map",
    "BT_EV_STATEDUMP_VM_MAP",
    "statedump_map",
    payload(pid=I32, start=POINTER, end=POINTER, flags=POINTER, inode=U64, pgoff=U64, filename=_TEXT),
)
"""One mapping of a process's memory; recorded on request. ``pgoff`` is the offset in the file, in bytes."""

CONTAINER_NUMBER: Final = _made(
    "container_number",
    container=U32,
    runtime=_TEXT,
    id=_TEXT,
    name=_TEXT,
    image=_TEXT,
    pid_ns=U32,
    init_pid=I32,
)
"""Explains the number that the context ``container`` shows."""
