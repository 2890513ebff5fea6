// SPDX-License-Identifier: GPL-2.0-only
/* Cgroups in which a container may be born (newborn.bpf.h): those that are made outside of containers. */
#include "task.bpf.h"
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

/* Is it in the hierarchy of the recording? */
static __always_inline bool counts(struct cgroup *cgroup)
{
	return BPF_CORE_READ(task_cgroup(bpf_get_current_task_btf()), root, hierarchy_id) == cgroup->root->hierarchy_id;
}

SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(newborn_cgroup_made, struct cgroup *cgroup, const char *path)
{
	struct find_container find = {.cgroup = cgroup, .level = cgroup->level, .accounted = 1};
	struct bt_member member = {.life = BT_LIFE_UNBORN};
	u64 id = cgroup->kn->id;

	if (NEWBORNS == BT_NEWBORN_NOTHING || !counts(cgroup))
		return 0;
	bpf_loop(find.level + 1, find_container, &find, 0);
	if (!find.found)
		bpf_map_update_elem(&cgroups, &id, &member, BPF_NOEXIST);
	return 0;
}

SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(newborn_cgroup_gone, struct cgroup *cgroup, const char *path)
{
	u64 id = cgroup->kn->id;

	if (counts(cgroup)) /* nothing else ever gets this id */
		bpf_map_delete_elem(&cgroups, &id);
	return 0;
}
