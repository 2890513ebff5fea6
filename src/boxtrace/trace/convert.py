"""Traces written again: as CTF 1.8 or CTF 2, whole or in part, and as Parquet files."""

from __future__ import annotations

import operator
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import reduce
from pathlib import Path
from typing import Any, BinaryIO

from boxtrace.ctf.json_writer import write_json
from boxtrace.ctf.model import TraceClass
from boxtrace.ctf.repack import StreamWriter
from boxtrace.ctf.tsdl_writer import packetize, write_tsdl
from boxtrace.errors import OutputError, TraceFormatError, UsageError
from boxtrace.filters import Filter
from boxtrace.trace.event import Event
from boxtrace.trace.filtering import Verdicts
from boxtrace.trace.table import Table
from boxtrace.trace.told import PART
from boxtrace.trace.trace import Trace
from boxtrace.units import Nanoseconds

__all__ = ["copy_ctf", "filter_ctf", "write_parquet"]

Progress = Callable[[int], None]
"""Told how much has been done since it was told before: bytes, or nanoseconds of the trace."""


def _nothing(done: int) -> None:
    """Show no progress."""


def _new_directory(path: Path) -> None:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise OutputError("the output directory exists and is not empty", path=str(path))
    path.mkdir(parents=True, exist_ok=True)


def _write_metadata(directory: Path, trace: TraceClass, *, ctf2: bool) -> None:
    if ctf2:
        (directory / "metadata").write_text(write_json(trace), encoding="utf-8", errors="surrogateescape")
        return
    text = write_tsdl(trace)
    if trace.uuid is None:
        (directory / "metadata").write_text(text, encoding="utf-8", errors="surrogateescape")
    else:
        (directory / "metadata").write_bytes(packetize(text, trace.uuid))


def _target(trace: Trace, source: Path, output: Path) -> Path:
    inside = source.relative_to(trace.path) if source.is_relative_to(trace.path) else Path(source.name)
    return output / (inside if inside.parts else Path(trace.path.resolve().name))


def copy_ctf(trace: Trace, output: Path, *, ctf2: bool, progress: Progress = _nothing) -> None:
    """Write all traces with other metadata: both versions lay out packets alike, so that streams are copied.

    :raises UsageError: if a trace has field classes that CTF 1.8 lacks.
    :raises OutputError: if the output directory is not empty.
    """
    _new_directory(output)
    for source, part in trace.parts:
        directory = _target(trace, source, output)
        directory.mkdir(parents=True, exist_ok=True)
        _write_metadata(directory, part, ctf2=ctf2)
        for path in sorted(source.iterdir()):
            if path.is_file() and path.name != "metadata" and not path.name.startswith("."):
                shutil.copyfile(path, directory / path.name)
                progress(path.stat().st_size)
        if (source / "index").is_dir():
            shutil.copytree(source / "index", directory / "index")
    _copy_names(trace, output)


def filter_ctf(
    trace: Trace,
    output: Path,
    *,
    ctf2: bool,
    begin: Nanoseconds | None = None,
    end: Nanoseconds | None = None,
    matching: Filter | None = None,
    where: Callable[[Event], bool] | None = None,
    progress: Progress = _nothing,
) -> int:
    """Write the events that are chosen, and return how many: each stream with its context, in new packets.

    :param matching: only events that it matches.
    :param where: only events for which this is true.
    :raises UsageError: if a trace has field classes that CTF 1.8 lacks, or streams without sizes of packets.
    :raises OutputError: if the output directory is not empty.
    :raises TraceFormatError: if something cannot be read; what comes before that is written.
    """
    _new_directory(output)
    time = begin or trace.begin or 0
    directories: dict[int, Path] = {}
    told = [source for source, _ in trace.parts if source.name == PART]
    for source, part in trace.parts:
        directory = directories[id(part)] = _target(trace, source, output)
        if source in told:
            shutil.copytree(source, directory)  # whole: names may be told after the events, or before
            continue
        directory.mkdir(parents=True, exist_ok=True)
        _write_metadata(directory, part, ctf2=ctf2)
    _copy_names(trace, output)
    files: list[BinaryIO] = []
    writers: dict[int, StreamWriter] = {}
    try:
        for event in trace.events(begin=begin, end=end, filter=matching, where=where):
            if event.stream.path.parent in told:
                continue
            writer = writers.get(id(event.stream))
            if writer is None:
                stream = event.stream
                file: BinaryIO = (directories[id(stream.trace)] / stream.path.name).open("wb")
                files.append(file)
                writer = writers[id(stream)] = StreamWriter(file, stream.trace, stream.cls)
            writer.write(event.record)
            if event.timestamp is not None:
                progress(event.timestamp - time)
                time = event.timestamp
    finally:
        for writer in writers.values():
            writer.close()
        for file in files:
            file.close()
    return sum(writer.events for writer in writers.values())


