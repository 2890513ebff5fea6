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
 *
 * A container in the pid namespace of the host or of another container is known by its cgroup. Every cgroup that is
 * made outside of containers is unborn, and born is one in which a process with other mounts and another root directory
 * than the host's and its parent's enters execve.
 */
#pragma once
#include "select.bpf.h"

#define SETTING_UP_NS 10000000000ULL
#define SUBSYSTEMS 16
#define BT_CANDIDATES_WAIT (1 << 15) /* bytes that nobody has read, until somebody is woken up */

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

/*
 * What this CPU records from now on is of this tag. Returns 1, and counts a loss, if there is no room to note that. The
 * running task, which may be of another container (it wakes the candidate up), has the account that the records are on.
 */
static __noinline int tag_records(struct bt_cpu *cpu, u64 tag)
{
	struct bt_tags *here = tags_here();
	struct bt_tag *entry;
	u64 count;

	if (tag)
		tag |= (u64)cpu->account << 32;
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
	entry->time = READ_ONCE(cpu->last_time);
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

struct find_container {
	struct cgroup *cgroup;
	u64 found;
	u32 level;
	u32 accounted; /* containers that were there before count, too */
};

static int find_container(u32 outwards, struct find_container *find)
{
	struct cgroup *ancestor = NULL;
	struct bt_member *member;
	u64 id;

	bpf_probe_read_kernel(&ancestor, sizeof(ancestor),
			      (void *)find->cgroup + bpf_core_field_offset(struct cgroup, ancestors) +
				      (find->level - outwards) * sizeof(ancestor));
	id = BPF_CORE_READ(ancestor, kn, id);
	member = bpf_map_lookup_elem(&cgroups, &id);
	if (!member || !(member->init || (find->accounted && member->account)))
		return 0;
	find->found = id;
	return 1;
}

/* What is known of the container whose cgroup a task is in, or is below, if that was born while recording. */
static __noinline struct bt_member *born_in_cgroup(struct task_struct *task)
{
	struct find_container find = {.cgroup = task_cgroup(task)};

	find.level = cgroup_level(find.cgroup);
	bpf_loop(find.level + 1, find_container, &find, 0);
	return find.found ? bpf_map_lookup_elem(&cgroups, &find.found) : NULL;
}

static __noinline u64 newborn_tag(struct task_struct *task)
{
	struct bt_member *member = born_in_cgroup(task);
	struct pid_namespace *ns;
	struct bt_mark *mark;

	if (member && member->container)
		return 0;
	if (member && member->life == BT_LIFE_BORN)
		return task->start_boottime < member->born && task->pid != member->init ? member->tag + 1 : member->tag;
	member = outermost_member(untrusted(task)->thread_pid);
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

static __noinline int tell_candidate(struct task_struct *trusted, u32 tag, u32 before, u32 inum, u64 cgroup)
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
	candidate->cgroup = cgroup;
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
	/* It is decided about when its name is told, which is later: only who has to be looked at at once wakes. */
	bpf_ringbuf_submit(candidate, cgroup || bpf_ringbuf_query(&candidates, BPF_RB_AVAIL_DATA) > BT_CANDIDATES_WAIT
					      ? BPF_RB_FORCE_WAKEUP
					      : BPF_RB_NO_WAKEUP);
	return 0;
}

/* What may come of a task that is looked at. */
enum newborn_outlook {
	SETTLED,    /* no container is born by it as long as it stays in its cgroup */
	LOOK_AGAIN, /* at its next event */
	NOT_YET,    /* when its namespaces have changed */
};

static __always_inline u64 root_of(struct task_struct *task) { return (u64)BPF_CORE_READ(task, fs, root.dentry); }

static __always_inline bool enters_execve(struct task_struct *task)
{
	return is_execve(syscall_number((struct pt_regs *)bpf_task_pt_regs(task)), syscall_is_compat(task));
}

static __always_inline void be_born(struct bt_member *member, u64 root, u32 init)
{
	if (NEWBORNS == BT_NEWBORN_NOT_WANTED) {
		member->container = BT_EXCLUDED;
		member->life = BT_LIFE_KNOWN;
	} else {
		member->tag = __sync_fetch_and_add(&last_tag, 2) + 2;
		member->born = bpf_ktime_get_boot_ns();
		member->root = root;
		member->life = BT_LIFE_BORN;
	}
	member->init = init;
	__sync_fetch_and_add(&births_so_far, 1);
	__sync_fetch_and_add(&control.generation, 1ULL << 32); /* user space counts in the lower half */
}

/*
 * The running task, in the pid namespace of the host or of a container, may be the first process of a container that
 * has none of its own.
 */
static __noinline enum newborn_outlook cgroup_step(struct task_struct *trusted)
{
	struct task_struct *task = untrusted(trusted), *parent = task->real_parent;
	u64 id = BPF_CORE_READ(task_cgroup(task), kn, id), root, mounts = (u64)BPF_CORE_READ(task, nsproxy, mnt_ns);
	struct bt_member *member = bpf_map_lookup_elem(&cgroups, &id);
	struct pid_namespace *ns;

	if (!member || member->life != BT_LIFE_UNBORN)
		return SETTLED;
	if (!mounts || mounts == host_mounts)
		return NOT_YET;
	if (member->born && bpf_ktime_get_boot_ns() - member->born > SETTING_UP_NS)
		return NOT_YET; /* a service of the host */
	if (!enters_execve(trusted))
		return LOOK_AGAIN;
	root = root_of(task);
	if (root == host_root) {
		if (!member->born)
			member->born = bpf_ktime_get_boot_ns();
		return LOOK_AGAIN;
	}
	if (root == root_of(parent) && mounts == (u64)BPF_CORE_READ(parent, nsproxy, mnt_ns))
		return NOT_YET;
	be_born(member, root, task->tgid);
	innermost_pid(task, &ns);
	if (member->life == BT_LIFE_BORN)
		tell_candidate(trusted, member->tag, 0, ns_inum(ns), id);
	return NOT_YET;
}

/* The cgroup of a container with a pid namespace of its own: no other container is born in there, or below. */
static __noinline int settle_cgroup(struct task_struct *task)
{
	u64 id = BPF_CORE_READ(task_cgroup(task), kn, id);
	struct bt_member *member = bpf_map_lookup_elem(&cgroups, &id);

	if (member && member->life == BT_LIFE_UNBORN) {
		member->life = BT_LIFE_KNOWN;
		member->init = task->tgid;
	}
	return 0;
}

/*
 * The running task has an event. If it is the first process of a newborn pid namespace, it is looked at each time until
 * its birth is over.
 */
static __noinline enum newborn_outlook newborn_step(struct task_struct *task)
{
	struct pid *pid = untrusted(task)->thread_pid;
	struct bt_member *member = outermost_member(pid);
	struct pid_namespace *ns;
	u64 root;
	u32 before;

	if (!pid)
		return NOT_YET;
	if (pid->level > 1)
		return SETTLED;
	if (!pid->level || !member || member->life == BT_LIFE_KNOWN || pid_at(pid, 1, &ns) != 1)
		return member && member->life == BT_LIFE_UNBORN ? NOT_YET : cgroup_step(task);
	if (member->container)
		return NOT_YET;
	root = root_of(task);
	if (member->life == BT_LIFE_BORN &&
	    (member->root != host_root || bpf_ktime_get_boot_ns() - member->born > SETTING_UP_NS))
		return NOT_YET; /* nothing more can come */
	if (!enters_execve(task))
		return LOOK_AGAIN;
	if (member->life == BT_LIFE_BORN && (member->root == root || !root))
		return LOOK_AGAIN;
	before = member->life == BT_LIFE_BORN ? member->tag : 0;
	be_born(member, root, 0);
	settle_cgroup(task);
	pid_at(pid, 1, &ns);
	tell_candidate(task, member->tag, before, ns_inum(ns), 0);
	return LOOK_AGAIN;
}
