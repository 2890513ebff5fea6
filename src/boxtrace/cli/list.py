"""``boxtrace list``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from boxtrace.kernel.listing import ListedEvent, list_events, list_syscalls
from boxtrace.view.events import write_events, write_events_json

__all__ = ["command"]

_PATTERN = click.argument("pattern", metavar="[GLOB]", default="*")
_JSON = click.option("--json", "as_json", is_flag=True, help="A JSON array, with the labels of enumerations.")


@click.group("list")
def command() -> None:
    """List what can be recorded on this machine."""


@command.command("events")
@_PATTERN
@_JSON
def events(pattern: str, as_json: bool) -> None:
    """List the kernel's tracepoints as events, and those of the state dump: names, sources, fields.

    GLOB is for the event's name or the kernel's (GROUP:EVENT): 'irq_*', 'block:*'.
    """
    _write(list_events(pattern), as_json)


@command.command("syscalls")
@_PATTERN
@_JSON
def syscalls(pattern: str, as_json: bool) -> None:
    """List the events of system calls with their fields.

    GLOB is for the event's name or the call's: 'syscall_entry_*', 'open*'.
    """

    def warn(message: str) -> None:
        click.echo(f"boxtrace: warning: {message}", err=True)

    _write(list_syscalls(warn, pattern), as_json)


def _write(found: Sequence[ListedEvent], as_json: bool) -> None:
    if as_json:
        write_events_json(found, sys.stdout)
    else:
        write_events(found, sys.stdout)
