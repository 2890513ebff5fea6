// SPDX-License-Identifier: GPL-2.0-only
/*
 * When the running task changes its own users or namespaces: what is known of it holds no longer. Where the kernel
 * takes these, rejected calls need not be looked at for whether they do so (control.own_changes_seen).
 */
#include "task.bpf.h"
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

SEC("fexit/commit_creds")
int users_changed(void *arguments)
{
	interval_end(cpu_here());
	return 0;
}

SEC("fexit/switch_task_namespaces")
int namespaces_switched(void *arguments)
{
	interval_end(cpu_here());
	return 0;
}
