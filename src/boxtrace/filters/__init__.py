"""Filter expressions in LTTng's language: parsed, checked against event classes, run where events are read."""

from __future__ import annotations

from boxtrace.filters.filter import Filter

__all__ = ["Filter"]
