"""A host that stalls: no event waits for it, each is recorded or counted as lost, and programs start nevertheless."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxtrace.mapped_memory import MappedMemory
from boxtrace.userspace.memory import sealed_memory
from boxtrace.userspace.protocol import Message, ring_message, type_message, welcome_message
from support.require import require_program
from support.user import build, build_python_client

COUNTER = 2
"""The bit of a context that the host asks for, and never gives."""
DATA, SIZE, RINGS = 4096, 1 << 16, 4
EVENTS = 20000
PROGRAM = """
#include <boxtrace.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
BOXTRACE_EVENT(app, step, (uint64_t, n))
static __thread unsigned long sleeps;
int nanosleep(const struct timespec *time, struct timespec *rest) {
    sleeps++;
    return (int)syscall(SYS_clock_nanosleep, 1, 0, time, rest);
}
static void *work(void *number) {
    const unsigned long before = sleeps;
    for (uint64_t n = 0; n < strtoull(number, NULL, 10); n++)
        boxtrace_app_step(n);
    printf("%lu\\n", sleeps - before);
    return NULL;
}
int main(int argc, char **argv) {
    pthread_t threads[6];
    if (argc < 2 || !boxtrace_enabled(app, step))
        return 1;
    for (int i = 0; i < 6; i++)
        pthread_create(&threads[i], NULL, work, argv[1]);
    for (int i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
"""


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.settimeout(30)
        listener.bind(str(tmp_path / "socket"))
        listener.listen(1)
        yield listener


@pytest.mark.parametrize("contexts", [0, COUNTER])
def test_no_event_waits_for_a_host_that_stalls(tmp_path: Path, listening: socket.socket, contexts: int) -> None:
    """It answers what the program asks when it starts, gives it four rings, and does nothing more."""
    require_program("gcc", "gcc")
    (tmp_path / "program.c").write_text(PROGRAM)
    program = build(tmp_path / "program.c", tmp_path / "program")
    control = sealed_memory("control", 4096)
    wake = os.eventfd(0, os.EFD_NONBLOCK)
    rings = [sealed_memory("ring", DATA + SIZE) for _ in range(RINGS)]
    memories = [
        MappedMemory(control, 4096, writable=True),
        *(MappedMemory(ring, DATA + SIZE, writable=True) for ring in rings),
    ]
    environment = dict(os.environ, BOXTRACE_SOCKET=str(tmp_path / "socket"))
    with subprocess.Popen([program, str(EVENTS)], env=environment, stdout=subprocess.PIPE, text=True) as process:
        host, _ = listening.accept()
        with host:
            host.settimeout(30)
            host.recv(4096)
            welcome = welcome_message(1, clock_offset=0, max_record=SIZE // 4, contexts=contexts)
            socket.send_fds(host, [welcome], (control, wake))
            answered = 0
            while answered < 2:
                kind, token = struct.unpack_from("=II", host.recv(16384))
                if kind == Message.RINGS:
                    answered += 1
                    for index, ring in enumerate(rings):
                        socket.send_fds(host, [ring_message(token, index, SIZE, DATA)], (ring,))
                elif kind == Message.REGISTER:
                    answered += 1
                    host.send(type_message(token, number=3, enabled=True))
            said, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and said.split() == ["0"] * 6
    without_ring, *words = (memory.buffer.cast("Q") for memory in memories)
    record = 18 + 8 * (contexts != 0)
    full = [number for number, each in enumerate(words) if each[0]]
    assert len(full) == RINGS - (contexts != 0)  # the main thread has one, to wait for its counters in
    assert all(SIZE - record < words[number][0] <= SIZE for number in full)
    written = sum((words[number][0] - 8) // record for number in full)
    assert written + sum(each[1] for each in words) + without_ring[0] == 6 * EVENTS
    firsts = {bytes(memories[1 + number].buffer[DATA + 18 : DATA + 26]) for number in full if contexts}
    assert firsts <= {b"\xff" * 8}
    for each in (without_ring, *words):
        each.release()
    for memory in memories:
        memory.close()
    for descriptor in (control, wake, *rings):
        os.close(descriptor)


@pytest.mark.parametrize("pure", ["0", "1"])
def test_a_host_that_stalls_is_waited_for_once(tmp_path: Path, listening: socket.socket, pure: str) -> None:
    """When the program starts, 1.5 s; not again for each of 60 event types, nor in a child."""
    text = """
        import os, boxtrace_client
        events = [boxtrace_client.Event(f"app:number{n}", n=boxtrace_client.U32) for n in range(60)]
        if os.fork():
            os.wait()
        assert not any(event.enabled for event in events)
        """
    client = build_python_client(tmp_path / "client")
    environment = dict(os.environ, BOXTRACE_SOCKET=str(tmp_path / "socket"), PYTHONPATH=str(client), BOXTRACE_PURE=pure)
    subprocess.run([sys.executable, "-c", textwrap.dedent(text)], env=environment, check=True, timeout=60)
