"""The channels of a recording, from its options: what events and contexts each has on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from boxtrace.errors import CapabilityError
from boxtrace.kernel.births import NAMING
from boxtrace.kernel.capabilities import exit_has_group_dead
from boxtrace.kernel.catalogue import Catalogue, build_catalogue
from boxtrace.kernel.event_type import EventType
from boxtrace.kernel.machine import machine_syscalls, machine_tracepoints
from boxtrace.kernel.probes import Probe
from boxtrace.kernel.statedump.events import CONTAINER_NUMBER, VM_MAP
from boxtrace.kernel.structures import kernel_structure
from boxtrace.kernel.syscalls.layout import LayoutOptions
from boxtrace.session.channel import Channel
from boxtrace.session.options import BIRTHS_CHANNEL, DUMP_CHANNEL, ChannelOptions, RecordOptions
from boxtrace.session.targets import Targets

__all__ = ["load_channels"]

_BIRTHS_SUBBUF = 1 << 16
"""Bytes of a sub-buffer of the channel of births: some hundred events."""
_APART = ("namespace_exit", "cgroup_mkdir", "cgroup_attach_task")
"""Names of births and deaths of which a busy channel has none, if there is a channel of births; of others it has those
that only the exits of system calls tell."""


def load_channels(
    options: RecordOptions, targets: Targets, probes: Sequence[Probe], warn: Callable[[str], None]
) -> list[Channel]:
    """Load the programs of every channel; nothing is recorded yet.

    Behind those that were asked for come that of a flight recording's state dumps, and that of births which name
    containers and which were not asked for by name.

    :param probes: they are the first channel's, as is the state dump of other recordings.
    :raises CapabilityError: if the kernel refuses.
    :raises FilterError: for a filter that means nothing for its events.
    """
    native, compat = machine_syscalls(warn)
    try:
        tracepoints = machine_tracepoints()
    except CapabilityError:
        tracepoints = None  # machine_syscalls has said that tracefs is missing
    group_dead = exit_has_group_dead()
    layout = LayoutOptions(buffer_bytes=options.buffer_bytes, environment=options.environment, structs=kernel_structure)
    dump_number = len(options.channels) if options.snapshot_dump else 0

    def describe(
        patterns: Sequence[str] | None, number: int, more: Sequence[EventType] = (), apart: Iterable[str] = ()
    ) -> Catalogue:
        return build_catalogue(
            native.values(),
            compat.values(),
            patterns,
            tracepoints=tracepoints,
            layout=layout,
            exit_has_group_dead=group_dead,
            state_dump=options.state_dump and number == dump_number,
            more=(*more, *(_more_events(options) if number == dump_number else ())),
            apart=apart,
            stream_id=number,
            probes=(
                (event.name, event.program, event.fields)
                for probe in (probes if number == 0 else ())
                for event in probe.events()
            ),
        )

    wanted = [
        (channel, describe(channel.events, number, apart=_APART if options.with_births and _is_busy(channel) else ()))
        for number, channel in enumerate(options.channels)
    ]
    births = _births(catalogue for channel, catalogue in wanted if not _is_busy(channel)) if options.with_births else ()
    if options.snapshot_dump:
        described = ChannelOptions(name=DUMP_CHANNEL, contexts=options.channels[0].contexts, num_subbuf=4)
        wanted.append((described, describe(None, dump_number)))
    if births:
        quiet = ChannelOptions(name=BIRTHS_CHANNEL, subbuf_size=_BIRTHS_SUBBUF)
        wanted.append((quiet, describe(None, len(wanted), births)))
    telling = len(wanted) - 1 if births else 0

    def load(number: int) -> Channel:
        channel, catalogue = wanted[number]
        dumping = options.snapshot_dump and number == dump_number
        return Channel.load(
            channel,
            number,
            catalogue,
            targets,
            exit_has_group_dead=group_dead,
            overwrite=options.flight_recorder and not dumping,
            account=not dumping,
            births=number == telling,
            clones_elsewhere=channel in options.channels and _is_busy(channel) and bool(births),
            dump_all=options.state_dump_all,
            probes=probes if number == 0 else (),
        )

    return [load(number) for number in range(len(wanted))]


def _is_busy(channel: ChannelOptions) -> bool:
    """Tell whether a channel records so much that births may be lost in it."""
    return not channel.events or "*" in channel.events


def _births(catalogues: Iterable[Catalogue]) -> tuple[EventType, ...]:
    """Return the births that name containers, but for those that these catalogues of other channels have."""
    recorded = {event.name for catalogue in catalogues for event in catalogue.classes}
    return tuple(event for event in NAMING if event.name not in recorded)


def _more_events(options: RecordOptions) -> tuple[EventType, ...]:
    """Return what the channel of the state dump records whatever events are asked for."""
    explained = any("container" in channel.contexts for channel in options.channels)
    chosen = {VM_MAP: options.state_dump_maps, CONTAINER_NUMBER: explained}
    return tuple(event for event, wanted in chosen.items() if wanted)
