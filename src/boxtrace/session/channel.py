"""A channel of a running recording: its programs, its rings, its events in the metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from boxtrace.consumer.rings import PacketSink, RingLayout, Rings, Wakeups
from boxtrace.containers.model import Container
from boxtrace.ctf.lttng import CLOCK_NAME, EVENT_HEADER_LARGE, PACKET_CONTEXT, PacketHeader
from boxtrace.ctf.model import StreamClass
from boxtrace.kernel.catalogue import Catalogue
from boxtrace.kernel.contexts import context_layout
from boxtrace.kernel.image import ProgramConfig
from boxtrace.kernel.probes import Probe, attach_probes
from boxtrace.kernel.programs import Programs
from boxtrace.session.accounts import Accounts
from boxtrace.session.clock import monotonic_now
from boxtrace.session.options import ChannelOptions, ContainerCount
from boxtrace.session.targets import Targets

__all__ = ["Channel", "sum_counts"]

_RULES = ("syscall_*", "sched_*", "*")
"""By which a channel without patterns counts what is left out."""


@dataclass(slots=True)
class Channel:
    """The programs of one channel and the rings that they fill."""

    options: ChannelOptions
    stream_id: int
    programs: Programs
    rings: Rings
    wakeups: Wakeups
    accounts: Accounts
    probes: Sequence[Probe] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    """What is counted as lost because the kernel skipped it, by program."""

    @property
    def tells_births(self) -> bool:
        """Whether its ring ``births`` tells of births and deaths at once."""
        return self.programs.image.config.births

    @classmethod
    def load(
        cls,
        options: ChannelOptions,
        stream_id: int,
        catalogue: Catalogue,
        targets: Targets,
        *,
        exit_has_group_dead: bool,
        overwrite: bool,
        account: bool = True,
        births: bool = False,
        clones_elsewhere: bool = False,
        dump_all: bool = False,
        probes: Sequence[Probe] = (),
    ) -> Channel:
        """Load the programs and prepare the rings; nothing is recorded yet.

        :raises CapabilityError: if the kernel refuses.
        :raises FilterError: for a filter that means nothing for its events.
        :raises UsageError: for a limit that means nothing for its events.
        """
        programs = Programs(
            ProgramConfig(
                catalogue=catalogue,
                contexts=context_layout(options.contexts),
                subbuf_size=options.subbuf_size,
                num_subbuf=options.num_subbuf,
                packet_header=PacketHeader.SIZE,
                cgroup_hierarchy=targets.hierarchy_index,
                account=account,
                follow=targets.selection.follow,
                newborns=bool(targets.rules),
                exit_has_group_dead=exit_has_group_dead,
                overwrite=overwrite,
                births=births,
                clones_elsewhere=clones_elsewhere,
                dump_all=dump_all,
                patterns=options.events or (_RULES if account else ()),
                filters=options.filters,
                limits=options.limits,
            )
        )
        rings = Rings(
            programs.image.packets_fd,
            programs.image.map_fd(".data.cpus"),
            RingLayout(
                cpus=programs.image.cpus,
                subbuf_size=options.subbuf_size,
                num_subbuf=options.num_subbuf,
                slack=programs.image.limits["BT_RECORD_SLACK"],
                header=PacketHeader.SIZE,
                cpu_size=programs.image.struct_size("bt_cpu"),
                cpu=programs.image.struct_offsets("bt_cpu"),
                packet=programs.image.struct_offsets("bt_packet"),
            ),
            accounts_per_cpu=programs.image.limits["BT_ACCOUNTS"],
            counts_per_cpu=programs.image.counts_per_cpu,
            now=monotonic_now(),
        )
        wakeups = Wakeups(programs.image.map_fd("wakeups"))
        return cls(options, stream_id, programs, rings, wakeups, Accounts(programs, rings), probes)

    def attach(self) -> None:
        """Attach programs and probes: from here on events are recorded.

        :raises CapabilityError: if the kernel refuses one.
        """
        self.programs.attach()
        self.programs.keep_attached(attach_probes(self.programs, self.probes))

    def stream_class(self) -> StreamClass:
        """Describe the channel's streams for the metadata."""
        config = self.programs.image.config
        return StreamClass(
            id=self.stream_id,
            packet_context=PACKET_CONTEXT,
            event_header=EVENT_HEADER_LARGE,
            event_context=config.contexts.field(),
            clock=CLOCK_NAME,
            events=config.catalogue.classes,
        )

    def flush(self) -> None:
        """Close every CPU's packet that has a record in it."""
        for cpu in range(self.programs.image.cpus):
            self.programs.flush(cpu)

    def close_packets(self, sink: PacketSink) -> None:
        """Close every CPU's packet, with records or without, and hand over what is complete."""
        for cpu in range(self.programs.image.cpus):
            self.rings.drain(sink)
            self.programs.flush(cpu, force=self.rings.used(cpu))
        self.rings.drain(sink)

    def unfinished(self) -> bool:
        """Whether a packet that was closed has not been handed over."""
        return any(map(self.rings.pending, range(self.programs.image.cpus)))

    def count_misses(self) -> Mapping[str, int]:
        """With the programs detached: count as lost what the kernel skipped; return how much, by program."""
        self._look_at_misses()
        self.rings.add_discarded(0, sum(self.skipped.values()))
        return self.skipped

    def note_misses(self) -> None:
        """While recording: let the next snapshot tell what the kernel has skipped so far."""
        self._look_at_misses()
        self.rings.skipped = sum(self.skipped.values())

    def _look_at_misses(self) -> None:
        self.skipped = {name: count for name, count in self.programs.recursion_misses().items() if count}


def sum_counts(channels: Sequence[Channel]) -> tuple[ContainerCount, ...]:
    """Return the counts per container of all channels together, the most first, everything else last."""
    totals: dict[object, tuple[Container | None, int, int]] = {}
    for channel in channels:
        for count in channel.accounts.counts():
            who = None if count.container is None else count.container.life
            _, recorded, discarded = totals.get(who, (None, 0, 0))
            totals[who] = (count.container, recorded + count.recorded, discarded + count.discarded)
    counts = [ContainerCount(*total) for total in totals.values()]
    return tuple(sorted(counts, key=lambda count: (count.container is None, -count.recorded - count.discarded)))
