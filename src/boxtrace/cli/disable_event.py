"""``boxtrace disable-event``."""

from __future__ import annotations

import click

from boxtrace.cli.enable_event import change_events
from boxtrace.cli.track import recording_option

__all__ = ["command"]


@click.command()
@recording_option
@click.argument("patterns", nargs=-1, required=True, metavar="GLOB...")
def command(recording: int | None, patterns: tuple[str, ...]) -> None:
    """Have a running recording take no more events of applications with such names.

    Prints what boxtrace enable-event --list shows.
    """
    change_events("disable-event", recording, patterns)
