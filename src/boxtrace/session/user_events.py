"""Which events of applications a running recording takes (``boxtrace enable-event``, ``disable-event``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from boxtrace.errors import UsageError
from boxtrace.session.user import UserDomain
from boxtrace.userspace.rules import EventRules

__all__ = ["COMMANDS", "UserEvents"]

COMMANDS = ("enable-event", "disable-event", "list-events")


class UserEvents:
    """The rules of a running recording.

    :param rules: those that it begins with.
    :param domain: None if it takes no events of applications.
    """

    def __init__(self, rules: EventRules, domain: UserDomain | None) -> None:
        self._rules = rules
        self._domain = domain

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a command: ``enable-event`` or ``disable-event`` with ``patterns``, or ``list-events``.

        :raises UsageError: if it means nothing; the rules are what they were.
        """
        patterns = request.get("patterns", [])
        if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
            raise UsageError("patterns are a list of texts")
        if self._domain is None:
            raise UsageError("this recording takes no events of applications", hint="boxtrace record --user 'app:*'")
        if wrong := [pattern for pattern in patterns if pattern.startswith("!") or not pattern]:
            raise UsageError(f"{wrong[0]!r} is no pattern of names", hint="boxtrace disable-event excludes")
        if request["command"] != "list-events":
            sign = "" if request["command"] == "enable-event" else "!"
            for pattern in patterns:
                self._rules = self._rules.with_pattern(sign + pattern)
            self._domain.enable(self._rules)
        found: dict[bool, list[str]] = {True: [], False: []}
        for name in sorted(self._domain.event_names()):
            found[self._rules.enabled(name)].append(name)
        return {"rules": self._rules.patterns, "enabled": found[True], "disabled": found[False]}
