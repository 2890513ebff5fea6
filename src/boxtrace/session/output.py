"""The directory of a new trace: created, owned by who asked for it, described by its metadata."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

from boxtrace.consumer.files import FileSink
from boxtrace.consumer.rings import PacketSink
from boxtrace.containers.mounts import host_viewer
from boxtrace.ctf.json_writer import write_json
from boxtrace.ctf.lttng import (
    PACKET_HEADER,
    kernel_environment,
)
from boxtrace.ctf.model import ClockClass, StreamClass, TraceClass
from boxtrace.ctf.tsdl_writer import packetize, write_tsdl
from boxtrace.errors import OutputError
from boxtrace.version import VERSION

__all__ = ["TraceDirectory", "TraceWriter", "kernel_trace_class"]

KERNEL_DOMAIN = "kernel"


def kernel_trace_class(*, name: str, uuid: UUID, clock: ClockClass, streams: Iterable[StreamClass]) -> TraceClass:
    """Describe a kernel trace in LTTng's form."""
    system = platform.uname()
    environment = dict(
        kernel_environment(
            hostname=system.node,
            kernel_release=system.release,
            kernel_version=system.version,
            session_name=name,
            created=datetime.now().astimezone(),
        )
    )
    environment["boxtrace_version"] = VERSION
    environment["host_mnt_ns"] = host_viewer()[1]
    return TraceClass(
        uuid=uuid, environment=environment, packet_header=PACKET_HEADER, clocks=(clock,), streams=tuple(streams)
    )


class TraceDirectory:
    """A new trace on disk. Its files belong to who called sudo, if anybody did, and others cannot read them."""

    def __init__(self, path: Path, *, ctf2: bool = False) -> None:
        """Check that a trace can be put there; nothing is created yet.

        :param ctf2: its metadata is that of CTF 2 (packets are laid out alike).
        :raises OutputError: if something is there already.
        """
        self.path = path
        self.kernel = path / KERNEL_DOMAIN
        self.uuid = uuid4()
        self._ctf2 = ctf2
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise OutputError(
                f"{path} exists and is not an empty directory",
                path=str(path),
                hint="choose another directory with -o, or remove it: a trace is never overwritten",
            )

    def create(self, trace: TraceClass) -> None:
        """Create the directories and write the metadata.

        :raises OutputError: if that is not possible; nothing is left of it.
        """
        os.umask(0o027)
        is_ours = False
        try:
            (self.kernel / "index").mkdir(parents=True)
            is_ours = True
            metadata = write_json(trace).encode() if self._ctf2 else packetize(write_tsdl(trace), self.uuid)
            (self.kernel / "metadata").write_bytes(metadata)
        except OSError as error:
            if is_ours:
                self.remove()
            for directory in (self.kernel, self.path):
                with suppress(OSError):
                    directory.rmdir()  # not what somebody else has put there since
            raise OutputError(f"cannot create the trace: {error}", path=str(self.path)) from error

    def remove(self) -> None:
        """Remove the trace, as far as that is possible."""
        shutil.rmtree(self.path, ignore_errors=True)

    def hand_over(self) -> None:
        """Give the files to the user who called sudo."""
        owner = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
        if os.geteuid() != 0 or not all(part.isdecimal() for part in owner):
            return
        for directory, _, files in os.walk(self.path):
            for name in (".", *files):
                os.chown(Path(directory, name), int(owner[0]), int(owner[1]), follow_symlinks=False)


class TraceWriter:
    """A trace that is being written: its directory, and a sink per channel."""

    def __init__(self, directory: TraceDirectory, trace: TraceClass, channels: Iterable[str]) -> None:
        """Create the trace.

        :param channels: names, in the order of the stream classes.
        :raises OutputError: if that is not possible.
        """
        self._directory = directory
        directory.create(trace)
        self.path = directory.path
        self.files = [
            FileSink(directory.kernel, name, trace_uuid=directory.uuid, stream_id=number)
            for number, name in enumerate(channels)
        ]
        self.sinks: list[PacketSink] = [*self.files]
        """Where the channels' packets go: to the files, unless something is put before them."""

    @property
    def size(self) -> int:
        """Bytes of packets written so far."""
        return sum(sink.size for sink in self.files)

    def abandon(self) -> None:
        """Remove the trace again if there is nothing in it."""
        if self.size == 0:
            self.remove()

    def remove(self) -> None:
        """Remove the trace again, whatever is in it."""
        self._directory.remove()

    def close(self) -> None:
        """Close the files and hand them to who asked for the trace."""
        for sink in self.files:
            sink.close()
        self._directory.hand_over()
