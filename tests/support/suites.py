"""Small CTF 1.8 traces, and their reading by babeltrace2 and by boxtrace."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

import boxtrace
from boxtrace.errors import TraceFormatError
from boxtrace.view.fast_text import text_pieces
from boxtrace.view.text import TextView

MAGIC = 0xC1FC1FC1
TSDL = """/* CTF 1.8 */
typealias integer { size = 8; align = 8; signed = false; } := uint8_t;
typealias integer { size = 16; align = 8; signed = false; } := uint16_t;
typealias integer { size = 32; align = 8; signed = false; } := uint32_t;
typealias integer { size = 64; align = 8; signed = false; } := uint64_t;
trace { major = 1; minor = 8; byte_order = le; packet.header := struct { uint32_t magic; uint32_t stream_id; }; };
stream {
  id = 0;
  packet.context := struct { uint32_t content_size; uint32_t packet_size; };
  event.header := struct { uint8_t id; };
};
event { name = "e"; id = 0; stream_id = 0; fields := struct { FIELDS }; };
"""
PLAIN = TSDL.replace("FIELDS", "uint8_t a;")


def packet(
    body: bytes, *, content: int | None = None, size: int | None = None, magic: int = MAGIC, stream: int = 0
) -> bytes:
    """A packet of a trace with the metadata of TSDL; ``body`` is its events."""
    bits = (16 + len(body)) * 8
    head = struct.pack("<4I", magic, stream, bits if content is None else content, bits if size is None else size)
    return head + body


def write_trace(directory: Path, metadata: str | bytes, data: bytes) -> None:
    """Make a trace of one stream file."""
    (directory / "metadata").write_bytes(metadata.encode() if isinstance(metadata, str) else metadata)
    (directory / "stream").write_bytes(data)


def read_text(directory: Path) -> tuple[bytes, TraceFormatError | None]:
    """A trace's text as far as it can be read, and what kept it from being read further."""
    text = b""
    try:
        trace = boxtrace.open(directory)
        try:
            pieces: Iterable[bytes] = text_pieces(trace, utc=True)
        except NotImplementedError:  # `boxtrace view` then goes the slower way, too
            pieces = (line.encode() for line in TextView(utc=True).lines(trace.events()))
        for piece in pieces:
            text += piece
    except TraceFormatError as error:
        return text, error
    return text, None


def assert_fields_same(directory: Path, fields: str, data: bytes) -> None:
    """Read an event of these fields with both."""
    assert_same(directory, TSDL.replace("FIELDS", fields), packet(b"\0" + data))


def assert_edit_same(directory: Path, old: str, new: str, events: bytes) -> None:
    """Read a trace with both whose metadata has a text in place of another."""
    assert old in PLAIN
    assert_same(directory, PLAIN.replace(old, new, 1), packet(events))


def assert_same(directory: Path, metadata: str | bytes, data: bytes) -> None:
    """Read a trace with both: the text is the same, and both refuse it or neither does."""
    write_trace(directory, metadata, data)
    command = ["babeltrace2", "--clock-gmt", str(directory)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=600)
    text, error = read_text(directory)
    assert (text, error is None) == (done.stdout, done.returncode == 0), (error, done.stderr.decode())
    assert error is None or str(directory) in str(error)
