// SPDX-License-Identifier: GPL-2.0-only
/*
 * System calls: entry with arguments, exit with the result.
 *
 * Between two switches of tasks a CPU runs one task, and who that is changes only by calls of its own
 * (bt_syscall.alters). So once a call was looked at in every respect, the next ones of the interval are not: the usual
 * record is written straight away, and one that is not wanted is rejected by one comparison. sched_switch ends the
 * interval; so does everything that learns who the task is anew, and a change of the selection.
 */
#define BT_INTERRUPTIBLE 1
#include "syscall_usual.bpf.h"
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

/*
 * Kinds of trackers whose answer about a task changes while it runs: its name, which others may change, and ids in a
 * user namespace, whose maps others write. Namespaces and credentials it only changes itself, by calls that end the
 * interval.
 */
#define FLEETING_TRACKERS (1U << BT_TRACK_PROCNAME | 1U << BT_TRACK_VUID | 1U << BT_TRACK_VGID)

/* Which preconditions of filters the task does not meet that `cpu` knows: they are about contexts that last. */
static __noinline int find_rejecting(struct bt_cpu *cpu)
{
	u32 rejecting = 0;

	for (u32 i = 0; i < BT_PRECONDITIONS; i++) {
		if (i >= filters.preconditions)
			break;
		if (!filter_code_interval(cpu->context, cpu->context, i + 1))
			rejecting |= 1U << i;
	}
	return rejecting;
}

/* What is known of the running task holds until the interval ends. */
static __always_inline void interval_begin(struct bt_cpu *cpu, struct task_struct *task)
{
	/* Who is born is looked at with each event, and before that whoever may come to be. */
	if (config.context_extended || (control.newborn && (cpu->selected || !cpu->settled)) ||
	    (control.trackers & FLEETING_TRACKERS) || !cpu_knows(cpu, task))
		return;
	if (filters.active && cpu->selected && cpu->admitted_at != cpu->generation)
		WRITE_ONCE(cpu->rejecting, find_rejecting(cpu));
	if (cpu->selected)
		WRITE_ONCE(cpu->admitted_at, cpu->generation);
	else
		WRITE_ONCE(cpu->rejected_so_far_at, cpu->generation);
	if (!cpu->selected && (control.own_changes_seen || !(control.trackers & BT_OWN_TRACKERS)))
		WRITE_ONCE(cpu->rejected_at, cpu->generation);
	barrier();
	if (unlikely(READ_ONCE(cpu->task) != (u64)task)) /* where programs can be preempted: another one has learnt */
		interval_end(cpu);
}

/* A call of who is rejected so far: is the return to be looked at? Numbers that no call has may be taken for one. */
static __always_inline void enter_rejected(struct bt_cpu *cpu, u64 number)
{
	if (syscalls[number & (BT_COMPAT_BASE - 1)].alters_either)
		interval_end(cpu);
}

/* Everything that can be with a call. */
static __noinline int enter(u64 *arguments)
{
	struct pt_regs *regs = (struct pt_regs *)arguments[0];
	long number = arguments[1];
	struct task_struct *task = bpf_get_current_task_btf();
	struct bt_cpu *cpu = cpu_glance(task);
	const struct bt_syscall *call;
	bool compat;

	interval_begin(cpu, task);
	WRITE_ONCE(cpu->exit_known, 0);
	if (!cpu->selected) {
		enter_rejected(cpu, number);
		return 0;
	}
	compat = syscall_is_compat(task);
	call = syscall_find(number, compat);
	if (unlikely(!call || !call->known)) {
		interval_end(cpu);
		return record_unknown(cpu, task, regs,
				      compat ? BT_EV_COMPAT_SYSCALL_ENTRY_UNKNOWN : BT_EV_SYSCALL_ENTRY_UNKNOWN, 0);
	}
	if (call->alters)
		interval_end(cpu);
	if (!call->entry_id)
		return 0;
	return call->entry_layout ? record_layout(cpu, regs, call, 0, false)
				  : record_registers(cpu, regs, call, 0, false);
}

/* Does a filter reject the call at once? What is known of its return then is kept for that. */
static __always_inline bool entry_rejected(struct bt_cpu *cpu, volatile struct bt_saved *saved)
{
	const struct bt_syscall *call = saved->call;
	u64 known;

	if (likely(READ_ONCE(cpu->rejecting) & call->entry_asks)) {
		rule_filtered(cpu, READ_ONCE(call->entry_rule));
		call = saved->call;
		known = READ_ONCE(call->exit_rejected);
		if (likely(known)) {
			WRITE_ONCE(cpu->exit_known, known);
			return true;
		}
	} else if (!call->entry_tested ||
		   filter_registers(cpu, call->entry_tested, (struct pt_regs *)saved->arguments[0], 0)) {
		return false;
	}
	call = saved->call;
	if (READ_ONCE(cpu->rejecting) & call->exit_asks)
		WRITE_ONCE(cpu->exit_known, (u64)READ_ONCE(call->exit_rule) << 32);
	else
		WRITE_ONCE(cpu->exit_known, READ_ONCE(call->exit_plain));
	return true;
}

