/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who a task is: its contexts, and whether it is selected. Both are kept per CPU for the task that ran last (struct
 * bt_cpu), because the next event is nearly always the same task's.
 */
#pragma once
#include "core_compat.bpf.h"
#include "newborn.bpf.h"

static __always_inline void context_u32(u8 *block, enum bt_context context, u32 value)
{
	u32 offset = config.context_offset[context];

	if (offset <= BT_CONTEXT_MAX - sizeof(u32))
		*(u32 *)(block + offset) = value;
}

/* An id as the task's user namespace shows it. */
static __always_inline void context_virtual_id(u8 *block, enum bt_context context, void *map, u32 id)
{
	if (config.context_offset[context] != BT_ABSENT)
		context_u32(block, context, map_id(map, id));
}

/*
 * Users and groups. Returns whether the task's user namespace has yet to get one of its maps: that is written once, and
 * changes nothing that would make the task look like another.
 */
static __noinline u32 context_fill_ids(struct task_struct *task, u8 *block)
{
	const struct cred *cred = task->cred;
	struct user_namespace *ns = cred->user_ns;
	void *uids = (void *)ns + bpf_core_field_offset(struct user_namespace, uid_map);
	void *gids = (void *)ns + bpf_core_field_offset(struct user_namespace, gid_map);

	context_u32(block, BT_CTX_UID, cred->uid.val);
	context_u32(block, BT_CTX_EUID, cred->euid.val);
	context_u32(block, BT_CTX_SUID, cred->suid.val);
	context_u32(block, BT_CTX_GID, cred->gid.val);
	context_u32(block, BT_CTX_EGID, cred->egid.val);
	context_u32(block, BT_CTX_SGID, cred->sgid.val);
	context_u32(block, BT_CTX_CPU_ID, bpf_get_smp_processor_id());
	if (!(config.context_groups & BT_GROUP_VIRTUAL_IDS))
		return 0;
	context_virtual_id(block, BT_CTX_VUID, uids, cred->uid.val);
	context_virtual_id(block, BT_CTX_VEUID, uids, cred->euid.val);
	context_virtual_id(block, BT_CTX_VSUID, uids, cred->suid.val);
	context_virtual_id(block, BT_CTX_VGID, gids, cred->gid.val);
	context_virtual_id(block, BT_CTX_VEGID, gids, cred->egid.val);
	context_virtual_id(block, BT_CTX_VSGID, gids, cred->sgid.val);
	return !ns->uid_map.nr_extents || !ns->gid_map.nr_extents;
}

/* All contexts except those that are read afresh for each event. Returns what context_fill_ids does. */
static __noinline u32 context_fill(struct task_struct *task, u8 *block)
{
	struct pid_namespace *pid_ns = NULL;
	struct nsproxy *nsproxy;
	u32 vtid = 0, vpid = 0;
	struct pid *pid;

	task = untrusted(task);
	nsproxy = task->nsproxy;
	pid = task->thread_pid;
	if (pid) {
		u32 level = pid->level;

		vtid = pid_at(pid, level, &pid_ns);
		if (task->pid == task->tgid) {
			vpid = vtid;
		} else {
			struct pid_namespace *ignored;

			vpid = pid_at(task->signal->pids[PIDTYPE_TGID], level, &ignored);
		}
	}
	context_u32(block, BT_CTX_PID, task->tgid);
	context_u32(block, BT_CTX_TID, task->pid);
	context_u32(block, BT_CTX_VPID, vpid);
	context_u32(block, BT_CTX_VTID, vtid);
	context_u32(block, BT_CTX_PID_NS, ns_inum(pid_ns));
	context_u32(block, BT_CTX_USER_NS, task->cred->user_ns->ns.inum);
	context_u32(block, BT_CTX_CGROUP_NS, nsproxy ? nsproxy->cgroup_ns->ns.inum : 0);
	context_u32(block, BT_CTX_IPC_NS, nsproxy ? nsproxy->ipc_ns->ns.inum : 0);
	context_u32(block, BT_CTX_MNT_NS, nsproxy ? nsproxy->mnt_ns->ns.inum : 0);
	context_u32(block, BT_CTX_NET_NS, nsproxy ? nsproxy->net_ns->ns.inum : 0);
	context_u32(block, BT_CTX_TIME_NS, nsproxy ? nsproxy->time_ns->ns.inum : 0);
	context_u32(block, BT_CTX_UTS_NS, nsproxy ? nsproxy->uts_ns->ns.inum : 0);
	return config.context_groups & (BT_GROUP_IDS | BT_GROUP_VIRTUAL_IDS) ? context_fill_ids(task, block) : 0;
}

/* Default contexts that change without a sign to wait for: the name (prctl, /proc), the parent (its death). */
static __always_inline void context_live(struct task_struct *task, u8 *block)
{
	u32 name = config.context_offset[BT_CTX_PROCNAME];

	if (name <= BT_CONTEXT_MAX - sizeof(task->comm)) {
		const u64_alias *comm = (const u64_alias *)task->comm;

		*(u64 *)(block + name) = comm[0];
		*(u64 *)(block + name + 8) = comm[1];
	}
	if (config.context_offset[BT_CTX_PPID] != BT_ABSENT)
		context_u32(block, BT_CTX_PPID, task->real_parent->tgid);
}

