"""``boxtrace snapshot``."""

from __future__ import annotations

import click

from boxtrace.session.control import ask_recording

__all__ = ["command"]


@click.command()
@click.argument("pid", type=int, required=False)
def command(pid: int | None) -> None:
    """Write what a flight recording holds in memory to a new trace; the recording goes on.

    PID is that of the recording (boxtrace record --flight-recorder), when several run. Prints the trace's directory.
    """
    click.echo(ask_recording("snapshot", pid)["path"])
