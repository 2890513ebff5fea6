"""Record every tracepoint of the machine, one after the other: attach one, provoke it, detach it, take the next.

A program of its own: ``python sweep.py OUTPUT`` records to OUTPUT, and prints a line of JSON for each tracepoint: name,
begin and end of the time in which it was attached (ns of the monotonic clock), and why it could not be. All else is a
recording like any other.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

from boxtrace.kernel import programs
from boxtrace.kernel.machine import machine_tracepoints
from boxtrace.kernel.tracepoints.links import TracepointLinks
from boxtrace.session.options import ChannelOptions, RecordOptions
from boxtrace.session.recording import record

# Once for each line of its input: forks, signals, timers, files, memory, loopback connections.
WORKLOAD = """
import fcntl, os, signal, socket, sys, tempfile
signal.signal(signal.SIGUSR1, lambda *_: None)
server = socket.create_server(("127.0.0.1", 0))
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); one.bind(("127.0.0.1", 0))
for line in sys.stdin:
    signal.setitimer(signal.ITIMER_REAL, 1000, 7)
    os.kill(os.getpid(), signal.SIGUSR1)
    client = socket.create_connection(server.getsockname())
    accepted, _ = server.accept()
    client.sendall(b"x" * 1000); accepted.recv(1000)
    client.close(); accepted.close()
    for size in (10, 3000):
        one.sendto(b"y" * size, one.getsockname()); one.recv(4000)
    with tempfile.TemporaryFile() as file:
        fcntl.lockf(file, fcntl.LOCK_EX); file.write(b"z" * 10000); file.flush()
    with open("/proc/self/comm", "w") as comm:
        comm.write("renamed")
    if not (child := os.fork()):
        os._exit(3)
    os.waitpid(child, 0)
    bytearray(1 << 20)
    print(flush=True)
"""


class Singly(TracepointLinks):
    """Attaches nothing by itself."""

    one: ClassVar[Singly]

    def attach(self) -> list[str]:
        """Remember the links, to be attached singly."""
        Singly.one = self
        return []

    def sweep(self, workload: subprocess.Popen[str]) -> None:
        """Attach one after the other."""
        assert workload.stdin is not None and workload.stdout is not None
        for index, chosen in enumerate(self._chosen):
            group, event = chosen.tracepoint.group, chosen.tracepoint.event
            begin, why = time.monotonic_ns(), None
            try:
                link = self._owner(self.PROGRAM).attach_tracepoint(self.PROGRAM, group, event, index)
            except OSError as error:
                why = str(error)
            else:
                workload.stdin.write("\n")
                workload.stdin.flush()
                workload.stdout.readline()
                link.close()
            print(json.dumps([chosen.tracepoint.name, begin, time.monotonic_ns(), why]))


def main(output: Path) -> None:
    """Record; ends itself."""
    names = tuple(name.name for name in machine_tracepoints().names)
    programs.TracepointLinks = Singly  # type: ignore[attr-defined]
    options = RecordOptions(
        output=output,
        channels=(ChannelOptions(events=names, contexts=("procname", "tid", "cpu_id")),),
        state_dump=False,
    )
    command = [sys.executable, "-c", WORKLOAD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as workload:

        def sweep() -> None:
            try:
                Singly.one.sweep(workload)
            finally:
                os.kill(os.getpid(), signal.SIGINT)

        summary = record(options, started=sweep)
    print(json.dumps([summary.events, summary.lost]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
