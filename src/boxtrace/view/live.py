"""Containers as they come and go: a table that is drawn again on a terminal, a line for each change in a pipe."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TextIO

from boxtrace.containers.live import Change, Moment
from boxtrace.view.containers import container_document, container_table
from boxtrace.view.table import rich_table

__all__ = ["change_line", "show_changes", "show_table"]


def show_table(moments: Iterable[Moment], stream: TextIO, *, tree: bool, columns: str | None) -> None:
    """Show a table that is always of now, until there are no more moments."""
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(file=stream), auto_refresh=False, vertical_overflow="crop") as live:
        for moment in moments:
            headers, cells = container_table(moment.rows, tree=tree, lives=False, utc=False, columns=columns)
            live.update(rich_table(headers, cells), refresh=True)


def show_changes(moments: Iterable[Moment], stream: TextIO, *, utc: bool, as_json: bool) -> None:
    """Write a line for each change as soon as it is known."""
    for moment in moments:
        for change in moment.changes:
            if as_json:
                document = {"time": round(change.time * 1_000_000_000), "change": change.what}
                line = json.dumps(document | container_document(change.row))
            else:
                line = change_line(change, utc=utc)
            stream.write(line + "\n")
        stream.flush()


def change_line(change: Change, *, utc: bool) -> str:
    """Return a change as text: time of day, what, runtime, id, name, image, first process, pid namespace, state."""
    container = change.row.container
    when = datetime.fromtimestamp(change.time, UTC if utc else None).strftime("%H:%M:%S.%f")
    words = (container.image, container.init_pid, container.pid_ns, container.state)
    rest = "  ".join("-" if word is None else str(word) for word in words)
    return f"{when}  {change.what:<7}  {container.runtime}  {container.short_id}  {container.name}  {rest}"
