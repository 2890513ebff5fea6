"""What a trace holds: who recorded it and when, its streams, how many events of each type, what was lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from boxtrace.containers.events import LEFT_OUT
from boxtrace.containers.text import clean
from boxtrace.ctf.model import Environment
from boxtrace.errors import TraceFormatError
from boxtrace.trace.stream import Loss, Stream
from boxtrace.trace.table import TableSources, read_tables
from boxtrace.trace.told import PART
from boxtrace.trace.trace import Trace, open_trace
from boxtrace.units import Nanoseconds

__all__ = ["LeftOut", "StreamSummary", "TraceSummary", "summarize"]


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """A stream; sizes in bytes, times in ns from the clock's origin."""

    path: Path
    packets: int
    size: int
    content: int
    begin: Nanoseconds | None
    end: Nanoseconds | None
    discarded: int | None
    """Events that the tracer discarded in all of the stream's life; None if it does not tell."""
    lost_packets: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Events of one container and event rule that are not in the trace, as its recording counted them.

    :ivar container: its name; empty for everything else.
    :ivar rule: the pattern of its event names; empty for events of no rule.
    :ivar skipped: at most so many came amid the recording of one of their kind; of all containers together.
    """

    container: str
    container_id: str
    channel: str
    rule: str
    filtered: int
    sampled: int
    limited: int
    discarded: int
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """Everything that ``boxtrace info`` tells. ``failures`` say what could not be read, and is not counted."""

    path: Path
    environments: tuple[tuple[Path, Environment], ...]
    """Directory and environment of each trace."""
    streams: tuple[StreamSummary, ...]
    events: tuple[tuple[str, int], ...]
    """Types of events that occur and how often, most frequent first."""
    losses: tuple[Loss, ...]
    failures: tuple[TraceFormatError, ...]
    left_out: tuple[LeftOut, ...] = ()
    """What was not recorded, by container and event rule, where a recording tells."""

    @property
    def begin(self) -> Nanoseconds | None:
        """When the first packet begins."""
        return min((stream.begin for stream in self.streams if stream.begin is not None), default=None)

    @property
    def end(self) -> Nanoseconds | None:
        """When the last packet ends."""
        return max((stream.end for stream in self.streams if stream.end is not None), default=None)

    @property
    def discarded(self) -> int:
        """How many events the tracer discarded, in all streams."""
        return sum(stream.discarded or 0 for stream in self.streams)


def summarize(trace: Trace, progress: Callable[[int], None] = lambda done: None) -> TraceSummary:
    """Read all of a trace, and return what it holds. Raises nothing because of damage: that is in ``failures``.

    :param progress: told how many bytes of packets have been decoded since it was told before.
    """
    counts: Counter[str] = Counter()
    failures = list(trace.failures)
    sources = TableSources(trace.streams, trace.event_names(), ())
    for tables in read_tables(sources, failures=failures, progress=progress):
        counts.update({name: len(table) for name, table in tables.items() if len(table)})
    left_out = tuple(_read_left_out(trace, failures)) if counts[LEFT_OUT] else ()
    return TraceSummary(
        path=trace.path,
        environments=tuple((path, part.environment) for path, part in trace.parts),
        streams=tuple(_stream(stream) for stream in trace.streams),
        events=tuple(counts.most_common()),
        losses=tuple(trace.losses()),
        failures=tuple(failures),
        left_out=left_out,
    )


def _read_left_out(trace: Trace, failures: list[TraceFormatError]) -> Iterator[LeftOut]:
    numbers = ("filtered", "sampled", "limited", "discarded")
    for directory in (path for path, _ in trace.parts if path.name == PART):
        try:
            for event in open_trace(directory).events():
                if event.name == LEFT_OUT:
                    name, identifier, channel, rule = (
                        clean(event.payload[key]) for key in ("name", "id", "channel", "rule")
                    )
                    filtered, sampled, limited, discarded = (int(event.payload[key]) for key in numbers)
                    skipped = int(event.payload.get("skipped", 0))  # older traces do not tell
                    yield LeftOut(name, identifier, channel, rule, filtered, sampled, limited, discarded, skipped)
        except (TraceFormatError, KeyError) as error:
            if isinstance(error, TraceFormatError):
                failures.append(error)


def _stream(stream: Stream) -> StreamSummary:
    heads = [packet.bounds for packet in stream.packets]
    return StreamSummary(
        path=stream.path,
        packets=len(heads),
        size=sum(head.size // 8 for head in heads),
        content=sum(head.content // 8 for head in heads),
        begin=stream.begin,
        end=stream.end,
        discarded=heads[-1].discarded,
        lost_packets=sum(loss.count or 0 for loss in stream.losses() if loss.kind == "packet"),
    )
