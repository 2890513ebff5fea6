"""``boxtrace info``: what a trace holds."""

from __future__ import annotations

import json
from pathlib import Path

import click

from boxtrace.cli._progress import progress_bar

__all__ = ["command"]


@click.command("info")
@click.argument("directory", type=click.Path(exists=True, path_type=Path), metavar="DIR")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@click.option("--utc", is_flag=True, help="Times in UTC.")
def command(directory: Path, as_json: bool, utc: bool) -> int:
    """Show who recorded the traces below DIR and when, their streams, events of each type, and losses."""
    from boxtrace.trace import open_trace
    from boxtrace.trace.summary import summarize
    from boxtrace.view.info import info_json, info_lines

    trace = open_trace(directory)
    with progress_bar("reading", sum(stream.content() for stream in trace.streams)) as progress:
        summary = summarize(trace, progress)
    if as_json:
        click.echo(json.dumps(info_json(summary), indent=1))
    else:
        for line in info_lines(summary, utc=utc):
            click.echo(line)
    return 1 if summary.failures else 0
