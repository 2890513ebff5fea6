"""Traces larger than memory are read a part at a time, and arrays that no packet can hold take none."""

import subprocess
import sys
from pathlib import Path

import pytest

from boxtrace.ctf import lttng
from boxtrace.ctf.tsdl_writer import packetize, write_tsdl
from boxtrace.trace import open_trace
from support.ctf_sample import TRACE, UUID_

DATA = 160 << 20
"""Bytes that a process may have of its own (RLIMIT_DATA): what is mapped of files does not count."""
PACKET = 1 << 20
PACKETS = 64
RECORD = b"\x01\0\x05\0\0\0\x2a\0\0\0"
EACH = (PACKET - lttng.PacketHeader.SIZE) // len(RECORD)
TSDL = """/* CTF 1.8 */
typealias integer {{ size = 8; align = 8; signed = false; }} := uint8_t;
typealias integer {{ size = 32; align = 8; signed = false; }} := uint32_t;
trace {{ major = 1; minor = 8; byte_order = le; }};
stream {{ event.header := struct {{ uint8_t id; }}; }};
event {{ name = "e"; id = 0; fields := struct {{ {fields} }}; }};
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a trace whose columns take more than twice the memory that a process may have."""
    directory = tmp_path_factory.mktemp("large")
    (directory / "metadata").write_bytes(packetize(write_tsdl(TRACE), UUID_))
    body = RECORD * EACH
    with (directory / "channel0_0").open("wb") as file:
        for number in range(PACKETS):
            header = lttng.PacketHeader(
                uuid=UUID_,
                stream_id=0,
                stream_instance_id=0,
                timestamp_begin=5,
                timestamp_end=5,
                content_size=(lttng.PacketHeader.SIZE + len(body)) * 8,
                packet_size=PACKET * 8,
                packet_seq_num=number,
                events_discarded=0,
                cpu_id=0,
            ).pack()
            file.write((header + body).ljust(PACKET, b"\0"))
    return directory


