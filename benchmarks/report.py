"""Results as a table and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import quantiles

from boxtrace.version import VERSION

__all__ = ["format_table", "machine", "spread", "write_json"]


def machine() -> dict[str, object]:
    """Return what the numbers were measured on."""
    models = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "boxtrace": VERSION,
        "kernel": platform.release(),
        "cpu": models[0] if models else platform.machine(),
        "cpus": os.cpu_count(),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned columns: the first to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        return "  ".join(cells).rstrip()

    return "\n".join([line(header), "  ".join("-" * width for width in widths), *map(line, rows)])


def spread(values: Sequence[float], digits: int) -> str:
    """Return the median of values, and within what half of them are; nothing of none."""
    if not values:
        return ""
    low, middle, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def write_json(path: Path, name: str, results: object) -> None:
    """Write results with what they were measured on."""
    path.mkdir(parents=True, exist_ok=True)
    document = {"benchmark": name, "machine": machine(), "results": results}
    (path / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
