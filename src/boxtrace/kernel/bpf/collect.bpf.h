/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Collects what a system call's arguments point to, step by step as a layout says, into a scratch area: its size is
 * known only afterwards. Inputs are read on entry and outputs on exit, from the memory of the running task. Memory that
 * is not present cannot be read here; then a string is empty (and is told on exit by an event of its own), a sequence
 * has no element, a fixed field is zero.
 */
#pragma once
#include "record.bpf.h"

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define POLL_FLAGS 0x1f	 /* POLLIN to POLLHUP */
#define EPOLL_FLAGS 0x0f /* EPOLLIN to EPOLLERR, without the bits between */
#define MAX_CHUNK 4096	 /* most that one step reads at once */

struct collector {
	struct bt_scratch *scratch;
	struct bt_layout *layout;
	u32 failed; /* the call failed: its outputs mean nothing */
	u32 is_exit;
	u64 address; /* of the array that is being collected */
};

/* What changes from step to step is kept in the scratch area, not on the stack: of a map's memory the verifier knows no
 * values, and so has no two states of a loop to tell apart. */
static __always_inline u8 *collect_at(struct collector *c)
{
	return c->scratch->payload + (c->scratch->used & (BT_PAYLOAD_ROOM - 1));
}

static __always_inline void collect_skip(struct collector *c, u32 bytes) { c->scratch->used += bytes; }

static __always_inline u64 collect_argument(struct collector *c, u32 index) { return c->scratch->argument[index & 7]; }

/* Where the verifier must see the bound right before it is needed: that of 6.1 forgets it in what was on the stack. */
static __always_inline u64 bounded(u64 value, u64 max)
{
	asm volatile("" : "+r"(value));
	return value > max ? max : value;
}

/* How many bytes of payload are left, as far as one step may use them. */
static __always_inline u32 collect_room(struct collector *c)
{
	u32 used = c->scratch->used, room = used < BT_PAYLOAD_MAX ? BT_PAYLOAD_MAX - used : 0;

	return room < MAX_CHUNK ? room : MAX_CHUNK;
}

static __always_inline u32 collect_count(struct collector *c, struct bt_step *step)
{
	u64 count = step->operand;
	u32 pointed = 0;

	if (c->failed)
		return 0;
	if (step->count == BT_COUNT_RESULT) {
		count = c->scratch->result;
	} else if (step->count == BT_COUNT_ARGUMENT) {
		count = collect_argument(c, step->operand);
	} else if (step->count == BT_COUNT_POINTED) {
		bpf_probe_read_user(&pointed, sizeof(pointed), (void *)collect_argument(c, step->operand));
		count = pointed;
	}
	return count > 0x7fffffff ? 0 : count;
}

/* Returns false if the string could not be read; then it is recorded as empty. */
static __always_inline bool collect_string(struct collector *c, u64 address)
{
	u8 *at = collect_at(c);
	u32 room = collect_room(c);
	long length = 0;

	if (room > 1 && room <= MAX_CHUNK)
		length = bpf_probe_read_user_str(at, bounded(room, MAX_CHUNK), (void *)address);
	if (length > 0) {
		collect_skip(c, length);
		return true;
	}
	*at = 0;
	collect_skip(c, 1);
	return false;
}

/* Remember that a string was not there on entry. The kernel brings its page when it reads it: exit finds it. */
static __noinline int collect_late(struct collector *c, u32 argument)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct bt_mark *mark = bpf_task_storage_get(&marks, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

	c->scratch->late = 1;
	if (!mark)
		return 0;
	if (!mark->late)
		__sync_fetch_and_add(&late_tasks, 1);
	mark->late |= 1U << (argument & 7);
	mark->late_mm = (u64)task->mm;
	return 0;
}

static __always_inline void collect_sequence(struct collector *c, struct bt_step *step, u64 address)
{
	u32 count = collect_count(c, step), size = step->size ?: 1, bytes;
	u8 *at = collect_at(c);

	if (count > step->limit)
		count = step->limit;
	bytes = count * size;
	if (bytes > MAX_CHUNK || bytes + 4 > collect_room(c) ||
	    bpf_probe_read_user(at + 4, bounded(bytes, MAX_CHUNK), (void *)address))
		count = bytes = 0;
	*(u32 *)at = count;
	collect_skip(c, 4 + bytes);
}

