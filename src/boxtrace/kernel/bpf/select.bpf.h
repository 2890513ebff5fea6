/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Is a task selected? Asked when a task is learnt (task.bpf.h), never for each event. Each kind of enum bt_tracker
 * costs one lookup for the task (and one for each level of nesting), however many ids its set has.
 */
#pragma once
#include "core_compat.bpf.h"
#include "idmap.bpf.h"
#include "ring.bpf.h"

#define PIDTYPE_TGID 1
#define PF_EXITING 0x4 /* include/linux/sched.h */
#define PF_IO_WORKER 0x10
#define MAX_PID_NS_LEVEL 32

#define USER_NS_LEVELS 33
#define RENAMED_NS 1000000ULL

typedef u64 __attribute__((may_alias)) u64_alias;

/* The pid and namespace of `pid` at one level of the nesting; 0 where it has no such level. */
static __always_inline int pid_at(struct pid *pid, u32 level, struct pid_namespace **ns)
{
	struct upid upid = {};

	*ns = NULL;
	if (!pid || level > pid->level || level > MAX_PID_NS_LEVEL)
		return 0;
	bpf_probe_read_kernel(&upid, sizeof(upid), &pid->numbers[level]);
	*ns = upid.ns;
	return upid.nr;
}

/* The pid of a task in its own namespace; 0 once it is released. */
static __always_inline int innermost_pid(struct task_struct *task, struct pid_namespace **ns)
{
	struct pid *pid = untrusted(task)->thread_pid;

	return pid_at(pid, pid ? pid->level : 0, ns);
}

static __always_inline u32 ns_inum(const void *pid_ns)
{
	u32 inum = 0;

	if (pid_ns)
		bpf_probe_read_kernel(&inum, sizeof(inum), &((struct pid_namespace *)pid_ns)->ns.inum);
	return inum;
}

/* What is found out about one task; walked outwards from its innermost namespace or cgroup by bpf_loop, since the
 * verifier would walk an open loop as often as it can turn. */
struct membership {
	void *at; /* where the walk is: struct pid, cgroup or user_namespace */
	u32 level;
	u32 account;
	u8 pid; /* enum bt_verdict, as are all: of the task's mark, of its pid namespaces as containers, of its cgroups
		 */
	u8 container;
	u8 cgroup;
	u8 pid_ns;
	u8 user_ns;
};

/*
 * The innermost decides: the first that is not 0 remains. Without branches, of which the verifier would follow all
 * combinations in each turn of a walk.
 */
static __always_inline u32 first_of(u32 before, u32 now) { return before | (now & (((before | -before) >> 31) - 1)); }

/* Of what is told of a pid namespace and of a cgroup, being excluded counts. */
static __always_inline void take_member(const struct bt_member *member, struct membership *found, u8 *verdict)
{
	u32 candidate, told;

	if (!member)
		return;
	/* A candidate is recorded: what turns out not to be wanted is taken out again. */
	candidate = (member->life >> 1) & 1; /* BT_LIFE_BORN */
	told = member->container;
	*verdict = first_of(*verdict, first_of(told, candidate));
	found->account = first_of(found->account, member->account);
}

/* What the set of one kind says of an id. */
static __always_inline u32 tracked(struct bt_track_key *key)
{
	u32 *verdict = bpf_map_lookup_elem(&trackers, key);

	return verdict ? *verdict : BT_UNDECIDED;
}

static __always_inline void take_nested(u32 kind, u32 inum, u32 outwards, u8 *verdict)
{
	struct bt_track_key key = {.kind = kind, .value = {inum}};
	u32 *told;

	if (!(control.trackers & 1U << kind))
		return;
	told = bpf_map_lookup_elem(&trackers, &key);
	if (told && (!(*told & BT_ONLY_ITSELF) || !outwards))
		*verdict = first_of(*verdict, *told & BT_VERDICT_MASK);
}

static int lookup_pid_ns(u32 outwards, struct membership *found)
{
	struct pid_namespace *ns;
	u32 inum;

	pid_at(found->at, found->level - outwards, &ns);
	inum = ns_inum(ns);
	take_member(bpf_map_lookup_elem(&pid_namespaces, &inum), found, &found->container);
	take_nested(BT_TRACK_PID_NS, inum, outwards, &found->pid_ns);
	return 0;
}

static int lookup_user_ns(u32 outwards, struct membership *found)
{
	struct user_namespace *space = found->at;

	if (!space)
		return 1;
	take_nested(BT_TRACK_USER_NS, BPF_CORE_READ(space, ns.inum), outwards, &found->user_ns);
	found->at = BPF_CORE_READ(space, parent);
	return 0;
}

static int lookup_cgroup(u32 outwards, struct membership *found)
{
	struct cgroup *ancestor = NULL;
	u64 id;

	bpf_probe_read_kernel(&ancestor, sizeof(ancestor),
			      found->at + bpf_core_field_offset(struct cgroup, ancestors) +
				      (found->level - outwards) * sizeof(ancestor));
	id = BPF_CORE_READ(ancestor, kn, id);
	take_member(bpf_map_lookup_elem(&cgroups, &id), found, &found->cgroup);
	return 0;
}

