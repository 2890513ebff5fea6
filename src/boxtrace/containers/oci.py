"""Files that OCI runtimes and their managers keep on disk, read with care: anybody may have written them."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from boxtrace.containers.text import clean

__all__ = ["bundle_notes", "directories", "mapping", "read_json", "read_number", "read_plain", "texts"]

_LIMIT = 4 << 20
_LEAST = 1 << 12
_DIGITS = 20


def read_plain(path: Path) -> bytes | None:
    """Return the content of a file; None when it is missing, not a plain file or too large."""
    try:
        # Not blocking: what should be a file may be a pipe that nobody writes.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        content, room = b"", min(max(status.st_size + 1, _LEAST), _LIMIT + 1)
        while len(content) <= _LIMIT and (more := os.read(descriptor, room)):
            content += more
            if len(more) < room:
                break
        return content if len(content) <= _LIMIT else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; None when it is missing, not a plain file, too large or no JSON."""
    content = read_plain(path)
    try:
        return None if content is None else json.loads(content)
    except (ValueError, RecursionError):
        return None


def read_number(path: Path) -> str | None:
    """Return the number that a file holds, as text; None when it holds none, or is none to be read."""
    content = (read_plain(path) or b"").strip()
    return content.decode() if content.isdigit() and len(content) <= _DIGITS else None


def mapping(value: object) -> Mapping[str, Any]:
    """Return a JSON object, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def texts(value: object) -> dict[str, str]:
    """Return the text members of a JSON object, made printable."""
    return {clean(key): clean(item) for key, item in mapping(value).items() if isinstance(item, str)}


def bundle_notes(bundle: Path) -> dict[str, str]:
    """Return the annotations in an OCI bundle's ``config.json`` (OCI runtime specification)."""
    return texts(mapping(read_json(bundle / "config.json")).get("annotations"))


def directories(pattern: str) -> Iterator[Path]:
    """Yield what matches an absolute glob pattern, as far as it may be read."""
    try:
        yield from sorted(Path("/").glob(pattern.lstrip("/")))
    except OSError:
        return
