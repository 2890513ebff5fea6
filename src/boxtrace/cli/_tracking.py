"""Options of ``boxtrace record`` that limit it to containers, namespaces, processes, users: one for each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import click

from boxtrace.kernel.trackers import KINDS, TrackerId, parse_id

__all__ = ["given_ids", "tracking_options"]

_Command = TypeVar("_Command", bound=Callable[..., object])
_SHORT = {"pid": ("-p",)}


def _parameter(word: str) -> str:
    return f"track_{word.replace('-', '_')}"


def tracking_options(command: _Command) -> _Command:
    """Add the options to a command, which gets their values by keyword."""
    options = [
        click.option(
            "-c",
            "--container",
            "containers",
            multiple=True,
            metavar="NAME",
            help="Record this running container: name, id, or the beginning of one; 'web-*' for all of such names, "
            "those that start later included. Repeatable, as are all of these; '!NAME' excludes.",
        ),
        click.option("--image", "images", multiple=True, metavar="GLOB", help="Record containers of such images."),
        click.option(
            "--label", "labels", multiple=True, metavar="KEY[=GLOB]", help="Record containers with such a label."
        ),
        click.option("--new-containers", is_flag=True, help="Record the containers that start while recording."),
        click.option("--host-only", is_flag=True, help="Record nothing of containers."),
        click.option(
            "--cgroup", "cgroups", multiple=True, metavar="PATH", help="Record this cgroup and what is below it."
        ),
    ]
    for kind in KINDS.values():
        names = (*_SHORT.get(kind.word, ()), f"--{kind.word}", _parameter(kind.word))
        options.append(click.option(*names, multiple=True, metavar=kind.metavar, help=kind.help))
    for option in reversed(options):
        command = option(command)
    return command


def given_ids(parameters: Mapping[str, object]) -> tuple[TrackerId, ...]:
    """Return the ids that the options of a command line name.

    :raises UsageError: for a value that cannot be.
    :raises SelectionError: for a user or group that does not exist.
    """
    found: list[TrackerId] = []
    for word in KINDS:
        texts = parameters.get(_parameter(word), ())
        assert isinstance(texts, tuple)
        found += [parse_id(word, text) for text in texts]
    return tuple(found)
