/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reserve and commit: how every record gets into a sub-buffer, and the one account of those that did not.
 *
 * A program may be interrupted on its CPU by another one (softirq, irq, NMI; on some kernels by another task). A
 * reservation is one compare-and-exchange of the CPU's position, made with the time that was read before it: who comes
 * between moves the position and the reservation is tried again with a later time, so records lie in time order. Each
 * sub-buffer counts the bytes committed to it, padding included.
 */
#pragma once
#include "immediate.bpf.h"
#include "maps.bpf.h"

#define BT_RESERVE_TRIES 4
#define BT_EXTENDED_HEADER 14 /* u16 0xffff, u32 id, u64 time */

#define READ_ONCE(x) (*(volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile typeof(x) *)&(x) = (v))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define barrier() asm volatile("" ::: "memory")

static __always_inline struct bt_cpu *cpu_here(void) { return &cpus[bpf_get_smp_processor_id() & (BT_CPUS - 1)]; }

struct bt_reservation {
	struct bt_packet *packet; /* of the sub-buffer that the record is in */
	u64 time;
	u32 size; /* event header and body */
};

/* What was there; a builtin would make two more instructions of the comparison with `old`. */
static __always_inline u64 compare_and_swap(u64 *at, u64 old, u64 new)
{
	register u64 found asm("r0") = old;

	asm volatile("%0 = cmpxchg_64(%1 + 0, %0, %2)" : "+r"(found) : "r"(at), "r"(new) : "memory");
	return found;
}

/* Which sub-buffer of all holds a position. */
static __always_inline u64 ring_index(struct bt_cpu *cpu, u64 position)
{
	WITH_IMMEDIATE(position, ">>=", BT_IMM_SUBBUF_ORDER);
	WITH_IMMEDIATE(position, "&=", BT_IMM_SUBBUF_NUMBERS);
	return position + cpu->first_packet;
}

/* A sub-buffer that is addressed directly. */
static __always_inline u8 *ring_direct(u64 index)
{
	WITH_IMMEDIATE(index, "*=", BT_IMM_SUBBUF_STRIDE);
	return (u8 *)ADDRESS(BT_IMM_SUBBUFS) + index;
}

/* The sub-buffer that holds a position, and what is known of it. */
static __always_inline u8 *ring_subbuf(struct bt_cpu *cpu, u64 position)
{
	u64 index = ring_index(cpu, position);
	u32 key = index;

	if (!IMMEDIATE(BT_IMM_SUBBUFS_DIRECT))
		return bpf_map_lookup_elem(&packets, &key);
	JUMP_IF(index, ">=", BT_IMM_SUBBUFS_DIRECT, none);
	return ring_direct(index);
none: /* cannot be, but the verifier does not know */
	return NULL;
}

static __always_inline struct bt_packet *ring_packet(u8 *subbuf)
{
	WITH_IMMEDIATE(subbuf, "+=", BT_IMM_SUBBUF_SIZE);
	return (struct bt_packet *)subbuf;
}

/* How far a position is into its sub-buffer. */
static __always_inline u64 ring_offset(u64 position)
{
	WITH_IMMEDIATE(position, "&=", BT_IMM_SUBBUF_MASK);
	return position;
}

/* The clock may step back by some ns while the kernel adjusts it; a stream may not. */
static __always_inline u64 ring_time(struct bt_cpu *cpu)
{
	u64 now = bpf_ktime_get_ns(), last = READ_ONCE(cpu->last_time);

	return likely(now >= last) ? now : last;
}

static __always_inline u32 event_header_size(struct bt_packet *packet, u64 time)
{
	/* A reader extends 32 bits of time from the packet's beginning on. Who comes while the packet is being begun
	 * finds the beginning of the one before it in this sub-buffer, and writes a full time stamp: always right. */
	return likely((time - packet->begin) >> 32 == 0) ? BT_COMPACT_HEADER : BT_EXTENDED_HEADER;
}

static __always_inline void ring_wake(struct bt_cpu *cpu)
{
	bpf_ringbuf_output(&wakeups, &cpu->first_packet, sizeof(cpu->first_packet), 0);
}

/* What a record of so many bytes adds to bt_packet.commit. */
#define COMMIT(size) ((size) | 1ULL << 32)

static __always_inline void ring_commit(struct bt_cpu *cpu, struct bt_packet *packet, u64 commit)
{
	u64 before = __sync_fetch_and_add(&packet->commit, commit);

	/* Only who fills a sub-buffer up reaches a multiple of its size. */
	JUMP_IF(before + commit, "&", BT_IMM_SUBBUF_MASK, incomplete);
	if (!config.overwrite)
		ring_wake(cpu);
incomplete:
	return;
}

static __always_inline void ring_discard(struct bt_cpu *cpu)
{
	__sync_fetch_and_add(&cpu->discarded, 1);
	__sync_fetch_and_add(&cpu->discarded_here, 1);
}

/* Ends the packet that holds `position` and begins the next one; called by who moved the position across. */
static __always_inline void ring_switch(struct bt_cpu *cpu, u64 position, u64 time, u64 before)
{
	u32 used = position & (config.subbuf_size - 1);
	u8 *subbuf = ring_subbuf(cpu, position), *next = ring_subbuf(cpu, position + config.subbuf_size);
	struct bt_packet *packet;

	if (subbuf) {
		packet = ring_packet(subbuf);
		packet->end = time;
		packet->content = used;
		packet->discarded = READ_ONCE(cpu->discarded);
		ring_commit(cpu, packet, config.subbuf_size - used);
	}
	if (next) {
		packet = ring_packet(next);
		packet->begin = time;
		packet->sequence = (position >> config.subbuf_order) + 1;
		packet->before = before;
		ring_commit(cpu, packet, config.packet_header);
	}
}

