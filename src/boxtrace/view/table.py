"""Tables: for people on a terminal, aligned text for programs that read a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TextIO, TypeAlias

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Cell", "rich_table", "write_table"]

Cell: TypeAlias = str | int | None
_LEAST_WIDTH = 16


def write_table(headers: Sequence[str], rows: Iterable[Sequence[Cell]], stream: TextIO) -> None:
    """Write a table with a line of headers; None is shown as ``-``, numbers are aligned to the right.

    In a pipe no cell is shortened, and two spaces separate the columns.
    """
    text, widths, numeric = _measure(headers, rows)
    if stream.isatty():
        from rich.console import Console

        Console(file=stream).print(_table(headers, text, widths, numeric))
        return
    for line in [headers, *text]:
        cells = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        )
        stream.write("  ".join(cells).rstrip() + "\n")


def rich_table(headers: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Table:
    """Return the table as people see it on a terminal."""
    return _table(headers, *_measure(headers, rows))


def _measure(headers: Sequence[str], rows: Iterable[Sequence[Cell]]) -> tuple[list[list[str]], list[int], list[bool]]:
    """Return the cells' text, the columns' widths, and which columns hold numbers."""
    content = [list(row) for row in rows]
    numeric = [
        any(isinstance(row[at], int) for row in content) and not any(isinstance(row[at], str) for row in content)
        for at in range(len(headers))
    ]
    text = [["-" if cell is None else str(cell) for cell in row] for row in content]
    widths = [max(len(line[at]) for line in [headers, *text]) for at in range(len(headers))]
    return text, widths, numeric


def _table(
    headers: Sequence[str], text: Iterable[Sequence[str]], widths: Sequence[int], numeric: Sequence[bool]
) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for header, width, right in zip(headers, widths, numeric, strict=True):
        # Where the terminal is narrow, long cells lose their ends, and numbers stay whole.
        least = width if right else min(width, _LEAST_WIDTH)
        table.add_column(
            header, justify="right" if right else "left", no_wrap=True, overflow="ellipsis", min_width=least
        )
    for row in text:
        table.add_row(*map(Text, row))
    return table
