"""The compiled core: BPF objects through libbpf (linked statically), and ordered access to shared memory.

Private: use the packages above it. Every failure of the kernel is an ``OSError`` with errno and message; where the
kernel or libbpf explained themselves, their words are its attribute ``log``.
"""

from collections.abc import Sequence
from typing import Any, Self

from boxtrace.units import Nanoseconds

class BpfLink:
    """An attached BPF program; detached by :meth:`close` or when collected."""

    @property
    def fd(self) -> int: ...
    def iterate(self) -> int:
        """Return a new file descriptor; reading it to its end runs an iterator program over every object."""
    def close(self) -> None: ...

class ProgramInfo:
    """What the kernel counts for a loaded program (run count and time only while kernel.bpf_stats_enabled)."""

    @property
    def run_count(self) -> int: ...
    @property
    def run_time_ns(self) -> int: ...
    @property
    def recursion_misses(self) -> int:
        """Runs that the kernel skipped because the program was already running on that CPU: lost events."""
    @property
    def verified_insns(self) -> int: ...

class BpfObject:
    """A BPF object file, by libbpf: open (here), configure, :meth:`load`, attach."""

    def __init__(self, image: bytes, name: str) -> None: ...
    @property
    def programs(self) -> list[str]: ...
    @property
    def maps(self) -> list[str]:
        """Maps, those of global data called as their sections."""
    def enum_values(self, name: str) -> list[tuple[str, int]]:
        """Enumerators of an enum of the object's own BTF."""
    def struct_fields(self, name: str) -> dict[str, tuple[int, int]]:
        """Member name -> (offset, size) in bytes, of a struct of the object's own BTF."""
    def struct_size(self, name: str) -> int: ...
    def configure_map(self, name: str, *, max_entries: int | None = None, value_size: int | None = None) -> None:
        """Before load: resize a map."""
    def reuse_map(self, name: str, fd: int) -> None:
        """Before load: use an existing map in place of the object's own."""
    def set_data(self, section: str, value: bytes) -> None:
        """Before load: set the beginning of a data section such as ``.rodata.config``."""
    def set_autoload(self, program: str, autoload: bool) -> None: ...
    def load(self) -> None: ...
    def map_fd(self, name: str) -> int: ...
    def map_value_size(self, name: str) -> int: ...
    def program_fd(self, name: str) -> int: ...
    def attach(self, program: str) -> BpfLink:
        """Attach as the program's section name says."""
    def attach_tracepoint(self, program: str, group: str, event: str, cookie: int) -> BpfLink:
        """Attach a classic tracepoint program, with a number that it reads back by bpf_get_attach_cookie."""
    def set_function(self, program: str, function: str) -> None:
        """Before load: which kernel function a program of type fentry or fexit is for."""
    def attach_function(self, program: str, cookie: int) -> BpfLink: ...
    def attach_user_function(self, program: str, path: str, symbol: str, cookie: int) -> BpfLink:
        """Attach to a function of a program or library, in all processes that run it."""
    def attach_user_marker(self, program: str, path: str, provider: str, name: str, cookie: int) -> BpfLink:
        """Attach to a USDT marker, in all processes that run it."""
    def run(self, program: str, context: bytes = b"") -> int:
        """Run once (BPF_PROG_TEST_RUN); return what the program returned."""
    def info(self, program: str) -> ProgramInfo: ...

def create_array(name: str, value_size: int) -> int:
    """Create a memory-mappable BPF array of one value; return its descriptor."""

def map_update(fd: int, key: bytes, value: bytes, flags: int = 0) -> None: ...
def map_delete(fd: int, key: bytes) -> bool:
    """Return False if the key was not there."""

def map_lookup(fd: int, key: bytes, value_size: int) -> bytes | None:
    """Return the value, or None if the key is not there. For per-CPU maps ``value_size`` covers all possible CPUs."""

class KernelBtf:
    """The running kernel's own type information. Raises OSError where the kernel has none."""

    def __init__(self) -> None: ...
    def tracepoint_arguments(self, name: str) -> int:
        """Return how many arguments a tracepoint passes, -1 if the kernel does not have it."""
    def function(self, name: str) -> list[tuple[str, int, int, str, int, str]] | None:
        """Parameters of a function as :meth:`members` describes values, then its result (size 0 if it has none)."""
    def function_id(self, name: str) -> int:
        """Number of a function's type, 0 for an unknown one."""
    def members(self, structure: str) -> list[tuple[str, int, int, str, int, str]]:
        """Members of a structure: name, offset and size in bytes, kind, elements, name of the type.

        Kind is ``u`` unsigned, ``s`` signed, ``c`` characters, ``p`` pointer, ``t`` structure (only then it has a type
        name), ``o`` anything else. Elements are those of an array, 0 for what is none. Empty for an unknown structure.
        """
    def per_cpu(self, name: str) -> int | None:
        """Place of a variable among those that each CPU has, in bytes; None for an unknown one."""
    def size(self, structure: str) -> int:
        """Size of a structure in bytes, 0 for an unknown one."""
    def has_member(self, structure: str, member: str) -> bool: ...
    def enumerator(self, enumeration: str, name: str) -> int | None: ...

