/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The usual records of system calls: straight code. Each kind of contexts has its own, in which nothing lives while
 * another function is called; so few registers are saved, on entry to the program, by who records nothing, too. What is
 * not usual is left undone.
 */
#pragma once
#include "syscall_record.bpf.h"

/*
 * What is needed again after the clock is read, on the stack: registers that live across a call would be saved on entry
 * to the program, before it is known whether there is anything to do.
 */
struct bt_saved {
	u64 *arguments;
	const struct bt_syscall *call;
	struct task_struct *task;
	u64 position;
	u64 exit_known;
};

/* One instruction, where C makes two. */
static __always_inline void exit_forget(struct bt_cpu *cpu)
{
	asm volatile("*(u64 *)(%0 + %1) = 0" ::"r"(cpu), "i"(offsetof(struct bt_cpu, exit_known)) : "memory");
}

/* Write the registers behind the contexts, and commit. Apart, so that who has nothing of that to do saves no registers.
 */
static __noinline bool finish_registers(struct bt_cpu *cpu, const struct bt_syscall *call, u8 *at, u8 *subbuf,
					u64 *arguments)
{
	struct pt_regs *regs = (struct pt_regs *)arguments[0];
	u32 count = call->entry_arguments, offset = 0;

	at = behind_contexts(at);
#pragma unroll
	for (int i = 0; i < BT_ARGUMENTS; i++) {
		u32 size;

		if (i >= count)
			break;
		size = call->entry[i] & 15;
		if (size)
			put_sized(at + offset, syscall_argument(regs, i), size);
		offset += size;
	}
	event_commit_usual(cpu, subbuf, READ_ONCE(call->entry_commit));
	return true;
}

/* Write the contexts of a task that is not the one that `cpu` knows, or such as are not the default ones. */
static __noinline int other_contexts(struct bt_cpu *cpu, u8 *at)
{
	event_contexts(cpu, bpf_get_current_task_btf(), at);
	return 0;
}

static __noinline bool enter_otherwise(struct bt_cpu *cpu, const struct bt_syscall *call, u8 *at, u8 *subbuf,
				       u64 *arguments)
{
	other_contexts(cpu, at);
	return finish_registers(cpu, call, at, subbuf, arguments);
}

/*
 * Make the usual record, or return false with nothing done. Each kind of contexts has its own code, in which nothing
 * lives while another function is called: so few registers are saved.
 */
static __always_inline bool enter_usual(struct bt_cpu *cpu, volatile struct bt_saved *saved, bool direct)
{
	const struct bt_syscall *call;
	u8 *at, *subbuf;
	u64 time;

	saved->position = READ_ONCE(cpu->position);
	time = bpf_ktime_get_ns();
	if (unlikely(!ring_take(cpu, saved->position, time, READ_ONCE(saved->call->entry_whole), &subbuf, &at, direct)))
		return false;
	call = saved->call;
	WRITE_ONCE(cpu->exit_known, READ_ONCE(call->exit_plain));
	at = event_header_usual(at, READ_ONCE(call->entry_plain), time);
	if (IMMEDIATE(BT_IMM_CONTEXTS_USUAL)) {
		if (unlikely(!event_contexts_usual(cpu, saved->task, at)))
			return enter_otherwise(cpu, call, at, subbuf, saved->arguments);
	} else if (IMMEDIATE(BT_IMM_CONTEXT_SIZE)) {
		return enter_otherwise(cpu, call, at, subbuf, saved->arguments);
	}
	if (READ_ONCE(call->entry_arguments))
		return finish_registers(cpu, call, at, subbuf, saved->arguments);
	event_commit_usual(cpu, subbuf, READ_ONCE(call->entry_commit));
	return true;
}

static __noinline bool enter_looked_up(struct bt_cpu *cpu, const struct bt_syscall *call, u64 *arguments)
{
	volatile struct bt_saved saved = {.arguments = arguments, .call = call};

	saved.task = bpf_get_current_task_btf();
	return enter_usual(cpu, &saved, false);
}

static __noinline bool leave_otherwise(struct bt_cpu *cpu, u8 *at, u8 *subbuf, u64 *arguments)
{
	other_contexts(cpu, at);
	*(u64 *)behind_contexts(at) = arguments[1];
	event_commit_usual(cpu, subbuf, COMMIT_IMMEDIATE(BT_IMM_RESULT_SIZE));
	return true;
}

/* As enter_usual. */
static __always_inline bool leave_usual(struct bt_cpu *cpu, volatile struct bt_saved *saved, bool direct)
{
	u64 known = READ_ONCE(cpu->exit_known), time;
	u8 *at, *subbuf;

	if (!known)
		return false;
	saved->exit_known = known;
	/* Not every return has an entry: seccomp lets calls fail before that. */
	exit_forget(cpu);
	if (IMMEDIATE(BT_IMM_CONTEXTS_USUAL))
		saved->task = bpf_get_current_task_btf();
	saved->position = READ_ONCE(cpu->position);
	time = bpf_ktime_get_ns();
	if (unlikely(!ring_take(cpu, saved->position, time, IMMEDIATE(BT_IMM_RESULT_SIZE), &subbuf, &at, direct)))
		return false;
	at = event_header_usual(at, saved->exit_known, time);
	if (IMMEDIATE(BT_IMM_CONTEXTS_USUAL)) {
		if (unlikely(!event_contexts_usual(cpu, saved->task, at)))
			return leave_otherwise(cpu, at, subbuf, saved->arguments);
	} else if (IMMEDIATE(BT_IMM_CONTEXT_SIZE)) {
		return leave_otherwise(cpu, at, subbuf, saved->arguments);
	}
	*(u64 *)behind_contexts(at) = (saved->arguments)[1];
	event_commit_usual(cpu, subbuf, COMMIT_IMMEDIATE(BT_IMM_RESULT_SIZE));
	return true;
}

static __noinline bool leave_looked_up(struct bt_cpu *cpu, u64 *arguments)
{
	volatile struct bt_saved saved = {.arguments = arguments};

	return leave_usual(cpu, &saved, false);
}
