"""The limits of a running recording's event rules, changed while it runs (``boxtrace limit``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from boxtrace.errors import SelectionError, UsageError
from boxtrace.kernel.rules import parse_limit
from boxtrace.kernel.selection import LimitRule
from boxtrace.session.channel import Channel

__all__ = ["Limiting"]


class Limiting:
    """Answers commands about the limits of these channels' rules."""

    def __init__(self, channels: Sequence[Channel]) -> None:
        self._channels = channels

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer ``limit`` with ``events`` and ``values``, or ``limits``: each rule's channel, pattern, limits.

        :raises BoxtraceError: if it means nothing; the limits are what they were.
        """
        if request["command"] == "limit":
            events, values = request.get("events"), request.get("values")
            if not isinstance(events, str) or not isinstance(values, list):
                raise UsageError("events is a pattern, values are a list of texts")
            self._change(events, parse_limit(events, map(str, values)))
        return {
            "limits": [
                [channel.options.name, limit.events, *limit.texts()]
                for channel in self._channels
                if channel.programs.image.rules is not None
                for limit in channel.programs.image.rules.limits.values()
            ]
        }

    def _change(self, events: str, limit: LimitRule) -> None:
        plans = [
            (channel, channel.programs.image.rules.with_limit(limit))
            for channel in self._channels
            if channel.programs.image.rules is not None and events in channel.programs.image.rules.limited_patterns
        ]
        if not plans:
            raise SelectionError(
                f"no rule {events!r} of this recording has a limit",
                hint="only one that had a limit when the recording began can get another: boxtrace limit lists them",
            )
        for channel, plan in plans:
            channel.programs.limit(plan)
