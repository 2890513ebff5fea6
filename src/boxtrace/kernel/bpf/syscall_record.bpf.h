/* SPDX-License-Identifier: GPL-2.0-only */
/* The records of system calls that are not the usual ones. */
#pragma once
#include "collect.bpf.h"
#include "namespaces.bpf.h"

static __always_inline const struct bt_syscall *syscall_find(long number, bool compat)
{
	if ((u64)number >= BT_COMPAT_BASE)
		return NULL;
	return &syscalls[compat ? number + BT_COMPAT_BASE : number];
}

/* A number that the table does not know: recorded raw. */
static __noinline int record_unknown(struct bt_cpu *cpu, struct task_struct *task, struct pt_regs *regs, u32 kind,
				     s64 result)
{
	bool compat = kind >= BT_EV_COMPAT_SYSCALL_ENTRY_UNKNOWN;
	bool exit = kind == BT_EV_SYSCALL_EXIT_UNKNOWN || kind == BT_EV_COMPAT_SYSCALL_EXIT_UNKNOWN;
	u64 argument[BT_ARGUMENTS];
	struct bt_event event;
	u16 id;
	u8 *at;

	if (kind >= BT_EV_COUNT)
		return 0;
	id = config.event_id[kind];
	if (!id)
		return 0;
	if (!event_wanted(cpu, bpf_get_current_task_btf(), id))
		return 0;
	at = event_begin_any(&event, cpu, id, 4 + BT_ARGUMENTS * 8 + (exit ? 8 : 0));
	if (!at)
		return 0;
	syscall_arguments(regs, compat, argument);
	PUT(at, s32, syscall_number(regs));
	if (exit)
		PUT(at, s64, result);
	for (int i = 0; i < BT_ARGUMENTS; i++)
		PUT(at, u64, argument[i]);
	event_commit(&event);
	return 0;
}

/* Registers, each of as many bytes as `sizes` says. */
static __always_inline void put_registers(u8 *at, const u8 *sizes, u32 count, struct pt_regs *regs, bool compat)
{
	u64 argument[BT_ARGUMENTS];
	u32 offset = 0;

	syscall_arguments(regs, compat, argument);
#pragma unroll
	for (int i = 0; i < BT_ARGUMENTS; i++) {
		u32 size;

		if (i >= count)
			break;
		size = sizes[i] & 15;
		if (size)
			put_sized(at + offset, argument[i], size);
		offset += size; /* one number whatever the branch was: the verifier has one state to follow, not 4^6 */
	}
}

FILTER_CODE(filter_code_registers)
FILTER_CODE(filter_code_collected)
FILTER_CODE(filter_code_interval)

static __noinline int filter_registers(struct bt_cpu *cpu, u32 id, struct pt_regs *regs, s64 result)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u64 input[9] = {}; /* as struct bt_scratch begins */

	syscall_arguments(regs, syscall_is_compat(task), input);
	input[8] = result;
	return filter_verdict(cpu, task, id, input, BT_FILTER_REGISTERS, filter_code_registers);
}

static __noinline int filter_collected(struct bt_cpu *cpu, struct task_struct *task, u32 id, struct bt_scratch *input)
{
	return filter_verdict(cpu, task, id, input, BT_FILTER_COLLECTED, filter_code_collected);
}

/* A record of registers alone: those that go into a call, or its result and those that come out of it. */
static __noinline int record_registers(struct bt_cpu *cpu, struct pt_regs *regs, const struct bt_syscall *call,
				       s64 result, bool exit)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u16 id = exit ? call->exit_id : call->entry_id;
	struct bt_event event;
	u8 *at;

	if ((filters.active && !filter_registers(cpu, id, regs, result)) || !rule_passes(cpu, id))
		return 0;
	at = event_begin_passed(&event, cpu, task, id, exit ? sizeof(s64) + call->exit_size : call->entry_size);
	if (!at)
		return 0;
	if (!exit) {
		put_registers(at, call->entry, call->entry_arguments, regs, syscall_is_compat(task));
	} else {
		PUT(at, s64, result);
		if (call->exit_arguments)
			put_registers(at, call->exit, call->exit_arguments, regs, syscall_is_compat(task));
	}
	event_commit(&event);
	return 0;
}

