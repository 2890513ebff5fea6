"""What ``boxtrace view`` prints is what babeltrace2 prints, byte for byte, but for one error of babeltrace2.

babeltrace2 before 2.0.5 shows an empty string as the value that the same field had before
(https://review.lttng.org/c/babeltrace/+/4528): where it differs, ours must be an empty string.
"""

import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from support.ctf_sample import write_sample

KERNEL = Path(__file__).parents[1] / "data" / "lttng-kernel-trace"
pytestmark = pytest.mark.skipif(shutil.which("babeltrace2") is None, reason="babeltrace2 is not installed")


def output(*command: str | Path) -> tuple[list[str], list[str]]:
    """Return the lines of what a command prints, and of its warnings what comes before the names of places."""
    done = subprocess.run([str(word) for word in command], capture_output=True, check=True)
    warnings = [line.partition(" in trace ")[0] for line in done.stderr.decode().splitlines()]
    return done.stdout.decode("utf-8", "surrogateescape").splitlines(keepends=True), warnings


def our_text(trace: Path) -> tuple[list[str], list[str]]:
    code = "from boxtrace.cli.main import main; main()"
    return output(sys.executable, "-c", code, "view", "--utc", trace)


def assert_same_text(trace: Path, *, losses: int = 0) -> int:
    """Compare, and return in how many lines babeltrace2 has a stale value for an empty string.

    :param losses: how many warnings of lost events both must give, the same.
    """
    ours, warnings = our_text(trace)
    theirs, their_warnings = output("babeltrace2", "--clock-gmt", trace)
    assert warnings == their_warnings
    assert len(warnings) == losses
    assert len(ours) == len(theirs)
    stale = 0
    for own, other in zip(ours, theirs, strict=True):
        if own != other:
            assert re.fullmatch(re.escape(own).replace('""', '"[^"]*"'), other), (own, other)
            stale += 1
    return stale


def test_kernel_trace_of_lttng() -> None:
    assert assert_same_text(KERNEL) < 300


def test_our_own_trace(tmp_path: Path) -> None:
    assert assert_same_text(write_sample(tmp_path)) == 0


def test_what_babeltrace_writes(tmp_path: Path) -> None:
    subprocess.run(["babeltrace2", str(KERNEL), "-o", "ctf", "-w", str(tmp_path)], capture_output=True, check=True)
    assert assert_same_text(tmp_path) == 0


TSDL = """/* CTF 1.8 */
trace { major = 1; minor = 8; byte_order = be; };
typealias integer { size = 8; align = 8; signed = false; } := u8;
stream { event.header := struct { u8 id; }; };
event {
    name = "a"; id = 0;
    fields := struct {
        enum : u8 { x = 1, y = 2 ... 3 } tag;
        variant <tag> { u8 x; string y; } v;
        integer { size = 3; } b;
        integer { size = 5; signed = true; base = b; } c;
        integer { size = 16; align = 8; byte_order = le; base = o; signed = true; } d;
        floating_point { exp_dig = 8; mant_dig = 24; align = 8; } f;
    };
};
event { name = "b"; id = 1; fields := struct { u8 n; struct { u8 q; } s[n]; }; };
"""


def test_no_clock_no_packets_bit_fields_and_both_byte_orders(tmp_path: Path) -> None:
    (tmp_path / "metadata").write_text(TSDL)
    first = b"\0\1\x07\xb6\xff\xff" + struct.pack(">f", -1.5)
    second = b"\0\3hey\0\x21\x34\x12" + struct.pack(">f", 1e20)
    (tmp_path / "data").write_bytes(first + b"\1\2\5\6" + second)
    assert assert_same_text(tmp_path) == 0
    assert len(our_text(tmp_path)[0]) == 3
