"""Channel options of the command line, and recordings described by a file."""

from pathlib import Path

import click
import pytest

from boxtrace.cli.channels import ChannelCommand, chosen_channels
from boxtrace.cli.record import command as record_command
from boxtrace.errors import UsageError
from boxtrace.kernel.selection import FilterRule
from boxtrace.session.config import CHANNEL_KEYS, KEYS, load_config
from boxtrace.session.options import ChannelOptions, RecordOptions


def channels(*arguments: str) -> tuple[ChannelOptions, ...] | None:
    options = [
        click.Option(["-e", "--event"], multiple=True),
        click.Option(["--filter"], multiple=True),
        click.Option(["--limit"], multiple=True),
        click.Option(["--sample"], multiple=True),
        click.Option(["--context"]),
        click.Option(["--subbuf-size"]),
        click.Option(["--num-subbuf"]),
        click.Option(["--channel"], multiple=True),
        click.Argument(["rest"], nargs=-1, type=click.UNPROCESSED),
    ]
    command = ChannelCommand("record", params=options)
    return chosen_channels(command.make_context("record", list(arguments)))


def test_no_channel_option_is_no_channel() -> None:
    assert channels() is None
    assert channels("--", "-e", "x") is None


def test_options_before_a_channel_are_its_own() -> None:
    found = channels(
        "-e", "sched_*", "--event=irq_*", "--context", "tid,pid_ns", "--subbuf-size=64k", "--channel", "sched",
        "-esyscall_*", "--context", "none", "--num-subbuf", "4", "--channel=calls",
        "-e", "block_*",
    )  # fmt: skip
    assert found == (
        ChannelOptions(name="sched", events=("sched_*", "irq_*"), contexts=("tid", "pid_ns"), subbuf_size=1 << 16),
        ChannelOptions(name="calls", events=("syscall_*",), contexts=(), num_subbuf=4),
        ChannelOptions(name="channel0", events=("block_*",)),
    )


def test_limits_are_of_the_rule_before_them() -> None:
    found = channels(
        "--sample=1/2", "-e", "sched_*", "--limit", "10/s", "-e", "block_*", "--limit=1/m", "--sample", "1/9"
    )
    assert found is not None
    assert [(limit.events, *limit.texts()) for limit in found[0].limits] == [
        ("*", "1/2"), ("sched_*", "10/s:1"), ("block_*", "1/m:1"), ("block_*", "1/9"),
    ]  # fmt: skip
    with pytest.raises(UsageError, match="is no rate"):
        channels("-e", "sched_*", "--limit", "some")


def test_a_file_has_limits(tmp_path: Path) -> None:
    file = tmp_path / "record.toml"
    file.write_text('event = ["sched_*"]\nlimit = { "sched_*" = "10/s" }\nsample = { "*" = "1/5" }\n')
    (channel,) = load_config(file)["channels"]
    assert [(limit.events, *limit.texts()) for limit in channel.limits] == [("sched_*", "10/s:1"), ("*", "1/5")]
    for wrong in ('limit = "10/s"', 'limit = { "*" = "often" }', 'sample = { "*" = 5 }'):
        file.write_text(f"{wrong}\n")
        with pytest.raises(UsageError, match=r"record\.toml:1"):
            load_config(file)


def test_a_channel_needs_a_rule() -> None:
    with pytest.raises(UsageError, match="no event rule"):
        channels("--context", "tid", "--channel", "empty")


def test_channel_names_differ(tmp_path: Path) -> None:
    twice = (ChannelOptions(name="a"), ChannelOptions(name="a"))
    with pytest.raises(UsageError, match="a name of its own"):
        RecordOptions(output=tmp_path, channels=twice).check()
    with pytest.raises(UsageError, match="cannot name a channel"):
        ChannelOptions(name="../up").check()


@pytest.mark.parametrize("size", [0, 4096, 100_000, 1 << 29])
def test_sub_buffer_sizes_are_checked(size: int) -> None:
    with pytest.raises(UsageError, match="power of two"):
        ChannelOptions(subbuf_size=size).check()


