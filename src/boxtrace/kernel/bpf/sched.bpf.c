// SPDX-License-Identifier: GPL-2.0-only
/* Scheduler events, with LTTng's fields. Each is recorded when any task in it is selected. */
#include "payload.bpf.h"
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

/* include/linux/sched.h: what a task's state is reported as. */
#define TASK_UNINTERRUPTIBLE 0x02
#define TASK_REPORT 0x7f
#define TASK_REPORT_IDLE 0x80
#define TASK_REPORT_MAX 0x100
#define TASK_IDLE 0x402
#define TASK_RTLOCK_WAIT 0x1000
#define TASK_FROZEN 0x8000

static __always_inline s64 reported_state(bool preempt, u32 state, u32 exit_state)
{
	u32 report = (state | exit_state) & TASK_REPORT;

	if (preempt)
		return TASK_REPORT_MAX;
	if ((state & TASK_IDLE) == TASK_IDLE)
		return TASK_REPORT_IDLE;
	if (state & (TASK_RTLOCK_WAIT | TASK_FROZEN))
		return TASK_UNINTERRUPTIBLE;
	/* The highest of the bits only, as the kernel reports it. */
	for (u32 bit = 0x40; bit; bit >>= 1)
		if (report & bit)
			return bit;
	return 0;
}

static __always_inline u32 task_prio(struct task_struct *task) { return task->prio - MAX_RT_PRIO; }

static __always_inline void put_switch(u8 *at, bool preempt, struct task_struct *prev, struct task_struct *next,
				       u32 prev_state)
{
	PUT_COMM(at, prev);
	PUT(at, s32, prev->pid);
	PUT(at, s32, task_prio(prev));
	PUT(at, s64, reported_state(preempt, prev_state, prev->exit_state));
	PUT_COMM(at, next);
	PUT(at, s32, next->pid);
	PUT(at, s32, task_prio(next));
}

static __always_inline void record_switch(bool preempt, struct task_struct *prev, struct task_struct *next,
					  u32 prev_state)
{
	struct bt_cpu *cpu = cpu_of_either(prev, next);
	u32 id = config.event_id[BT_EV_SCHED_SWITCH];
	struct bt_event event;
	u8 *at;

	if (!cpu)
		return;
	if (filter_tests(id)) {
		struct task_payload payload = {};

		put_switch((u8 *)payload.words, preempt, prev, next, prev_state);
		if (!filter_tasks(cpu, prev, id, &payload))
			return;
	}
	at = event_begin(&event, cpu, prev, id, 16 + 4 + 4 + 8 + 16 + 4 + 4);
	if (!at)
		return;
	put_switch(at, preempt, prev, next, prev_state);
	event_commit(&event);
}

/* Also attached where the event is not recorded: what is known of a task is not kept when it leaves the CPU. */
SEC("tp_btf/sched_switch")
int BPF_PROG(sched_switch, bool preempt, struct task_struct *prev, struct task_struct *next, unsigned int prev_state)
{
	struct bt_cpu *cpu = cpu_here();

	interval_end(cpu);
	if (config.event_id[BT_EV_SCHED_SWITCH])
		record_switch(preempt, prev, next, prev_state);
	/* When it is back, its namespaces may have been replaced twice, and the last lie where the first ones lay. */
	WRITE_ONCE(cpu->task, 0);
	return 0;
}

/* What wakeups and migrations tell of a task; returns where the rest goes. */
static __always_inline u8 *put_placed(u8 *at, struct task_struct *task)
{
	PUT_COMM(at, task);
	PUT(at, s32, task->pid);
	PUT(at, s32, task_prio(task));
	PUT(at, s32, task->thread_info.cpu);
	return at;
}

/* A task is woken up, or (with a destination) moved to another CPU. */
static __always_inline int record_placed(struct task_struct *placed, u32 id, const int *destination)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct bt_cpu *cpu = cpu_of_either(task, placed);
	struct bt_event event;
	u8 *at;

	if (!cpu)
		return 0;
	if (filter_tests(id)) {
		struct task_payload payload = {};

		at = put_placed((u8 *)payload.words, placed);
		if (destination)
			PUT(at, s32, *destination);
		if (!filter_tasks(cpu, task, id, &payload))
			return 0;
	}
	at = event_begin(&event, cpu, task, id, 16 + 4 + 4 + 4 + (destination ? 4 : 0));
	if (!at)
		return 0;
	at = put_placed(at, placed);
	if (destination)
		PUT(at, s32, *destination);
	event_commit(&event);
	return 0;
}

SEC("tp_btf/sched_waking")
int BPF_PROG(sched_waking, struct task_struct *woken)
{
	return record_placed(woken, config.event_id[BT_EV_SCHED_WAKING], NULL);
}

SEC("tp_btf/sched_wakeup")
int BPF_PROG(sched_wakeup, struct task_struct *woken)
{
	return record_placed(woken, config.event_id[BT_EV_SCHED_WAKEUP], NULL);
}

SEC("tp_btf/sched_wakeup_new")
int BPF_PROG(sched_wakeup_new, struct task_struct *woken)
{
	return record_placed(woken, config.event_id[BT_EV_SCHED_WAKEUP_NEW], NULL);
}

SEC("tp_btf/sched_migrate_task")
int BPF_PROG(sched_migrate_task, struct task_struct *migrated, int destination)
{
	return record_placed(migrated, config.event_id[BT_EV_SCHED_MIGRATE_TASK], &destination);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(sched_process_exec, struct task_struct *task, s32 old_tid, struct linux_binprm *binary)
{
	struct bt_cpu *cpu = cpu_glance(task);
	struct bt_event event;
	struct bt_scratch *room;
	u8 *name;
	long length;
	u32 key = 0;
	u8 *at;

	if (!cpu->selected)
		return 0;
	room = bpf_map_lookup_elem(&scratch, &key);
	if (!room)
		return 0;
	name = room->payload;
	length = bpf_probe_read_kernel_str(name, BT_STRING_MAX, binary->filename);
	if (length <= 0) {
		name[0] = 0;
		length = 1;
	}
	at = event_begin(&event, cpu, task, config.event_id[BT_EV_SCHED_PROCESS_EXEC], length + 4 + 4);
	if (!at)
		return 0;
	length &= 2 * BT_STRING_MAX - 1;
	if (length <= BT_STRING_MAX)
		bpf_probe_read_kernel(at, length, name);
	at += length;
	PUT(at, s32, task->pid);
	PUT(at, s32, old_tid);
	event_commit(&event);
	return 0;
}