def read_entries(directory: str, files: Sequence[str], links: Sequence[str]) -> list[bytes | int]:
    """Read files, then links, the paths of which begin at a directory; what cannot be read is the errno.

    A descriptor of the directory is held meanwhile: in one of ``/proc/PID`` everything is of the same process.
    """

def read_inodes(paths: Sequence[str]) -> list[int]:
    """Return the inode number of each path; 0 where there is none."""

def namespaces_around(path: str) -> list[int]:
    """Return the inode numbers of the namespaces around a pid or user namespace, its parent first.

    As far as this process may see (ioctl_ns(2)).
    """

class SharedWords:
    """64-bit words of a writable buffer, loaded with acquire and stored with release order.

    Offsets are in bytes, multiples of 8; IndexError otherwise. Holds the buffer.
    """

    def __init__(self, buffer: Any) -> None: ...
    def load(self, offset: int) -> int: ...
    def store(self, offset: int, value: int) -> None: ...

class CtfBatch:
    """Columns that one call of :meth:`CtfDecoder.decode` filled."""

    def rows(self, table: int) -> int:
        """Return how many rows the table of that number has."""
    def filled(self) -> list[tuple[int, int]]:
        """Return the numbers of the tables that have rows, with how many each has."""

class CtfTable:
    """What tables derive from: the parts of batches that have rows of one type of event.

    :param event: the first event class of that name.
    :param source: how its rows are decoded.
    :param parts: a list of batches, each with the number of the table in it, and the event class of that.
    :param length: number of rows of all parts.
    """

    name: str
    """Name of the type of events."""
    def __new__(cls, name: str, event: Any, source: Any, parts: list[Any], length: int) -> Self: ...
    def __len__(self) -> int: ...

def ctf_add_tables(
    tables: dict[str, Any], type: type[CtfTable], events: list[Any], source: Any, batch: CtfBatch
) -> None:
    """Add the rows of a batch to the tables of a dictionary, by name; those that are not there yet are made.

    :param type: of the tables.
    :param events: the event class of each table of the batch's plan.
    """

class CtfFilter:
    """A filter expression on the rows that a decoder makes."""

class CtfDecoder:
    """Decodes the packets of one stream class into columns. The GIL is released while it works.

    :param plan: 64-bit words, as ``boxtrace.ctf.plan`` writes them.
    :param names: the columns' names, by number.
    :param packet_slots: slots of the plan that take values of the packet.
    :param packet_columns: how many values of the packet go to columns.
    """

    def __init__(self, plan: Any, names: list[str], packet_slots: list[int], packet_columns: int) -> None: ...
    def extended(self, plan: Any, names: list[str]) -> CtfDecoder:
        """Return a decoder with what was added to the plan: words and names of that. Batches of both go together."""
    def decode(
        self, data: Any, packets: Any, begin: int, end: int
    ) -> tuple[CtfBatch, tuple[int, int, int, int | None] | None]:
        """Decode packets of one stream file.

        :param data: the file's bytes.
        :param packets: 64-bit words, for each packet: offset (bytes), content and body (bits), clock (-1: as the packet
            before ended), then its values for columns, then those for slots.
        :param begin: events before this time (ns) give no row.
        :param end: nor those after this time.
        :return: the columns, and where a record could not be decoded, None if all could: the packet's number, the bit
            of it where the record begins, the clock's value there, and the record's event id if the plan has no event
            class of that id, -1 if only enough was decoded for one batch (None if there is another reason).
        """
    def filter(self, words: Any, strings: list[bytes]) -> CtfFilter:
        """Return what tells which rows are wanted, from the words and strings of ``boxtrace.filters.columns``."""
    def decode_to(
        self,
        merger: CtfTextMerger,
        stream: int,
        data: Any,
        packets: Any,
        begin: int,
        end: int,
        contexts: list[str],
        filter: CtfFilter | None = None,
        packet_values: Any = b"",
        packet_texts: list[bytes] = [],
    ) -> tuple[int, int, int, int | None] | None:
        """Decode packets as :meth:`decode` does, and feed their rows to a merger as those of one of its streams.

        :param contexts: the text of each packet's context.
        :param filter: rows that it rejects are left out.
        :param packet_values: 64-bit words, for each packet what the filter must be told.
        :param packet_texts: the texts that those refer to.
        :return: where a record could not be decoded, as :meth:`decode` tells it.
        """
    def decode_events(
        self,
        merger: CtfEventMerger,
        stream: int,
        data: Any,
        packets: Any,
        begin: int,
        end: int,
        packets_of: Any,
        filter: CtfFilter | None = None,
        packet_values: Any = b"",
        packet_texts: list[bytes] = [],
    ) -> tuple[int, int, int, int | None] | None:
        """Decode packets as :meth:`decode_to` does, for a merger of events.

        :param packets_of: what the merger's rows give back as the packets of these events.
        """
    def verdicts(
        self,
        data: Any,
        packets: Any,
        begin: int,
        end: int,
        filter: CtfFilter,
        packet_values: Any,
        packet_texts: list[bytes],
    ) -> tuple[list[tuple[int, bytes]], tuple[int, int, int, int | None] | None]:
        """Decode packets as :meth:`decode` does, only to test them.

        :return: number of each table that has rows, with a byte for each row: 1 where the filter lets it pass, else 0;
            and where a record could not be decoded.
        """
    def stream(self, table: int, parts: list[tuple[CtfBatch, int]]) -> object:
        """Return rows as a PyCapsule that holds an ``ArrowArrayStream``, one array for each part that has rows.

        :param table: number of the table whose columns the stream has.
        :param parts: batches, of this decoder or of others with the same columns, each with its table's number.
        """