/* A record of more than registers, whose size is known only when all is collected. */
static __noinline int record_layout(struct bt_cpu *cpu, struct pt_regs *regs, const struct bt_syscall *call, s64 result,
				    bool exit)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct collector c = {.is_exit = exit, .failed = result < 0};
	u32 key = exit ? call->exit_layout : call->entry_layout, used;
	struct bt_event event;
	u16 id = exit ? call->exit_id : call->entry_id;
	u8 *at;

	/* Nothing is collected for what is not wanted; but what the filter does not let pass is not counted as limited.
	 */
	if (!filter_tests(id) && !rule_passes(cpu, id))
		return 0;
	c.layout = bpf_map_lookup_elem(&layouts, &key);
	key = 0;
	c.scratch = bpf_map_lookup_elem(&scratch, &key);
	if (!c.layout || !c.scratch)
		return 0;
	if (syscall_is_compat(task)) {
		c.scratch->word = 4;
		syscall_arguments(regs, true, c.scratch->argument);
	} else {
		c.scratch->word = 8;
		syscall_arguments(regs, false, c.scratch->argument);
	}
	c.scratch->result = result;
	c.scratch->used = 0;
	c.scratch->late = 0;
	bpf_loop(c.layout->steps, collect_step, &c, 0);
	used = c.scratch->used;
	if (used > BT_PAYLOAD_MAX + BT_STRUCT_MAX) { /* cannot be: every step looks at what is left */
		event_discard(cpu, id);
		return 0;
	}
	/* What is not known yet cannot be tested: it passes. */
	if (filter_tests(id) &&
	    ((!c.scratch->late && !filter_collected(cpu, task, id, c.scratch)) || !rule_passes(cpu, id)))
		return 0;
	at = event_begin_any(&event, cpu, id, used);
	if (!at)
		return 0;
	bpf_probe_read_kernel(at, used, c.scratch->payload);
	event_commit(&event);
	return 0;
}

/* Record the strings that could not be read when the call was entered, now that the kernel has read them. */
static __noinline int record_late(struct bt_cpu *cpu, struct task_struct *task, struct pt_regs *regs, bool compat)
{
	struct bt_mark *mark = bpf_task_storage_get(&marks, task, NULL, 0);
	u32 key = 0, late;
	struct bt_scratch *room;

	if (!mark || !mark->late)
		return 0;
	late = mark->late;
	mark->late = 0;
	__sync_fetch_and_add(&late_tasks, -1);
	room = bpf_map_lookup_elem(&scratch, &key);
	if (!room || mark->late_mm != (u64)task->mm || !config.event_id[BT_EV_SYSCALL_LATE_STRING])
		return 0;
	syscall_arguments(regs, compat, room->argument);
	for (int i = 0; i < BT_ARGUMENTS; i++) {
		struct bt_event event;
		long length;
		u8 *at;

		if (!(late & 1U << i))
			continue;
		length = bpf_probe_read_user_str(room->payload, BT_STRING_MAX, (void *)room->argument[i]);
		if (length <= 0)
			continue;
		length = bounded(length, BT_STRING_MAX);
		at = event_begin_any(&event, cpu, config.event_id[BT_EV_SYSCALL_LATE_STRING], 4 + 1 + length);
		if (!at)
			continue;
		PUT(at, s32, syscall_number(regs));
		PUT(at, u8, i);
		bpf_probe_read_kernel(at, bounded(length, BT_STRING_MAX), room->payload);
		event_commit(&event);
	}
	return 0;
}

/* The running task has changed its namespaces itself. */
static __always_inline int namespaces_changed(struct bt_cpu *cpu, struct task_struct *task, u32 cause)
{
	if (config.event_id[BT_EV_NAMESPACE_EXEC])
		mark_newborn(bpf_get_current_task_btf(), cause);
	return record_namespaces(cpu, task, cause);
}