/* A structure of a constant size; with a limit of 1 as a sequence of at most one. */
static __always_inline void collect_fixed(struct collector *c, struct bt_step *step, u64 address)
{
	u32 size = step->size, given = size, optional = step->limit == 1;
	u8 *at = collect_at(c);

	if (size > BT_STRUCT_MAX || collect_room(c) < BT_STRUCT_MAX + 1)
		size = given = 0;
	if (step->count == BT_COUNT_ARGUMENT && collect_argument(c, step->operand) < given)
		given = collect_argument(c, step->operand);
	if (given > BT_STRUCT_MAX)
		given = BT_STRUCT_MAX;
	if (optional) {
		/* What a caller's older, shorter structure does not have is zero to the kernel. */
		if (given < size)
			__builtin_memset(at + 1, 0, BT_STRUCT_MAX);
		*at = !c->failed && address && size &&
		      !bpf_probe_read_user(at + 1, bounded(given, BT_STRUCT_MAX), (void *)address);
		collect_skip(c, *at ? 1 + size : 1);
		return;
	}
	if (c->failed || bpf_probe_read_user(at, bounded(given, BT_STRUCT_MAX), (void *)address))
		__builtin_memset(at, 0, BT_STRUCT_MAX);
	collect_skip(c, step->size);
}

/* family, port, IPv4 address, IPv6 address as sequences of which one may have elements, path of a Unix socket. */
static __always_inline void collect_sockaddr(struct collector *c, struct bt_step *step, u64 address)
{
	u8 *at = collect_at(c);
	u16 family = 0, port = 0;
	u32 length = collect_count(c, step), v4 = 0, v6 = 0, used;
	bool known;

	if (collect_room(c) < 256)
		length = 0;
	known = length >= 2 && !bpf_probe_read_user(&family, sizeof(family), (void *)address);
	*(u16 *)at = family;
	if (known && (family == AF_INET || family == AF_INET6))
		bpf_probe_read_user(&port, sizeof(port), (void *)address + 2);
	*(u16 *)(at + 2) = port;
	if (known && family == AF_INET && length >= 8 && !bpf_probe_read_user(at + 8, 4, (void *)address + 4))
		v4 = 4;
	*(u32 *)(at + 4) = v4;
	at += 8 + v4;
	if (known && family == AF_INET6 && length >= 24 && !bpf_probe_read_user(at + 4, 16, (void *)address + 8))
		v6 = 8;
	*(u32 *)at = v6;
	at += 4 + v6 * 2;
	used = 12 + v4 + v6 * 2;
	at[0] = 0;
	if (known && family == AF_UNIX && length > 2) {
		long got;

		if (length > 110)
			length = 110;
		got = bpf_probe_read_user_str(at, (length - 1) & 127, (void *)address + 2);
		if (got == 1 && length > 3) { /* an abstract name begins with NUL; @ as ss and netstat show it */
			got = bpf_probe_read_user_str(at + 1, (length - 2) & 127, (void *)address + 3);
			at[0] = '@';
			got = got > 0 ? got + 1 : 0;
		}
		if (got <= 0) {
			at[0] = 0;
			got = 1;
		}
		used += got;
	} else {
		used += 1;
	}
	collect_skip(c, used);
}

static __always_inline void collect_fdset(struct collector *c, struct bt_step *step, u64 address)
{
	u32 bytes = (collect_count(c, step) + 7) / 8;
	u8 *at = collect_at(c);

	if (bytes > step->limit)
		bytes = step->limit;
	if (bytes > 255 || !address || bytes + 1 > collect_room(c) ||
	    bpf_probe_read_user(at + 1, bounded(bytes, 255), (void *)address))
		bytes = 0;
	*at = bytes;
	collect_skip(c, 1 + bytes);
}

struct pollfd {
	int fd;
	short events;
	short revents;
};

