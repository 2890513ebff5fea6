// SPDX-License-Identifier: GPL-2.0-only
/*
 * What already existed: tasks and their namespaces, one run of an iterator program per thread. The records go through
 * the same rings as all others; their contexts are those of the reader of the iterator, as in LTTng.
 */
#define BT_PREEMPT_DEPTH 0
#define BT_INTERRUPTIBLE 1
#include "record.bpf.h"
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

#define MAX_USER_NS_LEVEL 32

/* Numbers of LTTng's lttng_statedump_process_state. */
enum { TYPE_USER, TYPE_KERNEL };
enum { MODE_UNKNOWN = 5 };
enum { SUBMODE_NONE = 0 };
enum { STATUS_UNNAMED = 0, STATUS_WAIT_CPU = 2, STATUS_ZOMBIE = 4, STATUS_WAIT = 5, STATUS_DEAD = 7 };
#define EXIT_DEAD 0x10
#define EXIT_ZOMBIE 0x20
#define SLEEPING 0x03 /* TASK_INTERRUPTIBLE | TASK_UNINTERRUPTIBLE */

/* What the functions of one dump share, and the callbacks of bpf_loop get: loops by helper, since the verifier walks
 * an open loop as often as it can turn, with all that is in it. */
struct dump {
	struct bt_cpu *cpu;
	struct task_struct *current;
	struct task_struct *task;
	struct user_namespace *user_ns;
	u32 pid_ns_level;
};

static __always_inline u8 *begin(struct bt_event *event, struct dump *dump, u32 kind, u32 payload)
{
	u16 id = config.event_id[kind];

	return id ? event_begin_any(event, dump->cpu, id, payload) : NULL;
}

static __always_inline int status_of(struct task_struct *task)
{
	if (task->exit_state & EXIT_DEAD)
		return STATUS_DEAD;
	if (task->exit_state & EXIT_ZOMBIE)
		return STATUS_ZOMBIE;
	if (task->__state == 0)
		return STATUS_WAIT_CPU;
	return task->__state & SLEEPING ? STATUS_WAIT : STATUS_UNNAMED;
}

/* Not inlined: what it keeps on the stack would count for all that statedump_task calls. */
static __noinline int dump_state(struct dump *dump)
{
	struct task_struct *task = untrusted(dump->task);
	struct bt_event event;
	u8 *at = begin(&event, dump, BT_EV_STATEDUMP_PROCESS_STATE, 4 + 4 + 4 + 16 + 4 * 4 + 4 + 8);

	if (!at)
		return 0;
	PUT(at, s32, task->pid);
	PUT(at, s32, task->tgid);
	PUT(at, s32, task->real_parent->tgid);
	PUT_COMM(at, task);
	PUT(at, s32, task->mm ? TYPE_USER : TYPE_KERNEL);
	PUT(at, s32, MODE_UNKNOWN);
	PUT(at, s32, SUBMODE_NONE);
	PUT(at, s32, status_of(task));
	PUT(at, u32, task->thread_info.cpu);
	PUT(at, u64, (u64)task->files);
	event_commit(&event);
	return 0;
}

/* One nesting level, the innermost first. */
static int dump_pid_ns(u32 outwards, struct dump *dump)
{
	struct task_struct *task = untrusted(dump->task);
	u32 level = dump->pid_ns_level - outwards;
	struct pid_namespace *ns, *other;
	int vtid = pid_at(task->thread_pid, level, &ns);
	int vpid = pid_at(task->signal->pids[PIDTYPE_TGID], level, &other);
	int vppid = pid_at(task->real_parent->signal->pids[PIDTYPE_TGID], level, &other);
	struct bt_event event;
	u8 *at = begin(&event, dump, BT_EV_STATEDUMP_PID_NS, 4 * 5 + 4);

	if (!at)
		return 0;
	PUT(at, s32, task->pid);
	PUT(at, s32, vtid);
	PUT(at, s32, vpid);
	PUT(at, s32, other == ns ? vppid : 0); /* a parent outside this namespace is not visible in it */
	PUT(at, s32, level);
	PUT(at, u32, ns_inum(ns));
	event_commit(&event);
	return 0;
}

static int dump_user_ns(u32 outwards, struct dump *dump)
{
	struct user_namespace *user_ns = dump->user_ns;
	void *ns = user_ns;
	struct task_struct *task = untrusted(dump->task);
	struct bt_event event;
	u32 uid, gid;
	u8 *at;

	if (!ns)
		return 1;
	uid = map_id(ns + bpf_core_field_offset(struct user_namespace, uid_map), task->real_cred->uid.val);
	gid = map_id(ns + bpf_core_field_offset(struct user_namespace, gid_map), task->real_cred->gid.val);
	at = begin(&event, dump, BT_EV_STATEDUMP_USER_NS, 4 * 4 + 4);
	if (at) {
		PUT(at, s32, task->pid);
		PUT(at, u32, uid);
		PUT(at, u32, gid);
		PUT(at, s32, BPF_CORE_READ(user_ns, level));
		PUT(at, u32, BPF_CORE_READ(user_ns, ns.inum));
		event_commit(&event);
	}
	dump->user_ns = BPF_CORE_READ(user_ns, parent);
	return 0;
}

