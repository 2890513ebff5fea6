"""Messages of gRPC: what is not one is refused, whatever its bytes are."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxtrace.containers._grpc import GrpcChannel, GrpcError, Message, encode_text


def test_fields_of_all_types() -> None:
    inner = encode_text(1, "key") + encode_text(2, "wert")
    data = b"\x08\x96\x01" + encode_text(2, "é") + b"\x1a" + bytes([len(inner)]) + inner
    data += b"\x25" + struct.pack("<I", 7) + b"\x29" + struct.pack("<Q", 8) + encode_text(2, "last")
    message = Message(data)
    assert (message.number(1), message.text(2), message.texts(3)) == (150, "last", {"key": "wert"})
    assert [piece.decode() for piece in message.pieces(2)] == ["é", "last"]
    assert (message.number(2), message.text(1), message.message(9).text(1), message.messages(8)) == (0, "", "", [])


@pytest.mark.parametrize("data", [b"\x08", b"\x08" + b"\xff" * 11, b"\x12\x05ab", b"\x0b", b"\x21\x00", b"\xff"])
def test_bytes_that_are_no_message(data: bytes) -> None:
    with pytest.raises(GrpcError, match="no message"):
        Message(data)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_an_error(data: bytes) -> None:
    try:
        message = Message(data)
        message.texts(1), message.text(2), message.message(3)
    except GrpcError:
        pass


@contextmanager
def server(path: Path, answer: bytes) -> Iterator[None]:
    """Somebody who answers every connection with the same bytes, and hangs up."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 100, b"\xff" * 100])
def test_who_does_not_speak_the_protocol(tmp_path: Path, answer: bytes) -> None:
    with (
        server(tmp_path / "socket", answer),
        pytest.raises(GrpcError),
        GrpcChannel(str(tmp_path / "socket"), seconds=3) as channel,
    ):
        channel.call("/some.Service/Method")
