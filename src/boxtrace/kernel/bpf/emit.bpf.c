// SPDX-License-Identifier: GPL-2.0-only
/*
 * Records an event that user space made: its number and payload are in the map `emitted`. Run by user space; a raw
 * tracepoint program that is attached nowhere, because the programs of type syscall may not read perf counters.
 */
#define BT_INTERRUPTIBLE 1
#include "record.bpf.h"

char LICENSE[] SEC("license") = "GPL";

BT_MAP(BPF_MAP_TYPE_ARRAY, emitted, __uint(max_entries, 1); __type(key, u32); __type(value, struct bt_emitted););

SEC("raw_tp")
int emit(void *context)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct bt_cpu *cpu = cpu_current(task);
	struct bt_event event;
	u32 key = 0, size;
	struct bt_emitted *emission = bpf_map_lookup_elem(&emitted, &key);
	u8 *at;

	if (!emission)
		return 0;
	size = emission->size;
	if (size > BT_EMIT_MAX)
		return 0;
	if (unlikely(NEWBORNS) && tag_records(cpu, 0))
		return 0;
	at = event_begin(&event, cpu, task, emission->id, size);
	if (!at)
		return 0;
	if (size)
		bpf_probe_read_kernel(at, size, emission->payload);
	event_commit(&event);
	return 0;
}
