"""Log records as events."""

from __future__ import annotations

import logging

from boxtrace_client.event import Event
from boxtrace_client.fields import I32, STRING, TASK, U32

__all__ = ["Handler"]

_LOG = Event(
    "python:log",
    logger=STRING,
    level=I32,
    message=STRING,
    function=STRING,
    file=STRING,
    line=U32,
    task=TASK,
)


class Handler(logging.Handler):
    """Records log records as events ``python:log``; formats none that is not recorded."""

    def emit(self, record: logging.LogRecord) -> None:
        """Record one."""
        if not _LOG.enabled:
            return
        try:
            message = self.format(record)
            _LOG.record(record.name, record.levelno, message, record.funcName or "", record.pathname, record.lineno)
        except Exception:
            self.handleError(record)