def limited(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run Python code with so much memory."""
    code = f"import resource; resource.setrlimit(resource.RLIMIT_DATA, ({DATA}, {DATA}))\n{code}"
    command = [sys.executable, "-c", code, *[str(word) for word in arguments]]
    return subprocess.run(command, capture_output=True, check=False, timeout=600)


def boxtrace(*arguments: str | Path) -> bytes:
    """Run a command with so much memory, and return what it prints."""
    done = limited("from boxtrace.cli.main import main; main()", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_limit_is_one(large: Path) -> None:
    done = limited("import sys, boxtrace; boxtrace.open(sys.argv[1]).table('nothing')", large)
    assert b"MemoryError" in done.stderr


def test_batches_of_a_trace_larger_than_memory(large: Path) -> None:
    code = "print(sum(len(tables['nothing']) for tables in boxtrace.open(sys.argv[1]).batches(['nothing'])))"
    done = limited(f"import sys, boxtrace; {code}", large)
    assert (done.stdout, done.stderr) == (b"%d\n" % (EACH * PACKETS), b"")


def test_a_trace_larger_than_memory_is_summarized(large: Path) -> None:
    assert f"{EACH * PACKETS:,} nothing".encode() in boxtrace("info", large)


def test_a_trace_larger_than_memory_is_viewed(large: Path) -> None:
    code = "from boxtrace.view.fast_text import text_pieces\nimport sys, boxtrace\n"
    count = "print(sum(piece.count(b'\\n') for piece in text_pieces(boxtrace.open(sys.argv[1]))))"
    done = limited(code + count, large)
    assert (done.stdout, done.stderr) == (b"%d\n" % (EACH * PACKETS), b"")


@pytest.mark.parametrize("form", ["ctf1", "ctf2"])
def test_a_trace_larger_than_memory_is_converted(large: Path, tmp_path: Path, form: str) -> None:
    boxtrace("convert", large, tmp_path / "out", "--to", form)
    assert (tmp_path / "out" / large.name / "channel0_0").stat().st_size == PACKET * PACKETS


def descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def test_a_trace_that_is_open_holds_no_descriptor(large: Path) -> None:
    """There may be more streams than a process may have open files."""
    before = descriptors()
    trace = open_trace(large)
    assert descriptors() == before
    assert trace.streams


def test_events_of_a_trace_larger_than_memory(large: Path) -> None:
    """All are looked at, by the native core; none becomes an object."""
    code = "print(sum(1 for _ in boxtrace.open(sys.argv[1]).events(filter='$ctx.pid == 43')))"
    done = limited(f"import sys, boxtrace; {code}", large)
    assert (done.stdout, done.stderr) == (b"0\n", b"")


BOMBS = {
    "long array": ("uint8_t a[1000000000];", b"\0" + bytes(99), b"8000000000 bits expected"),
    "array of arrays": ("uint8_t a[100000][100000];", b"\0" + bytes(99), b"80000000000 bits expected"),
    "array of strings": ("string a[100000000];", b"\0" + bytes(99), b"800000000 bits expected"),
    "array of structures": (
        "struct { uint8_t x; string s; } a[100000000];",
        b"\0" + bytes(99),
        b"1600000000 bits expected",
    ),
    "array of nothing": ("struct { } a[4000000000];", b"\0" + bytes(99), b"4000000000 elements of no size"),
    "sequence": ("uint32_t n; uint8_t a[n];", b"\0" + b"\xff" * 100, b"34359738360 bits expected"),
    "sequence of nothing": ("uint32_t n; struct { } a[n];", b"\0" + b"\xff" * 100, b"4294967295 elements of no size"),
    "sequence of long arrays": (
        "uint32_t n; struct { uint8_t b[100000000]; } a[n];",
        b"\0\x10\0\0\0" + bytes(99),
        b"12800000000 bits expected",
    ),
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("read", ["for _ in trace.batches(['e']): pass", "for _ in trace.events(): pass"])
def test_an_array_that_the_packet_cannot_hold(tmp_path: Path, bomb: str, read: str) -> None:
    fields, data, expected = BOMBS[bomb]
    (tmp_path / "metadata").write_text(TSDL.format(fields=fields))
    (tmp_path / "stream").write_bytes(data)
    done = limited(f"import sys, boxtrace; trace = boxtrace.open(sys.argv[1])\n{read}", tmp_path)
    error = done.stderr.splitlines()[-1]
    assert error.startswith(b"boxtrace.errors.TraceFormatError: " + str(tmp_path / "stream").encode()), done.stderr
    assert expected in error
    assert b"field a" in error


@pytest.mark.parametrize("read", ["sum(len(t['e']) for t in trace.batches(['e']))", "sum(1 for _ in trace.events())"])
def test_a_long_array_in_an_option_that_is_not_chosen(tmp_path: Path, read: str) -> None:
    fields = "enum : uint8_t { x, y } t; variant <t> { uint8_t x; uint8_t y[100000000]; } v;"
    (tmp_path / "metadata").write_text(TSDL.format(fields=fields))
    (tmp_path / "stream").write_bytes(b"\0\0\1" * 2000)
    done = limited(f"import sys, boxtrace; trace = boxtrace.open(sys.argv[1])\nprint({read})", tmp_path)
    assert (done.stdout, done.stderr) == (b"2000\n", b"")


def test_types_that_name_one_another(tmp_path: Path) -> None:
    """Thirty lines that would be two thousand million fields."""
    types = "".join(f"struct s{at + 1} {{ struct s{at} a; struct s{at} b; }};\n" for at in range(30))
    tsdl = TSDL.format(fields="struct s30 a;").replace("stream {", f"struct s0 {{ uint8_t a; }};\n{types}stream {{")
    (tmp_path / "metadata").write_text(tsdl)
    (tmp_path / "stream").write_bytes(bytes(100))
    done = limited("import sys, boxtrace; boxtrace.open(sys.argv[1])", tmp_path)
    assert b"a structure has more than 262144 fields" in done.stderr.splitlines()[-1]
