"""What is on the host when a recording begins, and what of it the recording is about."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from boxtrace.containers.discovery import survey
from boxtrace.containers.model import Container
from boxtrace.session.options import RecordOptions
from boxtrace.session.targets import Targets, find_pid_namespaces
from boxtrace.session.tracking import TrackSets, make_targets

__all__ = ["Scene", "find_scene", "survey_running"]


@dataclass(frozen=True, slots=True)
class Scene:
    """What was found, and what was chosen of it.

    :param looked: when the containers were looked at, seconds since the Unix epoch.
    :param running: the containers that run; empty when nobody needed to look yet.
    :param sets: what was asked for.
    :param first_processes: of the pid namespaces that were asked for, the first process, where it was found.
    """

    looked: float
    running: Sequence[Container]
    sets: TrackSets
    first_processes: Mapping[int, int | None]
    targets: Targets


def find_scene(options: RecordOptions, warn: Callable[[str], None]) -> Scene:
    """Look for what a recording is to be about; containers only if one was asked for, since that takes a while.

    :raises SelectionError: if it is not there, or does not run.
    """
    looked = time.time()
    running: Sequence[Container] = ()
    everyone: Sequence[Container] = ()
    probed = (*options.user_functions, *options.user_markers)
    about_containers = options.containers or options.images or options.labels or options.host_only
    if about_containers or any(not text.startswith(":") for text in probed):
        everyone = _survey(warn)
        running = _running(everyone)
    first_processes = find_pid_namespaces(options.pid_namespaces)
    sets = TrackSets.of_options(options, everyone)
    targets = make_targets(sets, running, follow=options.follow, command=bool(options.command))
    return Scene(looked, running, sets, first_processes, targets)


def survey_running(warn: Callable[[str], None]) -> Sequence[Container]:
    """Return the containers that run now.

    :param warn: told of the runtimes that did not answer.
    """
    return _running(_survey(warn))


def _survey(warn: Callable[[str], None]) -> Sequence[Container]:
    found = survey(stopped=True)
    for failure in found.failed:
        warn(str(failure))
    return found.containers


def _running(containers: Sequence[Container]) -> Sequence[Container]:
    return tuple(container for container in containers if container.init_pid is not None)
