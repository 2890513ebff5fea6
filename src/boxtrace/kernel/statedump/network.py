"""Network interfaces and their addresses in a network namespace, asked for by rtnetlink(7)."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from ipaddress import ip_address
from pathlib import Path

from boxtrace.kernel.statedump.devices import Values
from boxtrace.units import NamespaceInum, Pid

__all__ = ["host_interfaces", "interfaces"]

# include/uapi/linux/{netlink,rtnetlink,if_link,if_addr}.h
_NLMSG_DONE, _NLMSG_ERROR = 3, 2
_REQUEST_DUMP = 0x301
_NEWLINK, _GETLINK, _NEWADDR, _GETADDR = 16, 18, 20, 22
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 4, 5, 10, 18
_IFLA_INFO_KIND = 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_NESTED_MASK = 0x3FFF
_CLONE_NEWNET = 0x40000000
_IFF_UP = 1
_SECONDS = 5.0


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("<HH", data)
        if length < 4:
            break
        found[kind & _NESTED_MASK] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


def _number(data: bytes | None) -> int:
    return int.from_bytes(data or b"", "little", signed=True)


def _text(data: bytes | None) -> str:
    return (data or b"").split(b"\0")[0].decode(errors="replace")


def _dump(netlink: socket.socket, request: int) -> Iterator[tuple[int, bytes]]:
    """Yield the messages that answer a request to list everything: type, payload."""
    netlink.send(struct.pack("<IHHII", 17, request, _REQUEST_DUMP, 1, 0) + b"\0")
    while True:
        data = netlink.recv(1 << 20)
        while len(data) >= 16:
            length, kind = struct.unpack_from("<IH", data)
            if kind in (_NLMSG_DONE, _NLMSG_ERROR) or length < 16:
                return
            yield kind, data[16:length]
            data = data[(length + 3) & ~3 :]


def _links(netlink: socket.socket) -> Iterator[Values]:
    for kind, data in _dump(netlink, _GETLINK):
        if kind != _NEWLINK:
            continue
        _, _, _, index, flags, _ = struct.unpack_from("<BBHiII", data)
        found = _attributes(data[16:])
        yield {
            "ifindex": index,
            "name": _text(found.get(_IFLA_IFNAME)),
            "flags": flags,
            "mtu": _number(found.get(_IFLA_MTU)),
            "link": _number(found.get(_IFLA_LINK)),
            "master": _number(found.get(_IFLA_MASTER)),
            "kind": _text(_attributes(found.get(_IFLA_LINKINFO, b"")).get(_IFLA_INFO_KIND)),
            "address_mac": found.get(_IFLA_ADDRESS, b"").hex(":"),
        }


def _addresses(netlink: socket.socket) -> Iterator[Values]:
    for kind, data in _dump(netlink, _GETADDR):
        if kind != _NEWADDR:
            continue
        family, prefix, _, _, index = struct.unpack_from("<BBBBI", data)
        found = _attributes(data[8:])
        address = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
        if address is not None and len(address) in (4, 16):
            yield {"ifindex": index, "family": family, "prefix": prefix, "address": str(ip_address(address))}


def _socket_in(namespace: Path, inum: int | None) -> socket.socket | None:
    """Open a netlink socket in a namespace; it stays there. None if the namespace is another one by now, or gone."""
    opened: list[socket.socket] = []

    def enter() -> None:
        try:
            descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            same = inum is None or os.fstat(descriptor).st_ino == inum
            if same and ctypes.CDLL(None).setns(descriptor, _CLONE_NEWNET) == 0:
                opened.append(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE))
        finally:
            os.close(descriptor)

    thread = threading.Thread(target=enter, name="boxtrace-setns")  # the namespace is changed for it alone
    thread.start()
    thread.join()
    if opened:
        opened[0].settimeout(_SECONDS)
        return opened[0]
    return None


def interfaces(
    namespace: NamespaceInum, pids: Iterable[Pid], proc: Path = Path("/proc")
) -> Iterator[tuple[str, Values]]:
    """Yield event names and values for a namespace that these processes were in; nothing if none is any more."""
    for pid in pids:
        netlink = _socket_in(proc / str(pid) / "ns" / "net", namespace)
        if netlink is None:
            continue
        with closing(netlink):
            try:
                for link in list(_links(netlink)):
                    yield "statedump_network_interface", {"net_ns": namespace, **link}
                for address in list(_addresses(netlink)):
                    yield "statedump_network_address", {"net_ns": namespace, **address}
            except OSError:
                pass
        return


def host_interfaces(proc: Path = Path("/proc")) -> Iterator[Values]:
    """Yield the host's interfaces as LTTng does: one for each IPv4 address; without one if the interface is down.

    The host's namespace is that of init or kthreadd; this process's own where neither can be seen.
    """
    sockets = (_socket_in(proc / process / "ns" / "net", None) for process in ("1", "2", "self"))
    netlink = next((opened for opened in sockets if opened is not None), None)
    if netlink is None:
        return
    with closing(netlink):
        try:
            links, addresses = list(_links(netlink)), list(_addresses(netlink))
        except OSError:
            return
    for link in links:
        own = [
            int(ip_address(str(address["address"])))
            for address in addresses
            if address["ifindex"] == link["ifindex"] and address["family"] == socket.AF_INET
        ]
        for number in own if int(link["flags"]) & _IFF_UP else [0]:
            yield {"name": link["name"], "address_ipv4": number}
