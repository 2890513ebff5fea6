/* SPDX-License-Identifier: GPL-2.0-only */
/* Makes the fields of an event out of a trace record of the kernel, one copy after the other, in a draft. */
#pragma once
#include "network.bpf.h"

/* The compiler must not merge a bound with a test that it made elsewhere: the verifier needs it where it is used. */
#define HIDE(value) asm volatile("" : "+r"(value))

struct source {
	struct bt_tracepoint *tracepoint;
	struct bt_draft *draft;
	u64 record; /* address of the kernel's record */
};

static __always_inline s64 read_integer(u64 address, u32 width)
{
	u32 size = width & 15;
	s64 value = 0;

	if (size > sizeof(value))
		return 0;
	bpf_probe_read_kernel(&value, size, (void *)address);
	if (width & BT_COPY_SIGNED)
		value = value << (64 - 8 * size) >> (64 - 8 * size);
	return value;
}

static __always_inline void copy_integer(u8 *at, u64 address, struct bt_copy *copy)
{
	u64 value = read_integer(address, copy->width) + copy->add;

	if (copy->width & BT_COPY_SWAPPED)
		value = __builtin_bswap64(value) >> (64 - 8 * copy->size & 63);
	put_sized(at, value, copy->size);
}

/* Where a dynamic field's data lies; its length in bytes. */
static __always_inline u32 locate(struct source *source, struct bt_copy *copy, u64 *address)
{
	u32 locator = read_integer(source->record + copy->source, sizeof(locator));

	*address = source->record + (locator & 0xffff);
	if (copy->kind & BT_COPY_RELATIVE)
		*address += copy->source + sizeof(locator);
	return locator >> 16;
}

/* A string with its NUL, or, behind a length, without. Returns the bytes written. */
static __always_inline long copy_string(u8 *at, u64 address, struct bt_copy *copy, bool counted)
{
	u32 prefix = counted ? copy->size & 15 : 0;
	long length = address ? bpf_probe_read_kernel_str(at + prefix, BT_STRING_MAX, (void *)address) : 0;

	if (length <= 0) {
		at[prefix] = 0;
		length = 1;
	}
	if (!counted)
		return length;
	put_sized(at, length - 1, prefix);
	return prefix + length - 1;
}

/* A string that has no more than `size` bytes, and may have no NUL. */
static __always_inline long copy_characters(u8 *at, u64 address, u64 size)
{
	long length;

	HIDE(size);
	if (!size || size >= BT_STRING_MAX)
		return -1;
	length = bpf_probe_read_kernel_str(at, size + 1, (void *)address);
	return length > 0 ? length : -1;
}

static __always_inline long copy_comm(u8 *at, u64 address)
{
	((u64_alias *)at)[0] = 0;
	((u64_alias *)at)[1] = 0;
	bpf_probe_read_kernel_str(at, 16, (void *)address);
	return 16;
}

static __always_inline long copy_bytes(u8 *at, u64 address, u64 size)
{
	HIDE(size);
	if (size >= BT_RECORD_MAX)
		return -1;
	if (size && bpf_probe_read_kernel(at, size, (void *)address))
		return -1;
	return size;
}

static __always_inline long copy_sequence(u8 *at, struct source *source, struct bt_copy *copy)
{
	u32 prefix = copy->size & 15, length;
	long written;
	u64 address;

	length = locate(source, copy, &address);
	length &= ~0U << (copy->width & 3); /* whole elements */
	put_sized(at, length >> (copy->width & 3), prefix);
	written = copy_bytes(at + prefix, address, length);
	return written < 0 ? written : written + prefix;
}

