"""Options that several commands share: which events of a trace are meant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeVar

import click

from boxtrace.errors import UsageError
from boxtrace.units import Nanoseconds

if TYPE_CHECKING:
    from boxtrace.filters import Filter
    from boxtrace.trace import Event, Trace

__all__ = ["expression_filter", "name_test", "parse_time", "selection", "selection_options"]

_Command = TypeVar("_Command", bound=Callable[..., object])


def selection_options(command: _Command) -> _Command:
    """Add ``--event``, ``--container``, ``--filter``, ``--begin`` and ``--end`` to a command."""
    for option in reversed(
        (
            click.option("--event", "names", multiple=True, metavar="GLOB", help="Only events of these names."),
            click.option(
                "--container", "containers", multiple=True, metavar="NAME|ID|PID_NS", help="Only events of containers."
            ),
            click.option(
                "--filter", "expression", metavar="EXPR", help="Only events that match, in LTTng's filter language."
            ),
            click.option("--begin", metavar="TIME", help="Only events from then on: ns, ISO 8601, or time of day."),
            click.option("--end", metavar="TIME", help="Only events up to then."),
        )
    ):
        command = option(command)
    return command


def parse_time(text: str | None, trace: Trace) -> Nanoseconds | None:
    """Return a time that a user wrote, in ns since the epoch.

    A number is ns; ``2026-11-23T11:36:31.15`` is local time unless it has a zone; ``11:36:31.15`` is on the day when
    the trace begins. Fractions may have nine digits.

    :raises UsageError: if it is none of these.
    """
    if text is None:
        return None
    if text.isdigit():
        return Nanoseconds(int(text))
    main, dot, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    zone = rest[len(digits) :]
    try:
        if "T" in main or "-" in main:
            moment = datetime.fromisoformat(main + zone)
        else:
            clock = datetime.strptime(main + zone, "%H:%M:%S")
            first = min((stream.begin for stream in trace.streams if stream.begin is not None), default=0)
            day = datetime.fromtimestamp(first // 1_000_000_000).replace(hour=0, minute=0, second=0, microsecond=0)
            moment = day + timedelta(hours=clock.hour, minutes=clock.minute, seconds=clock.second)
        if dot and not digits:
            raise ValueError("no digits after the point")
    except ValueError as error:
        raise UsageError(f"{text!r} is not a time", hint="11:36:31.150, 2026-11-23T11:36:31, or ns") from error
    return Nanoseconds(int(moment.timestamp()) * 1_000_000_000 + int(digits[:9].ljust(9, "0") or 0))


def name_test(globs: tuple[str, ...]) -> Callable[[str], bool]:
    """Return what tells whether events of a name are meant: all are if there is no glob."""
    known: dict[str, bool] = {}

    def wanted(name: str) -> bool:
        answer = known.get(name)
        if answer is None:
            answer = known[name] = not globs or any(fnmatchcase(name, glob) for glob in globs)
        return answer

    return wanted


def selection(
    trace: Trace,
    names: tuple[str, ...],
    containers: tuple[str, ...],
    *,
    arrivals: bool = False,
) -> Callable[[Event], bool] | None:
    """Return what tells whether an event has a name and a container that are meant, None if all have.

    :param arrivals: as of ``TraceContainers.selector``.
    """
    tests: list[Callable[[Event], bool]] = []
    if names:
        named = name_test(names)
        tests.append(lambda event: named(event.name))
    if containers:
        from boxtrace.trace.containers import TraceContainers

        known_containers = TraceContainers(trace)
        chosen = [known_containers.selector(word, arrivals=arrivals) for word in containers]
        tests.append(lambda event: any(test(event) for test in chosen))
    if not tests:
        return None
    return lambda event: all(test(event) for test in tests)


def expression_filter(trace: Trace, expression: str) -> Filter:
    """Return a filter that means something for one event of the trace at least.

    :raises FilterError: if it is none.
    """
    from boxtrace.filters import Filter

    wanted = Filter(expression)
    wanted.check(stream for _, part in trace.parts for stream in part.streams)
    return wanted