def test_a_file_describes_a_recording(tmp_path: Path) -> None:
    file = tmp_path / "record.toml"
    file.write_text(
        'container = ["web"]\nduration = 30\nflight-recorder = true\n'
        '[[channel]]\nname = "sched"\nevent = ["sched_*"]\ncontext = ["tid"]\nsubbuf-size = 65536\n'
    )
    options = RecordOptions(output=tmp_path, **load_config(file))
    assert options.containers == ("web",)
    assert options.duration == 30.0
    assert options.flight_recorder
    assert options.channels == (
        ChannelOptions(name="sched", events=("sched_*",), contexts=("tid",), subbuf_size=65536),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("contaner = []", "no option 'contaner'"),
        ("\nduration = 'long'", "toml:2: duration: 'long' is not a time such as 10s"),
        ("duration = 0", "toml:1: a time must be more than 0"),
        ("pid = [1, 'me']", "toml:1: --pid 'me' is no number"),
        ("container = 'web'", "toml:1: container: 'web' is not a list of texts"),
        ("uid = 5", "toml:1: uid: 5 is not a list of numbers and texts"),
        ("follow = 1", "toml:1: follow: 1 is not true or false"),
        ("state-dump = true", "toml:1: state-dump: True is neither 'selected' nor 'all'"),
        ("subbuf-size = '100k'", "toml:1: the sub-buffer size is 102400: it must be a power of two"),
        ("[[channel]]\nevents = []", "toml:2: there is no option 'events'"),
        ("num-subbuf = 4\n[[channel]]\nevent = ['*']\n[[channel]]\nnum-subbuf = 3", "toml:5: .*is 3"),
        ("user-context = ['ip', 'tid']", "toml:1: there is no context 'tid' to choose for applications"),
        ("user-context = 'perf:thread:colours'", "toml:1: there is no perf counter 'colours'"),
        ("user-context = 'ip,ip'", "toml:1: .*named twice"),
        ("[[channel]]\nname = 'a'", "toml:2: channel 'a' has no event rule"),
        ("channel = [{ event = [], num-subbuf = 3 }]", "toml, channel 1: .*is 3"),
        ("[channel]\nname = 'x'", "written \\[\\[channel\\]\\]"),
        ("[[channel]]\nevent = ['*']\ncontext = ['tid', 'colour']", "toml:3: there is no context 'colour'"),
        ("[[channel]]\nevent = ['*']\nfilter = { '*' = 'fd == ' }", "toml:3: filter: (.|\n)*  fd == \n"),
        ("= 1", "cannot read"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "record.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        load_config(file)


def test_the_command_line_and_the_file_have_the_same_options() -> None:
    own = {"config", "quiet", "channel", "help"}  # about the file, about what is printed; [[channel]] is the file's own
    names = {
        name.removeprefix("--")
        for parameter in record_command.params
        for name in parameter.opts
        if name.startswith("--")
    }
    assert names - own == {*KEYS, *CHANNEL_KEYS} - {"command", "name"}


def test_options_of_a_channel_outside_of_any_are_the_default_ones(tmp_path: Path) -> None:
    file = tmp_path / "record.toml"
    file.write_text(
        "event = ['irq_*']\ncontext = 'tid, pid_ns'\nno-state-dump = true\nbuffer-bytes = '1k'\nflush = '200ms'\n"
        "[[channel]]\nname = 'sched'\nevent = ['sched_*']\ncontext = 'none'\nsubbuf-size = '64k'\n"
        "filter = { 'sched_switch' = 'prev_tid > 1' }\n"
    )
    options = RecordOptions(output=tmp_path, **load_config(file))
    assert options.channels == (
        ChannelOptions(
            name="sched",
            events=("sched_*",),
            contexts=(),
            filters=(FilterRule("sched_switch", "prev_tid > 1"),),
            subbuf_size=1 << 16,
        ),
        ChannelOptions(events=("irq_*",), contexts=("tid", "pid_ns")),
    )
    assert (options.state_dump, options.buffer_bytes, options.flush_seconds) == (False, 1024, 0.2)
