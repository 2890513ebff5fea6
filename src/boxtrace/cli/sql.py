"""``boxtrace sql``: query a trace; every type of event is a table."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from boxtrace.cli._progress import progress_bar

__all__ = ["command"]


@click.command("sql")
@click.argument("directory", type=click.Path(exists=True, path_type=Path), metavar="DIR")
@click.argument("query")
@click.option("--json", "form", flag_value="json", help="One JSON object per row.")
@click.option("--csv", "form", flag_value="csv", help="Comma-separated values, with a header.")
def command(directory: Path, query: str, form: str | None) -> None:
    """Run QUERY (SQL, as DuckDB understands it) on the traces below DIR.

    Every type of event is a table of its name, quoted if it is not a plain word: "demo:tick". Columns are timestamp
    (ns), stream, contexts and fields.
    """
    from boxtrace.trace import open_trace
    from boxtrace.trace.sql import run_query

    result = run_query(open_trace(directory), query, progress_bar)
    if form == "json":
        for row in result.rows:
            click.echo(json.dumps(dict(zip(result.columns, row, strict=True)), default=str))
    elif form == "csv":
        import csv

        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(result.columns)
        writer.writerows(result.rows)
    else:
        from boxtrace.view.table import write_table

        write_table(result.columns, [[_cell(value) for value in row] for row in result.rows], sys.stdout)


def _cell(value: object) -> str | int | None:
    return value if value is None or (isinstance(value, int) and not isinstance(value, bool)) else str(value)
