"""``boxtrace ps``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from boxtrace.cli._selection import parse_time
from boxtrace.cli.containers import column_option, read_trace, warn_of_gaps
from boxtrace.containers.discovery import Survey, choose, survey
from boxtrace.containers.listing import ContainerRow, PidRow, list_containers, list_processes
from boxtrace.containers.match import match
from boxtrace.containers.model import Container
from boxtrace.errors import UsageError
from boxtrace.view.columns import PID_COLUMNS
from boxtrace.view.containers import write_pids_json, write_processes

__all__ = ["command"]


@click.command("ps")
@click.argument("words", metavar="[CONTAINER] [DIR]", nargs=-1)
@click.option("--host", is_flag=True, help="Also the processes that are in no container.")
@click.option("--at", metavar="TIME", help="Those that lived then: ns, ISO 8601, or time of day. Of a trace only.")
@column_option(PID_COLUMNS.names)
@click.option("--utc", is_flag=True, help="Times of day in UTC.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array of processes, with the view of every level.")
def command(words: tuple[str, ...], host: bool, at: str | None, columns: str | None, utc: bool, as_json: bool) -> None:
    """Show the processes of each container as a tree: those of this host now, or of the trace in DIR.

    With CONTAINER, of that one and those inside it. A single word that is a directory is DIR.
    """
    word, directory = _words(words)
    PID_COLUMNS.choose(columns, lives=directory is not None)
    trace = None if directory is None else read_trace(directory)
    if trace is None:
        if at is not None:
            raise UsageError("--at is for traces: of this host, only what is now can be told")
        found = survey(stopped=True)
        warn_of_gaps(found)
        containers, rows = list_containers(found), list_processes(found)
    else:
        containers, rows = trace.rows(), trace.processes(at=parse_time(at, trace.trace))
    if word is not None:
        containers = _inside(_choose(word, containers, None if trace else found), containers)
    wanted = {row.container.life for row in containers}
    with_host = host and word is None
    rows = [row for row in rows if (with_host if row.container is None else row.container.life in wanted)]
    _write(rows, containers, trace is not None, columns, utc, as_json)
    if trace is not None:
        trace.check()


def _words(words: tuple[str, ...]) -> tuple[str | None, Path | None]:
    if len(words) > 2:
        raise UsageError(f"one CONTAINER and one DIR, and not {len(words)} words")
    if len(words) == 1 and Path(words[0]).is_dir():
        return None, Path(words[0])
    if len(words) == 2 and not Path(words[1]).is_dir():
        raise UsageError(f"{words[1]!r} is not a directory")
    return (words[0] if words else None), (Path(words[1]) if len(words) == 2 else None)


def _choose(word: str, rows: list[ContainerRow], found: Survey | None) -> Container:
    return match(word, [row.container for row in rows]) if found is None else choose(word, found)


def _inside(container: Container, rows: list[ContainerRow]) -> list[ContainerRow]:
    """Return the rows of a container and of those inside it."""
    parents = {row.container.id: row.parent for row in rows}
    kept = []
    for row in rows:
        around: Container | None = row.container
        while around is not None and around != container:
            around = parents.get(around.id)
        if around is not None:
            kept.append(row)
    return kept


def _write(
    rows: list[PidRow], containers: list[ContainerRow], lives: bool, columns: str | None, utc: bool, as_json: bool
) -> None:
    if as_json:
        write_pids_json(rows, sys.stdout)
    else:
        write_processes(rows, containers, sys.stdout, lives=lives, utc=utc, columns=columns)
