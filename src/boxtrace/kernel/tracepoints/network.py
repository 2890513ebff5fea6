"""Headers of packets as LTTng lays them out: the packet's own bytes, the kinds of headers before them."""

from __future__ import annotations

from boxtrace.ctf.fields import (
    ArrayField,
    ByteOrder,
    DisplayBase,
    EnumMapping,
    FieldLocation,
    IntegerField,
    Member,
    Scope,
    StructField,
    VariantField,
    VariantOption,
)
from boxtrace.ctf.fields import FieldClass as Field

__all__ = ["NETWORK_HEADERS"]


def _bits(size: int, *, align: int = 8, base: DisplayBase = DisplayBase.DECIMAL) -> IntegerField:
    return IntegerField(size=size, align=align, base=base, byte_order=ByteOrder.BIG)


def _struct(**members: Field) -> StructField:
    return StructField(members=tuple(Member(name, field) for name, field in members.items()))


_U4, _U8, _U16, _U32 = _bits(4, align=4), _bits(8), _bits(16), _bits(32)
_HEX8, _HEX16 = _bits(8, base=DisplayBase.HEXADECIMAL), _bits(16, base=DisplayBase.HEXADECIMAL)
_PADDING = StructField(align=8)  # LTTng aligns arrays so
_PROTOCOL = IntegerField(
    size=8,
    byte_order=ByteOrder.BIG,
    mappings=(
        EnumMapping("_unknown", ((0, 0), (2, 5), (7, 16), (18, 255))),
        EnumMapping("_icmp", ((1, 1),)),
        EnumMapping("_tcp", ((6, 6),)),
        EnumMapping("_udp", ((17, 17),)),
    ),
)
_TCP = _struct(
    source_port=_U16,
    dest_port=_U16,
    seq=_U32,
    ack_seq=_U32,
    data_offset=_U4,
    reserved=_bits(3, align=1),
    flags=_bits(9, align=1, base=DisplayBase.HEXADECIMAL),
    window_size=_U16,
    checksum=_HEX16,
    urg_ptr=_U16,
)
_UDP = _struct(source_port=_U16, dest_port=_U16, len=_U16, check=_U16)
_ICMP = _struct(type=_U8, code=_U8, checksum=_U16, gateway=_U32)


def _kind(*labels: str) -> IntegerField:
    mappings = tuple(EnumMapping(f"_{label}", ((number, number),)) for number, label in enumerate(labels))
    return IntegerField(size=8, mappings=mappings)


def _one_of(selector: FieldLocation, **options: StructField) -> VariantField:
    chosen = enumerate(options.items())
    return VariantField(
        selector=selector,
        options=tuple(VariantOption(name, field, ((number, number),)) for number, (name, field) in chosen),
    )


def _with_transport(header: StructField) -> StructField:
    path = ("network_header", "transport_header_type")
    transport = _struct(
        transport_header_type=_kind("unknown", "tcp", "udp", "icmp"),
        transport_header=_one_of(
            FieldLocation(Scope.EVENT_PAYLOAD, path), unknown=StructField(), tcp=_TCP, udp=_UDP, icmp=_ICMP
        ),
    )
    return StructField(members=header.members + transport.members)


_IPV4 = _struct(
    version=_U4,
    ihl=_U4,
    tos=_U8,
    tot_len=_U16,
    id=_HEX16,
    frag_off=_U16,
    ttl=_U8,
    protocol=_PROTOCOL,
    checksum=_HEX16,
    saddr_padding=_PADDING,
    saddr=ArrayField(element=_U8, length=4),
    daddr_padding=_PADDING,
    daddr=ArrayField(element=_U8, length=4),
)
_IPV6 = _struct(
    version=_U4,
    prio=_U4,
    flow_lbl_padding=_PADDING,
    flow_lbl=ArrayField(element=_HEX8, length=3),
    payload_len=_U16,
    nexthdr=_PROTOCOL,
    hop_limit=_U8,
    saddr_padding=_PADDING,
    saddr=ArrayField(element=_HEX16, length=8),
    daddr_padding=_PADDING,
    daddr=ArrayField(element=_HEX16, length=8),
)

NETWORK_HEADERS = (
    Member("network_header_type", _kind("unknown", "ipv4", "ipv6")),
    Member(
        "network_header",
        _one_of(
            FieldLocation(Scope.EVENT_PAYLOAD, ("network_header_type",)),
            unknown=StructField(),
            ipv4=_with_transport(_IPV4),
            ipv6=_with_transport(_IPV6),
        ),
    ),
)
"""The two members at the end of ``net_dev_queue``, ``net_if_receive_skb`` and ``net_if_rx``."""
