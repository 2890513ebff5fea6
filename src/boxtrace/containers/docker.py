"""Docker, by its daemon on this host."""

from __future__ import annotations

import os
from collections.abc import Mapping

from boxtrace.containers.engine import list_by_api
from boxtrace.containers.runtime import RuntimeAbsentError, RuntimeContainer
from boxtrace.containers.table import ProcessTable
from boxtrace.containers.text import clean

__all__ = ["Docker", "socket_address"]

_STANDARD_SOCKET = "unix:///var/run/docker.sock"


def socket_address(environment: Mapping[str, str] | None = None) -> str:
    """Return the address of the daemon of this host: ``DOCKER_HOST`` or the standard socket.

    :raises RuntimeAbsentError: ``DOCKER_HOST`` names a daemon reached over a network; its containers are not known to
        be of this host.
    """
    address = (os.environ if environment is None else environment).get("DOCKER_HOST") or _STANDARD_SOCKET
    if not address.startswith("unix://"):
        raise RuntimeAbsentError(
            f"docker: DOCKER_HOST is {clean(address)}, which may be another machine",
            hint="set DOCKER_HOST to the unix:// socket of this host's daemon",
        )
    return address


class Docker:
    """The Docker daemon of this host.

    :param address: its socket as ``unix://PATH``; by default what :func:`socket_address` says when it is asked.
    """

    name = "docker"

    def __init__(self, address: str | None = None) -> None:
        self._address = address

    def containers(self, processes: ProcessTable) -> list[RuntimeContainer]:
        """Return the daemon's containers, see :class:`~boxtrace.containers.runtime.Runtime`."""
        return list_by_api(self.name, self._address or socket_address())
