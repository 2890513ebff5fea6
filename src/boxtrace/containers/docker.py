"""Docker, by its daemons on this host."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from boxtrace.containers.engine import list_by_api
from boxtrace.containers.oci import directories, mapping, read_json
from boxtrace.containers.podman import Podman
from boxtrace.containers.runtime import RuntimeAbsentError, RuntimeContainer, answer, ask_all, sockets
from boxtrace.containers.table import ProcessTable
from boxtrace.containers.text import clean

__all__ = ["Docker"]

_UNIX = "unix://"
_SOCKET = Path("/var/run/docker.sock")
_ROOTLESS = "/run/user/*/docker.sock"
_CONFIGURATION = "/etc/docker/daemon.json"


class Docker:
    """The Docker daemons of this host, of root and of every other user.

    :param address: the socket of the only one, as ``unix://PATH``; by default :meth:`addresses`.
    """

    name = "docker"

    def __init__(self, address: str | None = None) -> None:
        self._address = address

    @staticmethod
    def addresses(processes: ProcessTable, environment: Mapping[str, str] = os.environ) -> list[str]:
        """Return the daemons' sockets: of ``DOCKER_HOST``, the usual ones, and those of the daemons that run.

        Not those at which Podman answers in Docker's place (``podman-docker``), and none that is reached over a
        network: its containers are not known to be of this host.
        """
        chosen = environment.get("DOCKER_HOST", "")
        places = [Path(chosen.removeprefix(_UNIX))] if chosen.startswith(_UNIX) else []
        places += [_SOCKET, *directories(_ROOTLESS), *_listening(processes)]
        podmans = [Path(address.removeprefix(_UNIX)) for address in Podman.addresses()]
        return [f"{_UNIX}{place}" for place in sockets([*podmans, *places]) if place not in podmans]

    def containers(self, processes: ProcessTable) -> list[RuntimeContainer]:
        """Return the daemons' containers, see :class:`~boxtrace.containers.runtime.Runtime`."""
        addresses = self.addresses(processes) if self._address is None else [self._address]
        if not addresses:
            chosen = os.environ.get("DOCKER_HOST") or f"{_UNIX}{_SOCKET}"
            raise RuntimeAbsentError(f"docker: no daemon of this host at {clean(chosen)}, and none runs elsewhere")
        return answer(*ask_all(addresses, partial(list_by_api, self.name)))


def _listening(processes: ProcessTable) -> Iterator[Path]:
    """Yield the sockets of the daemons that run, by their command lines and configurations."""
    for pid, options in processes.daemons("dockerd"):
        file = dict(options).get("--config-file", _CONFIGURATION)
        told = mapping(read_json(processes.path(pid, file))).get("hosts")
        hosts = [value for option, value in options if option in ("-H", "--host")]
        hosts += [host for host in (told if isinstance(told, list) else []) if isinstance(host, str)]
        if not hosts and any("--rootless" in pair for pair in options):
            hosts = [f"{_UNIX}{processes.environment(pid).get('XDG_RUNTIME_DIR', '')}/docker.sock"]
        for host in hosts:
            if host.startswith(f"{_UNIX}/"):
                yield processes.seen(pid, host.removeprefix(_UNIX))
