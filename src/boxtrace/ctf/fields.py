"""Field classes: how one value of an event or packet is laid out, for CTF 1.8 and CTF 2 alike.

Sizes and alignments are in bits. Names are those that a person sees: TSDL's extra leading underscore is taken off by
the TSDL parser and put back by the TSDL writer. Source: CTF 1.8.3 (sections 4 and 7) and CTF2-SPEC-2.0 (section 6).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from enum import Enum, IntEnum
from typing import ClassVar, TypeAlias

__all__ = [
    "ArrayField",
    "BitArrayField",
    "BitMapField",
    "BlobField",
    "BoolField",
    "ByteOrder",
    "DisplayBase",
    "DynamicBlobField",
    "DynamicStringField",
    "Encoding",
    "EnumMapping",
    "FieldClass",
    "FieldLocation",
    "FloatField",
    "IntegerField",
    "MOST_FIELDS",
    "Member",
    "OptionField",
    "Ranges",
    "Role",
    "Scope",
    "SequenceField",
    "StaticStringField",
    "StringField",
    "StructField",
    "VarIntField",
    "VariantField",
    "VariantOption",
]

MOST_FIELDS = 1 << 18
"""In a root structure, with those inside it: types that name one another can make any number of a few lines."""

Attributes: TypeAlias = Mapping[str, object]
Ranges: TypeAlias = tuple[tuple[int, int], ...]
"""Inclusive ranges of integers."""


class ByteOrder(Enum):
    """Byte order of a fixed-length field."""

    LITTLE = "le"
    BIG = "be"


class DisplayBase(IntEnum):
    """Base in which an integer is best shown."""

    BINARY = 2
    OCTAL = 8
    DECIMAL = 10
    HEXADECIMAL = 16


class Encoding(Enum):
    """Text encoding, with Python's codec name as value."""

    UTF_8 = "utf-8"
    UTF_16BE = "utf-16-be"
    UTF_16LE = "utf-16-le"
    UTF_32BE = "utf-32-be"
    UTF_32LE = "utf-32-le"

    @property
    def unit(self) -> int:
        """Bytes of one code unit."""
        return {"utf-8": 1, "utf-16-be": 2, "utf-16-le": 2}.get(self.value, 4)


class Role(Enum):
    """What a reader does with a field's value, by CTF 2's names. TSDL gives the same by reserved field names."""

    PACKET_MAGIC = "packet-magic-number"
    METADATA_UUID = "metadata-stream-uuid"
    STREAM_CLASS_ID = "data-stream-class-id"
    STREAM_ID = "data-stream-id"
    PACKET_SIZE = "packet-total-length"
    CONTENT_SIZE = "packet-content-length"
    TIMESTAMP = "default-clock-timestamp"
    TIMESTAMP_END = "packet-end-default-clock-timestamp"
    EVENTS_DISCARDED = "discarded-event-record-counter-snapshot"
    PACKET_SEQ_NUM = "packet-sequence-number"
    EVENT_ID = "event-record-class-id"


class Scope(Enum):
    """The root structures of a packet and of an event record, in the order in which they are laid out."""

    PACKET_HEADER = "packet-header"
    PACKET_CONTEXT = "packet-context"
    EVENT_HEADER = "event-record-header"
    EVENT_COMMON_CONTEXT = "event-record-common-context"
    EVENT_SPECIFIC_CONTEXT = "event-record-specific-context"
    EVENT_PAYLOAD = "event-record-payload"


@dataclass(frozen=True, slots=True)
class FieldLocation:
    """Where a length or selector was decoded earlier: a scope, then structure member names.

    Arrays, variants and options on the way take no path element: their current element or option is meant.
    """

    scope: Scope
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EnumMapping:
    """One label of an enumeration or flag of a bit map, with the values (bit numbers for a flag) it stands for."""

    label: str
    ranges: Ranges


