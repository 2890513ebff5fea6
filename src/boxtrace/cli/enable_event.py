"""``boxtrace enable-event`` and ``boxtrace disable-event``: which events of applications a running recording takes."""

from __future__ import annotations

import click

from boxtrace.cli.track import recording_option
from boxtrace.errors import UsageError
from boxtrace.session.control import ask_recording

__all__ = ["change_events", "command"]


def change_events(request: str, recording: int | None, patterns: tuple[str, ...]) -> None:
    """Have a recording change its rules, and print what they are then, and what they mean for the types it knows."""
    answer = ask_recording(request, recording, patterns=list(patterns))
    for word in ("rules", "enabled", "disabled"):
        if answer[word]:
            click.echo(" ".join((word, *answer[word])))


@click.command()
@recording_option
@click.option("-l", "--list", "listing", is_flag=True, help="Only show what is enabled.")
@click.argument("patterns", nargs=-1, metavar="[GLOB]...")
def command(recording: int | None, listing: bool, patterns: tuple[str, ...]) -> None:
    """Have a running recording (boxtrace record --user) take events of applications with such names as well.

    Of the rules that match a name the last counts, for programs that start later, too. Prints the rules as they are
    then, and which event types of the programs seen so far are enabled and disabled by them.

    \b
      boxtrace disable-event 'app:*'
      boxtrace enable-event app:request
    """
    if listing == bool(patterns):
        raise UsageError("either --list, or names", hint="boxtrace enable-event --help")
    change_events("list-events" if listing else "enable-event", recording, patterns)