SEC("tp_btf/sys_enter")
int sys_enter(u64 *arguments)
{
	volatile struct bt_saved saved;
	struct task_struct *task;
	struct bt_cpu *cpu;
	u64 number, generation;

	saved.arguments = arguments;
	cpu = cpu_here();
	generation = control.generation;
	if (cpu->rejected_at == generation)
		return 0;
	if (unlikely(cpu->admitted_at != generation)) {
		if (cpu->rejected_so_far_at != generation)
			return enter(saved.arguments);
		enter_rejected(cpu, saved.arguments[1]);
		return 0;
	}
	task = bpf_get_current_task_btf();
	saved.task = task;
	number = saved.arguments[1];
	if (unlikely(number >= BT_COMPAT_BASE) || unlikely(syscall_is_compat(task)))
		return enter(saved.arguments);
	saved.call = &syscalls[number];
	if (IMMEDIATE(BT_IMM_FILTERED) && entry_rejected(cpu, &saved))
		return 0;
	if (!saved.call->entry_plain)
		return enter(saved.arguments);
	if (IMMEDIATE(BT_IMM_SUBBUFS_DIRECT) ? enter_usual(cpu, &saved, true)
					     : enter_looked_up(cpu, saved.call, saved.arguments))
		return 0;
	return enter(saved.arguments);
}

/* Everything that can be with a call that returns. */
static __noinline int leave(u64 *arguments)
{
	struct pt_regs *regs = (struct pt_regs *)arguments[0];
	long result = arguments[1];
	struct task_struct *task = bpf_get_current_task_btf();
	struct bt_cpu *cpu = cpu_glance(task);
	const struct bt_syscall *call;
	bool compat;

	interval_begin(cpu, task);
	WRITE_ONCE(cpu->exit_known, 0);
	if (!cpu->selected)
		return 0;
	compat = syscall_is_compat(task);
	if (unlikely(late_tasks))
		record_late(cpu, task, regs, compat);
	call = syscall_find(syscall_number(regs), compat);
	if (unlikely(!call || !call->known)) {
		record_unknown(cpu, task, regs, compat ? BT_EV_COMPAT_SYSCALL_EXIT_UNKNOWN : BT_EV_SYSCALL_EXIT_UNKNOWN,
			       result);
		return 0;
	}
	if (unlikely(call->cause) && !result)
		namespaces_changed(cpu, task, call->cause);
	if (!call->exit_id)
		return 0;
	return call->exit_layout ? record_layout(cpu, regs, call, result, true)
				 : record_registers(cpu, regs, call, result, true);
}

/* Does a filter reject a return of which nothing is known yet? */
static __noinline int return_rejected(struct bt_cpu *cpu, u64 *arguments)
{
	struct pt_regs *regs = (struct pt_regs *)arguments[0];
	u32 number = syscall_number(regs); /* of 64 bits, the verifier of arm64's 6.1 takes any index for possible */
	const struct bt_syscall *call;

	if (number >= BT_COMPAT_BASE || late_tasks || syscall_is_compat(bpf_get_current_task_btf()))
		return 0;
	call = &syscalls[number];
	if (READ_ONCE(cpu->rejecting) & call->exit_asks) {
		rule_filtered(cpu, call->exit_rule);
		return 1;
	}
	return call->exit_tested && !filter_registers(cpu, call->exit_tested, regs, arguments[1]);
}

static __always_inline bool exit_rejected(struct bt_cpu *cpu, u64 *arguments)
{
	u64 known = READ_ONCE(cpu->exit_known);

	if (!known)
		return return_rejected(cpu, arguments);
	if (!(known >> 32))
		return false;
	exit_forget(cpu);
	rule_filtered(cpu, known >> 32);
	return true;
}

SEC("tp_btf/sys_exit")
int sys_exit(u64 *arguments)
{
	volatile struct bt_saved saved;
	struct bt_cpu *cpu;
	u64 generation;

	saved.arguments = arguments;
	cpu = cpu_here();
	generation = control.generation;
	if (cpu->rejected_so_far_at == generation)
		return 0;
	/* During the call another process may have changed the selection, or moved the task to another cgroup. */
	if (unlikely(cpu->admitted_at != generation))
		return leave(saved.arguments);
	if (IMMEDIATE(BT_IMM_FILTERED) && exit_rejected(cpu, saved.arguments))
		return 0;
	if (IMMEDIATE(BT_IMM_SUBBUFS_DIRECT) ? leave_usual(cpu, &saved, true) : leave_looked_up(cpu, saved.arguments))
		return 0;
	return leave(saved.arguments);
}
