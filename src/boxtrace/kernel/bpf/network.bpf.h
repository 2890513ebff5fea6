/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The headers of a packet, as LTTng records them: u8 kind of network header, the header, and in it, behind the
 * addresses, u8 kind of transport header, the header. The bytes are those of the packet.
 */
#pragma once
#include "record.bpf.h"
#include <bpf/bpf_endian.h>

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define IPV4_SIZE 20
#define IPV4_PROTOCOL 9 /* offset in the header */
#define IPV6_SIZE 40
#define IPV6_NEXTHDR 6
#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define TCP_SIZE 20
#define UDP_SIZE 8
#define ICMP_SIZE 8

/* LTTng's numbers. */
enum network_kind { NETWORK_UNKNOWN, NETWORK_IPV4, NETWORK_IPV6 };
enum transport_kind { TRANSPORT_UNKNOWN, TRANSPORT_TCP, TRANSPORT_UDP, TRANSPORT_ICMP };

/* Returns the bytes written at `at`; what is not in memory counts as unknown. */
static __always_inline u32 copy_transport(u8 *at, u8 *header, u8 protocol)
{
	at[0] = TRANSPORT_UNKNOWN;
	if (protocol == IPPROTO_TCP && !bpf_probe_read_kernel(at + 1, TCP_SIZE, header)) {
		at[0] = TRANSPORT_TCP;
		return 1 + TCP_SIZE;
	}
	if (protocol == IPPROTO_UDP && !bpf_probe_read_kernel(at + 1, UDP_SIZE, header)) {
		at[0] = TRANSPORT_UDP;
		return 1 + UDP_SIZE;
	}
	if (protocol == IPPROTO_ICMP && !bpf_probe_read_kernel(at + 1, ICMP_SIZE, header)) {
		at[0] = TRANSPORT_ICMP;
		return 1 + ICMP_SIZE;
	}
	return 1;
}

static __noinline long copy_network(u8 *at, struct sk_buff *skb)
{
	u16 network = BPF_CORE_READ(skb, network_header), transport = BPF_CORE_READ(skb, transport_header);
	u16 ethernet = bpf_ntohs(BPF_CORE_READ(skb, protocol));
	u8 *head = BPF_CORE_READ(skb, head);
	u8 protocol;
	u32 size;

	at[0] = NETWORK_UNKNOWN;
	if (!network) /* not set: it points to the head */
		return 1;
	if (ethernet == ETH_P_IP && !bpf_probe_read_kernel(at + 1, IPV4_SIZE, head + network)) {
		at[0] = NETWORK_IPV4;
		size = 1 + IPV4_SIZE;
		protocol = at[1 + IPV4_PROTOCOL];
	} else if (ethernet == ETH_P_IPV6 && !bpf_probe_read_kernel(at + 1, IPV6_SIZE, head + network)) {
		at[0] = NETWORK_IPV6;
		size = 1 + IPV6_SIZE;
		protocol = at[1 + IPV6_NEXTHDR];
	} else {
		return 1;
	}
	if (transport <= network || transport == 0xffff) /* not set */
		protocol = 0;
	return size + copy_transport(at + size, head + transport, protocol);
}