class UserRecords:
    """Takes records of applications out of shared memory that they can still write to: a copy is made, then checked.

    Knows how the fields of each event type are laid out, as far as their sizes go.
    """

    def __init__(self) -> None: ...
    def add(self, id: int, parts: list[tuple[int, int]]) -> None:
        """Declare an event type, as parts (kind, size): 0 so many bytes, 1 a string, 2 a sequence of such elements."""
    def take(
        self, ring: Any, data: int, begin: int, end: int, out: Any, at: int, *, last: int, earliest: int, now: int
    ) -> tuple[int, int, int, int]:
        """Copy what lies between two positions of a ring, whose data begin at ``data``, to ``out`` from ``at`` on.

        Return how many bytes of it, from its beginning, are records of known types whose times neither decrease nor lie
        outside of ``earliest`` and ``now``; how many these are; the time of the first, and of the last of them.

        :param last: time of the record before, 0 if there is none.
        """

class CtfEvent:
    """What events derive from: a decoded record whose values become objects when they are asked for."""

    _kind: Any
    """The object of its sort."""
    _record: Any
    """Kept for the derived type; None at first."""
    @property
    def name(self) -> str:
        """Name of the event's class."""
    @property
    def timestamp(self) -> Nanoseconds | None:
        """ns from the clock's origin (the Unix epoch, for LTTng's traces and ours); None without a clock."""
    def __getitem__(self, name: str, /) -> Any:
        """Return the value of a column by its name; of another name, what ``_other(name)`` of the type returns."""
    def _value(self, column: int, /) -> Any:
        """Return the value in a column of numbers, truth values or text."""
    def _place(self) -> tuple[Any, int, int, int]:
        """Return where the event was: the packets it was decoded with, its packet's number among them, the bit of the
        packet where its record begins, and the value of the clock there.
        """

class CtfEventMerger:
    """Gives the events of several streams in the order of time.

    :param type: of the events, derived from :class:`CtfEvent`.
    """

    def __init__(self, type: type[CtfEvent]) -> None: ...
    def add_stream(self, kinds: list[tuple[Any, str, dict[str, int]]]) -> int:
        """Add a stream, and return its number.

        :param kinds: for each event class of its plan: its events' ``_kind``, name, and the columns of names.
        """
    def extend_stream(self, stream: int, kinds: list[tuple[Any, str, dict[str, int]]]) -> None:
        """Tell of the event classes that were added to a stream's plan, before it is fed rows of them."""
    def finish(self, stream: int) -> None:
        """Say that a stream has no more rows than it was fed."""
    def next(self, count: int) -> tuple[list[Any], int]:
        """Return up to so many events, and the stream that must be fed (-1: all are given, -2: there are more)."""

class CtfTextMerger:
    """Shows rows as lines of text, those of several streams in the order of time."""

    def __init__(self, utc: bool) -> None: ...
    def add_stream(self, format: Any, strings: list[bytes]) -> int:
        """Add a stream with its format, as ``boxtrace.ctf.text_plan`` writes it, and return its number."""
    def extend_stream(self, stream: int, format: Any, strings: list[bytes]) -> None:
        """Tell of the event classes that were added to a stream's plan, before it is fed rows of them."""
    def finish(self, stream: int) -> None:
        """Say that a stream has no more rows than it was fed."""
    def next(self, bytes: int) -> tuple[bytes, int]:
        """Return about so many bytes of lines, and the stream that must be fed (-1: all is said, -2: there is more)."""