static int collect_pollfd(u32 index, struct collector *c)
{
	u8 *at = collect_at(c);
	struct pollfd pollfd = {};
	u16 flags;

	bpf_probe_read_user(&pollfd, sizeof(pollfd), (void *)c->address + index * sizeof(pollfd));
	flags = c->is_exit ? pollfd.revents : pollfd.events;
	PUT(at, s32, pollfd.fd);
	PUT(at, u16, flags);
	PUT(at, u8, flags & POLL_FLAGS);
	collect_skip(c, 7);
	return 0;
}

static int collect_epoll_event(u32 index, struct collector *c)
{
	u8 *at = collect_at(c);
	u64 address = c->address + index * EPOLL_EVENT_SIZE, data = 0;
	u32 flags = 0;

	bpf_probe_read_user(&flags, sizeof(flags), (void *)address);
	bpf_probe_read_user(&data, sizeof(data), (void *)address + EPOLL_EVENT_SIZE - sizeof(data));
	PUT(at, u64, data);
	PUT(at, u32, data);
	PUT(at, u32, flags);
	PUT(at, u8, (flags & 7) | (flags & 8));
	collect_skip(c, 17);
	return 0;
}

/* A NULL-terminated array of strings: arguments, environment. */
static int collect_argument_string(u32 index, struct collector *c)
{
	u64 address = 0;
	u32 word = c->scratch->word;

	bpf_probe_read_user(&address, word == 4 ? 4 : 8, (void *)c->address + index * word);
	if (!address || collect_room(c) < 2)
		return 1;
	collect_string(c, address);
	c->scratch->elements++;
	return 0;
}

static __always_inline void collect_strings(struct collector *c, struct bt_step *step, u64 address)
{
	u32 start = c->scratch->used & (BT_PAYLOAD_ROOM - 1);

	c->address = address;
	c->scratch->elements = 0;
	collect_skip(c, 4);
	bpf_loop(step->limit, collect_argument_string, c, 0);
	*(u32 *)(c->scratch->payload + start) = c->scratch->elements;
}

static __always_inline void collect_elements(struct collector *c, struct bt_step *step, u64 address)
{
	u32 count = collect_count(c, step), limit = step->limit;
	u8 *at = collect_at(c);
	bool overflow = count > limit;

	if (overflow)
		count = limit;
	if (collect_room(c) < BT_STRUCT_MAX * 4 || !address)
		count = 0;
	*(u32 *)at = count;
	collect_skip(c, 4);
	if (step->kind == BT_STEP_EPOLL_EVENTS || step->size) {
		at[4] = overflow;
		collect_skip(c, 1);
	}
	c->address = address;
	if (step->kind == BT_STEP_POLLFDS)
		bpf_loop(count, collect_pollfd, c, 0);
	else
		bpf_loop(count, collect_epoll_event, c, 0);
}

static int collect_step(u32 index, struct collector *c)
{
	struct bt_step *step = &c->layout->step[index & (BT_STEPS - 1)];
	u64 value = collect_argument(c, step->argument);

	switch (step->kind) {
	case BT_STEP_INTEGER:
		put_sized(collect_at(c), value, step->size);
		collect_skip(c, step->size & 15);
		break;
	case BT_STEP_RESULT:
		*(u64 *)collect_at(c) = c->scratch->result;
		collect_skip(c, 8);
		break;
	case BT_STEP_STRING:
		if (!collect_string(c, value) && value && !c->is_exit)
			collect_late(c, step->argument);
		break;
	case BT_STEP_SEQUENCE:
		collect_sequence(c, step, value);
		break;
	case BT_STEP_FIXED:
		collect_fixed(c, step, value);
		break;
	case BT_STEP_SOCKADDR:
		collect_sockaddr(c, step, value);
		break;
	case BT_STEP_FDSET:
		collect_fdset(c, step, value);
		break;
	case BT_STEP_FDSET_OVERFLOW:
		*collect_at(c) = ((u32)value + 7) / 8 > step->limit;
		collect_skip(c, 1);
		break;
	case BT_STEP_POLLFDS:
	case BT_STEP_EPOLL_EVENTS:
		collect_elements(c, step, value);
		break;
	case BT_STEP_EPOLL_EVENT:
		c->address = value;
		collect_epoll_event(0, c);
		break;
	case BT_STEP_STRINGS:
		collect_strings(c, step, value);
		break;
	}
	return 0;
}
