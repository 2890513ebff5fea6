"""``boxtrace state-dump``."""

from __future__ import annotations

import click

from boxtrace.session.control import ask_recording

__all__ = ["command"]


@click.command()
@click.argument("pid", type=int, required=False)
def command(pid: int | None) -> None:
    """Have a running recording dump the state of the system again, into its trace.

    PID is that of the recording, when several run. SIGUSR2 does the same.
    """
    ask_recording("state-dump", pid)