/* The kernel writes what a block request does as letters (blk_fill_rwbs); these are the flags again, LTTng's. */
static __always_inline u32 rwbs_flags(u64 address)
{
	char text[8] = {};
	u32 flags = 0;
	int i = 0;

	bpf_probe_read_kernel_str(text, sizeof(text), (void *)address);
	if (text[0] == 'F' &&
	    (text[1] == 'W' || text[1] == 'D' || text[1] == 'F' || text[1] == 'R' || text[1] == 'N')) {
		flags |= BT_RWBS_PREFLUSH;
		i = 1;
	}
	switch (text[i]) {
	case 'W':
		flags |= BT_RWBS_WRITE;
		break;
	case 'D':
		flags |= text[i + 1] == 'E' ? BT_RWBS_DISCARD | BT_RWBS_SECURE : BT_RWBS_DISCARD;
		break;
	case 'F':
		flags |= BT_RWBS_FLUSH;
		break;
	case 'R':
		flags |= BT_RWBS_READ;
		break;
	}
#pragma unroll
	for (int j = 1; j < 8; j++) {
		if (j <= i)
			continue;
		flags |= text[j] == 'F' ? BT_RWBS_FUA : 0;
		flags |= text[j] == 'A' ? BT_RWBS_RAHEAD : 0;
		flags |= text[j] == 'S' ? BT_RWBS_SYNC : 0;
		flags |= text[j] == 'M' ? BT_RWBS_META : 0;
	}
	return flags;
}

static __always_inline u64 page_address(u64 frame)
{
	u64 base = 0;

	if (frame == ~0ULL || !config.pages)
		return 0;
	bpf_probe_read_kernel(&base, sizeof(base), (void *)config.pages);
	return base + frame * bpf_core_type_size(struct page);
}

static int copy_field(u32 index, struct source *source)
{
	struct bt_draft *draft = source->draft;
	struct bt_copy *copy;
	long written = -1;
	u64 address;
	u8 *at;

	copy = &source->tracepoint->copies[index & (BT_COPIES - 1)];
	at = draft->payload + (draft->used & (BT_RECORD_MAX - 1));
	address = source->record + copy->source;
	switch (copy->kind & ~BT_COPY_RELATIVE) {
	case BT_COPY_BYTES:
		written = copy_bytes(at, address, copy->size);
		break;
	case BT_COPY_INTEGER:
		copy_integer(at, address, copy);
		written = copy->size & 15;
		break;
	case BT_COPY_BIT:
		*at = read_integer(address, copy->width) >> (copy->add & 63) & 1;
		written = 1;
		break;
	case BT_COPY_STRING:
		locate(source, copy, &address);
		written = copy_string(at, address, copy, false);
		break;
	case BT_COPY_TEXT:
		locate(source, copy, &address);
		written = copy_string(at, address, copy, true);
		break;
	case BT_COPY_COMM:
		locate(source, copy, &address);
		written = copy_comm(at, address);
		break;
	case BT_COPY_CHARACTERS:
		written = copy_characters(at, address, copy->size);
		break;
	case BT_COPY_POINTED:
		written = copy_string(at, read_integer(address, sizeof(address)), copy, false);
		break;
	case BT_COPY_SEQUENCE:
		written = copy_sequence(at, source, copy);
		break;
	case BT_COPY_RWBS:
		*(u32 *)at = rwbs_flags(address);
		written = sizeof(u32);
		break;
	case BT_COPY_TID:
		*(u32 *)at = bpf_get_current_pid_tgid();
		written = sizeof(u32);
		break;
	case BT_COPY_PAGE:
		*(u64 *)at = page_address(read_integer(address, sizeof(u64)));
		written = sizeof(u64);
		break;
	case BT_COPY_NETWORK:
		written = copy_network(at, (struct sk_buff *)read_integer(address, sizeof(u64)));
		break;
	}
	if (written < 0 || draft->used + written > BT_RECORD_MAX) {
		draft->failed = 1;
		return 1;
	}
	/* Kept in the map's memory: of that the verifier knows no values, and so has no two states of the loop to tell
	 * apart. */
	draft->used += written;
	return 0;
}
