"""The control socket of a recording that runs: one line of JSON asks, one line of JSON answers.

``{"command": NAME, ...}`` is answered by ``{"ok": true, ...}`` or ``{"ok": false, "error": TEXT, "hint": TEXT or
null}``.
The socket is ``PID.sock`` in the runtime directory of the user who records, and only that user may connect.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from boxtrace.errors import BoxtraceError, SelectionError

__all__ = ["ControlSocket", "ask_recording", "runtime_directory"]

_CLIENT_SECONDS = 0.5
_ANSWER_SECONDS = 60.0
_MAX_REQUEST = 1 << 20


def runtime_directory() -> Path:
    """Return where the sockets of this user's recordings are."""
    base = os.environ.get("XDG_RUNTIME_DIR") if os.geteuid() != 0 else None
    return Path(base or ("/run" if os.geteuid() == 0 else "/tmp")) / "boxtrace"


class ControlSocket:
    """Listens for commands; gone when closed."""

    def __init__(self, directory: Path | None = None) -> None:
        """Listen.

        :raises OSError: if the socket cannot be made.
        """
        directory = directory or runtime_directory()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = directory / f"{os.getpid()}.sock"
        self.path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.bind(str(self.path))
        self._socket.listen()
        self._socket.setblocking(False)
        self.fd = self._socket.fileno()

    def serve(self, commands: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]]) -> None:
        """Answer one client. A client that does not ask at once is dropped: the rings must not wait for it."""
        try:
            client, _ = self._socket.accept()
        except BlockingIOError:
            return
        with client:
            client.settimeout(_CLIENT_SECONDS)
            try:
                with client.makefile("rb") as stream:
                    request = json.loads(stream.readline(_MAX_REQUEST))
                answer: dict[str, Any] = {"ok": True, **commands[request["command"]](request)}
            except BoxtraceError as error:
                answer = {"ok": False, "error": str(error), "hint": error.hint}
            except (KeyError, TypeError, ValueError):
                answer = {"ok": False, "error": f"commands are {', '.join(commands)}", "hint": None}
            except OSError:
                return
            try:
                client.sendall(json.dumps(answer).encode() + b"\n")
            except OSError:
                return

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()
        self.path.unlink(missing_ok=True)


def ask_recording(
    command: str, pid: int | None = None, directory: Path | None = None, **more: Any
) -> Mapping[str, Any]:
    """Give a command to a running recording and return its answer.

    :param more: what belongs to the command.

    :param pid: of the recording; None if there is only one.
    :raises SelectionError: if there is no such recording, or several and none was named.
    :raises BoxtraceError: what the recording answered.
    """
    directory = directory or runtime_directory()
    running = {int(path.stem): path for path in directory.glob("*.sock") if Path("/proc", path.stem).exists()}
    if pid is None and len(running) > 1:
        pids = ", ".join(map(str, sorted(running)))
        raise SelectionError(f"several recordings run: {pids}", hint="give the pid of one")
    path = running.get(pid) if pid is not None else next(iter(running.values()), None)
    if path is None:
        raise SelectionError("no recording of yours runs" if pid is None else f"process {pid} is no recording of yours")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_ANSWER_SECONDS)
            connection.connect(str(path))
            connection.sendall(json.dumps({"command": command, **more}).encode() + b"\n")
            with connection.makefile("rb") as stream:
                answer: dict[str, Any] = json.loads(stream.readline())
    except (OSError, ValueError) as error:
        raise BoxtraceError(f"recording {path.stem} does not answer: {error}") from error
    if not answer.pop("ok", False):
        raise BoxtraceError(str(answer.get("error")), hint=answer.get("hint"))
    return answer
