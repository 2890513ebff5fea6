"""``boxtrace view``: print the events of traces."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedWriter, FileIO
from pathlib import Path
from typing import TYPE_CHECKING

import click

from boxtrace.cli._progress import duration, nobody_looks, progress_bar, telling_progress
from boxtrace.cli._selection import expression_filter, name_test, parse_time, selection, selection_options

if TYPE_CHECKING:
    from boxtrace.trace import Event, Trace
    from boxtrace.view.jsonl import Owner
    from boxtrace.view.text import TextView

__all__ = ["command"]

_BUFFER = 1 << 16


@click.command("view")
@click.argument("directory", type=click.Path(exists=True, path_type=Path), metavar="DIR")
@click.option("--json", "form", flag_value="json", help="One JSON object per event.")
@click.option("--csv", "form", flag_value="csv", help="Comma-separated values, with a header.")
@click.option("--symbolic", is_flag=True, help="Name the flags, errors and signals of system calls.")
@click.option("--names", "named", is_flag=True, help="Tell the container of each event by name.")
@selection_options
@click.option("--utc", is_flag=True, help="Times of day in UTC.")
def command(
    directory: Path,
    form: str | None,
    symbolic: bool,
    named: bool,
    names: tuple[str, ...],
    containers: tuple[str, ...],
    expression: str | None,
    begin: str | None,
    end: str | None,
    utc: bool,
) -> None:
    """Print the events of every trace below DIR in the order of time, as babeltrace2 does."""
    from boxtrace.trace import open_trace
    from boxtrace.view.text import TextView, loss_text

    trace = open_trace(directory)
    first, last = parse_time(begin, trace), parse_time(end, trace)
    losses = TextView(utc=utc)
    for loss in trace.losses():
        click.echo(loss_text(losses, loss), err=True, nl=False)
    wanted = None if expression is None else expression_filter(trace, expression)
    if form is None and not symbolic and not named and not containers:
        from boxtrace.view.fast_text import text_pieces

        pieces = None
        # What the native core cannot show (a field that has no column) the slower way below can.
        with suppress(NotImplementedError):
            pieces = text_pieces(
                trace,
                utc=utc,
                wanted=name_test(names),
                matching=wanted,
                begin=first,
                end=last,
                progress=lambda done: progress(done),
            )
        if pieces is not None:
            with _file_progress(sum(stream.content(first, last) for stream in trace.streams)) as progress:
                _write(pieces)
            return
    where = selection(trace, names, containers)
    events = trace.events(begin=first, end=last, filter=wanted, where=where)
    owner = _owner(trace) if named else None
    with _file_progress(duration(trace, first, last)) as progress:
        events = telling_progress(trace, events, first, progress)
        lines = _lines(trace, events, form, TextView(utc=utc, symbolic=symbolic, owner=owner), owner)
        _write(line.encode("utf-8", "surrogateescape") for line in lines)


@contextmanager
def _file_progress(total: float) -> Iterator[Callable[[float], None]]:
    """Show a bar where the text goes to a file: nobody sees otherwise how far it has come."""
    if not stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode):
        yield nobody_looks
        return
    with progress_bar("writing", total) as progress:
        yield progress


def _owner(trace: Trace) -> Owner:
    from boxtrace.trace.owners import EventOwners

    owners = EventOwners(trace)

    def name(event: Event) -> str | None:
        container = owners.container(event)
        return None if container is None else container.name

    return name


def _lines(
    trace: Trace, events: Iterator[Event], form: str | None, view: TextView, owner: Owner | None
) -> Iterator[str]:
    if form == "json":
        from boxtrace.view.jsonl import json_lines

        return json_lines(events, owner)
    if form == "csv":
        from boxtrace.view.csv import csv_lines

        return csv_lines(events, trace.streams, owner)
    return view.lines(events)


def _write(pieces: Iterator[bytes]) -> None:
    """Write lines in big pieces, and what there is when something fails on the way."""
    output = BufferedWriter(FileIO(sys.stdout.fileno(), "w", closefd=False), _BUFFER)
    try:
        for piece in pieces:
            output.write(piece)
    finally:
        output.flush()
