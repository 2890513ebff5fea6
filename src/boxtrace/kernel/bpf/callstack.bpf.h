/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Call stacks: contexts whose length is known only when they have been collected, behind the context block. They are
 * collected into a slot of this CPU; a program that interrupts takes another slot.
 */
#pragma once
#include "contexts.bpf.h"

#define STACK_BYTES (BT_STACK_DEPTH * sizeof(u64))
#define NO_SLOT BT_STACK_SLOTS /* all are taken: the stacks are recorded empty */
#define OWN_FRAMES 4	       /* of the helper and of the program, not shown */

BT_MAP(BPF_MAP_TYPE_PERCPU_ARRAY, callstacks, __uint(max_entries, BT_STACK_SLOTS); __type(key, u32);
       __type(value, struct bt_stacks););

static __always_inline u32 stack_collect(struct task_struct *task, void *frames, u64 flags)
{
	long bytes = bpf_get_task_stack(task, frames, STACK_BYTES, flags);

	return bytes > 0 && bytes <= STACK_BYTES ? bytes : 0;
}

static int callstack_take(u32 index, u32 *slot)
{
	struct bt_stacks *stacks = bpf_map_lookup_elem(&callstacks, &index);

	if (!stacks || __sync_val_compare_and_swap(&stacks->taken, 0, 1))
		return 0;
	*slot = index;
	return 1;
}

/* Collects the running task's stacks; returns the slot where they are. */
static __noinline u32 callstack_collect(struct task_struct *task)
{
	struct bt_stacks *stacks;
	u32 slot = NO_SLOT;

	bpf_loop(BT_STACK_SLOTS, callstack_take, &slot, 0);
	stacks = bpf_map_lookup_elem(&callstacks, &slot);
	if (!stacks)
		return NO_SLOT;
	if (config.callstacks & BT_CALLSTACK_KERNEL)
		stacks->bytes[0] = stack_collect(task, stacks->frames[0], OWN_FRAMES);
	if (config.callstacks & BT_CALLSTACK_USER)
		stacks->bytes[1] = stack_collect(task, stacks->frames[1], BPF_F_USER_STACK);
	return slot;
}

/* Bytes that the stacks of a slot take in a record. */
static __noinline u32 callstack_size(u32 slot)
{
	struct bt_stacks *stacks = bpf_map_lookup_elem(&callstacks, &slot);
	u32 size = 0;

	if (config.callstacks & BT_CALLSTACK_KERNEL)
		size += sizeof(u32) + (stacks ? stacks->bytes[0] : 0);
	if (config.callstacks & BT_CALLSTACK_USER)
		size += sizeof(u32) + (stacks ? stacks->bytes[1] : 0);
	return size;
}

/* A number of addresses, addresses. Returns what is behind them. */
static __always_inline u8 *callstack_put_one(u8 *at, struct bt_stacks *stacks, u32 which)
{
	u32 bytes = stacks ? stacks->bytes[which] : 0;

	if (bytes > STACK_BYTES)
		return at;
	*(u32 *)at = bytes / sizeof(u64);
	at += sizeof(u32);
	if (stacks && bytes)
		bpf_probe_read_kernel(at, bytes, stacks->frames[which]);
	return at + bytes;
}

/* Writes the stacks of a slot, unless `at` is NULL, and gives the slot back. Returns what is behind them. */
static __always_inline u8 *callstack_put(u8 *at, u32 slot)
{
	struct bt_stacks *stacks = bpf_map_lookup_elem(&callstacks, &slot);

	if (at && (config.callstacks & BT_CALLSTACK_KERNEL))
		at = callstack_put_one(at, stacks, 0);
	if (at && (config.callstacks & BT_CALLSTACK_USER))
		at = callstack_put_one(at, stacks, 1);
	if (stacks)
		WRITE_ONCE(stacks->taken, 0);
	return at;
}
