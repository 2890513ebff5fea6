/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Contexts beyond the default ones that are read for each event, since they change without a sign that could be waited
 * for. What a recording does not have is removed by the verifier: its offset is a constant.
 *
 * A program file may say before it includes this what holds where its programs run:
 * BT_PREEMPT_DEPTH  how often the kernel has disabled preemption to call the program (a tracepoint: once)
 * BT_INTERRUPTIBLE  whether interrupts are enabled there: 1, 0, or -1 where it depends and the kernel has to be asked.
 */
#pragma once
#include "task.bpf.h"

#ifndef BT_PREEMPT_DEPTH
#define BT_PREEMPT_DEPTH 1
#endif
#ifndef BT_INTERRUPTIBLE
#define BT_INTERRUPTIBLE (-1)
#endif

#define MAX_RT_PRIO 100	 /* LTTng subtracts it: nice 0 is 20 */
#define DEFAULT_PRIO 120 /* the static priority of nice 0 */

/* One per counter and CPU. */
BT_MAP(BPF_MAP_TYPE_PERF_EVENT_ARRAY, counters, __uint(max_entries, 1); __type(key, u32); __type(value, u32););

static __always_inline bool context_has(enum bt_context context) { return config.context_offset[context] != BT_ABSENT; }

static __always_inline void context_u8(u8 *block, enum bt_context context, u8 value)
{
	u32 offset = config.context_offset[context];

	if (offset < BT_CONTEXT_MAX)
		block[offset] = value;
}

static __always_inline void context_u64(u8 *block, u32 offset, u64 value)
{
	if (offset <= BT_CONTEXT_MAX - sizeof(u64))
		*(u64 *)(block + offset) = value;
}

static __always_inline u32 parent_vpid(struct task_struct *trusted)
{
	struct task_struct *task = untrusted(trusted);
	struct pid *pid = task->thread_pid;
	struct pid_namespace *ns, *other;
	int vppid;

	if (!pid)
		return 0;
	pid_at(pid, pid->level, &ns);
	vppid = pid_at(task->real_parent->signal->pids[PIDTYPE_TGID], pid->level, &other);
	return other == ns ? vppid : 0; /* a parent outside this namespace is not visible in it */
}

static __always_inline void context_hostname(struct task_struct *task, u8 *block)
{
	u32 offset = config.context_offset[BT_CTX_HOSTNAME];
	struct nsproxy *nsproxy = untrusted(task)->nsproxy;

	if (offset > BT_CONTEXT_MAX - BT_HOSTNAME)
		return;
	if (nsproxy)
		bpf_probe_read_kernel(block + offset, BT_HOSTNAME, nsproxy->uts_ns->name.nodename);
	else
		__builtin_memset(block + offset, 0, BT_HOSTNAME);
}

/* Room for code that asks the kernel (boxtrace.kernel.interrupts); without it there is no way to ask. */
static __noinline int interrupts_code(void)
{
	int answer = -1;

	asm volatile(".rept 24; goto +0; .endr" : "+r"(answer));
	return answer;
}

static __always_inline int interruptible(u32 count)
{
	int known = BT_INTERRUPTIBLE >= 0 ? BT_INTERRUPTIBLE : interrupts_code();

	return known >= 0 ? known : count & (HARDIRQ_MASK | NMI_MASK) ? 0 : -1;
}

static __always_inline void context_interrupts(struct task_struct *task, u8 *block)
{
	u32 count = config.preempt_count || !PREEMPT_COUNT_PER_CPU ? preempt_count(config.preempt_count) : 0;

	context_u8(block, BT_CTX_NEED_RESCHEDULE, !!(task->thread_info.flags & need_resched_flag()));
	context_u8(block, BT_CTX_PREEMPTIBLE, (count & ~PREEMPT_NEED_RESCHED) == BT_PREEMPT_DEPTH);
	if (context_has(BT_CTX_INTERRUPTIBLE))
		context_u8(block, BT_CTX_INTERRUPTIBLE, interruptible(count));
	if (context_has(BT_CTX_MIGRATABLE))
		context_u8(block, BT_CTX_MIGRATABLE, !task->migration_disabled);
}

static int context_counter(u32 index, u8 **block)
{
	struct bpf_perf_event_value value = {};
	u32 offset;

	if (index >= BT_COUNTERS)
		return 1;
	offset = config.counter_offset[index];
	bpf_perf_event_read_value(&counters, index * config.cpus + bpf_get_smp_processor_id(), &value, sizeof(value));
	if (offset <= BT_CONTEXT_MAX - sizeof(u64))
		bpf_probe_read_kernel(*block + offset, sizeof(u64), &value.counter);
	return 0;
}

/* The cached contexts. */
static __always_inline void context_copy(struct bt_cpu *cpu, u8 *block)
{
	u32 size = config.context_size, rest = size & 0x1f8;
	const u8 *cached = (const u8 *)cpu->context;

#pragma unroll
	for (int i = 0; i < BT_CONTEXT_MAX / 8; i++)
		if (i < size / 8)
			*(u64 *)(block + i * 8) = cpu->context[i];
	if (size & 4)
		*(u32 *)(block + rest) = *(u32 *)(cached + rest);
	if (size & 2)
		*(u16 *)(block + (rest | (size & 4))) = *(u16 *)(cached + (rest | (size & 4)));
	if (size & 1)
		block[rest | (size & 6)] = cached[rest | (size & 6)];
}

/* Called when config.context_groups says that there is any of them. */
static __noinline int context_live_more(struct task_struct *task, u8 *block)
{
	context_u32(block, BT_CTX_PRIO, task->prio - MAX_RT_PRIO);
	context_u32(block, BT_CTX_NICE, task->static_prio - DEFAULT_PRIO);
	if (context_has(BT_CTX_VPPID))
		context_u32(block, BT_CTX_VPPID, parent_vpid(task));
	context_hostname(task, block);
	if (context_has(BT_CTX_NEED_RESCHEDULE) || context_has(BT_CTX_PREEMPTIBLE) ||
	    context_has(BT_CTX_INTERRUPTIBLE) || context_has(BT_CTX_MIGRATABLE))
		context_interrupts(task, block);
	if (context_has(BT_CTX_CGROUP_ID))
		context_u64(block, config.context_offset[BT_CTX_CGROUP_ID], BPF_CORE_READ(task_cgroup(task), kn, id));
	if (config.counters)
		bpf_loop(config.counters, context_counter, &block, 0);
	return 0;
}
