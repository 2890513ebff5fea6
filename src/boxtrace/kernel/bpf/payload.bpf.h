/* SPDX-License-Identifier: GPL-2.0-only */
/* Filters that look at the payload of an event of tasks: it is made beforehand, where there is a filter. */
#pragma once
#include "record.bpf.h"

FILTER_CODE(filter_code_tasks)

/* Larger than any payload that is tested here, since the code is that of all their filters. */
struct task_payload {
	u64 words[8];
};

static __noinline int filter_tasks(struct bt_cpu *cpu, struct task_struct *task, u32 id, struct task_payload *payload)
{
	return filter_verdict(cpu, task, id, payload->words, BT_FILTER_TASKS, filter_code_tasks);
}
