// SPDX-License-Identifier: GPL-2.0-only
/* What user space runs itself to close a packet. */
#include "record.bpf.h"

char LICENSE[] SEC("license") = "GPL";

/* The compiler leaves out of BTF what nothing has the type of; this is what only Python reads of abi.h and
 * abi_selection.h. */
const volatile struct {
	enum bt_limit limit;
	enum bt_immediate immediate;
	enum bt_context context;
	enum bt_context_group context_group;
	enum bt_callstack callstack;
	enum bt_event_kind event_kind;
	enum bt_tracker tracker;
	enum bt_trackers trackers;
	enum bt_life life;
	enum bt_newborn_policy newborn_policy;
	struct bt_candidate candidate;
	struct bt_tag tag;
	enum bt_verdict verdict;
	struct bt_track_key track_key;
	struct bt_packet packet;
	struct bt_flush flush;
	enum bt_copy_kind copy_kind;
	enum bt_copy_width copy_width;
	struct bt_copy copy;
	struct bt_dumped dumped;
	enum bt_cause cause;
	enum bt_birth_kind birth_kind;
	enum bt_births births;
	struct bt_cgroup_key cgroup_key;
	struct bt_birth birth;
	struct bt_ancestor ancestor;
} abi SEC(".rodata.abi") = {};

/* Close the current packet of a CPU. Returns 1 if the ring has no free sub-buffer for the next one, else 0. */
SEC("syscall")
int flush(struct bt_flush *request)
{
	struct bt_cpu *cpu = &cpus[request->cpu & (BT_CPUS - 1)];

	for (int i = 0; i < BT_RESERVE_TRIES; i++) {
		u64 position = READ_ONCE(cpu->position), time = ring_time(cpu);
		bool empty = ring_offset(position) == config.packet_header;
		u64 before, start = ring_next(cpu, position, &before);

		if (empty && !request->force)
			return 0;
		if (!start)
			return 1;
		if (__sync_val_compare_and_swap(&cpu->position, position, start) != position)
			continue;
		WRITE_ONCE(cpu->last_time, time);
		ring_switch(cpu, position, time, before);
		return 0;
	}
	return 0;
}
