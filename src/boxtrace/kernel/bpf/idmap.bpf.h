/* SPDX-License-Identifier: GPL-2.0-only */
/* User and group ids as a user namespace shows them. */
#pragma once
#include "vmlinux.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define MAX_EXTENTS 340 /* UID_GID_MAP_MAX_EXTENTS */
#define BASE_EXTENTS 5	/* UID_GID_MAP_MAX_BASE_EXTENTS: those that lie in the map itself */
#define OVERFLOW_ID 65534

struct id_lookup {
	struct uid_gid_extent *extents;
	u32 count;
	u32 id;
};

static int map_extent(u32 index, struct id_lookup *lookup)
{
	struct uid_gid_extent extent;

	if (index >= lookup->count)
		return 1;
	bpf_probe_read_kernel(&extent, sizeof(extent), lookup->extents + index);
	if (lookup->id - extent.lower_first >= extent.count)
		return 0;
	lookup->id = lookup->id - extent.lower_first + extent.first;
	lookup->extents = NULL;
	return 1;
}

/* An id of the initial user namespace as `map` shows it (kernel/user_namespace.c, map_id_up). */
static __noinline u32 map_id(void *map, u32 id)
{
	struct id_lookup lookup = {.id = id};

	bpf_core_read(&lookup.count, sizeof(lookup.count), &((struct uid_gid_map *)map)->nr_extents);
	if (lookup.count > BASE_EXTENTS)
		bpf_core_read(&lookup.extents, sizeof(lookup.extents), &((struct uid_gid_map *)map)->forward);
	else
		lookup.extents = map + bpf_core_field_offset(struct uid_gid_map, extent);
	bpf_loop(MAX_EXTENTS, map_extent, &lookup, 0);
	return lookup.extents ? OVERFLOW_ID : lookup.id;
}
