"""TSDL text (CTF 1.8 metadata) to the model."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.resources import files

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput

from boxtrace.ctf.check import MOST_NESTED, check_trace, nesting
from boxtrace.ctf.fields import ByteOrder, FieldClass, IntegerField, Scope, StructField, VariantField
from boxtrace.ctf.model import EventClass, StreamClass, TraceClass
from boxtrace.ctf.tsdl_build import Builder, TsdlError
from boxtrace.ctf.tsdl_resolve import Roots, resolve
from boxtrace.ctf.tsdl_types import DeclaredEvent, DeclaredStream, DeclaredStruct
from boxtrace.errors import TraceFormatError

__all__ = ["parse_tsdl"]

_SIGNATURE = re.compile(r"/\*\s*CTF\s+([0-9]+\.[0-9]+)")
"""What a text begins with; one without is read, too."""
_EXPECTED = {"IDENT": "a name", "NUMBER": "a number", "STRING": "a text"}
_MOST_EXPECTED = 4
_RECURSION = 10_000


@cache
def _grammar() -> Lark:
    text = files("boxtrace.ctf").joinpath("tsdl.lark").read_text()
    return Lark(text, parser="lalr", maybe_placeholders=True)


def parse_tsdl(text: str, path: str = "metadata") -> TraceClass:
    """Return what a TSDL text declares.

    :param path: where the text was read, for errors.
    :raises TraceFormatError: if the text is not TSDL, or contradicts itself; ``offset`` counts characters of the text.
    """
    builder = Builder()
    try:
        with _deep_recursion():
            builder.add(_parse(text))
            return _trace(builder)
    except UnexpectedInput as error:
        message = f"line {error.line}, column {error.column}: {_unexpected(error)}"
        raise TraceFormatError(message, path=path, offset=error.pos_in_stream) from None
    except TsdlError as error:
        line = "" if error.token is None else f"line {error.token.line}, column {error.token.column}: "
        offset = None if error.token is None else error.token.start_pos
        raise TraceFormatError(f"{line}{error}", path=path, offset=offset) from error
    except RecursionError:
        raise TraceFormatError("types are nested too deeply", path=path) from None


@contextmanager
def _deep_recursion() -> Iterator[None]:
    """Let what is nested as deeply as is read be walked through, however deep its caller is in functions itself."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _RECURSION))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _parse(text: str) -> Tree[Token]:
    signature = _SIGNATURE.match(text)
    if signature is not None and signature.group(1) != "1.8":
        raise TsdlError(f"CTF {signature.group(1)} is not known", None)
    tree = _grammar().parse(text)
    assert isinstance(tree, Tree)
    return tree


def _unexpected(error: UnexpectedInput) -> str:
    token = getattr(error, "token", None)
    found = getattr(error, "char", None) if token is None else token.value
    what = "the text ends too early" if not found else f"unexpected {found[:60]!r}"
    names = getattr(error, "expected", None) or getattr(error, "allowed", None) or ()
    signs = {terminal.name: repr(terminal.pattern.value) for terminal in _grammar().terminals}
    expected = sorted(_EXPECTED.get(name, signs[name]) for name in names if name in signs)
    return f"{what}, expected {' or '.join(expected)}" if 0 < len(expected) <= _MOST_EXPECTED else what


