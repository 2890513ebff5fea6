"""Kinds of option values."""

from __future__ import annotations

import click

from boxtrace.units import parse_seconds, parse_size

__all__ = ["Duration", "Size"]


class Size(click.ParamType[int]):
    """A number of bytes: ``65536``, ``64k``, ``1M``."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of bytes."""
        if isinstance(value, int):
            return value
        try:
            return parse_size(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Duration(click.ParamType[float]):
    """A time: ``10`` or ``10s``, ``200ms``, ``5m``, ``1h``."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number of seconds."""
        if isinstance(value, float):
            return value
        try:
            return parse_seconds(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
