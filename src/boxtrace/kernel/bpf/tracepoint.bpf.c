// SPDX-License-Identifier: GPL-2.0-only
/*
 * Any tracepoint of the kernel: one program, attached to each wanted one with the index of its description. It makes
 * the event's payload out of the record that the kernel describes in tracefs (events/GROUP/NAME/format), copy by copy.
 *
 * The kernel runs only one program of this type at a time on a CPU, whatever it is attached to and whatever interrupts
 * whom, and counts the runs that it skips for that. So the scratch space is never shared.
 */
#include "copy.bpf.h"

char LICENSE[] SEC("license") = "GPL";

BT_MAP(BPF_MAP_TYPE_ARRAY, tracepoints, __uint(max_entries, 1); __type(key, u32); __type(value, struct bt_tracepoint););
BT_MAP(BPF_MAP_TYPE_PERCPU_ARRAY, drafts, __uint(max_entries, 1); __type(key, u32); __type(value, struct bt_draft););

FILTER_CODE(filter_code_drafted)

static __noinline int filter_drafted(struct bt_cpu *cpu, struct task_struct *task, u32 id, struct bt_draft *draft)
{
	return filter_verdict(cpu, task, id, draft->payload, BT_FILTER_DRAFTED, filter_code_drafted);
}

/* Record what lies ready at `from`, an address in the kernel. */
static __always_inline void record_bytes(struct bt_cpu *cpu, struct task_struct *task, u16 id, u64 from, u64 size)
{
	struct bt_event event;
	u8 *at;

	HIDE(size);
	if (size > BT_RECORD_MAX) {
		event_discard(cpu, id);
		return;
	}
	at = event_begin(&event, cpu, task, id, size);
	if (!at)
		return;
	if (size)
		bpf_probe_read_kernel(at, size, (void *)from);
	event_commit(&event);
}

SEC("tracepoint")
int any_tracepoint(void *record)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct source source = {.record = (u64)record};
	u32 index = bpf_get_attach_cookie(record), zero = 0;
	struct bt_cpu *cpu;

	if (!control.tracepoints)
		return 0;
	cpu = cpu_glance(task);
	if (!cpu->selected)
		return 0;
	source.tracepoint = bpf_map_lookup_elem(&tracepoints, &index);
	source.draft = bpf_map_lookup_elem(&drafts, &zero);
	if (!source.tracepoint || !source.draft)
		return 0;
	/* A record whose fields are in order as they are needs no draft, but for a filter. */
	if (!filter_tests(source.tracepoint->id) && source.tracepoint->count <= 1 &&
	    source.tracepoint->copies[0].kind == BT_COPY_BYTES) {
		record_bytes(cpu, task, source.tracepoint->id, source.record + source.tracepoint->copies[0].source,
			     source.tracepoint->copies[0].size);
		return 0;
	}
	source.draft->used = 0;
	source.draft->failed = 0;
	bpf_loop(source.tracepoint->count, copy_field, &source, 0);
	if (source.draft->failed)
		event_discard(cpu, source.tracepoint->id);
	else if (!filters.active || filter_drafted(cpu, task, source.tracepoint->id, source.draft))
		record_bytes(cpu, task, source.tracepoint->id, (u64)source.draft->payload, source.draft->used);
	return 0;
}
