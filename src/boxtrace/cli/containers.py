"""``boxtrace containers``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from boxtrace.containers.discovery import RUNTIMES, Survey, survey
from boxtrace.containers.listing import ContainerRow, list_containers
from boxtrace.errors import UsageError
from boxtrace.view.columns import CONTAINER_COLUMNS
from boxtrace.view.containers import write_containers, write_containers_json

if TYPE_CHECKING:
    from boxtrace.trace.containers import TraceContainers

__all__ = ["column_option", "command", "read_trace", "trace_argument", "warn_of_gaps"]

_Command = TypeVar("_Command", bound=Callable[..., object])
_WATCH_SECONDS = 2.0

trace_argument = click.argument(
    "directory", metavar="[DIR]", required=False, type=click.Path(exists=True, path_type=Path)
)


def column_option(names: Sequence[str]) -> Callable[[_Command], _Command]:
    """Return what adds ``--columns`` to a command.

    :param names: the columns that there are.
    """
    return click.option(
        "-o", "--columns", metavar="LIST", help=f"Columns, with commas; +LIST adds to the usual: {', '.join(names)}."
    )


@click.command("containers")
@trace_argument
@click.option("-a", "--all", "stopped", is_flag=True, help="Also those of the host that are not running.")
@click.option("--tree", is_flag=True, help="Each container below the one around it.")
@column_option(CONTAINER_COLUMNS.names)
@click.option("--utc", is_flag=True, help="Times of day in UTC.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array, with namespaces, cgroups and labels.")
@click.option("-w", "--watch", is_flag=True, help="Go on: a live table, or a line for each change in a pipe.")
def command(
    directory: Path | None, stopped: bool, tree: bool, columns: str | None, utc: bool, as_json: bool, watch: bool
) -> None:
    """List containers: those of the trace in DIR, or those that this host has now.

    Those of the host are what every runtime tells, and what only namespaces show. Those of a trace come from its
    events, with the names that the recording stored.

    With --watch and in a pipe, each line tells of one change: its time, what it was (running, start, update, end),
    runtime, id, name, image, first process, pid namespace and state.
    """
    CONTAINER_COLUMNS.choose(columns, lives=directory is not None)
    if directory is not None:
        if stopped or watch:
            option = "--all" if stopped else "--watch"
            raise UsageError(f"{option} is for the containers of this host: of a trace, all are listed")
        trace = read_trace(directory)
        rows = trace.rows()
    elif watch:
        _watch(tree, columns, utc, as_json)
        return
    else:
        rows = _of_host(stopped)
    if as_json:
        write_containers_json(rows, sys.stdout)
    else:
        write_containers(rows, sys.stdout, tree=tree, lives=directory is not None, utc=utc, columns=columns)
    if directory is not None:
        trace.check()


def _watch(tree: bool, columns: str | None, utc: bool, as_json: bool) -> None:
    from boxtrace.containers.live import follow
    from boxtrace.view.live import show_changes, show_table

    def warn(message: str) -> None:
        click.echo(f"boxtrace: warning: {message}", err=True)

    # Ctrl-C is how it ends.
    with suppress(KeyboardInterrupt), closing(follow(_WATCH_SECONDS, warn=warn)) as moments:
        if as_json or not sys.stdout.isatty():
            show_changes(moments, sys.stdout, utc=utc, as_json=as_json)
        else:
            show_table(moments, sys.stdout, tree=tree, columns=columns)


def _of_host(stopped: bool) -> list[ContainerRow]:
    found = survey(stopped=stopped)
    warn_of_gaps(found)
    if len(found.absent) == len(RUNTIMES):
        click.echo("boxtrace: note: no container runtime here; containers are named after their cgroups", err=True)
    return list_containers(found)


def read_trace(directory: Path) -> TraceContainers:
    """Read a trace for its containers, and say on stderr what may be missing because it was lost."""
    from boxtrace.trace import open_trace
    from boxtrace.trace.containers import TraceContainers

    trace = open_trace(directory)
    lost = [loss.count or 0 for loss in trace.losses()]
    if lost:
        what = f"at least {sum(lost)} events or packets" if sum(lost) else "events"
        click.echo(f"boxtrace: warning: {what} were lost: processes may be missing", err=True)
    return TraceContainers(trace)


def warn_of_gaps(found: Survey) -> None:
    """Say on stderr who could not be asked, and which processes could not be looked at."""
    for failure in found.failed:
        click.echo(f"boxtrace: warning: {failure}", err=True)
    if found.snapshot.unreadable and os.geteuid():
        number = found.snapshot.unreadable
        click.echo(f"boxtrace: note: {number} processes are not ours to look at (root sees them)", err=True)
