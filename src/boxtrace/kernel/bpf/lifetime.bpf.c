// SPDX-License-Identifier: GPL-2.0-only
/* Birth and death of tasks: their events, and what the selection must remember of them. */
#include "payload.bpf.h"
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

struct vtids {
	struct pid *pid;
	u8 *at;
};

/* The pid at one level, the initial namespace's first. */
static int put_vtid(u32 level, struct vtids *vtids)
{
	struct pid_namespace *ns;

	if (level > MAX_PID_NS_LEVEL)
		return 1;
	*(s32 *)(vtids->at + level * 4) = pid_at(vtids->pid, level, &ns);
	return 0;
}

/*
 * The first process of a pid namespace: what was said of one that had the number before is not about this one. (The
 * kernel gives out the lowest number that is free.)
 */
static __noinline int namespace_born(struct pid *pid)
{
	struct bt_track_key key = {.kind = BT_TRACK_PID_NS};
	struct bt_member member = {};
	struct pid_namespace *ns;
	u32 inum;

	if (!pid || !pid->level || pid_at(pid, pid->level, &ns) != 1)
		return 0;
	inum = ns_inum(ns);
	key.value[0] = inum;
	bpf_map_delete_elem(&trackers, &key);
	if (NEWBORNS == BT_NEWBORN_CANDIDATE && pid->level == 1)
		member.life = BT_LIFE_UNBORN;
	if (NEWBORNS == BT_NEWBORN_NOT_WANTED && pid->level == 1)
		member.container = BT_EXCLUDED;
	if (member.life || member.container)
		bpf_map_update_elem(&pid_namespaces, &inum, &member, BPF_ANY);
	else
		bpf_map_delete_elem(&pid_namespaces, &inum);
	return 0;
}

/* The command's marks go to all descendants, those of --pid to threads, and to processes if that was asked for. */
static __noinline int inherit_mark(struct task_struct *parent, struct task_struct *child)
{
	struct bt_mark *mark = bpf_task_storage_get(&marks, parent, NULL, 0);
	u32 pid, command;

	if (!mark)
		return 0;
	pid = config.follow || child->tgid == parent->tgid ? mark->pid : BT_UNDECIDED;
	command = mark->command;
	if (!pid && !command)
		return 0;
	mark = bpf_task_storage_get(&marks, child, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (mark) {
		mark->pid = pid;
		mark->command = command;
	}
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(sched_process_fork, struct task_struct *parent, struct task_struct *child)
{
	struct pid *child_pid = child->thread_pid, *parent_pid = parent->thread_pid;
	struct pid_namespace *ns;
	struct bt_event event;
	struct bt_cpu *cpu;
	u32 level;
	u8 *at;

	if (control.trackers & (1U << BT_TRACK_COMMAND | 1U << BT_TRACK_PID))
		inherit_mark(parent, child);
	if (child_pid != parent_pid && child_pid->level)
		namespace_born(child_pid);
	if (!config.event_id[BT_EV_SCHED_PROCESS_FORK])
		return 0;
	cpu = cpu_of_either(parent, child);
	if (!cpu)
		return 0;
	level = child_pid->level;
	if (level > MAX_PID_NS_LEVEL)
		level = MAX_PID_NS_LEVEL;
	at = event_begin(&event, cpu, parent, config.event_id[BT_EV_SCHED_PROCESS_FORK],
			 16 + 4 + 4 + 4 + 16 + 4 + 1 + 4 * (level + 1) + 4 + 4);
	if (!at)
		return 0;
	PUT_COMM(at, parent);
	PUT(at, s32, parent->pid);
	PUT(at, s32, parent->tgid);
	pid_at(parent_pid, parent_pid->level, &ns);
	PUT(at, u32, ns_inum(ns));
	PUT_COMM(at, child);
	PUT(at, s32, child->pid);
	PUT(at, u8, level + 1);
	bpf_loop(level + 1, put_vtid, &(struct vtids){.pid = child_pid, .at = at}, 0);
	/* Older verifiers (6.1) forget the bound of what was kept on the stack meanwhile. */
	asm volatile("" : "+r"(level));
	if (level > MAX_PID_NS_LEVEL)
		level = MAX_PID_NS_LEVEL;
	at += 4 * (level + 1);
	pid_at(child_pid, level, &ns);
	PUT(at, s32, child->tgid);
	PUT(at, u32, ns_inum(ns));
	event_commit(&event);
	return 0;
}

static __always_inline u8 *put_task(u8 *at, struct task_struct *task)
{
	PUT_COMM(at, task);
	PUT(at, s32, task->pid);
	PUT(at, s32, task->prio - MAX_RT_PRIO);
	return at;
}

/* An event about a task, with one more byte behind it if `more` is that and not negative. */
static __always_inline void record_task(struct bt_cpu *cpu, struct task_struct *current, struct task_struct *task,
					u32 id, int more)
{
	struct bt_event event;
	u8 *at;

	if (filter_tests(id)) {
		struct task_payload payload = {};

		at = put_task((u8 *)payload.words, task);
		if (more >= 0)
			*at = more;
		if (!filter_tasks(cpu, current, id, &payload))
			return;
	}
	at = event_begin(&event, cpu, current, id, 16 + 4 + 4 + (more >= 0 ? 1 : 0));
	if (!at)
		return;
	at = put_task(at, task);
	if (more >= 0)
		*at = more;
	event_commit(&event);
}

/* Not BPF_PROG: the second argument exists since Linux 6.16 only. */
SEC("tp_btf/sched_process_exit")
int sched_process_exit(u64 *arguments)
{
	struct task_struct *task = (struct task_struct *)arguments[0];
	struct bt_cpu *cpu = cpu_glance(task);

	if (cpu->selected || control.trackers) {
		/* Its namespaces go before it: remember the verdict for its last switch and its release. */
		struct bt_mark *mark = bpf_task_storage_get(&marks, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

		if (mark) {
			mark->exiting = cpu->selected ? BT_INCLUDED : BT_EXCLUDED;
			mark->account = cpu->account;
			mark->tag = unlikely(NEWBORNS) ? newborn_tag(task) : 0;
			if (mark->late) /* it ends inside that call */
				__sync_fetch_and_add(&late_tasks, -1);
			mark->late = 0;
		}
	}
	if (!cpu->selected)
		return 0;
	if (!config.event_id[BT_EV_SCHED_PROCESS_EXIT])
		return 0;
	record_task(cpu, task, task, config.event_id[BT_EV_SCHED_PROCESS_EXIT],
		    config.exit_has_group_dead ? (u8)arguments[1] : -1);
	return 0;
}

SEC("tp_btf/sched_process_free")
int BPF_PROG(sched_process_free, struct task_struct *freed)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct bt_cpu *cpu = cpu_of_either(task, freed);

	if (!cpu)
		return 0;
	record_task(cpu, task, freed, config.event_id[BT_EV_SCHED_PROCESS_FREE], -1);
	return 0;
}
