"""The table of system calls that the BPF programs address by number, and the layouts of what is more than registers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from boxtrace.kernel.births import NAMESPACE_CALLS
from boxtrace.kernel.syscalls.layout import EventLayout

if TYPE_CHECKING:
    from boxtrace.kernel.image import ProgramImage

__all__ = ["pack_call_table"]

_ALTERING = re.compile(
    r"set(re|res|fs)?[ug]id(16|32)?|setgroups(16|32)?|setns|unshare|execve(at)?|capset|prctl|keyctl|add_key|request_key"
    r"|landlock_restrict_self|(rt_)?sigreturn"
)
"""System calls whose caller may have other credentials, namespaces or ids when they return, or another call number."""


def pack_call_table(image: ProgramImage) -> tuple[bytes, list[bytes]]:
    """Return the table of system calls, and the layouts that it refers to, from number 1 on."""
    size = image.bpf.struct_size("bt_syscall")
    table = bytearray(size * image.limits["BT_SYSCALLS"])
    layouts: list[bytes] = []
    base, most = image.limits["BT_COMPAT_BASE"], image.limits["BT_STEPS"]
    causes = dict(image.bpf.enum_values("bt_cause"))
    header = image.limits["BT_COMPACT_HEADER"] + image.config.contexts.size
    harmless: set[int] = set()
    altering: set[int] = set()
    for events in image.config.catalogue.syscalls:
        if events.call.number >= base:
            continue
        values: dict[str, int | bytes] = {"entry_id": events.entry_id, "exit_id": events.exit_id, "known": 1}
        if events.call.name in NAMESPACE_CALLS:
            values["cause"] = causes[NAMESPACE_CALLS[events.call.name]]
        alters = _ALTERING.fullmatch(events.call.name) is not None
        values["alters"] = alters
        if alters:
            altering.add(events.call.number)
        elif not events.compat:
            harmless.add(events.call.number)
        for side, layout, number in (
            ("entry", events.entry, events.entry_id),
            ("exit", events.exit, events.exit_id),
        ):
            if layout.simple:
                sizes = layout.register_sizes()
                values[side] = sizes.ljust(image.limits["BT_ARGUMENTS"], b"\0")
                values[f"{side}_arguments"] = len(sizes)
                values[f"{side}_size"] = sum(sizes)
                if side == "entry":
                    values["entry_whole"] = header + sum(sizes)
                    values["entry_commit"] = 1 << 32 | header + sum(sizes)
            elif number:
                steps = b"".join(step.pack() for step in layout.steps[:most])
                layouts.append(
                    image.pack_struct("bt_layout", steps=len(layout.steps), step=steps.ljust(8 * most, b"\0"))
                )
                values[f"{side}_layout"] = len(layouts)
            if number and not alters:
                values |= _shortcuts(image, side, number, layout)
        asks = values.get("exit_asks", 0)
        if asks not in (0, values.get("entry_asks", 0)):
            values["exit_plain"] = 0  # that the entry passes says nothing of it
        elif asks:
            values["exit_rejected"] = int(values.get("exit_rule", 0)) << 32
        at = size * (events.call.number + base * events.compat)
        table[at : at + size] = image.pack_struct("bt_syscall", **values)
    either = image.struct_offsets("bt_syscall")["alters_either"]
    for number in range(base):
        table[size * number + either] = number in altering or number not in harmless
    return bytes(table), layouts


def _shortcuts(image: ProgramImage, side: str, number: int, layout: EventLayout) -> dict[str, int | bytes]:
    """Return what the programs need not look at in every respect, of an event of a system call."""
    found: dict[str, int | bytes] = {}
    whole = True
    if image.rules is not None:
        found[f"{side}_rule"] = image.rules.numbers.get(number, 0)
        whole = number not in image.rules.limited
    if image.filters is not None and number in image.filters.slots:
        asks = image.filters.asks.get(number)
        if asks is not None:
            found[f"{side}_asks"] = 1 << asks
        if number in image.filters.registers:
            found[f"{side}_tested"] = number
        whole = whole and number in image.filters.settled
    if whole and layout.simple and (side == "entry" or not layout.register_sizes()):
        found[f"{side}_plain"] = number
    return found
