"""The verdict of the native core on random events (:mod:`support.filter_expressions`), of records that it decodes."""

from array import array
from typing import Any

from boxtrace._native import CtfEventMerger
from boxtrace.ctf.plan_compile import StreamPlan
from boxtrace.filters import Filter
from boxtrace.trace import Event
from boxtrace.trace.decoder import EVER, StreamDecoder
from boxtrace.trace.filtering import RowFilter
from support.filter_expressions import EVENT, STREAM, memory, used

DECODER = StreamDecoder(StreamPlan(STREAM, None, lambda event: lambda name: True, raw_text=True))


def native_verdict(wanted: Filter, values: dict[str, Any]) -> bool:
    """Decode the values from memory, and tell whether the filter lets them pass."""
    native = DECODER.known.native
    _, rows = RowFilter(STREAM, wanted).made_for(DECODER, DECODER.known)
    merger = CtfEventMerger(Event)
    merger.add_stream([(None, EVENT.name, {})])
    # One packet: offset, content and body in bits, clock, the stream's number.
    packets = array("q", (0, used(values) * 8, 0, 0, 0))
    assert native.decode_events(merger, 0, memory(values), packets, *EVER, (), rows) is None
    merger.finish(0)
    events, _ = merger.next(2)
    return len(events) == 1
