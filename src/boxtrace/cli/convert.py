"""``boxtrace convert``: write traces again, in another form or in part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import click

from boxtrace.cli._progress import duration, progress_bar, telling_progress
from boxtrace.cli._selection import expression_filter, parse_time, selection, selection_options
from boxtrace.errors import OutputError

if TYPE_CHECKING:
    from boxtrace.trace import Event, Trace
    from boxtrace.units import Nanoseconds

__all__ = ["command"]


@click.command("convert")
@click.argument("directory", type=click.Path(exists=True, path_type=Path), metavar="DIR")
@click.argument("output", type=click.Path(path_type=Path), metavar="OUTPUT")
@click.option("--to", "form", type=click.Choice(["ctf1", "ctf2", "parquet", "json"]), required=True, help="The form.")
@selection_options
def command(
    directory: Path,
    output: Path,
    form: str,
    names: tuple[str, ...],
    containers: tuple[str, ...],
    expression: str | None,
    begin: str | None,
    end: str | None,
) -> None:
    """Write the traces below DIR to OUTPUT: CTF 1.8 or CTF 2 directories, Parquet files, or a file of JSON lines."""
    from boxtrace.trace import open_trace
    from boxtrace.trace.convert import copy_ctf, filter_ctf, write_parquet

    trace = open_trace(directory)
    first, last = parse_time(begin, trace), parse_time(end, trace)
    where = selection(trace, names, containers, arrivals=form in ("ctf1", "ctf2"))
    matching = None if expression is None else expression_filter(trace, expression)
    chosen = where is not None or matching is not None or first is not None or last is not None
    if form == "parquet":
        wanted = [name for name in trace.event_names() if any(fnmatchcase(name, glob) for glob in names)]
        with progress_bar("converting", sum(stream.content(first, last) for stream in trace.streams)) as progress:
            write_parquet(
                trace,
                output,
                names=wanted if names else None,
                begin=first,
                end=last,
                matching=matching,
                where=where if containers else None,
                progress=progress,
            )
    elif form == "json":
        with progress_bar("converting", duration(trace, first, last)) as progress:
            _write_json(
                trace, output, trace.events(begin=first, end=last, filter=matching, where=where), first, progress
            )
    elif chosen:
        with progress_bar("converting", duration(trace, first, last)) as progress:
            filter_ctf(
                trace,
                output,
                ctf2=form == "ctf2",
                begin=first,
                end=last,
                matching=matching,
                where=where,
                progress=progress,
            )
    else:
        size = sum(packet.bounds.size // 8 for stream in trace.streams for packet in stream.packets)
        with progress_bar("copying", size) as progress:
            copy_ctf(trace, output, ctf2=form == "ctf2", progress=progress)


def _write_json(
    trace: Trace,
    output: Path,
    events: Iterator[Event],
    begin: Nanoseconds | None,
    progress: Callable[[float], None],
) -> None:
    from boxtrace.view.jsonl import json_lines

    if output.exists():
        raise OutputError("the output file exists", path=str(output))

    with output.open("w", encoding="utf-8") as file:
        file.writelines(json_lines(telling_progress(trace, events, begin, progress)))
