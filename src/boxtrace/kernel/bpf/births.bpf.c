// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who is born into namespaces of its own, what is first executed in there, and who ends. The names of the programs sort
 * behind those of the scheduler's events (programs are attached in that order), so that a fork is recorded before what
 * it led to.
 *
 * A selection that wants containers that are not born yet decides here: task_born sees every child before it runs,
 * task_executes the first program before its first instruction, both with the cgroup that it will live in if the
 * runtime moves it before that (all do); cgroups.bpf.c sees every cgroup when it is made.
 */
#include "namespaces.bpf.h"
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

#define SIGNAL_GROUP_EXIT 0x4 /* include/linux/sched/signal.h */

/* Is it process number 1 of a pid namespace other than the initial one? */
static __always_inline bool is_init(struct pid *pid)
{
	struct pid_namespace *ns;

	return pid && pid->level && pid_at(pid, pid->level, &ns) == 1;
}

/*
 * Tell user space at once, whatever is recorded: only of what cannot wait, since the wakeup is the dearest part of it
 * (an interrupt that the CPU sends to itself, and one for who waits).
 */
static __noinline int notify(struct task_struct *task, u32 kind)
{
	struct bt_birth *birth =
		config.births & BT_BIRTHS_TOLD ? bpf_ringbuf_reserve(&births, sizeof(*birth), 0) : NULL;
	struct pid_namespace *around, *ns;

	if (!birth)
		return 0;
	birth->kind = kind;
	birth->pid = task->tgid;
	task = untrusted(task)->real_parent;
	innermost_pid(task, &around);
	for (u32 i = 0; i < BT_ANCESTORS; i++) {
		struct bt_ancestor *ancestor = &birth->ancestors[i];
		struct task_struct *leader = task->group_leader;
		const u64_alias *comm = (const u64_alias *)leader->comm;

		innermost_pid(task, &ns);
		ancestor->start = leader->start_boottime;
		ancestor->pid = ns == around ? leader->pid : 0;
		ancestor->_pad = 0;
		((u64_alias *)ancestor->comm)[0] = comm[0];
		((u64_alias *)ancestor->comm)[1] = comm[1];
		task = leader->real_parent;
	}
	bpf_ringbuf_submit(birth, 0);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(task_born, struct task_struct *parent, struct task_struct *child)
{
	struct bt_newborn *newborn;
	struct bt_cpu *cpu;
	bool first;

	if (child->tgid == parent->tgid)
		return 0;
	first = is_init(child->thread_pid);
	if (!first && child->nsproxy == parent->nsproxy && child->thread_pid->level == parent->thread_pid->level &&
	    child->cred->user_ns == parent->cred->user_ns && child->cgroups->dfl_cgrp == parent->cgroups->dfl_cgrp) {
		/* A process between setns and execve hands on what it has not done itself. */
		newborn = bpf_task_storage_get(&newborns, parent, NULL, 0);
		if (newborn && newborn->cause)
			mark_newborn(child, newborn->cause);
		return 0;
	}
	if (config.births & BT_BIRTHS_ELSEWHERE)
		return 0;
	mark_newborn(child, BT_CAUSE_CLONE);
	if (first)
		notify(child, BT_BIRTH_PROCESS);
	cpu = cpu_of_either(parent, child);
	if (cpu)
		record_namespaces(cpu, child, BT_CAUSE_CLONE);
	return 0;
}

static __noinline int record_execution(struct bt_cpu *cpu, struct task_struct *task, u32 cause, const char *name)
{
	u32 key = 0;
	struct bt_scratch *room = bpf_map_lookup_elem(&scratch, &key);
	struct pid_namespace *ns;
	struct bt_event event;
	long length;
	u8 *at;

	if (!room)
		return 0;
	length = bpf_probe_read_kernel_str(room->payload, BT_STRING_MAX, name);
	if (length <= 0) {
		room->payload[0] = 0;
		length = 1;
	}
	length &= 2 * BT_STRING_MAX - 1;
	if (length > BT_STRING_MAX)
		return 0;
	at = begin_rare(&event, cpu, BT_EV_NAMESPACE_EXEC, 4 + 4 + 4 + 1 + 10 * 4 + CGROUP_SIZE + length);
	if (!at)
		return 0;
	task = untrusted(task);
	PUT(at, s32, task->pid);
	PUT(at, s32, task->tgid);
	PUT(at, s32, innermost_pid(task, &ns));
	PUT(at, u8, cause);
	at = put_namespaces(at, task, ns);
	at = put_cgroup(at, task);
	asm volatile("" : "+r"(length));
	length &= 2 * BT_STRING_MAX - 1;
	if (length <= BT_STRING_MAX)
		bpf_probe_read_kernel(at, length, room->payload);
	event_commit(&event);
	return 0;
}

/* A thread may have come back to where it was: then it is as if it had never gone. */
static __noinline int lives_apart(struct task_struct *task)
{
	struct nsproxy *own, *others;

	task = untrusted(task);
	own = task->nsproxy;
	others = task->real_parent->nsproxy;
	if (is_init(task->thread_pid) || !own || !others)
		return 1;
	return own->cgroup_ns != others->cgroup_ns || own->ipc_ns != others->ipc_ns || own->mnt_ns != others->mnt_ns ||
	       own->net_ns != others->net_ns || own->time_ns != others->time_ns || own->uts_ns != others->uts_ns ||
	       own->pid_ns_for_children != others->pid_ns_for_children ||
	       task->cred->user_ns != task->real_parent->cred->user_ns ||
	       task->cgroups->dfl_cgrp != task->real_parent->cgroups->dfl_cgrp;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(task_executes, struct task_struct *task, s32 old_tid, struct linux_binprm *binary)
{
	struct bt_newborn *newborn = bpf_task_storage_get(&newborns, task, NULL, 0);
	struct bt_cpu *cpu;
	u32 cause;

	if (!newborn || !newborn->cause)
		return 0;
	cause = newborn->cause;
	newborn->cause = BT_CAUSE_NONE;
	if (!lives_apart(task))
		return 0;
	notify(task, BT_BIRTH_EXEC);
	cpu = cpu_glance(task);
	if (cpu->selected)
		record_execution(cpu, task, cause, binary->filename);
	return 0;
}

static __always_inline u32 exit_status(struct task_struct *task)
{
	struct signal_struct *signal = untrusted(task)->signal;

	return signal->flags & SIGNAL_GROUP_EXIT ? signal->group_exit_code : untrusted(task)->group_leader->exit_code;
}

/* Not BPF_PROG: the second argument exists since Linux 6.16 only. */
SEC("tp_btf/sched_process_exit")
int task_ends(u64 *arguments)
{
	struct task_struct *task = (struct task_struct *)arguments[0];
	struct pid_namespace *ns;
	struct bt_event event;
	struct bt_cpu *cpu;
	struct pid *pid = untrusted(task)->group_leader->thread_pid;
	u8 *at;

	if (untrusted(task)->signal->live.counter || !is_init(pid))
		return 0;
	cpu = cpu_glance(task);
	if (!cpu->selected)
		return 0;
	at = begin_rare(&event, cpu, BT_EV_NAMESPACE_EXIT, 4 + 4 + 4 + 4 + CGROUP_SIZE);
	if (!at)
		return 0;
	pid = untrusted(task)->group_leader->thread_pid;
	pid_at(pid, pid ? pid->level : 0, &ns);
	PUT(at, s32, task->tgid);
	PUT(at, u32, ns_inum(ns));
	PUT(at, s32, exit_status(task) >> 8 & 0xff);
	PUT(at, s32, exit_status(task) & 0x7f);
	put_cgroup(at, task);
	event_commit(&event);
	return 0;
}

/* Not BPF_PROG: the argument is the victim's number before Linux 6.9, then the victim. */
SEC("tp_btf/mark_victim")
int oom_victim(u64 *arguments)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct bt_cpu *cpu = cpu_glance(task);
	struct task_struct *victim = (void *)arguments[0];
	struct bt_event event;
	u64 comm[2] = {};
	s32 pid;
	u8 *at;

	if (!cpu->selected)
		return 0;
	if (config.oom_has_task) {
		pid = BPF_CORE_READ(victim, tgid);
		bpf_core_read(&comm, sizeof(comm), &victim->comm);
	} else {
		pid = (s32)(u64)victim;
	}
	at = begin_rare(&event, cpu, BT_EV_OOM_VICTIM, 4 + 16);
	if (!at)
		return 0;
	PUT(at, s32, pid);
	PUT(at, u64, comm[0]);
	PUT(at, u64, comm[1]);
	event_commit(&event);
	return 0;
}
