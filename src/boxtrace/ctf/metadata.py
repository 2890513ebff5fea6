"""A trace's metadata file: plain or in packets, TSDL (CTF 1.8) or JSON (CTF 2)."""

from __future__ import annotations

import struct
from pathlib import Path

from boxtrace.collector import paused_collector
from boxtrace.ctf.model import TraceClass
from boxtrace.ctf.tsdl_writer import METADATA_MAGIC
from boxtrace.errors import TraceFormatError

__all__ = ["read_metadata"]

_HEADER = "I16sIIIBBBBB"
_HEADER_SIZE = 37


def read_metadata(path: Path) -> TraceClass:
    """Return what a metadata file declares.

    :raises TraceFormatError: if it is neither TSDL nor CTF 2 metadata, or is wrong.
    :raises OSError: if it cannot be read.
    """
    data = path.read_bytes()
    for order in "<>":
        if len(data) >= 4 and struct.unpack_from(order + "I", data)[0] == METADATA_MAGIC:
            data = _unpacked(data, order, str(path))
            break
    text = data.rstrip(b"\0").decode("utf-8", "replace")
    with paused_collector():
        return _parse(text, str(path))


def _parse(text: str, path: str) -> TraceClass:
    # The parsers are imported when there is something to parse: starting the command line must not pay for them.
    if text.lstrip(" \t\r\n").startswith(("\x1e", "{")):
        from boxtrace.ctf.json_parser import parse_json

        return parse_json(text, path)
    from boxtrace.ctf.tsdl_parser import parse_tsdl

    return parse_tsdl(text, path)


def _unpacked(data: bytes, order: str, path: str) -> bytes:
    """Return the contents of metadata packets, one after another."""
    parts = []
    offset = 0
    while offset < len(data):
        if len(data) - offset < _HEADER_SIZE:
            raise TraceFormatError("a metadata packet is cut off in its header", path=path, offset=offset)
        magic, _, _, content, size, compression, encryption, *_ = struct.unpack_from(order + _HEADER, data, offset)
        if magic != METADATA_MAGIC:
            raise TraceFormatError(f"not a metadata packet: magic {magic:#x}", path=path, offset=offset)
        if compression or encryption:
            raise TraceFormatError("the metadata is compressed or encrypted", path=path, offset=offset)
        if content % 8 or size % 8 or not _HEADER_SIZE * 8 <= content <= size:
            message = f"a metadata packet of {size} bits cannot have {content} bits of content"
            raise TraceFormatError(message, path=path, offset=offset)
        if offset + content // 8 > len(data):
            raise TraceFormatError("a metadata packet is cut off", path=path, offset=offset)
        parts.append(data[offset + _HEADER_SIZE : offset + content // 8])
        offset += size // 8
    return b"".join(parts)
