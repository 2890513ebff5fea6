/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Containers that are born while recording, when it is not known yet whether they are wanted: their runtime tells the
 * name later than the kernel sees the birth. They are recorded as candidates, and user space takes out again what turns
 * out not to be wanted (boxtrace.session.newborns). For that it must know whose records are where: each CPU has a list
 * of the positions in its ring from which on records are of another candidate, or of none (tag 0).
 *
 * A pid namespace is unborn as long as only the runtime has run in there. It is born when its first process enters
 * execve: with the root directory of its parent that may still be the runtime's (a script that sets it up), so for a
 * while an execve with another root directory counts as the birth, and what was recorded before does not belong to it.
 */
#pragma once
#include "select.bpf.h"

#define SETTING_UP_NS 10000000000ULL
#define SUBSYSTEMS 16

static __always_inline struct bt_tags *tags_here(void)
{
	u32 index = bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&tags, &index);
}

static __noinline int tags_settled(u64 records)
{
	struct bt_tags *here = tags_here();

	if (here)
		__sync_fetch_and_add(&here->settled, records);
	return 0;
}

/* What this CPU records from now on is of this tag. Returns 1, and counts a loss, if there is no room to note that. */
static __noinline int tag_records(struct bt_cpu *cpu, u64 tag)
{
	struct bt_tags *here = tags_here();
	struct bt_tag *entry;
	u64 count;

	if (!here || here->current == tag)
		return !here;
	count = here->count;
	if (count - READ_ONCE(here->consumed) >= BT_TAGS) {
		ring_discard(cpu);
		return 1;
	}
	entry = &here->entry[count & (BT_TAGS - 1)];
	entry->position = READ_ONCE(cpu->position);
	entry->records = READ_ONCE(here->settled) + READ_ONCE(cpu->recorded_here);
	entry->tag = tag;
	barrier();
	here->current = tag;
	WRITE_ONCE(here->count, count + 1);
	if ((count & (BT_TAGS / 4 - 1)) == 0)
		ring_wake(cpu);
	return 0;
}

static __always_inline int tag_records_here(u64 tag) { return tag_records(cpu_here(), tag); }

/* What is known of the outermost pid namespace that a task is in beside the host's. */
static __always_inline struct bt_member *outermost_member(struct pid *pid)
{
	struct pid_namespace *ns;
	u32 inum;

	if (!pid || !pid->level)
		return NULL;
	pid_at(pid, 1, &ns);
	inum = ns_inum(ns);
	return bpf_map_lookup_elem(&pid_namespaces, &inum);
}

static __noinline u64 newborn_tag(struct task_struct *task)
{
	struct bt_member *member = outermost_member(untrusted(task)->thread_pid);
	struct pid_namespace *ns;
	struct bt_mark *mark;

	if (member && (member->life != BT_LIFE_BORN || member->container))
		return 0;
	if (member) /* what was in there before the birth is the runtime's, such as threads that die by the execve */
		return task->start_boottime < member->born && pid_at(untrusted(task)->thread_pid, 1, &ns) != 1
			       ? member->tag + 1
			       : member->tag;
	if (!(task->flags & PF_EXITING))
		return 0;
	mark = bpf_task_storage_get(&marks, task, NULL, 0);
	return mark ? mark->tag : 0;
}

/* Where a record is made of a task whatever is selected. */
static __always_inline bool tag_ready(struct bt_cpu *cpu, struct task_struct *task)
{
	return likely(!NEWBORNS) || !tag_records(cpu, newborn_tag(task));
}

struct find_cgroup {
	struct css_set *set;
	struct cgroup *found;
};