@dataclass(frozen=True, slots=True, kw_only=True)
class _FieldBase:
    attributes: Attributes = dataclass_field(default_factory=dict, compare=False)
    """User attributes (CTF 2), kept as read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _FixedLength(_FieldBase):
    size: int
    align: int = 8
    byte_order: ByteOrder = ByteOrder.LITTLE
    reversed_bits: bool = False
    """Bit order opposite to the byte order's own (CTF 2 ``bit-order``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerField(_FixedLength):
    """Fixed-length integer, an enumeration when it has mappings; TSDL maps it to the clock of that name."""

    signed: bool = False
    base: DisplayBase = DisplayBase.DECIMAL
    mappings: tuple[EnumMapping, ...] = ()
    clock: str | None = None
    roles: tuple[Role, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BitArrayField(_FixedLength):
    """Fixed-length bits without a meaning of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BitMapField(_FixedLength):
    """Fixed-length bits with named flags."""

    flags: tuple[EnumMapping, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BoolField(_FixedLength):
    """Fixed-length boolean: false when all bits are 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatField(_FixedLength):
    """IEEE 754-2008 binary interchange format of 16, 32, 64 bits, or of 128 and more, a multiple of 32."""

    MOST: ClassVar[int] = 4096
    """No longer ones are read."""

    @property
    def exponent_bits(self) -> int:
        """Width of the exponent (IEEE 754-2008, table 3.5)."""
        known = {16: 5, 32: 8, 64: 11}
        return known[self.size] if self.size in known else round(4 * math.log2(self.size)) - 13

    @classmethod
    def has_size(cls, size: int) -> bool:
        """Tell whether there are numbers of so many bits."""
        return size in (16, 32, 64) or (128 <= size <= cls.MOST and size % 32 == 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class VarIntField(_FieldBase):
    """Variable-length integer (LEB128), aligned on a byte."""

    signed: bool = False
    base: DisplayBase = DisplayBase.DECIMAL
    mappings: tuple[EnumMapping, ...] = ()
    roles: tuple[Role, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StringField(_FieldBase):
    """Text up to and without a terminating NUL code unit, aligned on a byte."""

    encoding: Encoding = Encoding.UTF_8


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticStringField(_FieldBase):
    """Text in a fixed number of bytes, up to its first NUL if it has one (TSDL: array of encoded 8-bit integers)."""

    length: int
    encoding: Encoding = Encoding.UTF_8


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicStringField(_FieldBase):
    """Text in as many bytes as an earlier field says, up to its first NUL if it has one."""

    length: FieldLocation
    encoding: Encoding = Encoding.UTF_8


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobField(_FieldBase):
    """A fixed number of opaque bytes."""

    length: int
    media_type: str = "application/octet-stream"
    roles: tuple[Role, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicBlobField(_FieldBase):
    """As many opaque bytes as an earlier field says."""

    length: FieldLocation
    media_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayField(_FieldBase):
    """A fixed number of elements."""

    element: FieldClass
    length: int
    align: int = 1
    roles: tuple[Role, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceField(_FieldBase):
    """As many elements as an earlier field says."""

    element: FieldClass
    length: FieldLocation
    align: int = 1


@dataclass(frozen=True, slots=True)
class Member:
    """A named member of a structure."""

    name: str
    field: FieldClass
    attributes: Attributes = dataclass_field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StructField(_FieldBase):
    """Members one after another; ``align`` is a minimum, the members' own alignments count as well."""

    members: tuple[Member, ...] = ()
    align: int = 1

    def find(self, name: str) -> FieldClass | None:
        """Return the class of the member of that name, or None."""
        return next((member.field for member in self.members if member.name == name), None)


@dataclass(frozen=True, slots=True)
class VariantOption:
    """One option of a variant, chosen when the selector's value lies in ``ranges``."""

    name: str
    field: FieldClass
    ranges: Ranges
    attributes: Attributes = dataclass_field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantField(_FieldBase):
    """One of several fields, as an earlier integer says."""

    selector: FieldLocation
    options: tuple[VariantOption, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionField(_FieldBase):
    """A field that is there or not, as an earlier boolean (``ranges`` is None) or integer says."""

    selector: FieldLocation
    field: FieldClass
    ranges: Ranges | None = None


FieldClass: TypeAlias = (
    IntegerField
    | BitArrayField
    | BitMapField
    | BoolField
    | FloatField
    | VarIntField
    | StringField
    | StaticStringField
    | DynamicStringField
    | BlobField
    | DynamicBlobField
    | ArrayField
    | SequenceField
    | StructField
    | VariantField
    | OptionField
)
"""Any field class; a closed set, to be taken apart with ``match``."""