/*
 * First position behind the packet header of the sub-buffer after the one that holds `position`; 0 if none is free.
 * Nothing can be committed to a free sub-buffer, so `before` is what its commit is until the position is moved into it.
 */
static __always_inline u64 ring_next(struct bt_cpu *cpu, u64 position, u64 *before)
{
	u64 sequence = (position >> config.subbuf_order) + 1;
	u8 *next = ring_subbuf(cpu, position + config.subbuf_size);

	if (!next)
		return 0;
	*before = READ_ONCE(ring_packet(next)->commit);
	/* To overwrite, it must be complete: an interrupted program may be as far behind as a whole turn. */
	if (config.overwrite ? (u32)*before & (config.subbuf_size - 1)
			     : sequence - READ_ONCE(cpu->released) >= config.num_subbuf)
		return 0;
	return (sequence << config.subbuf_order) + config.packet_header;
}

struct bt_slow_reservation {
	u64 position;
	u64 time;
	u32 size;
	u32 _pad;
};

/*
 * The rare cases: the sub-buffer is full, another program came between, much time has passed. Global (not static), so
 * that the verifier looks at it once and not at each call. Returns 0 when the event had to be discarded.
 */
__weak int ring_reserve_slow(struct bt_cpu *cpu, u32 body, struct bt_slow_reservation *reserved)
{
	if (!cpu || !reserved)
		return 0;
	for (int i = 0; i < BT_RESERVE_TRIES; i++) {
		u64 old = READ_ONCE(cpu->position), start = old;
		u8 *subbuf = ring_subbuf(cpu, old);
		u64 time = ring_time(cpu), before;
		u32 size;

		if (!subbuf)
			break;
		size = event_header_size(ring_packet(subbuf), time) + body;
		if (ring_offset(old) + size >= config.subbuf_size) {
			start = ring_next(cpu, old, &before);
			if (!start)
				break;
			size = BT_COMPACT_HEADER + body;
		}
		if (__sync_val_compare_and_swap(&cpu->position, old, start + size) != old)
			continue;
		WRITE_ONCE(cpu->last_time, time);
		if (start != old)
			ring_switch(cpu, old, time, before);
		reserved->position = start;
		reserved->time = time;
		reserved->size = size;
		return 1;
	}
	ring_discard(cpu);
	return 0;
}

/*
 * The usual case of a reservation: nobody comes between, the record fits, and little time has passed since the one
 * before it. A reader extends 32 bits of time from that one on (or from the packet's beginning: `last_time` is never
 * later than what lies before `position`). What is not the usual case is left undone.
 *
 * `time` has been read after `position`: who closes a packet, on another CPU, too, does so at an earlier time.
 *
 * `at` is where the event header begins, `subbuf` the sub-buffer that it is in. `size` includes the header. Few values
 * live at the same time and, where sub-buffers are addressed directly, no call is made, so that registers suffice that
 * need not be saved.
 */
static __always_inline bool ring_take(struct bt_cpu *cpu, u64 position, u64 time, u64 size, u8 **subbuf, u8 **at,
				      bool direct)
{
	u64 next = position + size, crossed = next ^ position, index = 0;

	barrier();
	if (unlikely(time - READ_ONCE(cpu->last_time) >= 0x7fffffff)) /* else the clock may have stepped back */
		return false;
	JUMP_IF(crossed, ">=", BT_IMM_SUBBUF_SIZE, unusual);
	if (direct) {
		index = ring_index(cpu, position);
		JUMP_IF(index, ">=", BT_IMM_SUBBUFS_DIRECT, unusual);
	} else {
		*subbuf = ring_subbuf(cpu, position);
		if (unlikely(!*subbuf))
			return false;
	}
	if (unlikely(compare_and_swap(&cpu->position, position, next) != position))
		return false;
	WRITE_ONCE(cpu->last_time, time);
	if (direct)
		*subbuf = ring_direct(index);
	WITH_IMMEDIATE(position, "&=", BT_IMM_SUBBUF_MASK);
	*at = *subbuf + position;
	return true;
unusual:
	return false;
}

/*
 * Reserve `body` bytes behind an event header. Returns where the event header begins, or NULL; then the event has been
 * counted as discarded.
 */
static __always_inline u8 *ring_reserve(struct bt_cpu *cpu, u32 body, struct bt_reservation *reserved)
{
	u64 position = READ_ONCE(cpu->position);
	struct bt_slow_reservation slow = {};
	u8 *at, *subbuf;

	reserved->time = bpf_ktime_get_ns();
	reserved->size = BT_COMPACT_HEADER + body;
	if (likely(ring_take(cpu, position, reserved->time, reserved->size, &subbuf, &at, false))) {
		reserved->packet = ring_packet(subbuf);
		return at;
	}
	if (!ring_reserve_slow(cpu, body, &slow))
		return NULL;
	at = ring_subbuf(cpu, slow.position);
	if (!at)
		return NULL; /* cannot be: the verifier does not know that the map is large enough */
	reserved->packet = ring_packet(at);
	reserved->time = slow.time;
	reserved->size = slow.size;
	return at + ring_offset(slow.position);
}
