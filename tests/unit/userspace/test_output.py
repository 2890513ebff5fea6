"""The user domain's metadata, in either version of CTF."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from boxtrace.ctf.fields import ByteOrder, IntegerField, Member, StructField
from boxtrace.ctf.metadata import read_metadata
from boxtrace.ctf.model import EventClass
from boxtrace.session.clock import monotonic_clock
from boxtrace.userspace.layout import user_trace_class
from boxtrace.userspace.output import UserOutput


@pytest.mark.parametrize("ctf2", [False, True])
def test_metadata_grows_with_the_event_types(tmp_path: Path, ctf2: bool) -> None:
    clock = monotonic_clock()
    trace = user_trace_class(name="t", hostname="h", uuid=uuid4(), clock=clock, created=datetime.now(UTC), version="1")
    output = UserOutput(tmp_path / "ust", trace, ctf2=ctf2)
    number = IntegerField(size=32, align=8, byte_order=ByteOrder.LITTLE)
    output.add_event(EventClass(id=7, name="app:it", fields=StructField(members=(Member("n", number),))))
    output.close()
    content = (tmp_path / "ust" / "metadata").read_bytes()
    assert content.startswith(b"\x1e{") is ctf2
    read = read_metadata(tmp_path / "ust" / "metadata")
    assert read.uuid == trace.uuid
    assert [(event.id, event.name) for stream in read.streams for event in stream.events] == [(7, "app:it")]
