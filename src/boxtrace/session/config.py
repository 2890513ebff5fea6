"""A recording described by a TOML file, with the names of the command line's options, and values as there.

::

    duration = "30s"
    container = ["web"]
    flight-recorder = true

    [[channel]]
    name = "sched"
    event = ["sched_*"]
    filter = { "sched_switch" = "$ctx.pid_ns == 4026532572" }
    limit = { "sched_*" = "1000/s" }
    context = ["procname", "tid", "pid_ns"]
    subbuf-size = "256k"
    num-subbuf = 16

Options of a channel that stand outside of any are the default channel's, ``channel0``.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from boxtrace.errors import FilterError, UsageError
from boxtrace.filters import Filter
from boxtrace.kernel.contexts import context_layout
from boxtrace.kernel.rules import parse_rate, parse_sample
from boxtrace.kernel.selection import FilterRule, LimitRule
from boxtrace.kernel.trackers import KINDS, TrackerId, parse_id
from boxtrace.session.options import ChannelOptions, RecordOptions
from boxtrace.units import parse_seconds, parse_size

__all__ = ["CHANNEL_KEYS", "KEYS", "context_names", "load_config"]

T = TypeVar("T")


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("not true or false")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("not a whole number")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not a text")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError("not a list of texts")
    return tuple(value)


def _ids(word: str, value: object) -> tuple[TrackerId, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str | int) for each in value):
        raise ValueError("not a list of numbers and texts")
    return tuple(parse_id(word, str(each)) for each in value)


def _parsed(parse: Callable[[str], T], text: str, form: str) -> T:
    try:
        return parse(text)
    except ValueError:
        raise ValueError(f"not {form}") from None


def _size(value: object) -> int:
    if isinstance(value, str):
        return _parsed(parse_size, value, "a size such as 64k or 1M")
    return _number(value)


def _seconds(value: object) -> float:
    if isinstance(value, str):
        return _parsed(parse_seconds, value, "a time such as 10s, 200ms or 5m")
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError("not a time in seconds, or such as 10s, 200ms or 5m")
    return float(value)


def _scope(value: object) -> bool:
    if value not in ("selected", "all"):
        raise ValueError("neither 'selected' nor 'all'")
    return value == "all"


def _filters(value: object) -> tuple[FilterRule, ...]:
    filters = _by_pattern(value, "expressions")
    for expression in filters.values():
        Filter(expression)
    return tuple(FilterRule(events, expression) for events, expression in filters.items())


def _by_pattern(value: object, what: str) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise ValueError(f"not a table of event patterns and their {what}")
    return value


def _rates(value: object) -> tuple[LimitRule, ...]:
    rates = _by_pattern(value, "rates")
    return tuple(LimitRule(events, rate=parse_rate(text)) for events, text in rates.items())


def _samples(value: object) -> tuple[LimitRule, ...]:
    samples = _by_pattern(value, "samples")
    return tuple(LimitRule(events, sample=parse_sample(text)) for events, text in samples.items())


def context_names(value: object) -> tuple[str, ...]:
    """Return the names of contexts, given as one text with commas or a list of texts; ``none`` is none.

    :raises ValueError: for anything else.
    """
    names = _text(value).split(",") if not isinstance(value, list) else _texts(value)
    names = tuple(name.strip() for name in names if name.strip())
    return () if names == ("none",) else names


def _contexts(value: object) -> tuple[str, ...]:
    names = context_names(value)
    context_layout(names)
    return names


@dataclass(frozen=True, slots=True)
class _Key:
    """An option: the parameter that it is, and what makes its value; that raises ValueError."""

    parameter: str
    convert: Callable[[object], Any]


CHANNEL_KEYS: Mapping[str, _Key] = {
    "name": _Key("name", _text),
    "event": _Key("events", _texts),
    "filter": _Key("filters", _filters),
    "limit": _Key("limits", _rates),
    "sample": _Key("limits", _samples),
    "context": _Key("contexts", _contexts),
    "subbuf-size": _Key("subbuf_size", _size),
    "num-subbuf": _Key("num_subbuf", _number),
}
"""Options of a channel, parameters of :class:`ChannelOptions`."""

KEYS: Mapping[str, _Key] = {
    "output": _Key("output", lambda value: Path(_text(value))),
    "container": _Key("containers", _texts),
    "image": _Key("images", _texts),
    "label": _Key("labels", _texts),
    "new-containers": _Key("new_containers", _flag),
    "host-only": _Key("host_only", _flag),
    "cgroup": _Key("cgroups", _texts),
    **{word: _Key("ids", partial(_ids, word)) for word in KINDS},
    "command": _Key("command", _texts),
    "user": _Key("user", _texts),
    "user-context": _Key("user_contexts", context_names),
    "lttng-ust": _Key("lttng_ust", _texts),
    "follow": _Key("follow", _flag),
    "flush": _Key("flush_seconds", _seconds),
    "duration": _Key("duration", _seconds),
    "flight-recorder": _Key("flight_recorder", _flag),
    "format": _Key("format", _text),
    "function": _Key("functions", _texts),
    "uprobe": _Key("user_functions", _texts),
    "usdt": _Key("user_markers", _texts),
    "buffer-bytes": _Key("buffer_bytes", _size),
    "environment": _Key("environment", _flag),
    "births": _Key("births", _flag),
    "no-state-dump": _Key("state_dump", lambda value: not _flag(value)),
    "state-dump": _Key("state_dump_all", _scope),
    "state-dump-maps": _Key("state_dump_maps", _flag),
    "state-dump-every": _Key("state_dump_every", _seconds),
}
"""Options of the whole recording, parameters of :class:`RecordOptions`."""


def load_config(path: Path) -> dict[str, Any]:
    """Return what the file gives, as keyword arguments of :class:`RecordOptions`.

    :raises UsageError: if it cannot be read, or has a key or a value that means nothing; it tells the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    tables = document.pop("channel", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UsageError(f"{path}: channels are written [[channel]]")
    own = {key: document.pop(key) for key in tuple(document) if key in CHANNEL_KEYS and key != "name"}
    values = _translate(document, KEYS, _Place(path, text), partial(RecordOptions, output=path))
    channels = [_channel(table, _Place(path, text, number)) for number, table in enumerate(tables, start=1)]
    if own:
        channels.append(_channel(own, _Place(path, text)))
    if channels:
        values["channels"] = tuple(channels)
    return values


@dataclass(frozen=True, slots=True)
class _Place:
    """A table of the file: ``channel`` counts the channels; 0 is what is outside of any."""

    path: Path
    text: str
    channel: int = 0

    def of(self, key: str) -> str:
        """Return the file and the line where a key is, as far as it can be found."""
        wanted = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*=""")
        table = 0
        for number, line in enumerate(self.text.splitlines(), start=1):
            table += re.match(r"\s*\[\[\s*channel\s*\]\]", line) is not None
            if table == self.channel and wanted.match(line):
                return f"{self.path}:{number}"
        return f"{self.path}, channel {self.channel}" if self.channel else str(self.path)


def _channel(table: Mapping[str, Any], place: _Place) -> ChannelOptions:
    channel = ChannelOptions(**_translate(table, CHANNEL_KEYS, place, ChannelOptions))
    if "name" in table and not channel.events:
        raise UsageError(f"{place.of('name')}: channel {channel.name!r} has no event rule", hint='event = ["sched_*"]')
    return channel


def _translate(
    table: Mapping[str, Any],
    keys: Mapping[str, _Key],
    place: _Place,
    options: Callable[..., ChannelOptions | RecordOptions],
) -> dict[str, Any]:
    """Return the parameters that a table gives, each of which was checked by itself."""
    values: dict[str, Any] = {}
    for name, value in table.items():
        key = keys.get(name)
        if key is None:
            near = difflib.get_close_matches(name, keys, n=2)
            raise UsageError(
                f"{place.of(name)}: there is no option {name!r}",
                hint=f"did you mean {' or '.join(near)}?" if near else f"one of: {', '.join(keys)}",
            )
        try:
            converted = key.convert(value)
            options(**{key.parameter: converted}).check()
            # Options of one parameter: all kinds of ids, rates and samples.
            values[key.parameter] = (*values[key.parameter], *converted) if key.parameter in values else converted
        except (UsageError, FilterError) as error:
            raise UsageError(f"{place.of(name)}: {error}", hint=error.hint) from error
        except ValueError as error:
            raise UsageError(f"{place.of(name)}: {name}: {value!r} is {error}") from error
    return values
