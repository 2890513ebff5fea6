"""Accounts for containers that run; for those that start while recording, where none of these is chosen or left out."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from boxtrace.containers.model import BIRTH_RESOLUTION_NS, Container
from boxtrace.containers.proc import read_process
from boxtrace.kernel.selection import Accounting
from boxtrace.session.channel import Channel
from boxtrace.session.targets import account_containers

__all__ = ["Latecomers", "give_accounts"]


class Latecomers:
    """Gives an account to each container that is alive when it is looked for: one that is over by then has none.

    Nothing is done as a container starts, so that its start takes no longer.

    :param hierarchy: in which cgroups are numbered.
    :param before: those that came before.
    :param known: returns what is known of containers by now.
    :param announce: takes those that have got an account, with its number.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        hierarchy: str,
        before: Sequence[Container],
        known: Callable[[], Sequence[Container]],
        announce: Callable[[Accounting, Sequence[tuple[int, Container]]], None],
    ) -> None:
        self._channels = channels
        self._hierarchy = hierarchy
        self._known = known
        self._announce = announce
        self._seen: set[Hashable] = {container.life for container in before}

    def look(self) -> None:
        """Give accounts to those that have come since this was done last; of one thread at a time."""
        known = self._known()
        come = {item.life: item for item in known if item.identity is not None and item.life not in self._seen}
        self._seen.update(come)
        spaces = {item.pid_ns for item in come.values()}
        # Nobody tells of the end of a container without a runtime, whose namespace's number another may have by now.
        there = [item for item in known if item.pid_ns in spaces and _is_alive(item)]
        alive = [item for item in there if item.life in come]
        if not alive:
            return
        self._announce(*give_accounts(self._channels, alive, self._hierarchy, beside=there))


def give_accounts(
    channels: Sequence[Channel], containers: Sequence[Container], hierarchy: str, *, beside: Sequence[Container]
) -> tuple[Accounting, Sequence[tuple[int, Container]]]:
    """Count the events of these containers apart, too; return those that have got an account, with its number.

    :param hierarchy: in which cgroups are numbered.
    :param beside: all that run.
    """
    first = len(channels[0].accounts.containers) + 1
    accounting, accounted = account_containers(containers, hierarchy, beside=beside, first=first)
    for channel in channels:
        for container in accounted:
            channel.accounts.add(container)
        channel.programs.selector.account(accounting, more=True)
    return accounting, tuple(enumerate(accounted, start=first))


def _is_alive(container: Container) -> bool:
    """Tell whether its first process is there and still the same."""
    process = None if container.init_pid is None else read_process(container.init_pid)
    return (
        process is not None
        and not process.is_exiting
        and process.namespaces.pid == container.pid_ns
        and container.birth is not None
        and abs(process.start - container.birth) <= BIRTH_RESOLUTION_NS
    )
