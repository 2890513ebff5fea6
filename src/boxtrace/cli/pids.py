"""``boxtrace pids``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from boxtrace.cli._selection import parse_time
from boxtrace.cli.containers import column_option, read_trace, trace_argument, warn_of_gaps
from boxtrace.containers.discovery import choose, survey
from boxtrace.containers.listing import list_pids
from boxtrace.errors import UsageError
from boxtrace.view.columns import PID_COLUMNS
from boxtrace.view.containers import write_pids, write_pids_json

__all__ = ["command"]


@click.command("pids")
@click.argument("container", metavar="CONTAINER")
@trace_argument
@click.option("-t", "--threads", is_flag=True, help="A row for each thread, with its ids.")
@click.option("--at", metavar="TIME", help="What held then: ns, ISO 8601, or time of day. Of a trace only.")
@column_option(PID_COLUMNS.names)
@click.option("--utc", is_flag=True, help="Times of day in UTC.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array, with the view of every level.")
def command(
    container: str,
    directory: Path | None,
    threads: bool,
    at: str | None,
    columns: str | None,
    utc: bool,
    as_json: bool,
) -> None:
    """Map the process ids inside CONTAINER to those of the host: of this host now, or of the trace in DIR.

    CONTAINER is its name, its id, or the beginning of either; RUNTIME:NAME where several have the name. Users, groups
    and paths are as the container sees them; host_uid, host_gid and host_path as the host does.
    """
    PID_COLUMNS.choose(columns, lives=directory is not None)
    if directory is None:
        if at is not None:
            raise UsageError("--at is for traces: of this host, only what is now can be told")
        found = survey(stopped=True)
        warn_of_gaps(found)
        rows = list_pids(choose(container, found), found, threads=threads)
    else:
        trace = read_trace(directory)
        rows = trace.pids(container, at=parse_time(at, trace.trace), threads=threads)
    if as_json:
        write_pids_json(rows, sys.stdout)
    else:
        write_pids(rows, sys.stdout, lives=directory is not None, utc=utc, threads=threads, columns=columns)
    if directory is not None:
        trace.check()
