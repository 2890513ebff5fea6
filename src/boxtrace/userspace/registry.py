"""The event types of all clients of a host: equal declarations have one number, and one entry in the metadata."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from boxtrace import _native
from boxtrace.ctf.model import EventClass
from boxtrace.userspace.contexts import EventContexts
from boxtrace.userspace.declarations import Declaration, parse_declaration
from boxtrace.userspace.output import UserOutput
from boxtrace.userspace.protocol import ProtocolError, Reason, Register
from boxtrace.userspace.rules import EventRules

__all__ = ["TypeRegistry"]

_TENANT_TYPES: Final = 4096
_TENANT_BYTES: Final = 4 << 20


@dataclass(slots=True)
class _Type:
    """An event type.

    :ivar declaration: what the trace has to say of it; None once it has.
    :ivar contexts: those that its records have, a mask.
    """

    name: str
    declaration: Declaration | None
    contexts: int
    enabled: bool = False


class TypeRegistry:
    """Gives event types their numbers. The trace tells of those that were enabled at some time.

    :param rules: which are enabled.
    :param contexts: those that records may have.
    """

    def __init__(self, rules: EventRules, output: UserOutput, contexts: EventContexts) -> None:
        self._rules = rules
        self._output = output
        self._contexts = contexts
        self._numbers: dict[tuple[bytes, int], int] = {}
        self._types: list[_Type] = []
        self._counts: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self.records = _native.UserRecords()

    def register(self, message: Register, tenant: str, contexts: int = 0) -> int:
        """Return the number of an event type.

        :param tenant: on whose account a new one goes.
        :param contexts: mask of those that its records have.
        :raises ProtocolError: with the reason that the client is to be told.
        :raises OutputError: if the metadata cannot be written.
        """
        known = self._numbers.get((message.body, contexts))
        if known is not None:
            return known
        declaration = parse_declaration(message)
        if self._counts[tenant] >= _TENANT_TYPES or self._bytes[tenant] + len(message.body) > _TENANT_BYTES:
            raise ProtocolError("too many event types", Reason.LIMIT)
        number = len(self._types)
        self._types.append(_Type(declaration.name, declaration, contexts))
        self._numbers[message.body, contexts] = number
        self._counts[tenant] += 1
        self._bytes[tenant] += len(message.body)
        self._decide(number)
        return number

    def enabled(self, number: int) -> bool:
        """Tell whether events of a type are to be recorded now."""
        return self._types[number].enabled

    def apply(self, rules: EventRules) -> dict[int, bool]:
        """Have these rules count from now on; return the types that are enabled now, or disabled, and were not.

        :raises OutputError: if the metadata cannot be written.
        """
        self._rules = rules
        before = [each.enabled for each in self._types]
        for number in range(len(before)):
            self._decide(number)
        return {number: not was for number, was in enumerate(before) if self.enabled(number) != was}

    def names(self) -> frozenset[str]:
        """Return the names of all types, from any thread."""
        return frozenset(each.name for each in tuple(self._types))

    def _decide(self, number: int) -> None:
        kind = self._types[number]
        kind.enabled = self._rules.enabled(kind.name)
        if kind.enabled and kind.declaration is not None:
            told, context = kind.declaration, self._contexts.fields(kind.contexts)
            self._output.add_event(
                EventClass(id=number, name=told.name, fields=told.fields, loglevel=told.loglevel, context=context)
            )
            self.records.add(number, [*self._contexts.parts(kind.contexts), *told.parts])
            kind.declaration = None
