"""The ``boxtrace`` command: finds the subcommand, prints errors, chooses the exit status."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Sequence

import click

from boxtrace.errors import BoxtraceError, UsageError
from boxtrace.version import VERSION

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "record": "Record what the kernel does for containers, processes or the whole host.",
    "track": "Limit a running recording to more containers, processes, users, ...",
    "untrack": "Take such a limit away again.",
    "enable-event": "Have a running recording take more events of applications.",
    "disable-event": "Have it take fewer.",
    "limit": "Change how many events of its rules a running recording lets pass.",
    "snapshot": "Write what a flight recording holds in memory.",
    "state-dump": "Have a running recording dump the state of the system again.",
    "view": "Print the events of a trace.",
    "info": "Show what a trace holds.",
    "convert": "Write a trace in another form, or a part of it.",
    "sql": "Query a trace; every type of event is a table.",
    "explain": "Show what a filter becomes: its meaning and its BPF instructions.",
    "list": "List the events that can be recorded on this machine.",
    "containers": "List the containers of this host or of a trace.",
    "ps": "Show the processes of containers as trees.",
    "pids": "Map the process ids of a container to those of the host.",
}
"""Every subcommand, in the order of the help text. ``boxtrace.cli.NAME`` (with ``_`` for ``-``) has a click command
``command``, imported only when it is called, so that the command line starts quickly."""


# A command mostly keeps what it makes: looking through that as often as usual frees nothing in a tenth of its time.
_OBJECTS_BETWEEN_COLLECTIONS = 100_000


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"boxtrace.cli.{cmd_name.replace('-', '_')}").command
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; a reader of its output who has seen enough ends it quietly."""
        try:
            status = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # Here and not around main(), which makes an exit status of 1 of it. Python flushes again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        return status

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(VERSION, prog_name="boxtrace")
def boxtrace() -> None:
    """Container-aware tracing for Linux: record what the kernel does for a container, and read CTF traces."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Exit status: 0 if all went well, 1 for an error, 2 for wrong usage, 130 after Ctrl-C; ``record -- COMMAND`` passes
    on the command's.
    """
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    try:
        status = boxtrace.main(arguments, prog_name="boxtrace", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return 130
    except BoxtraceError as error:
        print_error(error)
        return 2 if isinstance(error, UsageError) else 1
    except RecursionError:
        print_error(BoxtraceError("types of this trace are nested too deeply for that"))
        return 1
    return status if isinstance(status, int) else 0


def print_error(error: BoxtraceError) -> None:
    """Print what went wrong, and what to try."""
    print(f"boxtrace: error: {error}", file=sys.stderr)
    if error.hint:
        print(f"boxtrace: hint: {error.hint}", file=sys.stderr)
