// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cgroups of all hierarchies, from their making to their removal, with the kernel's own names of fields. Recorded when
 * the running task or the one that is moved is selected, or the cgroup is one of the selected containers' or below it.
 *
 * The kernel makes the path of each of these events in a buffer of its own, which it locks with interrupts disabled
 * (kernel/cgroup/cgroup.c, TRACE_CGROUP_PATH): only one of these programs runs at a time.
 */
#define BT_INTERRUPTIBLE 0
#include "record.bpf.h"
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

struct cgroup_path {
	char text[2 * BT_CGROUP_PATH];
};
BT_MAP(BPF_MAP_TYPE_ARRAY, cgroup_paths, __uint(max_entries, 1); __type(key, u32); __type(value, struct cgroup_path););

struct lookup {
	struct cgroup *cgroup;
	struct bt_cgroup_key key;
	u32 level;
	u32 found;
};

static int lookup_watched(u32 outwards, struct lookup *lookup)
{
	struct cgroup *ancestor = NULL;

	bpf_probe_read_kernel(&ancestor, sizeof(ancestor),
			      (void *)lookup->cgroup + bpf_core_field_offset(struct cgroup, ancestors) +
				      (lookup->level - outwards) * sizeof(ancestor));
	lookup->key.id = BPF_CORE_READ(ancestor, kn, id);
	if (!bpf_map_lookup_elem(&watched_cgroups, &lookup->key))
		return 0;
	lookup->found = 1;
	return 1;
}

static __noinline int is_watched(struct cgroup *cgroup)
{
	struct lookup lookup = {.cgroup = cgroup, .level = cgroup->level};

	lookup.key.hierarchy = cgroup->root->hierarchy_id;
	bpf_loop(lookup.level + 1, lookup_watched, &lookup, 0);
	return lookup.found;
}

/* The running task's ring if the event is wanted. `moved` may be NULL. */
static __always_inline struct bt_cpu *admit(struct cgroup *cgroup, struct task_struct *moved)
{
	struct task_struct *current = bpf_get_current_task_btf();
	struct bt_cpu *cpu = cpu_glance(current);

	if (cpu->selected)
		return cpu;
	if (!(moved && task_selected(moved)) && (!is_watched(cgroup) || (unlikely(NEWBORNS) && tag_records(cpu, 0))))
		return NULL;
	return cpu_current(current);
}

/* Begin a record whose payload is hierarchy, level, id, path, and `more` bytes. */
static __always_inline u8 *begin_cgroup(struct bt_event *event, struct bt_cpu *cpu, u32 kind, struct cgroup *cgroup,
					const char *path, u32 more)
{
	u32 key = 0;
	struct cgroup_path *room = bpf_map_lookup_elem(&cgroup_paths, &key);
	long length;
	u8 *at;

	if (!room)
		return NULL;
	length = bpf_probe_read_kernel_str(room->text, BT_CGROUP_PATH, path);
	if (length <= 0) {
		room->text[0] = 0;
		length = 1;
	}
	length &= 2 * BT_CGROUP_PATH - 1;
	at = begin_rare(event, cpu, kind, 4 + 4 + 8 + length + more);
	if (!at)
		return NULL;
	PUT(at, s32, cgroup->root->hierarchy_id);
	PUT(at, s32, cgroup->level);
	PUT(at, u64, cgroup->kn->id);
	/* Older verifiers (6.1) forget the bound of what was kept on the stack meanwhile. */
	asm volatile("" : "+r"(length));
	length &= 2 * BT_CGROUP_PATH - 1;
	bpf_probe_read_kernel(at, length, room->text);
	return at + length;
}

static __noinline int record_cgroup(u32 kind, struct cgroup *cgroup, const char *path)
{
	struct bt_cpu *cpu = admit(cgroup, NULL);
	struct bt_event event;

	if (cpu && begin_cgroup(&event, cpu, kind, cgroup, path, 0))
		event_commit(&event);
	return 0;
}

SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(cgroup_mkdir, struct cgroup *cgroup, const char *path)
{
	return record_cgroup(BT_EV_CGROUP_MKDIR, cgroup, path);
}

SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(cgroup_rmdir, struct cgroup *cgroup, const char *path)
{
	return record_cgroup(BT_EV_CGROUP_RMDIR, cgroup, path);
}

SEC("tp_btf/cgroup_rename")
int BPF_PROG(cgroup_rename, struct cgroup *cgroup, const char *path)
{
	return record_cgroup(BT_EV_CGROUP_RENAME, cgroup, path);
}

SEC("tp_btf/cgroup_freeze")
int BPF_PROG(cgroup_freeze, struct cgroup *cgroup, const char *path)
{
	return record_cgroup(BT_EV_CGROUP_FREEZE, cgroup, path);
}

SEC("tp_btf/cgroup_unfreeze")
int BPF_PROG(cgroup_unfreeze, struct cgroup *cgroup, const char *path)
{
	return record_cgroup(BT_EV_CGROUP_UNFREEZE, cgroup, path);
}

static __noinline int record_state(u32 kind, struct cgroup *cgroup, const char *path, int value)
{
	struct bt_cpu *cpu = admit(cgroup, NULL);
	struct bt_event event;
	u8 *at;

	if (!cpu)
		return 0;
	at = begin_cgroup(&event, cpu, kind, cgroup, path, 4);
	if (!at)
		return 0;
	PUT(at, s32, value);
	event_commit(&event);
	return 0;
}

SEC("tp_btf/cgroup_notify_populated")
int BPF_PROG(cgroup_notify_populated, struct cgroup *cgroup, const char *path, int value)
{
	return record_state(BT_EV_CGROUP_NOTIFY_POPULATED, cgroup, path, value);
}

SEC("tp_btf/cgroup_notify_frozen")
int BPF_PROG(cgroup_notify_frozen, struct cgroup *cgroup, const char *path, int value)
{
	return record_state(BT_EV_CGROUP_NOTIFY_FROZEN, cgroup, path, value);
}

static __noinline int record_move(u32 kind, struct cgroup *cgroup, const char *path, struct task_struct *task)
{
	struct bt_cpu *cpu = admit(cgroup, task);
	struct bt_event event;
	u8 *at;

	if (!cpu)
		return 0;
	at = begin_cgroup(&event, cpu, kind, cgroup, path, 4 + 16);
	if (!at)
		return 0;
	PUT(at, s32, task->pid);
	PUT_COMM(at, task);
	event_commit(&event);
	return 0;
}

SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(cgroup_attach_task, struct cgroup *cgroup, const char *path, struct task_struct *task)
{
	/* Whoever is remembered on a CPU may be one of those that were moved. User space counts in the lower half. */
	__sync_fetch_and_add(&control.generation, 1ULL << 32);
	return record_move(BT_EV_CGROUP_ATTACH_TASK, cgroup, path, task);
}

SEC("tp_btf/cgroup_transfer_tasks")
int BPF_PROG(cgroup_transfer_tasks, struct cgroup *cgroup, const char *path, struct task_struct *task)
{
	return record_move(BT_EV_CGROUP_TRANSFER_TASKS, cgroup, path, task);
}
