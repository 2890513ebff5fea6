"""Tracepoints for Python programs, recorded by boxtrace from outside their containers.

See :class:`Event`, :class:`Handler` (logging) and :class:`span`; :func:`context_changed` after ``os.setuid``.
"""

from __future__ import annotations

from boxtrace_client.event import NATIVE, Event, context_changed, start
from boxtrace_client.fields import (
    F32,
    F64,
    HEX64,
    I8,
    I16,
    I32,
    I64,
    STRING,
    TASK,
    U8,
    U16,
    U32,
    U64,
    Field,
    array,
    enumeration,
    sequence,
)
from boxtrace_client.log import Handler
from boxtrace_client.spans import span

__all__ = [
    "F32",
    "F64",
    "HEX64",
    "I8",
    "I16",
    "I32",
    "I64",
    "NATIVE",
    "STRING",
    "TASK",
    "U8",
    "U16",
    "U32",
    "U64",
    "Event",
    "Field",
    "Handler",
    "array",
    "context_changed",
    "enumeration",
    "sequence",
    "span",
]

start()
