"""The examples of the guide, run as they stand."""

import doctest
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from boxtrace.kernel.contexts import CALLSTACKS, CONTEXTS
from boxtrace.trace import Event, Loss, Stream, Trace
from boxtrace.trace.table import Table

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["reading.md", "reference.md"])
def test_examples(name: str) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    globs = {"trace_path": ROOT / "tests" / "data" / "lttng-kernel-trace"}
    result = doctest.testfile(str(ROOT / "docs" / name), module_relative=False, globs=globs)
    assert result.attempted > 10
    assert result.failed == 0


def test_the_reference_has_every_public_name() -> None:
    text = (ROOT / "docs" / "reference.md").read_text()
    inner = {"cut_off", "outside", "has_columns_of", "pieces", *dir(Mapping)}
    for cls in (Trace, Event, Stream, Loss, Table):
        section = text.partition(f"\n## {cls.__name__}\n")[2].partition("\n## ")[0]
        for name in dir(cls):
            if not name.startswith("_") and name not in inner:
                assert re.search(rf"`[^`]*\b{name}\b[^`]*`", section), f"{cls.__name__}.{name}"


def test_every_context_is_explained() -> None:
    section = (ROOT / "docs" / "recording.md").read_text().partition("## Contexts")[2].partition("\n## ")[0]
    for name in (*CONTEXTS, *CALLSTACKS):
        assert f"`{name}`" in section