static __noinline int dump_ns(struct dump *dump, u32 kind, u32 inum)
{
	struct bt_event event;
	u8 *at = begin(&event, dump, kind, 4 + 4);

	if (!at)
		return 0;
	PUT(at, s32, dump->task->pid);
	PUT(at, u32, inum);
	event_commit(&event);
	return 0;
}

static __always_inline void dump_namespaces(struct dump *dump)
{
	struct task_struct *task = untrusted(dump->task);
	struct nsproxy *nsproxy = task->nsproxy;
	struct pid *pid = task->thread_pid;

	dump->pid_ns_level = pid ? pid->level : 0;
	bpf_loop(dump->pid_ns_level + 1, dump_pid_ns, dump, 0);
	dump->user_ns = task->real_cred->user_ns;
	bpf_loop(MAX_USER_NS_LEVEL + 1, dump_user_ns, dump, 0);
	if (!nsproxy)
		return;
	dump_ns(dump, BT_EV_STATEDUMP_CGROUP_NS, nsproxy->cgroup_ns->ns.inum);
	dump_ns(dump, BT_EV_STATEDUMP_IPC_NS, nsproxy->ipc_ns->ns.inum);
	dump_ns(dump, BT_EV_STATEDUMP_MNT_NS, nsproxy->mnt_ns->ns.inum);
	dump_ns(dump, BT_EV_STATEDUMP_NET_NS, nsproxy->net_ns->ns.inum);
	dump_ns(dump, BT_EV_STATEDUMP_UTS_NS, nsproxy->uts_ns->ns.inum);
	dump_ns(dump, BT_EV_STATEDUMP_TIME_NS, nsproxy->time_ns->ns.inum);
}

/* Not inlined, as dump_state. */
static __noinline int tell_reader(struct seq_file *seq, u32 tgid, struct nsproxy *nsproxy)
{
	struct bt_dumped dumped = {
		.tgid = tgid,
		.mnt_ns = nsproxy->mnt_ns->ns.inum,
		.net_ns = nsproxy->net_ns->ns.inum,
	};

	return bpf_seq_write(seq, &dumped, sizeof(dumped));
}

SEC("iter/task")
int statedump_task(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task, *current = bpf_get_current_task_btf();
	struct dump dump = {.current = current, .task = task};
	struct nsproxy *nsproxy;

	if (!task)
		return 0;
	dump.cpu = cpu_current(current);
	if (!dump.cpu || !(config.dump_all ? tag_ready(dump.cpu, task) : task_selected(task)))
		return 0;
	if (task->exit_state && control.trackers) {
		/* Exited before the recording began: its release must still be recognised. */
		struct bt_mark *mark = bpf_task_storage_get(&marks, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

		if (mark)
			mark->exiting = BT_INCLUDED;
	}
	dump_state(&dump);
	dump_namespaces(&dump);
	nsproxy = untrusted(task)->nsproxy;
	if (nsproxy)
		tell_reader(context->meta->seq, task->tgid, nsproxy);
	return 0;
}

/* Marks the threads of the processes that the map `trackers` names for it; 0 takes the mark away. */
SEC("iter/task")
int mark_tasks(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	struct bt_track_key key = {.kind = BT_TRACK_PID};
	struct bt_mark *mark;
	u32 *verdict;

	if (!task)
		return 0;
	host_root = (u64)BPF_CORE_READ(bpf_get_current_task_btf(), fs, root.dentry);
	host_mounts = (u64)BPF_CORE_READ(bpf_get_current_task_btf(), nsproxy, mnt_ns);
	key.value[0] = task->tgid;
	verdict = bpf_map_lookup_elem(&trackers, &key);
	key.kind = BT_TRACK_COMMAND;
	if (!verdict && !bpf_map_lookup_elem(&trackers, &key))
		return 0;
	mark = bpf_task_storage_get(&marks, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!mark)
		return 0;
	if (verdict)
		mark->pid = *verdict;
	else
		mark->command = 1;
	return 0;
}

/* The name changes right after this. */
SEC("tp_btf/task_rename")
int BPF_PROG(task_renamed, struct task_struct *task)
{
	struct bt_mark *mark = bpf_task_storage_get(&marks, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (mark)
		mark->renamed = bpf_ktime_get_ns();
	__sync_fetch_and_add(&control.generation, 1ULL << 32); /* user space counts in the lower half */
	return 0;
}
