"""``boxtrace untrack``."""

from __future__ import annotations

import click

from boxtrace.cli.track import change_sets, recording_option

__all__ = ["command"]


@click.command()
@recording_option
@click.argument("kind")
@click.argument("values", nargs=-1)
def command(recording: int | None, kind: str, values: tuple[str, ...]) -> None:
    """Take VALUEs of a KIND out of what a running recording is limited to; all of them if none is named.

    A value is written as in boxtrace track --list, the '!' of an excluded one included. When nothing is left, the whole
    host is recorded.
    """
    change_sets("untrack", recording, kind, values)
