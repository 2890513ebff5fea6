"""``boxtrace record``."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from boxtrace.cli._tracking import given_ids, tracking_options
from boxtrace.cli.channels import ChannelCommand, chosen_channels
from boxtrace.cli.types import Duration, Size
from boxtrace.errors import UsageError
from boxtrace.session.config import context_names, load_config
from boxtrace.session.options import FORMATS, RecordOptions
from boxtrace.session.recording import record
from boxtrace.view.recording import StatusLine, format_summary

__all__ = ["command"]

# Names of click parameters, where they differ from those of RecordOptions.
_PARAMETERS = {
    "command": "program",
    "state_dump": "no_state_dump",
    "state_dump_all": "state_dump_scope",
}


@click.command(cls=ChannelCommand)
@tracking_options
@click.option("--follow", is_flag=True, help="Also record the processes that those of --pid fork.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where to write the trace. Default: boxtrace-DATE-TIME here.",
)
@click.option(
    "-e",
    "--event",
    "events",
    multiple=True,
    metavar="GLOB",
    help="Record only events with such names: 'sched_*', syscall_entry_openat, 'block:*' (boxtrace list events); '*' "
    "is everything. Repeatable. Default: system calls and the scheduler's main events.",
)
@click.option(
    "--user",
    multiple=True,
    metavar="GLOB",
    help="Also record events of applications with such names: 'app:*'; '!app:noisy' after it excludes. Repeatable.",
)
@click.option(
    "--user-context",
    "user_contexts",
    metavar="NAMES",
    help="Contexts to add to each event of applications, separated by commas: 'ip', 'perf:thread:page-faults'. All "
    "others are recorded in any case.",
)
@click.option(
    "--lttng-ust",
    multiple=True,
    metavar="GLOB",
    help="Also record such events of applications with LTTng-UST, by LTTng's own daemon. Repeatable.",
)
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="EXPR",
    help="Of the events of the -e before it, record only those that match, in LTTng's filter language.",
)
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="N/UNIT[:BURST]",
    help="Of the events of the -e before it, record at most so many of each container: 1000/s, 10/m, 1000/s:5000.",
)
@click.option(
    "--sample",
    "samples",
    multiple=True,
    metavar="1/N",
    help="Of the events of the -e before it, record one in N of each container, at random.",
)
@click.option(
    "--context",
    "contexts",
    metavar="NAMES",
    help="Contexts to add to each event, separated by commas: 'default,prio,uid', 'tid,callstack-user', "
    "'perf:cpu:page-faults'; 'none' for none. Default: names, ids and namespaces.",
)
@click.option(
    "--channel",
    "channel_names",
    multiple=True,
    metavar="NAME",
    help="Put what -e, --filter, --limit, --sample, --context, --subbuf-size and --num-subbuf before it say into a "
    "channel. Repeatable.",
)
@click.option("-d", "--duration", type=Duration(), help="Stop after this time (10s, 5m).")
@click.option(
    "--subbuf-size", type=Size(), default="1M", show_default=True, help="Size of a sub-buffer, a power of two."
)
@click.option("--num-subbuf", type=int, default=8, show_default=True, help="Sub-buffers per CPU, a power of two.")
@click.option(
    "--flush",
    "flush_seconds",
    type=Duration(),
    default="1s",
    show_default=True,
    help="How long an event may wait in a buffer that is not full.",
)
@click.option(
    "--function", "functions", multiple=True, metavar="NAME", help="Record entry to and exit from a kernel function."
)
@click.option(
    "--uprobe",
    "user_functions",
    multiple=True,
    metavar="CONTAINER:PATH:SYMBOL",
    help="Record entry to a function of a program or library in a container (of the host if empty).",
)
@click.option(
    "--usdt",
    "user_markers",
    multiple=True,
    metavar="CONTAINER:PATH:PROVIDER:NAME",
    help="Record a USDT marker with its arguments.",
)
@click.option(
    "--buffer-bytes",
    type=Size(),
    default=0,
    metavar="N",
    help="Record up to N bytes of what is read and written. Default: none.",
)
@click.option("--environment", is_flag=True, help="Record the environment that execve is given.")
@click.option(
    "--births/--no-births",
    default=None,
    help="Record births and deaths of containers, by which events have their names, whatever -e asks for. Default: if "
    "there is a state dump.",
)
@click.option("--no-state-dump", is_flag=True, help="Do not record the processes and namespaces that already exist.")
@click.option(
    "--state-dump",
    "state_dump_scope",
    type=click.Choice(["selected", "all"]),
    default="selected",
    show_default=True,
    help="What the state dump is of: what is selected, or the whole host.",
)
@click.option("--state-dump-maps", is_flag=True, help="The state dump has the memory maps of processes, too.")
@click.option(
    "--state-dump-every",
    type=Duration(),
    metavar="TIME",
    help="Dump the state again and again after this time; SIGUSR2 does so once.",
)
@click.option("--format", type=click.Choice(FORMATS), default="ctf1", show_default=True, help="Write CTF 1.8 or CTF 2.")
@click.option(
    "--flight-recorder",
    is_flag=True,
    help="Keep the newest events in memory; write them at each SIGUSR1 or boxtrace snapshot only.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Take options from a TOML file; those of the command line come first.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print errors and warnings only.")
@click.argument("program", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    containers: tuple[str, ...],
    images: tuple[str, ...],
    labels: tuple[str, ...],
    new_containers: bool,
    host_only: bool,
    cgroups: tuple[str, ...],
    follow: bool,
    output: Path | None,
    events: tuple[str, ...],
    user: tuple[str, ...],
    user_contexts: str | None,
    lttng_ust: tuple[str, ...],
    filters: tuple[str, ...],
    limits: tuple[str, ...],
    samples: tuple[str, ...],
    contexts: str | None,
    channel_names: tuple[str, ...],
    duration: float | None,
    subbuf_size: int,
    num_subbuf: int,
    flush_seconds: float,
    functions: tuple[str, ...],
    user_functions: tuple[str, ...],
    user_markers: tuple[str, ...],
    buffer_bytes: int,
    environment: bool,
    births: bool | None,
    no_state_dump: bool,
    state_dump_scope: str,
    state_dump_maps: bool,
    state_dump_every: float | None,
    format: str,
    flight_recorder: bool,
    config: Path | None,
    quiet: bool,
    program: tuple[str, ...],
    **ids: tuple[str, ...],
) -> int:
    """Record what the kernel does, as a CTF trace.

    Without a selection the whole host is recorded. Of one kind (--uid, --container, ...) what is any of the values is
    recorded; of several kinds, what is one of each. COMMAND and its descendants are recorded in any case. Stop it with
    Ctrl-C; it also ends with COMMAND, with the last of the selected containers or processes, or after --duration.

    \b
      boxtrace record --container web
      boxtrace record -e 'sched_*' -d 10s -o /tmp/trace
      boxtrace record -- make -j4
    """
    values: dict[str, Any] = {
        "output": output,
        "containers": containers,
        "images": images,
        "labels": labels,
        "new_containers": new_containers,
        "host_only": host_only,
        "cgroups": cgroups,
        "ids": given_ids(ids),
        "command": program,
        "user": user,
        "user_contexts": context_names(user_contexts or ""),
        "lttng_ust": lttng_ust,
        "follow": follow,
        "flush_seconds": flush_seconds,
        "duration": duration,
        "format": format,
        "flight_recorder": flight_recorder,
        "functions": functions,
        "user_functions": user_functions,
        "user_markers": user_markers,
        "buffer_bytes": buffer_bytes,
        "environment": environment,
        "births": births,
        "state_dump": not no_state_dump,
        "state_dump_all": state_dump_scope == "all",
        "state_dump_maps": state_dump_maps,
        "state_dump_every": state_dump_every,
        "channels": chosen_channels(ctx),
    }
    if config is not None:
        given = {name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}
        for name, value in load_config(config).items():
            if name == "ids":
                words = {each.kind for each in values["ids"]}
                values["ids"] += tuple(each for each in value if each.kind not in words)
            elif _PARAMETERS.get(name, name) not in given and not (name == "channels" and values["channels"]):
                values[name] = value
    if values["follow"] and not any(each.kind == "pid" and not each.excluded for each in values["ids"]):
        raise UsageError("--follow is about the processes of --pid, and there is none")
    if values["output"] is None:
        values["output"] = Path(f"boxtrace-{datetime.now():%Y%m%d-%H%M%S}")
    options = RecordOptions(**{name: value for name, value in values.items() if value is not None})
    live = StatusLine(sys.stderr) if not quiet and os.isatty(sys.stderr.fileno()) else None

    def say(message: str) -> None:
        if live is not None:
            live.say(message)
        else:
            print(message, file=sys.stderr, flush=True)

    def warn(message: str) -> None:
        say(f"boxtrace: warning: {message}")

    def started() -> None:
        if not quiet:
            where = f"to {options.output}" if not options.flight_recorder else "in memory"
            say(f"boxtrace: recording {where}; Ctrl-C ends it")

    try:
        summary = record(options, observer=live.update if live is not None else None, warn=warn, started=started)
    finally:
        if live is not None:
            live.clear()
    if not quiet or summary.lost:
        print(format_summary(summary), file=sys.stderr, end="")
    return summary.exit_status or 0
