"""Where a trace is put: nobody else's is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxtrace.errors import OutputError
from boxtrace.session.output import TraceDirectory
from support.ctf_sample import TRACE


def test_a_trace_that_another_recording_has_made_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    first, second = TraceDirectory(path), TraceDirectory(path)
    first.create(TRACE)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(OutputError, match="cannot create the trace"):
        second.create(TRACE)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before != {}