static int find_separate(u32 index, struct find_cgroup *find)
{
	struct cgroup_subsys_state *state = NULL;
	struct cgroup *cgroup;

	bpf_probe_read_kernel(&state, sizeof(state),
			      (void *)find->set + bpf_core_field_offset(struct css_set, subsys) +
				      index * sizeof(state));
	cgroup = BPF_CORE_READ(state, cgroup);
	if (!cgroup || !BPF_CORE_READ(cgroup, level) || BPF_CORE_READ(cgroup, root, hierarchy_id) == 0)
		return 0;
	find->found = cgroup;
	return 1;
}

static __noinline int tell_candidate(struct task_struct *trusted, u32 tag, u32 before, u32 inum)
{
	struct task_struct *task = untrusted(trusted);
	struct bt_candidate *candidate = bpf_ringbuf_reserve(&candidates, sizeof(*candidate), 0);
	struct find_cgroup find = {.set = task->cgroups};
	struct nsproxy *nsproxy = task->nsproxy;
	struct cgroup *unified;

	if (!candidate)
		return 0;
	__builtin_memset(candidate, 0, sizeof(*candidate));
	candidate->time = bpf_ktime_get_ns();
	candidate->start = task->start_boottime;
	candidate->tag = tag;
	candidate->before = before;
	candidate->pid = task->tgid;
	candidate->setting_up = (u64)BPF_CORE_READ(task, fs, root.dentry) == host_root;
	candidate->namespaces[4] = inum;
	candidate->namespaces[6] = task->cred->user_ns->ns.inum;
	if (nsproxy) {
		candidate->namespaces[0] = nsproxy->cgroup_ns->ns.inum;
		candidate->namespaces[1] = nsproxy->ipc_ns->ns.inum;
		candidate->namespaces[2] = nsproxy->mnt_ns->ns.inum;
		candidate->namespaces[3] = nsproxy->net_ns->ns.inum;
		candidate->namespaces[5] = nsproxy->time_ns->ns.inum;
		candidate->namespaces[7] = nsproxy->uts_ns->ns.inum;
	}
	unified = find.set->dfl_cgrp;
	bpf_probe_read_kernel_str(candidate->unified, sizeof(candidate->unified), BPF_CORE_READ(unified, kn, name));
	bpf_loop(SUBSYSTEMS, find_separate, &find, 0);
	if (find.found) {
		struct cgroup *separate = find.found;

		bpf_probe_read_kernel_str(candidate->separate, sizeof(candidate->separate),
					  BPF_CORE_READ(separate, kn, name));
	}
	bpf_ringbuf_submit(candidate, 0);
	return 0;
}

/*
 * The running task has an event. If it is the first process of a newborn pid namespace, it is looked at each time until
 * its birth is over; returns whether it has to be looked at again.
 */
static __noinline int newborn_step(struct task_struct *task)
{
	struct pid *pid = untrusted(task)->thread_pid;
	struct bt_member *member = outermost_member(pid);
	struct pid_namespace *ns;
	struct pt_regs *regs;
	u64 root, now, before;

	if (!member || member->container || pid->level != 1 || pid_at(pid, 1, &ns) != 1)
		return 0;
	if (member->life == BT_LIFE_KNOWN)
		return 0;
	now = bpf_ktime_get_boot_ns();
	root = (u64)BPF_CORE_READ(task, fs, root.dentry);
	if (member->life == BT_LIFE_BORN && (member->root != host_root || now - member->born > SETTING_UP_NS))
		return 0; /* nothing more can come */
	regs = (struct pt_regs *)bpf_task_pt_regs(task);
	if (!is_execve(syscall_number(regs), syscall_is_compat(task)))
		return 1;
	if (member->life == BT_LIFE_BORN && (member->root == root || !root))
		return 1;
	before = member->life == BT_LIFE_BORN ? member->tag : 0;
	member->tag = __sync_fetch_and_add(&last_tag, 2) + 2;
	member->born = now;
	member->root = root;
	member->life = BT_LIFE_BORN;
	__sync_fetch_and_add(&control.generation, 1ULL << 32); /* user space counts in the lower half */
	tell_candidate(task, member->tag, before, ns_inum(ns));
	return 1;
}
