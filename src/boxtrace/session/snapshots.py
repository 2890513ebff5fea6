"""The state dump of a snapshot, so that each stands alone: what exists when it is taken, after the events before it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from boxtrace.consumer.rings import PacketSink
from boxtrace.errors import BoxtraceError
from boxtrace.session.channel import Channel

__all__ = ["SnapshotDump"]

_DRAIN_SECONDS = 0.005
_COMPLETION_SECONDS = 2.0


class SnapshotDump:
    """Dumps the state into a channel of its own, where the events of a flight recording cannot overwrite it.

    :param channel: in which nothing else is recorded.
    :param dump: records one whole dump.
    """

    def __init__(self, channel: Channel, dump: Callable[[], None]) -> None:
        self.channel = channel
        self._dump = dump

    def write(self, sink: PacketSink) -> None:
        """Make a dump and hand its packets over while it is being made: the rings need not hold all of it.

        :raises BoxtraceError: if the kernel refuses a program, or a record is never finished.
        """
        failures: list[BaseException] = []

        def dump() -> None:
            try:
                self._dump()
            except (BoxtraceError, OSError) as error:
                failures.append(error)

        dumping = threading.Thread(target=dump, name="boxtrace-snapshot-dump", daemon=True)
        dumping.start()
        while dumping.is_alive():
            self.channel.rings.drain(sink)
            dumping.join(_DRAIN_SECONDS)
        self.channel.close_packets(sink)
        deadline = time.monotonic() + _COMPLETION_SECONDS
        while self.channel.unfinished():
            if time.monotonic() > deadline:
                raise BoxtraceError("the state dump was never finished")
            time.sleep(_DRAIN_SECONDS)
            self.channel.rings.drain(sink)
        if failures:
            raise BoxtraceError(f"the state could not be dumped: {failures[0]}") from failures[0]