def _copy_names(trace: Trace, output: Path) -> None:
    names = trace.path / "containers.json"
    if names.is_file():
        shutil.copyfile(names, output / names.name)


def write_parquet(
    trace: Trace,
    output: Path,
    *,
    names: list[str] | None = None,
    begin: Nanoseconds | None = None,
    end: Nanoseconds | None = None,
    matching: Filter | None = None,
    where: Callable[[Event], bool] | None = None,
    progress: Progress = _nothing,
) -> int:
    """Write each type of event that occurs to ``event=NAME/part-0.parquet``, and return how many events.

    The trace's environment is in the files' key-value metadata, as ``boxtrace.env.KEY``.

    :param matching: only events that it matches: the trace is then read twice.
    :param where: only events for which this is true: likewise.
    :raises UsageError: if pyarrow is not installed.
    :raises OutputError: if the output directory is not empty.
    :raises TraceFormatError: if something cannot be read; what comes before that is written.
    """
    try:
        import pyarrow  # type: ignore[import-untyped]
        import pyarrow.parquet  # type: ignore[import-untyped]
    except ImportError:
        hint = "pip install 'boxtrace[tables]'"
        raise UsageError("Parquet needs pyarrow, which is not installed", hint=hint) from None
    _new_directory(output)
    metadata = {
        f"boxtrace.env.{key}".encode(): str(value).encode("utf-8", "replace")
        for _, part in trace.parts
        for key, value in part.environment.items()
    }
    chosen: list[Verdicts] = []
    if matching is not None:
        chosen.append(Verdicts.of_filter(trace.streams, matching, begin, end))
    if where is not None:
        chosen.append(_verdicts_of(trace, where, begin, end))
    wanted = trace.event_names() if names is None else names
    writers: dict[str, Any] = {}
    total = 0
    try:
        for tables in trace.batches(wanted, begin=begin, end=end, progress=progress):
            for name, table in tables.items():
                if not len(table):
                    continue
                try:
                    rows = pyarrow.table(table)
                except pyarrow.ArrowInvalid as error:  # more than 64 levels of types
                    message = f"events {name!r} cannot be written as Parquet: {error}"
                    raise OutputError(message, path=str(output)) from error
                if chosen:
                    rows = rows.filter(_mask(chosen, table, rows))
                    if not rows.num_rows:
                        continue
                rows = rows.replace_schema_metadata(metadata)
                if name not in writers:
                    directory = output / f"event={name.replace('/', '%2F')}"
                    directory.mkdir()
                    writers[name] = pyarrow.parquet.ParquetWriter(directory / "part-0.parquet", rows.schema)
                writers[name].write_table(rows)
                total += rows.num_rows
    finally:
        for writer in writers.values():
            writer.close()
    return total


def _verdicts_of(
    trace: Trace, where: Callable[[Event], bool], begin: Nanoseconds | None, end: Nanoseconds | None
) -> Verdicts:
    """Return for which events a function is true."""
    numbers = {id(stream): number for number, stream in enumerate(trace.streams)}
    verdicts = Verdicts()
    # Errors are told again, when what comes before them has been written.
    with suppress(TraceFormatError):
        for event in trace.events(begin=begin, end=end):
            verdicts.add(numbers[id(event.stream)], event._kind.event.id, bytes((bool(where(event)),)))
    return verdicts


def _mask(chosen: Sequence[Verdicts], table: Table, rows: Any) -> Any:
    """Return which rows are chosen by all verdicts. Each array of a table is of one stream and one class of events."""
    import pyarrow

    mask = []
    at = 0
    for event, count in table.pieces():
        stream = rows["stream"][at].as_py()
        at += count
        taken = [int.from_bytes(verdicts.take(stream, event.id, count)) for verdicts in chosen]
        passed = reduce(operator.and_, taken).to_bytes(count)
        ones = pyarrow.Array.from_buffers(pyarrow.uint8(), count, [None, pyarrow.py_buffer(passed)])
        mask.append(ones.cast(pyarrow.bool_()))
    return pyarrow.chunked_array(mask)