static __always_inline u32 cgroup_level(struct cgroup *cgroup) { return BPF_CORE_READ(cgroup, level); }

static __always_inline struct cgroup *task_cgroup(struct task_struct *task)
{
	struct css_set *set = untrusted(task)->cgroups;
	struct cgroup_subsys_state *state = NULL;

	if (config.cgroup_hierarchy == BT_CGROUP_V2)
		return set->dfl_cgrp;
	bpf_probe_read_kernel(&state, sizeof(state),
			      (void *)set + bpf_core_field_offset(struct css_set, subsys) +
				      config.cgroup_hierarchy * sizeof(state));
	return BPF_CORE_READ(state, cgroup);
}

static __always_inline bool passes(u32 kind, u32 verdict)
{
	return verdict == BT_INCLUDED || (verdict == BT_UNDECIDED && !(control.including & 1U << kind));
}

/* Does a kind without nesting, whose ids are numbers, let the task pass? */
static __noinline int number_passes(u32 kind, u32 value)
{
	struct bt_track_key key = {.kind = kind, .value = {value}};

	return passes(kind, tracked(&key));
}

#define ASK(kind, value) ((control.trackers & 1U << (kind)) && !number_passes(kind, value))

static __always_inline int namespaces_pass(struct task_struct *task)
{
	struct nsproxy *nsproxy = untrusted(task)->nsproxy;

	return !ASK(BT_TRACK_CGROUP_NS, nsproxy ? nsproxy->cgroup_ns->ns.inum : 0) &&
	       !ASK(BT_TRACK_IPC_NS, nsproxy ? nsproxy->ipc_ns->ns.inum : 0) &&
	       !ASK(BT_TRACK_MNT_NS, nsproxy ? nsproxy->mnt_ns->ns.inum : 0) &&
	       !ASK(BT_TRACK_NET_NS, nsproxy ? nsproxy->net_ns->ns.inum : 0) &&
	       !ASK(BT_TRACK_TIME_NS, nsproxy ? nsproxy->time_ns->ns.inum : 0) &&
	       !ASK(BT_TRACK_UTS_NS, nsproxy ? nsproxy->uts_ns->ns.inum : 0);
}

static __always_inline u32 virtual_pid(struct task_struct *task)
{
	struct pid *pid = untrusted(task)->signal->pids[PIDTYPE_TGID];
	struct pid_namespace *ns;

	return pid ? pid_at(pid, pid->level, &ns) : 0;
}

static __always_inline bool credentials_pass(struct task_struct *task)
{
	const struct cred *cred = untrusted(task)->cred;
	struct user_namespace *ns = cred->user_ns;

	return !ASK(BT_TRACK_UID, cred->uid.val) && !ASK(BT_TRACK_GID, cred->gid.val) &&
	       !ASK(BT_TRACK_VUID,
		    map_id((void *)ns + bpf_core_field_offset(struct user_namespace, uid_map), cred->uid.val)) &&
	       !ASK(BT_TRACK_VGID,
		    map_id((void *)ns + bpf_core_field_offset(struct user_namespace, gid_map), cred->gid.val));
}

static __always_inline bool name_passes(struct task_struct *task)
{
	const u64_alias *comm = (const u64_alias *)task->comm;
	struct bt_track_key key = {.kind = BT_TRACK_PROCNAME, .value = {comm[0], comm[1]}};

	return passes(BT_TRACK_PROCNAME, tracked(&key));
}

/* Do all questions that are asked let the task pass, of which `found` knows where it is nested? */
static __always_inline bool trackers_pass(struct task_struct *task, struct membership *found)
{
	if (control.trackers == 1U << BT_TRACK_COMMAND)
		return false;
	if (!found->container || found->cgroup == BT_EXCLUDED)
		found->container = found->cgroup;
	if ((control.trackers & 1U << BT_TRACK_CONTAINER) && !passes(BT_TRACK_CONTAINER, found->container))
		return false;
	if ((control.trackers & 1U << BT_TRACK_PID) && !passes(BT_TRACK_PID, found->pid))
		return false;
	if ((control.trackers & 1U << BT_TRACK_PID_NS) && !passes(BT_TRACK_PID_NS, found->pid_ns))
		return false;
	if (control.trackers & 1U << BT_TRACK_USER_NS) {
		found->at = untrusted(task)->cred->user_ns;
		bpf_loop(USER_NS_LEVELS, lookup_user_ns, found, 0);
		if (!passes(BT_TRACK_USER_NS, found->user_ns))
			return false;
	}
	return namespaces_pass(task) && !ASK(BT_TRACK_VPID, virtual_pid(task)) && credentials_pass(task) &&
	       (!(control.trackers & 1U << BT_TRACK_PROCNAME) || name_passes(task));
}

