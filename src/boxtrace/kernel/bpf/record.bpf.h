/* SPDX-License-Identifier: GPL-2.0-only */
/* One event: header, contexts of the running task, payload; everything packed to bytes, little endian. */
#pragma once
#include "callstack.bpf.h"
#include "filter.bpf.h"

struct bt_event {
	struct bt_cpu *cpu;
	struct bt_reservation reserved;
};

/* Write a value at `at` and step over it. Records are not aligned; the targets allow that. */
#define PUT(at, type, value)                                                                                           \
	do {                                                                                                           \
		*(type *)(at) = (value);                                                                               \
		(at) += sizeof(type);                                                                                  \
	} while (0)

#define PUT_COMM(at, task)                                                                                             \
	do {                                                                                                           \
		const u64_alias *_comm = (const u64_alias *)(task)->comm;                                              \
		PUT(at, u64, _comm[0]);                                                                                \
		PUT(at, u64, _comm[1]);                                                                                \
	} while (0)

/* The low bytes of a register. */
static __always_inline void put_sized(u8 *at, u64 value, u32 size)
{
	if (size == 8)
		*(u64 *)at = value;
	else if (size == 4)
		*(u32 *)at = value;
	else if (size == 2)
		*(u16 *)at = value;
	else
		*at = value;
}

static __always_inline void event_contexts(struct bt_cpu *cpu, struct task_struct *task, u8 *at)
{
	u64 size = IMMEDIATE(BT_IMM_CONTEXT_SIZE);

	/* Compared with constants only, which the verifier takes out: what remains is loads and stores. */
#pragma unroll
	for (int i = 0; i < BT_CONTEXT_PLAIN; i += 8) {
		if (size >= i + 8)
			*(u64 *)(at + i) = cpu->context[i / 8];
		else if (size == i + 4)
			*(u32 *)(at + i) = (u32)cpu->context[i / 8];
	}
	/* Another task of this CPU may have come between where programs can be preempted. */
	if (unlikely(READ_ONCE(cpu->filled) != (u64)task))
		context_fill(task, at);
	context_live(task, at);
}

/* Writes the event header at `at`; returns what is behind it. `size` is that of the rest of the record. */
static __always_inline u8 *event_header(struct bt_event *event, u8 *at, u16 id, u32 size)
{
	if (likely(event->reserved.size == BT_COMPACT_HEADER + size)) {
		*(u16 *)at = id;
		*(u32 *)(at + 2) = event->reserved.time;
		return at + BT_COMPACT_HEADER;
	}
	*(u16 *)at = 0xffff;
	*(u32 *)(at + 2) = id;
	*(u64 *)(at + 6) = event->reserved.time;
	return at + BT_EXTENDED_HEADER;
}

/*
 * event_begin with contexts of any size, those that are read for each event, call stacks. Also for what is rare, so
 * that the frames of a call chain fit the 512 bytes of stack that a kernel without private stacks (< 6.13) allows.
 */
static __noinline u8 *event_begin_any(struct bt_event *event, struct bt_cpu *cpu, u16 id, u32 payload)
{
	u32 size = config.context_size + payload, slot = NO_SLOT;
	u8 *at;

	event->cpu = cpu;
	if (config.callstacks) {
		slot = callstack_collect(bpf_get_current_task_btf());
		size += callstack_size(slot);
	}
	at = ring_reserve(cpu, size, &event->reserved);
	if (at) {
		struct task_struct *task =
			bpf_get_current_task_btf(); /* again: one value less on the stack meanwhile */

		at = event_header(event, at, id, size);
		context_copy(cpu, at);
		if (unlikely(READ_ONCE(cpu->filled) != (u64)task))
			context_fill(task, at);
		context_live(task, at);
		if (config.context_groups & BT_GROUP_LIVE) {
			context_live_more(task, at);
			if ((config.context_groups & BT_GROUP_VIRTUAL_IDS) && cpu->unmapped)
				context_fill_ids(task, at);
		}
		if (context_has(BT_CTX_CONTAINER) && unlikely(READ_ONCE(cpu->filled) != (u64)task)) {
			u64 found = task_lookup(task);

			context_u32(at, BT_CTX_CONTAINER, (u32)found ? found >> 32 : 0);
		}
		at += config.context_size;
	} else if (config.rules) {
		rule_count(cpu, rule_of(id), BT_LEFT_DISCARDED);
	}
	if (config.callstacks)
		at = callstack_put(at, slot);
	return at;
}

