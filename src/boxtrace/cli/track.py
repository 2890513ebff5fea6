"""``boxtrace track`` and ``boxtrace untrack``: what a running recording is limited to."""

from __future__ import annotations

from typing import Any

import click

from boxtrace.errors import UsageError
from boxtrace.session.control import ask_recording

__all__ = ["change_sets", "command", "recording_option"]

recording_option = click.option(
    "-r", "--recording", type=int, metavar="PID", help="Process id of the recording, when several run."
)


def change_sets(request: str, recording: int | None, kind: str | None, values: tuple[str, ...]) -> None:
    """Have a recording change its sets, and print what they are then."""
    more: dict[str, Any] = {} if kind is None else {"kind": kind, "values": list(values)}
    answer = ask_recording(request, recording, **more)
    sets: dict[str, list[str]] = answer["sets"]
    for note in answer["notes"]:
        click.echo(f"boxtrace: warning: {note}", err=True)
    if not sets:
        click.echo("the whole host is recorded")
    for word, held in sets.items():
        click.echo(" ".join((word, *held)))


@click.command(context_settings={"ignore_unknown_options": False})
@recording_option
@click.option("-l", "--list", "listing", is_flag=True, help="Only show what is tracked.")
@click.argument("kind", required=False)
@click.argument("values", nargs=-1)
def command(recording: int | None, listing: bool, kind: str | None, values: tuple[str, ...]) -> None:
    """Limit a running recording to more: VALUEs of a KIND, '!VALUE' to exclude one.

    KIND is the name of an option of boxtrace record: container, image, label, cgroup, pid, pid-ns, net-ns, uid,
    procname, ...; new-containers and host-only have no values. Prints the sets as they are then. It counts from the
    next event on.

    \b
      boxtrace track container 'web-*' '!web-test'
      boxtrace track uid 1000
      boxtrace untrack uid
    """
    if listing == (kind is not None):
        raise UsageError("either --list, or a KIND and its VALUEs", hint="boxtrace track --help")
    if listing:
        change_sets("tracked", recording, None, ())
    else:
        change_sets("track", recording, kind, values)
