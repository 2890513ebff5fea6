"""``boxtrace limit``: how many events of its rules a running recording lets pass."""

from __future__ import annotations

from typing import Any

import click

from boxtrace.cli.track import recording_option
from boxtrace.errors import UsageError
from boxtrace.session.control import ask_recording

__all__ = ["command"]


@click.command()
@recording_option
@click.argument("events", required=False, metavar="[GLOB")
@click.argument("values", nargs=-1, metavar="VALUE...]")
def command(recording: int | None, events: str | None, values: tuple[str, ...]) -> None:
    """Change the limits of an event rule of a running recording, and print all of them as they are then.

    GLOB is a rule's pattern, as it was given to -e. A VALUE is a rate (1000/s, 10/m, 1000/s:5000), a sample (1/100), or
    'none'; together they replace what the rule had. A rule must have had a limit when the recording began.

    \b
      boxtrace limit
      boxtrace limit 'sched_*' 100/s
      boxtrace limit 'sched_*' 100/s 1/10
    """
    if events is not None and not values:
        raise UsageError(f"what is the limit of {events!r}?", hint="a rate, a sample, or none")
    more: dict[str, Any] = {} if events is None else {"events": events, "values": list(values)}
    limits = ask_recording("limits" if events is None else "limit", recording, **more)["limits"]
    for channel, pattern, *texts in limits:
        click.echo(" ".join((channel, pattern, *(texts or ["none"]))))