/*
 * The default contexts, at places that are known when the programs are loaded. Returns false, and they are not right,
 * if another task of this CPU has come between.
 */
static __always_inline bool event_contexts_usual(struct bt_cpu *cpu, struct task_struct *task, u8 *at)
{
	u8 *live = at;

#pragma unroll
	for (int i = 0; i < BT_CONTEXT_USUAL / 8; i++)
		*(u64 *)(at + 8 * i) = cpu->context[i];
	*(u32 *)(at + BT_CONTEXT_USUAL / 8 * 8) = (u32)cpu->context[BT_CONTEXT_USUAL / 8];
	if (unlikely(READ_ONCE(cpu->filled) != (u64)task))
		return false;
	WITH_IMMEDIATE(live, "+=", BT_IMM_PROCNAME);
	*(u64 *)live = *(const u64_alias *)&task->comm[0];
	*(u64 *)(live + 8) = *(const u64_alias *)&task->comm[8];
	WITH_IMMEDIATE(at, "+=", BT_IMM_PPID);
	*(u32 *)at = task->real_parent->tgid;
	return true;
}

/* The header of a record that is usual. */
static __always_inline u8 *event_header_usual(u8 *at, u16 id, u64 time)
{
	*(u16 *)at = id;
	*(u32 *)(at + 2) = time;
	return at + BT_COMPACT_HEADER;
}

/* Where the payload is, behind the contexts. */
static __always_inline u8 *behind_contexts(u8 *at)
{
	WITH_IMMEDIATE(at, "+=", BT_IMM_CONTEXT_SIZE);
	return at;
}

/* `commit`: 1 << 32 | size. */
static __always_inline void event_commit_usual(struct bt_cpu *cpu, u8 *subbuf, u64 commit)
{
	ring_commit(cpu, ring_packet(subbuf), commit);
	__sync_fetch_and_add(&cpu->recorded_here, 1);
}

/* Begin a record of the running task; returns where its payload of `payload` bytes goes, NULL if it was discarded. */
static __always_inline u8 *event_begin_passed(struct bt_event *event, struct bt_cpu *cpu, struct task_struct *task,
					      u16 id, u32 payload)
{
	u8 *at;

	event->cpu = cpu;
	if (config.context_extended)
		return event_begin_any(event, cpu, id, payload);
	at = ring_reserve(cpu, config.context_size + payload, &event->reserved);
	if (!at) {
		if (config.rules)
			rule_count(cpu, rule_of(id), BT_LEFT_DISCARDED);
		return NULL;
	}
	at = event_header(event, at, id, config.context_size + payload);
	if (config.context_size) {
		event_contexts(cpu, task, at);
		at += config.context_size;
	}
	return at;
}

/* The same, if the event's filter and limits let it pass; else NULL. */
static __always_inline u8 *event_begin(struct bt_event *event, struct bt_cpu *cpu, struct task_struct *task, u16 id,
				       u32 payload)
{
	return event_wanted(cpu, task, id) ? event_begin_passed(event, cpu, task, id, payload) : NULL;
}

static __always_inline void event_commit(struct bt_event *event)
{
	ring_commit(event->cpu, event->reserved.packet, COMMIT(event->reserved.size));
	__sync_fetch_and_add(&event->cpu->recorded_here, 1);
}

/* A record of something rare; NULL if it is not recorded, or its filter and limits do not let it pass. */
static __always_inline u8 *begin_rare(struct bt_event *event, struct bt_cpu *cpu, u32 kind, u32 payload)
{
	u16 id = config.event_id[kind];

	return id && event_wanted(cpu, bpf_get_current_task_btf(), id) ? event_begin_any(event, cpu, id, payload)
								       : NULL;
}
