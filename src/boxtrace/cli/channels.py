"""Options that belong to a channel: those before ``--channel NAME`` are that channel's, the rest the default one's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import click

from boxtrace.cli.types import Size
from boxtrace.errors import UsageError
from boxtrace.kernel.contexts import DEFAULT_CONTEXTS
from boxtrace.kernel.rules import parse_rate, parse_sample
from boxtrace.kernel.selection import FilterRule, LimitRule
from boxtrace.session.config import context_names
from boxtrace.session.options import ChannelOptions

__all__ = ["ChannelCommand", "chosen_channels"]

_META = "boxtrace.channels"
_OPTIONS = {
    "-e": "event",
    "--event": "event",
    "--filter": "filter",
    "--limit": "limit",
    "--sample": "sample",
    "--context": "context",
    "--subbuf-size": "subbuf-size",
    "--num-subbuf": "num-subbuf",
    "--channel": "channel",
}


@dataclass(slots=True)
class _Group:
    """What stood between two ``--channel`` options."""

    events: list[str] = field(default_factory=list)
    filters: list[FilterRule] = field(default_factory=list)
    limits: list[LimitRule] = field(default_factory=list)
    contexts: str | None = None
    subbuf_size: str | None = None
    num_subbuf: str | None = None
    used: bool = False

    @property
    def _latest(self) -> str:
        """The rule that an option after ``-e`` is about."""
        return self.events[-1] if self.events else "*"

    def take(self, option: str, value: str) -> None:
        self.used = True
        if option == "event":
            self.events.append(value)
        elif option == "filter":
            self.filters.append(FilterRule(self._latest, value))
        elif option == "limit":
            self.limits.append(LimitRule(self._latest, rate=parse_rate(value)))
        elif option == "sample":
            self.limits.append(LimitRule(self._latest, sample=parse_sample(value)))
        elif option == "context":
            self.contexts = value
        elif option == "subbuf-size":
            self.subbuf_size = value
        else:
            self.num_subbuf = value

    def channel(self, name: str) -> ChannelOptions:
        defaults = ChannelOptions()
        return ChannelOptions(
            name=name,
            events=tuple(self.events) or defaults.events,
            contexts=DEFAULT_CONTEXTS if self.contexts is None else context_names(self.contexts),
            filters=tuple(self.filters),
            limits=tuple(self.limits),
            subbuf_size=defaults.subbuf_size if self.subbuf_size is None else Size()(self.subbuf_size),
            num_subbuf=defaults.num_subbuf if self.num_subbuf is None else click.INT(self.num_subbuf),
        )


class ChannelCommand(click.Command):
    """A command that keeps the order of channel options, which click does not."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Note the channel options in their order, then parse as usual."""
        ctx.meta[_META] = list(_channel_options(args))
        return super().parse_args(ctx, args)


def _channel_options(arguments: Sequence[str]) -> list[tuple[str, str]]:
    found = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            break
        option, equals, value = word.partition("=")
        if option in _OPTIONS:
            found.append((_OPTIONS[option], value if equals else next(words, "")))
        elif word.startswith("-e") and len(word) > 2:
            found.append(("event", word[2:]))
    return found


def chosen_channels(ctx: click.Context) -> tuple[ChannelOptions, ...] | None:
    """Return the channels that the command line describes; None if it has no channel option at all.

    :raises UsageError: for a channel without event rules.
    """
    channels = []
    group = _Group()
    for option, value in ctx.meta[_META]:
        if option != "channel":
            group.take(option, value)
            continue
        if not group.events:
            raise UsageError(
                f"channel {value!r} has no event rule",
                hint="rules come before their channel: -e 'sched_*' --channel sched",
            )
        channels.append(group.channel(value))
        group = _Group()
    if group.used:
        channels.append(group.channel(ChannelOptions().name))
    return tuple(channels) or None
