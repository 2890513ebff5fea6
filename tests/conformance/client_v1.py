"""A client of version 1 of the protocol, for the conformance suite: kept as it is for as long as hosts serve version 1.

It shares no code with anything. It connects once, and records in the threads that it is told to.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
import sys
import threading
import time

HELLO, WELCOME, REGISTER, TYPE, ENABLE, RINGS, RING = 1, 2, 4, 5, 6, 7, 8


def integer(kind: int, name: str, bits: int, base: int = 10) -> bytes:
    return struct.pack("=BB", kind, len(name)) + name.encode() + struct.pack("=BB", bits, base)


def other(kind: int, name: str, rest: bytes = b"") -> bytes:
    return struct.pack("=BB", kind, len(name)) + name.encode() + rest


def label(first: int, last: int, text: str) -> bytes:
    return struct.pack("=qqB", first, last, len(text)) + text.encode()


COLOURS = label(-5, -1, "RED") + label(0, 0, "GREEN") + label(1, 100, "BLUE")
TYPES = {
    "fields": (
        6,
        [
            integer(1, "u8", 8),
            integer(2, "i16", 16),
            integer(1, "u32", 32),
            integer(2, "i64", 64),
            integer(1, "address", 64, 16),
            other(3, "f32", b"\x20"),
            other(3, "f64", b"\x40"),
            other(4, "text"),
            other(5, "colour", struct.pack("=BBH", 8, 1, 3) + COLOURS),
            other(6, "triple", struct.pack("=IBBB", 3, 1, 16, 10)),
            other(7, "numbers", struct.pack("=BBB", 2, 32, 10)),
            other(8, "tag", struct.pack("=I", 8)),
        ],
    ),
    "count": (-1, [integer(1, "n", 64)]),
    "large": (-1, [other(4, "text")]),
}


class Ring:
    """The host reads the words of a ring at any time: a view stores one whole (struct would write zeros first)."""

    def __init__(self, memory: mmap.mmap, size: int, data: int, wake: int, offset: int, limit: int) -> None:
        self.memory, self.size, self.data, self.wake = memory, size, data, wake
        self.words, self.halves = memoryview(memory).cast("Q"), memoryview(memory).cast("I")
        self.offset, self.limit = offset, limit
        self.position = self.last = 0

    def claim(self) -> None:
        self.halves[4] = threading.get_native_id()
        self.halves[16] = 1
        os.eventfd_write(self.wake, 1)

    def give_up(self) -> None:
        until = time.monotonic() + 0.02
        while not self.halves[36] and time.monotonic() < until:
            time.sleep(0.001)
        self.halves[16] = 2
        os.eventfd_write(self.wake, 1)

    def record(self, number: int, fields: bytes) -> None:
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + self.offset
        if not self.last or now - self.last > 0xFFFFFFFF:
            record = struct.pack("=HIQI", 0xFFFF, number, now, 0xFFFFFFFF) + fields
        else:
            record = struct.pack("=HII", number, now & 0xFFFFFFFF, 0xFFFFFFFF) + fields
        released = self.words[16]
        if len(record) > self.limit or self.position + len(record) - released > self.size:
            self.words[1] += 1
            return
        start = self.position % self.size
        first = record[: self.size - start]
        self.memory[self.data + start : self.data + start + len(first)] = first
        self.memory[self.data : self.data + len(record) - len(first)] = record[len(first) :]
        self.last = now
        before, self.position = self.position, self.position + len(record)
        self.words[0] = self.position
        if (before ^ self.position) & -(self.size // 4):
            os.eventfd_write(self.wake, 1)


class Client:
    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.disabled: set[int] = set()
        self.rings: list[Ring] = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.socket.connect(os.environ.get("BOXTRACE_SOCKET", "/run/boxtrace-user.sock"))
        except OSError:
            return
        self.socket.send(struct.pack("=IIIHH32s", HELLO, 0, 0x52545842, 1, 1, b"version 1"))
        message, (control, wake), *_ = socket.recv_fds(self.socket, 4096, 2)
        kind, _, _, version, _, offset, _, _, limit = struct.unpack_from("=IIIHHqIII", message)
        assert (kind, version) == (WELCOME, 1)
        os.close(control)
        for token, (name, (level, fields)) in enumerate(TYPES.items()):
            text = f"conformance:{name}".encode()
            head = struct.pack("=IIiHH", REGISTER, token, level, len(text), len(fields))
            self.socket.send(head + text + b"".join(fields))
        self.socket.send(struct.pack("=III", RINGS, 77, 5))
        names = list(TYPES)
        for _ in range(len(TYPES) + 5):
            message, descriptors, *_ = socket.recv_fds(self.socket, 4096, 1)
            kind, token = struct.unpack_from("=II", message)
            if kind == TYPE:
                number, enabled, error, _ = struct.unpack_from("=IIII", message, 8)
                if enabled and not error:
                    self.numbers[names[token]] = number
            else:
                assert (kind, token) == (RING, 77)
                _, _, size, data = struct.unpack_from("=IIQQ", message, 8)
                self.rings.append(Ring(mmap.mmap(descriptors[0], data + size), size, data, wake, offset, limit))

    def listen(self) -> None:
        """Take what the host has to say by now."""
        try:
            message = self.socket.recv(4096, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        if len(message) >= 16 and struct.unpack_from("=I", message)[0] == ENABLE:
            number, enabled = struct.unpack_from("=II", message, 8)
            (self.disabled.discard if enabled else self.disabled.add)(number)

    def count(self, ring: Ring | None, number: int, pause: float = 0.0) -> None:
        if ring is None or "count" not in self.numbers:
            return
        ring.claim()
        for n in range(number):
            if self.numbers["count"] not in self.disabled:
                ring.record(self.numbers["count"], struct.pack("=Q", n))
            if pause:
                self.listen()
                time.sleep(pause)
        ring.give_up()


def fields(*numbers: float, text: bytes, colour: int, sequence: tuple[int, ...], tag: bytes) -> bytes:
    record = struct.pack("=BhIqQfd", *numbers) + text + b"\0" + struct.pack("=b3H", colour, 1, 2, 65535)
    return record + struct.pack(f"=I{len(sequence)}i", len(sequence), *sequence) + tag.ljust(8, b"\0")


def main(scenario: str, number: int = 1) -> None:
    client = Client()
    ring = client.rings[0] if client.rings else None
    if scenario == "count":
        client.count(ring, number)
    elif scenario == "forever":
        client.count(ring, 1 << 62, number / 1e6)
    elif scenario == "threads":
        threads = [
            threading.Thread(target=client.count, args=(ring, number)) for ring in (client.rings or [None] * 4)[:4]
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    elif scenario == "fork":
        one(client, 1)
        if os.fork() == 0:
            one(Client(), 2)
            os._exit(0)
        os.wait()
        one(client, 3)
    elif scenario == "large" and ring is not None:
        ring.claim()
        ring.record(client.numbers["count"], struct.pack("=Q", 1))
        ring.record(client.numbers["large"], b"x" * 1048575 + b"\0")
        ring.record(client.numbers["count"], struct.pack("=Q", 2))
    elif scenario == "fields" and ring is not None:
        ring.claim()
        values = (255, -32768, 4294967295, -(1 << 63), 0xDEADBEEF, 1.5, -2.25)
        text = "café".encode()
        ring.record(
            client.numbers["fields"], fields(*values, text=text, colour=-3, sequence=(-1, 2**31 - 1), tag=b"tag")
        )
        zeros = (0, 0, 0, 0, 0, 0.0, 0.0)
        ring.record(client.numbers["fields"], fields(*zeros, text=b"", colour=100, sequence=(), tag=b"12345678"))


def one(client: Client, n: int) -> None:
    if client.rings:
        ring = client.rings[0]
        if not ring.last:
            ring.claim()
        ring.record(client.numbers["count"], struct.pack("=Q", n))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