/*
 * May the verdict change without a sign that the cache of task.bpf.h sees? The name is about to change (the kernel
 * tells before it does), or the user namespace has not got its maps yet: that is written once.
 */
static __noinline int verdict_unsettled(struct task_struct *task)
{
	if (control.trackers & 1U << BT_TRACK_PROCNAME) {
		struct bt_mark *mark = bpf_task_storage_get(&marks, task, NULL, 0);

		if (mark && mark->renamed && bpf_ktime_get_ns() - mark->renamed < RENAMED_NS)
			return true;
	}
	if (control.trackers & (1U << BT_TRACK_VUID | 1U << BT_TRACK_VGID)) {
		struct user_namespace *ns = untrusted(task)->cred->user_ns;

		return !ns->uid_map.nr_extents || !ns->gid_map.nr_extents;
	}
	return false;
}

/*
 * A thread that the kernel has made for a process's io_uring requests was not told as a fork, so it has inherited no
 * mark: it is selected as the process is. Returns whether it is a command's.
 */
static __noinline int worker_lookup(struct task_struct *task, struct membership *found)
{
	struct bt_mark *mark = bpf_task_storage_get(&marks, task->group_leader, NULL, 0);

	if (!mark)
		return 0;
	found->pid = mark->pid;
	return mark->command;
}

/*
 * Is this task selected (low half), and whose account is it on (high half)? Called from deep inside: with the frames
 * above it there are 128 bytes of stack left for it and what it calls, on kernels before 6.13.
 */
static __noinline u64 task_lookup(struct task_struct *task)
{
	struct pid *pid = untrusted(task)->thread_pid;
	struct membership found = {.at = pid};
	bool asked = control.trackers;

	if ((control.trackers & (1U << BT_TRACK_COMMAND | 1U << BT_TRACK_PID)) || (task->flags & PF_EXITING)) {
		struct bt_mark *mark = bpf_task_storage_get(&marks, task, NULL, 0);

		if (mark) {
			if (mark->exiting) /* only its mark still knows */
				return (u64)mark->account << 32 | (mark->exiting == BT_INCLUDED);
			asked = asked && !mark->command;
			found.pid = mark->pid;
		}
		if (unlikely(task->flags & PF_IO_WORKER) && asked && !found.pid)
			asked = !worker_lookup(task, &found);
	}
	if (!pid) /* released */
		return !asked;
	if (asked || config.accounts) {
		found.level = pid->level;
		bpf_loop(found.level + 1, lookup_pid_ns, &found, 0);
		found.at = task_cgroup(task);
		found.level = cgroup_level(found.at);
		bpf_loop(found.level + 1, lookup_cgroup, &found, 0);
	}
	return (u64)found.account << 32 | (!asked || trackers_pass(task, &found));
}

/*
 * Who was rejected lately, so that most switches and wakeups of a busy host's other tasks cost no lookup: for each task
 * a number made of all that the verdict depends on, where only containers and pid namespaces are asked for. Of 63 bits,
 * so that another task's is never taken for it; the lowest bit tells whether the task is settled (newborn.bpf.h).
 */
#define LASTING_TRACKERS (1U << BT_TRACK_CONTAINER | 1U << BT_TRACK_PID_NS)

/* The number; 0 where nothing is remembered. */
static __noinline u64 rejection_of(struct task_struct *task)
{
	u32 asked = control.trackers;
	u64 mixed;

	if (!asked || (asked & ~LASTING_TRACKERS) || (task->flags & (PF_EXITING | PF_IO_WORKER)))
		return 0;
	/* Each step can be undone: who differs in one thing only has another number. */
	mixed = task->start_boottime * 0x9e3779b97f4a7c15ULL ^ (u32)task->pid;
	/* The upper half of the generation counts moves between cgroups, too, which say nothing about who stays. */
	mixed = (mixed ^ mixed >> 29) * 0xbf58476d1ce4e5b9ULL ^ (u32)control.generation ^ (u64)births_so_far << 32;
	mixed = (mixed ^ mixed >> 31) * 0x94d049bb133111ebULL ^ BPF_CORE_READ(task_cgroup(task), kn, id);
	mixed = (mixed ^ mixed >> 29) * 0x9e3779b97f4a7c15ULL;
	return (mixed ^ mixed >> 32) & ~1ULL;
}

static __always_inline volatile u64 *rejection_slot(u64 number)
{
	return &rejections[number >> 52 & (BT_REJECTIONS - 1)];
}

/* Is it known that a task is rejected; and, if that is asked, that it is settled? */
static __always_inline bool rejection_known(u64 number, bool settled)
{
	u64 found = *rejection_slot(number);

	return number && (found == (number | 1) || (!settled && found == number));
}

/* `number` is of before the verdict was found: if it is another one now, of what the verdict is cannot be told. */
static __always_inline void reject(struct task_struct *task, u64 number, bool settled)
{
	if (number && number == rejection_of(task))
		*rejection_slot(number) = number | settled;
}
