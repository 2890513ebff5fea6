"""What a filter would become in a recording on this machine, without recording."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files

from boxtrace import _native
from boxtrace.filters import Filter
from boxtrace.filters.binding import field_nodes
from boxtrace.filters.syntax import Root
from boxtrace.kernel.capabilities import exit_has_group_dead
from boxtrace.kernel.catalogue import build_catalogue
from boxtrace.kernel.contexts import CONTEXTS, DEFAULT_CONTEXTS, context_layout
from boxtrace.kernel.filters import FilterPlan, filter_room, plan_filters
from boxtrace.kernel.machine import machine_syscalls, machine_tracepoints
from boxtrace.kernel.selection import FilterRule
from boxtrace.kernel.structures import kernel_structure
from boxtrace.kernel.syscalls.layout import LayoutOptions

__all__ = ["preview_filter"]


def preview_filter(expression: str, events: str | None, warn: Callable[[str], None]) -> FilterPlan:
    """Compile a filter for the events whose names match a shell pattern, or for those recorded by default.

    :param warn: told when the running kernel's own descriptions cannot be read.
    :raises FilterError: for an expression that is none, or means nothing for these events.
    :raises UsageError: for a pattern that matches no event, or more code than the kernel's programs have room for.
    :raises CapabilityError: when the events of the kernel cannot be found out.
    """
    named = (str(node.path[0]) for node in field_nodes(Filter(expression).root) if node.root is Root.CONTEXT)
    contexts = context_layout((*DEFAULT_CONTEXTS, *(name for name in named if name in CONTEXTS)))
    native, compat = machine_syscalls(warn)
    catalogue = build_catalogue(
        native.values(),
        compat.values(),
        () if events is None else (events,),
        tracepoints=None if events is None else machine_tracepoints(),
        layout=LayoutOptions(structs=kernel_structure),
        exit_has_group_dead=exit_has_group_dead(),
        state_dump=False,
    )
    image = files("boxtrace.kernel.bpf").joinpath("programs.bpf.o").read_bytes()
    programs = _native.BpfObject(image, "boxtrace")
    scratch = {member: offset for member, (offset, _) in programs.struct_fields("bt_scratch").items()}
    return plan_filters(catalogue, contexts, [FilterRule(events or "*", expression)], scratch, room=filter_room(image))