/* Nothing is taken for granted from here on: another task may come, or this one become another. */
static __always_inline void interval_end(struct bt_cpu *cpu)
{
	WRITE_ONCE(cpu->admitted_at, 0);
	WRITE_ONCE(cpu->rejected_at, 0);
	WRITE_ONCE(cpu->rejected_so_far_at, 0);
	WRITE_ONCE(cpu->exit_known, 0);
}

static __always_inline bool cpu_knows(struct bt_cpu *cpu, struct task_struct *task)
{
	return cpu->task == (u64)task && cpu->start_time == task->start_boottime &&
	       cpu->generation == control.generation && cpu->thread_pid == (u64)untrusted(task)->thread_pid &&
	       cpu->nsproxy == (u64)untrusted(task)->nsproxy && cpu->cred == (u64)untrusted(task)->cred;
}

/* Credit the account of the task that ran until now. What is taken out here is added there, whoever comes between. */
static __always_inline void account_settle(struct bt_cpu *cpu)
{
	u32 index = cpu->first_account + cpu->account;
	struct bt_account *account = bpf_map_lookup_elem(&accounts, &index);
	u64 recorded;

	if (!account)
		return;
	recorded = __sync_lock_test_and_set(&cpu->recorded_here, 0);
	__sync_fetch_and_add(&account->recorded, recorded);
	if (unlikely(NEWBORNS))
		tags_settled(recorded);
	__sync_fetch_and_add(&account->discarded, __sync_lock_test_and_set(&cpu->discarded_here, 0));
}

static __noinline int cpu_fill(struct bt_cpu *cpu, struct task_struct *task)
{
	WRITE_ONCE(cpu->filled, 0);
	cpu->unmapped = context_fill(task, (u8 *)cpu->context);
	/* Who is not selected has events only with who is: containers that the trace may not tell of have no number. */
	context_u32((u8 *)cpu->context, BT_CTX_CONTAINER, cpu->selected ? cpu->account : 0);
	barrier();
	WRITE_ONCE(cpu->filled, (u64)task);
	return 0;
}

static __noinline int cpu_learn(struct bt_cpu *cpu, struct task_struct *task)
{
	u32 newborn = NEWBORNS, again = 0;
	u64 verdict = 0, number = rejection_of(task);

	/* A program that interrupts this one finds no task and learns for itself; it writes the same. */
	WRITE_ONCE(cpu->task, 0);
	WRITE_ONCE(cpu->filled, 0);
	interval_end(cpu);
	barrier();
	cpu->generation = control.generation;
	cpu->start_time = task->start_boottime;
	cpu->thread_pid = (u64)untrusted(task)->thread_pid;
	cpu->nsproxy = (u64)untrusted(task)->nsproxy;
	cpu->cred = (u64)untrusted(task)->cred;
	cpu->settled = 1;
	if (!rejection_known(number, newborn)) {
		if (unlikely(newborn)) {
			u32 outlook = newborn_step(task);

			again = outlook == LOOK_AGAIN;
			cpu->settled = outlook == SETTLED;
		}
		verdict = task_lookup(task);
		if (!verdict)
			reject(task, number, cpu->settled);
	}
	cpu->selected = (u32)verdict;
	if (config.accounts && cpu->account != verdict >> 32)
		account_settle(cpu);
	cpu->account = verdict >> 32;
	if (config.rules)
		WRITE_ONCE(cpu->counts_at, BT_NOWHERE);
	if (unlikely(newborn) && cpu->selected && tag_records(cpu, newborn_tag(task))) {
		cpu->selected = 0;
		again = 1;
	}
	if (cpu->selected)
		cpu_fill(cpu, task);
	barrier();
	if (unlikely(again) || (unlikely(control.trackers) && verdict_unsettled(task)))
		cpu->start_time = 0; /* look again next time */
	WRITE_ONCE(cpu->task, (u64)task);
	return 0;
}

/* This CPU's ring, up to date about who runs; if that is not selected, without its contexts. */
static __always_inline struct bt_cpu *cpu_glance(struct task_struct *task)
{
	struct bt_cpu *cpu = cpu_here();

	if (unlikely(!cpu_knows(cpu, task)))
		cpu_learn(cpu, task);
	return cpu;
}

/* This CPU's ring, up to date about the task that runs. */
static __always_inline struct bt_cpu *cpu_current(struct task_struct *task)
{
	struct bt_cpu *cpu = cpu_glance(task);

	if (unlikely(READ_ONCE(cpu->filled) != (u64)task))
		cpu_fill(cpu, task);
	return cpu;
}

/* Is a task that is not (known to be) the running one selected? */
static __always_inline bool task_selected(struct task_struct *task)
{
	u64 number, verdict;

	if (!control.trackers)
		return true;
	number = rejection_of(task);
	if (rejection_known(number, false))
		return false;
	verdict = task_lookup(task);
	if (!verdict)
		reject(task, number, false);
	if (!(u32)verdict)
		return false;
	return likely(!NEWBORNS) || !tag_records_here(newborn_tag(task));
}

/* The running task's ring, if it or the other task that an event is about is selected. */
static __always_inline struct bt_cpu *cpu_of_either(struct task_struct *current, struct task_struct *subject)
{
	struct bt_cpu *cpu = cpu_glance(current);

	if (cpu->selected)
		return cpu;
	return subject != current && task_selected(subject) ? cpu_current(current) : NULL;
}
