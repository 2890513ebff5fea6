/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tasks that come into other namespaces: by clone and clone3 (births.bpf.c), by unshare and setns (syscalls.bpf.c).
 * What is done there is rare: everything is kept out of the frames of the programs that call it.
 */
#pragma once
#include "record.bpf.h"

/* Id and hierarchy of its cgroup: CGROUP_SIZE bytes. */
#define CGROUP_SIZE (8 + 4)
static __always_inline u8 *put_cgroup(u8 *at, struct task_struct *task)
{
	struct cgroup *cgroup = task_cgroup(task);

	PUT(at, u64, BPF_CORE_READ(cgroup, kn, id));
	PUT(at, s32, BPF_CORE_READ(cgroup, root, hierarchy_id));
	return at;
}

/* The eight namespaces of a task and those of its children to come: 10 * 4 bytes, 0 for a task that has left them. */
static __always_inline u8 *put_namespaces(u8 *at, struct task_struct *task, struct pid_namespace *pid_ns)
{
	struct nsproxy *nsproxy = task->nsproxy;

	PUT(at, u32, nsproxy ? nsproxy->cgroup_ns->ns.inum : 0);
	PUT(at, u32, nsproxy ? nsproxy->ipc_ns->ns.inum : 0);
	PUT(at, u32, nsproxy ? nsproxy->mnt_ns->ns.inum : 0);
	PUT(at, u32, nsproxy ? nsproxy->net_ns->ns.inum : 0);
	PUT(at, u32, ns_inum(pid_ns));
	PUT(at, u32, nsproxy ? nsproxy->time_ns->ns.inum : 0);
	PUT(at, u32, task->cred->user_ns->ns.inum);
	PUT(at, u32, nsproxy ? nsproxy->uts_ns->ns.inum : 0);
	PUT(at, u32, nsproxy ? nsproxy->pid_ns_for_children->ns.inum : 0);
	PUT(at, u32, nsproxy ? nsproxy->time_ns_for_children->ns.inum : 0);
	return at;
}

static __noinline int record_namespaces(struct bt_cpu *cpu, struct task_struct *task, u32 cause)
{
	struct pid_namespace *ns;
	struct bt_event event;
	u8 *at = begin_rare(&event, cpu, BT_EV_NAMESPACE_CHANGE, 4 + 4 + 4 + 1 + 10 * 4 + CGROUP_SIZE);

	if (!at)
		return 0;
	task = untrusted(task);
	PUT(at, s32, task->pid);
	PUT(at, s32, task->tgid);
	PUT(at, s32, innermost_pid(task, &ns));
	PUT(at, u8, cause);
	at = put_namespaces(at, task, ns);
	put_cgroup(at, task);
	event_commit(&event);
	return 0;
}

/* What a task executes next is its first program in these namespaces. */
static __always_inline void mark_newborn(struct task_struct *task, u32 cause)
{
	struct bt_newborn *newborn = bpf_task_storage_get(&newborns, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (newborn)
		newborn->cause = cause;
}
