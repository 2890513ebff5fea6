"""``boxtrace explain``."""

from __future__ import annotations

import click

from boxtrace.filters import Filter
from boxtrace.kernel.filter_preview import preview_filter
from boxtrace.view.filters import explain_lines

__all__ = ["command"]


@click.command("explain")
@click.argument("expression", metavar="FILTER")
@click.option("-e", "--event", "events", metavar="GLOB", help="For events with such names. Default: what is recorded.")
def command(expression: str, events: str | None) -> None:
    """Show what a filter of ``boxtrace record`` becomes: how it is understood, and the BPF instructions made of it.

    \b
      boxtrace explain 'fd > 2 && $ctx.procname == "nginx*"' -e syscall_entry_read
    """
    wanted = Filter(expression)
    plan = preview_filter(expression, events, lambda message: click.echo(f"boxtrace: warning: {message}", err=True))
    click.echo("\n".join(explain_lines(wanted, plan)))
