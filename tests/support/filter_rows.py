"""The verdict of the native core on random events, of records that it decodes."""

from array import array

from boxtrace._native import CtfEventMerger
from boxtrace.ctf.model import StreamClass
from boxtrace.ctf.plan_compile import StreamPlan
from boxtrace.filters import Filter
from boxtrace.trace import Event
from boxtrace.trace.decoder import EVER, StreamDecoder
from boxtrace.trace.filtering import RowFilter
from support.filter_expressions import STREAM


class NativeRows:
    """Records of the one event class of a stream class."""

    def __init__(self, stream: StreamClass) -> None:
        self._stream = stream
        self.decoder = StreamDecoder(StreamPlan(stream, None, lambda event: lambda name: True, raw_text=True))

    def verdict(self, wanted: Filter, data: bytes) -> bool:
        """Decode one record, and tell whether the filter lets it pass."""
        native = self.decoder.known.native
        _, rows = RowFilter(self._stream, wanted).made_for(self.decoder, self.decoder.known)
        merger = CtfEventMerger(Event)
        merger.add_stream([(None, event.name, {}) for event in self._stream.events])
        # One packet: offset, content and body in bits, clock, the stream's number.
        packets = array("q", (0, len(data) * 8, 0, 0, 0))
        assert native.decode_events(merger, 0, data, packets, *EVER, (), rows) is None
        merger.finish(0)
        events, _ = merger.next(2)
        return len(events) == 1


ROWS = NativeRows(STREAM)
"""Those of :mod:`support.filter_expressions`."""
