"""What a trace must hold of containers that lived some 30 ms while it was recorded, and what it must not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from boxtrace.trace import Event
from boxtrace.trace.containers import TraceContainers
from support.recorder import Recorded, check_valid

RECORDED = ("-e", "syscall_*", "-e", "sched_process_*", "-e", "sched_switch", "--no-state-dump")


def check_newborns(recorded: Recorded, wanted: Iterable[str], program: str, *, alone: bool = True) -> None:
    """Check a trace, and that each container is there by its name, from the execve of its program to its exit.

    :param alone: that there is nothing else, too.
    """
    check_valid(recorded)
    check_lives(recorded, wanted, program, alone=alone)


def check_lives(recorded: Recorded, wanted: Iterable[str], program: str, *, alone: bool = True) -> None:
    """Check the same of a part of a recording, such as a snapshot."""
    containers = TraceContainers(recorded.trace)
    theirs: set[int] = set()
    counted = Counter[str]()
    for name in wanted:
        test = containers.selector(name)
        events = [event for event in recorded.events if test(event)]
        assert events, f"nothing of {name}"
        init = next(event.context["tid"] for event in events if event.name.startswith("syscall_"))
        own = [event for event in events if event.context["tid"] == init]
        calls = [event for event in own if event.name.startswith("syscall_")]
        assert calls, f"nothing of {name}"
        assert (calls[0].name, calls[0]["filename"]) == ("syscall_entry_execve", program), (
            f"{name} begins by {calls[0]}"
        )
        assert (calls[1].name, calls[1]["ret"]) == ("syscall_exit_execve", 0), f"{name}: {calls[1]}"
        assert [event.name for event in calls].count("syscall_entry_execve") == 1, name
        exits = [event for event in own if event.name == "sched_process_exit"]
        assert len(exits) == 1, f"{name} has {len(exits)} exits"
        assert exits[0]["tid"] == calls[0].context["tid"]
        theirs |= {event.context["tid"] for event in events}
        counted[name] = len(events)
    assert set(counted) == set(wanted)
    for event in recorded.events if alone else ():
        assert _tids(event) & theirs, f"an event of others: {event}"


def _tids(event: Event) -> set[int]:
    return {event.context["tid"], *(value for field, value in event.payload.items() if field.endswith("tid"))}
