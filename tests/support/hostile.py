"""A client that does what it must not: ``hostile.py SOCKET SECONDS SEED``. Shares no code with clients that behave."""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import socket
import struct
import sys
import time

HELLO = struct.pack("=IIIHH32s", 1, 0, 0x52545842, 1, 1, b"hostile")
CONTEXTS, COUNTERS = 1 << 31 | 10, 1 << 31 | 11


def connect(path: str) -> socket.socket:
    host = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    host.settimeout(0.2)
    host.connect(path)
    return host


def register(name: bytes, fields: list[bytes], token: int = 0) -> bytes:
    return struct.pack("=IIiHH", 4, token, -1, len(name), len(fields)) + name + b"".join(fields)


def noise(dice: random.Random, host: socket.socket) -> None:
    """Messages of any kind and content."""
    for _ in range(dice.randrange(50)):
        body = dice.randbytes(dice.choice([0, 4, 8, 40, 300, 16000]))
        host.send(
            struct.pack("=II", dice.choice([1, 3, 4, 7, 9, 99, 1 << 31, CONTEXTS, COUNTERS]), dice.getrandbits(32))
            + body
        )


def declarations(dice: random.Random, host: socket.socket) -> None:
    """More types than anybody needs, and never read the answers."""
    for number in range(2000):
        fields = [struct.pack("=BB", dice.randrange(11), 1) + b"a" + dice.randbytes(dice.randrange(6))]
        host.send(register(b"hostile:%d" % number, fields))


def positions(dice: random.Random, host: socket.socket) -> None:
    """Changes of context at impossible places of rings that may not exist."""
    host.send(struct.pack("=III", 7, 0, 3))
    for _ in range(300):
        host.send(struct.pack("=IIIIQ", 9, 0, dice.choice([0, 1, 2, 7, 1 << 31]), 0, dice.getrandbits(64)))


def get_rings(host: socket.socket, count: int) -> tuple[int, list[tuple[mmap.mmap, int, int]]]:
    """Return the number of a type with a string, and rings with the beginning and the size of their data."""
    host.send(register(b"app:good", [b"\x04\x01s"]))
    host.send(struct.pack("=III", 7, 0, count))
    number, rings = 0, []
    for _ in range(count + 1):
        message, descriptors, *_ = socket.recv_fds(host, 4096, 2)
        kind = struct.unpack_from("=I", message)[0]
        if kind == 5:
            (number,) = struct.unpack_from("=I", message, 8)
        elif kind == 8 and descriptors:
            size, data = struct.unpack_from("=QQ", message, 16)
            rings.append((mmap.mmap(descriptors[0], data + size), data, size))
            for attempt in (0, 1 << 40):
                try:
                    os.ftruncate(descriptors[0], attempt)
                except OSError:
                    continue
                raise SystemExit("the size of a ring could be changed")
    return number, rings


def record(number: int) -> bytes:
    """A record as it should be."""
    return struct.pack("=HIQI", 0xFFFF, number, time.clock_gettime_ns(time.CLOCK_MONOTONIC), 0) + b"x" * 20 + b"\0"


def owners(dice: random.Random, host: socket.socket) -> None:
    """One owner of a ring after the other, so that each would get counters; what comes is kept, or not even read."""
    _, rings = get_rings(host, 3)
    reading = dice.random() < 0.5
    for _ in range(400):
        for ring, _, _ in rings:
            struct.pack_into("=I", ring, 16, os.getpid())
            struct.pack_into("=I", ring, 64, dice.choice([1, 1, 2]))
        os.eventfd_write(WAKES[0], 1)
        time.sleep(0.0005)
        if reading:
            KEPT.extend(socket.recv_fds(host, 4096, 8, socket.MSG_DONTWAIT)[1])


def spaces(dice: random.Random, host: socket.socket) -> None:
    """Other namespaces for each record, and processes that come and go."""
    number, rings = get_rings(host, 1)
    libc = ctypes.CDLL(None)
    for ring, data, _ in rings:
        struct.pack_into("=I", ring, 16, dice.choice([os.getpid(), 1, 77]))
        struct.pack_into("=I", ring, 64, 1)
        at = 0
        for turn in range(300):
            good = record(number)
            ring[data + at : data + at + len(good)] = good
            at += len(good)
            memoryview(ring).cast("Q")[0] = at
            libc.unshare(0x04000000)  # CLONE_NEWUTS
            libc.prctl(15, b"hostile-%d" % turn)  # PR_SET_NAME
            if turn % 50 == 0:
                child = os.fork()
                if child == 0:
                    os._exit(0)
                os.waitpid(child, 0)
                os.eventfd_write(WAKES[0], 1)


def scribble(dice: random.Random, host: socket.socket) -> None:
    """Rings full of nonsense, and every word of their beginning in motion."""
    number, rings = get_rings(host, 2)
    wake = WAKES[0]
    for ring, data, size in rings:
        good = record(number)
        content = dice.choice([dice.randbytes(4096), good * 90, good + dice.randbytes(500), b"\xff" * 4096])
        ring[data : data + len(content)] = content
        struct.pack_into("=I", ring, 16, dice.choice([0, 1, os.getpid(), dice.getrandbits(32)]))
        struct.pack_into("=I", ring, 64, dice.choice([0, 1, 2, 77]))
        committed = [len(good), len(content), size, size + 1, (1 << 64) - 1, dice.getrandbits(64)]
        struct.pack_into("=Q", ring, 0, dice.choice(committed))
        struct.pack_into("=Q", ring, 8, dice.choice([0, 0, 5, (1 << 64) - 1]))
        os.eventfd_write(wake, 1)
    until = time.monotonic() + 0.05
    while time.monotonic() < until and rings:
        ring, data, size = dice.choice(rings)
        struct.pack_into(
            "=Q", ring, dice.choice([0, 8, 16, 64, 128, 136, 144]), dice.getrandbits(dice.choice([3, 18, 64]))
        )
        os.eventfd_write(wake, 1)


def flood(dice: random.Random, host: socket.socket) -> None:
    """Wake the host as often as possible, for nothing."""
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        os.eventfd_write(WAKES[0], 1)


WAKES = [-1]
KEPT: list[int] = []


def main(path: str, seconds: float, seed: int) -> None:
    dice = random.Random(seed)
    until = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < until:
        try:
            host = connect(path)
        except OSError:
            time.sleep(0.01)
            continue
        try:
            if dice.random() < 0.9:
                host.send(HELLO)
                _, descriptors, *_ = socket.recv_fds(host, 4096, 2)
                WAKES[0] = descriptors[1]
                if dice.random() < 0.5:
                    host.send(struct.pack("=III", CONTEXTS, 0, dice.choice([7, 7, 7, 2, 8, dice.getrandbits(32)])))
                actions = [noise, declarations, positions, owners, spaces, scribble, scribble, scribble, flood]
                dice.choice(actions)(dice, host)
                while len(KEPT) > 500:
                    os.close(KEPT.pop())
                for descriptor in descriptors:
                    os.close(descriptor)
            else:
                noise(dice, host)
        except (OSError, IndexError, struct.error):
            pass
        finally:
            host.close()
        rounds += 1
    print(rounds)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