def _trace(builder: Builder) -> TraceClass:
    if builder.byte_order is None:
        raise TsdlError("there is no trace block", None)
    if not builder.streams:
        builder.streams[0] = DeclaredStream()
    by_stream: dict[int, list[DeclaredEvent]] = {number: [] for number in builder.streams}
    for event in builder.events:
        number = event.stream_id
        if number is None:
            number = next(iter(builder.streams)) if len(builder.streams) == 1 else 0
        if number not in by_stream:
            raise TsdlError(f"event {event.name}: stream {number} is not declared", event.place)
        by_stream[number].append(event)
    header: Roots = {Scope.PACKET_HEADER: builder.packet_header}
    trace = TraceClass(
        uuid=builder.uuid,
        byte_order=builder.byte_order or ByteOrder.LITTLE,
        environment=builder.environment,
        packet_header=_resolved("trace.packet.header", Scope.PACKET_HEADER, header),
        clocks=tuple(builder.clocks),
        streams=tuple(_stream(builder, builder.streams[number], by_stream[number]) for number in builder.streams),
    )
    known: dict[int, int] = {}
    roots = [trace.packet_header]
    for stream in trace.streams:
        roots += [stream.packet_context, stream.event_header, stream.event_context]
        roots += [field for event in stream.events for field in (event.context, event.fields)]
    if any(nesting(field, known) > MOST_NESTED for field in roots):
        raise TsdlError(f"types are nested too deeply: {MOST_NESTED} is the most", None)
    try:
        check_trace(trace, mixed=len(builder.byte_orders()) > 1)
    except ValueError as error:
        raise TsdlError(str(error), None) from error
    return trace


def _resolved(
    what: str, scope: Scope, roots: Roots, place: Token | None = None, clocks: Sequence[str] = ()
) -> StructField | None:
    try:
        return resolve(scope, roots, clocks)
    except ValueError as error:
        raise TsdlError(f"{what}: {error}", place) from error


def _stream(builder: Builder, stream: DeclaredStream, events: list[DeclaredEvent]) -> StreamClass:
    roots: dict[Scope, DeclaredStruct | None] = {
        Scope.PACKET_HEADER: builder.packet_header,
        Scope.PACKET_CONTEXT: stream.packet_context,
        Scope.EVENT_HEADER: stream.event_header,
        Scope.EVENT_COMMON_CONTEXT: stream.event_context,
    }
    what = f"stream {stream.id}"
    known = [clock.name for clock in builder.clocks]
    packet_context = _resolved(f"{what} packet.context", Scope.PACKET_CONTEXT, roots, stream.place, known)
    event_header = _resolved(f"{what} event.header", Scope.EVENT_HEADER, roots, stream.place, known)
    event_context = _resolved(f"{what} event.context", Scope.EVENT_COMMON_CONTEXT, roots, stream.place)
    clocks = {name for root in (packet_context, event_header) for name in _clocks(root)}
    if unknown := clocks.difference(known):
        raise TsdlError(f"{what}: clock {min(unknown)} is not declared", stream.place)
    if len(clocks) > 1:
        raise TsdlError(f"{what}: its time stamps are of several clocks: {', '.join(sorted(clocks))}", stream.place)
    classes: dict[int, EventClass] = {}
    for event in events:
        if event.id in classes:
            raise TsdlError(f"{what}: event id {event.id} is declared twice", event.place)
        classes[event.id] = _event(event, stream.id, roots)
    return StreamClass(
        id=stream.id,
        packet_context=packet_context,
        event_header=event_header,
        event_context=event_context,
        clock=next(iter(clocks), None),
        events=tuple(classes.values()),
    )


def _event(event: DeclaredEvent, stream_id: int, stream_roots: Roots) -> EventClass:
    roots = {
        **stream_roots,
        Scope.EVENT_SPECIFIC_CONTEXT: event.context,
        Scope.EVENT_PAYLOAD: event.fields,
    }
    what = f"event {event.name}"
    return EventClass(
        id=event.id,
        name=event.name,
        context=_resolved(f"{what} context", Scope.EVENT_SPECIFIC_CONTEXT, roots, event.place),
        fields=_resolved(f"{what} fields", Scope.EVENT_PAYLOAD, roots, event.place),
        stream_id=stream_id,
        loglevel=event.loglevel,
        uri=event.uri,
    )


def _clocks(field: FieldClass | None) -> set[str]:
    match field:
        case IntegerField(clock=str() as name):
            return {name}
        case StructField():
            return set().union(*(_clocks(member.field) for member in field.members))
        case VariantField():
            return set().union(*(_clocks(option.field) for option in field.options))
        case _:
            return set()
