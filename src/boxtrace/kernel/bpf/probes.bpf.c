// SPDX-License-Identifier: GPL-2.0-only
/* Events that the user defines: kernel functions, places in programs and libraries, USDT markers. */
#define BT_PREEMPT_DEPTH 0
#include "record.bpf.h"
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>

char LICENSE[] SEC("license") = "GPL";

static __always_inline struct bt_probe *probe_find(u64 number)
{
	u32 index = number;

	return bpf_map_lookup_elem(&probes, &index);
}

/* A probe that was asked for in one container fires wherever the same file is used: is this task in that container? */
static __always_inline bool probe_wants(struct bt_probe *probe, struct task_struct *task)
{
	struct pid_namespace *ns;

	if (!probe->pid_ns)
		return true;
	pid_at(untrusted(task)->thread_pid, probe->pid_ns_level, &ns);
	return ns_inum(ns) == probe->pid_ns;
}

static __always_inline void probe_record(struct bt_probe *probe, struct bt_cpu *cpu, struct task_struct *task, u64 ip,
					 const u64 *values)
{
	u32 offset = 0;
	struct bt_event event;
	u8 *at = event_begin(&event, cpu, task, probe->event_id, probe->payload);

	if (!at)
		return;
	if (probe->has_ip)
		PUT(at, u64, ip);
	for (int i = 0; i < BT_PROBE_VALUES; i++) {
		u32 size = probe->size[i] & 15;

		if (!size)
			break;
		put_sized(at + offset, values[i], size);
		offset += size;
	}
	event_commit(&event);
}

static __always_inline int record_function(void *ctx, bool is_exit)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct bt_cpu *cpu = cpu_glance(task);
	struct bt_probe *probe = probe_find(bpf_get_attach_cookie(ctx));
	u64 values[BT_PROBE_VALUES] = {};

	if (!cpu->selected || !probe)
		return 0;
	if (is_exit) {
		bpf_get_func_ret(ctx, &values[0]);
	} else {
#pragma unroll
		for (int i = 0; i < BT_PROBE_VALUES; i++)
			bpf_get_func_arg(ctx, i, &values[i]);
	}
	probe_record(probe, cpu, task, 0, values);
	return 0;
}

/* Attached to a function that is named before loading. */
SEC("fentry")
int function_entry(void *ctx) { return record_function(ctx, false); }

SEC("fexit")
int function_exit(void *ctx) { return record_function(ctx, true); }

SEC("uprobe")
int user_probe(struct pt_regs *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct bt_cpu *cpu = cpu_glance(task);
	struct bt_probe *probe = probe_find(bpf_get_attach_cookie(ctx));
	u64 values[BT_PROBE_VALUES] = {};

	if (cpu->selected && probe && probe_wants(probe, task))
		probe_record(probe, cpu, task, PT_REGS_IP(ctx), values);
	return 0;
}

SEC("usdt")
int user_marker(struct pt_regs *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct bt_cpu *cpu = cpu_glance(task);
	struct bt_probe *probe = probe_find(bpf_usdt_cookie(ctx));
	u64 values[BT_PROBE_VALUES] = {};

	if (!cpu->selected || !probe || !probe_wants(probe, task))
		return 0;
	for (int i = 0; i < BT_PROBE_VALUES; i++) {
		long value = 0;

		if (bpf_usdt_arg(ctx, i, &value))
			break;
		values[i] = value;
	}
	probe_record(probe, cpu, task, PT_REGS_IP(ctx), values);
	return 0;
}
