import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from boxtrace.ctf.decode import Choice
from boxtrace.ctf.fields import (
    ArrayField,
    BlobField,
    BoolField,
    DisplayBase,
    EnumMapping,
    FieldClass,
    FieldLocation,
    FloatField,
    IntegerField,
    Member,
    OptionField,
    Scope,
    StringField,
    StructField,
    VariantField,
    VariantOption,
)
from boxtrace.session.options import Status
from boxtrace.view.recording import StatusLine
from boxtrace.view.values import shower
from support.ctf_sample import TEXT, write_sample

WHERE = FieldLocation(Scope.EVENT_PAYLOAD, ("n",))
U8 = IntegerField(size=8)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        (IntegerField(size=32, signed=True), -5, "-5"),
        (IntegerField(size=32, base=DisplayBase.HEXADECIMAL), 0xABCDE, "0xABCDE"),
        (IntegerField(size=6, signed=True, base=DisplayBase.HEXADECIMAL), -1, "0xFF"),
        (IntegerField(size=64, signed=True, base=DisplayBase.HEXADECIMAL), -1, "0xFFFFFFFFFFFFFFFF"),
        (IntegerField(size=32, base=DisplayBase.OCTAL), 0o644, "0644"),
        (IntegerField(size=8, signed=True, base=DisplayBase.OCTAL), -1, "0777"),
        (IntegerField(size=5, base=DisplayBase.BINARY), 5, "0b00101"),
        (
            IntegerField(size=8, mappings=(EnumMapping("A", ((1, 2),)), EnumMapping('b"', ((2, 2),)))),
            2,
            '( "A", "b\\"" : container = 2 )',
        ),
        (IntegerField(size=8, mappings=(EnumMapping("A", ((1, 2),)),)), 9, "( <unknown> : container = 9 )"),
        (FloatField(size=64), 1234567.0, "1.23457e+06"),
        (FloatField(size=64), float("nan"), "nan"),
        (BoolField(size=8), True, "true"),
        (BlobField(length=2), b"\1\xff", "{ 01 ff }"),
        (StringField(), "a'\"\\?\n\x01é\x7f", '"a\\\'\\"\\\\\\?\\n\\x01é\\x7f"'),
        (ArrayField(element=U8, length=2), [4, 5], "[ [0] = 4, [1] = 5 ]"),
        (ArrayField(element=U8, length=0), [], "[ ]"),
        (StructField(members=(Member("x", U8), Member("y", StructField()))), {"x": 1, "y": {}}, "{ x = 1, y = { } }"),
        (VariantField(selector=WHERE, options=(VariantOption("o", U8, ((0, 9),)),)), Choice(0, 3), "{ 3 }"),
        (OptionField(selector=WHERE, field=U8), None, "<none>"),
        (OptionField(selector=WHERE, field=U8), 3, "{ 3 }"),
    ],
)
def test_values(field: FieldClass, value: object, text: str) -> None:
    assert shower(field)(value) == text


def run(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from boxtrace.cli.main import main; main()", "view", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=check)


def test_text(tmp_path: Path) -> None:
    done = run("--utc", write_sample(tmp_path))
    assert (done.stdout, done.stderr) == (TEXT, "")


def test_json(tmp_path: Path) -> None:
    done = run("--json", "--event", "sched_*", write_sample(tmp_path))
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {
            "timestamp": 1_000_000_000_000_000_005,
            "name": "sched_process_fork",
            "host": "host",
            "packet": {"cpu_id": 0},
            "context": {"pid": 42},
            "fields": {"comm": "comm", "_vtids_length": 2, "vtids": [10, 11], "state": 4, "filename": "hello"},
        }
    ]


def test_csv(tmp_path: Path) -> None:
    done = run("--csv", write_sample(tmp_path))
    assert done.stdout.splitlines()[0] == "timestamp,name,cpu_id,pid,fields"
    assert done.stdout.splitlines()[2] == "1000000004294967302,nothing,0,43,{}"


def test_no_trace_and_no_container_context(tmp_path: Path) -> None:
    done = run(tmp_path, check=False)
    assert done.returncode == 1
    assert "no trace is there" in done.stderr and "hint:" in done.stderr
    done = run("--container", "5", write_sample(tmp_path / "t"), check=False)
    assert done.returncode == 1
    assert "pid namespace" in done.stderr


def test_damage_is_told_after_what_comes_before_it(tmp_path: Path) -> None:
    write_sample(tmp_path)
    with (tmp_path / "kernel" / "channel0_0").open("ab") as file:
        file.write(b"garbage")
    done = run("--utc", tmp_path, check=False)
    assert (done.returncode, done.stdout) == (1, TEXT)
    assert "packet at byte 4096" in done.stderr


def test_closed_pipe_is_no_error(tmp_path: Path) -> None:
    write_sample(tmp_path)
    code = "from boxtrace.cli.main import main; main()"
    done = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -c "{code}" view "{tmp_path}" | true; exit ${{PIPESTATUS[0]}}'],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_status_line_makes_way_for_what_is_said() -> None:
    stream = io.StringIO()
    line = StatusLine(stream)
    line.say("first")
    line.update(Status(events=10, lost=0, size=2048, seconds=2.0, watching=1))
    line.say("second")
    line.update(Status(events=30, lost=1, size=4096, seconds=4.0, watching=0))
    line.clear()
    line.clear()
    assert stream.getvalue().split("\r\x1b[K") == [
        "first\n",
        "recording 2 s · 10 events · 5/s · 2.0 KiB · 0 lost · 1 watched",
        "second\n",
        "recording 4 s · 30 events · 10/s · 4.0 KiB · 1 lost",
        "",
    ]
