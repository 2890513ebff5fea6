/* SPDX-License-Identifier: GPL-2.0-only */
/* What user space is told of births and deaths at once, whatever is recorded of them: entries of the ring `births`. */
#pragma once
#include "task.bpf.h"

/* NULL if nobody wants to know, or the ring is full. What is not set by the caller is 0. */
static __always_inline struct bt_birth *notify_begin(u32 kind)
{
	struct bt_birth *birth =
		config.births & BT_BIRTHS_TOLD ? bpf_ringbuf_reserve(&births, sizeof(*birth), 0) : NULL;

	if (birth) {
		birth->time = bpf_ktime_get_ns();
		birth->cgroup = 0;
		birth->hierarchy = 0;
		birth->kind = kind;
		birth->pid = 0;
		birth->pid_ns = 0;
		__builtin_memset(birth->path, 0, sizeof(birth->path));
	}
	return birth;
}
