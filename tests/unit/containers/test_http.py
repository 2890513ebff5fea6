"""An HTTP API on a Unix socket: kept connections, streams, and those who answer with anything else."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from boxtrace.containers._http import HttpApi, HttpApiError


@contextmanager
def server(path: Path, *answers: bytes, stays: bool = False) -> Iterator[HttpApi]:
    """Somebody who answers the requests of one connection after the other: each with one of these, in turn.

    :param stays: leave the last connection open until the other side closes it.
    """
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            left = list(answers)
            while left:
                connection, _ = listener.accept()
                with connection:
                    while left and connection.recv(1 << 16):
                        answer = left.pop(0)
                        connection.sendall(answer)
                        if b"Connection: none" in answer:
                            break  # without a word to the other side
                    if stays and not left:
                        connection.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        api = HttpApi(str(path), seconds=5)
        yield api
        api.close()
        thread.join()


def whole(value: object, status: str = "200 OK", headers: str = "") -> bytes:
    body = json.dumps(value).encode()
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def chunked(*pieces: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(
        b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces
    )


def test_requests_share_a_connection(tmp_path: Path) -> None:
    with server(tmp_path / "s", whole({"a": 1}), whole([2])) as api:
        assert (api.get("/a"), api.get("/b", {"all": "1"})) == ({"a": 1}, [2])


def test_a_connection_that_was_closed_since_is_made_again(tmp_path: Path) -> None:
    with server(tmp_path / "s", whole(1, headers="Connection: none\r\n"), whole(2)) as api:
        assert (api.get("/"), api.get("/")) == (1, 2)


def test_what_a_daemon_says_of_a_request_that_it_refuses(tmp_path: Path) -> None:
    refused = whole({"message": "No such\x1b container"}, "404 Not Found")
    with server(tmp_path / "s", refused, whole("?", "500 Oh")) as api:
        with pytest.raises(HttpApiError, match=r"No such\\x1b container") as caught:
            api.get("/containers/x/json")
        assert caught.value.status == 404
        with pytest.raises(HttpApiError, match=r"500 \(Oh\)"):
            api.get("/")


@pytest.mark.parametrize("answer", [b"no HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{,,,}", b"\0"])
def test_anything_else_is_an_error(tmp_path: Path, answer: bytes) -> None:
    with server(tmp_path / "s", answer + b"Connection: none") as api, pytest.raises(HttpApiError):
        api.get("/")


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(HttpApiError, match="No such file"):
        HttpApi(str(tmp_path / "s"), seconds=5).get("/")


def test_values_come_line_by_line_however_they_are_cut(tmp_path: Path) -> None:
    pieces = b'{"a"', b': 1}\n{"b": 2}\n\n{"c":', b"3}\n"
    with server(tmp_path / "s", chunked(*pieces, b"")) as api:
        assert list(api.stream("/events", patient=True)) == [{"a": 1}, {"b": 2}, {"c": 3}]


def test_a_stream_of_no_json(tmp_path: Path) -> None:
    with server(tmp_path / "s", chunked(b"{}\n", b"nonsense\n", b"")) as api:
        values = api.stream("/events")
        assert next(values) == {}
        with pytest.raises(HttpApiError):
            next(values)


def test_a_stream_is_broken_off_by_another_thread(tmp_path: Path) -> None:
    came, ended = threading.Event(), threading.Event()

    def follow(api: HttpApi) -> None:
        try:
            for _ in api.stream("/events", patient=True):
                came.set()
        except HttpApiError:
            ended.set()

    with server(tmp_path / "s", chunked(b"1\n"), stays=True) as api:
        thread = threading.Thread(target=follow, args=(api,))
        thread.start()
        assert came.wait(20)
        api.close()
        assert ended.wait(20)
        thread.join()
